"""`batchfront time` times a workload's training, keeps that and prints it."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from batchfront.advice.timings import load_timings
from batchfront.store.url import open_storage
from batchfront.vocabulary import TimedPart
from tests import programs, toy
from tests.batchfront.cli.conftest import Result
from tests.batchfront.cli.test_bad_input import refused
from tests.searches import NAME

Run = Callable[..., Result]

URL = "sqlite:///batchfront.db"
SIZES = ("--batch-sizes", "4,8,16")


def test_what_was_timed_is_printed_and_kept_in_place_of_what_was_there(
    batchfront: Run, folder: Path
) -> None:
    done = batchfront("time", toy.SPEC, *SIZES)
    assert done.code == 0
    assert f"{NAME} on cpu" in done.out
    for words in ("forward and backward", "optimizer's step", "loading", "evaluation"):
        assert words in done.out
    assert "Each whole step left out and predicted by the rest" in done.out
    storage = open_storage(URL)
    first = load_timings(storage, NAME)
    assert {one.part for one in first} == {*TimedPart} - {TimedPart.ALL_REDUCE}
    assert all(one.low <= one.seconds <= one.high for one in first)  # type: ignore[operator]
    assert batchfront("time", toy.SPEC, *SIZES).code == 0
    second = load_timings(storage, NAME)
    storage.close()
    assert [one.examples for one in second] == [one.examples for one in first]
    assert all(b.measured_at > a.measured_at for a, b in zip(first, second, strict=True))


def test_every_timing_is_an_object_and_a_row(batchfront: Run, folder: Path) -> None:
    told = json.loads(batchfront("time", toy.SPEC, *SIZES, "--format", "json").out)
    assert (told["workload"], told["device"]) == (NAME, "cpu")
    assert {one["part"] for one in told["timings"]} == {
        "pass", "update", "loading", "evaluation", "step"
    }  # fmt: skip
    assert all(one["repetitions"] >= 20 for one in told["timings"])
    rows = list(csv.DictReader(io.StringIO(batchfront("time", toy.SPEC, "--format", "csv").out)))
    assert {row["examples"] for row in rows if row["part"] == "step"} == {"4", "16"}


def test_bad_input_is_one_line(batchfront: Run, folder: Path) -> None:
    refused(batchfront("time", "digits/mlp/momentun"), "digits/mlp/momentum")
    refused(batchfront("time", toy.SPEC, "--device", "cuda:977"), "--device cuda:977", "GPUs")
    refused(batchfront("time", toy.SPEC, "--device", "tpu"), "use auto, cpu, cuda or cuda:N")
    refused(
        batchfront("time", toy.SPEC, "--device", "cpu", "--devices-per-trial", "1,9999"),
        "--devices-per-trial 9999: this machine has",
    )
    refused(batchfront("time", toy.SPEC, "--devices-per-trial", "2"), "must begin with 1")
    refused(batchfront("time", toy.SPEC, "--devices-per-trial", "1,0"), "the smallest is 1")
    refused(batchfront("time", toy.SPEC, "--batch-sizes", "4,9999"), "training set of 96 examples")
    refused(batchfront("time", toy.SPEC, "--batch-sizes", "0"), "the smallest is 1")


def test_what_has_to_be_planned_first_says_the_command_that_does(
    batchfront: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BATCHFRONT_CODE", raising=False)
    programs.write_sweep(folder)
    refused(batchfront("time", "./sweep.toml"), "plan it first: `batchfront plan ./sweep.toml`")
    assert batchfront("plan", "./sweep.toml", "--batch-sizes", "8", "--trials", "2").code == 0
    refused(batchfront("time", programs.NAME), "to allow it: `batchfront time", "--code")
    done = batchfront("time", "./sweep.toml")
    assert done.code == 0
    assert "with its share of the evaluations" in done.out


@pytest.fixture
def imported(batchfront: Run, folder: Path) -> str:
    """A workload whose steps were measured elsewhere."""
    points = folder / "points.csv"
    points.write_text("workload,batch_size,steps,goal\na/b/c,8,100,error < 0.1\n")
    assert batchfront("import", "points", str(points)).code == 0
    return "a/b/c"


def test_a_workload_without_code_is_told_how_its_timings_come_in(
    batchfront: Run, imported: str
) -> None:
    refused(batchfront("time", imported), "`batchfront import timings FILE`")
