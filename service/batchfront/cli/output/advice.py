"""An advice on standard output: the answer, what it was chosen from, and how to train so."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from batchfront.advice.advise import Advice
from batchfront.advice.choices import Choice
from batchfront.advice.intervals import Interval
from batchfront.advice.tables import answers_table, devices_table
from batchfront.advice.text import ends, headline, launched, recommended, set_for, shared_out
from batchfront.cli.output.tables import AS_RECORDS, Output, print_output, warn_of_mixed_code
from batchfront.errors import UsageError
from batchfront.frontier.curve.text import number
from batchfront.frontier.expected_table import fitted_to
from batchfront.frontier.recipe import Recipe, curve_recipe, recipe_facts
from batchfront.frontier.reruns import Confirmations
from batchfront.table import Column, Table, of_facts
from batchfront.workload.search_space import value_text

_OF_CHOICE = ("workload", "batch_size", "goal", "steps", "steps_low", "steps_high", "layout")
"""What an advice says already: the steps of a run, where a recipe has those of its trial."""


@dataclass(frozen=True)
class Advised:
    """An advice with the recipes of its choices.

    reruns -- of trials that were run again
    """

    advice: Advice
    reruns: Confirmations

    @cached_property
    def recipes(self) -> dict[Choice, Recipe | str]:
        """By choice, or why there is none, as a clause."""
        return {choice: self._recipe(choice) for choice in self.advice.choices}

    def _recipe(self, choice: Choice) -> Recipe | str:
        frontier = self.advice.frontier
        try:
            found = curve_recipe(frontier, choice.batch_size, choice.layout, self.reruns)
        except UsageError as error:
            return str(error)
        return found if found.metaparameters else "none came with these steps, or there are none"

    @property
    def recommended(self) -> Choice:
        """The choice to act on."""
        choice = self.advice.answers[recommended(self.advice)]
        assert choice is not None
        return choice

    @property
    def known(self) -> dict[Choice, Recipe]:
        """Those that there are."""
        return {c: recipe for c, recipe in self.recipes.items() if isinstance(recipe, Recipe)}

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data: the advice, its answer in a sentence, and in each choice its
        recipe, or why there is none."""
        plain = self.advice.to_dict()
        for name, found in self.advice.answers.items():
            plain[name] = found and self._with_recipe(found)
        for name in ("choices", "pareto"):
            plain[name] = [self._with_recipe(one) for one in getattr(self.advice, name)]
        return {"answer": headline(self.advice), "recommended": recommended(self.advice), **plain}

    def _with_recipe(self, choice: Choice) -> dict[str, Any]:
        found = self.recipes[choice]
        if isinstance(found, str):
            return {**choice.to_dict(), "recipe": None, "why_no_recipe": found}
        recipe = {name: told for name, told in found.to_dict().items() if name not in _OF_CHOICE}
        return {**choice.to_dict(), "recipe": recipe, "why_no_recipe": None}


def print_advice(advice: Advice, reruns: Confirmations, format_: str) -> None:
    """Print as tables, JSON, or CSV with a row for each number of devices."""
    advised = Advised(advice, reruns)
    if format_ in AS_RECORDS:
        warn_of_mixed_code(advice.frontier)
    tables = list(_tables(advised)) * (format_ == "table")
    plain = advised.to_dict() if format_ == "json" else None
    print_output(Output(tables, _records(advised), plain), format_)


def _tables(advised: Advised) -> Iterator[Table]:
    advice = advised.advice
    title = f"{advice.frontier.workload}: hours and money, {advice.frontier.goal_text}"
    yield Table(title=title, notes=[headline(advice)])
    known = {choice: recipe.metaparameters for choice, recipe in advised.known.items()}
    yield answers_table(advice, known, value_text)
    yield devices_table(advice)
    yield from _how_to_train(advised)


