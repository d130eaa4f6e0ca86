"""The JSON Schemas in docs/schemas, of the types that commands print: python -m tests.docs.schemas

Those of `frontier` and `curve` are written by hand, and the parts that others share are taken from
them; the others are made here, of the fields and docstrings of what is printed.
"""

import dataclasses
import inspect
import json
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from batchfront.advice.advise import LeftOut
from batchfront.advice.noise_scale import NoiseScale, Probe
from batchfront.advice.options import AdviceOptions
from batchfront.advice.timings import Timing
from batchfront.cli.notification import Event
from batchfront.doctor.finding import Finding
from batchfront.frontier.analysis.budget import Budgets
from batchfront.frontier.analysis.compare import Comparison
from batchfront.frontier.analysis.effect import Effect
from batchfront.frontier.analysis.feasibility import Outcomes
from batchfront.frontier.analysis.other_goals import GoalPoint, Goals
from batchfront.frontier.analysis.scaling_rules import Rules
from batchfront.ledger.status import Failure, Status, StudyStatus
from batchfront.ledger.time_profile import Profile
from batchfront.outcomes import Reading
from batchfront.phase_timer import Part
from tests.schemas import file_of

Schema = dict[str, Any]

INTEGER, NUMBER, TEXT, BOOLEAN = ({"type": n} for n in ("integer", "number", "string", "boolean"))
BATCH_SIZE: Schema = {"type": "integer", "minimum": 1, "description": "Examples of a step."}
TEXTS: Schema = {"type": "array", "items": TEXT}
VALUE: Schema = {"type": ["number", "string", "boolean"]}
ANYTHING: Schema = {"type": "object"}
_JSON = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}


def maybe(schema: Schema) -> Schema:
    """The same, or null."""
    if "type" in schema and "enum" not in schema and not isinstance(schema["type"], list):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def listed(schema: Schema) -> Schema:
    """So many of it."""
    return {"type": "array", "items": schema}


def by_name(schema: Schema) -> Schema:
    """One for each of some names."""
    return {"type": "object", "additionalProperties": schema}


def record(fields: Mapping[str, Schema], optional: Sequence[str] = (), about: str = "") -> Schema:
    """An object of these fields and no other."""
    return {
        **({"description": about} if about else {}),
        "type": "object",
        "properties": dict(fields),
        "required": [name for name in fields if name not in optional],
        "additionalProperties": False,
    }


def said(text: str, schema: Schema) -> Schema:
    """The same with words on what it is."""
    return {"description": text, **schema}


def of(kind: Any) -> Schema:
    """Values of a Python type, as `asdict` and JSON make them."""
    if kind is Any:
        return {}
    if kind in _JSON:
        return {"type": _JSON[kind]}
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (Union, types.UnionType):
        return _any_of([of(one) for one in inner])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return by_name(of(inner[1]))
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return listed(of(inner[0]))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [one.value for one in kind]}
    return record(fields_of(kind), about=_first_line(kind))


def _any_of(schemas: list[Schema]) -> Schema:
    if all([*one] == ["type"] for one in schemas):
        names = dict.fromkeys(one["type"] for one in schemas)
        return {"type": [n for n in names if n != "integer" or "number" not in names]}
    return {"anyOf": schemas}


def fields_of(kind: Any, *without: str) -> dict[str, Schema]:
    """The fields of a dataclass or a named tuple, described as its docstring describes them."""
    types_ = get_type_hints(kind)
    names = (
        [field.name for field in dataclasses.fields(kind)]
        if dataclasses.is_dataclass(kind)
        else kind._fields
    )
    words = dict(_described(kind))
    fields = {name: of(types_[name]) for name in names if name not in without}
    return {
        name: said(words[name], schema) if name in words else schema
        for name, schema in fields.items()
    }


