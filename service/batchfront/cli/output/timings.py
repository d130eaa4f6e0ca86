"""What `batchfront time` prints: every part with its seconds, and whether they lie on a line."""

from contextlib import suppress
from dataclasses import asdict
from statistics import median
from typing import Any

from batchfront.advice.part_times import PartTimes
from batchfront.advice.step_time import StepTimes
from batchfront.advice.timings import Timing
from batchfront.advice.units import seconds_text
from batchfront.cli.output.tables import Output, print_output
from batchfront.errors import UsageError
from batchfront.phrases import percent
from batchfront.table import Column, Table, of_records
from batchfront.vocabulary import TimedPart
from batchfront.worker.timed import Timed

_ORDER = (
    TimedPart.PASS,
    TimedPart.UPDATE,
    TimedPart.LOADING,
    TimedPart.EVALUATION,
    TimedPart.ALL_REDUCE,
    TimedPart.STEP,
)

_UNSTEADY = 1.5  # between quartiles

_WORDS = {
    TimedPart.PASS: "forward and backward",
    TimedPart.UPDATE: "optimizer's step",
    TimedPart.LOADING: "loading",
    TimedPart.EVALUATION: "evaluation",
    TimedPart.ALL_REDUCE: "all-reduce",
    TimedPart.STEP: "whole step",
}


def print_timings(timed: Timed, format_: str) -> None:
    """The timings, by part, devices and examples."""
    found = sorted(
        timed.timings, key=lambda one: (_ORDER.index(one.part), one.devices, one.examples)
    )
    notes = [*_of_spread(found), *_of_passes(found), *_of_steps(found)]
    records = of_records([_record(one) for one in found])
    plain = {
        "workload": timed.workload,
        "device": timed.device,
        "timings": [_record(one) for one in found],
        "notes": [*notes, *timed.notes],
    }
    print_output(Output([_table(timed, found, notes)], records, plain), format_)


def _table(timed: Timed, found: list[Timing], notes: list[str]) -> Table:
    columns = (
        Column("part", words=True),
        Column("devices"),
        Column("examples", "{:,}".format),
        Column("median", seconds_text),
        Column("quartiles", words=True, whole=True),
        Column("times"),
    )
    rows = [
        (
            _WORDS[one.part],
            one.devices,
            one.examples or None,
            one.seconds,
            _quartiles(one),
            one.repetitions,
        )
        for one in found
    ]
    title = f"{timed.workload} on {timed.device}"
    return Table(columns, rows, title, [*notes, *timed.notes], keys=3)


def _of_spread(timings: list[Timing]) -> list[str]:
    """Whether something else has used the device meanwhile."""
    ratio = median(one.high / one.low for one in timings if one.low and one.high)
    if ratio < _UNSTEADY:
        return []
    return [
        f"Slow repetitions take {ratio:.1f} times as long as fast ones (quartiles; the median of "
        "all parts): something else uses this machine. Time it again when it is idle."
    ]


def _of_passes(timings: list[Timing]) -> list[str]:
    """Whether the seconds of passes lie on a line."""
    passes = PartTimes.of("passes", [one for one in timings if one.part is TimedPart.PASS])
    if passes is None or len(passes.sizes) < 3:
        return []
    if passes.line is None:
        return [
            "Forward and backward are not linear in the examples: between those of the table, "
            "seconds are interpolated."
        ]
    start, slope = passes.line
    off = [
        abs(took / (start + slope * size) - 1)
        for size, took in zip(passes.sizes, passes.seconds, strict=True)
    ]
    return [
        f"Forward and backward of b examples take {seconds_text(start)} + {seconds_text(slope)} × "
        f"b, within {percent(max(off))}."
    ]


def _of_steps(timings: list[Timing]) -> list[str]:
    """How well each whole step is told by everything else that was timed."""
    off = []
    for one in timings:
        if one.part is not TimedPart.STEP:
            continue
        with suppress(UsageError):  # of what else was timed, nothing tells it
            told = StepTimes.of([other for other in timings if other is not one])
            off.append(abs(told.at(one.examples, one.devices).seconds.median / one.seconds - 1))
    if len(off) < 2:
        return []
    return [
        f"Each whole step left out and predicted by the rest: off by {percent(median(off))} in the "
        f"median, by {percent(max(off))} at most."
    ]


def _quartiles(one: Timing) -> str | None:
    if one.low is None or one.high is None:
        return None
    return f"{seconds_text(one.low)} to {seconds_text(one.high)}"


def _record(one: Timing) -> dict[str, Any]:
    return {
        name: value
        for name, value in asdict(one).items()
        if name not in ("versions", "measured_at", "workload")
    }
