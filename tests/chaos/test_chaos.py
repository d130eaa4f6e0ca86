"""Whatever is done to workers and their database, the result is that of an undisturbed run; and
the verdict that says so can say otherwise."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import delete, text, update

from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.database import Storage
from batchfront.store.schema import slots
from batchfront.store.url import open_storage
from tests.chaos import fleet
from tests.chaos.stranger import Stranger
from tests.chaos.verdict import compare
from tests.postgres import Postgres
from tests.searches import work
from tests.toy import SPEC, clouds


@pytest.mark.slow
@pytest.mark.postgresql
@pytest.mark.parametrize("trials", [[], ["--programs"]], ids=["models", "programs"])
def test_chaos_changes_nothing(postgres: Postgres, trials: list[str]) -> None:
    """As a process of its own, because its leases are a tenth of those of this one."""
    command = [sys.executable, "-m", "tests.chaos", "--seeds", "1", "--quick", *trials]
    command += ["--first", str(os.getpid())]  # each time another
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing |" in done.stdout


@pytest.mark.slow
@pytest.mark.postgresql
@pytest.mark.skipif(
    os.environ.get("BATCHFRONT_TEST_CHAOS") != "1", reason="BATCHFRONT_TEST_CHAOS=1 asks for it"
)
def test_chaos_of_the_service_changes_nothing(postgres: Postgres) -> None:
    """A minute or two, with a pgbouncer and a standby."""
    test_chaos_changes_nothing(postgres, ["--service"])


# The verdict


@pytest.fixture
def calm(storage: Storage) -> Storage:
    """A small plan, run to its end."""
    plan(storage, SPEC, clouds(), SearchOptions(trials=4, batch_sizes=(4,), finishers=1))
    work(storage, name="only")
    return storage


WINNER = slots.c.steps_to_target.is_not(None)


def _lose_a_slot(storage: Storage) -> None:
    with storage.write() as conn:
        conn.execute(text("DELETE FROM bf_measurements"))
        conn.execute(delete(slots).where(slots.c.number == 3))


def _leave_a_slot_open(storage: Storage) -> None:
    with storage.write() as conn:
        conn.execute(update(slots).where(slots.c.number == 3).values(state="free"))


def _end_another_way(storage: Storage) -> None:
    with storage.write() as conn:
        conn.execute(update(slots).where(~WINNER).values(outcome="failed", reason="x"))


def _reach_the_goal_later(storage: Storage) -> None:
    with storage.write() as conn:
        conn.execute(update(slots).where(WINNER).values(steps_to_target=149))


def _count_a_trial_twice(storage: Storage) -> None:
    with storage.write() as conn:
        conn.execute(
            text(
                "INSERT INTO trials (number, study_id, state) "
                "SELECT number, study_id, state FROM trials WHERE number = 2"
            )
        )


def _touch_a_strangers_trial(storage: Storage) -> None:
    theirs = Stranger(storage.url.render_as_string(hide_password=False))
    theirs.act()
    theirs.close()
    with storage.write() as conn:
        conn.execute(
            text(
                "INSERT INTO trial_user_attributes (trial_id, key, value_json) "
                "SELECT max(trial_id), 'outcome', '\"reached\"' FROM trials"
            )
        )


def _end_only_here(storage: Storage) -> None:
    with storage.write() as conn:
        conn.execute(text("UPDATE trials SET state = 'RUNNING' WHERE number = 1"))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_lose_a_slot, "other trials"),
        (_leave_a_slot_open, "slot 3 is free"),
        (_end_another_way, "is failed: ['x']"),
        (_reach_the_goal_later, "reached the goal otherwise"),
        (_reach_the_goal_later, "another frontier"),
        (_count_a_trial_twice, "is 2 trials in Optuna"),
        (_end_only_here, "is RUNNING in Optuna"),
        (_touch_a_strangers_trial, "the stranger's trial is another"),
    ],
)
def test_the_verdict_finds_every_kind_of_harm(
    calm: Storage, database: str, tmp_path: Path, harm: Callable[[Storage], None], said: str
) -> None:
    calm.close()
    shutil.copy(tmp_path / "trials.db", tmp_path / "copy.db")
    other = f"sqlite:///{tmp_path}/copy.db"
    assert compare(database, other, tmp_path / "checkpoints") == []
    storage = open_storage(other)
    harm(storage)
    storage.close()
    assert any(said in line for line in compare(database, other, tmp_path / "checkpoints"))


def test_the_verdict_finds_a_checkpoint_that_was_left(
    calm: Storage, database: str, tmp_path: Path
) -> None:
    left = tmp_path / "checkpoints" / "x" / "1.pt"
    left.parent.mkdir(parents=True)
    left.touch()
    (said,) = compare(database, database, tmp_path / "checkpoints")
    assert "1 files are left" in said


def test_the_verdict_finds_a_process_that_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "LONG", 0.1)
    workers = fleet.Fleet(("sqlite://",), tmp_path, pause=0.0)
    workers.blame_left()
    assert workers.wrong == []
    with subprocess.Popen(["sleep", "1000"], env={"CHAOS": str(tmp_path)}) as left:
        workers.blame_left()
        left.kill()
    assert workers.wrong == [f"process {left.pid} is left: sleep"]
