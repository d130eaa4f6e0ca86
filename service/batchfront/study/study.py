"""Studies as the code passes them around, and which of them are meant."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Row,
    and_,
    select,
    true,
)

from batchfront.errors import StudyDeleted, UsageError
from batchfront.printable import printable
from batchfront.store.commands import command
from batchfront.store.database import Storage
from batchfront.store.optuna_tables import is_tied, optuna_studies
from batchfront.store.schema import studies
from batchfront.study.flaws import Flaw, check_study, curve_flaws, trial_flaws
from batchfront.study.variants import base_of
from batchfront.vocabulary import ADAPTIVE, Evaluate, Purpose, Sampler, Schedule
from batchfront.workload.catalog import place_of
from batchfront.workload.search_space import SearchSpace, restore_space
from batchfront.workload.seeds import mix, study_seed, trial_seed
from batchfront.workload.source import Checksums

log = logging.getLogger(__name__)


def goal_text(goal: Mapping[str, Any]) -> str:
    """A stored goal in words: "validation error rate < 0.03", or as whoever set it wrote it."""
    if "text" in goal:
        return str(goal["text"])
    sign = "<" if goal["better"] == "lower" else ">"
    return f"validation {goal['metric']} {sign} {goal['value']:g}"


ALL = "all"
"""How many trials of a study race together, where that is as many as fit."""

SCALINGS = (0.0, 0.5, 1.0)
"""With warm start, the powers of the ratio of batch sizes by which a neighbour's learning rate is
multiplied: a slot for each, of each of two neighbours."""


@dataclass(frozen=True)
class Definition:
    """One (workload, batch size, purpose), before or after it is stored as a `Study`.

    finishers  -- a race goes on until so many trials have passed the goal; 0: no trial is capped
    continuing -- of those that pass, so many go on to the step budget
    precision  -- the user's own, where it replaces the workload's
    extensions -- wider search spaces since, each `{"first": slot number, "outside": slots from
                  that one on whose points lie in what it has gained, "space": ...}`
    checksums  -- of the files that its workload's own code is made of; None: they aren't known
    max_trials -- of a search whose trials are shared out between its batch sizes, how many it may
                  have; None of one with `trials`
    until      -- the factor within which the answer of such a search is to be known
    settled    -- why such a search gets no further trial; None while it may
    stopped_by -- the option that stopped the last run here before all was done
    """

    name: str
    workload: str
    spec: str
    batch_size: int
    identity: Mapping[str, Any]
    goal_value: float | None
    seed: int
    schedule: str
    sampler: str
    count: str
    trials: int
    train_examples: int = 0
    purpose: str = Purpose.SEARCH
    finishers: int = 1
    continuing: int = 0
    precision: str | None = None
    extensions: tuple[Mapping[str, Any], ...] = ()
    checksums: Checksums | None = None
    max_trials: int | None = None
    until: float | None = None
    settled: str | None = None
    stopped_by: str | None = None

    @property
    def columns(self) -> dict[str, Any]:
        """What is stored of it, by the column that it is stored in."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @cached_property
    def space(self) -> SearchSpace:
        """The search space, as wide as it is now; parsed once."""
        described = self.extensions[-1]["space"] if self.extensions else None
        return restore_space(described or self.identity["search_space"])

    @property
    def points_seed(self) -> int:
        """The seed of the sequence that its points are sampled from."""
        base = base_of(self.workload, self.variant)  # the same for a variant: they are compared
        return study_seed(self.seed, base, self.batch_size, self.purpose)

    def round_seed(self, number: int) -> int:
        """The seed that a round of its search, at all batch sizes, is sampled with."""
        return mix(study_seed(self.seed, base_of(self.workload, self.variant), 0), number)

    def trial_seed(self, number: int) -> int:
        """The seed of one of its trials: another one in every study, whatever its purpose."""
        return trial_seed(self.points_seed, number)

    @property
    def variant(self) -> str | None:
        """The variant's name, of a workload that is one of another's."""
        named: str | None = self.identity.get("variant")
        return named

    @property
    def kind(self) -> str | None:
        """Whose its training loop is: of a `program`, of a `loop`, or, None, batchfront's."""
        kind: str | None = self.identity.get("kind")
        return kind

    @property
    def allowed(self) -> tuple[str, ...]:
        """The option by which a command may run its code, where that isn't the catalog's."""
        place = place_of(self.spec)
        return () if place is None else ("--code", place)

    @property
    def warm_start(self) -> bool:
        """Whether its first slots start at what its neighbours have found."""
        return self._asked_for("warm_start")

    @property
    def halving(self) -> bool:
        """Whether the worse half of its trials is dropped at rungs."""
        return self._asked_for("halving")

    @property
    def extrapolate(self) -> bool:
        """Whether trials whose curve would miss the leader are dropped."""
        return self._asked_for("extrapolate")

    @property
    def sparse(self) -> bool:
        """Whether its trials' evaluations are left out where they are far from the goal."""
        found = self.identity.get("search", {}).get("evaluate", Evaluate.EVERY)
        return bool(found == Evaluate.SPARSE)

    @property
    def adaptive(self) -> bool:
        """Whether its points are sampled from the results of others."""
        return self.sampler in ADAPTIVE

    @property
    def in_rounds(self) -> bool:
        """Whether its points are sampled in rounds, with those of the workload's searches at all
        other batch sizes: see `batchfront.study.rounds`."""
        return self.sampler == Sampler.JOINT

    @property
    def generation(self) -> int:
        """How many of its trials race together, each up to the best of the generations, or rounds,
        before; 0: it has no generations."""
        return int(self.identity.get("search", {}).get("generation", 0))

    @property
    def together(self) -> int | str:
        """How many of its trials race together: `ALL`, as many as a generation has, or 1."""
        return 1 if self.schedule == Schedule.ONE_BY_ONE else self.generation or ALL

    def _asked_for(self, option: str) -> bool:
        return bool(self.identity.get("search", {}).get(option, False))

    @property
    def warm_slots(self) -> int:
        """How many slots do; those that came with a wider search space don't."""
        if not self.warm_start:
            return 0
        return min([2 * len(SCALINGS), *(int(e["first"]) for e in self.extensions)])

    @property
    def tokens_per_example(self) -> float | None:
        """How many tokens an example has on average, where its examples are sequences of tokens and
        the description of its data, or of a program's output, says so; None where nobody does."""
        told = self.identity.get("output", {}).get("tokens_per_example")
        if told is not None:
            return float(told)
        train = self.identity.get("data", {}).get("train", {})
        tokens = train.get("tokens")
        if isinstance(tokens, str) and "length" in train:  # of a Stream, whose crops are as long
            return float(train["length"])
        if isinstance(tokens, int) and "of_these" not in train:  # of a Part, tokens of the whole
            return tokens / train["examples"] if train.get("examples") else None
        return None

    @property
    def metric(self) -> str:
        """The name of the goal metric."""
        return str(self.identity["goal"]["metric"])

    @property
    def metric_text(self) -> str:
        """The goal metric in words: "validation error rate"."""
        return self.in_words(self.metric)

    def in_words(self, metric: str) -> str:
        """A metric that its trials are evaluated by, in words; what a training loop of the user's
        tells goes by its own name alone."""
        return metric if self.kind else f"validation {metric}"


