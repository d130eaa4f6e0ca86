"""A database as it stands in the middle of a large plan, made in seconds."""

from collections.abc import Mapping, Sequence

from optuna.distributions import distribution_to_json
from sqlalchemy import Connection, bindparam, text

from batchfront.store.database import Storage
from batchfront.study.slots import Slot
from tests.benchmarks.noop_trials import DISTRIBUTIONS, planned

DONE, HELD = 0.4, 0.2
"""Shares of each study's trials that are done, and held by workers; the rest is free."""

_FILL = (
    """INSERT INTO trials (number, study_id, state, datetime_start, datetime_complete)
    SELECT number, study_id, (CASE WHEN number < :done THEN 'COMPLETE' ELSE 'RUNNING' END)
        ::trialstate, now(), CASE WHEN number < :done THEN now() END
    FROM bf_slots WHERE number < :held ORDER BY random()""",
    """INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
    SELECT trial_id, :param, 0, :kind FROM trials""",
    """INSERT INTO trial_values (trial_id, objective, value, value_type)
    SELECT trial_id, 0, 20 + number % 100, 'FINITE' FROM trials WHERE state = 'COMPLETE'""",
    """INSERT INTO trial_user_attributes (trial_id, key, value_json)
    SELECT trial_id, key, '"a word or two"'
    FROM trials, unnest(ARRAY['versions', 'outcome', 'reason', 'steps']) AS key""",
    """UPDATE bf_slots AS s SET fence = 1, attempts = 1, trial_id = t.trial_id,
        worker_id = 'worker-' || (s.id / 32), started_at = 1,
        state = CASE WHEN s.number < :done THEN 'done' ELSE 'leased' END,
        steps_to_target = CASE WHEN s.number < :done THEN 20 + s.number % 100 END,
        outcome = CASE WHEN s.number < :done THEN 'reached' END
    FROM trials AS t WHERE t.study_id = s.study_id AND t.number = s.number""",
    """INSERT INTO bf_workers (id, host, pid, device, state, study_id, started_at, seen_at,
        lease_expires, trials, steps, rate)
    SELECT worker_id, 'here', 1, 'cpu', CASE max(state) WHEN 'leased' THEN 'busy' ELSE 'stopped'
        END, max(study_id), 0, extract(epoch FROM now()), extract(epoch FROM now()) + 3600,
        count(*) FILTER (WHERE state = 'leased'), 0, 1
    FROM bf_slots WHERE worker_id IS NOT NULL GROUP BY worker_id""",
)
_EMPTY = (
    "DELETE FROM bf_measurements WHERE slot_id IN :slots",
    "DELETE FROM trial_params WHERE trial_id IN :trials",
    "DELETE FROM trial_values WHERE trial_id IN :trials",
    "DELETE FROM trial_intermediate_values WHERE trial_id IN :trials",
    "DELETE FROM trial_user_attributes WHERE trial_id IN :trials",
    "DELETE FROM trials WHERE trial_id IN :trials",
    """UPDATE bf_slots SET state = 'free', trial_id = NULL, attempts = 0, steps = 0,
        steps_to_target = NULL, outcome = NULL WHERE id IN :slots""",
)


def fill(storage: Storage, trials: int, batch_sizes: Sequence[int]) -> None:
    """A study for each batch size, of so many trials together, with the workers that hold some,
    and Optuna's trials to match."""
    each = trials // len(batch_sizes)
    planned(storage, each, batch_sizes)
    edges = {"done": round(DONE * each), "held": round((DONE + HELD) * each)}
    with storage.write() as conn:
        for statement in _FILL:
            for name, kind in DISTRIBUTIONS.items() if ":param" in statement else [("", None)]:
                about = {"param": name, "kind": kind and distribution_to_json(kind)}
                _execute(conn, statement, {**edges, **about})


def put_back(storage: Storage, slots: Sequence[Slot]) -> None:
    """Make started or ended slots free again, as if they had never been claimed."""
    with storage.write() as conn:
        for statement in _EMPTY:
            every = {"slots": [s.id for s in slots], "trials": [s.trial_id for s in slots]}
            _execute(conn, statement, every)


def _execute(conn: Connection, statement: str, values: Mapping[str, object]) -> None:
    """With those of the values that it names."""
    used = {name: value for name, value in values.items() if f":{name}" in statement}
    lists = [bindparam(k, expanding=True) for k, value in used.items() if isinstance(value, list)]
    conn.execute(text(statement).bindparams(*lists), used)
