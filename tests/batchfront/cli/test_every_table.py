"""Every table that a command prints keeps its numbers and words on 80 columns, and on 40.

`searched.db.xz` is the database of a search of digits/mlp/adamw at its ten batch sizes, nine trials
each, whose winners have run again: `batchfront run digits/mlp/adamw --trials 9 --finishers 3
--noise-scale`, then `confirm --seeds 2` with `--candidates 2`, `--recommended`, `--rule linear` and
`--rule square-root`. What commands print beside it is of imported numbers with long names.
"""

import ast
import lzma
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

import batchfront
from batchfront.cli.output import lines, tables
from batchfront.table import NOTHING, Table
from batchfront.table_text import Line, drawn
from tests import toy
from tests.batchfront.cli.conftest import Result
from tests.docs.reference import commands

Run = Callable[..., Result]

SEARCHED = Path(__file__).parent / "searched.db.xz"
CLI = Path(batchfront.__file__).parent / "cli"

NAME = "digits/mlp/adamw"
LONG = "image_classification/vision_transformer_base_patch_16/adamw_with_decoupled_weight_decay"
METAPARAMETERS = (
    *("optimizer.learning_rate", "optimizer.weight_decay", "optimizer.one_minus_beta2"),
    *("schedule.warmup_steps", "augmentation.random_erasing_probability", "model.stochastic_depth"),
)

SEARCH = ("--trials", "9", "--finishers", "3")
ELSEWHERE = ("--storage", "sqlite:///toy.db")
ALONE = ("--workers", "1")

TABLES: dict[str, list[tuple[str, ...]]] = {
    "run": [(NAME, *SEARCH, *ALONE, "--profile", "--noise-scale")],
    "status": [(), ("--profile",)],
    "frontier": [(NAME,), (LONG,)],
    "curve": [(), (NAME, "--goal", "0.1", "--goal", "0.05")],
    "analyze budget": [(NAME, *(w for n in range(10, 3000, 150) for w in ("--steps", f"{n}")))],
    "analyze compare": [()],
    "analyze effect": [(NAME, "--metaparameter", "learning_rate")],
    "analyze goals": [(NAME,)],
    "analyze outcomes": [(NAME,), (NAME, "--batch-size", "64")],
    "analyze rules": [(NAME,)],
    "confirm": [
        (NAME, "--seeds", "2", "--candidates", "2", *ALONE),
        (NAME, "--seeds", "2", "--recommended", *ALONE),
        (NAME, "--seeds", "2", "--rule", "linear", *ALONE),
    ],
    "recipe": [(NAME, "--batch-size", "64", "--devices", "4"), (NAME, "--batch-size", "100")],
    "advise": [(NAME, "--price", "2.5"), (LONG,)],
    "time": [(toy.SPEC, "--batch-sizes", "4,8", *ELSEWHERE)],
    "probe": [(toy.SPEC, "--batch-size", "2", *ELSEWHERE)],
    "workloads": [()],
    "workloads show": [(NAME,)],
    "doctor": [()],
}
"""Commands that print tables, and how they are called here."""

WITHOUT = {
    "analyze",
    "dashboard",
    "delete",
    "export",
    "import",
    "import batch-science",
    "import export",
    "import mlflow",
    "import mlperf",
    "import points",
    "import tensorboard",
    "import timings",
    "init",
    "launch",
    "launch debug",
    "launch kubernetes",
    "launch local",
    "launch ray",
    "launch slurm",
    "logs",
    "model",
    "new",
    "new loop",
    "new program",
    "new workload",
    "plan",
    "replay",
    "report",
    "track",
    "work",
}
"""Commands that print none, which is looked at too."""


def test_every_command_is_told_here_to_print_tables_or_none() -> None:
    there = {context.command_path.removeprefix("batchfront ") for context in commands()}
    assert there == {*TABLES, *WITHOUT}


def test_what_is_said_to_print_no_table_asks_nothing_to_print_one() -> None:
    for name in WITHOUT - {"analyze"}:
        word = name.split()[0]
        file = CLI / f"{word}{'_' if word == 'import' else ''}.py"
        asked = {one for module, one in _imported(file) if ".output." in module}
        printing = {one for one in asked if one.startswith("print_") or one.endswith("_table")}
        assert printing | asked & {"watch_status", "view", "Drawn"} == set(), name


