"""`batchfront probe`"""

from pathlib import Path

import click

from batchfront.cli import options
from batchfront.cli.commands import telling_how_it_may
from batchfront.cli.completion import stored_or_to_run
from batchfront.cli.output.lines import complain, say
from batchfront.cli.streams import others_aside
from batchfront.errors import BatchfrontError
from batchfront.worker.probed import Probed, ProbeOptions


@click.command(
    epilog="""\b
Examples:
  batchfront probe digits/mlp/momentum
  batchfront probe ./my_workload.py:my_workload --batch-size 64 --save probed.py
"""
)
@click.argument("workload", shell_complete=stored_or_to_run)
@options.storage
@options.told(ProbeOptions, "asked")
@click.option(
    "--save",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.py",
    help="Write the workload with the learning rates that a range test proposes, for plan.",
)
@options.data_dir
@options.format_
def command(
    workload: str, storage: str, asked: ProbeOptions, save: Path | None, format_: str
) -> int:
    """Foretell how far a larger batch helps, from the gradient noise of one run.

    WORKLOAD is a name as `batchfront status` shows it, or what `plan` takes: it need not be
    planned. Trains its winner again or, before any search, one run with the middle of its search
    space and the learning rate of a range test; says the batch size B_c that the noise foretells,
    with the error that such predictions had, and what to plan. What was read is kept in the
    database.
    """
    from batchfront.advice.noise_scale import keep_probe
    from batchfront.exchange.model import require_new_file
    from batchfront.frontier.frontier import load_frontier
    from batchfront.store.url import open_to_write
    from batchfront.training.device_names import refuse_missing
    from batchfront.worker.probe import probe
    from batchfront.worker.signals import stop_on_signals
    from batchfront.workload.trust import Trust

    Trust.of(asked.code)  # refuses what isn't there
    if save is not None:
        require_new_file(save, "--save")
    opened = open_to_write(storage)
    refuse_missing(asked.device)
    with stop_on_signals(saying="ending the run …") as stop, telling_how_it_may():
        try:
            with others_aside():
                probed = probe(opened, workload, asked, Path.cwd(), stop, say)
        except BatchfrontError:
            if not stop.is_set():
                raise
            say("Interrupted; nothing was kept.")
            return 130
    keep_probe(opened, probed.probe)
    saved = None if save is None else _write(save, probed)
    frontier = None
    if probed.probe.trial is not None:
        frontier = load_frontier(opened, probed.probe.workload)
    from batchfront.cli.output.probe import print_probe  # late: it brings scipy

    print_probe(opened, probed, frontier, saved, format_)
    return 0


def _write(path: Path, probed: Probed) -> Path | None:
    """Write the workload that a probe proposes; None, and a word on why, where it proposes none."""
    from batchfront.exchange.proposed_workload import proposed_workload
    from batchfront.whole_file import write_files

    if probed.tested is None:
        why = "a winner's run needs no range test"
        if probed.probe.trial is None:
            why = "its learning rate isn't searched on a log scale"
        complain(f"--save {path}: nothing to write, as {why}")
        return None
    write_files({path: proposed_workload(probed, probed.tested).encode()}, "--save")
    return path
