"""Do the intervals of the expected steps hold what they promise? Fresh seeds, and a known truth.

    python -m tests.benchmarks.expected_coverage --keep kept.jsonl --check

A search of 32 trials at each batch size, `sobol` or `joint`, says what a run at the metaparameters
that it recommends takes. That is compared with the median of 21 fresh seeds there, which has an
error of its own: coverage is counted of the interval of the expected steps itself, and of the one
that such a median is to lie in. On the noisy quadratic model the truth is computed. Beside it: the
best trial's steps as a share of the median of fresh seeds at the best trial's metaparameters.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, isfinite, log, sqrt
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch

from batchfront.frontier.curve.curve import Curve, fit_curve
from batchfront.frontier.curve.estimates import Estimate
from batchfront.frontier.curve.fit import Observation
from batchfront.frontier.expected import ExpectedPoint, expect
from batchfront.surrogate.evidence import Evidence, Kind
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.seeds import mix
from batchfront.workload.workload import powers_of_two
from tests import quadratic
from tests.benchmarks.fresh_seeds import Case, Kept, fewest, loaded, searched
from tests.benchmarks.markdown import table

PROMISE = (0.85, 0.95)
DIGITS = tuple(f"digits/mlp/{name}" for name in ("momentum", "sgd", "nesterov_momentum", "adamw"))
FC_256 = "mnist/fc_256/momentum"
SIZES = {FC_256: (32, 128, 512)}
DIGITS_SIZES = powers_of_two(4, 512)
SAMPLERS = ("sobol", "joint")
NOISES = (0.2, 0.3)
"""Of one run's log steps, on the noisy quadratic model."""

SEARCHES = ("sobol", "sobol, 4 finishers", "joint")
"""Of the quadratic model."""

QUANTITIES = ("s_min", "half_efficiency", "perfect_until", "useful_until")

Curves = tuple[Curve, Curve]
"""Through the fastest trials, and through the expected steps."""

BEYOND = 8
"""A fresh seed is given up at this multiple of the expected steps."""


@dataclass(frozen=True)
class Verdict:
    """What was expected at one batch size beside the truth.

    truth    -- the median of fresh seeds, or computed; infinite where it was not reached
    inside   -- whether the interval of the expected steps holds it
    seen     -- whether the interval of the median of so many seeds does
    winner   -- the steps of the best trial; flattered: the median of fresh seeds there over these
    """

    case: str
    sampler: str
    batch_size: int
    point: ExpectedPoint
    truth: float
    seeds: int
    winner: float
    flattered: float

    @property
    def inside(self) -> bool:
        return self.point.low <= self.truth <= self.point.high

    @property
    def seen(self) -> bool:
        low, high = (
            self.point.of_seeds(self.seeds) if self.seeds else (self.point.low, self.point.high)
        )
        return low <= self.truth <= high

    @property
    def error(self) -> float:
        return log(self.truth / self.point.steps)

    @property
    def width(self) -> float:
        return log(self.point.high / self.point.low)


def trained(kept: Kept, case: Case, seeds: int) -> list[Verdict]:
    """A search of a workload, and fresh seeds of what it recommends and of its winners."""
    shown = kept.evidence(case)
    spaces = {b: loaded(case.workload).space(b) for b in case.batch_sizes}
    expected = expect(spaces, dict(_numbered(shown)))
    if expected.refusal:
        print(f"{case}: {expected.refusal}", file=sys.stderr)
    found = []
    for point in expected.points:
        size = point.batch_size
        best = _best(shown, size)
        setting, beyond = case.setting(size), BEYOND * max(point.steps, best.steps)
        truth = kept.fresh(setting, point.metaparameters, seeds, beyond)
        again = kept.fresh(setting, best.params, seeds, beyond)
        told = (case.workload, case.sampler, size, point, truth, seeds)
        found.append(Verdict(*told, best.steps, again / best.steps))
    return found


def _numbered(shown: Sequence[Evidence]) -> Iterator[tuple[tuple[int, int], Evidence]]:
    """Trials by batch size and number, in the order in which they were drawn."""
    numbers: Counter[int] = Counter()
    for one in shown:
        yield (one.batch_size, numbers[one.batch_size]), one
        numbers[one.batch_size] += 1


