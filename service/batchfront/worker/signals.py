"""What Ctrl-C and SIGTERM mean to a command that runs trials."""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click

log = logging.getLogger(__name__)

GRACE_SECONDS = 8.0
"""From SIGTERM until a worker ends, whatever it is in the middle of. Saving and handing back is
meant to take less; what is left then passes to others with the lease."""


@contextmanager
def end_on_sigterm() -> Iterator[None]:
    """SIGTERM ends the process at once, with exit code 0: for while there is nothing to save."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stop_on_signals(*, within: float | None = None) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets. A second Ctrl-C raises KeyboardInterrupt.

    within -- seconds after a SIGTERM in which the block has to end, or else the process does
    """
    stop = threading.Event()

    def on_signal(number: int, _: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not stop.is_set() and number == signal.SIGINT:
            click.echo("\nSaving the trials in hand (Ctrl-C again to drop them) …", err=True)
        stop.set()

    before = {n: signal.signal(n, on_signal) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _sigterm_heard(stop, within):
            yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _sigterm_heard(stop: threading.Event, within: float | None) -> Iterator[None]:
    """Set `stop` on SIGTERM from a thread of its own: the handler has to wait for its turn while
    the main thread is in a call that doesn't return, such as to a database that is frozen."""
    told, telling = socket.socketpair()
    telling.setblocking(False)
    before = signal.set_wakeup_fd(telling.fileno(), warn_on_full_buffer=False)
    over = threading.Event()

    def listen() -> None:
        while number := told.recv(1):
            if number[0] == signal.SIGTERM:
                stop.set()
                if within is not None and not over.wait(within):
                    log.warning("out of time: what isn't released is free in half a minute")
                    os._exit(0)

    thread = threading.Thread(target=listen, name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        telling.close()
        thread.join()
        told.close()
