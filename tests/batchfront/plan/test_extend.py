"""A winner at an edge gets a wider search space, and nothing that is there changes."""

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import select, update

from batchfront.frontier.frontier import load_frontier
from batchfront.frontier.queries import load_trials
from batchfront.outcomes import TrialResult
from batchfront.plan import extend as extension
from batchfront.plan.extend import LEAST, Extension, extend
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.schema import slots, studies
from batchfront.store.url import Storage
from batchfront.study import adaptive_sampler as sampling
from batchfront.study.points import sample_points
from batchfront.study.shown import read_shown
from batchfront.study.study import Filter, Study, find_studies
from batchfront.workload import catalog
from batchfront.workload.search_space import Log, dimensions
from batchfront.workload.space_edges import holds
from tests import searches
from tests.searches import NAME, claim, work, worker
from tests.toy import SPEC, clouds

pytestmark = pytest.mark.every_storage
planned = partial(searches.planned, trials=20, batch_sizes=(4,))

HIGH = {"learning_rate": 0.0999}  # of Log(1e-3, 0.1)


def win(storage: Storage, steps: int = 40, **params: Any) -> None:
    """A slot of the study of batch size 4 wins, with these of its metaparameters."""
    ledger = worker(storage, f"worker-{steps}")
    study, (slot,) = claim(ledger, 1, Filter(batch_sizes=(4,)))
    drawn = slot.params or sampling.sample(storage, study, [slot.number])[0]
    ours = ledger.start(study, [replace(slot, params={**drawn, **params})], study.space, {})
    assert (
        ledger.finish(study, [(ours[0], TrialResult("reached", "", steps, (), steps, steps - 1))])
        == []
    )


def extended(storage: Storage) -> Extension:
    (found,) = extend(storage, NAME)
    return found


def points(storage: Storage, study: Study) -> list[Any]:
    return [trial.params for trial in load_trials(storage, study.id)]


def test_the_range_grows_on_the_winners_side_and_the_flag_goes(storage: Storage) -> None:
    planned(storage)
    win(storage, **HIGH)
    assert load_frontier(storage, NAME).points[0].edges == {"learning_rate": "high"}
    (before, after) = extended(storage).ranges["learning_rate"]
    assert before == Log(1e-3, 0.1)
    assert isinstance(after, Log)
    assert (after.low, after.high) == pytest.approx((1e-3, 1.0))
    (point,) = load_frontier(storage, NAME).points
    assert point.space["learning_rate"] == after
    assert point.edges == {}
    assert extend(storage, NAME) == []


def test_nothing_that_is_stored_changes_but_the_space_and_the_number_of_trials(
    storage: Storage,
) -> None:
    (study,) = planned(storage)
    win(storage, **HIGH)
    before = searches.rows(storage)
    found = extended(storage)
    assert searches.rows(storage)[: len(before)] == before
    with storage.read() as conn:
        (stored,) = find_studies(conn, Filter())
    assert stored == found.study
    assert stored == replace(study, extensions=stored.extensions, trials=study.trials + found.added)


@pytest.mark.parametrize(("trials", "added"), [(20, 10), (3, LEAST)])
def test_as_many_points_are_added_as_keep_their_density(
    storage: Storage, trials: int, added: int
) -> None:
    (study,) = planned(storage, trials=trials)
    win(storage, **HIGH)
    assert extended(storage).added == added
    new = points(storage, study)[trials:]
    assert len(new) == added
    assert all(0.1 < point["learning_rate"] <= 1.0 for point in new)


def test_a_winner_at_two_edges_widens_both(storage: Storage) -> None:
    (study,) = planned(storage)
    win(storage, **HIGH, decay_factor=0.0101)
    found = extended(storage)
    assert found.ranges.keys() == {"learning_rate", "decay_factor"}
    assert found.added == round(20 * (1.5 * 1.5 - 1))
    new = points(storage, study)[20:]
    old, wide = study.space, found.study.space
    assert all(holds(wide, point) and not holds(old, point) for point in new)
    assert any(p["learning_rate"] <= 0.1 for p in new)  # beyond the other edge alone
    assert any(p["decay_factor"] >= 0.01 for p in new)


