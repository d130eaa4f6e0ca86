"""What a good user of Optuna and PyTorch would write today to find the fewest steps to a goal.

Nothing of batchfront's search or engine is used: TPE with a pruner, one study for each batch size,
a trial that stops as soon as it passes the goal and gives its steps as the value. Data in memory,
the leanest training loop, evaluation at steps one percent apart.
"""

from collections.abc import Callable

import optuna
from optuna.pruners import BasePruner, MedianPruner
from optuna.trial import TrialState

from tests.benchmarks.lean_trial import SPACING, Spent, looks, ranges
from tests.benchmarks.protocols import Cost, Found, Setting, Winner


def search(
    setting: Setting,
    budget: int,
    *,
    incumbent: bool,
    pruner: Callable[[], BasePruner] = MedianPruner,
    enough: int = 0,
    spacing: float = SPACING,
) -> Found:
    """`study.optimize` with at most as many trials as ours, each up to a budget.

    incumbent -- whether a trial also stops at the best steps so far: a line that users who think
                 of it can add, as a pruner can't know that the value is the step itself
    enough    -- steps with which the search is content, and ends
    spacing   -- between two looks, relative to the step
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=setting.study_seed % 2**32),
        pruner=pruner(),
    )
    spent = Spent()

    def objective(trial: optuna.Trial) -> float:
        limit = budget
        if incumbent:
            reached = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            limit = min([budget, *(int(t.value) for t in reached if t.value is not None)])
        return _steps_to_goal(trial, setting, limit, spent, spacing)

    def content(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if trial.state is TrialState.COMPLETE and trial.value and trial.value <= enough:
            study.stop()

    study.optimize(objective, n_trials=setting.trials, callbacks=[content])
    cost = Cost(setting.batch_size, spent.steps, spent.evaluated)
    done = [t for t in study.trials if t.state is TrialState.COMPLETE]
    if not done:
        return Found(None, cost)
    best = study.best_trial
    return Found(Winner(int(best.value or 0), best.number), cost)


def _steps_to_goal(
    trial: optuna.Trial, setting: Setting, budget: int, spent: Spent, spacing: float
) -> float:
    values = {
        name: trial.suggest_float(name, low, high, log=True)
        for name, (low, high) in ranges(setting).items()
    }
    for step, error in looks(setting, values, trial.number, budget, spent, spacing):
        if setting.workload.goal.passed(error):
            return step
        trial.report(error, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    raise optuna.TrialPruned("budget spent, or not finite")
