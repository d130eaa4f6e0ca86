"""What do the options that make a search cheaper cost, and how often do they lose the winner?

    python -m tests.benchmarks.search_price --keep FOLDER

Halving and extrapolation are replayed, by the very rules that a race has, over races recorded on
past their winner: so many studies as it takes to see losses would be too dear to run once for each
option. With --check some are run too, and must come out as replayed. Warm start and the adaptive
samplers draw other points, so they are run, and compared with the plain race of as many trials.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Event

import optuna
import torch

from batchfront.training.early_dropping import rules
from batchfront.training.heat import Heat
from batchfront.training.vectorized.engine import Vectorized
from tests.benchmarks.markdown import table
from tests.benchmarks.recorded_races import Case, Recorded, record_into
from tests.benchmarks.replayed import Replayed, replay
from tests.benchmarks.whole_studies import Found, Search, search_into

DIGITS, MNIST = "digits/mlp/momentum", "mnist/fc_256/momentum"
OPTIONS = {
    "--halving": {"halving": True},
    "--extrapolate": {"extrapolate": True},
    "both": {"halving": True, "extrapolate": True},
}
WORSE = 1.1
"""A study is worse, or better, from this ratio of steps to the plain race's on."""


@dataclass(frozen=True)
class Plan:
    """What is recorded, in groups that get a row each, what is run, and what is checked."""

    recorded: dict[str, list[Case]]
    searched: list[Search]
    checked: list[Case]


def whole_plan(seeds: int) -> Plan:
    """Everything that docs/benchmarks.md shows; of MNIST fewer trials, at one batch size."""
    sizes, half = (2, 8, 32, 128, 512), seeds // 2
    digits = [Case(DIGITS, None, b, s) for s in range(seeds) for b in sizes]
    chosen_on = [case for case in digits if case.seed < half]
    others = [case for case in digits if case.seed >= half]
    mnist = [Case(MNIST, 0.04, 128, s, trials=16, beyond=1.5) for s in range(seeds)]
    searched = [Search("warm start", DIGITS, sizes, s) for s in range(seeds)]
    searched += [Search(k, DIGITS, sizes, s) for k in ("tpe", "gp") for s in range(seeds)]
    alone = ("tpe, one by one", "gp, one by one")
    searched += [Search(k, DIGITS, (32, 128), s) for k in alone for s in range(seeds)]
    groups = {
        f"digits, seeds 0–{half - 1}": chosen_on,
        f"digits, seeds {half}–{seeds - 1}": others,
        "mnist": mnist,
    }
    return Plan(groups, searched, [Case(DIGITS, None, b, 0) for b in (128, 512)])


def quick_plan() -> Plan:
    """An easy goal, few trials."""
    cases = [Case(DIGITS, 0.1, b, 0, trials=12) for b in (8, 128)]
    searched = [Search("warm start", DIGITS, (8, 128), 0, trials=12, goal=0.1)]
    kinds = ("tpe", "gp", "tpe, one by one")
    searched += [Search(kind, DIGITS, (8,), 0, trials=12, goal=0.1) for kind in kinds]
    return Plan({"digits": cases}, searched, cases)


@dataclass(frozen=True)
class Pair:
    """A study's plain race, and the same with something else asked for."""

    batch_size: int
    plain: Replayed | Found
    other: Replayed | Found

    @property
    def ratio(self) -> float:
        """The winner's steps over the plain race's."""
        best = self.other.best
        return inf if best is None else best / (self.plain.best or inf)


def replay_rows(name: str, recorded: Sequence[Recorded]) -> list[list[object]]:
    """A row for each option, of these studies together."""
    plain = [replay(one) for one in recorded]
    rows: list[list[object]] = []
    for option, asked in OPTIONS.items():
        pairs = [
            Pair(one.batch_size, before, replay(one, **asked))
            for one, before in zip(recorded, plain, strict=True)
            if before.best < inf
        ]
        lost = [pair.ratio for pair in pairs if pair.ratio > 1]
        worse = sum(ratio >= WORSE for ratio in lost)
        how = f"{_times(median(lost))} ({_times(max(lost))})" if lost else "–"
        shares = [len(lost) / len(pairs), worse / len(pairs)]
        rows.append(
            [f"{name}: {option}", len(pairs), *_costs(pairs), *(f"{s:.0%}" for s in shares), how]
        )
    return rows


