"""Searches come out as they did when they were recorded: every trial's steps, outcome,
metaparameters and measurements, the frontier, and the curve through it, to the bit.

A part of them is run by default, all of them with BATCHFRONT_TEST_GOLDEN=1 (some minutes; that of
MNIST where BATCHFRONT_DATA_DIR has it). To the bit is on one kind of processor, which the record
names; on another only what is drawn from a sequence is compared. Whoever changes results on
purpose records them again, which takes as long:

    OMP_NUM_THREADS=1 BATCHFRONT_DATA_DIR=… python -m tests.golden
"""

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.golden.recorded import another_kind, differences, read
from tests.golden.runs import RUNS, carried_out, planned, trials_in

_, RECORDED = read()

QUICK = {
    "sobol momentum": (64, 256),
    "sobol adamw": (64, 256),
    "tpe adamw": (256,),
    "vectorized": (64, 256),
}
"""The runs of which a part is repeated by default, and at which batch sizes."""

QUASI_RANDOM = ("sobol adamw", "another seed")
"""Runs whose metaparameters depend on no result."""


def why_not() -> str:
    if os.environ.get("BATCHFRONT_TEST_GOLDEN") != "1":
        return "BATCHFRONT_TEST_GOLDEN=1 asks for it"
    return another_kind()


@pytest.mark.skipif(bool(another_kind()), reason=another_kind())
@pytest.mark.parametrize("name", QUICK)
def test_a_part_of_the_searches_comes_out_to_the_bit(name: str, tmp_path: Path) -> None:
    found = carried_out(RUNS[name], tmp_path, QUICK[name])
    before, now = (_part(results, QUICK[name]) for results in (RECORDED[name], found))
    assert list(differences(before, now)) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.parametrize("name", RUNS)
def test_every_search_comes_out_to_the_bit(name: str, tmp_path: Path) -> None:
    mnist = Path(os.environ.get("BATCHFRONT_DATA_DIR", "")) / "MNIST"
    if name == "mnist" and not mnist.is_dir():
        pytest.skip("BATCHFRONT_DATA_DIR has no MNIST")
    assert list(differences(RECORDED[name], carried_out(RUNS[name], tmp_path))) == []


@pytest.mark.parametrize("name", QUASI_RANDOM)
def test_trials_are_drawn_as_they_were_on_any_processor(name: str, tmp_path: Path) -> None:
    found = trials_in(planned(RUNS[name], tmp_path))
    assert [*found] == [*RECORDED[name]["studies"]]
    for study, trials in found.items():
        before = [pytest.approx(t["params"], rel=1e-12) for t in RECORDED[name]["studies"][study]]
        assert [trial["params"] for trial in trials] == before


def test_every_run_is_recorded() -> None:
    assert [*RECORDED] == [*RUNS]


def test_a_value_that_differs_in_its_last_bit_is_told() -> None:
    before = {"b4": [{"params": {"momentum": 0.5}, "steps": 96}]}
    now = {"b4": [{"params": {"momentum": math.nextafter(0.5, 1)}, "steps": 96}, {}]}
    told = ["b4/0/params/momentum was 0.5, is 0.5000000000000001", "b4/1 was None, is {}"]
    assert list(differences(before, now)) == told
    assert list(differences(before, before)) == []


def _part(results: dict[str, Any], batch_sizes: Iterable[int]) -> dict[str, Any]:
    """What of a run's results hangs on no other batch size."""
    studies = {f"b{size}" for size in batch_sizes}
    return {
        "studies": {n: of for n, of in results["studies"].items() if n.split("/")[3] in studies},
        "frontier": [p for p in results["frontier"] if p["batch_size"] in batch_sizes],
    }
