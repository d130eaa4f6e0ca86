"""Each slot's trial in Optuna's tables, where others write too; inside a transaction.

A trial is a slot's if the slot says so and it belongs to the study of that id and name which
batchfront has made. What stands in `bf_slots` is the truth, and Optuna's trial is its record: what
others have written there of how it ended is written over, with a warning; a trial that is not the
slot's is left alone, and the slot gets another.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from batchfront.outcomes import TrialResult
from batchfront.phrases import first_few
from batchfront.store.bulk import update_rows
from batchfront.store.optuna_trials import (
    create_trials,
    finish_trials,
    look_at_trials,
    reopen_trials,
)
from batchfront.store.schema import slots
from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.workload.search_space import SearchSpace

log = logging.getLogger(__name__)


def begin_trials(
    conn: Connection,
    study: Study,
    held: Sequence[Slot],
    space: SearchSpace,
    versions: Mapping[str, Any],
) -> list[Slot]:
    """Give each slot, its `params` sampled, a trial where it has none.

    Returns the slots with their trials. Raises StudyDeleted if Optuna no longer has the study.
    """
    there = _look(conn, study, held)
    lacking = [slot for slot in held if slot.trial_id not in there]
    made = _make(conn, study, lacking, space, {slot.id: versions for slot in lacking})
    return [replace(slot, trial_id=made.get(slot.id, slot.trial_id)) for slot in held]


def end_trials(
    conn: Connection,
    study: Study,
    written: Sequence[tuple[Slot, TrialResult]],
    versions: Mapping[int, str | None],
) -> None:
    """Write how the trials of slots ended. A slot that was never begun has none.

    versions -- JSON: what has computed them, by id of the slot

    Raises StudyDeleted if Optuna no longer has the study.
    """
    begun = [(slot, result) for slot, result in written if slot.trial_id is not None]
    there = _look(conn, study, [slot for slot, _ in begun])
    told = [slot for slot, _ in begun if slot.trial_id is not None and there.get(slot.trial_id)]
    if told:
        reopen_trials(conn, [slot.trial_id for slot in told if slot.trial_id is not None])
        log.warning(
            "%s: others have written to Optuna's record of it while it ran, which is written over "
            "with its result: %s",
            study.name,
            _named(told),
        )
    lacking = [slot for slot, _ in begun if slot.trial_id not in there]
    known = {slot.id: json.loads(versions[slot.id] or "{}") for slot in lacking}
    made = _make(conn, study, lacking, study.space, known)
    ids = [{"id": slot_id, "trial_id": trial_id} for slot_id, trial_id in made.items()]
    update_rows(conn, slots, ids)
    results = {made.get(slot.id, slot.trial_id): result for slot, result in begun}
    finish_trials(conn, {id_: result for id_, result in results.items() if id_ is not None})


def _look(conn: Connection, study: Study, held: Sequence[Slot]) -> dict[int, bool]:
    """Those trials of slots that are there: whether others have written to each."""
    ids = [slot.trial_id for slot in held if slot.trial_id is not None]
    return look_at_trials(conn, study.id, study.name, ids) if ids else {}


def _make(
    conn: Connection,
    study: Study,
    lacking: Sequence[Slot],
    space: SearchSpace,
    versions: Mapping[int, Mapping[str, Any]],
) -> dict[int, int]:
    """Make the trials of slots. Returns their ids, by id of the slot."""
    if not lacking:
        return {}
    own = {
        slot.number: {
            "versions": dict(versions[slot.id]),
            **({} if slot.origin is None else {"origin": slot.origin}),
        }
        for slot in lacking
    }
    params = {slot.number: slot.params or {} for slot in lacking}
    ids = create_trials(conn, study.id, study.name, space, params, own)
    missed = [slot for slot in lacking if slot.trial_id is not None]
    if missed:
        log.warning(
            "%s: Optuna's record of it is gone, or another trial's by now, and is made anew: %s",
            study.name,
            _named(missed),
        )
    return dict(zip((slot.id for slot in lacking), ids, strict=True))


def _named(some: Sequence[Slot]) -> str:
    return first_few([f"trial {slot.number}" for slot in some])
