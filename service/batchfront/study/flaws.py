"""What can't be right in a stored study: words that nobody writes, numbers that can't be, and text
that isn't what it should be.

Databases are shared. What stands in one may come from an import, from somebody's own SQL, or from a
disk that fails, and one study that can't be read must not take all others with it.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from math import inf
from typing import Any

from sqlalchemy import ColumnElement, Connection, Text, and_, case, cast, func, not_, or_, select

from batchfront.errors import SearchSpaceError
from batchfront.store.bulk import fetch_columns
from batchfront.store.optuna_tables import has_trial
from batchfront.store.schema import measurements, slots, studies
from batchfront.vocabulary import Count, Outcome, Purpose, Sampler, Schedule, SlotState
from batchfront.workload.search_space import (
    Choice,
    Dimension,
    Integer,
    Log,
    ReverseLog,
    SearchSpace,
    Value,
    dimensions,
    restore_space,
)

_WHOLE = 2**31 - 1
"""As much as an integer column of PostgreSQL holds."""

_LARGE = 2**63 - 1

_FINITE = 1.7e308

_SECONDS = 1e13
"""Some 300,000 years."""

_KINDS = (None, "program", "loop")

_WORDS: Mapping[str, Collection[str]] = {
    "schedule": tuple(Schedule),
    "sampler": tuple(Sampler),
    "count": tuple(Count),
    "purpose": tuple(Purpose),
}

_NUMBERS: Mapping[str, tuple[int, int]] = {
    "batch_size": (1, _WHOLE),
    "seed": (-_LARGE - 1, _LARGE),
    "trials": (0, _WHOLE),
    "finishers": (0, _WHOLE),
    "continuing": (0, _WHOLE),
    "train_examples": (0, _LARGE),
}

_TRIAL_NUMBERS: Mapping[str, tuple[float, float]] = {
    "number": (0, _WHOLE),
    "steps": (0, _WHOLE),
    "steps_to_target": (1, _WHOLE),
    "steps_lower": (0, _WHOLE),
    "metric": (-_FINITE, _FINITE),
    "training_seconds": (0, _SECONDS),
    "evaluation_seconds": (0, _SECONDS),
    "evaluated_examples": (0, _LARGE),
    "repeats": (0, _WHOLE),
    "round": (0, _WHOLE),
    "micro_batch": (1, _WHOLE),
    "started_at": (0, _SECONDS),
    "finished_at": (0, _SECONDS),
}
"""Columns of `bf_slots` to the least and the largest number that each can hold, if it isn't
empty."""


class Flaw(ValueError):
    """What is wrong, in words."""


def check_study(columns: Mapping[str, Any]) -> SearchSpace:
    """Raise Flaw for a study, by its columns in `bf_studies`, in which something can't be right.

    Returns its search space, as wide as it is now.
    """
    for name in ("name", "workload", "spec"):
        if not isinstance(columns[name], str) or (name != "spec" and not columns[name]):
            raise Flaw(f"its {name} is {_short(columns[name])}")
    for name, words in _WORDS.items():
        if columns[name] not in words:
            raise Flaw(f"its {name} is {_short(columns[name])}, not {', '.join(words)}")
    for name, (low, high) in _NUMBERS.items():
        if not _is_whole(columns[name], low, high):
            raise Flaw(f"its {_said(name)} is {_short(columns[name])}")
    if columns["goal_value"] is not None and not _is_finite(columns["goal_value"]):
        raise Flaw(f"its goal is {_short(columns['goal_value'])}")
    most, until = columns.get("max_trials"), columns.get("until")
    if most is not None and not _is_whole(most, 1):
        raise Flaw(f"its max_trials is {_short(most)}")
    if (until is None) != (most is None) or (until is not None and not _is_finite(until)):
        raise Flaw(f"its until is {_short(until)}")
    checksums = _json(columns.get("checksums") or "null", "its code's checksums")
    if not (checksums is None or _is_code(checksums)):
        raise Flaw(f"its code's checksums are {_short(checksums)}")
    identity = _object(columns["identity"], "its identity")
    least = 0 if columns["sampler"] == Sampler.IMPORTED else 1  # 0: trials had a time budget
    if columns["purpose"] != Purpose.POINTS and not _is_whole(identity.get("step_budget"), least):
        raise Flaw(f"its identity's step_budget is {_short(identity.get('step_budget'))}")
    if identity.get("batch_size") != columns["batch_size"]:
        raise Flaw(
            f"its identity is of batch size {_short(identity.get('batch_size'))}, "
            f"not {columns['batch_size']}"
        )
    _check_goal(identity.get("goal"))
    _check_search(identity)
    space = _space(identity.get("search_space"))
    for extension in _extensions(columns["extensions"]):
        space = _space(extension["space"])
    return space


def _check_goal(goal: Any) -> None:
    if not isinstance(goal, Mapping):
        raise Flaw("its identity has no goal")
    if not isinstance(goal.get("metric"), str):
        raise Flaw(f"its goal's metric is {_short(goal.get('metric'))}")
    if goal.get("better") not in ("lower", "higher"):
        raise Flaw(f"its goal's better is {_short(goal.get('better'))}, not lower or higher")
    stated = isinstance(goal.get("text"), str)
    if not (stated or "text" not in goal):
        raise Flaw(f"its goal's text is {_short(goal['text'])}")
    if not (_is_finite(goal.get("value")) or (stated and goal.get("value") is None)):
        raise Flaw(f"its goal's value is {_short(goal.get('value'))}")


def _check_search(identity: Mapping[str, Any]) -> None:
    """What its identity says of the search, of who trains, and of the code."""
    if identity.get("kind") not in _KINDS:
        raise Flaw(f"its identity's kind is {_short(identity['kind'])}")
    if not isinstance(identity.get("variant"), str | None):
        raise Flaw(f"its identity's variant is {_short(identity['variant'])}")
    search = identity.get("search", {})
    if not isinstance(search, Mapping):
        raise Flaw(f"its identity's search is {_short(search)}")
    if not _is_whole(search.get("generation", 0), 0):
        raise Flaw(f"its identity's search has generations of {_short(search['generation'])}")
    code = identity.get("code", [])
    if not (isinstance(code, list) and all(map(_is_code, code))):
        raise Flaw(f"its identity's code is {_short(code)}")
    if identity.get("kind") == "program":
        _check_program(identity)


def _check_program(identity: Mapping[str, Any]) -> None:
    """What it says of the program, and of where evaluations are read from."""
    command, output = identity.get("command"), identity.get("output")
    if not (isinstance(command, list) and command and all(isinstance(w, str) for w in command)):
        raise Flaw(f"its identity's command is {_short(command)}")
    told: Mapping[str, Any] = output if isinstance(output, Mapping) else {}
    if "kind" not in told or (told["kind"] == "pattern" and "pattern" not in told):
        raise Flaw(f"its identity's output is {_short(output)}")


def _is_code(version: Any) -> bool:
    return isinstance(version, Mapping) and all(isinstance(one, str) for one in version.values())


def _extensions(text: Any) -> Sequence[Mapping[str, Any]]:
    extensions = _json(text, "its extensions") if text else []
    if not isinstance(extensions, list):
        raise Flaw(f"its extensions are {_short(extensions)}")
    for one in extensions:
        numbers = isinstance(one, Mapping) and (one.get("first"), one.get("outside"))
        if not (numbers and "space" in one and all(_is_whole(number, 0) for number in numbers)):
            raise Flaw(f"its extensions have {_short(one)}")
    return extensions


def _space(described: Any) -> SearchSpace:
    if not isinstance(described, Mapping):
        raise Flaw(f"its search space is {_short(described)}")
    try:
        space = restore_space(described)
        unlike = [name for name, entry in space.items() if not _can_be(entry)]
    except SearchSpaceError as error:
        raise Flaw(f"its search space has {error}") from None
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        raise Flaw(f"its search space is {_short(described)}") from None
    for name in unlike:
        raise Flaw(f"its search space has {name} = {_short(described[name])}")
    return space


def _can_be(entry: Dimension | Value) -> bool:
    if isinstance(entry, Choice):
        return all(map(_can_be_said, entry.values))
    if isinstance(entry, Dimension):
        return all(_is_finite(entry.at(end)) for end in (0.0, 1.0))
    return _can_be_said(entry)


class Params:
    """What the metaparameters of a study's trials can be."""

    def __init__(self, space: SearchSpace) -> None:
        self._searched = dimensions(space)
        self._ends = {name: _ends(one) for name, one in self._searched.items()}

    def flaw(self, text: Any, *, is_done: bool) -> str | None:
        """What can't be right in those of a trial, as they are stored; None if nothing. Of one that
        is to run, all have to be there."""
        try:
            params = _object(text, "its metaparameters")
        except Flaw as flaw:
            return str(flaw)
        for name, value in params.items():
            ends = self._ends.get(name)
            if ends is None:
                wrong = not (_can_be_said(value) and self._is_chosen(name, value))
            else:
                wrong = type(value) not in (int, float) or not ends[0] < value < ends[1]
            if wrong:
                return f"its {name} is {_short(value)}"
        missing = () if is_done else self._searched.keys() - params.keys()
        return f"it has no {min(missing)}" if missing else None

    def _is_chosen(self, name: str, value: Any) -> bool:
        entry = self._searched.get(name)
        return not isinstance(entry, Choice) or value in entry.values


