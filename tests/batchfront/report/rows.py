"""Studies written straight into the tables, for cases that no training would give."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, insert, select, text

from batchfront.store.schema import measurements, slots, studies
from batchfront.store.url import Storage

SPACE = {
    "learning_rate": {"kind": "Log", "low": 1e-3, "high": 3.0},
    "momentum": {"kind": "ReverseLog", "low": 0.0, "high": 0.999},
}
GOAL = {"metric": "error rate", "better": "lower", "value": 0.03}


def add_study(
    storage: Storage,
    workload: str,
    batch_size: int,
    trials: Sequence[Mapping[str, Any]],
    space: Mapping[str, Any] = SPACE,
    goal: Mapping[str, Any] = GOAL,
    **columns: Any,
) -> None:
    """A study with these trials: slot columns, and `curve` as (step, split, metric, value).

    columns -- others of `bf_studies`, such as `purpose`
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
        row = {
            "id": number,
            "name": name,
            "workload": workload,
            "spec": workload,
            "batch_size": batch_size,
            "identity": json.dumps({"goal": goal, "search_space": space}),
            "seed": 0,
            "schedule": "race",
            "sampler": "sobol",
            "count": "all",
            "trials": len(trials),
            "train_examples": 1000,
            "created_at": 0.0,
            **columns,
        }
        conn.execute(insert(studies).values(row))
        for position, trial in enumerate(trials):
            _add_trial(conn, number, position, trial)


def _add_trial(conn: Any, study: int, number: int, trial: Mapping[str, Any]) -> None:
    passed = trial.get("outcome") == "reached" or "steps_to_target" in trial
    row = {
        "study_id": study,
        "number": number,
        "state": "done" if trial.get("outcome") else "free",
        "params": json.dumps(trial.get("params", {})),
        "steps": trial.get("steps", 0),
        "steps_to_target": trial.get("steps_to_target", trial["steps"]) if passed else None,
        "steps_lower": trial.get("steps_lower") if passed else None,
        "outcome": trial.get("outcome"),
        "reason": trial.get("reason"),
        "metric": trial.get("metric"),
        "repeats": trial.get("repeats"),
        "versions": json.dumps(trial.get("versions", {})),
    }
    slot = conn.execute(insert(slots).values(row)).inserted_primary_key[0]
    for step, split, metric, value in trial.get("curve", ()):
        kept = {"slot_id": slot, "step": step, "split": split, "metric": metric, "value": value}
        conn.execute(insert(measurements).values(kept))
