"""`python -m tests.chaos`: the tally of so many seeds, as a Markdown table."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    # Before anything reads it: a lease that a test can outlast.
    os.environ.setdefault("BATCHFRONT_LEASE_SECONDS", "3")

import optuna

from tests.benchmarks.markdown import table
from tests.chaos.campaign import QUICK, Scale, Tally, prepare, run, undisturbed
from tests.postgres import Postgres

COLUMNS = (
    "seed",
    "slots",
    "seconds",
    "killed",
    "frozen",
    "terminated",
    "programs killed",
    "supervisors killed",
    "database crashes",
    "workers in all",
    "slots taken over",
    "slowest end (s)",
    "wrong",
)

SERVICE = {
    "crash": "crashes",
    "promote": "standby promoted",
    "restore": "backup put back",
    "read only": "read-only spells",
    "connections": "connections silenced",
    "lost": "results lost",
}
"""Columns of what befell the service: how it is counted, and its heading."""


def main(arguments: list[str] | None = None) -> int:
    """Print the tally; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--quick", action="store_true", help="fewer workers and trials")
    parser.add_argument("--programs", action="store_true", help="trials that are programs")
    parser.add_argument("--service", action="store_true", help="a database in real trouble")
    parser.add_argument("--quiet", action="store_true", help="don't tell each fault")
    asked = parser.parse_args(arguments)
    scale = QUICK if asked.quick else Scale()
    scale = replace(scale, programs=asked.programs, service=asked.service)
    tell = _silent if asked.quiet else _tell
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    server, tallies = Postgres(), []
    try:
        prepare(server)
        with tempfile.TemporaryDirectory(prefix="bf-chaos-") as folder:
            calm = undisturbed(server, Path(folder), scale)
            for seed in range(asked.first, asked.first + asked.seeds):
                tally = run(server, Path(folder), scale, seed, calm, tell)
                tallies.append(tally)
                for line in tally.wrong:
                    print(f"seed {seed}: {line}", file=sys.stderr)
    finally:
        server.remove()
        columns = _SERVICE_COLUMNS if asked.service else COLUMNS
        troubles = _service_troubles if asked.service else _troubles
        print(table(columns, [_row(one, troubles(one)) for one in tallies]))  # also after a Ctrl-C
    return int(any(tally.wrong for tally in tallies))


def _row(tally: Tally, troubles: Sequence[int]) -> list[object]:
    return [
        tally.seed,
        tally.slots,
        f"{tally.seconds:.0f}",
        tally.killed,
        tally.frozen,
        tally.terminated,
        *troubles,
        tally.workers,
        tally.taken_over,
        f"{tally.slowest_end:.1f}",
        len(tally.wrong) or "nothing",
    ]


_SERVICE_COLUMNS = (
    *("seed", "slots", "seconds", "killed", "frozen", "terminated"),
    *SERVICE.values(),
    *("workers in all", "slots taken over", "slowest end (s)", "wrong"),
)


def _troubles(tally: Tally) -> list[int]:
    return [tally.programs, tally.supervisors, tally.crashes]


def _service_troubles(tally: Tally) -> list[int]:
    return [tally.troubles.get(name, 0) for name in SERVICE]


def _tell(fault: str) -> None:
    print(fault, file=sys.stderr)


def _silent(_: str) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())
