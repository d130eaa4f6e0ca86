"""What is stuck is named, with the command that frees it."""

from pathlib import Path

import optuna
import pytest
from sqlalchemy import update

from batchfront.doctor.finding import Finding, Level
from batchfront.doctor.studies import examine_studies
from batchfront.outcomes import TrialResult
from batchfront.store.schema import slots, studies
from batchfront.store.url import Storage
from batchfront.vocabulary import Outcome
from batchfront.workload.catalog import NOWHERE
from batchfront.workload.trust import Trust
from tests import toy
from tests.batchfront.doctor.findings import about
from tests.searches import CODE, NAME, claim, planned, worker

pytestmark = pytest.mark.every_storage

NOBODY = Trust()


def look(storage: Storage, alive: int = 0, trust: Trust = NOBODY) -> list[Finding]:
    return list(examine_studies(storage, alive, trust))


def end(storage: Storage, outcome: Outcome, limit: int = 100) -> None:
    ledger = worker(storage, f"worker {outcome} {limit}")
    study, taken = claim(ledger, limit)
    started = ledger.start(study, taken, study.space, {})
    ledger.finish(study, [(one, TrialResult(outcome, "because\nof this", 3)) for one in started])


def test_nothing_planned_is_no_fault(storage: Storage) -> None:
    assert [one.says for one in look(storage)] == ["nothing is planned"]


def test_open_trials_without_a_worker_name_the_command_that_runs_them(storage: Storage) -> None:
    planned(storage, batch_sizes=(4,))
    (found,) = look(storage, trust=Trust.of(CODE))
    assert (found.level, found.says.split(",")[0]) == (
        Level.WARNING,
        "4 trials of clouds/mlp/momentum wait",
    )
    assert found.command is not None
    assert f"batchfront work --code {CODE[0]}" in found.command
    (found,) = look(storage, alive=1, trust=Trust.of(CODE))
    assert found.level is Level.OK


def test_trials_that_have_all_failed_are_a_failure_with_the_last_reason(storage: Storage) -> None:
    planned(storage, batch_sizes=(4,))
    end(storage, Outcome.FAILED)
    (found,) = about(look(storage), "failed trials")
    assert (found.level, found.says) == (
        Level.FAILURE,
        "4 of clouds/mlp/momentum's 4 ended trials failed, the last: because",
    )


def test_one_failure_in_many_is_no_finding(storage: Storage) -> None:
    planned(storage, batch_sizes=(4,), trials=8)
    end(storage, Outcome.FAILED, 1)
    end(storage, Outcome.EXHAUSTED)
    assert not about(look(storage), "failed trials")


def test_a_trial_with_which_workers_died_is_named(storage: Storage) -> None:
    planned(storage, batch_sizes=(4,))
    with storage.write() as conn:
        conn.execute(update(slots).where(slots.c.number == 2).values(deaths=3))
    (found,) = about(look(storage), "deadly trials")
    assert found.says.startswith("clouds/mlp/momentum/b4 trial 2 has ended 3 workers")


def test_an_orphan_is_named_with_the_command_that_removes_it_and_its_trials_wait_for_nobody(
    storage: Storage,
) -> None:
    planned(storage, batch_sizes=(4, 16))
    optuna.delete_study(
        study_name=f"{NAME}/b16", storage=storage.url.render_as_string(hide_password=False)
    )
    found = look(storage, trust=Trust.of(CODE))
    (orphan,) = about(found, "unreadable study")
    assert orphan.level is Level.WARNING
    assert orphan.says == f"study {NAME}/b16 is left out: its Optuna study was deleted"
    assert orphan.command is not None
    assert orphan.command.startswith(f"`batchfront delete {NAME}/b16")
    (waiting,) = about(found, "studies")
    assert waiting.says.startswith("4 trials")


def test_a_study_that_cannot_be_read_is_named_and_the_others_are_looked_at(
    storage: Storage,
) -> None:
    planned(storage, batch_sizes=(4, 16))
    with storage.write() as conn:
        conn.execute(
            update(studies).where(studies.c.batch_size == 4).values(identity='{"goal": 3}')
        )
    end(storage, Outcome.FAILED)
    found = look(storage)
    (damaged,) = about(found, "unreadable study")
    assert damaged.says.startswith(f"study {NAME}/b4 is left out: ")
    assert about(found, "failed trials")[0].says.startswith(f"4 of {NAME}'s 4 ended")


def test_of_many_that_cannot_be_read_the_first_are_named(storage: Storage) -> None:
    planned(storage, batch_sizes=tuple(range(1, 13)), trials=1)
    with storage.write() as conn:
        conn.execute(update(studies).values(identity="{}"))
    found = about(look(storage), "unreadable study")
    assert len(found) == 11
    assert found[-1].says == "2 more can't be read"


def test_code_that_nobody_allowed_here_is_named_with_the_command_that_allows_it(
    storage: Storage,
) -> None:
    planned(storage, batch_sizes=(4,))
    waiting, code = look(storage)
    assert (waiting.about, waiting.command) == ("studies", None)
    assert (code.about, code.level) == ("code", Level.WARNING)
    assert code.command is not None
    assert f"batchfront work --code {Path(toy.__file__).resolve()}" in code.command
    assert [one.level for one in look(storage, alive=1)] == [Level.OK, Level.OK]


def test_code_that_has_changed_since_is_named_with_the_command_that_accepts_it(
    storage: Storage,
) -> None:
    planned(storage, batch_sizes=(4,))
    with storage.write() as conn:
        conn.execute(update(studies).values(checksums='{"toy.py": "0"}'))
    (code,) = about(look(storage, trust=Trust.of(CODE)), "code")
    assert "is not what it was planned with" in code.says
    assert code.command is not None
    assert "--accept-changes" in code.command


@pytest.mark.parametrize(
    ("spec", "why"), [("", "was imported"), (f"f{NOWHERE}", "was planned from Python")]
)
def test_trials_that_no_worker_can_run_are_not_said_to_wait_for_one(
    storage: Storage, spec: str, why: str
) -> None:
    planned(storage, batch_sizes=(4,))
    with storage.write() as conn:
        conn.execute(update(studies).values(spec=spec))
    waiting, code = look(storage)
    assert (waiting.command, code.command) == (None, None)
    assert why in code.says


def test_workloads_whose_code_is_missing_are_named_together(storage: Storage) -> None:
    planned(storage, batch_sizes=(4,))
    planned(storage, toy.measuring, batch_sizes=(4,))
    with storage.write() as conn:
        conn.execute(update(studies).values(spec="/nowhere/gone.py:made", checksums=None))
    (code,) = about(look(storage), "code")
    assert "there is no /nowhere/gone.py:made here" in code.says
    assert "; likewise " in code.says