def _best(shown: Sequence[Evidence], batch_size: int) -> Evidence:
    steps = fewest(shown, batch_size)
    return next(
        e for e in shown if (e.batch_size, e.kind, e.steps) == (batch_size, Kind.REACHED, steps)
    )


def computed(search: str, noise: float, seed: int) -> tuple[list[Verdict], Curves | None]:
    """A search of the noisy quadratic model, each trial taking a random multiple of the steps that
    are computed: what it expects, and the curves through that and through the fastest trials.

    search -- one of SEARCHES
    """
    sampler, _, more = search.partition(", ")
    finishers = int(more.partition(" ")[0] or 1)
    spaces = {b: {"learning_rate": quadratic.RATES} for b in quadratic.BATCH_SIZES}

    def race(
        batch_size: int, points: Sequence[Metaparameters], first: int, cap: float | None
    ) -> list[Evidence]:
        rng = np.random.default_rng([seed, batch_size, first])
        rates = [float(point["learning_rate"]) for point in points]
        steps = [
            round(_truth(rate, batch_size) * exp(noise * z))
            if _truth(rate, batch_size) < inf
            else inf
            for rate, z in zip(rates, rng.standard_normal(len(rates)), strict=True)
        ]
        until = min(sorted(steps)[finishers - 1], quadratic.STEP_BUDGET if cap is None else cap)
        return [
            _ended(batch_size, point, rate, one, until)
            for point, rate, one in zip(points, rates, steps, strict=True)
        ]

    seeds = {b: mix(seed, b) for b in spaces}
    shown = searched(sampler, spaces, 32, seeds, race)
    found = []
    expected = expect(spaces, dict(_numbered(shown)))
    for point in expected.points:
        size = point.batch_size
        truth = _truth(float(point.metaparameters["learning_rate"]), size)
        best = _best(shown, size)
        again = _truth(float(best.params["learning_rate"]), size)
        told = (f"quadratic, noise {noise}", search, size, point, truth, 0)
        found.append(Verdict(*told, best.steps, again / best.steps))
    if not found:
        return [], None
    fastest = fit_curve(Observation(one.batch_size, one.winner) for one in found)
    through = [Observation(one.batch_size, one.point.steps) for one in found]
    return found, (fastest, fit_curve(through, errors=np.array(expected.covariance)))


def _truth(rate: float, batch_size: int) -> float:
    return quadratic.steps_to_target(rate, batch_size) if rate < 2 else inf


def _ended(
    batch_size: int, point: Metaparameters, rate: float, steps: float, until: float
) -> Evidence:
    if rate >= 2:
        return Evidence(batch_size, point, Kind.INFEASIBLE, 5.0)
    kind = Kind.REACHED if steps <= until else Kind.MORE_THAN
    return Evidence(batch_size, point, kind, float(max(min(steps, until), 1)))


def coverage_table(verdicts: Mapping[tuple[str, str], Sequence[Verdict]]) -> str:
    """A row for each workload and sampler."""
    columns = (
        "search of|sampler|batch sizes|in the interval|in that of the seeds|truth/expected, median"
        "|rms error, log|width, log|winner: fresh/its steps"
    )
    rows = []
    for (case, sampler), mine in verdicts.items():
        errors = [one.error for one in mine if isfinite(one.error)]
        flattered = [one.flattered for one in mine if isfinite(one.flattered)]
        rows.append(
            [
                case,
                sampler,
                len(mine),
                f"{mean(one.inside for one in mine):.2f}",
                f"{mean(one.seen for one in mine):.2f}",
                f"{exp(median(errors)):.2f}" if errors else "–",
                f"{sqrt(mean(e * e for e in errors)):.2f}" if errors else "–",
                f"{median(one.width for one in mine):.2f}",
                f"{median(flattered):.2f}" if flattered else "–",
            ]
        )
    return table(columns.split("|"), rows)


