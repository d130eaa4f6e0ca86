"""What a study is: the definition that all of its trials share, and how two of them differ."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from batchfront.errors import IdentityError
from batchfront.phrases import first_few
from batchfront.printable import shell_word
from batchfront.study.study import Definition, Study
from batchfront.workload.base import WorkloadBase
from batchfront.workload.code.versions import Code, changes, digest
from batchfront.workload.search_space import describe_space

_OF_ONE_BATCH_SIZE = ("batch_size", "search_space", "step_budget")

RAISED = ("finishers", "continuing")
"""Entries of the search that are as the study began: they may have been raised since."""

_RACING = ("schedule", "generation")
"""Entries of the search that say together how many of its trials race together."""


def identity_parts(
    described: Mapping[str, Any], code: Sequence[Code], variant: str | None
) -> dict[str, Any]:
    """The parts of an identity that are the same at all batch sizes, for `study_identity`.

    described -- data and model, and what the checks have shown of them
    """
    return {**described, "code": list(code), **({"variant": variant} if variant else {})}


def study_identity(
    workload: WorkloadBase, batch_size: int, parts: Mapping[str, Any], search: Mapping[str, Any]
) -> dict[str, Any]:
    """The identity of one study, as JSON would give it back.

    parts  -- `data`, `model`, `preflight` and `code`, once for all batch sizes; `code` is a list of
              the versions that trials were made by, the last being the one that makes more; and
              `variant`, of a workload that is one
    search -- how the trials are sampled and raced: see `batchfront.plan.options.search_identity`
    """
    identity = {
        "workload": workload.name,
        "batch_size": batch_size,
        **workload.describe(),
        "search_space": describe_space(workload.space(batch_size)),
        "step_budget": workload.steps_allowed(batch_size),
        **parts,
        "search": dict(search),
    }
    restored: dict[str, Any] = json.loads(json.dumps(identity))
    return restored


def command_text(identity: Mapping[str, Any]) -> str:
    """A program's command as it is written; braces of its placeholders need no quotes."""
    words = identity["command"]
    return " ".join(word if word.split() == [word] else shell_word(word) for word in words)


def code_differences(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The definitions in the code, such as `model.py:Net`, by which trials of `now` would be made
    otherwise than those of `stored`; none where one of them doesn't know its code, or `now`
    follows on what `stored` has."""
    before: list[Code] = stored.get("code", [])
    after: list[Code] = now.get("code", [])
    if not before or not after or after[: len(before)] == before:
        return []
    if digest(before[-1]) == digest(after[-1]):
        return []
    return changes(before[-1], after[-1])


def differences(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One phrase per entry that differs: "goal.value was 0.02, is 0.04". Code is told apart, by
    `code_differences`, and what the checks have shown follows from it."""
    before, after = dict(_flatten(stored)), dict(_flatten(now))
    found = []
    for path in [*before, *(path for path in after if path not in before)]:
        old, new = before.get(path), after.get(path)
        if path not in after:
            found.append(f"{path} was {old}, is gone")
        elif path not in before:
            found.append(f"{path} is new: {new}")
        elif old != new:
            found.append(f"{path} was {_short(old)}, is {_short(new)}")
    return found


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 200 else f"{text[:200]}…"


def _flatten(nested: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """A nested mapping as (dotted path, value) pairs, in its own order."""
    for key, value in nested.items():
        path = f"{prefix}{key}"
        if path in ("code", "preflight"):
            continue
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{path}.")
        else:
            yield path, value


def refuse_difference(stored: Study, now: Definition) -> None:
    """Raise IdentityError, with the difference, if trials of the two can't stand in one frontier.

    Studies of two batch sizes may differ in what depends on the batch size, and in nothing else.
    """
    before, after = _compared(stored), _compared(now)
    if stored.batch_size != now.batch_size:
        for key in _OF_ONE_BATCH_SIZE:
            before.pop(key, None)
            after.pop(key, None)
    changed = differences(before, after)
    recoded = code_differences(before, after)
    if changed:
        recoding = [f"code: {first_few(recoded)}"] if recoded else []
        raise IdentityError(
            f"study {stored.name} exists under another definition: "
            f"{'; '.join([*changed, *recoding])}"
        )
    if recoded:
        variant = () if stored.variant is None else ("--variant", stored.variant)
        raise IdentityError(
            f"the code of {stored.workload} is not what it was planned with; it differs in "
            f"{first_few(recoded)}",
            (now.spec, *variant, "--accept-changes"),
        )


def refuse_other_identity(study: Study, workload: WorkloadBase, parts: Mapping[str, Any]) -> None:
    """Raise IdentityError if a workload, as it is found here, gives a study another identity.

    parts -- of its identity, as `identity_parts` gives them
    """
    identity = study_identity(workload, study.batch_size, parts, study.identity["search"])
    refuse_difference(study, replace(study, identity=identity))


def _compared(study: Definition) -> dict[str, Any]:
    """The identity, its search in the words of the options."""
    search = study.identity.get("search", {})
    said = {name: value for name, value in search.items() if name not in (*RAISED, *_RACING)}
    return {**study.identity, "search": {**said, "together": study.together}}
