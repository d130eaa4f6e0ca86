"""What a workload's checks have found."""

from dataclasses import dataclass
from typing import Any

from batchfront.errors import WorkloadError
from batchfront.workload.data import Splits


@dataclass(frozen=True)
class Checked:
    """A workload that has passed its checks.

    identity_parts -- what its data and its model gave for its studies' identity
    whole          -- why a batch must go through as a whole on one device, in a clause; None: it
                      need not
    lost           -- what training changes and no checkpoint holds, by name; None: nothing
    left_out       -- the trainable parameters that no optimizer has, by name; None: none
    """

    name: str
    splits: Splits
    identity_parts: dict[str, Any]
    whole: str | None
    lost: str | None
    left_out: str | None = None

    @property
    def tries(self) -> dict[str, str | None]:
        """What trying the workload has shown, as its studies keep it for workers."""
        return {"whole": self.whole, "lost": self.lost}

    @property
    def notes(self) -> list[str]:
        """What a user should know before it runs, a line each."""
        said = []
        if self.whole is not None:
            said.append(f"batches are computed whole, on one device, as {self.whole}")
        if self.lost is not None:
            said.append(
                f"an interrupted trial starts again from step 0, as training changes {self.lost}, "
                "which no checkpoint holds; a buffer of the model (register_buffer) is kept"
            )
        if self.left_out is not None:
            said.append(f"no optimizer is given {self.left_out}, which is therefore not trained")
        return [f"{self.name}: {line}" for line in said]

    def refuse_devices(self, count: int) -> None:
        """Raise WorkloadError if so many devices can't compute a trial together."""
        if count > 1 and self.whole is not None:
            raise WorkloadError(
                f"{self.name}: --devices-per-trial {count} shares every batch, and {self.whole}"
            )
        if count > 1 and self.lost is not None:
            raise WorkloadError(
                f"{self.name}: --devices-per-trial {count} hands a trial's state on, and training "
                f"changes {self.lost}, which is not part of it; keep it in a buffer of the model "
                "(register_buffer)"
            )
