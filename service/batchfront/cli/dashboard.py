"""`batchfront dashboard`"""

import click

from batchfront.cli import options
from batchfront.cli import serving as listening
from batchfront.cli.output.lines import say


@click.command(
    epilog="""\b
Examples:
  batchfront dashboard --port 8081
  BATCHFRONT_STORAGE=postgresql://viewer@db/batchfront batchfront dashboard
"""
)
@options.storage
@listening.host
@listening.port(8080)
@options.option("--allow-changes", is_flag=True, help="Let whoever reaches it change and delete.")
def command(storage: str, host: str, port: int, allow_changes: bool) -> int:
    """Open the Optuna dashboard on the studies, for reading.

    Nothing can be changed or deleted through it, unless --allow-changes; a database role that
    can only read is enough. It has no authentication: keep it on 127.0.0.1, or put a proxy that
    has one in front.
    """
    from batchfront.report.web.dashboard import dashboard
    from batchfront.report.web.guards import guarded
    from batchfront.report.web.server import Server, serve
    from batchfront.store.url import open_storage

    app = dashboard(open_storage(storage), changes=allow_changes)
    server = Server(guarded(app, host), host, port)
    may = "read, change and delete every study" if allow_changes else "read every study"
    listening.warn_if_open(host, may)
    mode = "changes allowed" if allow_changes else "for reading"
    say(f"Optuna dashboard, {mode}, on {server.address} (Ctrl-C ends it)")
    return serve(server)
