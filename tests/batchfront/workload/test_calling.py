"""A model is given its inputs as its forward takes them."""

from typing import Any

import pytest
import torch
from torch import nn

from batchfront.workload.calling import arguments_for, called

X, Y = torch.ones(2, 3), torch.zeros(2)


class One(nn.Module):
    def forward(self, inputs: Any) -> Any:
        return "one", inputs


class Named(nn.Module):
    def forward(self, ids: Any = None, mask: Any = None, labels: Any = None) -> Any:
        return "named", ids, mask, labels


class Several(nn.Module):
    def forward(self, left: Any, right: Any, scale: float = 1.0) -> Any:
        return "several", left, right


class Open(nn.Module):
    def forward(self, *parts: Any, **more: Any) -> Any:
        return "open", parts, more


CASES = [
    (One(), X, ("one", X)),
    (One(), {"pixels": X}, ("one", {"pixels": X})),
    (One(), (X, Y), ("one", (X, Y))),
    (Named(), {"ids": X, "labels": Y}, ("named", X, None, Y)),
    (Named(), X, ("named", X, None, None)),
    (Several(), (X, Y), ("several", X, Y)),
    (Several(), [X, Y], ("several", X, Y)),
    (Several(), {"right": Y, "left": X}, ("several", X, Y)),
    (Open(), X, ("open", (X,), {})),
    (Open(), {"pixels": X}, ("open", (), {"pixels": X})),
    (Open(), (X, Y), ("open", (X, Y), {})),
]


@pytest.mark.parametrize(("model", "inputs", "wanted"), CASES)
def test_a_dict_goes_by_its_names_and_a_tuple_by_its_places_where_forward_has_them(
    model: nn.Module, inputs: Any, wanted: Any
) -> None:
    assert called(model, inputs) == wanted


def test_a_dict_with_a_name_that_forward_lacks_is_one_argument() -> None:
    assert arguments_for(Named(), {"ids": X, "other": Y}) == (({"ids": X, "other": Y},), {})


def test_what_is_wrapped_around_a_model_is_called_as_the_model_would_be() -> None:
    assert called(Several(), (X, Y), Open()) == ("open", (X, Y), {})
