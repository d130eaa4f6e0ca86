"""What workers run because a database says so: only what they were told to trust."""

import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.batchfront.cli.conftest import Result
from tests.batchfront.cli.test_bad_input import refused
from tests.programs import write_sweep

Run = Callable[..., Result]
Write = Callable[..., str]

NAME = "blobs/linear/momentum"
EXECUTES = "import pathlib; pathlib.Path('EXECUTED').touch()\n"


def say(change: str) -> None:
    """What somebody does who can write to the database."""
    with sqlite3.connect("batchfront.db") as conn:
        conn.execute(f"UPDATE bf_studies SET {change}")


def states() -> set[str]:
    with sqlite3.connect("batchfront.db") as conn:
        return {state for (state,) in conn.execute("SELECT state FROM bf_slots")}


def advised(result: Result) -> list[str]:
    """The only command that a message advises, as arguments."""
    (found,) = re.findall(r"`(batchfront [^`]*)`", result.err)
    return shlex.split(found)[1:]


@pytest.fixture(autouse=True)
def told_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is allowed but by the commands themselves."""
    monkeypatch.delenv("BATCHFRONT_CODE")


@pytest.fixture
def planned(batchfront: Run, workload_file: Write) -> str:
    """The spec of a workload with two trials."""
    spec = workload_file()
    assert batchfront("plan", spec, "--trials", "1").code == 0
    return spec


def test_a_worker_that_was_told_nothing_runs_no_file_and_says_how_it_would(
    batchfront: Run, planned: str, folder: Path
) -> None:
    result = batchfront("work", "--quiet")
    refused(result, f"{NAME}: the database names its code, {folder}/my_workload.py")
    assert states() == {"free"}
    assert batchfront(*advised(result), "--quiet").code == 0
    assert states() == {"done"}


@pytest.mark.parametrize(
    "told",
    [("--code", "."), ("--code", "my_workload.py"), ("my_workload.py",), (NAME, "--code", ".")],
)
def test_a_file_is_allowed_by_its_folder_and_by_being_named(
    batchfront: Run, planned: str, told: tuple[str, ...]
) -> None:
    assert batchfront("work", "--quiet", *told).code == 0
    assert states() == {"done"}


def test_the_environment_names_several_places(
    batchfront: Run, planned: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "another").mkdir()
    monkeypatch.setenv("BATCHFRONT_CODE", f"another{os.pathsep}.")
    assert batchfront("work", "--quiet").code == 0
    monkeypatch.setenv("BATCHFRONT_CODE", f"another{os.pathsep}gone")
    refused(batchfront("work", "--quiet"), "there is no such file or folder", "gone")


def test_what_a_file_was_is_compared_before_it_runs(
    batchfront: Run, planned: str, folder: Path
) -> None:
    with (folder / "my_workload.py").open("a") as file:
        file.write(f"\n{EXECUTES}")
    for told in (("--code", "."), (planned,)):
        result = batchfront("work", "--quiet", *told)
        refused(result, f"the code of {NAME} is not what it was planned with", "my_workload.py")
        assert not (folder / "EXECUTED").exists()
    accept = advised(result)
    assert accept[0] == "plan"
    assert batchfront(*accept).code == 0
    assert (folder / "EXECUTED").exists()
    assert batchfront("work", "--quiet", "--code", ".").code == 0


def test_a_workload_is_run_by_the_same_file_elsewhere(
    batchfront: Run, planned: str, folder: Path
) -> None:
    (folder / "moved").mkdir()
    (folder / "my_workload.py").rename(folder / "moved" / "my_workload.py")
    refused(batchfront("work", "--quiet", "--code", planned.partition(":")[0]), "no such file")
    refused(batchfront("work", "--quiet"), "there is no", "copy it here, and name its folder")
    assert batchfront("work", "--quiet", "moved/my_workload.py:my_workload").code == 0
    assert states() == {"done"}


def test_a_file_that_nothing_was_planned_from_is_told_how_to_plan_it(
    batchfront: Run, planned: str, folder: Path
) -> None:
    (folder / "other.py").write_text((folder / "my_workload.py").read_text().replace("blobs", "o"))
    result = batchfront("work", "other.py:my_workload", "--quiet")
    refused(result, "nothing in", "was planned from other.py:my_workload")
    assert batchfront(*advised(result)).code == 0
    assert batchfront("work", "other.py:my_workload", "--quiet").code == 0
    refused(batchfront("work", "none.py"), "there is no file of none.py here")
    assert states() == {"free", "done"}


def test_of_a_file_with_two_workloads_the_one_that_is_named_is_meant(
    batchfront: Run, planned: str, folder: Path
) -> None:
    refused(batchfront("work", "my_workload.py:model", "--quiet"), "was planned from")
    assert batchfront("plan", planned, "--variant", "wider", "--trials", "1").code == 0
    assert batchfront("work", planned, "--quiet").code == 0
    assert states() == {"done"}


@pytest.mark.parametrize("spec", ["os:abort", "{0}/evil.py:w", "{0}:evil:w", "evil.py:w", "e.toml"])
def test_a_worker_loads_nothing_else_that_a_database_names(
    batchfront: Run, planned: str, folder: Path, spec: str
) -> None:
    (folder / "evil.py").write_text(f"{EXECUTES}def w(): raise SystemExit(3)\n")
    (folder / "allowed").mkdir()
    (folder / "allowed" / "evil.py").symlink_to(folder / "evil.py")
    write_sweep(folder).rename(folder / "e.toml")
    say(f"spec = '{spec.format(folder)}', checksums = NULL")
    for told in ((), ("--code", "allowed"), (NAME,), ("--purposes", "search")):
        refused(batchfront("work", "--quiet", *told), NAME)
    for command in (("launch", "debug"), ("confirm", NAME, "--workers", "1")):
        result = batchfront(*command)
        assert result.code == 2, command
        assert NAME in result.err.splitlines()[-1]
    assert not (folder / "EXECUTED").exists()
    assert states() == {"free"}


def test_a_worker_goes_on_with_what_it_may_run_and_says_once_what_it_passes_over(
    batchfront: Run, planned: str
) -> None:
    catalog = ("plan", "digits/mlp/momentum", "--batch-sizes", "64", "--trials", "1")
    assert batchfront(*catalog).code == 0
    result = batchfront("work", "--quiet")
    refused(result, NAME)
    with sqlite3.connect("batchfront.db") as conn:
        left = conn.execute(
            "SELECT DISTINCT workload FROM bf_studies s JOIN bf_slots ON study_id = s.id "
            "WHERE state = 'free'"
        ).fetchall()
    assert left == [(NAME,)]


def test_a_study_from_before_checksums_is_run_where_its_file_is_allowed(
    batchfront: Run, planned: str, workload_file: Write
) -> None:
    say("checksums = NULL")
    refused(batchfront("work", "--quiet"), NAME)
    workload_file(("nn.Linear(4, 2)", "nn.Linear(4, 2, bias=False)"))
    assert "exists under another definition" in batchfront("work", "--quiet", "--code", ".").err
    workload_file()
    assert batchfront("work", "--quiet", "--code", ".").code == 0


def test_planning_again_learns_the_files_of_all_its_studies(
    batchfront: Run, planned: str, folder: Path
) -> None:
    say("checksums = NULL")
    with (folder / "my_workload.py").open("a") as file:
        file.write("\n# a comment\n")
    assert batchfront("plan", planned, "--batch-sizes", "2").code == 0
    with sqlite3.connect("batchfront.db") as conn:
        kept = conn.execute("SELECT DISTINCT checksums FROM bf_studies").fetchall()
    assert len(kept) == 1
    assert kept[0][0].startswith('{"my_workload.py": "')
    assert batchfront("work", "--quiet", "--code", ".").code == 0
    assert states() == {"done"}


@pytest.mark.slow
def test_run_passes_its_trust_on_and_what_it_advises_afterwards_works(
    batchfront: Run, workload_file: Write, folder: Path
) -> None:
    spec = workload_file()
    ran = batchfront("run", spec, "--trials", "2", "--batch-sizes", "8", "--workers", "1")
    assert ran.code == 0, ran.err
    result = batchfront("confirm", NAME, "--seeds", "1", "--candidates", "1", "--workers", "1")
    refused(result, f"{NAME}: the database names its code")
    assert batchfront(*advised(result)).code == 0
    again = ("replay", NAME, "--batch-size", "8", "--save", "again.safetensors")
    result = batchfront(*again)
    assert (result.code, (folder / "again.safetensors").exists()) == (2, False)
    assert batchfront(*advised(result)).code == 0
    model = batchfront("model", NAME, "--batch-size", "8", "--output", "model")
    again = shlex.split(model.out.rpartition("The same weights again: ")[2].strip().strip("`"))[1:]
    (folder / "weights.safetensors").unlink(missing_ok=True)
    assert batchfront(*again).code == 0


@pytest.mark.slow
def test_launched_workers_may_run_what_the_launcher_may(batchfront: Run, planned: str) -> None:
    assert batchfront("launch", "local", planned, "--workers", "1").code == 0
    assert states() == {"done"}


def test_a_manifest_hands_places_on_and_refuses_those_that_only_this_machine_has(
    batchfront: Run,
) -> None:
    manifest = ("launch", "kubernetes", "--image", "an/image", "--workers", "1", "--print")
    printed = batchfront(*manifest, "--code", "/workloads", "--code", "/more.py")
    words = re.sub(r"\s+- ", " ", printed.out)
    assert "--code /workloads --code /more.py" in words
    refused(batchfront(*manifest, "--code", "here"), "--code here")


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_an_export_brings_no_code(
    batchfront: Run,
    planned: str,
    folder: Path,
    format_: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (folder / "evil.py").write_text(EXECUTES)
    say("spec = 'evil.py:w'")
    assert batchfront("export", "--output", "arch", "--format", format_).code == 0
    (folder / "batchfront.db").rename(folder / "theirs.db")
    for made in ("2 of them new", "0 of them new"):
        assert made in batchfront("import", "export", "arch").out
    for command in (("work", NAME), ("work", NAME, "--code", "."), ("launch", "debug", NAME)):
        refused(batchfront(*command), f"study {NAME}/b2 was imported", "there is no code here")
    refused(batchfront("plan", planned), f"study {NAME}/b2 was imported")
    assert batchfront("work", "--quiet", "--code", ".").code == 0
    assert [one.getMessage() for one in caplog.records if "passed over" in one.getMessage()] == [
        f"{NAME}: passed over, as it was imported, and its code isn't here"
    ]
    assert not (folder / "EXECUTED").exists()
    assert states() == {"free"}


def test_code_that_may_not_run_is_refused_before_what_would_run_it_is_imported(
    planned: str,
) -> None:
    work = ("-P", "-m", "batchfront.cli.main", "work", "--quiet")
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", *work], capture_output=True, text=True
    )
    assert ran.returncode == 2
    imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
    assert "batchfront.worker.worker" in imported
    assert "torch" not in imported
