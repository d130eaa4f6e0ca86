"""A worker in this very process, so that everything can be stepped through."""

from collections.abc import Sequence
from threading import Event

from batchfront.launch.launcher import Launched
from batchfront.launch.worker_options import Order, in_environment
from batchfront.store.commands import command


class Debug:
    """Runs workers one after another in this process; errors keep their traceback."""

    def launch(self, order: Order, workers: int = 1) -> Launched:
        """Nothing runs until it is held, and a breakpoint anywhere stops it."""

        def hold(_: Event) -> None:
            for _number in range(workers):
                with in_environment(order.environment()):
                    work_here(order.arguments())

        assert order.storage is not None  # which only a manifest leaves to its reader
        return Launched((), command(order.storage, "status", "--watch"), "Ctrl-C", hold)


def work_here(arguments: Sequence[str]) -> None:
    """Run `batchfront work` in this process, and raise what it raises."""
    from batchfront.cli.main import cli

    cli.main(["work", *arguments], prog_name="batchfront", standalone_mode=False)
