"""What `batchfront probe` prints: the noise scale along a run, and what it foretells."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from math import exp, isfinite
from pathlib import Path
from typing import Any

from batchfront.advice.intervals import Interval
from batchfront.advice.noise_scale import NoiseScale, Probe, error_of, noise_scale, predicted
from batchfront.cli.output.numbers import short
from batchfront.cli.output.tables import Output, print_output
from batchfront.frontier.curve.answers import fit_curve
from batchfront.frontier.curve.estimates import Estimate
from batchfront.frontier.curve.text import number
from batchfront.frontier.frontier import Frontier
from batchfront.outcomes import Reading
from batchfront.store.commands import command
from batchfront.store.database import Storage
from batchfront.table import Column, Table, of_records
from batchfront.worker.probed import Probed

_STRETCHES = 6

_OF_STRETCH = 8  # readings at least


def print_probe(
    storage: Storage, probed: Probed, frontier: Frontier | None, saved: Path | None, format_: str
) -> None:
    """What a probe has shown.

    frontier -- of the workload, where anything of it has reached the goal
    saved    -- the file of a workload with the learning rates that it proposes
    """
    one = probed.probe
    measured = None if frontier is None else fit_curve(frontier).half_efficiency
    stretches = [*_stretches(one)]
    notes = [*_notes(storage, probed, measured, saved)]
    table = Table(
        (
            Column("steps", words=True, whole=True),
            Column("noise scale"),
            Column("90 % interval", words=True, whole=True),
        ),
        [(_steps(part), *_cells(noise_scale(part, one.batch_size))) for part in stretches],
        _title(probed),
        ["", *notes],
    )
    foretold = predicted(one)
    plain = {
        **asdict(one),
        "readings": [reading._asdict() for reading in one.readings],
        "noise_scale": _plain(noise_scale(one.readings, one.batch_size)),
        "predicted": None if foretold is None else _finite(foretold.to_dict()),
        "measured": None if measured is None else {"kind": measured.kind, **asdict(measured)},
        "passed": probed.passed,
        "ended": probed.ended,
        "examples": probed.examples,
        "extra_examples": probed.extra,
        "range_test": None if probed.tested is None else _plain_test(probed),
        "batch_sizes": list(probed.batch_sizes),
        "notes": notes,
    }
    records = of_records([reading._asdict() for reading in one.readings])
    print_output(Output([table], records, plain), format_)


def print_foretold(found: Sequence[Probe]) -> None:
    """What the winners' runs of a search foretell, beside what it has measured."""
    columns = (
        Column("batch size", "{:,}".format),
        Column("readings", "{:,}".format),
        Column("B_c foretold", words=True, whole=True),
        Column("90 % interval", words=True, whole=True),
    )
    rows = []
    for one in found:
        foretold = predicted(one)
        cells = (None, None) if foretold is None else (number(foretold.median), _range(foretold))
        rows.append((one.batch_size, len(one.readings), *cells))
    title = "Gradient noise along the winners' runs"
    print_output(Output([Table(columns, rows, title)], Table(), None), "table")


def _title(probed: Probed) -> str:
    one = probed.probe
    passed = ", past the goal" if probed.passed else ""
    what = "a run of its own" if one.trial is None else f"its winner's run (trial {one.trial})"
    return f"{one.workload} at batch size {one.batch_size:,}: {what}, {one.steps:,} steps{passed}"


def _stretches(one: Probe) -> Iterator[Sequence[Reading]]:
    """The readings in stretches of the run, of equally many."""
    count = min(_STRETCHES, max(len(one.readings) // _OF_STRETCH, 1))
    size = -(-len(one.readings) // count)
    for first in range(0, len(one.readings), size):
        yield one.readings[first : first + size]


def _steps(part: Sequence[Reading]) -> str:
    return f"{part[0].step + 1:,} to {part[-1].step + part[-1].steps:,}"


def _cells(found: NoiseScale) -> tuple[str | None, str]:
    if found.value is None:
        return None, f"over {number(found.low)}"
    return number(found.value), _range(Interval(found.value, found.low, found.high))


def _range(found: Interval) -> str:
    if not isfinite(found.high):
        return f"over {number(found.low)}"
    return f"{number(found.low)} to {number(found.high)}"


def _notes(
    storage: Storage, probed: Probed, measured: Estimate | None, saved: Path | None
) -> Iterator[str]:
    one, foretold = probed.probe, predicted(probed.probe)
    if foretold is None:
        found = noise_scale(one.readings, one.batch_size)
        yield (
            f"Its gradient can't be told from its noise: all that is known is that the noise scale "
            f"is over {number(found.low)}. A longer run, or a larger --batch-size, tells more."
        )
    else:
        yield (
            f"Foretold: B_c is about {number(foretold.median)} (90 % interval {_range(foretold)}). "
            "It is the noise scale along the run, each step weighted by the progress that it "
            f"makes; in our own table, of {_whose(one)} it was off by a factor of "
            f"{exp(error_of(one)):.1f}, as a standard deviation."
        )
    if measured is not None and measured.value is not None:
        low, high = measured.low or 0.0, measured.high
        interval = f"over {number(low)}" if high is None else f"{number(low)} to {number(high)}"
        yield (
            f"Measured by the search: B_c is {number(measured.value)} (90 % interval {interval})."
        )
    if probed.ended:
        yield (
            f"The run has not passed the goal: {probed.ended}. Noise mostly grows on the way "
            "there, and B_c with it."
        )
    if probed.closer is not None:
        told = (one.workload, *_size(probed.closer))
        planned = told if one.trial is not None else (*probed.planned[:1], *_size(probed.closer))
        yield (
            f"Batch size {one.batch_size:,} lies far above it, where it is read too large: "
            f"{command(storage, 'probe', *planned)} tells more."
        )
    yield (
        f"Read at {len(one.readings):,} of {one.steps:,} steps. It took {probed.examples:,} "
        f"examples in all, {probed.extra:,} of them for the readings alone."
    )
    if probed.tested is not None:
        yield _of_test(probed)
    if probed.batch_sizes:
        sizes = f"{probed.batch_sizes[0]}..{probed.batch_sizes[-1]}"
        planned = probed.planned if saved is None else (str(saved),)
        yield f"To measure it: {command(storage, 'plan', *planned, '--batch-sizes', sizes)}"


def _whose(one: Probe) -> str:
    return "runs before any search" if one.trial is None else "winners' runs"


def _size(batch_size: int) -> tuple[str, str]:
    return "--batch-size", str(batch_size)


def _of_test(probed: Probed) -> str:
    tested = probed.tested
    assert tested is not None
    apart = "" if tested.diverged is None else f", and it diverged at {short(tested.diverged)}"
    return (
        f"Learning-rate range test: the loss was lowest at {short(tested.lowest)}{apart}. Worth a "
        f"search: {tested.rates}, which --save FILE.py writes as a workload that plan takes."
    )


def _plain(found: NoiseScale) -> dict[str, float | None]:
    return _finite(asdict(found))


def _finite(told: dict[str, Any]) -> dict[str, Any]:
    return {k: v if v is None or isfinite(v) else None for k, v in told.items()}


def _plain_test(probed: Probed) -> dict[str, Any]:
    tested = probed.tested
    assert tested is not None
    rates = {"low": tested.rates.low, "high": tested.rates.high}
    return {"lowest": tested.lowest, "diverged": tested.diverged, "learning_rate": rates}
