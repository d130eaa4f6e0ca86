"""Ax in `whole_search`: its default strategy, one trial after another, an experiment for each batch
size, over log steps: quasi-random points, then a Gaussian process with expected improvement."""

import logging
import math
from time import perf_counter, process_time

from ax.api.client import Client
from ax.api.configs import RangeParameterConfig
from ax.utils.common.logger import set_ax_logger_levels

from tests.benchmarks import lean_trial
from tests.benchmarks.protocols import Setting
from tests.benchmarks.whole_tasks import Reference, Result, Spent, Task

_BEYOND = 2
"""A trial is stopped at so many times the best steps so far, and that is what Ax is told of it: it
has no word for "more than so many", and leaves out of its model what failed."""


def ax(task: Task, seed: int, reference: Reference) -> Result:
    """A `Client` for each batch size."""
    set_ax_logger_levels(logging.ERROR)
    cpu, wall = process_time(), perf_counter()
    studies = [task.setting(b, seed) for b in task.batch_sizes]
    spent = tuple(
        _study(s, reference.budget(s, None), reference.enough(s.batch_size)) for s in studies
    )
    return Result(spent, process_time() - cpu, perf_counter() - wall)


def _study(setting: Setting, budget: int, enough: int) -> Spent:
    client = Client(random_seed=setting.study_seed % 2**32)
    client.configure_experiment(
        [
            RangeParameterConfig(name=name, parameter_type="float", bounds=ends, scaling="log")
            for name, ends in lean_trial.ranges(setting).items()
        ]
    )
    client.configure_optimization(objective="-log_steps")
    spent, best, number = lean_trial.Spent(), None, 0
    while number < setting.trials and (best is None or best > enough):
        limit = budget if best is None else min(budget, _BEYOND * best)
        for index, point in client.get_next_trials(max_trials=1).items():
            values = {name: float(value) for name, value in point.items()}
            steps = lean_trial.steps_to_goal(setting, values, number, limit, spent)
            client.complete_trial(index, raw_data={"log_steps": math.log(steps or limit)})
            best = min(filter(None, (best, steps)), default=None)
            number += 1
    return Spent(
        setting.batch_size, best, number, spent.steps * setting.batch_size, spent.evaluated
    )