def _described(kind: Any) -> Iterator[tuple[str, str]]:
    text = inspect.getdoc(kind) or ""
    for entry in re.split(r"\n(?=[a-z_]+(?:, [a-z_]+)* +-- )", text.split("\n\n", 1)[-1]):
        found = re.fullmatch(r"([a-z_]+(?:, [a-z_]+)*) +-- (.*?)(\n\n.*)?", entry, re.DOTALL)
        if found:
            for name in found[1].split(", "):
                yield name, " ".join(found[2].split())


def _first_line(kind: Any) -> str:
    return " ".join((inspect.getdoc(kind) or "").split("\n\n", 1)[0].split())


@cache
def _shared() -> dict[str, Schema]:
    found: Schema = json.loads(file_of("curve").read_text())["$defs"]
    return found


def shared(name: str) -> Schema:
    """A part that stands in the schema of a curve."""
    return _shared()[name]


def _status() -> Schema:
    left = {"seconds_left": maybe(NUMBER), "seconds_left_at_most": maybe(NUMBER)}
    return record(
        {
            **fields_of(Status),
            "studies": listed(record({**fields_of(StudyStatus), **left})),
            "failures": listed(record(fields_of(Failure, "shows_log"))),
            "left_out": said(
                "Studies that can't be read.", listed(record({"study": TEXT, "why": TEXT}))
            ),
            **left,
            "profile": said(
                "With --profile.",
                record(
                    {
                        **fields_of(Profile),
                        "seconds": record(dict.fromkeys(get_args(Part), NUMBER), get_args(Part)),
                        "advice": TEXTS,
                    }
                ),
            ),
        },
        ("profile",),
    )


def _interval() -> Schema:
    return record(dict.fromkeys(("median", "low", "high"), NUMBER))


_LAYOUT = record(
    dict.fromkeys(("devices", "per_device_batch", "micro_batch", "accumulation"), INTEGER),
    about="How a batch is shared out.",
)

_PARAMS = by_name(VALUE)

_RERUN = {
    "params": _PARAMS,
    "steps": said("Of the seeds that reached the goal, ascending.", listed(NUMBER)),
    **dict.fromkeys(("unreached", "failed", "open"), INTEGER),
    "median": maybe(NUMBER),
    "low": maybe(NUMBER),
    "high": maybe(NUMBER),
}
_CONFIRMED = {"trial": INTEGER, "best": NUMBER, **_RERUN, "ratio": maybe(NUMBER)}


def _recipe() -> dict[str, Schema]:
    source = {"batch_size": BATCH_SIZE, "trial": INTEGER, "metaparameters": _PARAMS}
    return {
        "workload": TEXT,
        "batch_size": BATCH_SIZE,
        "derived": {"enum": ["measured", "recommended", "interpolated", "nearest"]},
        "from": listed(record(source)),
        "metaparameters": _PARAMS,
        "goal": shared("goal"),
        "steps": NUMBER,
        "steps_low": maybe(NUMBER),
        "steps_high": NUMBER,
        "value": said("The goal's metric where the winner passed it.", maybe(NUMBER)),
        "seed": maybe(INTEGER),
        "rerun": said("The same metaparameters with fresh seeds.", maybe(record(_CONFIRMED))),
        "recommended": maybe(shared("expected")["properties"]["points"]["items"]),
        "layout": maybe(_LAYOUT),
        **_DEFINED,
        "versions": by_name(TEXT),
        "reproduce": said("The command that runs it again.", maybe(TEXT)),
        "notes": TEXTS,
        "computed_in_micro_batches_of": maybe(INTEGER),
    }


_DEFINED: dict[str, Schema] = {
    **{name: {} for name in ("algorithm", "schedule", "loss", "update", "clip_norm", "average")},
    **{"precision": TEXT, "env": by_name(TEXT), "data": {}, "command": TEXT},
}
_NOT_ALWAYS = (*_DEFINED, "computed_in_micro_batches_of")


