"""The gradient noise scale of a run, and the critical batch size B_c that it foretells.

A run at batch size B makes, in a step at which the noise scale is 𝓑, the progress of 1/(1 + 𝓑/B)
steps of a very large batch, and 𝓑 times as many examples are needed for it at the least (McCandlish
et al. 2018, An Empirical Model of Large-Batch Training, equations 2.7 and D.1 to D.4). So
B_c = E_min/S_min of the whole run is the average of 𝓑 along it, weighted by 1/(1 + 𝓑/B).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, delete, insert, select

from batchfront.advice.intervals import Interval
from batchfront.advice.stored_rows import are_texts, below_least, rows_of
from batchfront.outcomes import Reading
from batchfront.store.columns import unfit_row
from batchfront.store.database import Storage
from batchfront.store.schema import probes
from batchfront.store.snapshot import Source
from batchfront.workload.search_space import Value

WINNERS_ERROR, OWN_ERROR = 0.35, 0.8
"""The root mean square of the logarithm of what is foretold over what searches measured, of winners
and of a probe's own runs, in our own table (docs/benchmarks.md, "B_c from one run")."""

FEWEST = 10
"""Readings of which a noise scale is told at least."""

_TOGETHER = 8  # readings, one after another, whose mean gradient norm is taken for that of each

_GROUPS = 10  # of readings, each of them left out once


