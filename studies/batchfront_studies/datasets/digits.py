"""Handwritten digits of 8x8 pixels (Alpaydin and Kaynak 1998), as scikit-learn bundles them."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from batchfront.workload.data import Split, Splits

TRAIN, VALIDATION = 1_297, 300
"""How the 1,797 images are split, the rest being for test: ours, as there is no customary way."""

SPLIT_SEED = 0


def digits() -> Splits:
    """1,297 / 300 / 200 images, float32 in [0, 1], shape [n, 64]; targets int64, shape [n].

    The split is a permutation drawn from a fixed seed, the same in every process.
    """
    images, labels = _table()
    inputs = torch.from_numpy(images).to(torch.float32) / 16  # pixels are counts from 0 to 16
    targets = torch.from_numpy(labels).to(torch.int64)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(SPLIT_SEED))
    train, held_out = order[:TRAIN], order[TRAIN:]
    validation, test = held_out[:VALIDATION], held_out[VALIDATION:]
    return Splits(*(Split(inputs[part], targets[part]) for part in (train, validation, test)))


def _table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The images, shape [n, 64], and their digits, from the file in which scikit-learn keeps both.
    Its own `load_digits` reads the same, and takes a second to import."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")
    rows = np.loadtxt(Path(package.origin).parent / "datasets/data/digits.csv.gz", delimiter=",")
    return rows[:, :-1], rows[:, -1]
