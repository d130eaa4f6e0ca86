"""How a workload's model is computed, where there is a choice."""

from dataclasses import dataclass
from typing import Any, Literal

from batchfront.errors import WorkloadError
from batchfront.workload.given import refuse_no_bool, shown

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Execution:
    """How a model is computed.

    precision     -- "float32", or "bfloat16": by autocast, with weights and updates in float32.
                     What is computed differs by more than rounding, so it is part of a study's
                     identity
    compile       -- by `torch.compile`, where the device gains from it
    channels_last -- images lie in memory with their channels last, which convolutions work
                     fastest on

    The last two change sums by rounding alone.
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    channels_last: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.precision, str) or self.precision not in PRECISIONS:
            names = " or ".join(map(repr, PRECISIONS))
            raise WorkloadError(f"precision is {shown(self.precision)}; write {names}")
        for name in ("compile", "channels_last"):
            refuse_no_bool(f"Execution: {name}", getattr(self, name))

    def describe(self) -> dict[str, Any]:
        """What of it a study's identity holds: nothing of the default."""
        return {} if self.precision == "float32" else {"precision": self.precision}
