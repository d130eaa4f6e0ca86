"""Whatever command a message advises works as it is printed."""

import ast
import json
import re
import shlex
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import click
import pytest

from batchfront.cli.main import command
from batchfront.store.commands import EXAMPLE
from tests.batchfront.cli.conftest import Result
from tests.docs.pages import PAGES, blocks
from tests.docs.reference import commands
from tests.programs import write_sweep

Run = Callable[..., Result]
Write = Callable[..., str]

NAME = "blobs/linear/momentum"
URL = "sqlite:///my runs.db"
NARROW = ("Log(0.01, 1.0)", "Log(0.001, 0.02)")
ROOT = Path(__file__).parents[3]


def advised(text: str) -> list[str]:
    """The commands in a text, or a page, in the order in which they stand there."""
    found = re.findall(r"`(batchfront [^`]+)`|<code>(batchfront .*?)</code>", text)
    return [unescape(one or other) for one, other in found]


def words(advice: str) -> list[str]:
    return shlex.split(advice)[1:]


@pytest.fixture
def ran(batchfront: Run, workload_file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search of two batch sizes, whose winners lie at an end of the search space."""
    monkeypatch.setenv("BATCHFRONT_WORKERS", "1")
    monkeypatch.delenv("BATCHFRONT_CODE")
    few = ("--trials", "8", "--seed", "3")
    result = batchfront("run", workload_file(NARROW), *few, "--storage", URL)
    assert result.code == 0, result.err


def test_every_command_that_results_and_the_page_advise_works(
    ran: None, batchfront: Run, folder: Path
) -> None:
    shown = [
        batchfront(*words, NAME, "--storage", URL).out
        for words in (["frontier"], ["curve"], ["analyze", "rules"], ["analyze", "budget"])
    ]
    effect = ["--metaparameter", "momentum"]
    shown.append(batchfront("analyze", "effect", NAME, *effect, "--storage", URL).out)
    on_page = set(advised((folder / "report.html").read_text()))
    in_terminal = {one for text in shown for one in advised(text)}
    spec = shlex.quote(f"{folder}/my_workload.py:my_workload")
    database = f"--storage '{URL}'"
    expected = {
        f"batchfront plan {spec} --extend {database}",
        f"batchfront run {spec} --finishers 3 {database}",
        f"batchfront run {spec} --after-goal continue {database}",
        f"batchfront confirm {NAME} --rule linear --code {folder}/my_workload.py {database}",
    }
    assert in_terminal == expected
    timing = f"batchfront time {NAME} --code {folder}/my_workload.py {database}"
    again = f"batchfront run {spec} --batch-sizes 2,8 --trials 8 --seed 3 --storage"
    here = {
        f"{again} sqlite:///again.db",
        f"batchfront replay {NAME} --batch-size 8 --save weights.safetensors "
        f"--code {folder}/my_workload.py {database}",
    }
    dashboards = {
        f"batchfront dashboard {database}",
        f"batchfront report {NAME} --dashboard http://127.0.0.1:8080 {database}",
    }
    assert on_page == {*expected, timing, *here, *dashboards}
    for advice in [*here, *sorted(expected, reverse=True)]:  # those that run first
        result = batchfront(*words(advice))
        assert result.code == 0, (advice, result.err)
    (point, *_) = _points(batchfront)
    assert point["outcomes"]["reached"] == 3
    assert advised(batchfront("curve", NAME, "--storage", URL).out) == []


def _points(batchfront: Run) -> list[dict[str, Any]]:
    shown = batchfront("frontier", NAME, "--format", "json", "--storage", URL)
    return list(json.loads(shown.out)["points"])


def test_what_a_refusal_advises_works(batchfront: Run, workload_file: Write) -> None:
    assert batchfront("plan", workload_file(), "--finishers", "2", "--storage", URL).code == 0
    lower = batchfront("plan", workload_file(), "--finishers", "1", "--storage", URL)
    assert lower.code == 2
    (delete,) = advised(lower.err)
    asks = batchfront(*words(delete))
    assert (asks.code, asks.out) == (2, "")
    (at_once,) = advised(asks.err)
    assert words(at_once) == [*words(delete)[:2], "--yes", *words(delete)[2:]]
    assert batchfront(*words(at_once)).code == 0
    assert batchfront("frontier", NAME, "--storage", URL).code == 2
    assert batchfront("plan", workload_file(), "--finishers", "1", "--storage", URL).code == 0
    fewer = batchfront("plan", workload_file(), "--trials", "3", "--storage", URL)
    assert fewer.out == f"{NAME}/b2: 32 trials, 0 new\n{NAME}/b8: 32 trials, 0 new\n"
    assert fewer.err == (
        f"batchfront: --trials 3 takes none away: {NAME}/b2 keeps its 32, {NAME}/b8 keeps its 32\n"
    )


def test_a_database_that_commands_find_by_themselves_is_not_named(
    batchfront: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert advised(batchfront("status").err) == [f"batchfront run {EXAMPLE}"]
    absolute = f"sqlite:///{folder}/batchfront.db"
    assert advised(batchfront("status", "--storage", absolute).err) == [f"batchfront run {EXAMPLE}"]
    monkeypatch.setenv("BATCHFRONT_STORAGE", URL)
    named = [f"batchfront run {EXAMPLE} --storage '{URL}'"]  # for who reads a launcher's worker
    assert advised(batchfront("status").err) == named
    elsewhere = advised(batchfront("status", "--storage", absolute).err)
    assert elsewhere == [f"batchfront run {EXAMPLE} --storage {absolute}"]


def _written() -> Iterator[str]:
    """Commands that stand in messages, helps, examples and the documentation as they are."""
    for file in sorted((ROOT / "service").rglob("*.py")):
        for text in _messages(ast.parse(file.read_text())):
            yield from advised(text)
    example = r"(?m)^  (?:\S+=\S+ )?(batchfront .*?)(?: \| .*)?$"
    for found in (context.command for context in commands()):
        yield from advised(" ".join((found.help or "").split()))
        yield from re.findall(example, found.epilog or "")
    line = r"(?m)(?:^|&& )(?:\S*/bin/)?(batchfront .*?)(?:   #.*| \|\|? .*)?$"
    for block in (block for page in PAGES for block in blocks(page, "sh")):
        yield from re.findall(line, block.replace("\\\n", ""))


def _messages(tree: ast.Module) -> Iterator[str]:
    """The texts in a module, but for what stands alone, as docstrings do."""
    alone = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in alone:
            yield node.value


_NAMED = {"batchfront --version", "batchfront time"}
"""What is named in a sentence, and not to be typed."""


@pytest.mark.parametrize("written", sorted({*_written()} - _NAMED))
def test_a_command_that_is_written_out_is_whole(
    written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, *rest = words(written)
    monkeypatch.chdir(tmp_path)
    for word in rest:
        if word.endswith(".toml"):  # which says options too
            write_sweep(tmp_path).rename(word)
    found = command(name)
    while isinstance(found, click.Group) and rest and rest[0] in found.commands:
        found, rest = found.commands[rest[0]], rest[1:]
    found.make_context(written, rest)
