"""What is stuck is named, with the command that frees it."""

import pytest
from sqlalchemy import update

from batchfront.doctor.finding import Finding, Level
from batchfront.doctor.studies import examine_studies
from batchfront.outcomes import TrialResult
from batchfront.store.schema import slots
from batchfront.store.url import Storage
from batchfront.vocabulary import Outcome
from tests.batchfront.doctor.findings import about
from tests.searches import claim, planned, worker

pytestmark = pytest.mark.every_storage


def look(storage: Storage, alive: int = 0) -> list[Finding]:
    return list(examine_studies(storage, alive))


def end(storage: Storage, outcome: Outcome, limit: int = 100) -> None:
    ledger = worker(storage, f"worker {outcome} {limit}")
    study, taken = claim(ledger, limit)
    started = ledger.start(study, taken, study.space, {})
    ledger.finish(study, [(one, TrialResult(outcome, "because\nof this", 3)) for one in started])


def test_nothing_planned_is_no_fault(storage: Storage) -> None:
    assert [one.says for one in look(storage)] == ["nothing is planned"]


def test_open_trials_without_a_worker_name_the_command_that_runs_them(storage: Storage) -> None:
    planned(storage, batch_sizes=(4,))
    (found,) = look(storage)
    assert (found.level, found.says.split(",")[0]) == (
        Level.WARNING,
        "4 trials of clouds/mlp/momentum wait",
    )
    assert found.command is not None
    assert "batchfront work" in found.command
    (found,) = look(storage, alive=1)
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
