"""`batchfront init`"""

import click

from batchfront.cli import options
from batchfront.cli.output.lines import put


@click.command(
    epilog="""\b
Examples:
  batchfront init --storage postgresql://batchfront@db/batchfront
  batchfront init --upgrade
"""
)
@options.storage
@click.option("--upgrade", is_flag=True, help="Bring an older database to this version.")
def command(storage: str, upgrade: bool) -> None:
    """Make a database's tables, once.

    `run` and `plan` do it too; as a step of its own it suits a role that may create tables where
    the workers' may not. Back a database up before it is upgraded, and stop all workers.
    """
    from batchfront.store.url import init_storage

    put(init_storage(storage, upgrade=upgrade))
