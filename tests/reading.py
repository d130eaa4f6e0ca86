"""All that was measured of a study, to compare with what a test wrote."""

from typing import NamedTuple

from sqlalchemy import select

from batchfront.store.schema import measurements, slots
from batchfront.store.snapshot import Source, snapshot


class Measurement(NamedTuple):
    """One kept measurement of a trial; `value` is None where it was not finite."""

    step: int
    split: str
    metric: str
    value: float | None


def load_curves(source: Source, study_id: int) -> dict[int, list[Measurement]]:
    """The kept measurements of a study: trial number to points, by step."""
    query = (
        select(slots.c.number, measurements)
        .select_from(measurements.join(slots, measurements.c.slot_id == slots.c.id))
        .where(slots.c.study_id == study_id)
        .order_by(slots.c.number, measurements.c.step)
    )
    curves: dict[int, list[Measurement]] = {}
    with snapshot(source) as moment:
        for row in moment.execute(query):
            point = Measurement(row.step, row.split, row.metric, row.value)
            curves.setdefault(row.number, []).append(point)
    return curves
