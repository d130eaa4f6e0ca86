"""What Ctrl-C, SIGTERM and SIGHUP mean to a command that runs trials."""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

log = logging.getLogger(__name__)

GRACE_SECONDS = 8.0
"""From SIGTERM until a worker ends, whatever it is in the middle of. Saving and handing back is
meant to take less; what is left then passes to others with the lease."""


_SAVING = "saving the trials in hand (Ctrl-C again to drop them) …"


def _ending() -> list[signal.Signals]:
    """The signals that ask a process to end: SIGTERM, and SIGHUP of a session that was dropped,
    unless the process was started to outlive that (`nohup`)."""
    outlives = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [signal.SIGTERM] if outlives else [signal.SIGTERM, signal.SIGHUP]


@contextmanager
def end_on_sigterm() -> Iterator[None]:
    """SIGTERM, or SIGHUP, ends the process at once, with exit code 0: for while there is nothing
    to save."""
    before = {n: signal.signal(n, lambda *_: sys.exit(0)) for n in _ending()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stop_on_signals(
    *, within: float | None = None, saying: str = _SAVING
) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C, SIGTERM or SIGHUP sets. A second Ctrl-C raises
    KeyboardInterrupt.

    saying -- what is said to the first Ctrl-C
    within -- seconds after a SIGTERM or SIGHUP in which the block has to end, or else the process
              does
    """
    stop = threading.Event()

    def on_signal(number: int, _: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    ending = _ending()
    before = {n: signal.signal(n, on_signal) for n in (signal.SIGINT, *ending)}
    try:
        with _ending_heard(ending, stop, within, saying):
            yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def time_limit(seconds: float | None, stop: threading.Event) -> Iterator[threading.Event]:
    """Set `stop` when the time is over; None: it never is. The event that is given says whether it
    was."""
    over = threading.Event()

    def end() -> None:
        over.set()
        stop.set()

    timer = threading.Timer(seconds or 0, end)
    timer.daemon = True
    if seconds is not None:
        timer.start()
    try:
        yield over
    finally:
        timer.cancel()


@contextmanager
def _ending_heard(
    ending: Sequence[int], stop: threading.Event, within: float | None, saying: str
) -> Iterator[None]:
    """Set `stop` on the signals that ask to end, from a thread of its own: the handler has to wait
    for its turn while the main thread is in a call that doesn't return, such as to a database that
    is frozen."""
    told, telling = socket.socketpair()
    telling.setblocking(False)
    before = signal.set_wakeup_fd(telling.fileno(), warn_on_full_buffer=False)
    over = threading.Event()

    def listen() -> None:
        asked = False
        while number := told.recv(1):
            # Not in the handler, which may have come into the middle of another line.
            if number[0] == signal.SIGINT and not asked:
                asked = True
                log.warning(saying)
            if number[0] in ending:
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
