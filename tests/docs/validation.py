"""docs/validation.md, curves through published numbers: python -m tests.docs.validation

The numbers are in `published.json` beside this file. Those of MLPerf are read anew from a checkout
of MLCommons' logging repository by --mlperf DIR.
"""

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from math import exp, log
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from batchfront.errors import DataError
from batchfront.exchange.mlperf import find_benchmarks, read_benchmark
from batchfront.frontier.curve.curve import Curve, fit_curve
from batchfront.frontier.curve.fit import Observation
from batchfront.frontier.curve.forms import Form
from batchfront.frontier.curve.text import estimate_text, number
from batchfront.phrases import listed
from tests.benchmarks.markdown import table

PAGE = Path(__file__).parents[2] / "docs" / "validation.md"
NUMBERS = Path(__file__).with_name("published.json")

FEWEST = 5  # batch sizes of a benchmark, for one to be left out of a curve through the others


@dataclass(frozen=True)
class Model:
    """A model of Zhang et al. with the curve and the critical batch size that they state."""

    name: str
    parameters: float
    loss: float
    s_min: float
    critical: float
    points: tuple[Observation, ...]


@dataclass(frozen=True)
class LeftOut:
    """Errors of log examples at a batch size that was left out: of the curve through the others,
    and of MLPerf's straight line between its neighbours; whether the 90 % interval held it."""

    benchmark: str
    curve: float
    line: float
    held: bool


def models() -> list[Model]:
    """The five of them."""
    said = published()["zhang"]
    return [
        Model(
            one["name"],
            one["millions of parameters"],
            one["loss"],
            one["a"],
            one["critical batch size"],
            tuple(map(Observation, said["batch sizes"], one["steps"])),
        )
        for one in said["models"]
    ]


def benchmarks() -> dict[str, tuple[Observation, ...]]:
    """Those of MLPerf, by workload."""
    found: dict[str, tuple[Observation, ...]] = {}
    for workload, sizes in published()["mlperf"].items():
        points = tuple(_observation(int(size), runs) for size, runs in sizes.items())
        if points not in found.values():  # one that was only given another name
            found[workload] = points
    return found


@cache
def published() -> dict[str, Any]:
    """All numbers."""
    read: dict[str, Any] = json.loads(NUMBERS.read_text())
    return read


def _observation(batch_size: int, runs: Sequence[Sequence[float | None]]) -> Observation:
    """The median run, as `import` and `frontier` take it."""
    steps = [run[1] for run in runs if run[1] is not None]
    lower = [run[0] for run in runs if run[0] is not None]
    return Observation(batch_size, median(steps), median(lower) if lower else None, tuple(steps))


@cache
def curve_of(model: Model) -> Curve:
    """Through a model's points, with near-perfect measured from 256, as theirs is."""
    return fit_curve(model.points, perfect_from=256)


def zhang() -> str:
    """The table of models."""
    rows = []
    for model in models():
        curve = curve_of(model)
        (two,) = [fit for fit in curve.fits if fit.form is Form.TWO_PARAMETERS]
        ours = curve.perfect_until
        assert ours.value is not None
        rows.append(
            [
                model.name,
                f"{model.loss:g}",
                number(model.s_min),
                number(two.s_min),
                number(model.critical),
                estimate_text(ours),
                f"{ours.value / model.critical:.2f}",
            ]
        )
    columns = "model|loss|S_min, theirs|ours|critical batch size, theirs|ours|ours / theirs"
    return table(columns.split("|"), rows)


def law(sizes: Sequence[float]) -> str:
    """A power law of parameters, in millions, through critical batch sizes: as theirs was made."""
    parameters = [model.parameters for model in models()]
    exponent, logarithm = np.polyfit(np.log(parameters), np.log(sizes), 1)
    return f"{exp(logarithm):.1f}·N^{exponent:.2f}"


def mlperf() -> str:
    """The table of benchmarks."""
    rows = []
    for workload, points in benchmarks().items():
        curve = fit_curve(points)
        rows.append(
            [
                workload.removeprefix("mlperf/"),
                len(points),
                f"{points[0].batch_size:,} to {points[-1].batch_size:,}",
                sum(len(point.seeds) for point in points),
                estimate_text(curve.perfect_until),
                estimate_text(curve.half_efficiency),
                estimate_text(curve.useful_until),
            ]
        )
    columns = "benchmark|batch sizes|from, to|runs|near-perfect until|B_c|useful until"
    return table(columns.split("|"), rows)


