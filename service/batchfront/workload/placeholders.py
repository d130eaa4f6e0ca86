"""Placeholders in a sweep file: `{learning_rate}` in a command, filled in for each trial."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

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

_LITERAL = "a brace that is meant as one is written {{ or }}"

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

    Raises WorkloadError for a placeholder that nothing fills.
    """
    check(text, values)
    pairs = _pieces(text)
    return "".join(
        literal + ("" if name is None else written(values[name])) for literal, name in pairs
    )


def check(text: str, known: Collection[str]) -> None:
    """Raise WorkloadError, with what was perhaps meant, for a placeholder that nothing fills."""
    for name in sorted(names_in([text]) - {*known}):
        if is_name(name):
            raise WorkloadError(
                f"nothing fills {{{name}}}, which isn't in [search_space]{nearest(name, known)}"
            )
        what = "a placeholder is a name alone" if ":" in name else "that is no name"
        raise WorkloadError(f"nothing fills {{{name}}}: {what}; {_LITERAL}")


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
            raise WorkloadError(f"{text} has a {found[0]} without its other half; {_LITERAL}")
    yield literal + text[end:], None
