"""Text of Common Crawl from local shards, such as those of C4 (Raffel et al. 2020).

A shard is a file of documents: JSON lines (`.json`, `.jsonl`, either with `.gz`) with the text of
a document under "text", or Parquet with a column `text`. Files with `validation` in their names
are held out, those with `train` are trained on: C4's `c4-train.00000-of-01024.json.gz` and
`c4-validation.00000-of-00008.json.gz`.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from batchfront.errors import DataError
from batchfront.workload.data import Splits
from batchfront_studies.datasets.cache import fingerprint
from batchfront_studies.datasets.directory import data_directory
from batchfront_studies.datasets.lm1b import LONGEST, TOKENS, lines
from batchfront_studies.datasets.sentences import Sentences, encoded
from batchfront_studies.datasets.vocabulary import learnt

FOLDER = "common_crawl"

ENDINGS = (".json", ".json.gz", ".jsonl", ".jsonl.gz", ".parquet")

SAMPLE = 100_000
"""Documents at the start of the first shard that the vocabulary is learnt from: ours."""

_ROWS = 256  # of a Parquet file read at once

_BETWEEN_SENTENCES = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"')\]”’]))\s+")


@dataclass(frozen=True)
class Sizes:
    """How much of the shards there are is used, from the start of their sorted names.

    shards   -- training files: 8 of C4's 1,024 hold, by its 156 billion tokens, tens of millions
                of sentences, as many as LM1B (not counted by us)
    held_out -- sentences of the first validation file to stop by, and of the second to report
    """

    shards: int = 8
    held_out: int = 5_000


def common_crawl(sizes: Sizes = Sizes(), tokens: int = TOKENS, longest: int = LONGEST) -> Splits:
    """Sentences of the first 8 training shards, and 5,000 of each of two held-out ones.

    tokens  -- at most so many in the vocabulary, learnt from the first 100,000 documents of the
               first training shard
    longest -- tokens after which a sentence is cut, its end included

    A document is cut at its line breaks, and after `.`, `!` or `?` (with a closing quote or
    bracket) where white space follows. The paper has 25.8 billion sentences of a crawl that was
    not published, without saying how it cut them: all of this is ours.

    There is a test split where there are two validation shards.

    Read from `common_crawl` in `data_directory()`. Encoded once, and kept: see
    `batchfront_studies.datasets.cache`.

    Raises DataError if shards are missing or damaged.
    """
    training, held_out = _shards(sizes)
    first = fingerprint(training[:1])
    vocabulary = learnt(
        "common_crawl", [first, SAMPLE], lambda: islice(documents(training[0]), SAMPLE), tokens
    )

    def split(called: str, files: list[Path], count: int | None = None) -> Sentences:
        def texts() -> Iterator[str]:
            every = chain.from_iterable(map(documents, files))
            return islice(chain.from_iterable(map(sentences_of, every)), count)

        of = [fingerprint(files), count]
        return encoded(f"common_crawl-{called}", of, texts, vocabulary, longest)

    return Splits(
        split("training", training),
        split("validation", held_out[:1], sizes.held_out),
        split("test", held_out[1:2], sizes.held_out) if held_out[1:] else None,
    )


def sentences_of(document: str) -> Iterator[str]:
    """A document cut at line breaks and after the ends of sentences, without empty ones."""
    for line in document.splitlines():
        for piece in _BETWEEN_SENTENCES.split(line):
            if sentence := piece.strip():
                yield sentence


def documents(shard: Path) -> Iterator[str]:
    """The texts of a shard, one after another, a few in memory. DataError where it is damaged."""
    return _parquet(shard) if shard.suffix == ".parquet" else _json_lines(shard)


def _shards(sizes: Sizes) -> tuple[list[Path], list[Path]]:
    folder = data_directory() / FOLDER
    found = sorted(file for file in folder.glob("*") if file.name.endswith(ENDINGS))
    held_out = [file for file in found if "validation" in file.name]
    training = [file for file in found if "train" in file.name and file not in held_out]
    if len(training) < sizes.shards or not held_out:
        raise DataError(
            f"common_crawl: {folder} holds {len(training)} training and {len(held_out)} "
            f"validation shards, not {sizes.shards} and 1; put C4's (allenai/c4, en: "
            "c4-train.00000-of-01024.json.gz and on, c4-validation.00000-of-00008.json.gz) or "
            "others of JSON lines or Parquet there, or name the folder that holds "
            f"{FOLDER} with --data-dir or BATCHFRONT_DATA_DIR"
        )
    return training[: sizes.shards], held_out


def _json_lines(shard: Path) -> Iterator[str]:
    for number, line in enumerate(_unpacked(shard) if shard.suffix == ".gz" else lines(shard), 1):
        try:
            document = json.loads(line)
        except ValueError as e:
            raise _damaged(shard, f"line {number} is no JSON: {e}") from e
        yield _text(shard, f"line {number}", document)


def _unpacked(shard: Path) -> Iterator[str]:
    try:
        with gzip.open(shard, "rt", encoding="utf-8", newline="\n") as opened:
            yield from opened
    except (EOFError, OSError, ValueError, zlib.error) as e:
        raise _damaged(shard, str(e)) from e


def _parquet(shard: Path) -> Iterator[str]:
    import pyarrow as pa  # slow to import, and listing workloads needs no data
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(shard) as opened:
            if "text" not in opened.schema_arrow.names:
                raise _damaged(shard, "it has no column text")
            for rows in opened.iter_batches(_ROWS, columns=["text"]):
                for row in rows.to_pylist():
                    number += 1
                    yield _text(shard, f"row {number}", row)
    except (OSError, pa.ArrowException) as e:
        raise _damaged(shard, " ".join(str(e).split())) from e


def _text(shard: Path, where: str, document: Any) -> str:
    text = document.get("text") if isinstance(document, dict) else None
    if not isinstance(text, str):
        raise _damaged(shard, f'{where} has no string under "text"')
    return text


def _damaged(shard: Path, found: str) -> DataError:
    return DataError(f"common_crawl: {shard} is damaged ({found}); put it there anew")