def _ends(dimension: Dimension) -> tuple[float, float] | None:
    """Between what, on its scale, a value can lie, also of a trial from a wider space; None of a
    choice."""
    if isinstance(dimension, Choice):
        return None
    on_log = isinstance(dimension, Log) or (isinstance(dimension, Integer) and dimension.log)
    return 0 if on_log else -_FINITE, 1 if isinstance(dimension, ReverseLog) else _FINITE


def versions_flaw(text: Any) -> str | None:
    """What can't be right in what a trial ran on, as it is stored; None if nothing."""
    if text is None:
        return None
    try:
        versions = _object(text, "its versions")
    except Flaw as flaw:
        return str(flaw)
    wrong = (name for name, one in versions.items() if not isinstance(one, str | int | float))
    return next((f"its version of {name} is {_short(versions[name])}" for name in wrong), None)


def trial_flaw(columns: Mapping[str, Any], space: SearchSpace) -> str | None:
    """What can't be right in a trial, by its columns in `bf_slots`; None if nothing."""
    for name, (low, high) in _TRIAL_NUMBERS.items():
        value = columns[name]
        if value is not None and not (_is_number(value) and low <= value <= high):
            return f"{name}: {_short(value)} must be from {low} to {high}"
    for name, words in (("state", SlotState), ("outcome", Outcome)):
        if columns[name] is not None and columns[name] not in tuple(words):
            return f"{name}: {_short(columns[name])} must be one of {', '.join(words)}"
    is_done, outcome = columns["state"] == SlotState.DONE, columns["outcome"]
    to_target, lower = columns["steps_to_target"], columns["steps_lower"]
    if is_done != (outcome is not None):
        return f"outcome: {_short(outcome)} of a trial that is {columns['state']}"
    if outcome == Outcome.REACHED and to_target is None:
        return "steps_to_target: is empty, of a trial that has reached the goal"
    if None not in (to_target, lower) and lower > to_target:
        return f"steps_lower: {lower} lies beyond steps_to_target, {to_target}"
    params = columns["params"]
    if params is not None and (wrong := Params(space).flaw(params, is_done=is_done)) is not None:
        return f"params: {wrong}"
    if (wrong := versions_flaw(columns["versions"])) is not None:
        return f"versions: {wrong}"
    return None


