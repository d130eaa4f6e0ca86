"""Steps that were measured elsewhere, as a CSV or JSON file says them.

Published numbers come as steps, as epochs or as samples, one a seed or their mean. Whatever can't
be meant raises UsageError in one line with the file and the line, or the entry of a JSON list.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from batchfront.errors import UsageError
from batchfront.exchange.rows import (
    LARGEST,
    VERY_LARGE,
    check_lengths,
    check_workload,
    number,
    read_rows,
    whole,
)
from batchfront.frontier.curve.text import count
from batchfront.median import exact
from batchfront.workload.definition import LONGEST_NAME
from batchfront.workload.metric_fields import LONGEST_NAME as LONGEST_METRIC
from batchfront.workload.search_space import Value

_AMOUNTS = ("steps", "epochs", "samples", "examples")  # the last two are the same

_OTHERS = (
    *("workload", "batch_size", "seed", "steps_lower"),
    *("goal", "metric", "train_examples", "learning_rate"),
)

_LIMITS = {"workload": LONGEST_NAME, "metric": LONGEST_METRIC}


@dataclass(frozen=True)
class Measured:
    """The steps that one training run needed; None if it did not reach its goal.

    steps_lower    -- the last step known at which the goal was missed; None: not said
    seed           -- without one, its place among its equals
    goal           -- METRIC<VALUE, or any text; empty: not said
    train_examples -- in the training set; 0: not said
    """

    where: str
    workload: str
    batch_size: int
    seed: int
    steps: float | None
    steps_lower: float | None
    goal: str
    metric: str
    train_examples: int
    params: Mapping[str, Value]

    @property
    def of(self) -> tuple[str, int, int]:
        """What it is a measurement of: no file may hold two."""
        return self.workload, self.batch_size, self.seed


def read_points(file: Path, train_examples: int | None = None) -> list[Measured]:
    """All measurements of a file, in its order.

    train_examples -- in the training set, of rows that don't say it
    """
    if train_examples is not None and train_examples > VERY_LARGE:
        raise UsageError(f"--train-examples {train_examples}: must be at most {VERY_LARGE}")
    found: list[Measured] = []
    first: dict[tuple[str, int, int], str] = {}
    unseeded: dict[tuple[str, int], int] = {}
    for where, row in read_rows(file, _check_columns):
        measured = _measured(where, row, train_examples, unseeded)
        if measured.of in first:
            workload, batch_size, seed = measured.of
            raise UsageError(
                f"{where}: {workload} at batch size {batch_size}, seed {seed}, is there already, "
                f"in {first[measured.of]}"
            )
        first[measured.of] = where
        found.append(measured)
    if not found:
        raise UsageError(f"{file}: holds no measurement")
    return found


def _check_columns(where: str, columns: set[str]) -> None:
    known = {*_AMOUNTS, *_OTHERS}
    unknown = sorted(n for n in columns if n not in known and not n.startswith("param:"))
    if unknown:
        raise UsageError(
            f"{where}: unknown column {unknown[0]!r}; there are {', '.join((*_OTHERS, *_AMOUNTS))} "
            "and param:NAME for any other metaparameter"
        )
    missing = [name for name in ("workload", "batch_size") if name not in columns]
    if missing:
        raise UsageError(f"{where}: lacks the column {missing[0]}")
    if not columns & set(_AMOUNTS):
        raise UsageError(f"{where}: needs a column of steps, epochs, samples or examples")


def _measured(
    where: str,
    row: Mapping[str, str],
    train_examples: int | None,
    unseeded: dict[tuple[str, int], int],
) -> Measured:
    workload = check_workload(where, row)
    check_lengths(where, row, _LIMITS)
    batch_size = whole(where, row, "batch_size", 1)
    if "seed" in row:
        seed = whole(where, row, "seed", 0, most=VERY_LARGE)
    else:
        seed = unseeded.get((workload, batch_size), 0)
        unseeded[workload, batch_size] = seed + 1
    examples = whole(where, row, "train_examples", 1, train_examples or 0, most=VERY_LARGE)
    steps = _steps(where, row, batch_size, examples)
    lower = _steps_lower(where, row, steps)
    params = {n.removeprefix("param:"): _value(v) for n, v in row.items() if _is_param(n)}
    goal, metric = row.get("goal", ""), row.get("metric", "")
    return Measured(where, workload, batch_size, seed, steps, lower, goal, metric, examples, params)


def _is_param(name: str) -> bool:
    return name == "learning_rate" or name.startswith("param:")


def _steps(where: str, row: Mapping[str, str], batch_size: int, examples: int) -> float | None:
    """Steps to the goal, of whichever amount the row states; None if it was not reached."""
    stated = [name for name in _AMOUNTS if name in row]
    if len(stated) > 1:
        raise UsageError(
            f"{where}: has {' and '.join(f'{name} {row[name]}' for name in stated)}; state one of "
            "them and leave the others empty"
        )
    if not stated or row[stated[0]].lower() in ("nan", "inf", "+inf", "infinity"):
        return None
    name = stated[0]
    amount = number(row[name])
    if amount is None or amount <= 0 or (name == "steps" and amount < 1):
        least = "of 1 or more" if name == "steps" else "above 0"
        raise UsageError(
            f"{where}: {name} {row[name]!r} must be a number {least}, without separators of "
            "thousands, or empty if the goal was not reached"
        )
    if name == "epochs":
        if not examples:
            raise UsageError(f"{where}: epochs need train_examples, a column or --train-examples N")
        amount *= examples
    # What a computer wrote as 12.000000000000002 epochs is meant as 12.
    steps = (
        exact(float(amount))
        if name == "steps"
        else math.ceil(amount / batch_size * (1 - Fraction(1, 10**12)))
    )
    if steps > LARGEST:
        raise UsageError(f"{where}: {row[name]} {name} are more than can be stored")
    return steps


def _steps_lower(where: str, row: Mapping[str, str], steps: float | None) -> float | None:
    """The last step at which the goal was missed; of a run that never reached it, its last."""
    if "steps_lower" not in row:
        return None
    lower = number(row["steps_lower"])
    if lower is None or not 0 <= lower <= LARGEST or (steps is not None and lower >= steps):
        below = "" if steps is None else f" and below the steps, {count(steps)}"
        raise UsageError(
            f"{where}: steps_lower {row['steps_lower']!r} must be a number of 0 or more{below}"
        )
    return exact(float(lower))


def _value(text: str) -> Value:
    """A metaparameter as the number that it is written as, or else as text."""
    for kind in (int, float):
        try:
            value: Any = kind(text)
            return value if math.isfinite(value) else text
        except (OverflowError, ValueError):
            continue
    return text
