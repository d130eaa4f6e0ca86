"""Studies whose winner lies at an edge of the search space, given a wider one and more trials."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, update

from batchfront.frontier.frontier import Point, load_frontier, searched_points
from batchfront.store.database import Storage
from batchfront.store.optuna_tables import lock_study
from batchfront.store.schema import studies
from batchfront.study.create import wait_for_planners
from batchfront.study.rounds import lock_search
from batchfront.study.slots import count_slots, fill
from batchfront.study.study import Study, read_study
from batchfront.workload.search_space import Dimension, describe_space, dimensions
from batchfront.workload.space_edges import growth, widened

LEAST = 4
"""Trials that an extension adds at least."""


@dataclass(frozen=True)
class Extension:
    """How far a study was widened.

    ranges -- metaparameter to its dimension before and after
    stuck  -- metaparameters at an edge that can't be moved: name to "low" or "high"
    added  -- new trials, all of them in what the search space has gained
    """

    study: Study
    ranges: Mapping[str, tuple[Dimension, Dimension]]
    stuck: Mapping[str, str]
    added: int


def extend(
    storage: Storage, workload: str, batch_sizes: Sequence[int] | None = None
) -> list[Extension]:
    """Widen the search space of each study of a workload whose winner lies at an edge of it.

    On each side where it does, the range grows by half (`widening.SHARE`); what it gains gets as
    many points as keep their density, and at least four. The study's identity and all that it
    holds stay as they are.
    """
    points = searched_points(load_frontier(storage, workload), batch_sizes)
    with storage.write() as conn:
        wait_for_planners(conn)
        lock_search(conn, workload)
        found = [_extend(conn, point) for point in points if point.edges]
    return [extension for extension in found if extension is not None]


def _extend(conn: Connection, point: Point) -> Extension | None:
    """None where someone has just extended it."""
    study = read_study(conn, point.study.id)
    if study.extensions != point.study.extensions:
        return None
    searched = dimensions(study.space)
    tried = {name: widened(name, searched[name], side) for name, side in point.edges.items()}
    ranges = {name: (searched[name], wide) for name, wide in tried.items() if wide is not None}
    stuck = {name: side for name, side in point.edges.items() if tried[name] is None}
    if not ranges:
        return Extension(study, ranges, stuck, 0)
    lock_study(conn, study.id)
    first = count_slots(conn, study.id)
    volume = math.prod(growth(*both) for both in ranges.values())
    more = max(LEAST, round(first * (volume - 1)))
    space = describe_space({**study.space, **{name: wide for name, (_, wide) in ranges.items()}})
    extensions = (*study.extensions, {"first": first, "outside": more, "space": space})
    study = replace(study, extensions=extensions, trials=study.trials + more)
    changed = update(studies).where(studies.c.id == study.id)
    conn.execute(changed.values(extensions=json.dumps(extensions), trials=study.trials))
    return Extension(study, ranges, stuck, fill(conn, study, first + more))
