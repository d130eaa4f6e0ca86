"""`batchfront.run`: a search on this machine, from Python."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import ceil
from numbers import Integral
from pathlib import Path
from typing import Any

from batchfront.cli.local_run import refuse_engine
from batchfront.cli.options import as_number, with_checkpoints
from batchfront.cli.output.lines import pass_on, say
from batchfront.cli.output.standing import Here
from batchfront.errors import CatalogError, IdentityError, UsageError
from batchfront.launch.local import LocalWorkers, devices_for
from batchfront.launch.worker_options import Order
from batchfront.ledger.status import load_status
from batchfront.notebook.cells import Cells, kept_as_file
from batchfront.notebook.display import progress
from batchfront.notebook.results import Results
from batchfront.options import DURATION, Kind, Option, options_of
from batchfront.phrases import nearest
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import Planned, plan
from batchfront.report.web.dashboard_figure import store_figure
from batchfront.store.database import DEFAULT_URL, Storage
from batchfront.store.url import open_to_write
from batchfront.study.stopped import note_stop
from batchfront.study.variants import unused_variant
from batchfront.worker.options import WHEN_TO_END, RunLimits, WorkerOptions
from batchfront.worker.signals import stop_on_signals, time_limit
from batchfront.workload import catalog
from batchfront.workload.base import WorkloadBase
from batchfront.workload.given import shown
from batchfront.workload.program import Program
from batchfront.workload.sweep_file import read_sweep_file
from batchfront.workload.trust import Trust
from batchfront.workload.user_file import is_loading

Given = str | WorkloadBase | Callable[[], WorkloadBase]
"""What names a workload: as on the command line, itself, or a function that returns one."""


def run(
    workload: Given, *, storage: str | None = None, workers: int | None = None, **options: Any
) -> Results:
    """Plan and race a workload on this machine, as `batchfront run` does, and show the progress.

        found = batchfront.run(search, trials=16, batch_sizes=(8, 32, 128))
        found.frontier, found.curve, found.trials

    workload -- a Workload, Loop or Program, a function that returns one, or a text that names one:
                `digits/mlp/momentum`, `file.py:name`, `sweep.toml`. What stands in a notebook's
                cells is kept as a file in the folder `batchfront_cells`, for the workers
    storage  -- the database, as of `--storage`; by default that of BATCHFRONT_STORAGE, or
                sqlite:///batchfront.db
    workers  -- processes that train; by default one for every GPU, or else for each core
    options  -- those of `batchfront run`, with underscores: trials=16, batch_sizes=(8, 32),
                goal=0.02, seed=1, device="cpu", max_time="10m"; `batchfront run --help` has all

    What a database has of the search already is continued. Stopping the cell, or Ctrl-C, saves what
    is in hand and raises KeyboardInterrupt; the same call goes on.

    Raises UsageError, before any trial runs, for what can't work, IdentityError for a search that
    exists under another definition or code, and WorkersFailed where workers end by themselves.
    """
    _refuse_inside()
    search, worker, limits = _told(workload, options)
    if not (workers is None or isinstance(workers, int)):
        raise UsageError(f"workers={workers!r}: is no whole number; write workers=2")
    if not (storage is None or isinstance(storage, str)):
        raise UsageError(f"storage={storage!r}: is no text; write storage='sqlite:///FILE.db'")
    Trust.of(worker.code)  # refuses what isn't there
    url = storage or os.environ.get("BATCHFRONT_STORAGE") or DEFAULT_URL
    spec, loaded = _loaded(workload)
    devices = devices_for([spec], worker, workers)
    say(f"Planning {loaded.name} …")
    opened = open_to_write(url)
    try:
        planned = _planned(opened, spec, loaded, search, worker.devices_per_trial)
        place = catalog.place_of(spec)  # which whoever calls this has meant to run
        code = worker.code if place is None else (*worker.code, place)
        worker = with_checkpoints(replace(worker, code=code), url)
        refuse_engine(planned, worker)
        undone = _race(opened, planned, worker, devices, limits)
        found = Results(url, planned.workload.name, undone)
        store_figure(opened, found.frontier)
    finally:
        opened.close()
    return found


def _race(
    opened: Storage, planned: Planned, worker: WorkerOptions, devices: list[str], limits: RunLimits
) -> str:
    """Run what is planned until all is done, or a limit; what is left undone, in words.

    Raises KeyboardInterrupt where somebody has stopped it.
    """
    wanted = planned.filter
    if limits.max_steps is not None:
        worker = replace(worker, max_steps=ceil(limits.max_steps / len(devices)))
    with (
        _stoppable() as stop,
        time_limit(limits.max_time, stop) as over,
        LocalWorkers(opened, Order(opened.url, wanted, worker), devices, pass_on) as local,
        progress(opened, wanted, Here(lambda: local.running, stop.is_set)),
    ):
        local.hold(stop)
    undone = load_status(opened, wanted).undone
    stopped = bool(undone) and stop.is_set() and not over.is_set()
    by = None
    if undone and over.is_set():
        by = f"--max-time {DURATION.text(limits.max_time)}"
    elif undone and limits.max_steps is not None and not stop.is_set():
        by = f"--max-steps {limits.max_steps}"
    note_stop(opened, wanted, by)
    if stopped:
        raise KeyboardInterrupt(f"{undone}; everything is kept, and the same call continues")
    return undone


@contextmanager
def _stoppable() -> Iterator[threading.Event]:
    """An event that an interrupt sets, which reaches the main thread alone."""
    if threading.current_thread() is threading.main_thread():
        with stop_on_signals() as stop:
            yield stop
    else:
        yield threading.Event()


def _planned(
    opened: Storage, spec: str, loaded: WorkloadBase, search: SearchOptions, together: int
) -> Planned:
    try:
        planned = plan(opened, spec, loaded, search, together)
    except IdentityError as error:
        ways = ["accept_changes=True goes on, new trials by the code as it is now"]
        variant = unused_variant(opened, loaded.name)
        ways = [*(ways if error.planned else []), f"variant={variant!r} keeps both, side by side"]
        raise IdentityError(f"{error}. Undo the change; or {'; or '.join(ways)}") from error
    for note in planned.notes:
        say(note)
    return planned


def _loaded(workload: Given) -> tuple[str, WorkloadBase]:
    """A spec by which workers find a workload, and the workload as they will find it.

    Raises CatalogError where they can't.
    """
    here = Path.cwd()
    if isinstance(workload, str):
        loaded = catalog.load(workload, here)
        return catalog.spec_for_workers(workload, here), loaded
    if isinstance(workload, Program):
        return catalog.spec_of(workload), workload
    if not (isinstance(workload, WorkloadBase) or callable(workload)):
        raise UsageError(
            f"batchfront.run({shown(workload)}): takes a Workload, Loop or Program, a function "
            "that returns one, or a text that names one"
        )
    spec, cells = catalog.spec_in_files(workload), Cells.here()
    if spec is None and cells is not None:
        name = cells.name_of(workload)
        if name is None:
            kind = type(workload).__name__ if isinstance(workload, WorkloadBase) else "Workload"
            raise UsageError(
                f"batchfront.run: give the workload a name first: search = {kind}(...)"
            )
        spec = kept_as_file(cells, name, here)
    if spec is None:
        raise CatalogError(
            "batchfront.run: workers are processes of their own, and find no file that has this "
            "workload as a variable; write it in one, and name it: file.py:name"
        )
    return spec, catalog.load(spec)


def _refuse_inside() -> None:
    """Raise UsageError where a file that is loaded for its workload would begin a search."""
    loaded = is_loading()
    if loaded is not None:
        raise UsageError(
            f"batchfront.run is called as {loaded} is loaded, which each worker does; call it "
            'below `if __name__ == "__main__":`'
        )


_KINDS: Sequence[type] = (SearchOptions, WorkerOptions, RunLimits)


def _told(
    workload: Given, options: Mapping[str, Any]
) -> tuple[SearchOptions, WorkerOptions, RunLimits]:
    """The options of a run, those that its sweep file says first.

    Raises UsageError for one that there isn't, or a value that it can't have.
    """
    told = {**_in_sweep_file(workload), **options}
    known = {
        name: said for kind in _KINDS for name, said in options_of(kind).items() if name in _NAMES
    }
    for name in told:
        if name not in known:
            raise UsageError(f"batchfront.run has no option {name!r}{nearest(name, known)}")
    values = {name: _allowed(name, known[name], value) for name, value in told.items()}
    search, worker, limits = (
        {name: values[name] for name in options_of(kind) if name in values} for kind in _KINDS
    )
    worker = {name: value for name, value in worker.items() if name not in WHEN_TO_END}
    return SearchOptions(**search), WorkerOptions(**worker), RunLimits(**limits)


_NAMES = {
    *options_of(SearchOptions),
    *(name for name in options_of(WorkerOptions) if name not in WHEN_TO_END),
    *options_of(RunLimits),
}


def _in_sweep_file(workload: Given) -> dict[str, Any]:
    """What the sweep file of a program says of the options that there are here."""
    path = workload if isinstance(workload, str) else getattr(workload, "path", "")
    if not (isinstance(path, str | Path) and catalog.is_sweep_file(str(path))):
        return {}
    sweep = read_sweep_file(Path(path))
    said = {name: value for name, value in sweep.search.items() if name in _NAMES}
    return {"batch_sizes": sweep.program.batch_sizes, **said}


def _allowed(name: str, said: Option, given: Any) -> Any:
    """A value as its option keeps it. Raises UsageError for one that it doesn't allow, by the name
    that it has here: the options themselves name it as a command does."""
    value = _value(name, said, given)
    if value is not None and said.must is not None and not said.must[0](value):
        raise UsageError(f"{name}={given!r}: {said.must[1]}")
    return value


def _value(name: str, said: Option, value: Any) -> Any:
    """A value as its option keeps it: a text is read as on the command line."""
    if isinstance(value, str) and isinstance(said.kind, Kind):
        try:
            return said.kind.parse(value)
        except ValueError as error:
            raise UsageError(f"{name}={value!r}: {error}") from None
    if isinstance(value, str) and (said.repeated or said.kind in (int, float, bool)):
        raise UsageError(f"{name}={value!r}: is a text; write {name}={_example(said, value)}")
    if name == "batch_sizes" and value is not None:
        value = tuple(value) if isinstance(value, Iterable) else value
        if not (isinstance(value, tuple) and all(map(_is_whole, value))):
            raise UsageError(f"{name}={value!r}: is no list of whole numbers; write {name}=(8, 32)")
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _example(said: Option, text: str) -> str:
    if said.kind in (int, float) and not said.repeated and (meant := as_number(text)):
        return meant
    return '["folder"]' if said.repeated else "True" if said.kind is bool else "2"
