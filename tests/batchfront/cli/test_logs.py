"""`batchfront logs` prints what a program has printed, or says where that is."""

import shlex
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import update

from batchfront.store.schema import slots, workers
from batchfront.store.url import Storage, open_storage
from batchfront.vocabulary import SlotState
from tests.batchfront.cli.conftest import Result
from tests.batchfront.cli.test_bad_input import refused
from tests.programs import NAME, write_sweep
from tests.waiting import eventually

Run = Callable[..., Result]

ASKED = ("logs", NAME, "--batch-size", "8", "--trial", "1")


@pytest.fixture
def storage(folder: Path) -> Storage:
    """The database that commands make here."""
    return open_storage(f"sqlite:///{folder / 'batchfront.db'}")


@pytest.fixture
def ran(batchfront: Run, folder: Path) -> None:
    """A program's search, worked on to its end."""
    path = write_sweep(folder, every='print("on its way", step, file=sys.stderr)')
    assert batchfront("plan", str(path), "--trials", "3", "--batch-sizes", "8").code == 0
    assert batchfront("work", "--quiet").code == 0


@pytest.mark.parametrize("follow", [(), ("--follow",)], ids=["", "follow"])
def test_both_outputs_of_a_trial_are_printed(
    batchfront: Run, ran: None, follow: tuple[str, ...]
) -> None:
    shown = batchfront(*ASKED, *follow)
    assert (shown.code, shown.err) == (0, "")
    assert "step 10: train_loss" in shown.out
    assert "on its way 10\n" in shown.out


def test_an_output_is_followed_until_its_trial_ends(
    started: Callable[..., object], batchfront: Run, ran: None, folder: Path, storage: Storage
) -> None:
    (log,) = folder.glob("batchfront.db.trials/*/toy/line/sgd/b8/1/output.log")
    with storage.write() as conn:
        conn.execute(update(slots).values(state=SlotState.LEASED))
    following = started(*ASKED, "--follow")
    with log.open("ab") as file:
        file.write(b"and one line more\n")
    with storage.write() as conn:
        conn.execute(update(slots).values(state=SlotState.DONE))
    out, err = following.communicate(timeout=60)  # type: ignore[attr-defined]
    assert (following.returncode, err) == (0, "")  # type: ignore[attr-defined]
    assert out.endswith("and one line more\n")


def test_what_earlier_starts_have_printed_is_told_of(
    batchfront: Run, ran: None, folder: Path
) -> None:
    (trial,) = folder.glob("batchfront.db.trials/*/toy/line/sgd/b8/1")
    (trial / "earlier" / "1").mkdir(parents=True)
    shown = batchfront(*ASKED)
    assert shown.err == f"What earlier starts of it have printed: {trial / 'earlier'}\n"


def test_a_trial_that_has_not_begun_has_printed_nothing(batchfront: Run, folder: Path) -> None:
    assert batchfront("plan", str(write_sweep(folder)), "--trials", "3").code == 0
    said = f"trial 1 of study {NAME}/b8 has not begun, so it has printed nothing"
    refused(batchfront(*ASKED), said, f"`batchfront status {NAME}` shows which have")


def test_what_is_not_there_is_refused_with_what_is(batchfront: Run, ran: None) -> None:
    refused(batchfront("logs", "a/b/c", *ASKED[2:]), "no studies of 'a/b/c'", NAME)
    refused(batchfront(*ASKED[:-1], "7"), f"--trial 7: study {NAME}/b8 has trials 0 to 2")
    other = batchfront(*ASKED[:3], "9", *ASKED[4:])
    refused(other, f"--batch-size 9: {NAME} has no study of it; there are: 8")


def test_an_output_on_another_machine_is_looked_for_there(
    batchfront: Run, ran: None, folder: Path, storage: Storage
) -> None:
    elsewhere = batchfront(*ASKED, "--trial-dir", str(folder))
    refused(elsewhere, f"nothing that trial 1 of study {NAME}/b8 has printed is kept in {folder}/")
    with storage.write() as conn:
        conn.execute(update(workers).values(host="gpu7"))
    assert batchfront(*ASKED).code == 0  # where both reach it
    elsewhere = batchfront(*ASKED, "--trial-dir", str(folder))
    refused(
        elsewhere, "ran on gpu7, and what it has printed lies there, in ", f"/{NAME}/b8/1 under"
    )
    assert socket.gethostname() not in elsewhere.err


def test_what_batchfront_trains_has_no_output_of_its_own(
    batchfront: Run, workload_file: Callable[..., str]
) -> None:
    assert batchfront("plan", workload_file(), "--trials", "2").code == 0
    said = batchfront("logs", "blobs/linear/momentum", "--batch-size", "8", "--trial", "1")
    refused(said, "is trained by batchfront and prints nothing of its own; `batchfront report")


def test_status_says_how_the_output_of_one_that_failed_is_shown(
    batchfront: Run, ran: None, storage: Storage
) -> None:
    with storage.write() as conn:
        failed = update(slots).where(slots.c.number == 1)
        conn.execute(failed.values(outcome="failed", reason="exit code 1"))
    told, advised = batchfront("status").out.splitlines()[-2:]
    assert told == f"failed: {NAME}/b8 trial 1: exit code 1"
    command = shlex.join(["batchfront", *ASKED])
    assert advised == f"`{command}` prints all that trial 1 has printed."
    assert batchfront(*ASKED).code == 0


def test_a_deleted_study_takes_its_output_along(batchfront: Run, ran: None, folder: Path) -> None:
    trials = folder / "batchfront.db.trials"
    assert list(trials.glob("*/toy/line/sgd/b8/1"))
    assert batchfront("delete", NAME, "--yes").code == 0
    eventually(lambda: not list(trials.glob("*/*")))


def test_only_colours_of_an_output_reach_the_terminal(
    batchfront: Run, ran: None, folder: Path
) -> None:
    (log,) = folder.glob("batchfront.db.trials/*/toy/line/sgd/b8/1/output.log")
    log.write_bytes(b"\x1b[31mred\x1b[0m\n\x1b]52;c;eA==\x07\xe9\n")
    shown = batchfront(*ASKED)
    assert shown.out == "\x1b[31mred\x1b[0m\n" + r"\x1b]52;c;eA==\x07\xe9" + "\n\x1b[0m"