def _how_to_train(advised: Advised) -> Iterator[Table]:
    """The recipe of the recommended choice, exactly, and what all of it was derived from."""
    choice = advised.recommended
    title = f"How to train with batch size {choice.batch_size:,}"
    found = advised.recipes[choice]
    goal = {"goal": advised.advice.frontier.goal_text}
    known = goal if isinstance(found, str) else recipe_facts(found)
    steps = f"about {number(choice.steps.median)} (90 % interval {ends(choice.steps, number)})"
    facts = {
        **known,
        "steps": steps,
        "batch": shared_out(choice),
        "launch": launched(choice),
        "settings": set_for(choice),
    }
    yield of_facts(facts, title)
    if isinstance(found, Recipe):
        # As they are: they are there to be copied.
        rows = [(name, repr(value)) for name, value in found.metaparameters.items()]
        columns = Column("metaparameter", words=True), Column("value", words=True, whole=True)
        yield Table(columns, rows)
    derived = dict.fromkeys(_derived(advised, found))
    yield Table(title="How this was derived", notes=list(derived))


def _derived(advised: Advised, found: Recipe | str) -> Iterator[str]:
    """What the answer comes of, from the steps to the metaparameters."""
    advice, choice = advised.advice, advised.recommended
    evaluations = "" if choice.evaluation_hours is None else ", and what evaluations add"
    yield (
        f"Hours are steps times seconds a step{evaluations}; seconds a step are by what was timed "
        f"on {advice.device}."
    )
    through = fitted_to(advice.frontier)
    yield from filter(None, [through, *advice.notes])
    if isinstance(found, str):
        yield f"There are no metaparameters to train with: {found}."
        return
    trial = found.sources[0]
    if found.measured and trial.point.measured_elsewhere:
        yield (
            f"The metaparameters are those given with the steps at batch size {trial.batch_size:,}."
        )
    elif found.measured:
        yield (
            f"The metaparameters are those of trial {trial.number}, the {trial.what} at batch size "
            f"{trial.batch_size:,}."
        )
    yield from found.notes


def _records(advised: Advised) -> Table:
    """A row for each number of devices, also for those that nothing can be said of, and why."""
    advice = advised.advice
    names = sorted({name for recipe in advised.known.values() for name in recipe.metaparameters})
    records = [_record(advised, choice, names) for choice in advice.choices]
    left = [
        {"machine": one.machine, "devices": one.devices, "left_out": one.reason}
        for one in advice.left_out
    ]
    titles = ("workload", "device", *records[0], "left_out")
    told = {"workload": advice.frontier.workload, "device": advice.device}
    rows = [[{**told, **one}.get(title) for title in titles] for one in (*records, *left)]
    return Table(tuple(map(Column, titles)), rows)


def _record(advised: Advised, choice: Choice, names: Sequence[str]) -> dict[str, Any]:
    advice, recipe = advised.advice, advised.known.get(choice)
    values = {} if recipe is None else recipe.metaparameters
    answers = [name for name, answer in advice.answers.items() if answer == choice]
    return {
        "machine": choice.machine,
        "nodes": choice.nodes,
        "devices": choice.devices,
        "batch_size": choice.batch_size,
        "per_device_batch": choice.layout.per_device,
        "micro_batch": choice.layout.micro_batch,
        "accumulation": choice.layout.accumulation,
        **_ends("steps", choice.steps),
        **_ends("seconds_per_step", choice.seconds_per_step),
        **_ends("hours", choice.hours),
        **_ends("device_hours", choice.device_hours),
        **_ends("cost", choice.cost),
        "evaluations": choice.evaluations,
        "evaluation_hours": choice.evaluation_hours,
        "repeated_hours": choice.repeated_hours,
        "measured": choice.measured,
        "answers": " ".join(answers),
        "recommended": choice == advised.recommended,
        "pareto": choice in advice.pareto,
        "metaparameters": None if recipe is None else recipe.derived,
        **{f"param:{name}": values.get(name) for name in names},
        "notes": " ".join(choice.notes),
    }


def _ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    ends = (None,) * 3 if interval is None else (interval.median, interval.low, interval.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
