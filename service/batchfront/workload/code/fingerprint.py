"""The code that a workload's results hang on, followed from its functions through the user's own
modules: a checksum for each function, class and constant that they use.

What is installed is not followed, batchfront and torch among it; of a package that a model, a loss
or an optimizer uses, the version counts. A distribution that offers workloads to the catalog counts
as the user's own. Comments, formatting, docstrings, annotations and the names of files and folders
don't count. Of constants that a module reads as it is imported, the value counts. What isn't seen:
what functions read when they are called (files, the environment), and what the function that makes
the workload does beside making it.
"""

from dataclasses import dataclass

from batchfront.workload.code.own_modules import package_of
from batchfront.workload.code.versions import Code
from batchfront.workload.code.walk import Walk
from batchfront.workload.data import Splits, is_in_memory
from batchfront.workload.workload import Workload


@dataclass(frozen=True)
class Fingerprint:
    """A workload's code.

    parts -- what its model, loss, update, metric, algorithm, schedule and weight hang on
    data  -- what its data hang on beside that
    """

    parts: Code
    data: Code

    @classmethod
    def of(cls, workload: Workload) -> "Fingerprint":
        """The code of a workload that has just been loaded."""
        walk = Walk(package_of(workload.data))
        for role, part in (
            ("model", workload.model),
            ("loss", workload.loss),
            ("metric", workload.goal.metric),
            ("algorithm", workload.algorithm),
            ("schedule", workload.schedule),
            ("weight", workload.weight),
        ):
            walk.follow(role, part)
        if workload.update is not None:  # which older studies know nothing of
            walk.follow("update", workload.update)
        parts = dict(walk.entries)
        walk.versions = False
        walk.follow("data", workload.data)
        data = {name: known for name, known in walk.entries.items() if name not in parts}
        return cls(parts, data)

    def code(self, splits: Splits) -> dict[str, str]:
        """All that counts: how data are made doesn't where every example of them has been summed,
        as `Split` does it."""
        summed = all(is_in_memory(split) for _, split in splits.named())
        return {**self.parts} if summed else {**self.parts, **self.data}
