"""Trials and their learning curves, as far as one worker alone would have raced them."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from batchfront.frontier.frontier import Frontier, Point
from batchfront.frontier.queries import Curves, LearningCurves, Trial, Trials


def as_raced(
    frontier: Frontier, trials: Trials, curves: Curves | None = None
) -> tuple[Trials, Curves]:
    """What a workload's trials have shown, whoever shared the race: those that went on past the
    step at which it was over, before their worker heard of it, were capped there (see
    `batchfront.study.shown.as_raced`).

    Returns the trials and learning curves, the same ones where nobody went on. The goal metric that
    a trial had where it was capped is known by its learning curve alone.
    """
    curves = curves or {}
    late = {p.study.id: found for p in frontier.points if (found := _late(p, trials, curves))}
    cut = {
        study: tuple(found.get(trial.number, trial) for trial in trials[study])
        for study, found in late.items()
    }
    return {**trials, **cut}, {
        **curves,
        **{study: _up_to(late[study], curves[study]) for study in late.keys() & curves.keys()},
    }


def _late(point: Point, trials: Trials, curves: Curves) -> dict[int, Trial]:
    """The trials of a point that went on too far, by number, as they were when it was over."""
    told = {one.number: one for one in point.shown}
    late = [
        (trial, one)
        for trial in trials.get(point.study.id, ())
        if (one := told.get(trial.number)) is not None
        if (one.outcome, one.steps) != (trial.outcome, trial.steps)
    ]
    kept = curves[point.study.id].by_trial() if late and point.study.id in curves else {}
    return {
        trial.number: replace(
            trial,
            outcome=one.outcome,
            steps=one.steps,
            steps_to_target=None,
            metric=_last(*kept[trial.number], one.steps) if trial.number in kept else None,
        )
        for trial, one in late
    }


def _last(steps: NDArray[np.int64], values: NDArray[np.float64], until: int) -> float | None:
    """The last of a learning curve's values up to a step; None where there is none, or it isn't
    finite."""
    seen = values[steps <= until]
    return float(seen[-1]) if len(seen) and np.isfinite(seen[-1]) else None


def _up_to(late: Mapping[int, Trial], curves: LearningCurves) -> LearningCurves:
    numbers, steps = curves.numbers, curves.steps
    kept = np.ones(len(steps), bool)
    for number, trial in late.items():
        kept &= (numbers != number) | (steps <= trial.steps)
    return LearningCurves(numbers[kept], steps[kept], curves.values[kept])
