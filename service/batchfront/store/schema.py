"""batchfront's own tables. They stand beside Optuna's in the same database.

A row of `bf_studies` extends the row of Optuna's `studies` with the same id; a slot is one unit
of a study's trial budget and owns at most one Optuna trial; measurements belong to slots. A worker
holds slots for as long as it renews its one lease; what it has got done with them in between is
written once for all, as the trials of a heat advance together. What stands in columns such as
`state`, `outcome`, `purpose` or `sampler` are the words of `batchfront.vocabulary`.
"""

import os
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Dialect,
    Double,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    literal_column,
)

from batchfront.median import exact
from batchfront.vocabulary import Purpose, SlotState

VERSION = 10
"""Of the tables below; stored in `bf_meta` under the key "schema"."""

LEASE_SECONDS = float(os.environ.get("BATCHFRONT_LEASE_SECONDS", "30"))
"""How long a worker may stay silent before its slots pass to others. The environment sets it for
tests, which have no half minutes to wait."""


class Steps(TypeDecorator[float]):
    """Steps to target: an int, but for a mean over seeds that was measured elsewhere."""

    impl = Double
    cache_ok = True

    def process_result_value(self, value: float | None, dialect: Dialect) -> float | None:
        """As it was before it was stored."""
        return None if value is None else exact(value)


metadata = MetaData()

