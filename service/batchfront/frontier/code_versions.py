"""Which version of the workload's code made which trials, and where a frontier mixes them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchfront.frontier.frontier import Frontier
from batchfront.phrases import first_few
from batchfront.workload.code.versions import Code, changes, digest


def _sizes(batch_sizes: Sequence[int]) -> str:
    return ", ".join(f"{size:,}" for size in batch_sizes)


def _version(one: Mapping[str, Any]) -> str:
    return f"version {one['version']}" if one["version"] else "not known"


def _kept(identity: Mapping[str, Any]) -> list[Code]:
    kept: list[Code] = identity.get("code", [])
    return kept


def by_version(frontier: "Frontier") -> list[dict[str, Any]]:
    """Which trials were made by which version of the workload's code, the first version first.

    version    -- its number, from 1; None for code that was not kept
    trials     -- how many trials it has made, or is making
    fastest_at -- the batch sizes at which the fastest trial is one of them
    changed    -- in what it differs from the version before
    """
    known = max((_kept(point.study.identity) for point in frontier.points), key=len, default=[])
    numbers: dict[str | None, int] = {}
    changed: list[list[str]] = []
    for before, code in zip([None, *known], known, strict=False):
        if numbers.setdefault(digest(code), len(numbers) + 1) > len(changed):
            changed.append([] if before is None else changes(before, code))
    trials: Counter[int | None] = Counter()
    fastest: dict[int | None, list[int]] = {}
    for point in frontier.points:
        for source, count in point.sources.items():
            trials[numbers.get(source)] += count
        if point.best is not None and "source" in point.best.versions:
            number = numbers.get(point.best.versions["source"])
            fastest.setdefault(number, []).append(point.batch_size)
    unknown = [None] if trials[None] else []
    return [
        {
            "version": number,
            "trials": trials[number],
            "fastest_at": fastest.get(number, []),
            "changed": changed[number - 1] if number else [],
        }
        for number in [*unknown, *numbers.values()]
    ]


def _mixed_reruns(frontier: "Frontier") -> str | None:
    kept = {digest(code) for point in frontier.points for code in _kept(point.study.identity)}
    other: list[int] = []
    unknown: list[int] = []
    for point in frontier.points:
        source = point.best.versions.get("source") if point.best else None
        if source and point.rerun_by - {source}:
            (other if source in kept else unknown).append(point.batch_size)
    said = []
    if other:
        said.append(f"Run again by another version than the fastest trial's: {_sizes(other)}.")
    if unknown:
        said.append(
            "Run again by code that may be another than the fastest trial's, which was not kept: "
            f"{_sizes(unknown)}."
        )
    return " ".join(said) or None


def mixed(frontier: "Frontier") -> str | None:
    """What a frontier mixes of several versions of the code, in words; None where it doesn't."""
    said = [_mixed_trials(by_version(frontier)), _mixed_reruns(frontier)]
    return " ".join(filter(None, said)) or None


def _mixed_trials(found: Sequence[Mapping[str, Any]]) -> str | None:
    made = [one for one in found if one["trials"]]
    if len(found) < 2 or not made or not any(one["version"] for one in [*made, *found[2:]]):
        return None  # of what was planned before code was kept, nothing is known
    changed = list(dict.fromkeys(name for one in found for name in one["changed"]))
    differ = f" (what differs: {first_few(changed)})" if changed else ""
    known = [one for one in found if one["version"]]
    counted = first_few([f"{one['trials']:,} of {_version(one)}" for one in known if one["trials"]])
    none = first_few([f"none of {_version(one)}" for one in known if not one["trials"]])
    if not found[0]["version"]:
        said = (
            f"Of {found[0]['trials']:,} trials it is not known which version of the workload's "
            f"code made them, as it was not kept then; {counted or none}{differ}."
        )
    elif len(made) < 2:
        whose = f"All trials are of {_version(made[0])} of the workload's code"
        return f"{whose}, and {none}{differ}."
    else:
        versions = f"Trials of {len(made)} versions of the workload's code are mixed"
        said = f"{versions}: {counted}{differ}."
    fastest = [f"{_version(o)} at {_sizes(o['fastest_at'])}" for o in made if o["fastest_at"]]
    return f"{said} The fastest by batch size: {'; '.join(fastest)}." if fastest else said
