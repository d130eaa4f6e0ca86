"""The peers in `whole_search` that run in this process: plain Optuna, and the fixed budget."""

from collections.abc import Callable
from functools import partial
from time import perf_counter, process_time

from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner

from tests.benchmarks import lean_trial
from tests.benchmarks.lean_trial import SPACING
from tests.benchmarks.plain_optuna import search
from tests.benchmarks.protocols import Cost, Found, Setting, Winner
from tests.benchmarks.whole_tasks import Reference, Result, Spent, Task

Study = Callable[[Setting, int, int], Found]
"""One batch size, from a study, a trial's step budget, and the steps that are enough."""


def optuna(
    task: Task,
    seed: int,
    reference: Reference,
    *,
    hyperband: bool = False,
    incumbent: bool = False,
    spacing: float = SPACING,
    told: float | None = None,
) -> Result:
    """TPE with a pruner, a batch size after the other; see `plain_optuna`.

    told -- the step budget in multiples of the reference; None: the workload's own
    """

    def study(setting: Setting, budget: int, enough: int) -> Found:
        pruner: Callable[[], BasePruner] = MedianPruner
        if hyperband:
            pruner = partial(HyperbandPruner, max_resource=budget)
        options = {"incumbent": incumbent, "pruner": pruner, "spacing": spacing}
        return search(setting, budget, enough=enough, **options)  # type: ignore[arg-type]

    return _each(study, task, seed, reference, told)


def fixed_budget(task: Task, seed: int, reference: Reference, *, told: float) -> Result:
    """The paper's protocol: our quasi-random points, each trained to the budget come what may."""
    return _each(_fixed, task, seed, reference, told)


def _fixed(setting: Setting, budget: int, enough: int) -> Found:
    spent, best = lean_trial.Spent(), None
    for number, point in enumerate(setting.points()):
        rate, momentum = float(point["learning_rate"]), float(point["momentum"])
        values = {"learning_rate": rate, "one_minus_momentum": 1 - momentum}
        passed = [
            step
            for step, metric in lean_trial.looks(setting, values, number, budget, spent)
            if setting.workload.goal.passed(metric)
        ]
        if passed and (best is None or passed[0] < best.steps):
            best = Winner(passed[0], number)
        if best is not None and best.steps <= enough:
            break
    return Found(best, Cost(setting.batch_size, spent.steps, spent.evaluated))


def _each(study: Study, task: Task, seed: int, reference: Reference, told: float | None) -> Result:
    cpu, wall, spent = process_time(), perf_counter(), []
    for b in task.batch_sizes:
        setting, enough = task.setting(b, seed), reference.enough(b)
        found = study(setting, reference.budget(setting, told), enough)
        steps = None if found.winner is None else found.winner.steps
        within = found.winner is not None and found.winner.steps <= enough
        trials = found.winner.number + 1 if found.winner and within else task.limit
        spent.append(Spent(b, steps, trials, found.cost.trained, found.cost.evaluated))
    return Result(tuple(spent), process_time() - cpu, perf_counter() - wall)
