"""The expected steps in words, for a terminal and for the page alike."""

from collections.abc import Callable
from typing import Any

from batchfront.frontier.curve.text import SPACE, count, number
from batchfront.frontier.expected import FEWEST_EACH, FEWEST_TRUSTED, ExpectedPoint, enough
from batchfront.frontier.frontier import Frontier
from batchfront.table import Column, Table, beside

WHAT_IS_EXPECTED = (
    "Expected is the median over seeds, by a surrogate of all trials; of those that reached the "
    "goal the one is recommended of which the fewest steps are expected. The fastest trial is the "
    "luckiest."
)


def expected_table(frontier: Frontier, shown: Callable[[Any], str]) -> Table:
    """A row for each batch size at which something is expected; none, no columns.

    shown -- how the value of a metaparameter is written
    """
    expected = frontier.expected
    if not expected.points:
        return Table()
    names = sorted({name for point in expected.points for name in point.metaparameters})
    columns = (
        Column("batch size", count),
        Column(f"expected (90{SPACE}%)", steps_with_interval, words=True),
        Column("/ fastest", lambda ratio: f"{ratio:.2f}"),
        Column("trial"),
        *(Column(title, shown) for title in beside(("trial",), names).values()),
    )
    fastest = {point.batch_size: point.steps for point in frontier.reached}
    rows = [
        (
            point.batch_size,
            point,
            point.steps / (fastest[point.batch_size] or 1),
            point.trial,
            *(point.metaparameters.get(name) for name in names),
        )
        for point in expected.points
    ]
    title = "Expected steps of a run with the recommended trial's metaparameters"
    notes = [WHAT_IS_EXPECTED]
    if not expected.trusted:
        notes.append(f"This is rough: {_why_not_trusted(frontier)}.")
    return Table(columns, rows, title, notes)


def fitted_to(frontier: Frontier) -> str | None:
    """Which points the curve goes through and why, in a sentence; None of steps that were measured
    elsewhere, and where there is no choice yet."""
    if frontier.measured_elsewhere or len(frontier.reached) < 2:
        return None
    if not frontier.expected.trusted:
        return f"The curve goes through the fastest trials: {_why_not_trusted(frontier)}."
    counts = [point.in_time for point in frontier.reached]
    return (
        "The curve goes through the expected steps: enough trials reached the goal at every batch "
        f"size to tell how lucky the fastest was, {number(sum(counts) / len(counts))} on average."
    )


def _why_not_trusted(frontier: Frontier) -> str:
    expected = frontier.expected
    counts = [point.in_time for point in frontier.reached]
    if expected.refusal is not None:
        return expected.refusal
    if enough(counts):
        return f"the expected steps are known only within a factor of {expected.widest:.1f}"
    return (
        f"{FEWEST_EACH} trials that reached the goal at every batch size, and {FEWEST_TRUSTED} on "
        f"average, are needed to trust the expected steps more; there are {min(counts)} and "
        f"{number(sum(counts) / len(counts))}"
    )


def interval(point: ExpectedPoint) -> str:
    """The 90 % interval of the expected steps: "870 to 1,104"."""
    return f"{number(point.low)} to {number(point.high)}"


def steps_with_interval(point: ExpectedPoint) -> str:
    """The expected steps with their interval: "980 (870 to 1,104)"."""
    return f"{number(point.steps)} ({interval(point)})"


def steps_text(point: ExpectedPoint) -> str:
    """The expected steps with their interval: "about 980 (90 % interval 870 to 1,104)"."""
    return f"about {number(point.steps)} steps (90{SPACE}% interval {interval(point)})"


def metaparameters_text(point: ExpectedPoint) -> str:
    """What is recommended: "learning_rate 0.31, momentum 0.9"."""
    return ", ".join(f"{name} {value}" for name, value in point.metaparameters.items())


def flattery(frontier: Frontier) -> str | None:
    """How much faster the fastest trials were than what is expected, in a sentence; None where
    nothing is expected."""
    fastest = {point.batch_size: point.steps for point in frontier.reached}
    ratios = sorted(
        point.steps / steps
        for point in frontier.expected.points
        if (steps := fastest.get(point.batch_size))
    )
    if not ratios:
        return None
    low, high = (f"{ratio:.2f}" for ratio in (ratios[0], ratios[-1]))
    span = low if low == high else f"{low} to {high}"
    return (
        f"A run with the recommended trial's metaparameters is expected to take {span} times the "
        "fastest trial's steps."
    )


def why_none_expected(frontier: Frontier) -> str | None:
    """Why no expected steps are told, in a sentence; None where some are, and of steps that were
    measured elsewhere, which are medians already."""
    why = frontier.expected.refusal
    return None if why is None or frontier.measured_elsewhere else f"No expected steps: {why}."
