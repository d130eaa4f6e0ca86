"""What commands print as JSON, held against docs/schemas."""

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

_FOLDER = Path(__file__).parents[1] / "docs" / "schemas"

_FORMS = {"curve": ("goal",), "confirm": ("recommended", "rule")}
"""Options with which a command prints something else."""


def file_of(name: str) -> Path:
    """The file of a schema, in its newest version."""
    return _FOLDER / f"{name}-1.json"


def names() -> set[str]:
    """The schemas that there are."""
    return {file.stem.removesuffix("-1") for file in _FOLDER.iterdir()}


@cache
def _schema(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads(file_of(name).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def hold(name: str, printed: Any) -> None:
    """Raise if something isn't as its schema says."""
    _schema(name).validate(printed)


def printed_by(arguments: Sequence[str]) -> str | None:
    """The schema of what a command line prints; None where that is no JSON."""
    if not re.search(r"--format[ =]json\b", " ".join(arguments)):
        return None
    name = "frontier" if arguments[0] == "run" else arguments[0]
    if name in ("analyze", "workloads") and not arguments[1].startswith("-"):
        name += f"-{arguments[1]}"
    told = {word.split("=")[0] for word in arguments}
    return "-".join([name, *(form for form in _FORMS.get(name, ()) if f"--{form}" in told)])
