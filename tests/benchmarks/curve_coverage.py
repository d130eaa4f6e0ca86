"""Do the intervals of the curve hold what they promise? Generated curves whose truth is known.

    python -m tests.benchmarks.curve_coverage --check

For each form, number of batch sizes and kind of trouble, curves are generated, measured as the best
of 32 trials, and fitted. Coverage is the share of intervals, and bounds, that hold the truth, among
those that were given; bias is the median of the value over the truth. A 90 % interval must cover
85-95 %, give or take two standard errors. Beside it: the percentile bootstrap of the form that AICc
chooses.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from math import exp, inf, isfinite, log, sqrt
from statistics import mean, median

import numpy as np

from batchfront.frontier.curve.curve import Curve, fit_curve
from batchfront.frontier.curve.estimates import Estimate
from batchfront.frontier.curve.fit import Observation
from batchfront.frontier.curve.forms import Form
from tests.benchmarks.generated_curves import (
    ALPHAS,
    SIZES,
    SLOW,
    SPREAD,
    Luck,
    Truth,
    draw_truth,
    measure,
)
from tests.benchmarks.markdown import table
from tests.benchmarks.percentile_bootstrap import percentile_intervals

PROMISE = (0.85, 0.95)
QUANTITIES = ("half_efficiency", "s_min", "e_min", "perfect_until", "useful_until")
BOOTSTRAPPED = 300  # of the curves, by the other method, which is slow
CURVE, NEW = "the curve", "a new point"


@dataclass(frozen=True)
class Cell:
    """What is generated: `times` moves B_c out of the middle of the range."""

    form: Form
    count: int
    trouble: str = "as measured"
    times: float = 1.0
    slow: bool = False

    @property
    def name(self) -> str:
        return f"{self.count}, {'slow' if self.slow else f'{self.form.parameters - 1} par.'}"


@dataclass(frozen=True)
class Verdict:
    """One answer beside the truth: below the interval -1, inside 0, above 1; None if none was
    given. `error` is the log of value over truth."""

    kind: str
    side: int | None
    error: float | None


def _missing(seen: list[Observation], rng: np.random.Generator, truth: Truth) -> None:
    del seen[int(rng.integers(len(seen)))]


def _lucky(seen: list[Observation], rng: np.random.Generator, truth: Truth) -> None:
    at = int(rng.integers(len(seen)))
    seen[at] = measure(seen[at].batch_size, log(seen[at].middle / 2))


def _seeds(seen: list[Observation], rng: np.random.Generator, truth: Truth) -> None:
    sizes = [one.batch_size for one in seen]
    for index, steps in enumerate(np.exp(truth.log_steps(np.log(sizes)))):
        seeds = tuple(float(steps * exp(SPREAD * noise)) for noise in rng.standard_normal(3))
        seen[index] = Observation(sizes[index], median(seeds), None, seeds)


TROUBLES: dict[str, Callable[[list[Observation], np.random.Generator, Truth], None]] = {
    "as measured": lambda seen, rng, truth: None,
    "one batch size missing": _missing,
    "one point lucky by 1/2": _lucky,
    "medians of three seeds": _seeds,
}


def judge(estimate: Estimate, truth: float) -> Verdict:
    """Whether the interval or bound holds exp(truth)."""
    low = -np.inf if estimate.low is None else log(estimate.low)
    high = np.inf if estimate.high is None else log(estimate.high)
    side = None if estimate.kind == "unknown" else int(truth > high) - int(truth < low)
    whole = estimate.low is not None and estimate.high is not None
    kind = estimate.kind if estimate.kind != "number" or whole else "open end"
    return Verdict(kind, side, log(estimate.value) - truth if estimate.value else None)


def judge_curve(curve: Curve, truth: Truth, luck: float) -> dict[str, list[Verdict]]:
    """The curve, and a new point with this luck, at every measured batch size."""
    sizes = [seen.batch_size for seen in curve.observations]
    shown = curve.predict(sizes)
    verdicts: dict[str, list[Verdict]] = {CURVE: [], NEW: []}
    for i, true in enumerate(truth.log_steps(np.log(sizes))):
        value = float(shown.median[i])
        band = Estimate(value, float(shown.low[i]), float(shown.high[i]))
        new = Estimate(value, float(shown.new_low[i]), float(shown.new_high[i]))
        verdicts[CURVE].append(judge(band, true))
        verdicts[NEW].append(judge(new, true + luck))
    return verdicts


def plain(cell: Cell) -> bool:
    """Whether the bend is in the range, and not so slow that it hardly shows."""
    return cell.times == 1 and not cell.slow


def run(cell: Cell, curves: int, seed: int) -> dict[str, list[Verdict]]:
    """Verdicts by quantity; those of the bootstrap under `bootstrap QUANTITY`."""
    luck = Luck()
    found: dict[str, list[Verdict]] = {}
    for number in range(curves):
        rng = np.random.default_rng([number, cell.count, cell.form.parameters, seed])
        sizes = SIZES[cell.count]
        truth = draw_truth(rng, cell.form, sizes, cell.times, SLOW if cell.slow else ALPHAS)
        noisy = truth.log_steps(np.log(sizes)) + luck.draw(rng, len(sizes))
        seen = [measure(size, steps) for size, steps in zip(sizes, noisy, strict=True)]
        TROUBLES[cell.trouble](seen, rng, truth)
        curve = fit_curve(seen)
        answers = truth.answers(seen[0].batch_size)
        for quantity, true in answers.items():
            found.setdefault(quantity, []).append(judge(getattr(curve, quantity), true))
        if not curve.refusal:
            for name, verdicts in judge_curve(curve, truth, luck.draw(rng, 1)[0]).items():
                found.setdefault(name, []).extend(verdicts)
            if number < BOOTSTRAPPED and cell.trouble == "as measured" and plain(cell):
                for quantity, ends in percentile_intervals(curve, rng).items():
                    other = Estimate(None, exp(ends[0]), exp(ends[1]))
                    verdict = judge(other, answers[quantity])
                    found.setdefault(f"bootstrap {quantity}", []).append(verdict)
    return found


def covered(verdicts: Sequence[Verdict]) -> float:
    """The share that hold the truth, of the answers given."""
    return mean(verdict.side == 0 for verdict in verdicts if verdict.side is not None)


def _share(verdicts: Sequence[Verdict], *kinds: str) -> float:
    return mean(verdict.kind in kinds for verdict in verdicts)


def _cell_text(verdicts: Sequence[Verdict]) -> str:
    if all(verdict.side is None for verdict in verdicts):
        return "–"
    errors = [one.error for one in verdicts if one.error is not None and isfinite(one.error)]
    text = f"**{covered(verdicts):.3f}**"
    if errors:
        text += f" {exp(median(errors)):.2f}×"
    bounds = _share(verdicts, "at least", "at most", "open end")
    unknown = _share(verdicts, "unknown")
    text += f" {bounds:.0%}" if bounds else ""
    return text + (f" ({unknown:.0%} none)" if unknown else "")


def coverage_table(cells: Sequence[Cell], found: Sequence[dict[str, list[Verdict]]]) -> str:
    """A row per quantity and a column per cell."""
    rows = [
        [name.replace("_", " "), *(_cell_text(verdicts[name]) for verdicts in found)]
        for name in (*QUANTITIES, CURVE, NEW)
    ]
    return table(["90 % interval of", *(cell.name for cell in cells)], rows)


def bootstrap_table(cells: Sequence[Cell], found: Sequence[dict[str, list[Verdict]]]) -> str:
    """The percentile bootstrap's coverage, as measured."""
    rows = [
        [name.replace("_", " "), *(f"{covered(v[f'bootstrap {name}']):.3f}" for v in found)]
        for name in QUANTITIES
    ]
    return table(["percentile bootstrap", *(cell.name for cell in cells)], rows)


