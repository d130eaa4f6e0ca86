"""Ask and tell: a database opened for whoever runs trials in a scheduler of their own."""

import logging
import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import cache, partial
from pathlib import Path
from time import sleep
from types import TracebackType
from typing import Any, Self

from batchfront.errors import LeaseLost, NothingLeft, UsageError
from batchfront.frontier.queries import require, workload_names
from batchfront.options import options_of
from batchfront.phrases import listed
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.plan.share_out import share_out
from batchfront.store.database import Storage, parse_url
from batchfront.store.url import open_storage, open_to_write
from batchfront.study.identity import refuse_difference, study_identity
from batchfront.study.study import Filter, Study, find_studies, refuse_imported
from batchfront.training.device_names import resolve, visible_gpus
from batchfront.vocabulary import SEARCHES
from batchfront.worker.asked_trial import AskedTrial, Claimed, Holder
from batchfront.worker.heartbeat import LONGEST_PAUSE
from batchfront.workload import catalog
from batchfront.workload.base import WorkloadBase
from batchfront.workload.goal import restore_goal

log = logging.getLogger(__name__)

_IDLE_SECONDS, _LONGEST_IDLE_SECONDS = 0.3, LONGEST_PAUSE  # between two looks for a free trial


def open(url: str) -> "Database":  # noqa: A001
    """Open the database at a URL, to ask for trials of searches, and to tell how they go.

    url -- sqlite:///FILE.db or postgresql://USER@HOST/DATABASE, as for `--storage`

    Raises UsageError for a URL that can't be meant.
    """
    return Database(url)


