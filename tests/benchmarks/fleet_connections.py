"""What a thousand workers' connections cost PostgreSQL, of which each costs a process.

    python -m tests.benchmarks.fleet_connections

Every worker has an engine of its own, as real ones have: its heartbeat renews while its main
thread works. Counted are the connections that stay open afterwards, and their memory; timed are
transactions on a connection that stays, and on one that is made anew for each.
"""

import argparse
import sys
from collections.abc import Sequence
from statistics import median
from threading import Barrier, Thread
from time import perf_counter

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from batchfront.ledger.ledger import Ledger
from batchfront.store.database import Storage, engine_options
from batchfront.store.url import open_storage
from tests.benchmarks.markdown import table
from tests.benchmarks.noop_trials import planned, race, reached
from tests.benchmarks.production_server import Server, server

WORKERS = 200
MOMENTS = 4
"""Times that a worker's two threads come to the database at once; and heats that it runs then."""

_HEAT = 4


def held(on: Server, workers: int) -> tuple[int, float]:
    """Connections that so many idle workers hold, and MB of memory of the server for each."""
    storage = on.fresh()
    planned(storage, workers * MOMENTS * _HEAT, (4,))
    storage.close()
    before = on.memory()
    ledgers = [Ledger(open_storage(on.url()), f"worker-{n}") for n in range(workers)]
    for ledger in ledgers:
        ledger.register("here", 1, "cpu")
        _both_at_once(ledger)
        for _ in range(MOMENTS):  # each of the connections has its turn
            race(ledger, _HEAT, reached(100, curve=True))
    connections = on.connections()
    each = (on.memory() - before) / connections / 2**20
    for ledger in ledgers:
        ledger.storage.close()
    return connections, each


def _both_at_once(ledger: Ledger) -> None:
    """Main thread and heartbeat, as they meet every so often."""
    meeting = Barrier(2)

    def use(storage: Storage) -> None:
        for _ in range(MOMENTS):
            meeting.wait()
            with storage.read() as conn:
                conn.execute(text("SELECT pg_sleep(0.001)"))

    threads = [Thread(target=use, args=(ledger.storage,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def transaction_costs(on: Server, anew: bool, repetitions: int) -> tuple[float, float]:
    """Milliseconds of a smallest transaction, and of the server's CPU for it."""
    storage = on.fresh()
    if anew:
        storage.close()
        options = engine_options(storage.url)
        storage.engine = create_engine(storage.url, poolclass=NullPool, **options)
    times = []
    with on.watched() as spent:
        for _ in range(repetitions):
            began = perf_counter()
            with storage.write() as conn:
                conn.execute(text("SELECT 1"))
            times.append(1000 * (perf_counter() - began))
    storage.close()
    return median(times), 1000 * spent[0].cpu / repetitions


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="5 workers")
    parser.add_argument("--workers", type=int, default=WORKERS)
    asked = parser.parse_args(arguments)
    workers, repetitions = (5, 20) if asked.quick else (asked.workers, 1000)
    with server(max_connections=str(3 * workers + 50)) as on:
        connections, each = held(on, workers)
        kept, made = (transaction_costs(on, anew, repetitions) for anew in (False, True))
    rows = [
        ["connections that a worker holds", f"{connections / workers:.2f}"],
        ["of 1,000 workers", f"{1000 * connections / workers:,.0f}"],
        ["memory of a connection, MB", f"{each:.1f}"],
        ["of 1,000 workers, GB", f"{1000 * connections / workers * each / 1024:.1f}"],
        ["smallest transaction, connection kept, ms", f"{kept[0]:.2f}"],
        ["the server's CPU for it, ms", f"{kept[1]:.2f}"],
        ["smallest transaction, connection made anew, ms", f"{made[0]:.2f}"],
        ["the server's CPU for it, ms", f"{made[1]:.2f}"],
    ]
    print(table(["", "measured"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
