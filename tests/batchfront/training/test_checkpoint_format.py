"""Checkpoints are written with torch and without, and either way nothing of one is run."""

import os
import pickle
import sys
from io import BytesIO
from typing import Any

import pytest
import torch

from batchfront.training.checkpoint_format import dump, load

STATE: dict[str, Any] = {"step": 3, "shown": [(1, 0.5, None)], "bytes": b"x", "complex": 1j}


def written(state: dict[str, Any]) -> BytesIO:
    """The file of a state."""
    file = BytesIO()
    dump(state, file)
    file.seek(0)
    return file


def test_a_state_without_torch_is_read_with_and_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "torch")
        file = written(STATE)
        assert load(file) == STATE
    file.seek(0)
    assert load(file) == STATE


def test_tensors_come_back() -> None:
    found = load(written({**STATE, "weights": torch.arange(3)}))
    assert found.pop("weights").tolist() == [0, 1, 2]
    assert found == STATE


class Runs:
    def __reduce__(self) -> Any:
        return os.system, ("echo run",)


@pytest.mark.parametrize("state", [{"it": Runs()}, Runs()])
def test_nothing_of_a_file_is_run(state: Any) -> None:
    with pytest.raises(pickle.UnpicklingError, match="system"):
        load(BytesIO(pickle.dumps(state)))
    file = BytesIO()
    torch.save(state, file)
    file.seek(0)
    with pytest.raises(pickle.UnpicklingError):
        load(file)
