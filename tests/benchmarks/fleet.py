"""A thousand workers on one PostgreSQL: what they ask of it, and how long they wait for it.

    python -m tests.benchmarks.fleet

The workers are threads of a few processes, each with connections of its own: the ledger, its
transactions and the heartbeats are the true ones, and training is a wait of 30 s for each heat
of 32 trials. Eight trials of a heat end one by one before a winner ends the rest; their curves are
written as they end. Server and workers share this machine's cores.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing import active_children
from statistics import median, quantiles
from time import monotonic, sleep

import psutil
from sqlalchemy import text

from batchfront.store.database import Storage
from tests.benchmarks.fleet_workers import BESIDE, BLOCKING, HEAT, Call, Seen, work
from tests.benchmarks.markdown import table
from tests.benchmarks.noop_trials import planned
from tests.benchmarks.production_server import Server, server
from tests.processes import end_with_parent, forkserver

PROMISE = 0.02
"""The most of its time that a worker may wait for the database."""

BATCH_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


@dataclass(frozen=True)
class Fleet:
    """How many workers, in how many processes, with heats of so many seconds, watched so long."""

    workers: int
    processes: int
    heat_seconds: float
    seconds: float

    @property
    def trials(self) -> int:
        """Enough for all, in each of the studies."""
        heats = (self.seconds + 4 * self.heat_seconds) / self.heat_seconds + 1
        return round(self.workers * heats * HEAT / len(BATCH_SIZES))


@dataclass(frozen=True)
class Watched:
    """What happened in the seconds that were watched."""

    fleet: Fleet
    calls: tuple[Call, ...]
    waiting: float  # share of the workers' time
    own: float  # the share of it that is the worker's own CPU
    heats: tuple[float, ...]
    measurements: int
    server_cpu: float  # cores
    client_cpu: float
    machine_cpu: float  # share of all cores, others' work included
    connections: int
    lost: int
    errors: tuple[str, ...]

    def rate(self, kind: str) -> float:
        """Calls of a kind a second."""
        return sum(call.kind == kind for call in self.calls) / self.fleet.seconds


def run(on: Server, fleet: Fleet) -> Watched:
    """Let a fleet work, and watch it once all are at it."""
    storage = on.fresh()
    planned(storage, fleet.trials, BATCH_SIZES)
    context = forkserver("tests.benchmarks.fleet_workers")
    names = [f"worker-{n}" for n in range(fleet.workers)]
    url = storage.url.render_as_string(hide_password=False)
    with context.Pool(fleet.processes, end_with_parent) as pool:
        pool.apply(len, ("",))  # by now all is imported, however long that has taken
        begin = monotonic() + 1 + 1.2 * fleet.heat_seconds
        end = begin + fleet.seconds
        clients = [psutil.Process(process.pid) for process in active_children()]
        parts = [
            (url, names[n :: fleet.processes], fleet.heat_seconds, end)
            for n in range(fleet.processes)
        ]
        working = pool.starmap_async(work, parts)
        sleep(max(begin - monotonic(), 0))
        psutil.cpu_percent()
        before, connections = _cpu(clients), 0
        with on.watched() as spent:
            while monotonic() < end:
                connections = max(connections, on.connections())
                sleep(min(1.0, max(end - monotonic(), 0)))
            machine, client_cpu = psutil.cpu_percent() / 100, _cpu(clients) - before
        seen = working.get()
    done = {"server": spent[0].cpu, "client": client_cpu, "machine": machine}
    found = _watched(fleet, seen, (begin, end), done, connections)
    _check(storage, seen)
    storage.close()
    return found


def _cpu(processes: Iterable[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return float(sum(t.user + t.system for t in times))


def _watched(
    fleet: Fleet,
    seen: Sequence[Seen],
    window: tuple[float, float],
    cpu: dict[str, float],
    connections: int,
) -> Watched:
    begin, end = window
    calls = [call for one in seen for call in one.calls if begin <= call.began < end]
    blocking = [call for call in calls if call.kind in BLOCKING]
    time = fleet.workers * fleet.seconds
    return Watched(
        fleet,
        tuple(calls),
        sum(call.seconds for call in blocking) / time,
        sum(call.cpu for call in blocking) / time,
        tuple(s for one in seen for at, s in one.heats if begin <= at + s < end),
        sum(n for one in seen for at, n in one.measurements if begin <= at < end),
        cpu["server"] / fleet.seconds,
        cpu["client"] / fleet.seconds,
        cpu["machine"],
        connections,
        sum(sum(one.lost) for one in seen),
        tuple(error for one in seen for error in one.errors),
    )


def _check(storage: Storage, seen: Sequence[Seen]) -> None:
    """Whatever the ledger took stands in the database, ended once, in Optuna's tables too."""
    ended = sum(sum(one.ended) for one in seen)
    with storage.read() as conn:
        done = conn.execute(text("SELECT count(*) FROM bf_slots WHERE state = 'done'")).scalar()
        over = text("SELECT count(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED')")
        trials = conn.execute(over).scalar()
    if not ended == done == trials:
        raise RuntimeError(f"{ended} trials ended, {done} slots done, {trials} trials in Optuna")