def search_row(kind: str, found: Sequence[Found], plain: Sequence[Recorded]) -> list[object]:
    """A row of one kind of search, beside the plain races of the same studies."""
    races = {(one.batch_size, one.seed): replay(one) for one in plain}
    pairs = [Pair(f.batch_size, races[f.batch_size, f.seed], f) for f in found]
    ratios = [pair.ratio for pair in pairs]
    worse = sum(ratio >= WORSE for ratio in ratios) / len(ratios)
    better = sum(ratio <= 1 / WORSE for ratio in ratios) / len(ratios)
    sizes = ", ".join(str(b) for b in sorted({f.batch_size for f in found}))
    shares = (f"{better:.0%}", f"{worse:.0%}")
    return [kind, sizes, len(pairs), *_costs(pairs), f"{median(ratios):.2f}", *shares]


def _costs(pairs: Sequence[Pair]) -> list[str]:
    """Training steps, training examples and evaluated examples, as shares of the plain races'."""
    steps = sum(p.other.steps for p in pairs) / sum(p.plain.steps for p in pairs)
    examples = sum(p.batch_size * p.other.steps for p in pairs)
    examples /= sum(p.batch_size * p.plain.steps for p in pairs)
    evaluated = sum(p.other.evaluated for p in pairs) / sum(p.plain.evaluated for p in pairs)
    return [f"{share:.2f}" for share in (steps, examples, evaluated)]


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < inf else "not in the recording"


def differences(case: Case, recorded: Recorded) -> list[str]:
    """How races with the options differ from their replays."""
    found = []
    for option, asked in OPTIONS.items():
        expected = replay(recorded, **asked)
        if expected.best == inf:  # it would go on where the recording ends
            continue
        real = _raced(case, **asked)
        if real != (expected.ends, expected.evaluated):
            found.append(f"{case}, {option}: {real}, not {expected}")
    return found


def _raced(case: Case, *, halving: bool = False, extrapolate: bool = False) -> tuple[object, int]:
    """Where each trial of a real race with these options ends, and the evaluated examples."""
    setting = case.setting()
    dropping = rules(setting.workload.goal, 1, halving=halving, extrapolate=extrapolate)
    runs = list(setting.runs())
    heat = Heat(setting.rules(dropping=dropping), runs, engine=Vectorized())
    ends, evaluated = {}, 0
    while heat.live:
        for entry, ending in [*heat.round(Event()), *heat.compare(lambda *_: {})]:
            ends[entry.number] = ending.steps
            evaluated += ending.cost.evaluated_examples
    return ends, evaluated


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the tables; 1 if a race with an option is not what its replay says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few trials, an easy goal")
    parser.add_argument("--seeds", type=int, default=20, help="of each batch size (default: 20)")
    parser.add_argument("--keep", help="a folder for results, with which it goes on if interrupted")
    parser.add_argument("--check", action="store_true", help="race with the options as well")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan = quick_plan() if asked.quick else whole_plan(asked.seeds)
    with TemporaryDirectory() as folder:
        broken = _measured(plan, Path(asked.keep or folder), check=asked.check or asked.quick)
    for line in broken:
        print(line, file=sys.stderr)
    return 1 if broken else 0


def _measured(plan: Plan, folder: Path, *, check: bool) -> list[str]:
    """Print the tables; what is not as it should be."""
    recorded = {
        name: record_into(folder / "recorded.jsonl", cases) for name, cases in plan.recorded.items()
    }
    columns = "studies|training steps|training examples|evaluated examples"
    rows = [row for name, found in recorded.items() for row in replay_rows(name, found)]
    lost = f"winner lost|{WORSE - 1:.0%} worse or more|steps when lost: median (most)"
    print(table(["replayed", *f"{columns}|{lost}".split("|")], rows))
    everything = [one for found in recorded.values() for one in found if one.workload == DIGITS]
    by_size = [
        row
        for size in sorted({one.batch_size for one in everything})
        for row in replay_rows(f"{size}", [one for one in everything if one.batch_size == size])
    ]
    print("", table(["batch size", *f"{columns}|{lost}".split("|")], by_size), sep="\n")
    searches = {
        kind: search_into(folder / "searched.jsonl", [s for s in plan.searched if s.kind == kind])
        for kind in dict.fromkeys(search.kind for search in plan.searched)
    }
    rows = [search_row(kind, found, everything) for kind, found in searches.items()]
    against = f"best steps / plain|{WORSE - 1:.0%} better or more|{WORSE - 1:.0%} worse or more"
    print(
        "", table(["searched", "batch sizes", *f"{columns}|{against}".split("|")], rows), sep="\n"
    )
    by_case = {(r.workload, r.batch_size, r.seed): r for found in recorded.values() for r in found}
    return [
        line
        for case in (plan.checked if check else [])
        for line in differences(case, by_case[case.workload, case.batch_size, case.seed])
    ]


if __name__ == "__main__":
    sys.exit(main())
