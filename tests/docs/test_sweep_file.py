"""The page on the sweep file has every key, placeholder and dimension, and its example is one."""

import re
from pathlib import Path

from batchfront.workload.placeholders import PLACEHOLDERS
from batchfront.workload.program import UNITS, Resources
from batchfront.workload.sweep_file import read_sweep_file
from tests.docs.pages import PAGES, blocks

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


def test_every_key_of_a_table_is_described() -> None:
    assert in_first_column("[resources]") == set(Resources.__dataclass_fields__)
    source = Path(str(read_sweep_file.__code__.co_filename)).read_text()
    keys = set(
        re.findall(
            r"""(?:table\.(?:text|flag|whole|number|take)|_texts)\(\s*(?:table, )?"(\w+)\"""",
            source,
        )
    )
    assert len(keys) > 20
    of_workload = keys - {"value", "loss", *Resources.__dataclass_fields__}
    assert in_first_column("[workload]") == of_workload


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
