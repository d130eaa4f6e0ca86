"""Studies written straight into the tables, for cases that no training would give."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, insert, select, text

from batchfront.store.schema import measurements, slots, studies
from batchfront.store.url import Storage
from batchfront.workload.search_space import SearchSpace, point_at, restore_space

SPACE = {
    "learning_rate": {"kind": "Log", "low": 1e-3, "high": 3.0},
    "momentum": {"kind": "ReverseLog", "low": 0.0, "high": 0.999},
}
_WHEN = ("training_seconds", "evaluation_seconds", "started_at", "finished_at")
GOAL = {"metric": "error rate", "better": "lower", "value": 0.03}


def add_study(
    storage: Storage,
    workload: str,
    batch_size: int,
    trials: Sequence[Mapping[str, Any]],
    space: Mapping[str, Any] = SPACE,
    goal: Mapping[str, Any] = GOAL,
    identity: Mapping[str, Any] | None = None,
    **columns: Any,
) -> None:
    """A study with these trials: slot columns, and `curve` as (step, split, metric, value).

    identity -- what there is of it beside goal and space
    columns  -- others of `bf_studies`, such as `purpose`
    """
    with storage.write() as conn:
        number = conn.execute(select(func.count()).select_from(studies)).scalar_one() + 1
        purpose = columns.get("purpose", "search")
        suffix = "" if purpose == "search" else f"/{purpose}"
        name = f"{workload}/b{batch_size}{suffix}"
        conn.execute(
            text("insert into studies (study_id, study_name) values (:id, :name)"),
            {"id": number, "name": name},
        )
        conn.execute(
            text(
                "insert into study_user_attributes (study_id, key, value_json) "
                "values (:id, 'batchfront', '\"0\"')"
            ),
            {"id": number},
        )
        described = {"batch_size": batch_size, "step_budget": 10_000, **(identity or {})}
        row = {
            "id": number,
            "name": name,
            "workload": workload,
            "spec": workload,
            "batch_size": batch_size,
            "identity": json.dumps({**described, "goal": goal, "search_space": space}),
            "seed": 0,
            "schedule": "race",
            "sampler": "sobol",
            "count": "all",
            "finishers": 0,
            "trials": len(trials),
            "train_examples": 1000,
            "created_at": 0.0,
            **columns,
        }
        conn.execute(insert(studies).values(row))
        for position, trial in enumerate(trials):
            _add_trial(conn, number, position, trial, restore_space(space))


def _add_trial(
    conn: Any, study: int, number: int, trial: Mapping[str, Any], space: SearchSpace
) -> None:
    passed = trial.get("outcome") == "reached" or "steps_to_target" in trial
    waiting = {} if trial.get("outcome") else point_at(space, [0.5] * len(space))
    row = {
        "study_id": study,
        "number": number,
        "state": "done" if trial.get("outcome") else "free",
        "params": json.dumps({**waiting, **trial.get("params", {})}),
        "steps": trial.get("steps", 0),
        "steps_to_target": trial.get("steps_to_target", trial["steps"]) if passed else None,
        "steps_lower": trial.get("steps_lower") if passed else None,
        "outcome": trial.get("outcome"),
        "reason": trial.get("reason"),
        "metric": trial.get("metric"),
        "repeats": trial.get("repeats"),
        "versions": json.dumps(trial.get("versions", {})),
        **{name: trial.get(name) for name in _WHEN},
    }
    slot = conn.execute(insert(slots).values(row)).inserted_primary_key[0]
    for step, split, metric, value in trial.get("curve", ()):
        kept = {"slot_id": slot, "step": step, "split": split, "metric": metric, "value": value}
        conn.execute(insert(measurements).values(kept))


def add_program(storage: Storage, workload: str, every: int = 50, **identity: Any) -> None:
    """A program's search at three batch sizes: it is evaluated every so many steps, and tells no
    training loss. What more of its identity is given takes the place of what stands here."""
    goal = {"metric": "val_loss", "better": "lower", "value": 1.8, "text": "val_loss < 1.8"}
    space = {"learning_rate": {"kind": "Log", "low": 1e-4, "high": 1e-1}}
    pattern = r"step (?P<step>\d+) .*val_loss (?P<value>\S+)"
    told = {
        "kind": "program",
        "command": [
            "python",
            "train.py",
            "--lr",
            "{learning_rate}",
            "--batch-size",
            "{batch_size}",
        ],
        "output": {"kind": "pattern", "pattern": pattern},
        **identity,
    }
    for batch, steps in ((8, 900), (32, 300), (128, 150)):
        curve = [
            (step, "validation", "val_loss", 1.79 * (steps / step) ** 0.5)
            for step in range(every, steps + 1, every)
        ]
        first, other = (
            {"params": {"learning_rate": rate}, "steps": steps} for rate in (1e-3, 1e-2)
        )
        first |= {"outcome": "reached", "steps_lower": steps - every, "curve": curve}
        trials = [first, {**other, "outcome": "capped", "curve": curve[:1]}]
        add_study(storage, workload, batch, trials, space, goal, told, train_examples=0)
