"""LM1B's loader: on small files of the true layout, and on a real corpus where there is one."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from batchfront.errors import DataError
from batchfront.workload.data import Splits
from batchfront_studies.books import books
from batchfront_studies.datasets.lm1b import ANY, FOLDER, HELD_OUT, TRAINING, Sizes, lm1b
from batchfront_studies.datasets.sentences import Sentences
from batchfront_studies.datasets.vocabulary import learnt
from tests.batchfront_studies.small_data.lm1b import SMALL, write_lm1b

REAL = os.environ.get("BATCHFRONT_DATA_DIR")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data directory, with the small corpus."""
    monkeypatch.setenv("BATCHFRONT_DATA_DIR", str(tmp_path))
    write_lm1b(tmp_path)
    return tmp_path


def load(sizes: Sizes = SMALL, **options: int) -> Splits:
    return lm1b(sizes, **{"tokens": 300, "longest": 16, **options})


def refusal(sizes: Sizes = SMALL) -> str:
    with pytest.raises(DataError) as error:
        load(sizes)
    assert "\n" not in str(error.value)
    return str(error.value)


def parts(splits: Splits) -> dict[str, Sentences]:
    found = dict(splits.named())
    assert all(isinstance(split, Sentences) for split in found.values())
    return found  # type: ignore[return-value]


@pytest.mark.usefixtures("root")
def test_all_training_files_are_trained_on_and_one_held_out_file_each_is_looked_at() -> None:
    counts = {name: len(split) for name, split in parts(load()).items()}
    assert counts == {"train": 200, "validation": 30, "test": 30}


def test_validation_is_the_second_held_out_file_and_test_the_first(root: Path) -> None:
    vocabulary = learnt("lm1b", "known", lambda: ["x"], 300)  # bytes alone: nothing is merged
    splits = lm1b(SMALL, tokens=257, longest=64)
    for split, number in ((splits.validation, 1), (splits.test, 0)):
        assert split is not None
        path = root / "lm1b" / FOLDER / HELD_OUT / f"news.en.heldout-{number:05}-of-00050"
        lines = path.read_text(encoding="utf-8").splitlines()
        _, targets = split.batch(torch.arange(3))
        for row, line in zip(targets, lines, strict=False):
            said = vocabulary.decode([token for token in row.tolist() if token > 0])
            assert line.startswith(said[:-3])  # a letter of two bytes may be cut in half


@pytest.mark.usefixtures("root")
def test_as_many_validation_sentences_are_looked_at_as_asked_for() -> None:
    assert len(load(looked_at=20).validation) == 20


def test_the_files_may_lie_in_the_data_directory_itself(root: Path) -> None:
    before = {name: split.describe() for name, split in parts(load()).items()}
    (root / "lm1b" / FOLDER).rename(root / FOLDER)
    assert {name: split.describe() for name, split in parts(load()).items()} == before


def test_they_are_encoded_once_until_a_file_changes(root: Path) -> None:
    load()
    kept = sorted(path.name for path in (root / "cache").iterdir())
    load()
    assert sorted(path.name for path in (root / "cache").iterdir()) == kept
    changed = root / "lm1b" / FOLDER / TRAINING / "news.en-00001-of-00100"
    changed.write_text(changed.read_text(encoding="utf-8").replace(" the ", " ze "), "utf-8")
    load()
    assert len(list((root / "cache").iterdir())) > len(kept)


@pytest.mark.usefixtures("root")
def test_identity_tells_vocabularies_and_lengths_apart() -> None:
    described = [
        load(**options).train.describe() for options in ({}, {"tokens": 280}, {"longest": 12})
    ]
    assert len({found["checksum"] for found in described}) == 3


def test_a_missing_corpus_is_named_with_where_it_belongs_and_where_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHFRONT_DATA_DIR", str(tmp_path))
    said = refusal()
    assert str(tmp_path / "lm1b" / FOLDER) in said
    assert "One Billion Word Benchmark" in said
    assert "--data-dir or BATCHFRONT_DATA_DIR" in said


@pytest.mark.usefixtures("root")
def test_the_official_counts_are_expected_unless_said_otherwise() -> None:
    assert "holds 2 files news.en-*-of-*, not 99" in refusal(Sizes())


@pytest.mark.parametrize("folder", [TRAINING, HELD_OUT])
def test_a_missing_file_is_noticed_by_their_number(root: Path, folder: str) -> None:
    next((root / "lm1b" / FOLDER / folder).iterdir()).unlink()
    assert "holds 1 files" in refusal()


def test_any_layout_needs_the_two_held_out_files_that_are_looked_at(root: Path) -> None:
    (root / "lm1b" / FOLDER / HELD_OUT / "news.en.heldout-00001-of-00050").unlink()
    assert "holds no file news.en.heldout-00001-of-*, which is needed" in refusal(ANY)


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        (replace(SMALL, training_sentences=201), "hold 200 sentences, not 201"),
        (replace(SMALL, held_out_sentences=59), "hold 60 sentences, not 59"),
    ],
)
@pytest.mark.usefixtures("root")
def test_another_number_of_sentences_is_refused(sizes: Sizes, says: str) -> None:
    load()  # what was encoded of the same files under another count does not stand in
    assert says in refusal(sizes)


def test_a_file_that_is_no_text_is_named_with_the_line(root: Path) -> None:
    file = root / "lm1b" / FOLDER / HELD_OUT / "news.en.heldout-00001-of-00050"
    file.write_bytes(b"good\n\xff\xfe\n" + b"good\n" * 28)
    said = refusal()
    assert str(file) in said
    assert "line 2 is not UTF-8" in said


# The corpus that is there


@pytest.mark.skipif(REAL is None, reason="BATCHFRONT_DATA_DIR does not name a folder with a corpus")
def test_a_real_corpus_in_the_layout_is_read_to_its_last_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(str(REAL)) / "lm1b" / FOLDER
    if not folder.is_dir():
        pytest.skip(f"BATCHFRONT_DATA_DIR={REAL} holds no lm1b/{FOLDER}")
    files = sorted((folder / TRAINING).iterdir())
    if sum(file.stat().st_size for file in files) > 50e6:
        pytest.skip("the corpus is too large to encode in a test")
    (tmp_path / "lm1b").symlink_to(folder.parent)  # so that nothing is written beside it
    monkeypatch.setenv("BATCHFRONT_DATA_DIR", str(tmp_path))
    splits = books()
    lines = [line for file in files for line in file.read_bytes().split(b"\n")[:-1]]
    assert len(splits.train) == len(lines)
    assert len(splits.validation) <= 250
    inputs, targets = splits.train.batch(torch.tensor([0, len(lines) - 1]))
    assert inputs.shape == targets.shape == (2, min(32, inputs.shape[1]))
    assert splits.train.describe()["vocabulary"] == 1000