@dataclass(frozen=True)
class Probe:
    """Gradient noise along one run.

    trial    -- of the study of its batch size; None: a run of the probe's own
    params   -- its metaparameters
    steps    -- how far it was trained
    versions -- what computed it
    """

    workload: str
    batch_size: int
    trial: int | None
    params: Mapping[str, Value]
    seed: int
    steps: int
    readings: tuple[Reading, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    measured_at: float = 0.0


@dataclass(frozen=True)
class NoiseScale:
    """A noise scale, in examples, with its 90 % interval by the jackknife.

    value -- None where the gradient can't be told from its noise: then `low` is all that is known
    high  -- infinite where the readings don't bound it
    """

    value: float | None
    low: float
    high: float


def predicted(probe: Probe) -> Interval | None:
    """The critical batch size B_c that a probe foretells, its interval as wide as such predictions
    were wrong in our own table. None where the gradient can't be told from its noise, or the
    readings are too few."""
    if len(probe.readings) < FEWEST:
        return None
    found = noise_scale(probe.readings, probe.batch_size)
    if found.value is None or not found.low > 0:
        return None
    read = Interval(found.value, found.low, max(found.high, found.value))
    return read.blurred(error_of(probe))


def error_of(probe: Probe) -> float:
    """The standard deviation of the logarithm that a probe's prediction has, beside its reading."""
    return OWN_ERROR if probe.trial is None else WINNERS_ERROR


def load_probes(source: Source, workload: str) -> list[Probe]:
    """The probes of a workload, by batch size, the last of each batch size first.

    Raises StorageError, with the command that removes them, where one of them can't be right.
    """
    order = probes.c.batch_size, probes.c.measured_at.desc(), probes.c.id.desc()
    mine = select(probes).where(probes.c.workload == workload).order_by(*order)
    return [_probe(row) for row in rows_of(source, mine, workload, "probes", probe_flaw)]


def probe_flaw(row: Mapping[Any, Any]) -> str | None:
    """What can't be right in a row of `bf_probes`, as databases are shared and exports come from
    anybody: the column, and what is wrong with it. None if nothing is."""
    if (wrong := unfit_row(probes, row)) is not None:
        return wrong
    if (wrong := below_least(row, {"batch_size": 1, "trial": 0, "steps": 0})) is not None:
        return wrong
    for name, fits in (("params", _are_values), ("versions", are_texts), ("readings", _are_read)):
        try:
            right = fits(json.loads(row[name]))
        except (ValueError, RecursionError):
            right = False
        if not right:
            return f"{name} can't be what a probe writes"
    return None


def _are_values(read: Any) -> bool:
    """Whether it is an object of metaparameters."""
    return isinstance(read, dict) and all(
        isinstance(one, str) or _is_finite(one) for one in read.values()
    )


def _are_read(read: Any) -> bool:
    """Whether it is a list of readings."""
    return isinstance(read, list) and all(
        isinstance(one, list)
        and len(one) == len(Reading._fields)
        and all(isinstance(number, int) and number >= 0 for number in one[:4])
        and all(map(_is_finite, one))
        and one[4] >= 0
        for one in read
    )


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < inf


def keep_probe(storage: Storage, probe: Probe) -> None:
    """Write a probe, in the place of one of the same trial, or of a run of the probe's own at the
    same batch size."""
    same = ("workload", "batch_size", "trial")
    written = {
        **{name: getattr(probe, name) for name in (*same, "seed", "steps")},
        "params": json.dumps(dict(probe.params)),
        "readings": json.dumps([list(reading) for reading in probe.readings]),
        "versions": json.dumps(dict(probe.versions)),
        "measured_at": storage.now,
    }
    with storage.write() as conn:
        conn.execute(delete(probes).filter_by(**{name: getattr(probe, name) for name in same}))
        conn.execute(insert(probes).values(**written))


def _probe(row: Row[tuple[object, ...]]) -> Probe:
    told = dict(row._mapping)
    told.pop("id")
    readings = tuple(Reading(*one) for one in json.loads(told.pop("readings")))
    params, versions = json.loads(told.pop("params")), json.loads(told.pop("versions"))
    return Probe(**told, params=params, readings=readings, versions=versions)


def noise_scale(readings: Sequence[Reading], batch_size: int) -> NoiseScale:
    """The noise scale along a run, weighted by the progress that its steps make.

    The ratio of two means: of tr Σ and of |G|², each reading's divided by the squared norm that a
    batch's gradient has there, which is 𝓑 w and w up to a factor that both share. The means alone
    may be trusted: a single reading's |G|² is often below 0.
    """
    spans = np.array([reading.steps for reading in readings], dtype=float)
    trace = np.array([reading.trace for reading in readings])
    squared = np.array([reading.squared_norm for reading in readings])
    whole = _smoothed(squared + trace / batch_size)
    return _ratio(spans * trace / whole, spans * squared / whole)


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each with those that follow one another with it."""
    parts = np.array_split(values, max(len(values) // _TOGETHER, 1))
    return np.concatenate([np.full(len(part), part.mean()) for part in parts])


def _ratio(over: NDArray[np.float64], under: NDArray[np.float64]) -> NoiseScale:
    """The ratio of two sums of pairs, whose interval is Fieller's, by the covariance of a jackknife
    that leaves every tenth pair out: what changes along the run is no noise."""
    groups = min(_GROUPS, len(over))
    group = np.arange(len(over)) % groups
    left = np.array(
        [[part[group != one].mean() for part in (over, under)] for one in range(groups)]
    )
    covariance = np.cov(left.T, bias=True) * (groups - 1)
    # Of a squared norm that came out below 0 the nearest that there can be is 0.
    top, bottom = float(over.mean()), max(float(under.mean()), 0.0)
    from scipy.special import stdtrit  # late: a slip of `probe` is to be answered before

    quantile = float(stdtrit(groups - 1, 0.95)) ** 2
    a = bottom**2 - quantile * covariance[1, 1]
    b = top * bottom - quantile * covariance[0, 1]
    c = top**2 - quantile * covariance[0, 0]
    root = sqrt(max(b * b - a * c, 0.0))
    if a > 0:
        return NoiseScale(top / bottom, max((b - root) / a, 0.0), (b + root) / a)
    # |G|² may be 0: the ratio lies outside of the two roots, of which one is below 0.
    low = c / (b + root) if b + root > 0 else 0.0
    return NoiseScale(top / bottom if bottom > 0 else None, max(low, 0.0), inf)
