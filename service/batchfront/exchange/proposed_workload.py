"""A workload with the learning rates that a probe proposes, as a file that `plan` takes."""

from batchfront.worker.probed import Probed, Tested

_FILE = '''"""A workload with the learning rates that a probe proposes."""

from dataclasses import replace

from batchfront import Log, Workload
from batchfront.workload.catalog import load


def workload() -> Workload:
    """The same but for its name, and its learning rates."""
    base = load({spec!r})
    space = {space}
    return replace(base, name={name!r}, search_space=space)
'''


def proposed_workload(probed: Probed, tested: Tested) -> str:
    """The file's text. It has a name of its own, as trials of another space are another search."""
    rates = f'"learning_rate": {tested.rates}'
    space = f"{{**base.search_space, {rates}}}"
    if tested.varies:
        space = f"lambda batch_size: {{**base.search_space(batch_size), {rates}}}"
    name = f"{probed.probe.workload.partition('@')[0]}_probed"
    return _FILE.format(spec=probed.planned[0], space=space, name=name)