@cache
def left_out() -> Sequence[LeftOut]:
    """Each batch size between the ends of each benchmark."""
    return [
        _foretold(workload.split("/")[1], points, place)
        for workload, points in benchmarks().items()
        for place in range(1, len(points) - 1)
    ]


def _foretold(benchmark: str, points: Sequence[Observation], place: int) -> LeftOut:
    out, before, after = points[place], points[place - 1], points[place + 1]
    shown = fit_curve([*points[:place], *points[place + 1 :]]).predict([out.batch_size])
    weight = (out.batch_size - before.batch_size) / (after.batch_size - before.batch_size)
    ends = [one.middle * one.batch_size for one in (before, after)]
    line = ends[0] + weight * (ends[1] - ends[0])
    return LeftOut(
        benchmark,
        log(shown.median[0] / out.middle),
        log(line / (out.middle * out.batch_size)),
        bool(shown.new_low[0] <= out.middle <= shown.new_high[0]),
    )


def foretold(found: Sequence[LeftOut]) -> str:
    """The table of what was left out."""
    groups = {name: list(some) for name, some in groupby(found, lambda one: one.benchmark)}
    rows = [
        [
            name,
            len(some),
            *(f"{_off([getattr(one, kind) for one in some])}" for kind in ("curve", "line")),
            f"{mean(one.held for one in some):.0%}",
        ]
        for name, some in {**groups, "all": found}.items()
    ]
    return table(["benchmark", "left out", "curve", "straight line", "in 90 %"], rows)


def _off(errors: Sequence[float]) -> str:
    return f"{100 * (exp(median(map(abs, errors))) - 1):.1f} %"


def law_text() -> str:
    """How many of our intervals hold their values, and the laws through both."""
    ours = [curve_of(model).perfect_until for model in models()]
    outside = [
        f"{model.name} lies {'above' if (one.low or 0) > model.critical else 'below'} it"
        for one, model in zip(ours, models(), strict=True)
        if not (one.low or 0) <= model.critical <= (one.high or np.inf)
    ]
    theirs = law([model.critical for model in models()])
    return (
        f"{len(ours) - len(outside)} of {len(ours)} intervals hold the value that they state: that "
        f"of {listed(outside)}.\nThrough their five they lay the law *B* = 93.20·N^0.47, N in "
        f"millions of parameters\n({theirs} by the arithmetic of this page); through ours it is "
        f"{law([one.value for one in ours if one.value is not None])}."
    )


def verdict() -> str:
    """The errors of all that was left out."""
    found = left_out()
    curve, line = (_off([getattr(one, kind) for one in found]) for kind in ("curve", "line"))
    return (
        f"Over all {len(found)} the curve is off by {curve}, the line by {line}, and the interval "
        f"held {mean(one.held for one in found):.0%}."
    )


_PARTS = {
    "zhang": zhang,
    "law": law_text,
    "mlperf": mlperf,
    "foretold": lambda: foretold(left_out()),
    "verdict": verdict,
}
"""What stands on the page between `<!-- NAME -->` and `<!-- end -->`."""


def page() -> str:
    """The page, with what the numbers make of it."""
    text = PAGE.read_text()
    for name, made in _PARTS.items():
        marked = re.compile(rf"(<!-- {name} -->\n\n).*?(\n\n<!-- end -->)", re.DOTALL)
        text, times = marked.subn(lambda found: found[1] + made() + found[2], text)  # noqa: B023
        assert times == 1, name
    return text


def read_mlperf(folder: Path) -> dict[str, dict[int, list[list[float | None]]]]:
    """Each run's last miss and its steps, by workload and batch size, of what can be read."""
    return {name: sizes for name, sizes in _read(folder) if len(sizes) >= FEWEST}


def _read(folder: Path) -> Iterator[tuple[str, dict[int, list[list[float | None]]]]]:
    for found in find_benchmarks(folder, None):
        try:
            runs = read_benchmark(found, {})
        except DataError:
            continue
        sizes: dict[int, list[list[float | None]]] = {}
        for run in sorted(runs, key=lambda run: run.batch_size):
            sizes.setdefault(run.batch_size, []).append([run.steps_lower, run.steps])
        yield found.workload, sizes


def main() -> None:
    """Write the page and, where a checkout is given, the numbers before."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mlperf", metavar="DIR", type=Path, help="a checkout to read anew")
    folder = parser.parse_args().mlperf
    if folder is not None:
        numbers = {**json.loads(NUMBERS.read_text()), "mlperf": read_mlperf(folder)}
        lines = re.sub(r"\n {4,}|\n {3}(?=[\]}])", " ", json.dumps(numbers, indent=1))
        NUMBERS.write_text(lines + "\n")
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
