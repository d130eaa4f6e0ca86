"""How a workload's part of the page begins: what was asked, and what was found."""

from collections.abc import Mapping
from html import escape

from batchfront.frontier.curve.text import unreached_answers
from batchfront.report.data import Subject
from batchfront.report.html import Part, with_code
from batchfront.report.text import batch_sizes_text, count, goal_text, notes, reading, trials_text


def head(subject: Subject) -> Part:
    """The workload's name, the question, the answer, and what to know before trusting it."""
    frontier = subject.frontier
    facts: Mapping[str, str] = {
        "Goal": goal_text(frontier),
        "Batch sizes": batch_sizes_text(frontier),
        "Seeds" if frontier.measured_elsewhere else "Trials": trials_text(frontier),
    }
    rows = "".join(f"<div><dt>{k}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items())
    known = [*notes(frontier), *subject.fitted.warnings]
    found = "".join(f"<li>{with_code(escape(note))}</li>" for note in known)
    return Part(
        f'<h2 id="{subject.key}-name">{escape(frontier.workload)}</h2>'
        f'<p class="question">{escape(question(subject))}</p>'
        f'<p class="answer">{escape(answer(subject))}</p>'
        f'<dl class="facts">{rows}</dl>' + (f'<ul class="notes">{found}</ul>' if found else "")
    )


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
