"""`batchfront doctor`"""

import os

import click

from batchfront.cli import options


@click.command(
    epilog="""\b
Examples:
  batchfront doctor --checkpoint-dir /shared/checkpoints
  batchfront doctor --format json
"""
)
@options.storage
@options.checkpoint_dir
@options.trial_dir
@options.code
@options.table_or_json
def command(
    storage: str,
    checkpoint_dir: str | None,
    trial_dir: str | None,
    code: tuple[str, ...],
    format_: str,
) -> int:
    """Look for what keeps a search from going on.

    The database and the rights on it, clocks, workers and what they share, what is stuck, and this
    machine's devices, folders and disks: each with the command that mends it. Writes nothing to the
    database. Exits with 1 if something has to be mended.
    """
    from batchfront.cli.output.doctor import print_findings
    from batchfront.doctor.examination import examine
    from batchfront.doctor.finding import Level

    places = {
        "checkpoints": options.checkpoints_for(storage, checkpoint_dir),
        "programs' folders": str(options.trials_for(storage, trial_dir)),
        "data sets": os.environ.get("BATCHFRONT_DATA_DIR"),
    }
    findings = examine(storage, {about: where for about, where in places.items() if where}, code)
    print_findings(findings, format_)
    return int(any(one.level is Level.FAILURE for one in findings))
