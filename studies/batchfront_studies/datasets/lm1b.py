"""The One Billion Word Benchmark (Chelba et al. 2013), or any text in its layout of files.

Sentences of news, one a line, already cut into words, shuffled, in the files that its archive
holds: `training-monolingual.tokenized.shuffled/news.en-00001-of-00100` to `-00099-`, and
`heldout-monolingual.tokenized.shuffled/news.en.heldout-00000-of-00050` to `-00049-`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path

from batchfront.errors import DataError
from batchfront.workload.data import Splits
from batchfront_studies.datasets.cache import fingerprint
from batchfront_studies.datasets.directory import data_directory
from batchfront_studies.datasets.sentences import Sentences, encoded
from batchfront_studies.datasets.vocabulary import learnt

FOLDER = "1-billion-word-language-modeling-benchmark-r13output"

TRAINING = "training-monolingual.tokenized.shuffled"

HELD_OUT = "heldout-monolingual.tokenized.shuffled"

TEST, VALIDATION = "news.en.heldout-00000-of-*", "news.en.heldout-00001-of-*"
"""The first held-out file is the customary test set; the second, of about 6,000 sentences, is
our validation set: all fifty would cost more to look at than training does in between."""

TOKENS = 32_000
"""Subwords in the vocabulary, at most, and so outputs of a model: as many as Vaswani et al. 2017
had (section 5.1)."""

LONGEST = 64
"""Tokens of a sentence after which it is cut, its end included. Ours: as few sentences as are
longer, a batch would mostly be padding to the length of its longest."""

SAMPLE = 10_000
"""Sentences at the start of each training file that the vocabulary is learnt from: ours."""


@dataclass(frozen=True)
class Sizes:
    """Files, and sentences in them. The official ones; None: however many there are."""

    training_files: int | None = 99
    training_sentences: int | None = 30_301_028
    held_out_files: int | None = 50
    held_out_sentences: int | None = 306_688


ANY = Sizes(None, None, None, None)


def lm1b(
    sizes: Sizes = Sizes(),
    tokens: int = TOKENS,
    longest: int = LONGEST,
    looked_at: int = 10_000,
    name: str = "lm1b",
) -> Splits:
    """30,301,028 sentences to train on, and two held-out files of some 6,000 each.

    tokens    -- at most so many in the vocabulary, learnt from the first 10,000 sentences of
                 each training file
    longest   -- tokens after which a sentence is cut, its end included
    looked_at -- sentences at the start of the validation file that are the validation set
    name      -- what it is called in messages and file names

    Which subwords, and where sentences are cut, are ours.

    Read from `lm1b/1-billion-word-language-modeling-benchmark-r13output` in `data_directory()`, or
    from that folder directly in it. Encoded once, and kept: see
    `batchfront_studies.datasets.cache`.

    Raises DataError if files are missing, damaged or not as many as they should be.
    """
    folder = _folder(name)
    training = _files(folder / TRAINING, "news.en-*-of-*", name, sizes.training_files)
    held_out = _files(folder / HELD_OUT, "news.en.heldout-*-of-*", name, sizes.held_out_files)
    sample = [fingerprint(training), f"the first {SAMPLE} lines of each"]
    vocabulary = learnt(name, sample, lambda: _starts(training), tokens)

    def split(called: str, files: list[Path], first: int | None = None) -> Sentences:
        whole = training if files is training else held_out
        due = sizes.training_sentences if files is training else sizes.held_out_sentences

        def texts() -> Iterator[str]:
            _check_count(name, whole, due)
            return islice(chain.from_iterable(map(lines, files)), first)

        of = [fingerprint(files), first, fingerprint(whole), due]
        return encoded(f"{name}-{called}", of, texts, vocabulary, longest)

    test, validation = (_one(held_out, folder, part, name) for part in (TEST, VALIDATION))
    return Splits(
        split("training", training),
        split("validation", [validation], looked_at),
        split("test", [test]),
    )


def lines(file: Path) -> Iterator[str]:
    """The lines of a text file in UTF-8, one after another. DataError where it is not that."""
    number = 0
    try:
        with file.open("rb") as opened:
            for line in opened:
                number += 1
                yield line.decode().removesuffix("\n")
    except UnicodeDecodeError as e:
        raise DataError(f"{file} is damaged (line {number} is not UTF-8: {e.reason})") from e
    except OSError as e:
        raise DataError(f"{file} can't be read ({e.strerror})") from e


def _starts(files: list[Path]) -> Iterator[str]:
    return chain.from_iterable(islice(lines(file), SAMPLE) for file in files)


def _folder(name: str) -> Path:
    root = data_directory()
    for folder in (root / "lm1b" / FOLDER, root / FOLDER):
        if folder.is_dir():
            return folder
    raise DataError(
        f"{name}: {root / 'lm1b' / FOLDER} not found; unpack {FOLDER}.tar.gz there (the One "
        "Billion Word Benchmark, from www.statmt.org/lm-benchmark), or name the folder that "
        "holds lm1b with --data-dir or BATCHFRONT_DATA_DIR"
    )


def _files(folder: Path, pattern: str, name: str, due: int | None) -> list[Path]:
    found = sorted(folder.glob(pattern))
    if not found or due not in (None, len(found)):
        wanted = "at least one" if due is None else f"{due}"
        raise DataError(
            f"{name}: {folder} holds {len(found)} files {pattern}, not {wanted}; unpack "
            f"{FOLDER}.tar.gz anew"
        )
    return found


def _one(files: list[Path], folder: Path, pattern: str, name: str) -> Path:
    for file in files:
        if file.match(pattern):
            return file
    raise DataError(f"{name}: {folder / HELD_OUT} holds no file {pattern}, which is needed")


def _check_count(name: str, files: list[Path], due: int | None) -> None:
    """Counted before anything is encoded, which takes a hundred times as long."""
    if due is None:
        return
    found = sum(_line_count(file) for file in files)
    if found != due:
        raise DataError(
            f"{name}: the {len(files)} files in {files[0].parent} hold {found:,} sentences, not "
            f"{due:,}; unpack {FOLDER}.tar.gz anew"
        )


def _line_count(file: Path) -> int:
    try:
        with file.open("rb") as opened:
            pieces = iter(partial(opened.read, 1 << 20), b"")
            return sum(piece.count(b"\n") for piece in pieces)
    except OSError as e:
        raise DataError(f"{file} can't be read ({e.strerror})") from e
