"""A probe: one short run whose gradient noise foretells the critical batch size, before any search
or of a winner of one."""

from collections.abc import Sequence
from dataclasses import replace
from math import log
from pathlib import Path
from threading import Event

from batchfront.advice.noise_scale import FEWEST, Probe, load_probes, predicted
from batchfront.errors import BatchfrontError, UsageError
from batchfront.frontier.frontier import Frontier, load_frontier
from batchfront.frontier.reached_trial import ReachedTrial, find_reached
from batchfront.store.commands import command
from batchfront.store.database import Storage
from batchfront.study.code import spec_here
from batchfront.study.study import Filter, Study, find_studies
from batchfront.vocabulary import SEARCHES
from batchfront.worker.probed import Probed, ProbeOptions, Say, middle
from batchfront.workload import catalog
from batchfront.workload.base import WorkloadBase
from batchfront.workload.outline import Outlined
from batchfront.workload.source import find_source
from batchfront.workload.trust import Trust
from batchfront.workload.workload import Workload, powers_of_two

_FAR = 4.0  # times B_c: from there on, a run reads it too large

_ASIDE = 16  # times smaller than B_c, and half as many times larger, are the batch sizes to search


def probe(
    storage: Storage,
    named: str,
    options: ProbeOptions,
    here: Path,
    stop: Event,
    say: Say = lambda _: None,
) -> Probed:
    """Measure the gradient noise along a winner's run or, where there is none, along one with the
    default metaparameters and the learning rate that a range test gives. Nothing is stored.

    named -- the workload's name in the database, or what `plan` takes
    here  -- the folder in which a module is looked for first

    Raises UsageError for what can't be probed, UntrustedCode if its code may not run, IdentityError
    if that has changed since it was planned, and BatchfrontError if the run shows nothing.
    """
    name, spec, studies, options = _subject(storage, named, options, here)
    if studies:
        frontier = load_frontier(storage, name)
        if frontier.reached:
            return _of_winner(storage, frontier, options, stop, say)
    from batchfront.worker.probed_runs import own_run  # late: it brings torch

    found = own_run(storage, name, spec, studies, options, stop, say)
    return _with_proposals(found)


def unread_winners(storage: Storage, workload: str) -> list[int]:
    """The batch sizes of a workload whose winner has no probe yet."""
    probed = {(one.batch_size, one.trial) for one in load_probes(storage, workload)}
    return [size for size, trial in _winners(storage, workload) if (size, trial) not in probed]


def read_winners(storage: Storage, workload: str) -> list[Probe]:
    """The probes of the winners of a workload, by batch size: none of a trial that was one before a
    better one came."""
    won = _winners(storage, workload)
    return [one for one in load_probes(storage, workload) if (one.batch_size, one.trial) in won]


def _winners(storage: Storage, workload: str) -> list[tuple[int, int]]:
    """The batch sizes of a workload that have a winner, each with the number of its trial."""
    reached = load_frontier(storage, workload).reached
    return [(point.batch_size, point.best.number) for point in reached if point.best is not None]


def refuse_kind(storage: Storage, kind: str | None, name: str, named: str) -> None:
    """Raise UsageError for a workload whose gradients batchfront doesn't see."""
    if kind in ("loop", "program"):
        search = command(storage, "run", named)
        raise UsageError(
            f"{name} is a {kind}, whose gradients batchfront doesn't see: its B_c can't be "
            f"foretold, only measured, by {search}; or write it as a Workload"
        )


def _subject(
    storage: Storage, named: str, options: ProbeOptions, here: Path
) -> tuple[str, str, Sequence[Study], ProbeOptions]:
    """The workload's name, the spec by which its code is loaded here, its searches, and the options
    with the file that was named on the command line among what may run."""
    with storage.read() as conn:
        there = find_studies(conn, Filter(purposes=SEARCHES))
    known = {study.workload for study in there}
    name, code = named, options.code
    if named not in known:
        outlined = catalog.look_up(named, here)
        if isinstance(outlined, Outlined) and options.batch_size is not None:
            outlined.refuse_larger([options.batch_size])
        found = catalog.load(named, here)  # which its user has named, and so allowed
        _refuse_loaded(storage, found, named)
        name = found.name
        if name not in known:
            return name, catalog.spec_for_workers(named, here), (), options
        source = find_source(named, here)
        code = (*code, *map(str, () if source is None else source.places))
    studies = sorted((s for s in there if s.workload == name), key=lambda s: s.batch_size)
    if not studies[0].spec:
        raise UsageError(f"{name} was imported, and its code isn't here to be run")
    refuse_kind(storage, studies[0].kind, name, named)
    return name, spec_here(studies[0], Trust.of(code)), studies, replace(options, code=code)


def _refuse_loaded(storage: Storage, found: WorkloadBase, named: str) -> None:
    if not isinstance(found, Workload):
        refuse_kind(storage, type(found).__name__.lower(), found.name, named)


def _of_winner(
    storage: Storage, frontier: Frontier, options: ProbeOptions, stop: Event, say: Say
) -> Probed:
    """Of the winner at the batch size that is asked for, or at the middle one of those that have
    one."""
    sizes = [point.batch_size for point in frontier.reached if not point.measured_elsewhere]
    if not sizes:
        raise UsageError(f"{frontier.workload} was measured elsewhere, and has no winner here")
    batch_size = middle(sizes) if options.batch_size is None else options.batch_size
    reached = find_reached(storage, frontier.workload, batch_size)
    say(_told(reached))
    from batchfront.worker.probed_runs import winner_run

    return _with_proposals(winner_run(storage, reached, options, stop), sizes)


def _told(reached: ReachedTrial) -> str:
    name = f"trial {reached.trial.number} of study {reached.study.name}"
    return f"Running {name} again, {reached.steps:,} steps, with its gradient noise …"


def _with_proposals(found: Probed, winners: Sequence[int] = ()) -> Probed:
    """Add the batch sizes that are worth a search; raise BatchfrontError for too few readings.

    winners -- the batch sizes that have a winner
    """
    one, taken = found.probe, len(found.probe.readings)
    if taken < FEWEST:
        more = "give it more time (--max-time)" if found.ended else "say a smaller --batch-size"
        raise BatchfrontError(
            f"{one.workload}: {taken} readings of its gradient noise, and {FEWEST} are needed "
            f"({found.ended or 'the goal was passed'}); {more}"
        )
    foretold = predicted(one)
    if foretold is None:
        return found
    sizes = tuple(size for size in proposed(foretold.median) if size <= found.largest)
    closer = None
    if one.batch_size > _FAR * foretold.median:
        there = [size for size in winners or sizes if size < one.batch_size]
        closer = min(there, key=lambda size: abs(log(size / foretold.median)), default=None)
    return replace(found, batch_sizes=sizes, closer=closer)


def proposed(critical: float) -> tuple[int, ...]:
    """The batch sizes that show a curve whose B_c is about this: the powers of two from where
    scaling is near-perfect to where there is none."""
    nearest = 1 << max(round(critical), 1).bit_length() - 1
    if critical / nearest > 2**0.5:
        nearest *= 2
    return powers_of_two(max(nearest // _ASIDE, 1), nearest * _ASIDE // 2)
