"""Searches whose trials are shared out between their batch sizes, a round at a time."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from batchfront.errors import IdentityError, UsageError
from batchfront.frontier import allocation
from batchfront.frontier.allocation import Settled
from batchfront.frontier.frontier import load_frontier
from batchfront.ledger.status import load_status
from batchfront.outcomes import TrialResult
from batchfront.plan.share_out import share_out
from batchfront.report.text import notes
from batchfront.store.schema import studies
from batchfront.store.url import Storage
from batchfront.study.study import Filter
from batchfront.vocabulary import Outcome
from tests import searches
from tests.batchfront.study.test_rounds import NAME, begin, finish, rounds
from tests.searches import ALL, work
from tests.toy import plain

SIZES = (4, 8, 16, 32)
planned = partial(
    searches.planned, workload=plain, trials="auto", batch_sizes=SIZES, together=2, max_trials=8
)
WHY = "it is sure enough"


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What each round has, the next first; then the search is settled."""
    left: list[Any] = []

    def decide(*_: Any, **__: Any) -> Any:
        return left.pop(0) if left else Settled(WHY)

    monkeypatch.setattr(allocation, "next_round", decide)
    return left


def columns(storage: Storage) -> list[tuple[Any, ...]]:
    """Of each study: trials, the most that it may have, how sure it is to be, and why it is."""
    names = (studies.c.trials, studies.c.max_trials, studies.c.until, studies.c.settled)
    with storage.read() as conn:
        return [tuple(row) for row in conn.execute(select(*names).order_by(studies.c.batch_size))]


@pytest.mark.every_storage
def test_a_round_has_its_share_when_all_before_it_are_over(
    storage: Storage, given: list[Any]
) -> None:
    planned(storage)
    assert rounds(storage) == [[0, 0]] * 4
    assert columns(storage) == [(2, 8, 1.3, None)] * 4
    given.append({4: 3, 32: 1})
    assert not share_out(storage, ALL)  # the first isn't over
    finish(storage, 4)
    ledger = searches.worker(storage)
    assert ledger.is_open(ALL)
    assert share_out(storage, ALL)
    assert rounds(storage) == [[0, 0, 1, 1, 1], [0, 0], [0, 0], [0, 0, 1]]
    assert [row[0] for row in columns(storage)] == [5, 2, 2, 3]
    assert not share_out(storage, ALL)  # now that one isn't
    finish(storage, 2)
    assert not share_out(storage, ALL)
    assert {row[3] for row in columns(storage)} == {WHY}
    assert not ledger.is_open(ALL)
    assert not share_out(storage, ALL)


def test_what_is_done_meanwhile_is_not_done_twice(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage)
    finish(storage, 4)
    inner: list[bool] = []

    def decide(*_: Any, **__: Any) -> Any:
        if not inner:
            inner.append(True)
            inner.append(share_out(storage, ALL))
        return {8: 2}

    monkeypatch.setattr(allocation, "next_round", decide)
    assert share_out(storage, ALL)
    assert inner == [True, True]
    assert rounds(storage) == [[0, 0], [0, 0, 1, 1], [0, 0], [0, 0]]


def test_workers_go_on_until_it_is_settled_and_one_finds_what_three_do(
    storage: Storage, second_storage: Storage, tmp_path: Path
) -> None:
    for where in (storage, second_storage):
        planned(where, max_trials=6, until=1.01)
    work(storage, tmp_path)
    ledger, _, taken = begin(second_storage, "dies")
    ledger.release([(slot, 0) for slot in taken])
    for name in ("one", "two", "three"):
        work(second_storage, tmp_path, name)
    assert rounds(storage) == rounds(second_storage)
    assert columns(storage) == columns(second_storage)
    assert all(row[3] for row in columns(storage))
    assert max(row[0] for row in columns(storage)) <= 6


def test_a_search_that_is_not_settled_is_not_finished_and_all_who_tell_of_it_say_so(
    storage: Storage, given: list[Any]
) -> None:
    planned(storage)
    finish(storage, 4)
    status = load_status(storage, ALL)
    assert not status.finished
    assert status.undone == "8 trials ran, and the answer isn't as sure yet as was asked"
    assert status.shared_out[0].startswith(f"{NAME} shares out its trials")
    assert "they aren't all run yet" in notes(load_frontier(storage, NAME))[0]
    share_out(storage, ALL)
    status = load_status(storage, ALL)
    assert status.finished
    assert status.undone == ""
    assert status.shared_out == [f"{NAME} is settled after 8 trials: {WHY}."]
    assert f"until {WHY}." in notes(load_frontier(storage, NAME))[0]


