"""`batchfront logs`"""

import socket
from pathlib import Path
from typing import Any

import click

from batchfront.cli import options
from batchfront.cli.completion import stored
from batchfront.cli.output.lines import say
from batchfront.errors import UsageError
from batchfront.printable import printable_pieces


@click.command(
    epilog="""\b
Examples:
  batchfront logs shakespeare/char_gpt/adamw --batch-size 8 --trial 3
  batchfront logs shakespeare/char_gpt/adamw --batch-size 8 --trial 3 --follow
"""
)
@click.argument("workload", shell_complete=stored)
@options.storage
# Not from the environment, where they are a program's that runs in a trial.
@click.option("--batch-size", type=int, required=True, help="Of the trial's study.")
@click.option("--trial", type=int, required=True, help="The trial's number in it.")
@options.option("--follow", is_flag=True, help="Print what is added, too, until the trial ends.")
@options.trial_dir
def command(
    workload: str, storage: str, batch_size: int, trial: int, follow: bool, trial_dir: str | None
) -> None:
    """Print what a trial's program has printed, on standard output and error.

    WORKLOAD is a name as `batchfront status` shows it. Of a program that prints a lot the beginning
    and the end are kept. The output lies where the trial ran, under the worker's --trial-dir.
    """
    from batchfront.frontier.queries import require
    from batchfront.ledger.whereabouts import find_trial, is_done
    from batchfront.store.migrations import database_name
    from batchfront.store.url import open_storage
    from batchfront.training.programs.folder import TrialFolders, earlier_starts
    from batchfront.training.programs.logs import read_log
    from batchfront.training.programs.printed import log_files

    opened = open_storage(storage)
    require(opened, (workload,))
    found = find_trial(opened, workload, batch_size, trial)
    root = options.trials_for(storage, trial_dir)
    folder = TrialFolders(root, database_name(opened)).path(found.study.name, trial)
    if not log_files(folder):
        raise UsageError(_why_none(opened, found, folder, root))
    if earlier := earlier_starts(folder):
        say(f"What earlier starts of it have printed: {earlier[0].parent}")
    pieces = read_log(folder, until=lambda: not follow or is_done(opened, found))
    for piece in printable_pieces(pieces):
        print(piece, end="", flush=True)


def _why_none(opened: Any, found: Any, folder: Path, root: Path) -> str:
    """Why there is no log of a trial, and what would be right."""
    from batchfront.store.commands import command as whole

    trial = f"trial {found.number} of study {found.study.name}"
    if found.study.kind is None:
        report = whole(opened, "report", found.study.workload)
        return (
            f"{trial} is trained by batchfront and prints nothing of its own; {report} shows what "
            "it has come to"
        )
    if not found.has_begun:
        status = whole(opened, "status", found.study.workload)
        return f"{trial} has not begun, so it has printed nothing; {status} shows which have"
    if found.study.kind == "loop":
        host = "" if found.host is None else f", on {found.host}"
        return (
            f"{trial} has no log in {folder}: a loop that yields prints where its worker does"
            f"{host}, and one that calls trial.report has its log there"
        )
    if found.host not in (None, socket.gethostname()):
        return (
            f"{trial} ran on {found.host}, and what it has printed lies there, in "
            f"{folder.relative_to(root)} under its worker's --trial-dir; run this command there"
        )
    return (
        f"nothing that {trial} has printed is kept in {folder}; if its worker ran elsewhere, or "
        "with another --trial-dir, name that folder by --trial-dir"
    )
