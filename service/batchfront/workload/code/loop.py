"""The code that a loop's results hang on, followed from its function as a workload's is."""

from batchfront.workload.code.own_modules import package_of
from batchfront.workload.code.versions import Code
from batchfront.workload.code.walk import Walk
from batchfront.workload.loop import Loop


def loop_code(loop: Loop) -> Code:
    """A checksum for each definition that the training function of a loop uses, in the user's own
    modules. What it reads when it is called, data above all, isn't seen. Of
    a loop that is trained elsewhere, nothing is known."""
    if loop.trained_elsewhere:
        return {}
    walk = Walk(package_of(loop.train))
    walk.follow("train", loop.train)
    return dict(walk.entries)