meta = Table(
    "bf_meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

studies = Table(
    "bf_studies",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # Optuna's study_id
    Column("name", String(512), nullable=False, unique=True),
    Column("workload", String(512), nullable=False, index=True),
    Column("spec", Text, nullable=False),  # how a worker finds the workload's code
    Column("batch_size", Integer, nullable=False),
    Column("identity", Text, nullable=False),  # JSON; see study/identity.py
    Column("goal_value", Float(53)),  # the user's own goal, when it replaces the workload's
    Column("precision", String(16)),  # the user's own, when it replaces the workload's
    Column("seed", BigInteger, nullable=False),  # as given by the user
    Column("schedule", String(16), nullable=False),
    Column("sampler", String(16), nullable=False),
    Column("count", String(16), nullable=False),
    Column("trials", Integer, nullable=False),  # the budget
    Column("purpose", String(16), nullable=False, default=Purpose.SEARCH),
    Column("finishers", Integer, nullable=False, default=1),  # a race ends when so many passed
    Column("continuing", Integer, nullable=False, default=0),  # of them, go on to the step budget
    # Of a search whose trials are shared out between its batch sizes; empty: of one with `trials`
    Column("max_trials", Integer),
    Column("until", Float(53)),  # the factor within which the answer's interval is to lie
    Column("settled", Text),  # why it gets no further trial; empty while it may
    Column("stopped_by", Text),  # the option that stopped the last run before all was done
    Column("extensions", Text),  # JSON: wider search spaces, and the slots sampled from them
    Column("train_examples", BigInteger, nullable=False),
    Column("checksums", Text),  # JSON, of the workload's own files; empty: they aren't known
    Column("created_at", Float(53), nullable=False),  # seconds since 1970, the database's clock
)

slots = Table(
    "bf_slots",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", Integer, ForeignKey("bf_studies.id"), nullable=False),
    Column("number", Integer, nullable=False),  # its point of the sequence; its trial's, if free
    Column("seed", BigInteger),  # of a run elsewhere; empty: its number, or the study's own
    Column("state", String(8), nullable=False),  # leased: to worker_id
    Column("params", Text),  # JSON; empty until they are sampled
    Column("trial_id", Integer),  # Optuna's, from the first claim on
    Column("worker_id", String(64)),
    Column("fence", Integer, nullable=False, default=0),  # grows with every claim
    Column("attempts", Integer, nullable=False, default=0),  # claims that ended in an error, or run
    Column("deaths", Integer, nullable=False, default=0),  # workers that died since it last got on
    Column("failed_by", String(64)),  # the worker with which it failed last
    Column("failed_at", Float(53)),
    Column("steps", Integer, nullable=False, default=0),  # trained so far
    Column("steps_to_target", Steps),  # of outcome `reached`; or not done yet, and it goes on
    Column("steps_lower", Steps),  # the last evaluated step before it, where the goal stood open
    Column("outcome", String(16)),
    Column("reason", Text),
    Column("metric", Float(53)),  # the goal metric when last computed in full
    Column("training_seconds", Float(53)),
    Column("evaluation_seconds", Float(53)),
    Column("evaluated_examples", BigInteger),
    Column("repeats", Integer),  # the search's trial that it runs again, with another seed
    Column("round", Integer),  # of a search that samples all batch sizes at once; see study/rounds
    Column("micro_batch", Integer),  # examples a pass at the end; empty: the whole batch
    Column("versions", Text),  # JSON: batchfront, torch, device, source, engine
    Column("started_at", Float(53)),
    Column("finished_at", Float(53)),
    UniqueConstraint("study_id", "number"),
)

free = slots.c.state == literal_column(f"'{SlotState.FREE}'")

leased = slots.c.state == literal_column(f"'{SlotState.LEASED}'")

later = slots.c.state == literal_column(f"'{SlotState.LATER}'")

reached = slots.c.steps_to_target.is_not(None)
"""Conditions on a slot, said with literals: a planner has to see that they are an index's own."""

imported = studies.c.spec == ""
"""The condition on a study that it came from elsewhere without its code, so that nobody can run
more of its trials here."""


def _index(name: str, condition: ColumnElement[bool], *columns: Column[Any]) -> Index:
    """An index of the slots of one condition alone, however many others there are."""
    return Index(name, *columns, postgresql_where=condition, sqlite_where=condition)


_index("bf_slots_free", free, slots.c.study_id, slots.c.steps, slots.c.number)


_index("bf_slots_held", leased, slots.c.worker_id)


_index("bf_slots_later", later, slots.c.study_id)


_index("bf_slots_won", reached, slots.c.study_id, slots.c.steps_to_target)


measurements = Table(
    "bf_measurements",
    metadata,
    # No foreign key: PostgreSQL would search for the slot for every row, which doubles their cost.
    Column("slot_id", Integer, primary_key=True, autoincrement=False),
    Column("step", Integer, primary_key=True),
    Column("split", String(16), primary_key=True),  # train | validation | test
    Column("metric", String(64), primary_key=True),
    Column("value", Float(53)),  # NULL: not finite
)

workers = Table(
    "bf_workers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("host", String(256), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("device", String(64), nullable=False),
    Column("state", String(8), nullable=False),
    Column("study_id", Integer),  # busy with; or, idle, would take a part of
    Column("started_at", Float(53), nullable=False),
    Column("seen_at", Float(53), nullable=False),
    Column("lease_expires", Float(53), nullable=False),  # of all slots that it holds
    Column("trials", Integer, nullable=False),  # that it holds
    Column("steps", Integer, nullable=False),  # reached by every one of them
    Column("rate", Float(53), nullable=False),  # steps a second, its trials together
    Column("phase", String(16)),  # as of vocabulary.Phase; empty: it trains, or waits
    Column("metric", Float(53)),  # the best that its trials have shown at their last evaluation
    Column("seconds", Text),  # JSON: of its life so far, by phase_timer.Part
    Column("clock", Float(53)),  # seconds since 1970, by its own machine's clock, at `seen_at`
    Column("about", Text),  # JSON: see ledger/self_description.py
    # Not of what changes with every renewal: PostgreSQL then rewrites the row within its page.
    Index("bf_workers_at", "state", "study_id"),
    postgresql_with={"fillfactor": 50},
)

pass_sizes = Table(
    "bf_pass_sizes",
    metadata,
    # How many examples go through a model at once, as far as known: what its workers found.
    Column("workload", String(512), primary_key=True),
    Column("precision", String(16), primary_key=True),
    Column("device", String(128), primary_key=True),  # kind, memory, and workers that share it
    Column("training", Integer),  # empty: as many as there are
    Column("evaluation", Integer),
)

engines = Table(
    "bf_engines",
    metadata,
    # Which engine has been found to be faster; what a user asks for is not kept.
    Column("workload", String(512), primary_key=True),
    Column("device", String(128), primary_key=True),  # kind, memory, and workers that share it
    Column("batch_size", Integer, primary_key=True, autoincrement=False),
    Column("engine", String(16), nullable=False),
    Column("ratio", Float(53), nullable=False),  # how many times as fast vectorized was
    Column("trials", Integer, nullable=False),  # of the heat on which it was found
)

timings = Table(
    "bf_timings",
    metadata,
    # Seconds that a part of training takes, as measured alone: see advice/timings.py
    Column("workload", String(512), primary_key=True),
    Column("precision", String(16), primary_key=True),
    Column("device", String(128), primary_key=True),  # its kind
    Column("devices", Integer, primary_key=True, autoincrement=False),  # that share a batch
    Column("part", String(16), primary_key=True),  # as of vocabulary.TimedPart
    Column("examples", BigInteger, primary_key=True, autoincrement=False),  # 0: of no number
    Column("seconds", Float(53), nullable=False),  # the median
    Column("low", Float(53)),  # quartiles; empty: of numbers from elsewhere
    Column("high", Float(53)),
    Column("repetitions", Integer),
    Column("versions", Text, nullable=False),  # JSON: batchfront, torch, device, source
    Column("measured_at", Float(53), nullable=False),  # seconds since 1970, the database's clock
)

probes = Table(
    "bf_probes",
    metadata,
    # Gradient noise along a run: see advice/noise_scale.py
    Column("id", Integer, primary_key=True),
    Column("workload", String(512), nullable=False, index=True),
    Column("batch_size", Integer, nullable=False),
    Column("trial", Integer),  # of the study of that batch size; empty: a run of the probe's own
    Column("params", Text, nullable=False),  # JSON
    Column("seed", BigInteger, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("readings", Text, nullable=False),  # JSON, along the run
    Column("versions", Text, nullable=False),  # JSON
    Column("measured_at", Float(53), nullable=False),
)