class Database:
    """A database of searches, for whoever runs trials in a scheduler of their own.

        for trial in batchfront.open(url).trials("mine/mlp/sgd"):
            with trial:
                train(trial)

    Threads may share one, and a process that is forked goes on with connections of its own. Nothing
    is read or written before it is asked for something.
    """

    def __init__(self, url: str) -> None:
        parse_url(url)
        self._url, self._process = url, os.getpid()
        self._opened: Storage | None = None
        self._idle: deque[Holder] = deque()
        self._loaded: dict[str, WorkloadBase] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give its connections back; whoever asks again opens others."""
        if self._opened is not None:
            self._opened.close()

    def plan(self, workload: str | WorkloadBase, **search: Any) -> str:
        """Plan a search as `batchfront plan` does; again, with more trials or batch sizes, say.

        workload -- a Loop, Program or Workload, or what names one: a path to a sweep file, or
                    file.py:function
        search   -- options of `batchfront plan`: trials=16, batch_sizes=(8, 32), seed=1

        Returns the workload's name. Raises UsageError, before anything is written, for what can't
        work, and IdentityError if it exists under another definition.
        """
        options = _options(search)
        found = self._load(workload) if isinstance(workload, str) else workload
        spec = (
            catalog.spec_for_workers(workload, Path.cwd())
            if isinstance(workload, str)
            else (catalog.spec_of(workload))
        )
        planned = plan(self._storage(create=True), spec, found, options)
        for note in planned.notes:
            log.info("%s", note)
        return planned.workload.name

    def trial(self, workload: str | WorkloadBase, batch_size: int | None = None) -> AskedTrial:
        """Claim a trial of a planned search, for a `with` block.

        workload   -- its name, or what `plan` takes: it then has to be as it was planned
        batch_size -- that of its study; None: the one that the fewest others are busy with

        Raises NothingLeft if none is free, UsageError if no such search is planned, and
        IdentityError if it was planned under another definition.
        """
        name, given = self._meant(workload, batch_size)
        wanted = Filter((name,), () if batch_size is None else (batch_size,))
        holder = self._idle.pop() if self._idle else Holder(self._storage())
        try:
            claimed = _claim(holder, wanted)
            if claimed is not None:
                study = claimed[0]
                goal = (
                    restore_goal(study.identity["goal"])
                    if given is None
                    else (given.as_asked(study.goal_value, study.precision).goal)
                )
                back = partial(self._take_back, holder)
                return AskedTrial(holder, claimed, goal, _device(), back)
            finished = not holder.ledger.is_open(wanted, patient=True)
            others = holder.ledger.waited_for(wanted).get(name, [])
        except BaseException:
            holder.stop.set()
            holder.let_go()
            raise
        holder.let_go()
        self._take_back(holder)
        meant = name if batch_size is None else f"{name}/b{batch_size}"
        why = "no trial is free now: those that have not ended are with others, or wait for them"
        if finished:
            why = "every trial that is planned has ended"
        elif others:
            sizes = listed([str(size) for size in others])
            why = f"those that have not ended wait for trials of batch size {sizes}, as each round "
            why += "is sampled from what all of the one before have shown"
            _warn(f"{meant}: {why}")
        raise NothingLeft(f"{meant}: {why}", finished=finished)

    def trials(
        self, workload: str | WorkloadBase, batch_size: int | None = None
    ) -> Iterator[AskedTrial]:
        """Claim one trial after another, each for a `with` block, until every trial has ended:
        while others have the last ones, it waits for what they may leave.

        workload, batch_size -- as of `trial`

        Ends, too, after a trial that was given back, as whoever leaves one early means to stop.
        Raises UsageError where the trial before is still open.
        """
        pause = _IDLE_SECONDS
        while True:
            try:
                trial = self.trial(workload, batch_size)
            except NothingLeft as left:
                if left.finished:
                    return
                sleep(pause)
                pause = min(1.5 * pause, _LONGEST_IDLE_SECONDS)
                continue
            pause = _IDLE_SECONDS
            yield trial
            if not trial.over:
                raise UsageError(
                    f"{trial} is still open, and the next was asked for; train each in a block of "
                    "its own, `with trial:`, or ask for several by `trial`"
                )
            if trial.released:
                return

    # -- how

    def _storage(self, *, create: bool = False) -> Storage:
        if os.getpid() != self._process:
            # A fork has the parent's connections, which are the parent's to use and to close.
            if self._opened is not None:
                self._opened.engine.dispose(close=False)
            self._idle.clear()
            self._process = os.getpid()
        if self._opened is None:
            self._opened = (open_to_write if create else open_storage)(self._url)
        return self._opened

    def _take_back(self, holder: Holder) -> None:
        if not holder.stop.is_set():
            self._idle.append(holder)

    def _load(self, spec: str) -> WorkloadBase:
        if spec not in self._loaded:
            self._loaded[spec] = catalog.load(spec, Path.cwd())
        return self._loaded[spec]

    def _meant(
        self, workload: str | WorkloadBase, batch_size: int | None
    ) -> tuple[str, WorkloadBase | None]:
        """The name of a workload that is planned, and the workload itself where that was given."""
        storage = self._storage()
        given = workload if isinstance(workload, WorkloadBase) else None
        if isinstance(workload, str) and workload not in workload_names(storage):
            if not catalog.is_of_a_file(workload):
                require(storage, [workload])
            given = self._load(workload)
        name = str(workload) if given is None else given.name
        require(storage, [name])
        with storage.read() as conn:
            there = find_studies(conn, Filter((name,), purposes=SEARCHES))
        refuse_imported(storage, there)
        if batch_size is not None and batch_size not in {study.batch_size for study in there}:
            sizes = ", ".join(str(study.batch_size) for study in there)
            raise UsageError(f"{name} is not planned at batch size {batch_size}, but at {sizes}")
        if given is not None:
            for study in there:
                _refuse_another(study, given)
        return name, given


def _claim(holder: Holder, wanted: Filter) -> Claimed | None:
    while True:
        try:
            claimed = holder.claim(wanted)
        except LeaseLost as error:
            log.warning("%s", error)
            continue
        if claimed is not None or not share_out(holder.ledger.storage, wanted):
            return claimed


def _refuse_another(study: Study, workload: WorkloadBase) -> None:
    """Raise IdentityError if a study wasn't planned for this workload, as far as its definition
    says: its code is whatever trains the trials that are asked for."""
    asked = workload.as_asked(study.goal_value, study.precision)
    now = study_identity(asked, study.batch_size, {}, study.identity.get("search", {}))
    refuse_difference(study, replace(study, identity={**study.identity, **now}))


def _options(search: Mapping[str, Any]) -> SearchOptions:
    known = options_of(SearchOptions)
    for name in search:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise UsageError(f"plan has no option {name!r}; {hint}")
    sizes = search.get("batch_sizes")
    listed = {} if sizes is None else {"batch_sizes": tuple(sizes)}
    return SearchOptions(**{**search, **listed})


@cache
def _warn(line: str) -> None:
    """Log a warning, once in a process."""
    log.warning("%s", line)


@cache
def _device() -> str:
    return resolve("auto", len(visible_gpus()))
