"""`batchfront dashboard`"""

import click

from service.cli import options


@click.command(epilog="\b\nExample:\n  batchfront dashboard --port 8081")
@options.storage
@options.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@options.option("--port", default=8080, show_default=True, help="Port to listen on.")
def command(storage: str, host: str, port: int) -> None:
    """Open the Optuna dashboard on the studies.

    The dashboard has no authentication, and whoever reaches it can delete studies: keep it on
    127.0.0.1, or put a proxy in front.
    """
    from optuna.storages import RDBStorage
    from optuna_dashboard import run_server  # type: ignore[attr-defined]

    from service.errors import UsageError
    from service.storage import open_storage

    opened = open_storage(storage)
    url = opened.url.render_as_string(hide_password=False)
    opened.close()
    if host not in ("127.0.0.1", "localhost", "::1"):
        click.echo(
            f"batchfront: warning: anyone who reaches {host}:{port} can delete studies", err=True
        )
    click.echo(f"Optuna dashboard on http://{host}:{port}/ (Ctrl-C ends it)", err=True)
    try:
        run_server(RDBStorage(url), host=host, port=port)
    except OSError as error:
        raise UsageError(f"--host {host} --port {port}: {error.strerror or error}") from None
