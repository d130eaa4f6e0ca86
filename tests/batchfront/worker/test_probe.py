"""A probe reads the gradient noise of a winner's run, or of one of its own before any search."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from batchfront.advice.noise_scale import keep_probe, load_probes, predicted
from batchfront.errors import BatchfrontError, UntrustedCode, UsageError
from batchfront.frontier.reached_trial import find_reached
from batchfront.store.url import Storage
from batchfront.training.model_run import ModelRun
from batchfront.worker import probe as module
from batchfront.worker.probe import probe, proposed, read_winners, unread_winners
from batchfront.worker.probed import Probed, ProbeOptions, middle
from batchfront.workload.search_space import Log
from tests import loops, searches, toy
from tests.searches import CODE, NAME, work

planned = partial(searches.planned, trials=8, batch_sizes=(4, 16))
HERE = Path(__file__).parent


def probed(storage: Storage, named: str, stop: Event | None = None, **asked: object) -> Probed:
    options = ProbeOptions(device="cpu", **{"code": CODE, **asked})
    return probe(storage, named, options, HERE, stop or Event())


def toy_spec(function: str) -> str:
    return f"{Path(toy.__file__).resolve()}:{function}"


def test_of_a_search_its_winner_is_run_again(storage: Storage) -> None:
    planned(storage)
    work(storage)
    found = probed(storage, NAME, batch_size=4)
    best = find_reached(storage, NAME, 4)

    assert (found.probe.trial, found.probe.params) == (best.trial.number, best.trial.params)
    assert found.passed
    assert found.probe.steps == found.expected == best.steps
    assert sum(reading.steps for reading in found.probe.readings) == best.steps


def test_it_is_trained_as_it_was(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    planned(storage)
    work(storage)
    best, runs = find_reached(storage, NAME, 4), []
    evaluate = ModelRun.evaluate

    def seen(self: ModelRun, *, full: bool) -> object:
        runs.append(self)
        return evaluate(self, full=full)

    monkeypatch.setattr(ModelRun, "evaluate", seen)
    probed(storage, NAME, batch_size=4)
    (run,) = runs
    monkeypatch.undo()
    given = (run.workload, run.splits, 4, best.trial.params, run.seed, run.device)
    alone = ModelRun(*given)
    alone.advance(best.steps)

    weights = alone.weights()
    assert all(weights[name].equal(of) for name, of in run.weights().items())


def test_the_middle_batch_size_is_probed_unless_one_is_asked_for(storage: Storage) -> None:
    planned(storage)
    work(storage)

    assert probed(storage, NAME).probe.batch_size == 16
    assert middle([4, 8, 16, 32, 64]) == 16


def test_before_any_search_it_trains_a_run_of_its_own(storage: Storage) -> None:
    found = probed(storage, toy_spec("clouds"), batch_size=2)

    assert found.probe.workload == NAME
    assert found.probe.trial is None
    assert found.tested is not None
    assert found.passed
    assert predicted(found.probe) is not None
    assert found.extra == sum(reading.examples for reading in found.probe.readings)


def test_a_workload_that_is_planned_and_not_run_is_probed_as_planned(storage: Storage) -> None:
    planned(storage, goal=0.2)
    found = probed(storage, NAME)

    assert found.probe.trial is None
    assert found.planned == (toy_spec("clouds"),)


def test_the_range_test_finds_learning_rates_that_train(storage: Storage) -> None:
    found = probed(storage, toy_spec("clouds"), batch_size=2)
    assert found.tested is not None
    rates = found.tested.rates

    assert isinstance(rates, Log)
    assert rates.low < float(found.probe.params["learning_rate"]) < rates.high
    assert rates.low < found.tested.lowest < rates.high


def test_a_run_that_ends_before_its_goal_says_why(storage: Storage) -> None:
    planned(storage, goal=0.001)
    found = probed(storage, NAME)

    assert not found.passed
    assert found.ended
    assert predicted(found.probe) is not None


def test_an_interrupted_probe_shows_nothing(storage: Storage) -> None:
    stop = Event()
    stop.set()

    with pytest.raises(BatchfrontError, match="interrupted"):
        probed(storage, toy_spec("clouds"), stop, batch_size=2)


def test_a_kept_probe_is_read_back(storage: Storage) -> None:
    found = probed(storage, toy_spec("clouds"), batch_size=2).probe
    keep_probe(storage, replace(found, steps=1))
    keep_probe(storage, found)
    (kept,) = load_probes(storage, NAME)

    assert replace(kept, measured_at=0.0) == found


def test_a_winner_is_unread_until_its_probe_is_kept(storage: Storage) -> None:
    planned(storage)
    work(storage)
    assert unread_winners(storage, NAME) == [4, 16]
    keep_probe(storage, probed(storage, NAME, batch_size=4).probe)

    assert unread_winners(storage, NAME) == [16]


def test_a_trial_that_was_the_winner_once_is_none_of_the_winners_read(storage: Storage) -> None:
    planned(storage)
    work(storage)
    found = probed(storage, NAME, batch_size=4).probe
    assert found.trial is not None
    keep_probe(storage, replace(found, trial=found.trial + 1))
    assert read_winners(storage, NAME) == []
    keep_probe(storage, found)

    assert [one.trial for one in read_winners(storage, NAME)] == [found.trial]


def test_a_loop_is_refused_with_what_to_do(storage: Storage) -> None:
    with pytest.raises(UsageError, match="is a loop, whose gradients batchfront doesn't see"):
        probed(storage, f"{loops.SPEC}kept")


def test_code_that_nobody_has_allowed_isnt_run(storage: Storage) -> None:
    planned(storage)

    with pytest.raises(UntrustedCode):
        probed(storage, NAME, code=())


def test_proposals_reach_from_perfect_scaling_to_none() -> None:
    assert proposed(60) == (4, 8, 16, 32, 64, 128, 256, 512)
    assert proposed(3) == (1, 2, 4, 8, 16, 32)
    assert proposed(0.2) == (1, 2, 4, 8)


def test_no_batch_size_is_proposed_that_is_larger_than_the_training_set(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "proposed", lambda _: (32, 64, 128))
    before = probed(storage, toy_spec("clouds"), batch_size=2)
    planned(storage)
    work(storage)
    after = probed(storage, NAME, batch_size=4)

    assert before.batch_sizes == after.batch_sizes == (32, 64)  # of 96 examples
