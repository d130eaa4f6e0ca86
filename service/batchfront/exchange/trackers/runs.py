"""What a tracker is told of a database: a run for each trial that has ended, and one for each
workload's frontier."""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from batchfront.errors import UsageError
from batchfront.frontier.frontier import Frontier, load_frontiers
from batchfront.frontier.queries import workload_names
from batchfront.store.schema import measurements, slots, studies
from batchfront.study.study import Filter, Study, goal_text, load_studies, measured, readable
from batchfront.table import beside
from batchfront.vocabulary import SlotState
from batchfront.workload.search_space import Value

Series = Sequence[tuple[int, float]]
"""(step, value), by step; NaN where a value was not finite."""


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker keeps as one run.

    key      -- tells it from all other runs; that of a trial that ran again is another
    group    -- `b64`, of the trials at batch size 64; `frontier`
    config   -- what it was run with
    tags     -- its outcome, and what else it is looked for by
    summary  -- what came out; what isn't known is left out
    curves   -- by name; of the frontier, steps are batch sizes
    started, finished -- seconds since 1970
    """

    key: str
    workload: str
    group: str
    name: str
    config: Mapping[str, Value]
    tags: Mapping[str, str]
    summary: Mapping[str, float]
    curves: Mapping[str, Series] = field(default_factory=dict)
    started: float = 0.0
    finished: float = 0.0


def count_runs(conn: Connection, workloads: Sequence[str]) -> int:
    """How many runs `tracked_runs` finds."""
    wanted = readable(conn, Filter(tuple(workloads))).clause()
    done = select(slots.c.id).select_from(slots.join(studies))
    trials = conn.execute(done.where(wanted, slots.c.state == SlotState.DONE)).all()
    return len(trials) + len(_named(conn, workloads))


def tracked_runs(conn: Connection, workloads: Sequence[str]) -> Iterator[TrackedRun]:
    """Of these workloads or of all: each trial that has ended, study by study, then the frontiers.

    Studies that can't be read are left out, and so are learning curves that can't be right.
    """
    meant = Filter(tuple(workloads))
    told = measured(conn, meant)
    for study in load_studies(conn, readable(conn, meant)).readable:
        curves = {} if study.id in told.left_out else _curves(conn, study)
        done = select(slots).where(slots.c.study_id == study.id, slots.c.state == SlotState.DONE)
        for row in conn.execute(done.order_by(slots.c.number)).all():
            yield _trial(study, row, curves.get(row.id, {}))
    for workload in _named(conn, workloads):
        yield from map(_frontier, load_frontiers(conn, [workload]))


def _named(conn: Connection, workloads: Sequence[str]) -> list[str]:
    return [name for name in workload_names(conn) if not workloads or name in workloads]


def _curves(conn: Connection, study: Study) -> dict[int, dict[str, list[tuple[int, float]]]]:
    """The learning curves of a study, by slot and name."""
    query = (
        select(measurements)
        .join(slots, measurements.c.slot_id == slots.c.id)
        .where(slots.c.study_id == study.id)
        .order_by(measurements.c.slot_id, measurements.c.step)
    )
    found: dict[int, dict[str, list[tuple[int, float]]]] = {}
    for row in conn.execute(query):
        value = math.nan if row.value is None else float(row.value)
        curve = found.setdefault(row.slot_id, {}).setdefault(f"{row.split}/{row.metric}", [])
        curve.append((row.step, value))
    return found


def _trial(study: Study, row: Any, curves: Mapping[str, Series]) -> TrackedRun:
    summary = {
        "steps": row.steps,
        "steps_to_target": row.steps_to_target,
        "steps_lower": row.steps_lower,
        "examples_to_target": row.steps_to_target and row.steps_to_target * study.batch_size,
        "goal_metric": row.metric,
        "training_seconds": row.training_seconds,
    }
    params = {
        _encodable(name): _encodable(value) if isinstance(value, str) else value
        for name, value in json.loads(row.params or "{}").items()
    }
    own: dict[str, Any] = {"batch_size": study.batch_size}
    own |= {} if row.seed is None else {"seed": row.seed}
    tags = {
        "workload": study.workload,
        "study": study.name,
        "purpose": str(study.purpose),
        "outcome": str(row.outcome),
        "reason": str(row.reason or ""),
        "goal": goal_text(study.identity["goal"]),
    }
    titles = beside(("batch_size", "seed", *tags), params)
    return TrackedRun(
        key=_key(study.name, row.number, row.trial_id, row.finished_at, row.outcome, params),
        workload=_encodable(study.workload),
        group=f"b{study.batch_size}",
        name=_encodable(f"{study.name.removeprefix(f'{study.workload}/')} trial {row.number}"),
        config={**own, **{titles[name]: value for name, value in params.items()}},
        tags={name: _encodable(text) for name, text in tags.items()},
        summary={name: float(value) for name, value in summary.items() if value is not None},
        curves={_encodable(name): curve for name, curve in curves.items()},
        started=row.started_at or row.finished_at or 0.0,
        finished=row.finished_at or 0.0,
    )


def _frontier(frontier: Frontier) -> TrackedRun:
    points = [(point.batch_size, float(point.steps)) for point in frontier.points if point.steps]
    return TrackedRun(
        key=_key(frontier.workload, points),
        workload=_encodable(frontier.workload),
        group="frontier",
        name="frontier",
        config={},
        tags={
            "workload": _encodable(frontier.workload),
            "goal": _encodable(frontier.goal_text),
        },
        summary={},
        curves={"frontier/steps_to_target": points},
    )


def _encodable(text: str) -> str:
    """A text without halves of surrogate pairs, which JSON in a database can hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def _key(*told: object) -> str:
    return hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()[:16]


def project(workload: str) -> str:
    """A workload as a project's name, in which some characters may not stand."""
    return re.sub(r"[^\w.@+=-]", "-", workload)[:128]


def by_step(curves: Mapping[str, Series]) -> dict[int, dict[str, float]]:
    """What all curves have at each step, the steps ascending."""
    found: dict[int, dict[str, float]] = {}
    for name, curve in curves.items():
        for step, value in curve:
            found.setdefault(step, {})[name] = value
    return dict(sorted(found.items()))


def new_folder(where: str) -> Path:
    """A tracker's folder, made if it isn't there. Raises UsageError where it can't be."""
    folder = Path(where)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror or error}") from None
    return folder