def test_an_edge_that_is_a_limit_is_named_and_the_others_still_move(storage: Storage) -> None:
    (study,) = planned(storage)
    win(storage, momentum=0.001, label_smoothing=0.0, decay_factor=1.0)
    found = extended(storage)
    assert found.stuck == {"momentum": "low", "label_smoothing": "low", "decay_factor": "high"}
    assert (found.ranges, found.added) == ({}, 0)
    assert found.study == study
    win(storage, steps=30, momentum=0.001, label_smoothing=0.1, decay_factor=0.1, **HIGH)
    found = extended(storage)
    assert (found.stuck, [*found.ranges]) == ({"momentum": "low"}, ["learning_rate"])


def test_a_study_is_extended_again_when_the_winner_is_at_the_new_edge(storage: Storage) -> None:
    (study,) = planned(storage)
    win(storage, **HIGH)
    first = extended(storage).study
    win(storage, steps=30, learning_rate=0.999)
    second = extended(storage)
    assert len(second.study.extensions) == 2
    assert second.added == round(30 * 0.5)
    high: Any = second.study.space["learning_rate"]
    assert high.high == pytest.approx(1.0 * 1000**0.5)
    new = points(storage, study)[30:]
    assert len(new) == 15
    assert not any(holds(first.space, point) for point in new)


def test_more_trials_are_drawn_from_the_whole_of_the_wider_space(storage: Storage) -> None:
    (study,) = planned(storage)
    win(storage, **HIGH)
    extended(storage)
    before = points(storage, study)
    assert planned(storage, trials=None)[0].trials == 30
    assert points(storage, study) == before
    assert planned(storage, trials=46)[0].trials == 46
    new = points(storage, study)[30:]
    assert [point["learning_rate"] > 0.1 for point in new].count(True) in (5, 6)  # of 16, a third
    with storage.read() as conn:
        again = conn.execute(select(slots.c.number).order_by(slots.c.number)).scalars().all()
    assert list(again) == list(range(46))


def test_another_batch_size_gets_the_trials_that_were_asked_for(
    storage: Storage,
) -> None:
    planned(storage, batch_sizes=(4, 16))
    win(storage, **HIGH)
    extended(storage)
    found = plan(storage, SPEC, clouds(), SearchOptions(batch_sizes=(4, 16, 32)))
    assert [s.trials for s in found.studies] == [30, 20, 20]
    assert found.added == (0, 0, 20)


def test_only_the_batch_sizes_that_are_meant_are_extended(storage: Storage) -> None:
    planned(storage, batch_sizes=(4, 16))
    win(storage, **HIGH)
    assert extend(storage, NAME, (16,)) == []
    assert [e.study.batch_size for e in extend(storage, NAME, (4,))] == [4]


def test_who_plans_the_same_at_this_moment_finds_it_done(storage: Storage) -> None:
    planned(storage)
    win(storage, **HIGH)
    (stale,) = load_frontier(storage, NAME).points
    extended(storage)
    with storage.write() as conn:
        assert extension._extend(conn, stale) is None
    assert len(load_trials(storage, stale.study.id)) == 30


OUTSIDE = """
from dataclasses import replace

from torch import nn

from batchfront import Log, Workload
from tests.toy import clouds


def model() -> nn.Module:
    layer = nn.Linear(2, 3)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def outside() -> Workload:
    fixed = {"momentum": 0.9, "decay_steps": 300, "decay_factor": 1.0}
    space = {"learning_rate": Log(0.0001, 0.01), **fixed}
    return replace(clouds(), model=model, search_space=space, step_budget=300, batch_sizes=(96,))
"""
"""All examples in a batch, all weights 0 at first: nothing is left to chance, and the steps to the
goal fall with the learning rate until far beyond 0.01."""


