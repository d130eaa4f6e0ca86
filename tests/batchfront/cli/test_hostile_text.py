"""Whatever the database, a file or the command line says: nothing of it acts on a terminal."""

import ast
import json
import re
import sqlite3
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import batchfront
from batchfront.advice.timings import Timing, keep_timings
from batchfront.store.url import open_storage
from batchfront.vocabulary import TimedPart
from tests.batchfront.cli.conftest import Result
from tests.docs.reference import commands
from tests.packed import figures_of
from tests.programs import write_sweep

SOURCES = Path(batchfront.__file__).parent

Run = Callable[..., Result]

HOSTILE = (
    "\x1b]52;c;Y3VybCBldmls\x07\x1b[8m\x9b31m\x7f\u202ecba\u2066\u200b\u2028\U000e0041"
    "\n[bold red]batchfront: all is well[/]"
)
NAMED = f"toy/line{HOSTILE}/sgd"
SURROGATE = "\ud800"  # JSON in the database can hold one

OF_NO_STORED_TEXT = {
    "dashboard": "serves until it is interrupted",
    "init": "is told no name",
    "import": "is a group",
    "import batch-science": "reads a folder that it finds fault with, which its own tests do",
    "import mlperf": "reads a folder that it finds fault with, which its own tests do",
    "new": "is a group",
    "analyze": "is a group",
    "launch": "is a group",
    "launch ray": "needs a cluster",
    "launch slurm": "needs a cluster",
}
"""Commands that the sweep leaves out, and why."""

ONE = ("--batch-size", "8")
JSON = ("--format", "json")

SWEEP: dict[str, list[tuple[str, ...]]] = {
    "status": [(), ("--profile",), ("--profile", *JSON)],
    "frontier": [(NAMED,), (NAMED, "--format", "csv"), (NAMED, *JSON), (HOSTILE,)],
    "curve": [(NAMED,), (NAMED, "--format", "csv"), (NAMED, *JSON)],
    "analyze budget": [(NAMED, "--steps", "50"), (NAMED, "--steps", "50", *JSON)],
    "analyze compare": [(), ("--format", "csv"), JSON],
    "analyze effect": [
        (NAMED, "--metaparameter", f"flavour{HOSTILE}"),
        (NAMED, "--metaparameter", f"flavour{HOSTILE}", *JSON),
        (NAMED, "--metaparameter", "x\x1b"),
    ],
    "analyze goals": [(NAMED,), (NAMED, *JSON)],
    "analyze outcomes": [(NAMED,), (NAMED, *JSON)],
    "analyze rules": [(NAMED,), (NAMED, *JSON)],
    "advise": [
        (NAMED,),
        (NAMED, *JSON),
        (NAMED, "--format", "csv"),
        (NAMED, "--machines", "machines.toml"),
        (NAMED, "--machines", f"m{HOSTILE}"),
        (NAMED, "--device", HOSTILE),
        (HOSTILE,),
    ],
    "recipe": [(NAMED, *ONE), (NAMED, "--batch-size", "16"), (NAMED, *ONE, *JSON)],
    "model": [(NAMED, *ONE, "--output", f"model{HOSTILE}")],
    "replay": [(NAMED, *ONE, "--save", "w.safetensors")],
    "probe": [(NAMED,), (HOSTILE,), (NAMED, "--save", f"probed{HOSTILE}.py")],
    "logs": [(NAMED, *ONE, "--trial", "1"), (HOSTILE, *ONE, "--trial", "1")],
    "report": [(), (NAMED, "--output", f"report{HOSTILE}/x"), ("--output", "a\x1b.html")],
    "export": [("--output", "tables", "--format", "csv")],
    "import export": [("tables",), ("tables", "--storage", "sqlite:///new.db"), (HOSTILE,)],
    "track": [
        ("--to", f"tensorboard:runs{HOSTILE}"),
        ("--to", HOSTILE),
        (HOSTILE, "--to", "wandb:x"),
    ],
    "import mlflow": [(HOSTILE, "--experiment", HOSTILE, "--goal", "a<1")],
    "import tensorboard": [
        ("runs", "--workload", HOSTILE, "--goal", f"validation/{HOSTILE}<1"),
        (HOSTILE, "--workload", "a/b/c", "--goal", HOSTILE),
    ],
    "import points": [("points.csv",), (f"points{HOSTILE}",)],
    "import timings": [
        (name,) for name in ("timings.json", "mistyped.json", "again.json", f"t{HOSTILE}")
    ],
    "plan": [(f"./{HOSTILE}.py:x",), ("./sweep.toml", "--variant", "x\x1b"), (HOSTILE,)],
    "run": [(HOSTILE,)],
    "work": [(), (HOSTILE,)],
    "launch local": [(HOSTILE,)],
    "launch debug": [(HOSTILE,)],
    "launch kubernetes": [("--image", "x\x1b", "--print", NAMED)],
    "doctor": [(), JSON],
    "confirm": [(NAMED, "--plan-only"), (HOSTILE,)],
    "time": [(NAMED,), (NAMED, "--code", f"a{HOSTILE}"), (HOSTILE,), (f"./{HOSTILE}.py:x",)],
    "workloads": [(), JSON],
    "workloads show": [(HOSTILE,)],
    "new program": [(f"a{HOSTILE}/b.toml",), ("--from", f"a{HOSTILE}")],
    "new loop": [(f"a{HOSTILE}",)],
    "new workload": [("a\x1b.py",)],
    "delete": [(HOSTILE, "--timings"), (NAMED, "--timings"), (NAMED,), (NAMED, "--yes")],
}