@dataclass(frozen=True)
class Study(Definition):
    """A definition as `bf_studies` keeps it."""

    id: int = field(kw_only=True)

    @classmethod
    def from_row(cls, row: Row[Any]) -> "Study":
        """A row of `bf_studies` as a study."""
        fields = {name: getattr(row, name) for name in cls.__dataclass_fields__}
        fields["identity"] = json.loads(row.identity)
        fields["extensions"] = tuple(json.loads(row.extensions or "[]"))
        fields["checksums"] = json.loads(row.checksums or "null")
        return cls(**fields)

    def to_row(self) -> dict[str, Any]:
        """The study as `bf_studies` keeps it."""
        extensions = json.dumps(self.extensions) if self.extensions else None
        checksums = None if self.checksums is None else json.dumps(dict(self.checksums))
        return {
            **self.columns,
            "identity": json.dumps(dict(self.identity)),
            "extensions": extensions,
            "checksums": checksums,
        }


@dataclass(frozen=True)
class Filter:
    """Which studies are meant; an empty tuple means all, but for the workloads in `without`.

    left_out -- ids of studies that can't be read, as `readable` finds them
    """

    workloads: tuple[str, ...] = ()
    batch_sizes: tuple[int, ...] = ()
    without: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    left_out: tuple[int, ...] = ()

    def clause(self) -> ColumnElement[bool]:
        """The condition on `bf_studies` that says the same of those that have their Optuna
        study."""
        return and_(self.stored(), is_tied(studies.c.id, studies.c.name))

    def stored(self) -> ColumnElement[bool]:
        """The condition on `bf_studies` that says the same, also of orphans."""
        clauses: list[ColumnElement[bool]] = [true()]
        if self.workloads:
            clauses.append(studies.c.workload.in_(self.workloads))
        if self.batch_sizes:
            clauses.append(studies.c.batch_size.in_(self.batch_sizes))
        if self.purposes:
            clauses.append(studies.c.purpose.in_(self.purposes))
        if self.without:
            clauses.append(studies.c.workload.not_in(self.without))
        if self.left_out:
            clauses.append(studies.c.id.not_in(self.left_out))
        return and_(*clauses)


