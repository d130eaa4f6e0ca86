"""What Ctrl-C and SIGTERM mean to a command that runs trials."""

import signal
import threading

import click


def stop_on_signals() -> threading.Event:
    """An event that the first Ctrl-C or SIGTERM sets; a second Ctrl-C ends the process at once."""
    stop = threading.Event()

    def on_signal(number: int, _: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not stop.is_set() and number == signal.SIGINT:
            click.echo("\nSaving the trials in hand (Ctrl-C again to drop them) …", err=True)
        stop.set()

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    return stop