def trial_flaws(
    conn: Connection, spaces: Mapping[int, SearchSpace]
) -> Iterator[tuple[int, str, str]]:
    """The trials of studies in which something can't be right: study, number and what, in words.

    spaces -- id of each study that is asked about to its search space, as wide as it is now
    """
    ids, known = list(spaces), {id_: Params(space) for id_, space in spaces.items()}
    for at in range(0, len(ids), _IN_A_QUERY):
        some = ids[at : at + _IN_A_QUERY]
        mine = slots.c.study_id.in_(some)
        flaw = case(*_flaws(), else_=None).label("flaw")
        found = select(slots.c.study_id, _NUMBER, flaw).where(mine, flaw.is_not(None))
        for study_id, number, said in conn.execute(found.order_by(slots.c.study_id, _NUMBER)):
            yield study_id, number, said
        names = ("study_id", "number", "params", "state")
        for study_id, number, text, state in fetch_columns(conn, slots, names, "study_id", some):
            if text is None:
                continue
            if said := known[study_id].flaw(text, is_done=state == SlotState.DONE):
                yield study_id, str(number), said
        # Most trials of a study ran on the same.
        ran_on = select(slots.c.study_id, func.min(_NUMBER), slots.c.versions)
        ran_on = ran_on.where(mine, slots.c.versions.is_not(None))
        for study_id, number, text in conn.execute(
            ran_on.group_by(slots.c.study_id, slots.c.versions)
        ):
            if said := versions_flaw(text):
                yield study_id, number, said


