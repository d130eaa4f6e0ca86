"""A database with trials that have learning curves, as a search leaves them."""

from dataclasses import replace
from pathlib import Path

from sqlalchemy import insert, select

from batchfront.exchange.finished_trials import FinishedTrial, write_finished
from batchfront.outcomes import TrialResult
from batchfront.store.optuna_tables import Searched
from batchfront.store.schema import measurements
from batchfront.store.url import open_storage
from batchfront.study.create import add_study
from batchfront.study.study import Definition
from batchfront.vocabulary import Count, Outcome, Purpose, Sampler, Schedule

NAME = "toy/line/sgd"
GOAL = {"metric": "error rate", "better": "lower", "value": 0.25}


def search(folder: Path, *, confirmed: bool = False) -> str:
    """A search at two batch sizes: at each a trial that reached the goal and one that diverged.

    confirmed -- whether that trial has run again, and took longer and less long

    Returns the database's URL."""
    url = f"sqlite:///{folder}/batchfront.db"
    storage = open_storage(url, create=True)
    with storage.write() as conn:
        for batch_size in (8, 16):
            study = add_study(storage, conn, _study(batch_size))
            reached = TrialResult(
                Outcome.REACHED, "", 40, steps_to_target=40, steps_lower=20, metric=0.125
            )
            diverged = TrialResult(Outcome.DIVERGED, "its loss grew", 20)
            trials = [
                FinishedTrial(0, reached, {"learning_rate": 0.5}, 7),
                FinishedTrial(1, diverged, {"learning_rate": 8.0}, 9),
            ]
            at = float(conn.execute(select(storage.now)).scalar_one())
            first, second = write_finished(conn, study, Searched({}), trials, at)
            curve = {(first, 20): 0.5, (first, 40): 0.125, (second, 20): None}
            rows = [
                {"slot_id": slot, "step": step, "split": "validation", "metric": "error rate"}
                | {"value": value}
                for (slot, step), value in curve.items()
            ]
            conn.execute(insert(measurements), rows)
        if confirmed:
            again = [
                FinishedTrial(n, replace(reached, steps_to_target=s), {"learning_rate": 0.5}, n)
                for n, s in enumerate((30, 60))
            ]
            study = add_study(storage, conn, _study(8, Purpose.CONFIRM))
            write_finished(conn, study, Searched({}), again, at)
    storage.close()
    return url


def _study(batch_size: int, purpose: Purpose = Purpose.SEARCH) -> Definition:
    return Definition(
        name=f"{NAME}/b{batch_size}" + (f"/{purpose}" if purpose != Purpose.SEARCH else ""),
        workload=NAME,
        spec="",
        batch_size=batch_size,
        identity={
            "workload": NAME,
            "batch_size": batch_size,
            "goal": GOAL,
            "algorithm": {"name": "sgd"},
            "search_space": {},
            "step_budget": 100,
            "search": {"sampler": Sampler.IMPORTED, "schedule": Schedule.IMPORTED},
            "source": {},
        },
        goal_value=0.25,
        seed=0,
        schedule=Schedule.IMPORTED,
        sampler=Sampler.IMPORTED,
        count=Count.ALL,
        trials=2,
        finishers=0,
        purpose=purpose,
    )
