"""No-op trials a second: our ledger beside plain Optuna on the same PostgreSQL.

    python -m tests.benchmarks.ledger_throughput

Processes claim, start and end trials in which nothing is trained: ours in heats of 32 and one by
one; Optuna's with `study.ask` and `study.tell`, straight on the database and through Optuna's gRPC
proxy, with the same record of each trial (parameters, attributes, last metric) or the value alone.
All kinds take turns, and each ratio is of one turn. Server and processes share this machine.
"""

import argparse
import sys
from collections.abc import Sequence

from tests.benchmarks.contenders import HEATS, KINDS, OPTUNA, Contest, trials_a_second
from tests.benchmarks.markdown import spread, table
from tests.benchmarks.production_server import server

PROMISE = 5.0
"""How many times as many trials a second heats of 32 end as plain Optuna does, at least."""

PROCESSES = (1, 4, 16, 64)

Rates = dict[tuple[str, int], list[float]]


def rates_table(rates: Rates, processes: Sequence[int]) -> str:
    """Trials a second, a column for each number of processes: median and range."""
    rows = [[kind, *(spread(rates[kind, n], ",.0f") for n in processes)] for kind in KINDS]
    return table(["trials a second", *map(_said, processes)], rows)


def ratios_table(rates: Rates, processes: Sequence[int]) -> str:
    """Ours, in heats of 32, over each other kind in the same turn: median and range."""
    rows = [
        [kind, *(spread(ratios(rates, kind, n), ",.1f") for n in processes)] for kind in KINDS[1:]
    ]
    return table([f"{HEATS}, over", *map(_said, processes)], rows)


def ratios(rates: Rates, kind: str, processes: int) -> list[float]:
    """Heats of 32 over another kind, turn by turn."""
    pairs = zip(rates[HEATS, processes], rates[kind, processes], strict=True)
    return [ours / other for ours, other in pairs]


def _said(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and with --check say whether the promise holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1 and 4 processes, once, briefly")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each kind in a turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument(
        "--check", action="store_true", help=f"exit 1 below {PROMISE:.0f} times plain Optuna"
    )
    asked = parser.parse_args(arguments)
    processes, seconds, turns = PROCESSES, asked.seconds, asked.turns
    if asked.quick:
        processes, seconds, turns = PROCESSES[:2], 0.5, 1
    rates: Rates = {}
    with server(max_connections="200") as on:
        for turn in range(turns):
            for n in processes:
                print(f"turn {turn + 1}, {_said(n)} …", file=sys.stderr)
                for kind in KINDS:
                    rate = trials_a_second(on, Contest(kind, n, seconds))
                    rates.setdefault((kind, n), []).append(rate)
    print(rates_table(rates, processes), ratios_table(rates, processes), sep="\n\n")
    least = min(min(ratios(rates, OPTUNA, n)) for n in processes)
    if asked.check and least < PROMISE:
        print(f"{least:.1f} times plain Optuna, not {PROMISE:.0f}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
