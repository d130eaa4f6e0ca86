"""The measurements of one of the archive's trials, and the first that is past a goal."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import DataError
from service.exchange.goals import METRICS, GoalOf
from service.exchange.json_numbers import LIMIT

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


NOTHING = Curve(np.empty(0, np.int64), (), np.empty((0, 0)))
"""Of a trial that nothing was measured of."""


def read_curve(file: Path) -> Curve:
    """A measurements.csv, or with .gz after its name; columns that are no measurements are passed
    over. Raises DataError, naming it, if it is missing or not what it must be."""
    import pyarrow as pa
    from pyarrow import csv

    known = {f"{split}/{metric}": pa.float64() for split in _SPLITS for metric in METRICS}
    numbers = csv.ConvertOptions(column_types={"step": pa.float64(), **known})
    packed = file.with_name(f"{file.name}.gz")
    file = packed if packed.exists() and not file.exists() else file
    try:
        table = csv.read_csv(file, csv.ReadOptions(use_threads=False), convert_options=numbers)
    except FileNotFoundError:
        raise DataError(f"{file}: is missing") from None
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{file}: {str(error).splitlines()[0]}") from None
    twice = [name for name, n in Counter(table.column_names).items() if n > 1]
    if twice:
        raise DataError(f"{file}: column {twice[0]!r} stands twice")
    if "step" not in table.column_names or table.column("step").null_count:
        raise DataError(f"{file}: every row must have a step")
    return _curve(file, table)


def _curve(file: Path, table: Any) -> Curve:
    written = table.column("step").to_numpy()
    odd = ~((written >= 0) & (written < LIMIT) & (written == np.floor(written)))
    if odd.any():
        raise DataError(f"{file}: step {written[odd][0]:g} is no whole number from 0 to {LIMIT:,}")
    steps = written.astype(np.int64)
    order = np.argsort(steps, kind="stable")
    steps = steps[order]
    twice = np.flatnonzero(steps[1:] == steps[:-1])
    if twice.size:
        raise DataError(f"{file}: step {steps[twice[0]]} stands twice")
    columns = {}
    for column in table.column_names:
        name, values = _name(column), _numbers(table.column(column))
        if name is not None and values is not None:
            columns[name] = values[order]
    names = tuple(sorted(columns))
    each = [columns[name].reshape(-1, 1) for name in names]
    return Curve(steps, names, np.hstack([np.empty((len(steps), 0)), *each]))


def _name(column: str) -> tuple[str, str] | None:
    """A column `val/classification_error` as ("validation", "error rate"); None for one that is
    no measurement of a split."""
    split, slash, metric = column.partition("/")
    if not slash or split not in _SPLITS:
        return None
    return _SPLITS[split], METRICS.get(metric, metric.replace("_", " "))


def _numbers(column: Any) -> NDArray[np.float64] | None:
    try:
        return np.asarray(column.to_numpy(), np.float64)
    except (TypeError, ValueError):  # of further columns: of those that we know the kind is given
        return None
