"""Edited code on the command line: refused with commands that work as they are printed."""

import csv
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from markupsafe import Markup

from batchfront.cli.commands import same_command
from batchfront.cli.main import cli
from tests.batchfront.cli.conftest import Result

NAME = "blobs/linear/momentum"
NET = (
    "def model():\n    return nn.Linear(4, 2)",
    "class Net(nn.Linear):\n    def forward(self, x):\n        return super().forward(x) * 1.0\n\n"
    "def model():\n    return Net(4, 2)",
)
EDITED = (NET[0], NET[1].replace("1.0", "0.5"))

Batchfront = Callable[..., Result]
File = Callable[..., str]


def advised(result: Result, option: str) -> list[str]:
    """The command that a message advises with this option, as arguments."""
    found = [c for c in re.findall(r"`(batchfront [^`]*)`", result.err) if option in c]
    assert len(found) == 1, result.err
    return shlex.split(found[0])[1:]


@pytest.fixture
def planned(batchfront: Batchfront, workload_file: File) -> str:
    """The spec of a workload that was edited after it had been planned."""
    spec = workload_file(NET)
    assert batchfront("plan", spec, "--trials", "2").code == 0
    workload_file(EDITED)
    return spec


@pytest.mark.parametrize("command", ["run", "plan"])
def test_edited_code_is_refused_in_one_line_that_names_it(
    batchfront: Batchfront, planned: str, command: str
) -> None:
    refused = batchfront(command, planned, "--trials", "2")
    assert (refused.code, refused.out) == (2, "")
    (line,) = [line for line in refused.err.splitlines() if line.startswith("batchfront: ")]
    assert "differs in my_workload.py:Net. Undo the change; or go on" in line


def test_the_command_that_accepts_a_change_works_as_it_is_printed(
    batchfront: Batchfront, workload_file: File
) -> None:
    planned = workload_file(NET)
    assert batchfront("run", planned, "--trials", "2", "--workers", "1").code == 0
    workload_file(EDITED)
    refused = batchfront("run", planned, "--trials", "3", "--workers", "1")
    accepting = advised(refused, "--accept-changes")
    assert accepting == ["run", planned, "--trials", "3", "--workers", "1", "--accept-changes"]
    went_on = batchfront(*accepting)
    assert went_on.code == 0
    said = "Trials of 2 versions of the workload's code are mixed: 4 of version 1, 2 of version 2"
    assert said in went_on.out
    assert said in batchfront("curve").out
    assert said in batchfront("status").err
    assert said in batchfront("analyze", "compare").err
    for format_ in ("csv", "table"):
        shown = batchfront("frontier", NAME, "--format", format_)
        assert said in (shown.out if format_ == "table" else shown.err)
    plain = json.loads(batchfront("frontier", NAME, "--format", "json").out)
    assert [one["trials"] for one in plain["code"]] == [4, 2]
    assert said in Markup(Path("report.html").read_text()).striptags()
    assert batchfront("export", "--output", "tables", "--format", "csv").code == 0
    with Path("tables/frontier.csv").open() as file:
        assert {row["code_version"] for row in csv.DictReader(file)} <= {"1", "2"}
    with Path("tables/trials.csv").open() as file:
        sources = [json.loads(row["versions"])["source"] for row in csv.DictReader(file)]
    assert sorted(map(sources.count, set(sources))) == [2, 4]


def test_the_command_that_keeps_both_works_as_it_is_printed(
    batchfront: Batchfront, planned: str
) -> None:
    begun = batchfront("plan", planned, "--variant", "wider")
    assert begun.out.startswith(f"{NAME}@wider/b2: 2 trials, 2 new")
    refused = batchfront("run", planned, "--workers", "1")
    both = batchfront(*advised(refused, "--variant"))
    assert both.code == 0
    assert f"{NAME}@v2: steps to target" in both.out
    page = Path("report.html").read_text()
    for name in (NAME, f"{NAME}@wider", f"{NAME}@v2"):
        assert f">{name}</h2>" in page
    assert 'id="compared">All workloads' in page


