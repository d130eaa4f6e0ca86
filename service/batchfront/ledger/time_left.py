"""How long searches still take: about, and at most, from what their trials have shown so far."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from batchfront.ledger.status import Status, StudyStatus

_FURTHER = 1.25  # than it has come, a race may go that nobody has won


class TimeLeft(NamedTuple):
    """Seconds; None where nothing tells.

    about -- as far as the trials that have passed the goal tell where their race ends, or those of
             the nearest batch size do
    most  -- if no further trial passes the goal: each open one goes on to its step budget, or to
             where its race ends for certain, and a search that shares out its trials gets all
             that it may
    """

    about: float | None
    most: float | None

    def shared_by(self, workers: int) -> "TimeLeft":
        """The same for so many workers together."""
        about, most = (None if part is None else part / max(workers, 1) for part in self)
        return TimeLeft(about, most)


def time_left(study: StudyStatus, status: Status) -> TimeLeft:
    """How long one worker would still need for a study: for each open trial the steps that it has
    left, times the seconds that a step takes. Trials that go on past the goal count from when they
    have passed it. Of a search that shares out its trials, nothing tells how many it gets."""
    return _time_left(study, status.studies)


def all_time_left(status: Status) -> TimeLeft:
    """How long the workers there are still need for all of it; without any it isn't known."""
    workers = len(status.workers)
    return left_of(status.studies, workers) if workers else TimeLeft(None, None)


def left_of(studies: Sequence[StudyStatus], workers: int) -> TimeLeft:
    """How long so many workers need for what is left of all these studies."""
    found = [_time_left(study, studies) for study in studies]

    def added(parts: Sequence[float | None]) -> float | None:
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    whole = TimeLeft(added([one.about for one in found]), added([one.most for one in found]))
    return whole.shared_by(workers)


def _time_left(study: StudyStatus, among: Sequence[StudyStatus]) -> TimeLeft:
    if not study.open and not study.further:
        return TimeLeft(0.0, 0.0)
    costs = _cost(study, among)
    if costs is None:
        return TimeLeft(None, None)

    def seconds(steps: float | None, cost: float) -> float | None:
        if steps is None:
            return None
        return ((study.open - study.beyond) * max(steps - study.behind, 0) + study.left) * cost

    cost, dearest = costs
    last = study.budget if study.cap is None else study.cap
    most = seconds(last, dearest)
    if study.further:
        added = None if study.budget is None else study.further * study.budget * dearest
        return TimeLeft(None, None if most is None or added is None else most + added)
    return TimeLeft(seconds(_goes_to(study, among), cost), most)


def _goes_to(study: StudyStatus, among: Sequence[StudyStatus]) -> float | None:
    """The steps that the open trials of a study go to, about."""
    if study.cap is not None:
        return float(study.cap)
    if not study.finishers:
        return None if study.budget is None else float(study.budget)
    found = _at_pace(study)
    if found is None:
        near = _nearest(study, [one for one in among if _at_pace(one) is not None])
        if near is None:
            return None
        # As if steps halve when the batch doubles; of a larger batch no fewer are counted on.
        found = (_at_pace(near) or 0.0) * max(near.batch_size / study.batch_size, 1.0)
        found = max(found, _FURTHER * study.lead)
    return found if study.budget is None else min(found, study.budget)


def _at_pace(study: StudyStatus) -> float | None:
    """The steps in which as many trials will have passed the goal as are to, if they go on passing
    it as they do; None before the first has."""
    if study.cap is not None:
        return float(study.cap)
    if study.best is None:
        return None
    if not study.open:
        return float(study.best if study.finishers == 1 else (study.budget or study.best))
    furthest = _FURTHER * max(study.best, study.lead)
    if study.finishers == 1 or not study.passed:
        return furthest
    return max(furthest, max(study.best, study.lead) * study.finishers / study.passed)


def _cost(study: StudyStatus, among: Sequence[StudyStatus]) -> tuple[float, float] | None:
    """The seconds that one worker takes for a step of one trial, about and at most; None where
    nothing tells yet."""
    own = _own_cost(study)
    if own is not None:
        return own, own
    near = _nearest(study, [one for one in among if _own_cost(one) is not None])
    found = None if near is None else _own_cost(near)
    if near is None or found is None:
        return None
    # A step takes at most as much longer as the batch is larger.
    return found, found * max(study.batch_size / near.batch_size, 1.0)


def _own_cost(study: StudyStatus) -> float | None:
    """As its workers go now, which is slower for each of few trials that are computed as one than
    it was for each of many; or as those have gone that have ended."""
    return study.workers / study.rate if study.rate else study.cost


def _nearest(study: StudyStatus, among: Sequence[StudyStatus]) -> StudyStatus | None:
    mine = [one for one in among if one.workload == study.workload]
    return min(mine, key=lambda one: abs(math.log(one.batch_size / study.batch_size)), default=None)
