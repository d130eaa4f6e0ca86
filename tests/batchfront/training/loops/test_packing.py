"""What loops keep comes back as it was, and what can't is named."""

from collections import Counter, OrderedDict
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch

from batchfront.errors import WorkloadError
from batchfront.training.checkpoint_format import dump, load
from batchfront.training.loops.packing import packed, unlike, unpacked

KEPT: dict[str, Any] = {
    "plain": [None, True, 3, 0.1, 1 + 2j, "text", b"bytes", b"", float("inf")],
    "nested": {"a": ({"b": [1]}, 2), 3: "by number", ("pair", 1): "by pair"},
    "array": np.arange(6, dtype=np.int16).reshape(2, 3),
    "turned": np.arange(6.0).reshape(2, 3).T,
    "empty": np.zeros((0, 3)),
    "flags": np.array([True, False]),
    "scalar": np.float32(0.1),
    "counter": Counter({30: 1, 80: 2}),
    "text": np.array(["one", "three"]),
}


def back(state: Any) -> Any:
    """Packed, through a file, and unpacked."""
    file = BytesIO()
    dump({"state": packed(state, "it")}, file)
    file.seek(0)
    return unpacked(load(file)["state"])


@pytest.mark.parametrize("name", KEPT)
def test_plain_values_and_arrays_come_back(name: str) -> None:
    before, after = KEPT[name], back(KEPT[name])
    assert type(after) is type(before)
    if isinstance(before, np.ndarray | np.generic):
        assert after.dtype == before.dtype
        assert np.array_equal(after, before)
    else:
        assert after == before


def test_an_array_that_comes_back_can_be_changed_and_is_a_copy() -> None:
    before = np.zeros(3)
    state = packed(before, "it")
    before += 1
    after = unpacked(state)
    after += 2
    assert after.tolist() == [2, 2, 2]


def test_a_models_and_an_optimizers_states_come_back() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.AdamW(model.parameters(), amsgrad=True)
    model(torch.randn(4, 2)).sum().backward()
    optimizer.step()
    state = back([model.state_dict(), optimizer.state_dict()])
    other = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    other.load_state_dict(state[0])
    torch.optim.AdamW(other.parameters(), amsgrad=True).load_state_dict(state[1])
    assert all(map(torch.equal, model.state_dict().values(), other.state_dict().values()))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (
            {"seen": [object()]},
            r"it\['seen'\]\[0\] is of type object, which no checkpoint holds; l",
        ),
        ({"f": np.array([{}])}, r"it\['f'\] is an array of objects, which no checkpoint holds"),
        ({object(): 1}, r"it has a key of type object, not a string"),
        ({"r": torch.Generator()}, r"it\['r'\] is of type Generator, which no checkpoint holds"),
    ],
)
def test_what_no_checkpoint_holds_is_named_with_its_place(state: Any, said: str) -> None:
    with pytest.raises(WorkloadError, match=said):
        packed(state, "it")


def test_an_ordered_dict_is_a_dict() -> None:
    assert back(OrderedDict(a=1)) == {"a": 1}


def test_where_two_states_differ_in_a_bit_is_told() -> None:
    state = {"model": {"weight": torch.tensor([1.0, float("nan")])}, "losses": [float("nan"), 1]}
    assert unlike(back(state), back(state), "it") is None
    other = {**state, "model": {"weight": torch.tensor([1.0 + 2e-7, float("nan")])}}
    assert unlike(state, other, "it") == "it['model']['weight']"
    assert unlike(state, {**state, "losses": [float("nan"), 1.0]}, "it") == "it['losses'][1]"
    assert unlike(state, {"model": 1}, "it") == "it"
