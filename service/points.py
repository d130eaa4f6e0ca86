"""Filling a study with slots: its first points, more of them, and those that replace diverged."""

from sqlalchemy import Connection

from service.optuna_tables import lock_study
from service.search_space import SearchSpace, Value, quasi_random_points
from service.slots import Study, add_slots, count_slots
from service.training.seeds import study_seed

SAMPLERS = ("sobol", "tpe", "gp")
"""Quasi-random points computed up front, or an Optuna sampler that needs results to draw from."""

FEASIBLE_LIMIT = 3
"""With `--count feasible`, a study has at most this many times its budget of slots in all."""


def draw_points(
    study: Study, space: SearchSpace, first: int, count: int
) -> list[dict[str, Value] | None]:
    """Points `first .. first + count - 1` of a study; None where the sampler draws later."""
    if study.sampler != "sobol":
        return [None] * count
    seed = study_seed(study.seed, study.workload, study.batch_size)
    return [*quasi_random_points(space, count, seed, first)]


def fill(conn: Connection, study: Study, total: int) -> int:
    """Append slots until the study has `total`; how many were added."""
    lock_study(conn, study.id)
    first = count_slots(conn, study.id)
    count = max(total - first, 0)
    if count:
        add_slots(conn, study.id, first, draw_points(study, study.space, first, count))
    return count


def replace_diverged(conn: Connection, study: Study, diverged: int) -> int:
    """Append a slot for each diverged one, up to the limit; how many were added."""
    if not diverged:
        return 0
    lock_study(conn, study.id)
    slots = count_slots(conn, study.id)
    return fill(conn, study, min(slots + diverged, FEASIBLE_LIMIT * study.trials))
