"""A worker in this very process, so that everything can be stepped through."""

from dataclasses import dataclass
from threading import Event

from batchfront.launch.launcher import Launched, Work
from batchfront.launch.worker_options import Order, in_environment
from batchfront.store.commands import command


@dataclass(frozen=True)
class Debug:
    """Runs workers one after another in this process; errors keep their traceback."""

    work: Work

    def launch(self, order: Order, workers: int = 1) -> Launched:
        """Nothing runs until it is held, and a breakpoint anywhere stops it."""

        def hold(_: Event) -> None:
            for _number in range(workers):
                with in_environment(order.environment()):
                    self.work(order.arguments())

        assert order.storage is not None  # which only a manifest leaves to its reader
        return Launched((), command(order.storage, "status", "--watch"), "Ctrl-C", hold)
