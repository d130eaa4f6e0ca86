"""A frontier in sentences: what its points say by themselves, and what is missing from them."""

import json

from service.advice import wider_space
from service.code_versions import mixed
from service.curve import EXTRA
from service.frontier import Frontier, Point
from service.report.notation import count, listed
from service.report.outcomes import counted
from service.report.steps_figure import perfect_steps


def reading(frontier: Frontier) -> str:
    """The curve in one or two sentences. Only ratios of its points: no fit, no certainty. Empty if
    there is none, and never will be."""
    reached = frontier.reached
    if not reached:
        over = frontier.unreached == frontier.points
        return "" if over else "No trial has reached the goal yet."
    first = reached[0]
    if len(reached) == 1:
        return (
            f"One batch size has reached the goal: {count(first.batch_size)}, in "
            f"{_steps(first)} ({count(first.examples or 0)} examples)."
        )
    near = [point for point in reached if ratio_to_perfect(point, first) <= 1 + EXTRA][-1]
    return f"{_near(first, near, reached[1])} {_beyond(near, reached)}".strip()


def ratio_to_perfect(point: Point, first: Point) -> float:
    """A point's steps as a multiple of what perfect scaling from the first point would need."""
    return (point.steps or 0) / perfect_steps(first, point.batch_size)


def _near(first: Point, near: Point, second: Point) -> str:
    if near is first:
        more = 100 * (ratio_to_perfect(second, first) - 1)
        return (
            f"No larger batch comes within 20\u00a0% of perfect scaling: batch size "
            f"{count(second.batch_size)} already needs {more:,.0f}\u00a0% more examples "
            f"than {count(first.batch_size)}."
        )
    return (
        f"From batch size {count(first.batch_size)} to {count(near.batch_size)} the steps fall "
        f"{_fold((first.steps or 0) / (near.steps or 1))}, from {count(first.steps or 0)} to "
        f"{count(near.steps or 0)}, where perfect scaling would be "
        f"{_fold(near.batch_size / first.batch_size)}."
    )


def _beyond(near: Point, reached: tuple[Point, ...]) -> str:
    larger = [point for point in reached if point.batch_size > near.batch_size]
    if not larger:
        return f"{count(near.batch_size)} is the largest batch size that reached the goal."
    fewest = min(larger, key=lambda point: point.steps or 0)
    saved = 100 * (1 - (fewest.steps or 0) / (near.steps or 1))
    if saved <= 0:
        return f"No larger batch size, up to {count(larger[-1].batch_size)}, takes fewer steps."
    where = f"{count(fewest.steps or 0)} at {count(fewest.batch_size)}"
    ratio = (near.steps or 0) / (fewest.steps or 1)
    if ratio >= 2:  # a share saved says little where most of the steps are
        return (
            f"Beyond {count(near.batch_size)} the steps fall {_fold(ratio)}, to {where}, where "
            f"perfect scaling would be {_fold(fewest.batch_size / near.batch_size)}."
        )
    return (
        f"Beyond {count(near.batch_size)}, up to {count(larger[-1].batch_size)}, the steps fall "
        f"by at most another {saved:.0f}\u00a0%, to {where}."
    )


def _fold(ratio: float) -> str:
    return f"{ratio:,.0f}-fold" if ratio >= 9.95 else f"{ratio:.1f}-fold".replace(".0-", "-")


def _steps(point: Point) -> str:
    return "1 step" if point.steps == 1 else f"{count(point.steps or 0)} steps"


def goal_text(frontier: Frontier) -> str:
    """The goal as a person says it: "validation error rate below 0.03"."""
    goal = frontier.goal
    if "text" in goal:
        return str(goal["text"])
    side = "below" if goal["better"] == "lower" else "above"
    return f"validation {goal['metric']} {side} {goal['value']:g}"


def batch_sizes_text(frontier: Frontier) -> str:
    """How many batch sizes, and which: "10, from 2 to 1,024"."""
    batches = [point.batch_size for point in frontier.points]
    if len(batches) == 1:
        return f"1, namely {count(batches[0])}"
    return f"{len(batches)}, from {count(batches[0])} to {count(batches[-1])}"


def trials_text(frontier: Frontier) -> str:
    """How many trials, and how they ended: "320: 10 reached, 258 capped, 52 stalled"."""
    total: dict[str, int] = {}
    for point in frontier.points:
        for outcome, number in point.outcomes.items():
            total[outcome] = total.get(outcome, 0) + number
    trials = sum(total.values())
    return f"{count(trials)}: {counted(total)}" if trials else "none"


def notes(frontier: Frontier) -> list[str]:
    """What a reader must know before trusting the curve; empty when there is nothing."""
    found = []
    open_trials = sum(point.outcomes.get("open", 0) for point in frontier.points)
    if open_trials:
        are = "1 trial is" if open_trials == 1 else f"{count(open_trials)} trials are"
        lower = ": points may still move down" if frontier.reached else ""
        found.append(f"{are} not done yet{lower}.")
    over = (*frontier.unreached, *frontier.failed)
    pending = [p for p in frontier.points if p.best is None and p not in over]
    if pending and frontier.reached:
        found.append(f"No winner yet at {_batch_sizes([count(p.batch_size) for p in pending])}.")
    different = {kind: found for kind, found in frontier.versions.items() if len(found) > 1}
    code = mixed(frontier)
    if code is not None:
        found.append(code)
        different.pop("source", None)
    if different.pop("engine", None):
        found.append(
            "Some trials were computed one after another, others as one model: rounding may have "
            "moved the steps at which they pass the goal."
        )
    found += [
        f"The trials ran with different versions of {kind}: {listed(versions)}."
        for kind, versions in different.items()
    ]
    goals = {json.dumps(point.study.identity["goal"], sort_keys=True) for point in frontier.points}
    if len(goals) > 1:
        found.append("The studies have different goals: their steps can't be compared.")
    inexact = [count(point.batch_size) for point in frontier.points if point.inexact]
    if inexact:
        found.append(
            f"At {_batch_sizes(inexact)} trials were dropped by an option of the search, so "
            "another than the winner may have been faster."
        )
    edged = [count(point.batch_size) for point in frontier.points if point.edges]
    if edged:
        widens = wider_space(frontier)
        found.append(
            f"At {_batch_sizes(edged)} the winner lies at an edge of the search space: "
            f"a wider space may hold a faster one{f'; {widens} widens it' if widens else ''}."
        )
    return found


def _batch_sizes(shown: list[str]) -> str:
    return f"batch size{'s' if len(shown) > 1 else ''} {listed(shown)}"
