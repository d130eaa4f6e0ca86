"""A shell completes commands, options and workloads, and never sees an error."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from batchfront.cli.main import cli
from batchfront.store.url import Storage
from batchfront.workload import catalog
from batchfront_studies import OUTLINES
from tests.searches import NAME, planned
from tests.without import hiding

Complete = Callable[..., list[str]]


@pytest.fixture
def complete(tmp_path: Path) -> Complete:
    """What is proposed for the last of these words, in an empty folder and without torch."""
    without, here = tmp_path / "without", tmp_path / "here"
    without.mkdir()
    here.mkdir()
    (without / "sitecustomize.py").write_text(hiding(["torch"]))
    own = {name: value for name, value in os.environ.items() if not name.startswith("BATCHFRONT_")}

    def run(*words: str, shell: str = "bash", **environment: str) -> list[str]:
        asked = {
            "_BATCHFRONT_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": " ".join(["batchfront", *words]),
            "COMP_CWORD": words[-1] if shell == "fish" else str(len(words)),
        }
        ran = subprocess.run(
            [sys.executable, "-P", "-m", "batchfront.cli.main"],
            cwd=here,
            env={**own, "PYTHONPATH": str(without), **asked, **environment},
            capture_output=True,
            text=True,
        )
        assert ran.stderr == ""
        return ran.stdout.split("\n")[:-1] if ran.stdout.strip() else []

    return run


def test_commands_are_completed_in_their_order(complete: Complete) -> None:
    shown = cli.list_commands(None)  # type: ignore[arg-type]
    assert complete("") == [f"plain,{name}" for name in shown]
    assert complete("st") == ["plain,status"]
    assert complete("launch", "s") == ["plain,slurm"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("plan", "--sa"), "plain,--sampler"),
        (("plan", "--sampler", "t"), "plain,tpe"),
        (("--ver",), "plain,--version"),
        (("work", "--trial-dir", "x"), "dir,x"),
    ],
)
def test_options_and_their_values_are_completed(
    complete: Complete, words: tuple[str, ...], found: str
) -> None:
    assert complete(*words) == [found]


def test_what_can_be_planned_is_a_name_of_the_catalog_a_sweep_file_or_any_path(
    complete: Complete, tmp_path: Path
) -> None:
    assert complete("plan", "digits/mlp/mo") == ["plain,digits/mlp/momentum"]
    for name in ("sweep.toml", "pyproject.toml"):
        (tmp_path / "here" / name).touch()
    assert complete("run", "") == [f"plain,{name}" for name in (*OUTLINES, "sweep.toml")]
    assert complete("workloads", "show", "./sw") == ["file,./sw"]


def test_the_names_that_are_known_at_once_are_all_there_are() -> None:
    assert [*catalog.outlines()] == catalog.names() == sorted(catalog.entries()) == [*OUTLINES]


@pytest.mark.every_storage
def test_what_has_been_planned_is_completed_from_the_database(
    complete: Complete, storage: Storage, database: str
) -> None:
    planned(storage, batch_sizes=(4,))
    told = ("frontier", "--storage", database)
    assert complete(*told, "clo") == complete(*told, "") == [f"plain,{NAME}"]
    assert complete("status", "clo", BATCHFRONT_STORAGE=database) == [f"plain,{NAME}"]
    assert complete("delete", "digits", BATCHFRONT_STORAGE=database) == []


@pytest.mark.parametrize(
    "database",
    ["sqlite:///nowhere.db", "sqlite:///notes.txt", "postgresql://localhost:9/none", "nonsense"],
)
def test_without_a_database_nothing_is_proposed_and_none_is_made(
    complete: Complete, tmp_path: Path, database: str
) -> None:
    (tmp_path / "here" / "notes.txt").write_text("no database")
    assert complete("frontier", "", BATCHFRONT_STORAGE=database) == []
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["notes.txt"]


def test_what_makes_no_sense_is_answered_with_nothing(complete: Complete) -> None:
    assert complete("", COMP_CWORD="many") == []
    assert complete("", shell="tcsh") == []
    assert complete("plan", "--seed", "x") == []


def test_zsh_and_fish_are_answered_in_their_own_way(complete: Complete) -> None:
    about = "Show how far the studies are, and who works on them."
    assert complete("stat", shell="zsh") == ["plain", "status", about]
    assert complete("stat", shell="fish") == [f"plain,status\t{about}"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_what_that_shell_reads(shell: str, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "batchfront.cli.main"]
    env = {**os.environ, "_BATCHFRONT_COMPLETE": f"{shell}_source"}
    ran = subprocess.run(command, env=env, capture_output=True, text=True)
    assert "_BATCHFRONT_COMPLETE" in ran.stdout
    if shutil.which(shell):
        (tmp_path / "script").write_text(ran.stdout)
        checked = [shell, "-n", str(tmp_path / "script")]
        subprocess.run(checked, check=True, capture_output=True)


def test_bash_completes_by_its_script(tmp_path: Path) -> None:
    own = tmp_path / "batchfront"
    own.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m batchfront.cli.main "$@"\n')
    own.chmod(0o755)
    typed = """
        eval "$(_BATCHFRONT_COMPLETE=bash_source batchfront)"
        complete -p batchfront
        COMP_WORDS=(batchfront fro) COMP_CWORD=1
        _batchfront_completion batchfront
        echo "${COMPREPLY[@]}"
    """
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ran = subprocess.run(["bash", "-c", typed], env=env, capture_output=True, text=True)
    assert ran.stdout.splitlines() == [
        "complete -o nosort -F _batchfront_completion batchfront",
        "frontier",
    ]
    assert ran.stderr == ""