@dataclass(frozen=True)
class Unreadable:
    """A stored study that is left out everywhere, and why, in words.

    is_orphan -- whether Optuna's study of its id is another's, or gone
    curves    -- whether its learning curves alone are left out
    """

    id: int
    name: str
    workload: str
    batch_size: int
    why: str
    is_orphan: bool = False
    curves: bool = False

    @property
    def says(self) -> str:
        """What is left out, and why."""
        named = f"study {printable(self.name)}"
        what = f"the learning curves of {named} are" if self.curves else f"{named} is"
        return f"{what} left out: {self.why}"

    def removal(self, where: URL) -> str:
        """The command, in backticks, that removes it from its database."""
        of_curves = (self.workload, "--batch-sizes", str(self.batch_size))
        return command(where, "delete", *(of_curves if self.curves else (self.name,)))

    def told(self, where: URL) -> str:
        """A line that names it, and the command that removes it."""
        return f"{self.says}; {self.removal(where)} removes it"


@dataclass(frozen=True)
class Studies:
    """Those studies that are meant, and can be read, and beside them those that can't."""

    readable: tuple[Study, ...]
    unreadable: tuple[Unreadable, ...]


Stored = Study | Unreadable
"""A study that is there, whether it can be read or not."""


def load_studies(conn: Connection, wanted: Filter) -> Studies:
    """Load the studies that are meant, by workload and batch size, those of one as they were made.

    One that can't be read is told apart and takes no other with it: an orphan, whose Optuna study
    was deleted, and one in whose definition or trials something can't be right.
    """
    found = _stored(conn, wanted.stored())
    return Studies(
        tuple(one for one in found if isinstance(one, Study)),
        tuple(one for one in found if isinstance(one, Unreadable)),
    )


def find_named(conn: Connection, name: str) -> Stored | None:
    """The study of this name; None if there is none."""
    return next(iter(_stored(conn, studies.c.name == name)), None)


def find_study(conn: Connection, study_id: int) -> Stored | None:
    """The study of this id; None if there is none."""
    return next(iter(_stored(conn, studies.c.id == study_id)), None)


def _stored(conn: Connection, condition: ColumnElement[bool]) -> list[Stored]:
    ordered = _rows.order_by(studies.c.workload, studies.c.batch_size, studies.c.id)
    rows = conn.execute(ordered.where(condition)).all()
    known = _judged(conn)
    known |= _judge(conn, [row for row in rows if row.id not in known])
    return [known[row.id] for row in rows]


_rows = select(studies, is_tied(studies.c.id, studies.c.name).label("is_tied"))

_known: WeakKeyDictionary[Connection, dict[int, Stored]] = WeakKeyDictionary()
"""By a moment of a database, what has been found of its studies: a page asks for them often."""


def _judged(conn: Connection) -> dict[int, Stored]:
    """What is known of this moment's studies; nothing of a transaction that writes."""
    if conn.get_execution_options().get("batchfront_write"):
        return {}
    return _known.setdefault(conn, {})


def _judge(conn: Connection, rows: Sequence[Row[Any]]) -> dict[int, Stored]:
    found: dict[int, Stored] = {}
    spaces = {}
    for row in rows:
        try:
            spaces[row.id] = _check(conn, row)
        except Flaw as flaw:
            found[row.id] = _unreadable(row, str(flaw))
    wrong: dict[int, str] = {}
    for study_id, number, flaw_text in trial_flaws(conn, spaces):
        wrong.setdefault(study_id, f"trial {number}: {flaw_text}")
    for row in rows:
        if row.id in wrong:
            found[row.id] = _unreadable(row, wrong[row.id])
        elif row.id in spaces:
            found[row.id] = Study.from_row(row)
    return found


