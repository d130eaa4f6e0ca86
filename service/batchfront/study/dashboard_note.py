"""What a study is, in words, for whoever opens it in the Optuna dashboard."""

import re

from batchfront.printable import LINES, printable
from batchfront.study.identity import command_text
from batchfront.study.study import Definition, goal_text
from batchfront.vocabulary import Outcome, Purpose, Schedule
from batchfront.workload.scaling_rules import RULES

_SCHEDULES = {
    Schedule.RACE: "The trials race: they advance together over the same evaluated steps, and the "
    "first to pass the goal has won.",
    Schedule.ONE_BY_ONE: "The trials run one after another.",
    Schedule.IMPORTED: "The trials ran elsewhere, and were imported.",
}

_AGAIN: dict[str, str] = {
    Purpose.CONFIRM: "The best trials of the search run again, each with several other seeds: what "
    "its steps to target were owed to luck.",
    Purpose.POINTS: "Each trial is a run with another seed that was measured elsewhere.",
    **{
        name: "The best trial of the smallest batch size run with several seeds, "
        f"{rule.said} ({rule.source})."
        for name, rule in RULES.items()
    },
}
"""What the trials are, by the purpose of a study that is not a search."""


def study_note(study: Definition) -> str:
    """The note in Markdown: the value, the goal, the outcomes, and the family of studies."""
    goal = goal_text(study.identity["goal"])
    again = _AGAIN.get(Purpose(study.purpose))
    value = "Steps to the goal" if again else "The fewest training steps to the goal"
    family = f"{'It goes with' if again else 'This study is one of'} a family"
    best = "medians, of all seeds," if study.purpose == Purpose.POINTS else "best trials"
    trials = again or _SCHEDULES[Schedule(study.schedule)] + _in_generations(study) + _beyond(study)
    trials += _left_out(study)
    note = f"""\
{value} at **batch size {study.batch_size:,}**, for the workload {_code(study.workload)}.

- **Goal**: {_plain(goal)}.
- **Value**: steps to target, the first evaluated step at which the goal is passed; fewer is \
better. Only trials that reached the goal have one; `batchfront dashboard` shows a pruned one with \
the steps by which it had not reached it, or, where it was given up, with the step budget.
- **Intermediate values**: the goal metric, where it was computed in full.
{_own_loop(study)}
{trials} How a trial ended stands in its user attributes \
`outcome` and `reason`:

{_outcomes(study)}

{family}, {_code(study.workload + "/b<batch size>")}, that differ in \
nothing but the batch size and what depends on it. Their {best} are the workload's frontier: \
drawn on the first page of each of them here, and by `batchfront report`. \
Trials are started, sampled and ended by `batchfront work`; a change made here is unknown to it.
"""
    return printable(note, LINES)


def _own_loop(study: Definition) -> str:
    """A line on what trains, where that isn't batchfront."""
    if study.kind is None:
        return ""
    by = "a function of the user's"
    if study.kind == "program":
        by = f"the program {_code(command_text(study.identity))}"
    return f"- **Training**: by {by}, which is judged at its own evaluations.\n"


def _outcomes(study: Definition) -> str:
    here = {Outcome.CAPPED: _capped(study), Outcome.DROPPED: _dropped(study)}
    return "\n".join(
        f"- `{outcome}` ({outcome.optuna_state}): {here.get(outcome, outcome.meaning)}."
        for outcome in Outcome
    )


def _capped(study: Definition) -> str:
    if not study.finishers:
        return "none here; all may reach the goal, however many have"
    others = "another trial" if study.finishers == 1 else f"{study.finishers} other trials"
    return f"{others} of the study had reached the goal with no more steps"


def _left_out(study: Definition) -> str:
    if not study.sparse:
        return ""
    return (
        " Trials far from the goal are evaluated less often: one that passed it for a moment in "
        "between may not have been seen to."
    )


def _dropped(study: Definition) -> str:
    if not (study.halving or study.extrapolate):
        return "none here, where every trial has its chance"
    which = {
        "at each doubling of the steps the worse half of those left": study.halving,
        "trials whose curve would have missed the leader": study.extrapolate,
    }
    those = ", and ".join(words for words, on in which.items() if on)
    return f"{those}; so the best trial here may not be the one that would have won"


def _in_generations(study: Definition) -> str:
    if not study.generation:
        return ""
    sampled = " sampled from what those before them have shown," if study.adaptive else ""
    return f" They do so {study.generation} at a time,{sampled} up to the best so far."


def _beyond(study: Definition) -> str:
    warm = (
        " Where a neighbouring batch size had a winner, the first trials started at it: their user "
        "attribute `origin` says so."
        if study.warm_start
        else ""
    )
    if not study.continuing:
        return warm
    those = "The first" if study.continuing == 1 else f"The first {study.continuing}"
    return f" {those} to pass the goal trained on to the step budget.{warm}"


def _plain(text: str) -> str:
    """Text that Markdown takes as it stands: every mark that could mean something is escaped."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    """Text in code font, within more backticks than it holds in a row."""
    text = " ".join(text.split())
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    room = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{room}{text}{room}{fence}"
