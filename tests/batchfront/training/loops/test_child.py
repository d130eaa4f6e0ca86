"""A loop that calls back has a process for each trial, and is tried before it is planned."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchfront.errors import UsageError, WorkloadError
from batchfront.training.loops.child import as_program, main
from batchfront.training.loops.child_run import ChildRun
from batchfront.training.loops.preflight import examine
from batchfront.training.loops.resumption import Resumption
from batchfront.training.loops.run import LoopRun
from batchfront.training.programs.command_line import TrialStart
from batchfront.workload import catalog
from batchfront.workload.code.loop import loop_code
from batchfront.workload.code.versions import digest
from batchfront.workload.loop import Loop
from tests import calling

VALUES = {"learning_rate": 0.05}
SEED = 2**40 + 7


def load(name: str, spec: str = calling.SPEC) -> Loop:
    found = catalog.load(f"{spec}{name}")
    assert isinstance(found, Loop)
    return found


@contextmanager
def child(folder: Path, name: str, source: str | None = None) -> Iterator[ChildRun]:
    """A trial of one of the loops, in a process of its own."""
    loop = load(name)
    program = as_program(loop, f"{calling.SPEC}{name}", source or digest(loop_code(loop)))
    run = ChildRun(TrialStart(program, 4, VALUES, SEED, folder))
    try:
        yield run
    finally:
        run.close()


def test_it_takes_the_same_steps_as_a_generator(tmp_path: Path) -> None:
    alone = LoopRun(load("yielding"), 4, VALUES, SEED)
    alone.advance(12)
    alone.close()
    with child(tmp_path, "calling") as run:
        run.advance(12)
    assert run.shown == alone.shown
    assert len(run.shown) == 12


def test_it_ends_after_its_step_budget(tmp_path: Path) -> None:
    with child(tmp_path, "calling") as run:
        run.advance(40)
        with pytest.raises(WorkloadError, match="fails after step 40, with exit code 0"):
            run.advance(41)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("early", r"train\(\) returns after step 1; it is to go on to the step budget, 40 steps "),
        ("skipping", "reports step 2, where step 1 is the next that is evaluated; report wherever"),
        ("wordy", r"reports what it can't: value is 'low' \(str\), not a number"),
        ("sizeless", "the loop doesn't take its batch size: it has reported without asking for tr"),
        ("miscounting", "has taken 7 examples by step 1, where 1 batches of trial.batch_size, 4, "),
        ("failing", r"train\(\) fails before its first report: ZeroDivisionError: with 4$"),
        ("returning", r"train\(\) returns a generator, of which nothing has run; write the yields"),
    ],
)
def test_what_a_loop_does_wrong_is_said_in_one_line(tmp_path: Path, name: str, why: str) -> None:
    with child(tmp_path, name) as run, pytest.raises(WorkloadError, match=f"^toy/line/sgd: {why}"):
        run.advance(40)


def test_a_loop_may_choose_its_steps_and_its_end(tmp_path: Path) -> None:
    with child(tmp_path, "by_epochs") as run:
        run.advance(21)
        assert [one.step for one in run.shown] == [7, 14, 21]
        with pytest.raises(WorkloadError, match="fails after step 21, with exit code 0"):
            run.advance(40)


def test_code_that_has_changed_trains_nothing(tmp_path: Path) -> None:
    with (
        child(tmp_path, "calling", source="another") as run,
        pytest.raises(WorkloadError, match="code of toy/line/sgd has changed since its worker"),
    ):
        run.advance(1)
    assert run.shown == []


def test_what_is_no_loop_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no/such/file.py:loop", "--source", ""]) == 2
    assert capsys.readouterr().err == "Error: no file no/such/file.py in " + str(Path.cwd()) + "\n"


def test_braces_in_a_path_are_no_placeholders(tmp_path: Path) -> None:
    file = tmp_path / "{learning_rate}" / "calling.py"
    file.parent.mkdir()
    file.write_text(Path(calling.__file__).read_text())
    loop = load("calling", f"{file}:")
    program = as_program(loop, f"{file}:calling", digest(loop_code(loop)))
    run = ChildRun(TrialStart(program, 4, VALUES, SEED, tmp_path))
    run.advance(1)
    run.close()
    assert run.shown[0].step == 1


def test_a_file_that_has_changed_is_not_run(tmp_path: Path) -> None:
    file = tmp_path / "calling.py"
    file.write_text(Path(calling.__file__).read_text())
    loop = load("calling", f"{file}:")
    program = as_program(loop, f"{file}:calling", digest(loop_code(loop)))
    with file.open("a") as more:
        more.write(f"\nPath({str(tmp_path / 'EXECUTED')!r}).touch()\n")
    run = ChildRun(TrialStart(program, 4, VALUES, SEED, tmp_path))
    with pytest.raises(WorkloadError, match="has changed since its worker loaded it"):
        run.advance(1)
    run.close()
    assert not (tmp_path / "EXECUTED").exists()


def test_it_is_tried_as_any_loop_and_starts_again() -> None:
    examined = examine(load("calling"), [4, 16], f"{calling.SPEC}calling")
    assert examined.resumption is Resumption.ANEW
    assert "an interrupted trial starts again from step 0" in examined.notes[0]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("rateless", "the loop doesn't use the metaparameter 'learning_rate'"),
        ("drifting", "your loop isn't reproducible: step 1, loss [0-9.e+]+ and [0-9.e+]+, the"),
        ("failing", r"train\(\) fails before its first report: ZeroDivisionError: with 4"),
    ],
)
def test_what_would_fail_or_go_wrong_is_not_planned(name: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"^toy/line/sgd: {why}"):
        examine(load(name), [4, 16], f"{calling.SPEC}{name}")