def outside_table(cells: Sequence[Cell], found: Sequence[dict[str, list[Verdict]]]) -> str:
    """What is said where the bend lies outside the range."""
    rows = []
    for cell, verdicts in zip(cells, found, strict=True):
        for name in QUANTITIES:
            kinds = [
                f"{_share(verdicts[name], kind):.0%}"
                for kind in ("number", "open end", "at least", "at most", "unknown")
            ]
            given = [v for v in verdicts[name] if v.side is not None]
            text = f"{covered(given):.3f}" if given else "–"
            times = "∞" if cell.times == inf else Fraction(cell.times)
            where = f"B_c {times}×, {cell.name}"
            rows.append([where, name.replace("_", " "), *kinds, text])
    columns = "bend|of|number, interval|number, one end|at least|at most|none|coverage"
    return table(columns.split("|"), rows)


def show(cells: Sequence[Cell], found: Sequence[dict[str, list[Verdict]]]) -> str:
    """The tables of one group of cells."""
    if not plain(cells[0]):
        return outside_table(cells, found)
    tables = [cells[0].trouble, coverage_table(cells, found)]
    if cells[0].trouble == "as measured":
        tables.append(bootstrap_table(cells, found))
    return "\n\n".join(tables)


def broken_promises(cells: Sequence[Cell], found: Sequence[dict[str, list[Verdict]]]) -> list[str]:
    """The coverages outside the promise by more than two standard errors, the bend being in the
    range."""
    return [
        f"{cell.trouble}, {cell.name}: {name} {covered(verdicts[name]):.3f}"
        for cell, verdicts in zip(cells, found, strict=True)
        if plain(cell)
        for name in (*QUANTITIES, CURVE)
        if not _kept(covered(verdicts[name]), len(verdicts["s_min"]))
    ]


def _kept(share: float, curves: int) -> bool:
    low, high = (
        end + sign * 2 * sqrt(end * (1 - end) / curves)
        for end, sign in zip(PROMISE, (-1, 1), strict=True)
    )
    return low <= share <= high


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate, fit, print the tables; with --check 1 where coverage is not what is promised."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few curves, six batch sizes")
    parser.add_argument("--curves", type=int, default=500, help="in each cell")
    parser.add_argument("--seed", type=int, default=0, help="of the curves")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--check", action="store_true", help="exit 1 outside 0.85-0.95 by more than chance"
    )
    asked = parser.parse_args(arguments)
    counts, curves = (SIZES, asked.curves) if not asked.quick else ((6,), 4)
    inside = [Cell(form, count) for count in counts for form in Form]
    troubled = {t: [replace(cell, trouble=t) for cell in inside] for t in TROUBLES}
    outside = [Cell(form, 8, times=times) for times in (1 / 64, 64.0) for form in Form]
    slow = [
        Cell(Form.THREE_PARAMETERS, count, times=times, slow=True)
        for times in (1.0, inf)
        for count in counts
    ]
    outside = outside[:1] if asked.quick else outside
    groups = [*troubled.values(), outside, slow]
    broken = []
    with ProcessPoolExecutor(asked.processes) as pool:
        waiting = [
            [pool.submit(run, cell, curves, asked.seed) for cell in cells] for cells in groups
        ]
        for cells, some in zip(groups, waiting, strict=True):
            found = [one.result() for one in some]
            print(f"\n{show(cells, found)}", flush=True)
            broken += broken_promises(cells, found)
    for line in broken:
        print(line, file=sys.stderr)
    return 1 if broken and asked.check else 0


if __name__ == "__main__":
    sys.exit(main())