def curve_flaws(conn: Connection, wanted: ColumnElement[bool]) -> Iterator[tuple[int, str]]:
    """The studies of which some measurement can't be right: id and what, in words.

    wanted -- which are asked about: a condition on `bf_studies`, as each of theirs is read
    """
    step, value = measurements.c.step, measurements.c.value
    flawed = or_(not_(step.between(0, _WHOLE)), not_(is_measurable))
    measured = measurements.join(slots, measurements.c.slot_id == slots.c.id).join(studies)
    columns = (slots.c.study_id, _NUMBER, cast(step, Text), cast(value, Text))
    query = select(*columns).select_from(measured).where(wanted, flawed)
    for study_id, number, at, found in conn.execute(query.order_by(slots.c.study_id, _NUMBER)):
        yield study_id, f"trial {number} was measured as {_short(found)} at step {at}"


_has_trial = has_trial(slots.c.trial_id, slots.c.study_id)

is_measurable = measurements.c.value.between(-_FINITE, _FINITE)
"""The condition on a measurement that its value is a finite number; of text it doesn't hold."""

_NUMBER = cast(slots.c.number, Text)

_IN_A_QUERY = 50  # studies


def _flaws() -> list[tuple[ColumnElement[bool], Any]]:
    """Conditions on a slot that can't be, each with what it says."""
    found: list[tuple[ColumnElement[bool], Any]] = []
    for name, (low, high) in _TRIAL_NUMBERS.items():
        column = slots.c[name]
        outside = or_(column < low, column > high)  # as all text is, of which SQLite takes any
        found.append((outside, f"its {_said(name)} is " + cast(column, Text)))
    for name, words in (("state", SlotState), ("outcome", Outcome)):
        column = slots.c[name]
        found.append((column.not_in(tuple(words)), f"its {name} is " + cast(column, Text)))
    is_done, to_target = slots.c.state == SlotState.DONE, slots.c.steps_to_target
    # One that is to run gets another.
    lost = and_(is_done, slots.c.trial_id.is_not(None), ~_has_trial)
    return [
        *found,
        (and_(is_done, slots.c.outcome.is_(None)), "it is done, without an outcome"),
        (and_(~is_done, slots.c.outcome.is_not(None)), "it has an outcome, and isn't done"),
        (
            and_(slots.c.outcome == Outcome.REACHED, to_target.is_(None)),
            "it has reached the goal after no number of steps",
        ),
        (slots.c.steps_lower > to_target, "it passed the goal before it had missed it"),
        (lost, "its Optuna trial is gone"),
    ]


def _object(text: Any, what: str) -> Mapping[str, Any]:
    found = _json(text, what)
    if not isinstance(found, Mapping):
        raise Flaw(f"{what} is {_short(found)}")
    return found


def _json(text: Any, what: str) -> Any:
    try:
        return json.loads(text)
    except (RecursionError, TypeError, ValueError):
        raise Flaw(f"{what} can't be read: {_short(text)}") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return _is_number(value) and abs(value) <= _FINITE


def _is_whole(value: Any, low: int, high: int = _WHOLE) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_value(value: Any) -> bool:
    """Whether it is a finite number, a text, or nothing: what a metaparameter has as a rule."""
    return value is None or isinstance(value, str | bool) or _is_finite(value)


def _can_be_said(value: Any) -> bool:
    """Whether a workload may say it, as a choice or as what is fixed: a limit to what gradients are
    clipped, of a trial that doesn't, is infinite."""
    return is_value(value) or value in (inf, -inf)


def _said(column: str) -> str:
    return column.replace("_", " ")


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:60]}…"