def acting(text: str) -> set[str]:
    """What a terminal, or a reader's eye, would be misled by."""
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return {one for one in text if unicodedata.category(one) in hidden} - {"\n", "\t"}


@pytest.fixture
def hostile(batchfront: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A program's search whose every text in the database has since been made hostile."""
    choices = ("[search_space]", '[search_space]\nflavour = {choice = ["a", "b"]}')
    told = ("--max-steps", "--kind {flavour} --max-steps")
    spec = write_sweep(folder, choices, told)
    script = folder / "train.py"
    script.write_text(script.read_text().replace("told =", 'parser.add_argument("--kind")\ntold ='))
    assert batchfront("plan", str(spec), "--trials", "4").code == 0
    assert batchfront("work", "--quiet", "--code", ".").code == 0
    find_out(folder)
    with sqlite3.connect(folder / "batchfront.db") as database:
        spoil(database)
    (folder / "points.csv").write_text(
        f'workload,batch_size,steps,goal,param:x\x1b\n"a/b/{HOSTILE}",8,100,error<0.1,"{HOSTILE}"\n'
    )
    for file, name, seconds in (
        ("timings", NAMED, 1),
        ("mistyped", HOSTILE, 1),
        ("again", NAMED, 2),
    ):
        row = [name, HOSTILE, 2, 8, seconds, "p\x1b"]
        columns = ("workload", "device", "devices", "batch_size", "seconds_per_step", "precision")
        told = [dict(zip(columns, row, strict=True))]
        (folder / f"{file}.json").write_text(json.dumps(told))
    name = json.dumps(HOSTILE.replace("\U000e0041", ""))
    (folder / "machines.toml").write_text(f"[[machine]]\nname = {name}\ndevices = 1\n")
    return batchfront


def find_out(folder: Path) -> None:
    """Give the program's search a timing."""
    storage = open_storage(f"sqlite:///{folder}/batchfront.db")
    keep_timings(storage, [Timing("toy/line/sgd", "float32", "cpu", 1, TimedPart.STEP, 8, 0.5)])
    storage.close()


def spoil(database: sqlite3.Connection) -> None:
    """Make the names, choices, errors, hosts and devices of a database hostile."""
    tables = [
        row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type='table'")
    ]
    for table in tables:
        for row in database.execute(f"SELECT rowid, * FROM {table}").fetchall():
            names = [c[1] for c in database.execute(f"PRAGMA table_info({table})")]
            for name, value in zip(names, row[1:], strict=True):
                if isinstance(value, str) and (spoilt := _spoilt(value)) != value:
                    query = f"UPDATE {table} SET {name} = ? WHERE rowid = ?"
                    database.execute(query, (spoilt, row[0]))
    database.execute("UPDATE bf_workers SET host = ?, device = ?", (HOSTILE, HOSTILE))
    database.execute("UPDATE bf_timings SET device = ?", (HOSTILE,))
    database.execute(
        "UPDATE bf_slots SET outcome = 'failed', reason = ?, steps_to_target = NULL "
        "WHERE number = 3",
        (HOSTILE,),
    )


def _spoilt(text: str) -> str:
    if text.startswith(("{", "[", '"')):
        return json.dumps(_in(json.loads(text)))
    return str(_in(text))


def _in(data: Any) -> Any:
    if isinstance(data, dict):
        return {_in(key): _in(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_in(one) for one in data]
    if data in ("flavour", "val_loss"):
        return f"{data}{HOSTILE}"
    if data in ("a", "b"):
        return f"{data}{HOSTILE}{SURROGATE}"
    return data.replace("toy/line", f"toy/line{HOSTILE}") if isinstance(data, str) else data


def test_every_command_is_in_the_sweep_or_left_out_for_a_reason() -> None:
    there = {context.command_path.removeprefix("batchfront ") for context in commands()}
    assert there == {*SWEEP, *OF_NO_STORED_TEXT}


PRINTING = {
    "cli/json_pipe.py": "what it prints is JSON",
    "cli/logs.py": "a program's output, which keeps its colours",
    "cli/output/lines.py": "this is the place",
    "cli/replay.py": "numbers, over one another",
    "launch/slurm.py": "words of its own, to a job's log",
    "reporting.py": "numbers and names of the program that it runs in",
    "training/loops/child.py": "to the log of a trial, which `logs` shows",
}
"""Modules that print, and why each may."""


def test_what_is_printed_is_printed_in_one_place() -> None:
    found = set()
    for file in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "click.echo"):
                found.add(str(file.relative_to(SOURCES)))
    assert {name for name in found if "starting_files" not in name} == set(PRINTING)


@pytest.mark.slow
def test_no_command_prints_what_a_terminal_would_act_on(hostile: Run, folder: Path) -> None:
    unexpected, printed = [], []
    for name, uses in SWEEP.items():
        for arguments in uses:
            said = hostile(*name.split(), *arguments)
            printed.append(said.out + said.err)
            assert acting(said.out + said.err) == set(), (name, arguments)
            if "unexpected" in said.err or "Traceback" in said.err:
                unexpected.append((name, arguments, said.err))
    assert [ascii(one) for one in unexpected] == []
    assert any(r"toy/line\x1b]52;c;" in text for text in printed)
    page = (folder / "report.html").read_text()
    body = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert acting(body) == set()
    assert acting(str(list(_texts(figures_of(page))))) == set()


def _texts(data: Any) -> Any:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for key, value in data.items():
            yield key
            yield from _texts(value)
    elif isinstance(data, list):
        for one in data:
            yield from _texts(one)
