"""The rules by which a learning rate is said to go with the batch size."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from batchfront.vocabulary import Purpose
from batchfront.workload.search_space import Metaparameters, Value


def effective_rate(params: Mapping[str, Value]) -> float | None:
    """lr / (1 - momentum), if there are both: how far a step goes in the end."""
    if "learning_rate" not in params or "momentum" not in params:
        return None
    remaining = 1 - float(params["momentum"])
    return float(params["learning_rate"]) / remaining if remaining > 0 else None


RULES: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {Purpose.LINEAR: lambda ratio: ratio, Purpose.SQUARE_ROOT: math.sqrt}
)
"""Rules, by the purpose of the studies that follow them: what the learning rate is multiplied by,
given the ratio of the batch sizes."""


def followed(rule: str, params: Metaparameters, ratio: float) -> dict[str, Value]:
    """The metaparameters that a rule makes of others, for a batch size `ratio` times as large.

    The learning rate alone is scaled; all others are kept, those of its schedule too.
    """
    rate = float(params["learning_rate"])
    return {**params, "learning_rate": rate * RULES[rule](ratio)}