def _advise() -> Schema:
    recipe = {
        name: schema
        for name, schema in _recipe().items()
        if name
        not in ("workload", "batch_size", "goal", "steps", "steps_low", "steps_high", "layout")
    }
    choice = record(
        {
            "devices": INTEGER,
            "machine": maybe(TEXT),
            "nodes": INTEGER,
            "batch_size": BATCH_SIZE,
            "layout": _LAYOUT,
            **dict.fromkeys(("steps", "seconds_per_step", "hours", "device_hours"), _interval()),
            "cost": maybe(_interval()),
            "evaluations": maybe(INTEGER),
            "evaluation_hours": maybe(NUMBER),
            "repeated_hours": NUMBER,
            "measured": BOOLEAN,
            "notes": TEXTS,
            "recipe": maybe(record(recipe, _NOT_ALWAYS)),
            "why_no_recipe": maybe(TEXT),
        }
    )
    answers = ("fastest", "cheapest", "knee", "by_deadline", "within_budget")
    ref = {"$ref": "#/$defs/choice"}
    return record(
        {
            "answer": said("In a sentence.", TEXT),
            "recommended": said("Which of the answers to act on.", {"enum": list(answers)}),
            "workload": TEXT,
            "goal": shared("goal"),
            "device": TEXT,
            "options": record(fields_of(AdviceOptions)),
            **dict.fromkeys(answers, maybe(ref)),
            "why_not": said("Why an answer is null, by its name.", by_name(TEXT)),
            "choices": listed(ref),
            "pareto": listed(ref),
            "left_out": listed(of(LeftOut)),
            "notes": TEXTS,
        }
    ) | {"$defs": {"choice": choice}}


def _outline() -> Schema:
    return record(
        {
            "name": TEXT,
            "description": TEXT,
            "goal": record(
                {
                    "metric": TEXT,
                    "better": {"enum": ["lower", "higher"]},
                    "value": NUMBER,
                    **{"text": TEXT, "low": NUMBER, "high": NUMBER},
                },
                ("text", "low", "high"),
            ),
            **{part: {} for part in _PARTS},
            "search_space": said(
                "By metaparameter; or by batch size, where they differ.", ANYTHING
            ),
            "batch_sizes": listed(BATCH_SIZE),
            "step_budget": said("By batch size.", by_name(INTEGER)),
            "stopping": ANYTHING,
            "train_examples": INTEGER,
        },
        (*_PARTS, "train_examples"),
    )


_PARTS = ("algorithm", "schedule", "grid", "command", "output", "env", "cwd", "resume")


def _probe() -> Schema:
    number = maybe(NUMBER)
    rates = record({"low": NUMBER, "high": NUMBER})
    return record(
        {
            **fields_of(Probe),
            "params": _PARAMS,
            "readings": listed(record(fields_of(Reading))),
            "noise_scale": record({**fields_of(NoiseScale), "low": number, "high": number}),
            "predicted": maybe(record(dict.fromkeys(("median", "low", "high"), number))),
            "measured": maybe(shared("estimate")),
            "passed": BOOLEAN,
            "ended": TEXT,
            "examples": INTEGER,
            "extra_examples": INTEGER,
            "range_test": maybe(
                record({"lowest": NUMBER, "diverged": number, "learning_rate": rates})
            ),
            "batch_sizes": listed(BATCH_SIZE),
            "notes": TEXTS,
        }
    )


def _time() -> Schema:
    timing = record(fields_of(Timing, "workload", "versions", "measured_at"))
    return record({"workload": TEXT, "device": TEXT, "timings": listed(timing), "notes": TEXTS})


def _confirmed(points: Schema, **more: Schema) -> Schema:
    return record({"workload": TEXT, "goal": shared("goal"), **more, "points": listed(points)})


def _confirm() -> Schema:
    point = {"batch_size": BATCH_SIZE, "smallest_median": maybe(INTEGER)}
    return _confirmed(record({**point, "candidates": listed(record(_CONFIRMED))}))


