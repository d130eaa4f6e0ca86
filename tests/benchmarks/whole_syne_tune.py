"""Syne Tune in `whole_search`: BOHB in this process, asked and told as its own loop would.

Its back ends start a process for each trial, which would cost more than these trials do.
"""

import datetime
import logging
import random
from time import perf_counter, process_time

import numpy as np
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import loguniform
from syne_tune.optimizer.baselines import BOHB
from syne_tune.optimizer.scheduler import SchedulerDecision

from tests.benchmarks import lean_trial
from tests.benchmarks.protocols import Setting
from tests.benchmarks.whole_tasks import Reference, Result, Spent, Task

_FACTOR = 3  # the best third of a rung goes on
_RUNGS = 5  # below the budget: from 1/243 of it to a third


def bohb(task: Task, seed: int, reference: Reference) -> Result:
    """A scheduler for each batch size, one after another."""
    logging.getLogger("syne_tune").setLevel(logging.ERROR)
    cpu, wall = process_time(), perf_counter()
    studies = [task.setting(b, seed) for b in task.batch_sizes]
    spent = tuple(
        _study(s, reference.budget(s, None), reference.enough(s.batch_size)) for s in studies
    )
    return Result(spent, process_time() - cpu, perf_counter() - wall)


def _study(setting: Setting, budget: int, enough: int) -> Spent:
    seed = setting.study_seed % 2**32
    random.seed(seed)
    np.random.seed(seed)
    scheduler = BOHB(
        {name: loguniform(*ends) for name, ends in lean_trial.ranges(setting).items()},
        metric="error",
        time_attr="step",
        max_t=budget,
        grace_period=max(1, budget // _FACTOR**_RUNGS),
        reduction_factor=_FACTOR,
        random_seed=seed,
    )
    spent, best, number = lean_trial.Spent(), None, 0
    while number < setting.trials and (best is None or best > enough):
        suggestion = scheduler.suggest()
        trial = Trial(number, suggestion.config, datetime.datetime.now())
        scheduler.on_trial_add(trial)
        steps = _trained(setting, scheduler, trial, budget, spent)
        best = min(filter(None, (best, steps)), default=None)
        number += 1
    return Spent(
        setting.batch_size, best, number, spent.steps * setting.batch_size, spent.evaluated
    )


def _trained(
    setting: Setting, scheduler: BOHB, trial: Trial, budget: int, spent: lean_trial.Spent
) -> int | None:
    """A trial until the scheduler stops it, or it passes the goal: its steps then."""
    rungs = iter([max(1, budget // _FACTOR**k) for k in range(_RUNGS, -1, -1)])
    rung, last = next(rungs), {"step": 1, "error": 1.0}
    for step, error in lean_trial.looks(setting, trial.config, trial.trial_id, budget, spent):
        last = {"step": step, "error": error}
        if setting.workload.goal.passed(error):
            scheduler.on_trial_complete(trial, last)
            return step
        if step >= rung:
            rung = next(rungs, budget)
            if scheduler.on_trial_result(trial, last) == SchedulerDecision.STOP:
                scheduler.on_trial_remove(trial)
                return None
    if last["step"] < (1 - 2 * lean_trial.SPACING) * budget:  # it ended as it was no longer finite
        last["error"] = 1.0
    scheduler.on_trial_complete(trial, last)
    return None
