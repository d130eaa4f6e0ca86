"""What is said beside the progress: once, after a minute, where the time goes."""

from batchfront.cli.output.progress import TimeWatch
from batchfront.phase_timer import Clock
from batchfront.store.database import Storage
from batchfront.study.study import Filter
from tests.searches import worker
from tests.waiting import Seconds


def test_after_a_minute_it_is_said_once_where_the_time_goes(storage: Storage) -> None:
    time, clocked = Seconds(), Seconds()
    watch = TimeWatch(storage, time)
    assert watch.due() is None
    clock = Clock(clocked)
    with clock:
        ledger = worker(storage, "one", clock=clock)
        clock.begin("evaluation")
        clocked.pass_by(50)
        clock.end()
        ledger.wait(Filter())
    assert watch.due() is None  # not yet
    time.pass_by(61)
    line = watch.due()
    assert line is not None
    assert line.startswith("where the time goes: evaluation ")
    assert watch.due() is None


def test_nothing_is_said_before_workers_have_told(storage: Storage) -> None:
    time = Seconds()
    watch = TimeWatch(storage, time)
    time.pass_by(1000)
    assert watch.due() is None