def test_a_search_that_is_settled_goes_on_when_it_is_to_be_surer_or_may_have_more(
    storage: Storage, given: list[Any]
) -> None:
    planned(storage)
    finish(storage, 4)
    share_out(storage, ALL)
    planned(storage)
    assert columns(storage) == [(2, 8, 1.3, WHY)] * 4  # nothing new was asked for
    for asked in ({"until": 1.1}, {"max_trials": 20}):
        planned(storage, **{**asked, "trials": None})
        assert {row[3] for row in columns(storage)} == {None}
        share_out(storage, ALL)
        assert {row[3] for row in columns(storage)} == {WHY}
    assert columns(storage) == [(2, 20, 1.1, WHY)] * 4


def test_a_number_of_trials_ends_the_sharing_and_auto_begins_it(
    storage: Storage, given: list[Any]
) -> None:
    planned(storage)
    planned(storage, trials=3, max_trials=None)
    assert columns(storage) == [(3, None, None, None)] * 4
    assert not share_out(storage, ALL)
    planned(storage)
    assert columns(storage) == [(3, 8, 1.3, None)] * 4


def test_another_sampler_beside_a_sharing_search_has_the_usual_number_of_trials(
    storage: Storage,
) -> None:
    planned(storage)
    plain_search = {"trials": None, "max_trials": None, "together": None, "sampler": "sobol"}
    with pytest.raises(IdentityError, match=r"search\.sampler was joint, is sobol"):
        planned(storage, **plain_search)
    beside = planned(storage, **plain_search, variant="apart")
    assert {(study.trials, study.max_trials) for study in beside} == {(32, None)}


def test_a_search_by_another_sampler_is_named_where_it_cannot_share_out(storage: Storage) -> None:
    planned(storage, trials=4, max_trials=None, sampler="sobol")
    with pytest.raises(UsageError, match=r"--trials auto: .*; study .*/b4 has sobol: say how many"):
        planned(storage)
    beside = planned(storage, sampler="joint", variant="shared")  # as it advises
    assert {study.max_trials for study in beside} == {8}


def test_failed_trials_tell_nothing_and_the_search_still_ends(storage: Storage) -> None:
    planned(storage, max_trials=4)
    for _ in range(20):
        if not share_out(storage, ALL) and load_status(storage, ALL).finished:
            break
        while any(study.open for study in load_status(storage, ALL).studies):
            finish(storage, 1, lambda *_: TrialResult(Outcome.FAILED, "broken", 3))
    assert {row[0] for row in columns(storage)} == {4}
    assert load_status(storage, ALL).finished


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"trials": 4, "until": 1.5}, "--until 1.5: needs --trials auto"),
        ({"trials": 4, "until": None}, "--max-trials 8: needs --trials auto"),
        ({"max_trials": 1}, "--max-trials 1: must be at least 2, as many as race together"),
        ({"together": 65, "max_trials": None}, "--together 65: .* at most 64 trials"),
        ({"until": 1.0}, "--until 1.0: must be a factor above 1, such as 1.3"),
        ({"sampler": "sobol"}, "--trials auto: needs --sampler joint"),
        ({"count": "feasible"}, "--count feasible: counts up to a number of trials"),
        ({"batch_sizes": (4, 8, 16)}, "--trials auto: needs at least 4 batch sizes"),
    ],
)
def test_what_cannot_be_is_refused(storage: Storage, asked: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        planned(storage, **asked)
    assert columns(storage) == []


def test_a_worker_of_some_batch_sizes_ends_where_others_are_to_run(
    storage: Storage, given: list[Any]
) -> None:
    planned(storage)
    some = Filter(batch_sizes=(4, 8))
    finish(storage, 2, wanted=some)
    assert not searches.worker(storage).is_open(some)
    finish(storage, 2)
    assert searches.worker(storage).is_open(some)