def curves_table(curves: Mapping[tuple[str, str], Sequence[Curves]]) -> str:
    """A row for each search of the quadratic model and quantity of its curves, the fastest trials'
    beside that of the expected steps."""
    best = (Observation(b, quadratic.fewest_steps(b)) for b in quadratic.BATCH_SIZES)
    truth = fit_curve(best)
    rows = []
    for (case, search), mine in curves.items():
        for name in QUANTITIES:
            true = getattr(truth, name).value
            cells = [_answered([getattr(pair[n], name) for pair in mine], true) for n in (0, 1)]
            rows.append([f"{case}, {search}", name.replace("_", " "), *cells[0], *cells[1]])
    of_each = ("holds", "rms error, log")
    columns = [f"{curve}: {what}" for curve in ("fastest", "expected") for what in of_each]
    return table(["search", "90 % interval of", *columns], rows)


def _answered(estimates: Sequence[Estimate], truth: float) -> tuple[str, str]:
    """How often the answers hold the truth, of those given, and how far off they are."""
    given = [one for one in estimates if one.kind != "unknown"]
    held = [(one.low or 0) <= truth <= (one.high or inf) for one in given]
    errors = [log(one.value / truth) for one in given if one.value]
    return f"{mean(held):.2f}", f"{sqrt(mean(e * e for e in errors)):.2f}" if errors else "–"


def flattery_table(verdicts: Sequence[Verdict]) -> str:
    """How much the best of 32 flatters, by workload and batch size: the median over searches."""
    cases = list(dict.fromkeys(one.case for one in verdicts))
    sizes = sorted({one.batch_size for one in verdicts})
    rows = []
    for case in cases:
        cells: list[Any] = [case]
        for size in sizes:
            mine = [v.flattered for v in verdicts if (v.case, v.batch_size) == (case, size)]
            cells.append(f"{median(mine):.2f}" if mine else "–")
        rows.append(cells)
    return table(["fresh seeds/best trial", *map(str, sizes)], rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, train fresh seeds, print the tables; with --check 1 where coverage is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one small search of each kind")
    parser.add_argument("--workloads", nargs="*", default=(*DIGITS, FC_256))
    parser.add_argument("--samplers", nargs="*", default=SAMPLERS)
    parser.add_argument("--searches", type=int, default=2, help="seeds of the searches")
    parser.add_argument("--first", type=int, default=100, help="the first of these seeds")
    parser.add_argument("--quadratics", type=int, default=8, help="searches of the quadratic model")
    parser.add_argument("--seeds", type=int, default=21, help="fresh ones at each batch size")
    parser.add_argument("--keep", type=Path, help="what was trained, so that none is trained twice")
    parser.add_argument(
        "--check", action="store_true", help="exit 1 outside 0.85-0.95 by more than chance"
    )
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    kept, found = Kept(asked.keep), list[Verdict]()
    curves: dict[tuple[str, str], list[Curves]] = {}
    searches, quadratics, sizes = asked.searches, asked.quadratics, DIGITS_SIZES
    if asked.quick:
        asked.workloads, asked.seeds, searches, quadratics, sizes = DIGITS[:1], 3, 1, 1, (64, 256)
    for search in SEARCHES if quadratics else ():
        for noise in NOISES:
            for seed in range(quadratics):
                verdicts, pair = computed(search, noise, seed)
                found += verdicts
                key = (f"noise {noise}", search)
                curves.setdefault(key, []).extend([] if pair is None else [pair])
    for sampler in asked.samplers:
        for workload in asked.workloads:
            for seed in range(asked.first, asked.first + searches):
                case = Case(workload, sampler, seed, SIZES.get(workload, sizes))
                found += trained(kept, case, asked.seeds)
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for one in found:
        groups.setdefault((one.case, one.sampler), []).append(one)
    print(coverage_table(groups), flattery_table(found), sep="\n\n")
    if curves:
        print(f"\n{curves_table(curves)}")
    for sampler in dict.fromkeys(one.sampler for one in found):
        mine = [one for one in found if one.sampler == sampler]
        share = mean(one.seen for one in mine)
        print(f"\n{sampler}: {share:.3f} of {len(mine)} batch sizes")
    share = mean(one.seen for one in found)
    low, high = (
        end + sign * 2 * sqrt(end * (1 - end) / len(found))
        for end, sign in zip(PROMISE, (-1, 1), strict=True)
    )
    broken = not low <= share <= high
    if broken:
        print(f"coverage {share:.3f} is not within 0.85 to 0.95", file=sys.stderr)
    return 1 if broken and asked.check else 0


if __name__ == "__main__":
    sys.exit(main())
