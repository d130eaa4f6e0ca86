"""What a good user of Optuna and PyTorch would write today to find the fewest steps to a goal.

Nothing of batchfront's search or engine is used: TPE with a median pruner, one study for each
batch size, a trial that stops as soon as it passes the goal and gives its steps as the value.
Data in memory, momentum by `torch.optim.SGD`, evaluation at steps one percent apart.
"""

import math
from dataclasses import dataclass

import optuna
import torch
import torch.nn.functional as F
from torch import nn

from tests.benchmarks.protocols import Cost, Found, Setting, Winner


@dataclass
class _Spent:
    steps: int = 0
    evaluated: int = 0


def search(setting: Setting, budget: int, *, incumbent: bool) -> Found:
    """`study.optimize` with as many trials as ours, each up to a budget.

    incumbent -- whether a trial also stops at the best steps so far: a line that users who think
                 of it can add, as a pruner can't know that the value is the step itself
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=setting.study_seed % 2**32),
        pruner=optuna.pruners.MedianPruner(),
    )
    spent = _Spent()

    def objective(trial: optuna.Trial) -> float:
        limit = budget
        if incumbent:
            reached = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
            limit = min([budget, *(int(t.value) for t in reached if t.value is not None)])
        return _steps_to_goal(trial, setting, limit, spent)

    study.optimize(objective, n_trials=setting.trials)
    cost = Cost(setting.batch_size, spent.steps, spent.evaluated)
    done = [t for t in study.trials if t.state is optuna.trial.TrialState.COMPLETE]
    if not done:
        return Found(None, cost)
    best = study.best_trial
    return Found(Winner(int(best.value or 0), best.number), cost)


def _steps_to_goal(trial: optuna.Trial, setting: Setting, budget: int, spent: _Spent) -> float:
    learning_rate = trial.suggest_float("learning_rate", 1e-3, 3.0, log=True)
    momentum = 1 - trial.suggest_float("one_minus_momentum", 0.01, 1.0, log=True)
    torch.manual_seed(setting.study_seed % 2**32 + trial.number)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=momentum, fused=True)
    train, size = setting.splits.train, setting.batch_size
    order, look = torch.empty(0, dtype=torch.int64), 1
    for step in range(1, budget + 1):
        while len(order) < size:
            order = torch.cat([order, torch.randperm(len(train))])
        indices, order = order[:size], order[size:]
        loss = F.cross_entropy(model(train.inputs[indices]), train.targets[indices])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        spent.steps += 1
        if step < look:
            continue
        look = max(step + 1, math.floor(step * 1.01))
        error = _error(model, setting, spent)
        if error < setting.workload.goal.value:
            return step
        if not math.isfinite(loss.item()):
            raise optuna.TrialPruned("not finite")
        trial.report(error, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    raise optuna.TrialPruned("budget spent")


@torch.inference_mode()
def _error(model: nn.Module, setting: Setting, spent: _Spent) -> float:
    held_out = setting.splits.validation
    spent.evaluated += len(held_out)
    wrong = model(held_out.inputs).argmax(dim=1) != held_out.targets
    return float(wrong.float().mean())
