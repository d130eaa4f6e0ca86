"""The catalog of workloads on standard output."""

from collections.abc import Mapping, Sequence
from typing import Any

from batchfront.cli.output.tables import print_tables
from batchfront.frontier.curve.text import count
from batchfront.printable import shell_line
from batchfront.study.study import goal_text
from batchfront.table import Column, Table, of_facts


def print_workloads(listed: Sequence[Mapping[str, Any]]) -> None:
    """The catalog as a table."""
    titles = ("Workload", "goal", "batch sizes", "searched")
    rows = [
        (
            workload["name"],
            goal_text(workload["goal"]),
            sizes(workload["batch_sizes"]),
            ", ".join(_searched(workload["search_space"])),
        )
        for workload in listed
    ]
    columns = [Column(title, words=True, names=title == "Workload") for title in titles]
    print_tables([Table(columns, rows)])


def _searched(space: Mapping[str, Any]) -> list[str]:
    first = next(iter(space))
    described = space[first] if first.isdigit() else space
    return [name for name, entry in described.items() if isinstance(entry, Mapping)]


_NAMED = ("algorithm", "schedule")


def print_workload(shown: Mapping[str, Any]) -> None:
    """One workload, whole."""
    from batchfront.workload.search_space import restore_space

    lines = [shown["name"], *([shown["description"]] if shown["description"] else [])]
    facts = {"goal": goal_text(shown["goal"])}
    facts |= {part: shown[part]["name"] for part in _NAMED if part in shown}
    if "command" in shown:
        facts["command"] = f"`{shell_line(shown['command'])}`"
    facts["batch sizes"] = sizes(shown["batch_sizes"])
    tables = [Table(notes=lines), of_facts(facts)]
    by_size = {b: s for b, s in shown["search_space"].items() if b.isdigit()}
    for batch_size, space in (by_size or {"": shown["search_space"]}).items():
        title = f"search space{f' at batch size {batch_size}' if batch_size else ''}"
        ranges = {name: str(entry) for name, entry in restore_space(space).items()}
        tables.append(of_facts(ranges, title))
    columns = Column("batch size"), Column("step budget", count), Column("examples", count)
    rows = [(size, steps, steps * int(size)) for size, steps in shown["step_budget"].items()]
    print_tables([*tables, Table(columns, rows)])


def sizes(batch_sizes: Sequence[int]) -> str:
    """Batch sizes for a person: "2..1024" where every power of two between is there."""
    powers = [b for b in batch_sizes if b & (b - 1) == 0]
    rest = [b for b in batch_sizes if b not in powers]
    whole = len(powers) > 2 and powers == [powers[0] << k for k in range(len(powers))]
    shown = [f"{powers[0]}..{powers[-1]}"] if whole else [str(b) for b in powers]
    return ", ".join(shown + [str(b) for b in rest])