def test_a_variants_own_edits_are_refused_with_another_variant(
    batchfront: Batchfront, planned: str, workload_file: File
) -> None:
    assert batchfront("plan", planned, "--variant=v2", "--trials", "2").code == 0
    workload_file((NET[0], NET[1].replace("1.0", "0.25")))
    refused = batchfront("plan", planned, "--variant=v2", "--trials", "2")
    assert refused.code == 2
    again = advised(refused, "--variant v3")
    assert again == ["plan", planned, "--trials", "2", "--variant", "v3"]
    assert batchfront(*again).out.startswith(f"{NAME}@v3/b2: 2 trials, 2 new")


def test_a_changed_definition_offers_a_variant_alone(
    batchfront: Batchfront, planned: str, workload_file: File
) -> None:
    workload_file(NET, ("return Net(4, 2)", "return Net(4, 2, bias=False)"))
    refused = batchfront("plan", planned, "--trials", "2")
    assert refused.code == 2
    assert "--accept-changes" not in refused.err
    assert batchfront(*advised(refused, "--variant")).code == 0


def test_a_worker_with_other_code_is_told_what_accepts_it(
    batchfront: Batchfront, workload_file: File, folder: Path
) -> None:
    spec, storage = workload_file(NET), f"sqlite:///{folder}/other.db"
    assert batchfront("plan", spec, "--trials", "1", "--storage", storage).code == 0
    workload_file(EDITED)
    refused = batchfront("work", "--storage", storage, "--quiet")
    assert refused.code == 2
    assert "differs in my_workload.py. Bring the code here to that version" in refused.err
    assert batchfront(*advised(refused, "--accept-changes")).code == 0
    assert batchfront("work", "--storage", storage, "--quiet").code == 0


def test_a_module_beside_the_file_counts_in_another_process(
    started: Callable[..., "object"], workload_file: File, folder: Path
) -> None:
    (folder / "beside.py").write_text("def scaled(x):\n    return x\n")
    spec = workload_file(
        (NET[0], NET[1].replace("* 1.0", "* 1.0 + scaled(x).sum() * 0")),
        ("import torch\n", "import torch\nfrom beside import scaled\n"),
    )

    def plan() -> tuple[int, str]:
        process = started("plan", spec, "--trials", "1")
        _, err = process.communicate()  # type: ignore[attr-defined]
        return process.returncode, err  # type: ignore[attr-defined]

    assert plan()[0] == 0
    (folder / "beside.py").write_text("def scaled(x):\n    return 2 * x\n")
    code, err = plan()
    assert code == 2
    assert "it differs in beside.py:scaled." in err


def test_a_variant_goes_through_every_command_by_its_name(
    batchfront: Batchfront, workload_file: File
) -> None:
    spec, name = workload_file(), f"{NAME}@wider"
    assert batchfront("run", spec, "--trials", "2", "--workers", "1").code == 0
    again = ("run", spec, "--workers", "1", "--variant", "wider")
    ran = batchfront(*again)
    assert ran.code == 0
    first = json.loads(batchfront("frontier", NAME, "--format", "json").out)
    second = json.loads(batchfront("frontier", name, "--format", "json").out)
    assert second["points"] == first["points"]  # the same code, draws and seeds
    for command in (
        ("status", name),
        ("curve", name),
        ("report", name),
        ("work", name, "--quiet"),
        ("analyze", "rules", name),
        ("analyze", "compare", NAME, name),
        ("confirm", name, "--seeds", "1", "--candidates", "1", "--workers", "1"),
        ("export", name, "--output", "tables"),
        ("plan", spec, "--variant", "wider", "--extend"),
    ):
        assert batchfront(*command).code == 0, command
    compared = batchfront("analyze", "compare").out
    assert f"{NAME}:" in compared
    assert f"{name}:" in compared


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgresql://me:se@cr:et@host/db", "postgresql://me@host/db"),
        ("postgresql://me@host/db?sslmode=require", "'postgresql://me@host/db?sslmode=require'"),
        ("postgresql://host/db?password=secret&port=5", "'postgresql://host/db?&port=5'"),
        ("sqlite:///a.db", "sqlite:///a.db"),
    ],
)
def test_a_password_is_not_repeated_in_an_advised_command(given: str, shown: str) -> None:
    command = ("plan", "x/y/z", "--storage", given)
    with cli.make_context("batchfront", ["workloads"], obj=command):
        advised = same_command("--variant", "v2")
    assert advised == f"`batchfront plan x/y/z --storage {shown} --variant v2`"
