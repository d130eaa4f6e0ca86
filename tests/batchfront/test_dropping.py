"""With --extrapolate, or the old --halving, trials are compared with all of their study."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from batchfront.cli.output.frontier import print_frontier
from batchfront.frontier.frontier import load_frontier
from batchfront.ledger.ledger import Ledger
from batchfront.outcomes import CurvePoint, Evaluation, TrialResult
from batchfront.report.text import notes
from batchfront.store.url import Storage
from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.training.early_dropping import DroppingRule, Halving
from batchfront.worker import race
from batchfront.worker.backends import models
from batchfront.workload.goal import Goal
from tests import searches
from tests.batchfront.halved import halve
from tests.reading import load_curves
from tests.searches import NAME, claim, rows, work, worker

TRIALS = 12

planned = partial(searches.planned, trials=TRIALS, batch_sizes=(4,))


def halved(storage: Storage) -> None:
    planned(storage)
    halve(storage)


def look(step: int, metric: float) -> Evaluation:
    return Evaluation(step, 1.0, metric)


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Halving from step 4 on, as these trials reach their goal in a few dozen steps."""

    def rules(goal: Goal, finishers: int, **options: bool) -> list[DroppingRule]:
        return [Halving(goal, finishers, first=4, kept=2)] if options["halving"] else []

    monkeypatch.setattr(race, "rules", rules)


def taken(storage: Storage, name: str, limit: int) -> tuple[Ledger, Study, Sequence[Slot]]:
    ledger = worker(storage, name)
    study, drawn = claim(ledger, limit)
    return ledger, study, ledger.start(study, drawn, study.space, {})


@pytest.mark.every_storage
def test_workers_learn_what_others_trials_showed_at_the_same_look(storage: Storage) -> None:
    halved(storage)
    one, study, mine = taken(storage, "one", 2)
    two, _, others = taken(storage, "two", 2)
    curves = [(mine[0], [look(2, 0.5), look(4, 0.3)]), (mine[1], [look(2, 0.5), look(4, 0.2)])]
    assert one.record_evaluations(study, 4, curves) == {}
    theirs = [(others[0], [look(2, 0.6), look(4, 0.1)])]
    earlier = two.record_evaluations(study, 2, [(others[0], [look(2, 0.6)])])
    assert earlier == {s.number: [CurvePoint(2, 0.5)] for s in mine}  # though they are further on
    found = two.record_evaluations(study, 4, theirs)
    assert found == {s.number: [CurvePoint(*seen[::2]) for seen in looks] for s, looks in curves}
    assert two.record_evaluations(study, 4, theirs) == found  # as often as a connection breaks
    assert one.record_evaluations(study, 4, curves).keys() == {others[0].number}


@pytest.mark.every_storage
def test_an_ending_adds_to_what_was_written_on_the_way(storage: Storage) -> None:
    halved(storage)
    ledger, study, (slot, *_) = taken(storage, "one", 1)
    ledger.record_evaluations(study, 4, [(slot, [look(2, 0.5), look(4, 0.3)])])
    looks = (look(2, 0.5), look(4, 0.3), look(6, float("nan")))
    ending = TrialResult("dropped", "halved at step 6: number 5 of 8", 6, looks, metric=0.3)
    assert ledger.finish(study, [(slot, ending)]) == []
    curve = load_curves(storage, study.id)[slot.number]
    metrics = [point.value for point in curve if point.split == "validation"]
    assert metrics == [0.5, 0.3, None]
    assert len(curve) == 6


@pytest.mark.usefixtures("early")
def test_what_is_dropped_says_so_and_the_winner_is_said_to_be_in_doubt(
    storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    halved(storage)
    work(storage)
    found = rows(storage)
    dropped = [row for row in found if row.outcome == "dropped"]
    assert len(dropped) >= TRIALS // 2
    assert all(row.reason.startswith(f"halved at step {row.steps}: number ") for row in dropped)
    assert {row.steps for row in dropped} <= {4, 8, 16, 32, 64, 128}
    frontier = load_frontier(storage, NAME)
    print_frontier(frontier, None, "table")
    said = capsys.readouterr().out
    assert f"another than the winner may have been faster: 4 ({len(dropped)})" in said
    assert any("another than the winner may have been faster" in note for note in notes(frontier))


@pytest.mark.usefixtures("early")
def test_without_the_option_nothing_is_dropped(storage: Storage) -> None:
    planned(storage, trials=4)
    work(storage)
    assert "dropped" not in {row.outcome for row in rows(storage)}
    assert notes(load_frontier(storage, NAME)) == []


@pytest.mark.usefixtures("early")
def test_a_heat_that_holds_a_part_drops_what_is_behind_trials_of_heats_before_it(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halved(storage)
    monkeypatch.setattr(models, "room_for", lambda *_: 3)
    work(storage)  # keeps nothing, so each heat runs to its end before the next
    first, later = rows(storage)[:3], rows(storage)[3:]
    assert sum(row.outcome == "dropped" for row in first) <= 1  # two go on at least
    behind = [row for row in later if row.outcome == "dropped" and row.steps == 4]
    assert behind
    assert any(int(row.reason.split(" of ")[1]) > 3 for row in behind)
