"""Curves for other goals in words, for a terminal and for the page alike."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from batchfront.frontier.analysis.along_training import GoalCurve
from batchfront.frontier.analysis.other_goals import GoalMetric, GoalPoint
from batchfront.frontier.curve.answers import BATCH_SIZES
from batchfront.frontier.curve.estimates import Estimate
from batchfront.frontier.curve.text import answers, count, in_tokens, number, size
from batchfront.frontier.expected import enough
from batchfront.frontier.expected_table import fitted_to
from batchfront.frontier.intervals import WIDE
from batchfront.frontier.next_commands import going_on
from batchfront.phrases import listed, percent
from batchfront.table import NOTHING, Column, Table


def goal_answers(found: GoalCurve) -> tuple[str, ...]:
    """What the curve for a goal says, in sentences, and what is censored."""
    if found.goal.own:
        return answers(found.frontier, found.curve)
    said = answers(replace(found.frontier, points=()), found.curve)
    tokens = filter(None, [in_tokens(found.frontier, found.curve)])
    return (*said, *tokens, *what_is_censored(found))


def what_is_censored(found: GoalCurve) -> tuple[str, ...]:
    """At which batch sizes the steps to a goal are not known, and where that contradicts its curve,
    in sentences; of the goal that was searched for, nothing."""
    if found.goal.own:
        return ()
    return (*_censored(found), *_contradicted(found))


def through_what(found: GoalCurve) -> str | None:
    """Which points the curve for a goal goes through and why, in a sentence; None where there is no
    choice."""
    if found.goal.own:
        return fitted_to(found.frontier)
    if found.by_expected_steps:
        counts = [point.reached for point in found.expected.points]
        return (
            "The curve goes through the expected steps, by when each trial passed this goal: "
            f"{sum(counts) / len(counts):.0f} did at a batch size, on average."
        )
    if not found.complete:
        return None
    why = found.expected.refusal or (
        f"the expected steps are known only within a factor of {found.expected.widest:.1f}"
        if enough(point.reached for point in found.expected.points)
        else "too few trials passed it to trust the expected steps more"
    )
    return f"The curve goes through the trials that passed this goal first: {why}."


def how_close(found: GoalCurve) -> str | None:
    """How far apart the evaluations lie between which another goal was passed, in a sentence; None
    where that is of no account."""
    ratios = [p.steps / (p.steps_lower + 1) for p in found.complete if p.steps and p.steps_lower]
    if found.goal.own or max(ratios, default=1.0) < WIDE:
        return None
    return (
        "When a trial passed this goal is known to between two evaluations that were kept, up to "
        f"{percent(1 - 1 / max(ratios))} of the steps apart."
    )


_TITLES = {
    "perfect_until": "near-perfect",
    "useful_until": "useful",
    "half_efficiency": "B_c",
    "s_min": "S_min",
}


def along_table(found: Sequence[GoalCurve]) -> Table:
    """A row for each goal, the easiest first: how far a larger batch helps, by the curve for it."""
    columns = (
        Column("goal", words=True, whole=True),
        *(Column(title, words=True) for title in _TITLES.values()),
        Column("complete", words=True),
    )
    rows = [
        (
            f"{one.goal.text}{', its own' if one.goal.own else ''}",
            *(_estimate(one, name) for name in _TITLES),
            f"{len(one.complete)} of {len(one.points)}",
        )
        for one in found
    ]
    notes = [
        "In brackets: 90 % intervals. Complete: at so many batch sizes are the steps to the goal "
        "known, as no trial that might have been first stopped before."
    ]
    fastest = [one.goal.text for one in found if one.curve.refusal is None and _by_fastest(one)]
    if fastest and len(fastest) < sum(one.curve.refusal is None for one in found):
        notes.append(
            f"The curves for {listed(fastest)} go through the fastest trials, the others through "
            "the expected steps."
        )
    notes += [
        f"No curve for {one.goal.text}: {one.curve.refusal}." for one in found if one.curve.refusal
    ]
    return Table(columns, rows, "", notes)


def _by_fastest(found: GoalCurve) -> bool:
    return not found.by_expected_steps


def _estimate(found: GoalCurve, name: str) -> str | None:
    estimate: Estimate = getattr(found.curve, name)
    return brief(estimate, size if name in BATCH_SIZES else number)


def brief(estimate: Estimate, shown: Callable[[float], str]) -> str | None:
    """An estimate in few words: "64 (41–97)", "64 (41 or more)", "512 or more"; None where
    nothing is known."""
    low, high = (None if one is None else shown(one) for one in (estimate.low, estimate.high))
    if low and high:
        bounds = f"{low}–{high}"
    elif low or high:
        bounds = f"{low} or more" if low else f"{high} or less"
    else:
        return None
    return bounds if estimate.value is None else f"{shown(estimate.value)} ({bounds})"


def steps_span(point: GoalPoint) -> str:
    """Between which steps a goal was passed first: "90-128"; "<= 90-128" where perhaps sooner by a
    trial that stopped before; "> 128" where no trial was seen to."""
    lower = None if point.steps_lower is None else count(point.steps_lower)
    if point.steps is None:
        return NOTHING if lower is None else f"> {lower}"
    span = f"{lower or NOTHING}-{count(point.steps)}"
    return span if point.complete else f"<= {span}"


def _censored(found: GoalCurve) -> Iterator[str]:
    """What isn't complete, in sentences: at which batch sizes, by which trials, and what completes
    it."""
    missed = [p for p in found.points if p.complete and p.steps is None]
    if missed:
        yield f"No trial passed this goal {_at(missed)}."
    bounds = [p for p in found.censored if p.steps is not None]
    if bounds:
        most = listed([count(p.steps or 0) for p in bounds])
        yield (
            f"Trials that stopped before might have passed this goal {_at(bounds)} in fewer than "
            f"the {most} steps seen.{_left_out(found, bounds)}"
        )
    open_ = [p for p in found.censored if p.steps is None]
    if open_:
        yield (
            f"Nobody can tell the steps {_at(open_)}: no trial was seen to pass this goal, and "
            f"some that might have stopped before.{_left_out(found, open_)}"
        )
    own = GoalMetric.of(found.frontier)
    if found.censored and not own.is_harder_than(found.value):
        more = going_on(found.frontier)
        yield (
            "Trials stop at the goal that was searched for, which is easier"
            + (f"; {more} lets the first that pass it go on." if more else ".")
        )


def _left_out(found: GoalCurve, some: Sequence[GoalPoint]) -> str:
    if found.by_expected_steps:
        return ""
    return f" The curve leaves {'it' if len(some) == 1 else 'them'} out."


def _at(points: Sequence[GoalPoint]) -> str:
    sizes = [f"{p.batch_size:,}" for p in points]
    return f"at batch size{'s' * (len(sizes) > 1)} {listed(sizes)}"


def _contradicted(found: GoalCurve) -> Iterator[str]:
    """Where a curve through other batch sizes lies on the wrong side of a bound, in sentences."""
    if found.curve.refusal or found.by_expected_steps or not found.censored:
        return
    there = found.curve.predict([p.batch_size for p in found.censored])
    for point, low, high in zip(found.censored, there.new_low, there.new_high, strict=True):
        if point.steps is not None and point.steps < low:
            yield (
                f"The curve is wrong at batch size {point.batch_size:,}: {count(point.steps)} "
                f"steps were enough, fewer than it has there."
            )
        elif point.steps_lower is not None and point.steps_lower > high:
            yield (
                f"The curve is wrong at batch size {point.batch_size:,}: "
                f"{count(point.steps_lower)} steps were not enough, more than it has there."
            )
