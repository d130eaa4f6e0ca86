"""Tensors that belong together: one, or several in dicts, tuples and lists, in any depth.

What a data set gives for its examples, what a model makes of it, and what a loss takes are each of
this kind. Of examples, every tensor in it has a row for each.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from batchfront.phrases import first_few

Nested = Any
"""A tensor, or a dict, tuple, list or dataclass known to torch's pytrees that holds some."""

_NAMED = 4  # tensors of a structure, in a message


def tensors_in(nested: Nested) -> list[Tensor]:
    """The tensors of a structure, in order."""
    if isinstance(nested, Tensor):
        return [nested]
    return [leaf for leaf in pytree.tree_leaves(nested) if isinstance(leaf, Tensor)]


def map_tensors(function: Callable[[Tensor], Any], nested: Nested) -> Nested:
    """The same structure with `function` of each of its tensors; whatever else it holds stays."""
    if isinstance(nested, Tensor):
        return function(nested)
    return pytree.tree_map_only(Tensor, function, nested)


def differentiable(nested: Nested) -> list[Tensor]:
    """Those of its tensors that a gradient may go through: of floating-point numbers."""
    return [tensor for tensor in tensors_in(nested) if tensor.is_floating_point()]


def join_rows(parts: Sequence[Nested]) -> Nested:
    """Structures of one kind as one: their tensors' rows below each other.

    Raises ValueError where they are of different kinds, or hold something of their own that isn't a
    tensor.
    """
    return combine(parts, _joined, "the parts of a batch have outputs of different structures")


def combine(
    parts: Sequence[Nested], of_leaves: Callable[[Sequence[Any]], Any], unlike: str
) -> Nested:
    """One structure of several of a kind: at each place, `of_leaves` of what they hold there.

    Raises ValueError, with what `unlike` says, where they are of different kinds.
    """
    if all(isinstance(part, Tensor) for part in parts):
        return of_leaves(parts)
    leaves, kinds = zip(*map(pytree.tree_flatten, parts), strict=True)
    if any(kind != kinds[0] for kind in kinds):
        raise ValueError(unlike)
    return pytree.tree_unflatten([of_leaves(own) for own in zip(*leaves, strict=True)], kinds[0])


def _joined(leaves: Sequence[Any]) -> Any:
    """Of what is no tensor, all parts must have the same: it has no rows."""
    first = leaves[0]
    if isinstance(first, Tensor):
        return torch.cat(list(leaves))
    if isinstance(first, bool | int | float | str | None) and all(one == first for one in leaves):
        return first
    raise ValueError(
        f"the parts of a batch have outputs of which each has a {type(first).__name__} of its own; "
        "give tensors with a row for each example"
    )


def rows_at(nested: Nested, rows: Tensor) -> Nested:
    """The rows at these positions of every tensor."""
    return map_tensors(lambda tensor: tensor[rows.to(tensor.device)], nested)


def is_of_rows(nested: Nested, count: int) -> bool:
    """Whether it is made of tensors alone, each with `count` rows; and holds at least one."""
    if isinstance(nested, Tensor):
        return nested.ndim > 0 and nested.shape[0] == count
    leaves = [leaf for leaf in pytree.tree_leaves(nested) if leaf is not None]
    return bool(leaves) and all(
        isinstance(leaf, Tensor) and leaf.ndim > 0 and leaf.shape[0] == count for leaf in leaves
    )


def describe_nested(nested: Nested) -> str:
    """What it is, in a few words for a message: "float32 (8, 28, 28)" of a tensor, and of others
    their first few tensors by where they are."""
    if isinstance(nested, Tensor):
        return f"{str(nested.dtype).removeprefix('torch.')} {tuple(nested.shape)}"
    leaves = pytree.tree_leaves_with_path(nested)
    if len(leaves) == 1 and not leaves[0][0]:
        return type(nested).__name__
    kind = type(nested).__name__
    said = [f"{pytree.keystr(path)}: {describe_nested(leaf)}" for path, leaf in leaves]
    return f"{kind} of {first_few(said, _NAMED)}" if said else f"empty {kind}"
