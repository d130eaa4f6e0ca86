"""Processes of tests and benchmarks that end when the one that started them does, however it ends.

A fork server makes them, which has imported what they need: each starts in a moment. It stays for
as long as any of them does, and so would a worker in the middle of an hour's race.
"""

import os
from multiprocessing import get_context, parent_process
from multiprocessing.context import ForkServerContext, ForkServerProcess
from threading import Thread


def forkserver(*preload: str) -> ForkServerContext:
    """Return a context whose fork server has imported these modules.

    Of all calls in one process, those before its first process is started count.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    return context


def end_with_parent() -> None:
    """Have this process end, whatever it is doing, as soon as the one that started it has."""
    parent = parent_process()
    assert parent is not None, "this process was not started by multiprocessing"

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, name="ends-with-parent", daemon=True).start()


class Child(ForkServerProcess):
    """One process; an error or a Ctrl-C in the parent ends it too."""

    def __init__(self, target: object, args: tuple[object, ...] = ()) -> None:
        super().__init__(target=target, args=args, daemon=True)  # type: ignore[arg-type]

    def run(self) -> None:
        end_with_parent()
        super().run()
