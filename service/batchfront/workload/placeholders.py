"""Placeholders in a sweep file: `{learning_rate}` in a command, filled in for each trial."""

import re
from collections.abc import Iterator, Mapping, Sequence

from batchfront.errors import WorkloadError
from batchfront.phrases import nearest
from batchfront.workload.search_space import Value

BATCH_SIZE, PER_DEVICE, ACCUMULATION = "batch_size", "per_device_batch_size", "accumulation"
SEED, STEP_BUDGET, EPOCH_BUDGET = "seed", "step_budget", "epoch_budget"
TRIAL_DIR, DEVICE, CHECKPOINT, METAPARAMETERS = (
    "trial_dir",
    "device",
    "checkpoint",
    "metaparameters",
)

PLACEHOLDERS = (
    BATCH_SIZE,
    PER_DEVICE,
    ACCUMULATION,
    SEED,
    STEP_BUDGET,
    EPOCH_BUDGET,
    TRIAL_DIR,
    DEVICE,
    CHECKPOINT,
    METAPARAMETERS,
)
"""What a placeholder can stand for beside a metaparameter: see docs/sweep_file.md."""

_PIECE = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}]*)\}|[{}]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def is_name(text: str) -> bool:
    """Whether a placeholder can have this name."""
    return _NAME.fullmatch(text) is not None


def names_in(texts: Sequence[str]) -> set[str]:
    """The placeholders in these texts.

    Raises WorkloadError for a brace that belongs to none.
    """
    return {name for text in texts for literal, name in _pieces(text) if name is not None}


def filled(text: str, values: Mapping[str, Value]) -> str:
    """A text with its placeholders filled in, and `{{` and `}}` as the braces that they stand for.

    Raises WorkloadError, with the nearest there is, for a placeholder that nothing fills.
    """
    parts = []
    for literal, name in _pieces(text):
        parts.append(literal)
        if name is not None:
            if name not in values:
                raise unknown(text, name, values)
            parts.append(written(values[name]))
    return "".join(parts)


def unknown(text: str, name: str, known: Mapping[str, object] | Sequence[str]) -> WorkloadError:
    """The error of a placeholder that nothing fills, with what was perhaps meant."""
    if not is_name(name):
        return WorkloadError(
            f"{text!r}: {{{name}}} is no placeholder, which is a name alone, without a format; a "
            "brace that is meant as one is written {{ or }}"
        )
    return WorkloadError(
        f"{text!r}: nothing fills {{{name}}}{nearest(name, known)}; a brace that is meant as one "
        "is written {{ or }}"
    )


def written(value: Value) -> str:
    """A value as programs read it: numbers as the shortest text that gives exactly them, and
    true or false."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


def _pieces(text: str) -> Iterator[tuple[str, str | None]]:
    """The text as (literal, name of the placeholder after it) pairs; the last has no name."""
    end, literal = 0, ""
    for found in _PIECE.finditer(text):
        literal += text[end : found.start()]
        end = found.end()
        if found["name"] is not None:
            yield literal, found["name"]
            literal = ""
        elif len(found[0]) == 2:
            literal += found[0][0]
        else:
            raise WorkloadError(
                f"{text!r}: a {found[0]} without its other half; a brace that is meant as one is "
                "written {{ or }}"
            )
    yield literal + text[end:], None
