"""A long sequence of tokens: crops at random to train on, windows to evaluate."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from batchfront.errors import WorkloadError
from batchfront.workload.data import Splits
from batchfront.workload.seeds import mix
from batchfront.workload.stream import Stream

LENGTH = 8


def mapped(folder: Path) -> Any:
    path = folder / "tokens.bin"
    np.arange(100, dtype=np.uint16).tofile(path)
    return np.memmap(path, np.uint16, "r")


KINDS = {
    "tensor": lambda _: torch.arange(100),
    "uint16 tensor": lambda _: torch.arange(100).to(torch.uint16),
    "uint8 tensor": lambda _: torch.arange(100).to(torch.uint8),
    "array": lambda _: np.arange(100, dtype=np.int32),
    "mapped file": mapped,
}


@pytest.mark.parametrize("kind", KINDS)
def test_targets_are_the_tokens_that_come_next(kind: str, tmp_path: Path) -> None:
    stream = Stream(KINDS[kind](tmp_path), LENGTH)  # type: ignore[no-untyped-call]
    assert len(stream) == 92
    inputs, targets = stream.batch(torch.tensor([0, 91, 17]))
    assert inputs.dtype == targets.dtype == torch.int64
    assert inputs.tolist() == [list(range(start, start + 8)) for start in (0, 91, 17)]
    assert torch.equal(targets, inputs + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_windows_follow_each_other_and_dont_overlap(kind: str, tmp_path: Path) -> None:
    stream = Stream(KINDS[kind](tmp_path), LENGTH)  # type: ignore[no-untyped-call]
    windows = stream.windows()
    inputs, _ = windows.batch(torch.arange(len(windows)))
    assert inputs.flatten().tolist() == list(range(96))
    assert stream.per_epoch == len(windows) == 12


def test_each_step_draws_its_crops_at_random_as_documented() -> None:
    stream = Stream(torch.arange(50), LENGTH)
    order = stream.order(64, 7)
    expected = [
        torch.randint(50 - LENGTH, (64,), generator=torch.Generator().manual_seed(mix(7, step)))
        for step in range(5)
    ]
    assert all(map(torch.equal, order.batches(0, 5), expected))
    assert torch.equal(order.stretch(2, 5), torch.stack(expected[2:]))
    assert torch.equal(order.batch(3), expected[3])


def test_a_split_that_is_evaluated_is_its_windows_and_moves_as_them() -> None:
    tokens = torch.arange(50)
    splits = Splits(Stream(tokens, LENGTH), Stream(tokens, LENGTH), Stream(tokens, LENGTH))
    for _ in range(2):
        assert [len(split) for _, split in splits.named()] == [42, 6, 6]
        splits = splits.to(torch.device("cpu"))


def test_it_is_identified_by_length_and_tokens(tmp_path: Path) -> None:
    def described(tokens: Any, length: int = LENGTH) -> dict[str, Any]:
        return Stream(tokens, length).describe()

    same = described(mapped(tmp_path))
    assert described(np.arange(100, dtype=np.uint16)) == same
    assert described(torch.arange(100).to(torch.uint16)) == same
    assert described(np.arange(1, 101, dtype=np.uint16)) != same
    assert described(np.arange(100, dtype=np.uint16), 9) != same


def test_of_many_tokens_pieces_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchfront.workload.stream._SUMMED", 1 << 9)
    tokens = np.arange(1000, dtype=np.int64)
    before = Stream(tokens, LENGTH).describe()
    tokens[-1] = 0
    assert Stream(tokens, LENGTH).describe() != before


@pytest.mark.parametrize(
    ("tokens", "length", "said"),
    [
        (torch.zeros(20), 4, r"whole numbers.*found float32 of shape \(20,\)"),
        (torch.zeros(4, 5, dtype=torch.int64), 4, r"found int64 of shape \(4, 5\)"),
        ("text", 4, "found str"),
        (torch.arange(20), 0, "1 token or more; found 0"),
        (torch.arange(20), 2.5, "found 2.5"),
        (torch.arange(20), 20, "needs 21 tokens or more.*found 20"),
    ],
)
def test_what_makes_no_stream_is_told(tokens: Any, length: Any, said: str) -> None:
    with pytest.raises(WorkloadError, match=said):
        Stream(tokens, length)
