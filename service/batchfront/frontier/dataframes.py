"""A database as pandas DataFrames, for notebooks: all studies of a workload in one query each."""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Select, select

from batchfront.frontier.queries import require
from batchfront.store.schema import measurements, slots, studies
from batchfront.store.snapshot import Source, snapshot
from batchfront.study.study import Filter, measured, readable

if TYPE_CHECKING:
    from pandas import DataFrame

    from batchfront.frontier.expected import ExpectedFrontier
    from batchfront.frontier.frontier import Frontier

_STUDY = (studies.c.batch_size, studies.c.purpose, slots.c.number.label("trial"))

_TRIAL = (
    slots.c.outcome,
    slots.c.reason,
    slots.c.steps,
    slots.c.steps_to_target,
    slots.c.steps_lower,
    slots.c.metric,
    slots.c.training_seconds,
    slots.c.evaluation_seconds,
    slots.c.evaluated_examples,
    slots.c.repeats,
)

_WHOLE = ("steps", "steps_to_target", "steps_lower", "examples", "evaluated_examples", "trial")


def frontier_frame(frontier: "Frontier") -> "DataFrame":
    """A frontier as a DataFrame, a row for each batch size.

    batch_size, steps, steps_lower, examples, trial -- as of `Point`; <NA> where none has reached
    trials     -- the number of trials, done or not
    batch_tokens -- tokens of a batch, on average, of a workload whose examples are counted in them
    outcomes_* -- of them, those that ended so
    params_*   -- the best trial's metaparameters
    """
    import pandas as pd

    names = frontier.metaparameters
    outcomes = sorted({name for point in frontier.points for name in point.outcomes})
    rows = [
        {
            "batch_size": point.batch_size,
            "steps": point.steps,
            "steps_lower": point.steps_lower,
            "examples": point.examples,
            "trial": point.trial,
            "trials": point.trials,
            **({} if point.batch_tokens is None else {"batch_tokens": point.batch_tokens}),
            **{f"outcomes_{name}": point.outcomes.get(name, 0) for name in outcomes},
            **{f"params_{name}": point.params.get(name) for name in names},
        }
        for point in frontier.points
    ]
    return _whole(pd.DataFrame(rows))


def expected_frame(expected: "ExpectedFrontier") -> "DataFrame":
    """What is expected as a DataFrame, a row for each batch size.

    batch_size, steps, low, high, noise, trial, trials, reached -- as of `ExpectedPoint`
    params_* -- the recommended metaparameters
    """
    import pandas as pd

    names = sorted({name for point in expected.points for name in point.metaparameters})
    fields = ("batch_size", "steps", "low", "high", "noise", "trial", "trials", "reached")
    rows = [
        {
            **{field: getattr(point, field) for field in fields},
            **{f"params_{name}": point.metaparameters.get(name) for name in names},
        }
        for point in expected.points
    ]
    return pd.DataFrame(rows, columns=[*fields, *(f"params_{name}" for name in names)])


def load_trials_frame(source: Source, workload: str) -> "DataFrame":
    """All trials of a workload as a DataFrame, a row for each, by batch size and number.

    purpose -- of the trial's study: "search" for those that the frontier is made of, "points" for
               steps measured elsewhere, "confirm" and others for reruns of some
    trial   -- its number in its Optuna study
    outcome -- how it ended; None while it is not done
    reason, steps, steps_to_target, steps_lower, metric, training_seconds, evaluation_seconds,
    evaluated_examples -- as of `Trial`
    repeats  -- of a rerun, the number in the search of the trial that it runs again
    params_* -- its metaparameters

    Raises UsageError, naming those there are, for a workload without studies.
    """
    import pandas as pd

    columns = (*_STUDY, *_TRIAL, slots.c.params)
    frame = _read(source, workload, select(*columns).select_from(studies.join(slots)), _STUDY)
    params = [json.loads(text or "{}") for text in frame.pop("params")]
    names = sorted({name for one in params for name in one})
    sampled = pd.DataFrame({f"params_{name}": [p.get(name) for p in params] for name in names})
    return _whole(pd.concat([frame, sampled], axis=1))


def load_measurements_frame(source: Source, workload: str) -> "DataFrame":
    """All kept measurements of a workload as a DataFrame, by batch size, trial and step.

    batch_size, purpose, trial -- as of `load_trials_frame`
    step, split, metric        -- what was measured and when; split is train, validation or test
    value                      -- NaN where it was not finite

    Raises UsageError, naming those there are, for a workload without studies.
    """
    own = [column for column in measurements.c if column.name != "slot_id"]
    rows = studies.join(slots).join(measurements, measurements.c.slot_id == slots.c.id)
    query = select(*_STUDY, *own).select_from(rows)
    frame = _read(source, workload, query, (*_STUDY, *own[:3]), measured)
    return frame.astype({"value": "float64"})


def _read(
    source: Source,
    workload: str,
    query: Select[Any],
    order: Sequence[ColumnElement[Any]],
    counts: Callable[[Connection, Filter], Filter] = readable,
) -> "DataFrame":
    """What a query finds of those of a workload's studies that count."""
    import pandas as pd

    with snapshot(source) as moment:
        require(moment, (workload,))
        wanted = counts(moment, Filter((workload,)))
        found = moment.execute(query.where(wanted.clause()).order_by(*order))
        return pd.DataFrame(list(map(tuple, found)), columns=list(found.keys()))


def _whole(frame: "DataFrame") -> "DataFrame":
    """With whole numbers as such, though some are missing; a column of means is as it is."""
    whole = [name for name in _WHOLE if name in frame.columns]
    counted = [name for name in whole if (frame[name].dropna() % 1 == 0).all()]
    return frame.astype(dict.fromkeys(counted, "Int64"))
