"""How long a search will take on this machine, before it starts."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from batchfront.advice import defined
from batchfront.advice.step_time import StepTimes
from batchfront.advice.timings import Timing, load_timings
from batchfront.errors import UsageError
from batchfront.ledger.status import StudyStatus, load_status
from batchfront.ledger.time_left import TimeLeft, left_of
from batchfront.store.snapshot import Source, snapshot
from batchfront.study.study import Filter, Study
from batchfront.training.device_names import describe_all, resolve, visible_gpus


@dataclass(frozen=True)
class SearchTime:
    """How long studies will take.

    left -- seconds, with the workers there will be
    by   -- what it rests on, in words; empty where nothing tells
    """

    left: TimeLeft
    by: str


def search_time(
    source: Source, studies: Sequence[Study], wanted: Filter, workers: int
) -> SearchTime:
    """How long the open trials of planned studies will take so many workers, by what a step took of
    the trials that have ended, or else by the timings of the workload, one trial at a time and
    without evaluations."""
    with snapshot(source) as moment:
        shown = load_status(moment, wanted).studies
        timings = load_timings(moment, studies[0].workload) if studies else []
    if any(one.cost is not None for one in shown):
        return SearchTime(left_of(shown, workers), "as the trials went that have ended")
    device, times = _times(studies[0], timings) if studies else ("", None)
    if times is None:
        return SearchTime(TimeLeft(None, None), "")
    timed = [replace(one, cost=_seconds(times, one)) for one in shown]
    return SearchTime(left_of(timed, workers), f"as `batchfront time` found on {device}")


def _times(study: Study, timings: Sequence[Timing]) -> tuple[str, StepTimes | None]:
    """What timings say of a step, and the kind of device that they are of: this machine's, or else
    another that was timed."""
    mine = [one for one in timings if one.precision == defined.precision(study)]
    if not mine:
        return "", None
    gpus = visible_gpus()
    here = describe_all([resolve("auto", len(gpus))], gpus)
    kinds = [one.device for one in mine]
    device = here if here in kinds else kinds[0]
    of = [one for one in mine if one.device == device]
    return device, StepTimes.of(of, whole=defined.whole(study), group=defined.group(study))


def _seconds(times: StepTimes, study: StudyStatus) -> float | None:
    """What a step of one trial takes by itself; None of batch sizes too far from those timed."""
    with suppress(UsageError):
        return times.at(study.batch_size).seconds.median
    return None