def test_an_optimum_beyond_the_first_space_is_found_once_it_is_extended(
    storage: Storage, tmp_path: Path
) -> None:
    (tmp_path / "outside.py").write_text(OUTSIDE)
    spec = f"{tmp_path / 'outside.py'}:outside"
    plan(storage, spec, catalog.load(spec), SearchOptions(trials=32))
    work(storage, code=(str(tmp_path),))
    (first,) = load_frontier(storage, NAME).points
    assert first.edges == {"learning_rate": "high"}
    assert extended(storage).added == 16
    work(storage, code=(str(tmp_path),))  # which checks the study's identity against the code
    (then,) = load_frontier(storage, NAME).points
    assert first.steps is not None
    assert then.steps is not None
    assert then.steps < 0.5 * first.steps
    assert 0.01 < float(then.params["learning_rate"]) <= 0.1
    assert then.trials == 48
    assert "open" not in then.outcomes
    assert plan(storage, spec, catalog.load(spec), SearchOptions()).added == (0,)


def test_optuna_reads_the_study_with_the_trials_of_both_spaces(
    storage: Storage, database: str
) -> None:
    (study,) = planned(storage)
    win(storage, **HIGH)
    extended(storage)
    for steps in range(30, 60):
        if not load_frontier(storage, NAME).points[0].outcomes.get("open"):
            break
        win(storage, steps)
    theirs = optuna.load_study(study_name=study.name, storage=database)
    trials = theirs.trials
    assert [t.number for t in trials] == list(range(30))
    searched = dimensions(study.space)
    mine = load_trials(storage, study.id)
    assert [t.params for t in trials] == [{n: m.params[n] for n in searched} for m in mine]
    highs = [t.distributions["learning_rate"].high for t in trials]  # type: ignore[attr-defined]
    assert highs[0] == 0.1
    assert highs[29] == pytest.approx(1.0)
    for trial in trials:
        for name, kind in trial.distributions.items():
            assert kind._contains(kind.to_internal_repr(trial.params[name]))
    asked = theirs.ask({"learning_rate": trials[29].distributions["learning_rate"]})
    assert 1e-3 <= asked.params["learning_rate"] <= 1.0


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_an_adaptive_sampler_draws_from_the_wider_space_and_knows_the_old_results(
    storage: Storage, sampler: str
) -> None:
    (study,) = planned(storage, sampler=sampler, together=1, trials=12)
    for steps in range(60, 72):
        win(storage, steps)
    win_at = {"params": json.dumps({**points(storage, study)[0], **HIGH})}
    with storage.write() as conn:
        conn.execute(update(slots).where(slots.c.number == 0).values(win_at))
    found = extended(storage)
    assert found.added == 6
    assert points(storage, study)[12:] == [{}] * 6
    with storage.read() as conn:
        seen = sampling._trials(found.study, read_shown(conn, found.study).values())
    assert len(seen) == 12
    assert seen[0].params["learning_rate"] == pytest.approx(math.log(99.9) / math.log(1000))
    for steps in range(72, 78):
        win(storage, steps)
    new = points(storage, study)[12:]
    assert all(holds(found.study.space, point) for point in new)


def test_a_diverged_trial_is_replaced_from_the_wider_space(storage: Storage) -> None:
    (study,) = planned(storage, count="feasible")
    win(storage, **HIGH)
    wide = extended(storage).study
    ledger = worker(storage, "two")
    claimed = ledger.claim(Filter(), lambda _: 3)
    assert claimed is not None
    ours = ledger.start(wide, claimed[1], wide.space, {})
    ledger.finish(claimed[0], [(slot, TrialResult("diverged", "", 3)) for slot in ours])
    assert len(points(storage, study)) == 33
    assert all(holds(wide.space, point) for point in points(storage, study))


def test_who_claimed_before_the_extension_replaces_by_the_points_of_the_study_as_it_is_now(
    storage: Storage,
) -> None:
    planned(storage, count="feasible")
    win(storage, **HIGH)
    ledger = worker(storage, "two")
    before, taken = claim(ledger, 3)
    ours = ledger.start(before, taken, before.space, {})
    wide = extended(storage).study
    ledger.finish(before, [(slot, TrialResult("diverged", "", 3)) for slot in ours])
    assert points(storage, wide)[30:] == sample_points(wide, 30, 3)


def test_points_measured_elsewhere_have_no_space_to_widen(storage: Storage) -> None:
    planned(storage)
    win(storage, **HIGH)
    with storage.write() as conn:
        conn.execute(update(studies).values(purpose="points"))
    assert extend(storage, NAME) == []
