"""Ray Tune in `whole_search`: ASHA over random points, one worker process, stopped at the goal."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.stopper import Stopper

from tests.benchmarks import lean_trial
from tests.benchmarks.protocols import Setting
from tests.benchmarks.whole_tasks import Reference, Result, Spent, Task

_FACTOR = 3  # the best third of a rung goes on
_RUNGS = 5  # below the budget: from 1/243 of it to a third


def asha(task: Task, seed: int, reference: Reference) -> Result:
    """A `Tuner` for each batch size, one after another; CPU seconds are of all Ray's processes."""
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    cpu, wall = cpu_seconds(), perf_counter()
    ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    started = cpu_seconds() - cpu
    try:
        studies = [task.setting(b, seed) for b in task.batch_sizes]
        spent = tuple(
            _study(s, reference.budget(s, None), reference.enough(s.batch_size)) for s in studies
        )
        used = cpu_seconds() - cpu
    finally:
        ray.shutdown()
    return Result(spent, used, perf_counter() - wall, started)


class _Trial(tune.Trainable):
    """A lean trial, which reports at the rungs, at the goal, and at its end."""

    def setup(self, config: dict[str, float], setting: Setting, budget: int) -> None:
        self._setting, self._budget = setting, budget
        self._begin(config)

    def reset_config(self, new_config: dict[str, float]) -> bool:
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, float]) -> None:
        self._spent, self._error = lean_trial.Spent(), 1.0
        self._rungs = iter(_rungs(self._budget))
        self._looks: Iterator[tuple[int, float]] = lean_trial.looks(
            self._setting, config, int(config["number"]), self._budget, self._spent
        )

    def step(self) -> dict[str, Any]:
        """On to the next rung."""
        rung, passed, ended = next(self._rungs), False, True
        for step, error in self._looks:
            self._error = error
            passed = self._setting.workload.goal.passed(error)
            if passed or step >= rung:
                ended = passed
                break
        return {
            "steps": self._spent.steps,
            "evaluated": self._spent.evaluated,
            "error": self._error,
            "passed": passed,
            "done": ended,
        }


def _rungs(budget: int) -> list[int]:
    return [max(1, budget // _FACTOR**k) for k in range(_RUNGS, 0, -1)] + [budget]


class _Content(Stopper):
    """Ends the search once a trial has passed the goal in few enough steps."""

    def __init__(self, enough: int) -> None:
        self._enough, self._over = enough, False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self._over = self._over or (result["passed"] and result["steps"] <= self._enough)
        return bool(result["passed"])

    def stop_all(self) -> bool:
        return self._over


def _study(setting: Setting, budget: int, enough: int) -> Spent:
    space = {name: tune.loguniform(*ends) for name, ends in lean_trial.ranges(setting).items()}
    space["number"] = tune.randint(0, 2**31)
    schedule = ASHAScheduler(
        time_attr="steps",
        max_t=budget,
        grace_period=_rungs(budget)[0],
        reduction_factor=_FACTOR,
    )
    search = tune.search.BasicVariantGenerator(random_state=setting.study_seed % 2**32)
    with TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_parameters(_Trial, setting=setting, budget=budget),
            param_space=space,
            tune_config=tune.TuneConfig(
                metric="error",
                mode="min",
                scheduler=schedule,
                search_alg=search,
                num_samples=setting.trials,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                stop=_Content(enough),
                storage_path=folder,
                verbose=0,
                failure_config=tune.FailureConfig(fail_fast=True),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        grid = tuner.fit()
        if grid.errors:
            raise grid.errors[0]
        last = [r.metrics for r in grid if r.metrics and "steps" in r.metrics]
    passed = [m["steps"] for m in last if m["passed"]]
    return Spent(
        setting.batch_size,
        min(passed, default=None),
        len(last),
        sum(m["steps"] for m in last) * setting.batch_size,
        sum(m["evaluated"] for m in last),
    )


def cpu_seconds() -> float:
    """CPU seconds of this process and of all that descend from it, ended ones included."""
    parents, spent = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        parents[int(folder.name)] = int(fields[1])
        spent[int(folder.name)] = sum(map(int, fields[11:15]))  # own, and of waited-for children
    family = {os.getpid()}
    while grown := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= grown
    return sum(spent[pid] for pid in family) / os.sysconf("SC_CLK_TCK")
