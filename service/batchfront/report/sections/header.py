"""How a workload's part of the page begins: what was asked, and what was found."""

from collections.abc import Mapping, Sequence
from typing import Any

from batchfront.frontier.curve.text import unreached_answers
from batchfront.frontier.frontier import Frontier
from batchfront.frontier.intervals import how_far_apart
from batchfront.report.data import Subject
from batchfront.report.html import Part, with_code
from batchfront.report.text import (
    batch_sizes_text,
    count,
    escape,
    goal_text,
    notes,
    reading,
    trials_text,
)
from batchfront.study.identity import command_text


def head(subject: Subject) -> Part:
    """The workload's name, the question, the answer, and what to know before trusting it."""
    frontier = subject.frontier
    facts: Mapping[str, str] = {
        "Goal": goal_text(frontier),
        "Batch sizes": batch_sizes_text(frontier),
        "Seeds" if frontier.measured_elsewhere else "Trials": trials_text(frontier),
        **own_loop(frontier),
    }
    rows = "".join(
        f"<div><dt>{name}</dt><dd>{with_code(escape(fact))}</dd></div>"
        for name, fact in facts.items()
    )
    known = [*subject.left_out, *notes(frontier), *subject.fitted.warnings]
    return Part(
        f'<h2 id="{subject.key}-name">{escape(frontier.workload)}</h2>'
        f'<p class="question">{escape(question(subject))}</p>'
        f'<p class="answer">{escape(answer(subject))}</p>'
        f'<dl class="facts">{rows}</dl>{listed(known)}'
    )


def listed(notes: Sequence[str]) -> str:
    """What to know before trusting what follows, as HTML; empty where there is nothing."""
    found = "".join(f"<li>{with_code(escape(note))}</li>" for note in notes)
    return f'<ul class="notes">{found}</ul>' if found else ""


def own_loop(frontier: Frontier) -> dict[str, str]:
    """What trained, and where evaluations came from, where the training loop isn't batchfront's."""
    identity, kind = frontier.points[0].study.identity, frontier.points[0].study.kind
    if kind is None:
        return {}
    facts, source = {}, "told by its training loop, a function"
    if kind == "program":
        facts, source = {"Command": f"`{command_text(identity)}`"}, _told_by(identity["output"])
    return {**facts, "Evaluations": ", ".join(filter(None, [source, how_far_apart(frontier)]))}


def _told_by(output: Mapping[str, Any]) -> str:
    """Where a program's evaluations come from, by the description of its output."""
    if output["kind"] == "report":
        return "told by the program, through batchfront.report"
    where = f"read from {output['file']}" if "file" in output else "read from what it prints"
    return f"{where} by `{output['pattern']}`" if output["kind"] == "pattern" else where


def question(subject: Subject) -> str:
    """What the search was for, in one sentence."""
    frontier = subject.frontier
    sizes = [point.batch_size for point in frontier.points]
    where = "at each batch size" if len(sizes) > 1 else f"at batch size {count(sizes[0])}"
    if frontier.measured_elsewhere:
        return f"How many training steps lead to {goal_text(frontier)} {where}, measured elsewhere?"
    return f"How few training steps lead to {goal_text(frontier)}, tuned afresh {where}?"


def answer(subject: Subject) -> str:
    """What the curve says, in one sentence, or without one what the points say by themselves; then
    what it doesn't fit, and where the goal was not reached."""
    frontier, found = subject.frontier, subject.fitted.found
    said = subject.fitted.answer or reading(frontier)
    warnings = found.warnings if found else ()
    return " ".join(filter(None, (said, *warnings, *unreached_answers(frontier, found))))
