"""Common Crawl's loader, on small shards of C4's form."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchfront.errors import DataError
from batchfront.workload.data import Splits
from batchfront_studies.datasets.common_crawl import (
    FOLDER,
    Sizes,
    common_crawl,
    documents,
    sentences_of,
)
from tests.batchfront_studies.small_data.common_crawl import SMALL, write_common_crawl, write_shard

ENDINGS = [".json", ".jsonl", ".json.gz", ".jsonl.gz", ".parquet"]
TEXTS = ["One. Two!\nThree", "naïve 犬\u2028still the same", "", 'he said "no." Then']


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BATCHFRONT_DATA_DIR", str(tmp_path))
    return tmp_path


def load(sizes: Sizes = SMALL) -> Splits:
    return common_crawl(sizes, tokens=300, longest=16)


def refusal(sizes: Sizes = SMALL) -> str:
    with pytest.raises(DataError) as error:
        load(sizes)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("document", "sentences"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("A line\n\n  another  \r\nthird", ["A line", "another", "third"]),
        ('"No." Then (he left.) So', ['"No."', "Then (he left.)", "So"]),
        ("version 3.5 costs 1.000.000", ["version 3.5 costs 1.000.000"]),
        (" \n \n", []),
    ],
)
def test_a_document_is_cut_at_line_breaks_and_after_sentences(
    document: str, sentences: list[str]
) -> None:
    assert list(sentences_of(document)) == sentences


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_shard_holds_the_same_documents_in_every_form(tmp_path: Path, ending: str) -> None:
    write_shard(tmp_path / f"shard{ending}", TEXTS)
    assert list(documents(tmp_path / f"shard{ending}")) == TEXTS


@pytest.mark.parametrize("ending", [".json.gz", ".parquet"])
def test_training_shards_are_trained_on_and_of_two_held_out_ones_the_first_sentences_looked_at(
    root: Path, ending: str
) -> None:
    write_common_crawl(root, ending)
    splits = load()
    assert splits.test is not None
    assert len(splits.train) > 150
    assert len(splits.validation) == len(splits.test) == 30
    assert splits.validation.describe()["checksum"] != splits.test.describe()["checksum"]


def test_as_many_shards_are_used_as_asked_for(root: Path) -> None:
    write_common_crawl(root)
    one, two = load(Sizes(shards=1, held_out=30)), load()
    assert len(one.train) < len(two.train)
    assert one.validation.describe() == two.validation.describe()


def test_it_is_the_same_data_in_every_form(root: Path) -> None:
    write_common_crawl(root, ".json.gz")
    first = load().train.describe()
    (root / FOLDER).rename(root / "other")
    write_common_crawl(root, ".parquet")
    assert load().train.describe() == first


def test_without_a_second_held_out_shard_there_is_no_test_split(root: Path) -> None:
    write_common_crawl(root)
    (root / FOLDER / "c4-validation.00001-of-00008.json.gz").unlink()
    assert load().test is None


def test_missing_shards_are_counted_and_named_with_where_they_belong(root: Path) -> None:
    assert f"{root / FOLDER} holds 0 training and 0 validation shards, not 2 and 1" in refusal()
    write_common_crawl(root)
    assert "holds 2 training and 2 validation shards, not 8 and 1" in refusal(Sizes())
    assert "allenai/c4" in refusal(Sizes())


SECOND = "c4-train.00001-of-01024"


@pytest.mark.parametrize(
    ("ending", "content", "says"),
    [
        (".json", b'{"text": "good"}\n{"text": "ba', "line 2 is no JSON"),
        (".json", b'{"text": "good"}\n{"txt": "bad"}\n', 'line 2 has no string under "text"'),
        (".json", b'{"text": 7}\n', 'line 1 has no string under "text"'),
        (".json", b'{"text": "good"}\n\xff\n', "line 2 is not UTF-8"),
        (".json.gz", gzip.compress(b'{"text": "good"}\n' * 99, mtime=0)[:-12], "is damaged"),
        (".json.gz", b"not gzip", "is damaged"),
        (".json.gz", gzip.compress(b"", mtime=0)[:10] + b"\xff" * 20, "is damaged"),
        (".parquet", b"not parquet", "is damaged"),
    ],
    ids=["cut line", "no text", "number", "not UTF-8", "cut", "not gzip", "wrong bytes", "table"],
)
def test_a_damaged_shard_is_named_in_one_line(
    root: Path, ending: str, content: bytes, says: str
) -> None:
    write_common_crawl(root)
    (root / FOLDER / f"{SECOND}.json.gz").unlink()
    (root / FOLDER / f"{SECOND}{ending}").write_bytes(content)
    said = refusal()
    assert f"{SECOND}{ending}" in said
    assert says in said


def test_a_table_without_texts_is_named_in_one_line(root: Path) -> None:
    write_common_crawl(root)
    (root / FOLDER / f"{SECOND}.json.gz").unlink()
    pq.write_table(pa.table({"body": ["a"]}), root / FOLDER / f"{SECOND}.parquet")
    assert "it has no column text" in refusal()
