"""The page on the sweep file has every key, placeholder and dimension, and its example is one."""

import re
from pathlib import Path
from typing import Any

import pytest

from batchfront.workload.placeholders import PLACEHOLDERS
from batchfront.workload.program import UNITS, Resources
from batchfront.workload.sweep_file import read_sweep_file
from batchfront.workload.toml_table import Table
from tests.docs.pages import PAGES, blocks
from tests.sweep_files import written

NAME = "docs/sweep_file.md"
PAGE = PAGES[NAME]


def section(title: str) -> str:
    """The text below a title."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def in_first_column(title: str) -> set[str]:
    """What the rows of a section's table are about."""
    return {
        name
        for row in re.findall(r"(?m)^\| (`.*?) \|", section(title))
        for name in re.findall(r"`([^`]+)`", row)
    }


def test_every_key_that_is_read_is_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: dict[str, set[str]] = {}
    take = Table.take

    def noted(table: Table, key: str, *more: Any, **said: Any) -> Any:
        read.setdefault(table.name, set()).add(key)
        return take(table, key, *more, **said)

    monkeypatch.setattr(Table, "take", noted)
    read_sweep_file(written(tmp_path))
    assert in_first_column("[workload]") == read["workload"]
    assert in_first_column("[resources]") == read["resources"]
    assert read["resources"] == set(Resources.__dataclass_fields__)
    for table in read[""]:
        assert section(f"[{table}]")


def test_every_placeholder_is_described() -> None:
    told = in_first_column("Placeholders") - {"{learning_rate}"}
    assert told == {f"{{{name}}}" for name in PLACEHOLDERS}


def test_every_unit_is_described() -> None:
    for unit in UNITS:
        assert f"`{unit}`" in section("How evaluations are told")


def test_the_example_is_a_sweep_file(tmp_path: Path) -> None:
    example, *_ = blocks(NAME, "toml")
    path = tmp_path / "sweep.toml"
    path.write_text(example)
    assert read_sweep_file(path).program.batch_sizes == (8, 32, 128)
    dimensions = [d for cell in in_first_column("[search_space]") for d in [cell]]
    space = "\n".join(f"x{n} = {said}" for n, said in enumerate(dimensions))
    used = " ".join(f"{{x{n}}}" for n in range(len(dimensions)))
    more = example.replace("[search_space]", f"[search_space]\n{space}").replace(
        "--lr", f"{used} --lr"
    )
    path.write_text(more)
    assert len(read_sweep_file(path).program.space(8)) == 1 + len(dimensions) > 8
