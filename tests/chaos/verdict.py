"""What must be the same, whatever was done to the workers and to their database."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from sqlalchemy import select

from batchfront.frontier.frontier import load_frontiers
from batchfront.store.database import Storage
from batchfront.store.schema import slots, studies
from batchfront.store.url import open_storage
from tests.chaos import stranger

EXACT = ("outcome", "steps_to_target", "steps_lower", "metric", "evaluated_examples")

MARK = ".batchfront"  # by which workers see whether they reach the same folder


def compare(undisturbed: str, disturbed: str, checkpoints: Path) -> list[str]:
    """What is wrong with the disturbed run, a line each; the databases are given by URL."""
    calm, rough = open_storage(undisturbed), open_storage(disturbed)
    found = [*_each_ended_once(rough), *_same_results(calm, rough), *_strangers_touched(rough)]
    if _frontiers(calm) != _frontiers(rough):
        found.append(f"another frontier: {_frontiers(rough)} in place of {_frontiers(calm)}")
    files = [path for path in checkpoints.rglob("*") if path.is_file()]
    left = [str(path) for path in files if path.suffix != ".safetensors" and path.name != MARK]
    if left:
        found.append(f"{len(left)} files are left among the checkpoints: {left[:3]}")
    kept = Counter(path.parent for path in files if path.suffix == ".safetensors")
    for folder, number in kept.items():
        if number > 1:  # the winner's weights are kept, and nobody else's
            found.append(f"the weights of {number} trials are kept in {folder}")
    calm.close()
    rough.close()
    return found


def rows(storage: Storage) -> dict[tuple[str, int], Any]:
    """Every slot, by study and number."""
    query = select(slots, studies.c.name).select_from(slots.join(studies))
    with storage.read() as conn:
        return {(row.name, row.number): row for row in conn.execute(query)}


def _optunas(storage: Storage) -> dict[str, list[FrozenTrial]]:
    """All trials of all studies, as Optuna reads them."""
    rdb = optuna.storages.RDBStorage(storage.url.render_as_string(hide_password=False))
    found = {s.study_name: rdb.get_all_trials(s._study_id) for s in rdb.get_all_studies()}
    rdb.engine.dispose()
    return found


def _strangers_touched(storage: Storage) -> Iterator[str]:
    """A stranger's trials, each of which is as it made or ended it."""
    trials = _optunas(storage).get(stranger.NAME, [])
    if [trial.number for trial in trials] != [*range(len(trials))]:
        yield f"the stranger's trials are {[trial.number for trial in trials]}"
    for trial in trials:
        expected = [None, stranger.value_of(trial.number)][trial.state.is_finished()]
        if trial.value != expected or trial.params or trial.user_attrs:
            yield f"the stranger's trial is another: {trial}"


def _each_ended_once(storage: Storage) -> Iterator[str]:
    """Slots against Optuna's trials, read through Optuna."""
    mine = rows(storage)
    for (study, number), row in mine.items():
        if row.state != "done":
            yield f"{study} slot {number} is {row.state}"
    optunas = _optunas(storage)
    optunas.pop(stranger.NAME, None)
    theirs = {(study, t.number): t for study, trials in optunas.items() for t in trials}
    counted = Counter((study, t.number) for study, trials in optunas.items() for t in trials)
    for key, times in counted.items():
        if times > 1 or key not in mine:
            yield f"{key} is {times} trials in Optuna, and {int(key in mine)} slots"
    for key, row in mine.items():
        trial = theirs.get(key)
        if trial is None:
            yield f"{key} has no trial in Optuna"
        elif not trial.state.is_finished() or trial._trial_id != row.trial_id:
            yield f"{key} is {trial.state.name} in Optuna"
        elif (trial.value, trial.user_attrs["outcome"]) != (row.steps_to_target, row.outcome):
            yield f"{key} is {trial.value}, {trial.user_attrs['outcome']} in Optuna"


def _same_results(calm: Storage, rough: Storage) -> Iterator[str]:
    """A trial that reached the goal in both did so with the same numbers; one that failed did so
    in both; and there are the same trials."""
    before, after = rows(calm), rows(rough)
    if before.keys() != after.keys():
        yield f"other trials: {sorted(before.keys() ^ after.keys())}"
    for key in before.keys() & after.keys():
        was, now = before[key], after[key]
        if was.outcome == now.outcome == "reached":
            pairs = [(getattr(was, name), getattr(now, name)) for name in EXACT]
            if any(a != b for a, b in pairs):
                yield f"{key} reached the goal otherwise: {pairs}"
        if "failed" in (was.outcome, now.outcome) and was.outcome != now.outcome:
            reason = (now.reason or "").splitlines()[:1]
            yield f"{key} was {was.outcome}, is {now.outcome}: {reason}"


def _frontiers(storage: Storage) -> list[tuple[Any, ...]]:
    return [
        (frontier.workload, p.batch_size, p.steps, p.steps_lower, p.best and p.best.number)
        for frontier in load_frontiers(storage)
        for p in frontier.points
    ]
