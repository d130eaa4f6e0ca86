"""How a workload's part of the page begins: what was asked, and what was found."""

from collections.abc import Sequence

from batchfront.frontier.curve.answers import by_expected_steps
from batchfront.frontier.curve.text import unreached_answers
from batchfront.report.data import Subject
from batchfront.report.html import Part, with_code
from batchfront.report.sections.recommendation import recommended, recommended_part
from batchfront.report.text import by_points, count, escape, goal_text, notes, reading


def head(subject: Subject) -> Part:
    """The workload's name, the question, which batch size to train with and what it costs, what
    the curve says, and what to know before trusting it."""
    frontier, found, first = subject.frontier, answer(subject), first_answer(subject)
    known = [*subject.left_out, *notes(frontier), *subject.fitted.warnings]
    by_curve = f'<p class="found">{escape(found)}</p>' if first != found else ""
    return Part(
        f'<h2 id="{subject.key}-name">{escape(frontier.workload)}</h2>'
        f'<p class="question">{escape(question(subject))}</p>'
        f'<p class="answer">{escape(first)}</p>'
        f"{recommended_part(subject).html}{by_curve}{listed(known)}"
    )


def listed(notes: Sequence[str]) -> str:
    """What to know before trusting what follows, as HTML; empty where there is nothing."""
    found = "".join(f"<li>{with_code(escape(note))}</li>" for note in notes)
    return f'<ul class="notes">{found}</ul>' if found else ""


def question(subject: Subject) -> str:
    """What the search was for, in one sentence."""
    frontier = subject.frontier
    sizes = [point.batch_size for point in frontier.points]
    where = "at each batch size" if len(sizes) > 1 else f"at batch size {count(sizes[0])}"
    if frontier.measured_elsewhere:
        return f"How many training steps lead to {goal_text(frontier)} {where}, measured elsewhere?"
    return f"How few training steps lead to {goal_text(frontier)}, tuned afresh {where}?"


def first_answer(subject: Subject) -> str:
    """Which batch size to train with; where nobody can say, what the curve or the points do."""
    return recommended(subject) or answer(subject)


def answer(subject: Subject) -> str:
    """What the curve says, in one sentence, or without one what the points say by themselves; then
    what it doesn't fit, and where the goal was not reached."""
    frontier, found = subject.frontier, subject.fitted.found
    alone = by_points if by_expected_steps(frontier) else reading  # the card's are expected steps
    said = subject.fitted.answer or alone(frontier, subject.asked.curve)
    warnings = found.warnings if found else ()
    return " ".join(filter(None, (said, *warnings, *unreached_answers(frontier, found))))
