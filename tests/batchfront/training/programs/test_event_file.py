"""Scalars are read from event files as they grow, whoever wrote them: see events/write.py."""

import math
from pathlib import Path

import pytest

from batchfront.errors import ProgramError
from batchfront.training.programs.event_file import EventFile, Scalar

EVENTS = Path(__file__).parent / "events"
NAME = "events.out.tfevents.1"


@pytest.mark.parametrize("writer", ["torch", "torch_new_style", "tensorboardx"])
def test_the_scalars_that_a_library_wrote_are_read_as_they_were_logged(writer: str) -> None:
    *found, nan, infinite = EventFile(EVENTS / writer / NAME).poll()
    to_eight_digits = [1.0, 0.16666667, 0.09090909, 9.094947e-13]
    steps = [0, 5, 10, 2**40]
    assert [scalar for scalar in found if scalar.tag == "train/loss"] == [
        Scalar(step, "train/loss", value)
        for step, value in zip(steps, to_eight_digits, strict=True)
    ]
    evaluated = [scalar for scalar in found if scalar.tag == "eval/loss"]
    assert [scalar.value for scalar in evaluated[:2]] == [0.5, 0.25]
    assert len(found) == 7
    assert (nan.step, nan.tag, math.isnan(nan.value)) == (10, "eval/nan", True)
    assert infinite == (10, "eval/inf", -math.inf)


def test_tensors_of_one_number_are_scalars_and_others_are_not() -> None:
    found = {scalar.tag: scalar.value for scalar in EventFile(EVENTS / "tensors" / NAME).poll()}
    contents = {f"content/{dtype}": -2.0 for dtype in (1, 2, 9, 3, 19)}
    assert found == {**contents, "double": 0.1, "int": -7.0}


def test_a_file_that_comes_byte_by_byte_gives_each_scalar_once(tmp_path: Path) -> None:
    whole = (EVENTS / "torch" / NAME).read_bytes()
    path = tmp_path / NAME
    path.touch()
    growing = EventFile(path)
    found = []
    with path.open("ab", buffering=0) as file:
        for byte in whole:
            file.write(bytes([byte]))
            found += growing.poll()
    assert repr(found) == repr(list(EventFile(EVENTS / "torch" / NAME).poll()))


@pytest.mark.parametrize("at", [0, 3, 9, 100, 200])
def test_a_damaged_file_is_refused(tmp_path: Path, at: int) -> None:
    data = bytearray((EVENTS / "torch" / NAME).read_bytes())
    data[at] ^= 1
    (tmp_path / NAME).write_bytes(data)
    with pytest.raises(ProgramError, match="no event file, or damaged at byte"):
        list(EventFile(tmp_path / NAME).poll())
