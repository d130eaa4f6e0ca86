"""A workload that batchfront trains, as planning knows it: checked, and its code known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from batchfront.training.preflight.checked import Checked
from batchfront.training.preflight.checks import check
from batchfront.workload.code.fingerprint import Fingerprint
from batchfront.workload.code.versions import Code
from batchfront.workload.workload import Workload


@dataclass(frozen=True)
class ExaminedWorkload:
    """What checking it has found: see `batchfront.training.examine.Examined`."""

    checked: Checked
    code: Code

    @property
    def identity_parts(self) -> dict[str, Any]:
        return self.checked.identity_parts

    @property
    def tries(self) -> dict[str, str | None]:
        return self.checked.tries

    @property
    def notes(self) -> list[str]:
        return self.checked.notes

    @property
    def train_examples(self) -> int:
        return self.checked.splits.train.per_epoch

    def refuse_devices(self, count: int) -> None:
        self.checked.refuse_devices(count)


def examine(workload: Workload, batch_sizes: Sequence[int]) -> ExaminedWorkload:
    """Check a workload, and find the code that its results hang on."""
    fingerprint = Fingerprint.of(workload)  # before it has run, and changed what it may hold
    checked = check(workload, batch_sizes)
    return ExaminedWorkload(checked, fingerprint.code(checked.splits))
