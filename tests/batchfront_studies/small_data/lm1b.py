"""A small One Billion Word Benchmark: its folders and file names, sentences of our own."""

import random
from pathlib import Path

from batchfront_studies.datasets.lm1b import FOLDER, HELD_OUT, TRAINING, Sizes

SMALL = Sizes(training_files=2, training_sentences=200, held_out_files=2, held_out_sentences=60)

_WORDS = (
    "the of and a to in he was that it his had with as for at on not her be is but by which you "
    "said from all have they one this she were so would there been when him no an or who their "
    "what my will more if them into up could out some do then like very over such upon time "
    "Réaumur naïve 42 1,000"
)


def write_lm1b(root: Path, sizes: Sizes = SMALL) -> None:
    """A corpus of that size below the data directory `root`, the same every time."""
    parts = (
        (TRAINING, "news.en-{:05}-of-00100", 1, sizes.training_files, sizes.training_sentences),
        (HELD_OUT, "news.en.heldout-{:05}-of-00050", 0, sizes.held_out_files,
         sizes.held_out_sentences),
    )  # fmt: skip
    draw = random.Random(0)
    for folder, name, first, files, sentences in parts:
        assert files is not None
        assert sentences is not None
        below = root / "lm1b" / FOLDER / folder
        below.mkdir(parents=True)
        for number in range(files):
            count = sentences * (number + 1) // files - sentences * number // files
            text = "".join(f"{sentence(draw)}\n" for _ in range(count))
            (below / name.format(first + number)).write_text(text, encoding="utf-8")


def sentence(draw: random.Random) -> str:
    """1 to 12 words, the frequent ones first in _WORDS, and a full stop, with spaces between."""
    ranks = (int(draw.paretovariate(0.7)) for _ in range(draw.randint(1, 12)))
    words = _WORDS.split()
    return " ".join([*(words[rank % len(words)] for rank in ranks), "."])