def fleet_table(found: Watched) -> str:
    """What happened, in one column."""
    heats = found.heats
    rows = [
        ("workers", f"{found.fleet.workers:,}"),
        ("heats a second", f"{len(heats) / found.fleet.seconds:.1f}"),
        ("trials a second", f"{HEAT * len(heats) / found.fleet.seconds:,.0f}"),
        ("claims a second", f"{found.rate('claim'):.1f}"),
        ("lease renewals a second", f"{found.rate('renew'):,.0f}"),
        ("looks at the news a second", f"{found.rate('news'):,.0f}"),
        ("measurements a second", f"{found.measurements / found.fleet.seconds:,.0f}"),
        ("seconds a heat, waiting included", f"{median(heats):.2f}" if heats else "–"),
        ("**share of a worker's time waiting for the database**", f"**{found.waiting:.2%}**"),
        ("of it, the worker's own CPU", f"{found.own:.2%}"),
        ("PostgreSQL's CPU, cores", f"{found.server_cpu:.2f}"),
        ("the workers' CPU, cores", f"{found.client_cpu:.2f}"),
        ("this machine's CPU in use", f"{found.machine_cpu:.0%}"),
        ("connections, at most", str(found.connections)),
        ("leases lost, trials", str(found.lost)),
        ("errors", str(len(found.errors))),
    ]
    return table(["", "fleet"], rows)


def calls_table(found: Watched) -> str:
    """How long each kind of call took."""
    rows = []
    for kind in (*BLOCKING, *BESIDE):
        calls = [call for call in found.calls if call.kind == kind]
        if len(calls) < 2:  # on a machine too busy for more, in the time that was watched
            rows.append([kind, f"{found.rate(kind):,.1f}", *["–"] * 4])
            continue
        times = quantiles((1000 * call.seconds for call in calls), n=100)
        own = 1000 * median(call.cpu for call in calls)
        shown = [f"{times[percent - 1]:,.0f}" for percent in (50, 90, 99)]
        rows.append([kind, f"{found.rate(kind):,.1f}", *shown, f"{own:.1f}"])
    columns = "call|a second|median, ms|90 %, ms|99 %, ms|own CPU, ms"
    return table(columns.split("|"), rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and with --check say whether the promise holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="20 workers, heats of 2 s")
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--heat-seconds", type=float, default=30)
    parser.add_argument("--seconds", type=float, default=120, help="watched")
    parser.add_argument(
        "--check", action="store_true", help=f"exit 1 if workers wait more than {PROMISE:.0%}"
    )
    asked = parser.parse_args(arguments)
    fleet = Fleet(asked.workers, asked.processes, asked.heat_seconds, asked.seconds)
    if asked.quick:
        fleet = Fleet(20, 2, 2.0, 4.0)
    with server(max_connections=str(2 * fleet.workers + 50)) as on:
        found = run(on, fleet)
    print(fleet_table(found), calls_table(found), sep="\n\n")
    for error in sorted(set(found.errors))[:5]:
        print(error, file=sys.stderr)
    broken = bool(found.errors) or (asked.check and found.waiting > PROMISE)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