def _imported(file: Path) -> Iterator[tuple[str, str]]:
    """What a module takes from others."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, one.name) for one in node.names)


LIVE = {"live.py", "progress.py"}
"""Which have bars in them, and are drawn over."""


def test_tables_are_drawn_in_one_place() -> None:
    files = CLI.rglob("*.py")
    drawing = {
        one.name for one in files if "rich.table" in {module for module, _ in _imported(one)}
    }
    assert drawing <= LIVE


@pytest.fixture
def stored(batchfront: Run, folder: Path) -> Run:
    """The command in a folder with a database of what was searched, imported and timed."""
    names = ",".join(f"param:{name}" for name in METAPARAMETERS)
    rows = [
        f"{LONG},{2**n},{123_456 // 2**n + 77},top-1 error<0.25,{','.join([f'{n}.2345e-05'] * 6)}"
        for n in range(5, 15)
    ]
    (folder / "points.csv").write_text(
        "\n".join([f"workload,batch_size,steps,goal,{names}", *rows])
    )
    timed = [
        f"{name},NVIDIA H100 80GB HBM3,{devices},{size},{0.01 + size / 1e5 / devices}"
        for name in (NAME, LONG)
        for devices in (1, 2, 4, 8)
        for size in (8, 64, 512, 16384)
    ]
    head = "workload,device,devices,batch_size,seconds_per_step"
    (folder / "timings.csv").write_text("\n".join([head, *timed]))
    (folder / "batchfront.db").write_bytes(lzma.decompress(SEARCHED.read_bytes()))
    done = batchfront("init", "--upgrade")
    assert done.code == 0, done.err
    for what in (("points", "points.csv"), ("timings", "timings.csv")):
        done = batchfront("import", *what)
        assert done.code == 0, done.err
    return batchfront


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Table]:
    """The tables that are drawn, as on a terminal of 80 columns."""
    found: list[Table] = []

    def watched(table: Table, width: int, shown: Callable[[str], str]) -> list[Line]:
        found.append(table)
        return drawn(table, width, shown)

    monkeypatch.setattr(tables, "drawn", watched)
    for module in (tables, lines):
        monkeypatch.setattr(module, "width_of", lambda _: 80)
    return found


@pytest.mark.slow
def test_no_number_of_any_table_is_cut(stored: Run, seen: list[Table]) -> None:
    for name, uses in TABLES.items():
        for arguments in uses:
            seen.clear()
            done = stored(*name.split(), *arguments)
            assert done.code == 0, (name, done.err)
            assert seen, name
            too_wide = [line for line in done.out.splitlines() if cell_len(line) > 80]
            assert [line for line in too_wide if not _whole(line)] == [], name
            for table in list(seen):
                for width in (40, 59, 60, 80, 120):
                    _has_all(table, width, (name, width))


def _whole(line: str) -> bool:
    """Whether nothing but a command, or a single word, is wider than the terminal."""
    return "`" in line or " " not in line.strip()


def _has_all(table: Table, width: int, where: object) -> None:
    found = [line.text for line in drawn(table, width)]
    assert [line for line in found if cell_len(line) > width and not _whole(line)] == [], where
    text = " ".join(found)
    shown = Counter(text.replace(",", "").split())
    wanted = Counter(_tokens(cell for row in _without_names(table) for cell in row))
    lost = {token: n - shown[token] for token, n in wanted.items() if n > shown[token]}
    assert {token for token in lost if any(map(str.isdigit, token))} == set(), (where, found)
    words = {token.strip("()") for token in lost} - {*_abbreviated(table)}
    assert words == set(), (where, found)
    for name in _names_in(table):
        assert text.split().count(name.rsplit("/", 1)[-1]) or name in text, (where, name)


def _tokens(cells: Iterable[str]) -> Iterator[str]:
    for cell in cells:
        yield from cell.replace(",", "").split()


def _without_names(table: Table) -> Iterator[list[str]]:
    facts = {0} if table.by_facts else {}  # which become titles, and may be folded
    kept = [n for n, column in enumerate(table.columns) if not column.names and n not in facts]
    for row in table.cells():
        yield [row[n] for n in kept]


def _names_in(table: Table) -> Iterator[str]:
    for row in table.cells():
        for column, cell in zip(table.columns, row, strict=True):
            if column.names and cell != NOTHING:
                yield cell


def _abbreviated(table: Table) -> Iterator[str]:
    for number, column in enumerate(table.columns):
        if column.brief is not None:
            for row in table.rows:
                yield from _tokens([column.cell(row[number])])
