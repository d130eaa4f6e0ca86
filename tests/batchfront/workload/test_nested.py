"""Structures of tensors are taken apart and put together again as they were."""

from collections import OrderedDict
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from batchfront.workload.nested import (
    describe_nested,
    is_of_rows,
    join_rows,
    map_tensors,
    rows_at,
    tensors_in,
)


class Both(NamedTuple):
    left: Tensor
    right: Tensor


def rows(count: int) -> Tensor:
    return torch.arange(2 * count).view(count, 2)


STRUCTURES = [
    rows(4),
    (rows(4), [rows(4) + 1]),
    {"a": rows(4), "b": {"c": rows(4)}},
    OrderedDict(z=rows(4), a=rows(4)),
    Both(rows(4), rows(4)),
    {"mask": None, "x": rows(4)},
]


@pytest.mark.parametrize("nested", STRUCTURES, ids=lambda nested: type(nested).__name__)
def test_rows_that_are_taken_apart_are_joined_to_the_same_structure(nested: object) -> None:
    parts = [rows_at(nested, torch.tensor(at)) for at in ([0], [1, 2], [3])]
    joined = join_rows(parts)
    assert type(joined) is type(nested)
    pairs = list(zip(tensors_in(joined), tensors_in(nested), strict=True))
    assert pairs
    assert all(torch.equal(one, other) for one, other in pairs)
    assert is_of_rows(nested, 4)
    assert not is_of_rows(nested, 3)


@pytest.mark.parametrize("nested", [7, "word", (), {}, [rows(4), "word"], rows(4)[0, 0], None])
def test_what_is_no_tensor_with_an_example_in_every_row_is_told(nested: object) -> None:
    assert not is_of_rows(nested, 4)


def test_parts_of_different_structures_are_not_joined() -> None:
    with pytest.raises(ValueError, match="different structures"):
        join_rows([{"a": rows(1)}, {"b": rows(1)}])


def test_what_has_no_rows_is_joined_only_where_all_parts_have_the_same() -> None:
    assert join_rows([{"a": rows(1), "b": "x"}] * 2)["b"] == "x"
    for one, other in ((1, 2), (object(), object())):
        with pytest.raises(ValueError, match="of its own"):
            join_rows([{"a": rows(1), "b": one}, {"a": rows(1), "b": other}])


def test_what_is_no_tensor_stays_as_it_is() -> None:
    assert map_tensors(lambda t: t.tolist(), {"a": torch.ones(1), "b": "c"}) == {"a": [1], "b": "c"}


def test_a_structure_is_described_by_its_first_tensors() -> None:
    assert describe_nested(rows(4)) == "int64 (4, 2)"
    assert describe_nested({"a": rows(4), "b": (rows(1), 3)}) == (
        "dict of ['a']: int64 (4, 2), ['b'][0]: int64 (1, 2), ['b'][1]: int"
    )
    assert describe_nested([rows(1)] * 9).endswith("and 5 more")
    assert describe_nested([]) == "empty list"
    assert describe_nested(3.5) == "float"