def _check(conn: Connection, row: Row[Any]) -> SearchSpace:
    """Raise Flaw for a study whose definition can't be read. Returns its search space."""
    if not row.is_tied:
        raise Flaw(_orphaned(conn, row))
    return check_study(row._asdict())


def _unreadable(row: Row[Any], why: str) -> Unreadable:
    names = (str(row.name), str(row.workload))
    return Unreadable(row.id, *names, row.batch_size, printable(why), is_orphan=not row.is_tied)


def _orphaned(conn: Connection, row: Row[Any]) -> str:
    """How a study came to be an orphan."""
    there = optuna_studies(conn, row.name, row.id)
    if there.get(row.id) == row.name:
        return "another Optuna study has its id and its name"
    if row.id in there:
        return f"its Optuna study was deleted, and {there[row.id]} has its id now"
    return "its Optuna study was deleted"


def find_studies(conn: Connection, wanted: Filter) -> list[Study]:
    """The studies that are meant, as `load_studies` has them. Warns of those that it leaves out,
    once in a process."""
    found = load_studies(conn, wanted)
    warn_of(conn.engine.url, found.unreadable)
    return list(found.readable)


def readable(conn: Connection, wanted: Filter) -> Filter:
    """The same without the studies that can't be read, for what asks the database about many.
    Warns of them as `find_studies` does."""
    found = load_studies(conn, wanted)
    warn_of(conn.engine.url, found.unreadable)
    without = (one.id for one in found.unreadable if not one.is_orphan)
    return replace(wanted, left_out=(*wanted.left_out, *without))


def measured(conn: Connection, wanted: Filter) -> Filter:
    """The same as `readable` has it, and without the studies of which some measurement can't be
    right: their points stand, and their learning curves are left out. Warns of these too."""
    wanted = readable(conn, wanted)
    damaged = damaged_curves(conn, wanted)
    warn_of(conn.engine.url, damaged)
    return replace(wanted, left_out=(*wanted.left_out, *(one.id for one in damaged)))


def damaged_curves(conn: Connection, wanted: Filter) -> list[Unreadable]:
    """Those of the studies that can be read of which some measurement can't be right."""
    flaws: dict[int, str] = {}
    for study_id, said in curve_flaws(conn, wanted.clause()):
        flaws.setdefault(study_id, said)
    return [
        Unreadable(s.id, s.name, s.workload, s.batch_size, printable(flaws[s.id]), curves=True)
        for s in (load_studies(conn, wanted).readable if flaws else ())
        if s.id in flaws
    ]


def warn_of(where: URL, left_out: Iterable[Unreadable]) -> None:
    """Log a warning of each study that is left out, once in a process."""
    for one in left_out:
        _warn(one.told(where))


@cache
def _warn(line: str) -> None:
    log.warning("%s", line)


def read_study(conn: Connection, study_id: int) -> Study:
    """A study as it is stored now. Raises StudyDeleted where that can't be read, or is gone."""
    row = conn.execute(_rows.where(studies.c.id == study_id)).first()
    if row is None:
        raise StudyDeleted(f"study {study_id} is given up: it has been deleted")
    try:
        _check(conn, row)
    except Flaw as flaw:
        raise StudyDeleted(
            f"study {printable(row.name)} is given up: {printable(str(flaw))}"
        ) from None
    return Study.from_row(row)


def refuse_imported(storage: Storage, studies: Iterable[Study]) -> None:
    """Raise UsageError, naming the first, if there are studies that were imported without code."""
    for study in studies:
        if not study.spec:
            raise UsageError(
                f"study {study.name} was imported, and there is no code here to run more of its "
                "trials; plan the workload under another name, or in another --storage, or delete "
                f"what is here: {command(storage, 'delete', study.workload)}"
            )


def require_code(storage: Storage, workloads: Sequence[str]) -> None:
    """Raise UsageError if one of these workloads, named by the user, was imported."""
    if workloads:
        with storage.read() as conn:
            refuse_imported(storage, find_studies(conn, Filter(tuple(workloads))))