def _confirm_recommended() -> Schema:
    expected = dict.fromkeys(("expected", "expected_low", "expected_high"), NUMBER)
    point = {"batch_size": BATCH_SIZE, **expected, **_CONFIRMED, "as_expected": maybe(BOOLEAN)}
    return _confirmed(record(point))


def _confirm_rule() -> Schema:
    fields = {
        "batch_size": BATCH_SIZE,
        "tuned": maybe(NUMBER),
        "tuned_median": maybe(NUMBER),
        "trial": INTEGER,
        "clipped": TEXTS,
        **_RERUN,
        "ratio": maybe(NUMBER),
    }
    point = record(fields) | {"additionalProperties": said("What the rule scales.", VALUE)}
    others = listed(record({"rule": TEXT, "points": listed(point)}))
    whole = _confirmed(point, rule=TEXT, source=TEXT)
    return record({**whole["properties"], "others": others})


def _curve_goals() -> Schema:
    whole = json.loads(file_of("curve").read_text())["items"]
    left = {
        name: schema
        for name, schema in whole["properties"].items()
        if name not in ("recommendation", "not_reached", "points")
    }
    fields = {**left, "own": said("Whether it is the goal that was searched for.", BOOLEAN)}
    one = record({**fields, "points": listed(of(GoalPoint))})
    return listed(one) | {"$defs": {k: v for k, v in _shared().items() if k != "spent"}}


def _notify() -> Schema:
    study = {
        **{"batch_size": BATCH_SIZE, "name": TEXT, "total": INTEGER, "done": INTEGER},
        **{"metric": TEXT, "goal": maybe(NUMBER), "now": maybe(NUMBER)},
        **{"steps_to_target": maybe(INTEGER), "outcomes": by_name(INTEGER)},
    }
    return record(
        {
            "event": of(Event),
            "text": said("All of it in a line, as chat services take it.", TEXT),
            **{"workload": TEXT, "host": TEXT, "report": TEXT, "seconds": NUMBER},
            "trials": INTEGER,
            "trials_done": INTEGER,
            "batch_sizes": listed(record(study)),
        },
        ("trials", "trials_done"),
        "`trials` and `trials_done` are missing where the database can't be asked.",
    )


def _log() -> Schema:
    levels = ["debug", "info", "warning", "error", "critical"]
    told = {"time": TEXT, "level": {"enum": levels}, "worker": TEXT, "study": TEXT}
    known = ("worker", "study", "trial", "exception")
    return record({**told, "trial": INTEGER, "message": TEXT, "exception": TEXT}, known)


MADE: dict[str, Callable[[], Schema]] = {
    "status": _status,
    "advise": _advise,
    "recipe": lambda: record(_recipe(), _NOT_ALWAYS),
    "time": _time,
    "probe": _probe,
    "confirm": _confirm,
    "confirm-recommended": _confirm_recommended,
    "confirm-rule": _confirm_rule,
    "curve-goal": _curve_goals,
    "analyze-compare": lambda: of(Comparison),
    "analyze-rules": lambda: of(Rules),
    "analyze-outcomes": lambda: listed(of(Outcomes)),
    "analyze-budget": lambda: of(Budgets),
    "analyze-effect": lambda: listed(of(Effect)),
    "analyze-goals": lambda: of(Goals),
    "workloads": lambda: listed(_outline()),
    "workloads-show": _outline,
    "doctor": lambda: listed(of(Finding)),
    "notify": _notify,
    "log": _log,
}


_OTHERS = {"notify": "what run --notify tells", "log": "a line of --log-format json"}


def text(name: str) -> str:
    """A schema as its file has it."""
    words = _OTHERS.get(name, f"{name} --format json")
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"batchfront:{name}:1",
        "title": f"batchfront: {words}, version 1",
        **MADE[name](),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name in MADE:
        file_of(name).write_text(text(name))
