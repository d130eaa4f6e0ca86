"""The measurements of one of the archive's trials, and the first that is past a goal."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import DataError
from service.exchange.goals import METRICS, GoalOf

_SPLITS = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Curve:
    """All measurements of a trial, by step.

    steps  -- [n], rising
    names  -- of the k columns: (split, metric) in batchfront's words, in order
    values -- [n, k]; NaN where a measurement is missing
    """

    steps: NDArray[np.int64]
    names: tuple[tuple[str, str], ...]
    values: NDArray[np.float64]

    def metric(self, goal: GoalOf) -> NDArray[np.float64] | None:
        """The goal's metric on the validation split, [n]; None if it was not measured."""
        name = ("validation", goal.metric)
        return self.values[:, self.names.index(name)] if name in self.names else None


def first_past(goal: GoalOf, values: NDArray[np.float64]) -> int | None:
    """The first index at which the goal is strictly past, which a NaN never is."""
    past = values < goal.value if goal.better == "lower" else values > goal.value
    return int(past.argmax()) if past.any() else None


def read_curve(file: Path) -> Curve:
    """A measurements.csv. Raises DataError, naming it, if it is missing or not what it must be."""
    import pyarrow as pa
    from pyarrow import csv

    known = {f"{split}/{metric}": pa.float64() for split in _SPLITS for metric in METRICS}
    numbers = csv.ConvertOptions(column_types={"step": pa.int64(), **known})
    try:
        table = csv.read_csv(file, csv.ReadOptions(use_threads=False), convert_options=numbers)
    except FileNotFoundError:
        raise DataError(f"{file}: is missing") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{file}: {str(error).splitlines()[0]}") from None
    if "step" not in table.column_names or table.column("step").null_count:
        raise DataError(f"{file}: every row must have a step")
    return _curve(file, table)


def _curve(file: Path, table: Any) -> Curve:
    steps = table.column("step").to_numpy()
    order = np.argsort(steps, kind="stable")
    steps = steps[order]
    twice = np.flatnonzero(steps[1:] == steps[:-1])
    if twice.size:
        raise DataError(f"{file}: step {steps[twice[0]]} stands twice")
    columns = {_name(file, n): n for n in table.column_names if n != "step"}
    values = np.empty((len(steps), len(columns)))
    for k, (_, column) in enumerate(sorted(columns.items())):
        try:
            values[:, k] = table.column(column).to_numpy()[order]
        except (TypeError, ValueError):
            raise DataError(f"{file}: {column} must hold numbers") from None
    return Curve(steps, tuple(sorted(columns)), values)


def _name(file: Path, column: str) -> tuple[str, str]:
    """A column `val/classification_error` as ("validation", "error rate")."""
    split, slash, metric = column.partition("/")
    if not slash or split not in _SPLITS:
        raise DataError(f"{file}: column {column!r} is none of train/…, val/… and test/…")
    return _SPLITS[split], METRICS.get(metric, metric.replace("_", " "))
