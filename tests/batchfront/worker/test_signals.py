"""A signal that asks a process to end sets the event, and one that it is to outlive doesn't."""

import signal
from collections.abc import Iterator

import pytest

from batchfront.worker.signals import stop_on_signals
from tests.waiting import LONG


@pytest.fixture(autouse=True)
def _hung_up() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_stops_and_leaves_the_handlers_as_they_were(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        signal.raise_signal(number)
        assert stop.wait(LONG)
    assert signal.getsignal(number) is before


def test_the_first_ctrl_c_says_what_is_done_now(caplog: pytest.LogCaptureFixture) -> None:
    with stop_on_signals(saying="ending the run …") as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.wait(LONG)

    assert caplog.messages == ["ending the run …"]


def test_a_process_that_was_started_to_outlive_its_terminal_goes_on() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_on_signals() as stop:
        signal.raise_signal(signal.SIGHUP)
        assert not stop.is_set()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
