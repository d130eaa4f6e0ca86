"""`batchfront probe` foretells B_c, and what it prints can be typed."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from batchfront.advice.noise_scale import load_probes
from tests import toy
from tests.batchfront.cli.conftest import Result
from tests.programs import write_sweep

Run = Callable[..., Result]


SPEC, NAME = toy.SPEC, "clouds/mlp/momentum"

READ, PLAIN = ("--storage", "sqlite:///read.db"), ("--storage", "sqlite:///plain.db")


def test_before_any_search_it_foretells_and_proposes_what_can_be_typed(batchfront: Run) -> None:
    result = batchfront("probe", SPEC, "--batch-size", "2")
    assert result.code == 0
    assert "Foretold: B_c is about" in result.out
    planned = re.search(r"To measure it: `batchfront (.*)`", result.out.replace("\n", " "))
    assert planned is not None

    done = batchfront(*shlex.split(planned[1]), "--trials", "2")
    assert done.code == 0
    assert "clouds/mlp/momentum/b" in done.out


def test_the_workload_that_it_saves_is_planned_with_the_rates_that_it_proposes(
    batchfront: Run, folder: Path
) -> None:
    result = batchfront("probe", SPEC, "--batch-size", "2", "--save", "probed.py")
    rates = re.search(r"Log\(.*?\)", result.out)
    assert rates is not None
    assert rates[0] in (folder / "probed.py").read_text()
    planned = re.search(r"To measure it: `batchfront (.*)`", result.out.replace("\n", " "))
    assert planned is not None
    assert "probed.py" in planned[1]

    done = batchfront(*shlex.split(planned[1]), "--trials", "2")
    assert done.code == 0
    assert "clouds/mlp/momentum_probed/b" in done.out


def test_no_trial_changes_for_the_noise_scale_of_winners_which_is_kept(batchfront: Run) -> None:
    told = (SPEC, "--batch-sizes", "4", "--trials", "4")
    ran = batchfront("run", *told, "--workers", "1", "--noise-scale", *READ)
    assert "Gradient noise along the winners' runs" in ran.out
    assert batchfront("plan", *told, *PLAIN).code == 0
    assert batchfront("work", "--quiet", *PLAIN).code == 0
    shown = [batchfront("frontier", NAME, *where, "--format", "csv").out for where in (READ, PLAIN)]

    assert shown[0] == shown[1] != ""
    assert batchfront("plan", *told, *READ).code == 0  # it is the same search still
    assert len(load_probes("sqlite:///read.db", NAME)) == 1


def test_csv_is_its_readings(batchfront: Run) -> None:
    result = batchfront("probe", SPEC, "--batch-size", "2", "--format", "csv")

    assert result.out.startswith("step,steps,parts,examples,trace,squared_norm\n0,1,2,2,")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--batch-size", "1"), "a batch of 1 has no two parts to compare; say --batch-size 2"),
        (("--batch-size", "0"), "--batch-size 0: must be at least 1"),
        (("--max-time", "0s"), "--max-time 0s: must be longer than 0"),
        (("--save", "no/mine.py"), "--save no/mine.py: the folder no does not exist"),
    ],
)
def test_what_cant_be_is_one_line(batchfront: Run, given: tuple[str, ...], message: str) -> None:
    result = batchfront("probe", SPEC, *given)

    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err


def test_a_program_is_refused_by_both_commands_with_what_to_do(
    batchfront: Run, folder: Path
) -> None:
    sweep = str(write_sweep(folder))
    for told in (("probe", sweep), ("run", sweep, "--noise-scale", "--trials", "1")):
        result = batchfront(*told)
        assert result.code == 2
        assert "is a program, whose gradients batchfront doesn't see" in result.err
