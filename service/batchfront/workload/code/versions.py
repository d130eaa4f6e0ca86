"""The versions of a workload's code: how two of them differ, and which trials are of which."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass

Code = Mapping[str, str]
"""`file.py:name` of a definition, or `file.py:` of a whole file, to its checksum; `model`, `loss`,
... to that of a workload's part; a package to its version. See
`batchfront.workload.code.fingerprint`."""

PARTS = ("model", "loss", "metric", "algorithm", "schedule", "weight", "data", "train")
"""Of a workload; of a loop, `train`."""

WHICH = "which "
"""Begins an entry that says which of several definitions of one name is used where."""


def checksum(parts: Sequence[Any]) -> str:
    """A short checksum of plain data."""
    return blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()


def digest(code: Code) -> str:
    """One checksum of all: the same wherever the definitions stand. Each trial keeps that of the
    code that made it, as its `source`."""
    return checksum(sorted(_nameless(code).elements()))


def changes(before: Code, now: Code) -> list[str]:
    """The definitions in which two versions differ, as a person finds them: `model.py:Net`."""
    old, new = _nameless(before), _nameless(now)
    if old == new:
        return []
    known, kept = {name for name, _ in old}, {name for name, _ in new}
    found = []
    for label, sum_ in now.items():
        if new[_name(label), sum_] > old[_name(label), sum_]:
            is_package = ":" not in label and not _follows(label)
            was = f" ({before[label]}, now {sum_})" if is_package and label in before else ""
            found.append(_shown(label) + (was if _name(label) in known else " (new)"))
    found += [f"{_shown(label)} (gone)" for label in before if _name(label) not in kept]
    found = list(dict.fromkeys(found))
    named = [label for label in found if not _follows(label)]
    return named or found or ["how often a definition is used"]


def _nameless(code: Code) -> Counter[tuple[str, str]]:
    return Counter((_name(label), sum_) for label, sum_ in code.items())


def _follows(label: str) -> bool:
    """Whether an entry differs too where another one does, which says more: a part such as `loss`
    where it is another definition."""
    return label.partition(" ")[0] in PARTS or label.startswith(WHICH)


def _name(label: str) -> str:
    """A definition's own name: not that of its file, or of the function that it stands in."""
    name = label.partition(":")[2].partition("#")[0] or label
    return name.rpartition("<locals>.")[2]


def _shown(label: str) -> str:
    shown = label.partition("#")[0].replace("<locals>.", "").replace("<lambda>", "lambda")
    return shown.removesuffix(":")  # of a program's file no part is told apart
