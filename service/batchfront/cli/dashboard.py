"""`batchfront dashboard`"""

import click

from batchfront.cli import options
from batchfront.cli.serving import Listening, listening


@click.command(
    epilog="""\b
Examples:
  batchfront dashboard --port 8081
  BATCHFRONT_STORAGE=postgresql://viewer@db/batchfront batchfront dashboard
  batchfront dashboard --host 0.0.0.0 --allowed-host batchfront.example --token-file ~/token
"""
)
@options.storage
@listening(8080)
@options.option("--allow-changes", is_flag=True, help="Let whoever it answers change and delete.")
def command(storage: str, at: Listening, allow_changes: bool) -> int:
    """Open the Optuna dashboard on the studies, for reading.

    Nothing can be changed or deleted through it, unless --allow-changes; a database role that
    can only read is enough. Whoever reaches it sees it, unless --token-file.
    """
    from batchfront.report.web.dashboard import dashboard
    from batchfront.report.web.server import serve
    from batchfront.store.url import open_storage

    if allow_changes:
        at.require_names()
    opened = open_storage(storage)
    app = dashboard(opened, changes=allow_changes)
    mode = "changes allowed" if allow_changes else "for reading"
    may = "read, change and delete every study" if allow_changes else "read every study"
    return serve(at.open(app, opened, f"Optuna dashboard, {mode},", may))
