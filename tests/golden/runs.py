"""The searches whose results are recorded; how one is run, and read from its database.

All is done by commands and read by SQL, so that what they are compared with may be of any version.
One worker: which trial is capped at which step then depends on nothing but the search.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing, redirect_stdout
from dataclasses import dataclass
from hashlib import blake2b
from io import StringIO
from pathlib import Path
from typing import Any

from batchfront.cli.main import cli

OPTIMIZERS = ("sgd", "momentum", "nesterov_momentum", "adamw")
BATCH_SIZES = (4, 16, 64, 256, 1024)


@dataclass(frozen=True)
class Run:
    """One search.

    options  -- of `batchfront plan`
    engine   -- of `batchfront work`
    confirms -- whether its winners are run again
    """

    workload: str
    batch_sizes: tuple[int, ...]
    options: tuple[str, ...] = ("--trials", "16")
    engine: str = "sequential"
    confirms: bool = False


def _digits(*options: str, **settings: Any) -> Run:
    return Run("digits/mlp/momentum", (16, 64), ("--trials", "8", *options), **settings)


RUNS: Mapping[str, Run] = {
    **{f"sobol {name}": Run(f"digits/mlp/{name}", BATCH_SIZES) for name in OPTIMIZERS},
    **{
        f"tpe {name}": Run(
            f"digits/mlp/{name}", BATCH_SIZES, ("--trials", "16", "--sampler", "tpe")
        )
        for name in OPTIMIZERS
    },
    "vectorized": Run("digits/mlp/momentum", BATCH_SIZES, engine="vectorized"),
    "mnist": Run("mnist/fc_256/momentum", (16, 64, 256, 1024), ("--trials", "8", "--goal", "0.04")),
    "another seed": _digits("--seed", "1"),
    "one by one": _digits("--schedule", "one-by-one"),
    "tpe one by one": _digits("--sampler", "tpe", "--schedule", "one-by-one"),
    "tpe in fours": _digits("--sampler", "tpe", "--generation", "4"),
    "gp": _digits("--sampler", "gp"),
    "finishers go on": _digits("--finishers", "2", "--after-goal", "continue", "--continuing", "1"),
    "feasible": _digits("--count", "feasible", "--extrapolate"),
    "warm start": _digits("--warm-start"),
    "confirmed": _digits(confirms=True),
}

_TRIALS = """
    SELECT bf_slots.*, trials.state AS ended, trial_values.value
    FROM bf_slots JOIN bf_studies ON bf_studies.id = bf_slots.study_id
    LEFT JOIN trials USING (trial_id) LEFT JOIN trial_values USING (trial_id)
    WHERE bf_studies.name = ? ORDER BY bf_slots.number
"""
_MEASUREMENTS = """
    SELECT step, split, metric, value FROM bf_measurements
    WHERE slot_id = ? ORDER BY step, split, metric
"""
_COLUMNS = ("outcome", "steps", "steps_to_target", "steps_lower", "metric", "evaluated_examples")
_OF_A_POINT = ("batch_size", "steps", "steps_lower", "examples", "trial", "params", "outcomes")


def planned(run: Run, folder: Path, batch_sizes: Iterable[int] = ()) -> Path:
    """Plan a run in a new database of a folder: all of its batch sizes, or some."""
    database = folder / "golden.db"
    sizes = ",".join(map(str, batch_sizes or run.batch_sizes))
    batchfront(database, "plan", run.workload, "--batch-sizes", sizes, *run.options)
    return database


def carried_out(run: Run, folder: Path, batch_sizes: Iterable[int] = ()) -> dict[str, Any]:
    """The results of a run, as JSON would give them back.

    Returns its `studies` (by name, a mapping of values for each trial), its `frontier` (a mapping
    for each batch size) and the `curve` through it.
    """
    database = planned(run, folder, batch_sizes)
    _work(database, run)
    if run.confirms:
        again = ("--candidates", "1", "--seeds", "3", "--plan-only")
        batchfront(database, "confirm", run.workload, *again)
        _work(database, run)
    return {"studies": trials_in(database), **_reports(database, run.workload)}


def batchfront(database: Path, command: str, *arguments: str) -> str:
    """Run a command in this process, and return what it prints."""
    words = [command, *arguments, "--storage", f"sqlite:///{database}"]
    with redirect_stdout(StringIO()) as out:
        cli.main(words, prog_name="batchfront", standalone_mode=False)
    return out.getvalue()


def trials_in(database: Path) -> dict[str, list[dict[str, Any]]]:
    """What a database holds of each trial, by study, but for what depends on the time.

    `ended` and `value` are Optuna's state and value of it; `measurements` is a checksum of all that
    was measured on the way, to the bit.
    """
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        names = connection.execute("SELECT name FROM bf_studies ORDER BY workload, batch_size, id")
        return {
            name: [_trial(connection, row) for row in connection.execute(_TRIALS, (name,))]
            for (name,) in names.fetchall()
        }


def _trial(connection: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
    measured = [tuple(found) for found in connection.execute(_MEASUREMENTS, (row["id"],))]
    checksum = blake2b(repr(measured).encode(), digest_size=6).hexdigest()
    columns = {name: row[name] for name in (*_COLUMNS, "repeats", "ended", "value")}
    params = json.loads(row["params"] or "null")
    return {"params": params, **columns, "measurements": checksum}


def _work(database: Path, run: Run) -> None:
    batchfront(database, "work", "--device", "cpu", "--engine", run.engine, "--quiet")


def _reports(database: Path, workload: str) -> dict[str, Any]:
    """What the commands say of the results."""
    found = json.loads(batchfront(database, "frontier", workload, "--format", "json"))
    (curve,) = json.loads(batchfront(database, "curve", workload, "--format", "json"))
    interval = ("value", "low", "high")
    estimates = curve.get("estimates") or {}
    return {
        "frontier": [{name: point[name] for name in _OF_A_POINT} for point in found["points"]],
        "curve": {of: [one[name] for name in interval] for of, one in estimates.items()},
    }
