"""The winner's weights are kept, and nobody else's, whoever raced and whatever became of them."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from safetensors.torch import load, load_file

from batchfront import ERROR_RATE, WeightAverage, Workload
from batchfront.exchange.model import KeptWeights
from batchfront.frontier.reached_trial import ReachedTrial, find_reached
from batchfront.ledger.ledger import Ledger
from batchfront.outcomes import GoalCrossing
from batchfront.plan.delete import delete_doomed, find_doomed
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.plan.reruns import plan_confirmations
from batchfront.store.url import Storage
from batchfront.training.evaluation import full_metric
from batchfront.training.kept_models import KeptModels
from batchfront.training.model_run import ModelRun
from batchfront.training.run import Weights
from batchfront.vocabulary import EngineName, KeepModel
from batchfront.worker.kept_winner import KeptWinner
from batchfront.worker.options import WorkerOptions
from batchfront.worker.worker import Settings, Worker
from tests import loops, searches, toy
from tests.counting import Counter
from tests.searches import CODE, NAME, rows, stopping_at, work
from tests.waiting import LONG, eventually

planned = partial(searches.planned, trials=8, batch_sizes=(4,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where checkpoints go, and weights that lie beside no SQLite database."""
    return tmp_path / "checkpoints"


def kept(storage: Storage, folder: Path) -> list[Path]:
    """All files of weights that there are, by name."""
    beside = Path(f"{storage.url.database}.models")
    places = [beside] if storage.url.get_backend_name() == "sqlite" else [folder]
    return sorted(path for place in places for path in place.rglob("*.safetensors*"))


def winner(storage: Storage, workload: str = NAME) -> ReachedTrial:
    return find_reached(storage, workload, 4)


def by_itself(storage: Storage, workload: Any = toy.clouds) -> dict[str, torch.Tensor]:
    """The winner's weights at its goal, trained here from its metaparameters and seed."""
    best = winner(storage, workload().name)
    seed = best.study.trial_seed(best.trial.number)
    cpu = torch.device("cpu")
    run = ModelRun(workload(), toy.splits(), 4, best.trial.params, seed, cpu)
    for step in range(best.steps + 1):
        if step in run.evaluation_steps:
            run.advance(step)
            run.evaluate(full=run.evaluation_steps.is_full(step))
    return run.model.state_dict()


def assert_kept(storage: Storage, folder: Path, expected: dict[str, torch.Tensor]) -> None:
    """The winner's weights are there, to the bit, and no others."""
    best = winner(storage)
    (path,) = kept(storage, folder)
    assert path.name == f"trial-{best.trial.number}-step-{best.steps}.safetensors"
    found = load_file(path)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
    data = KeptWeights(storage, str(folder)).of(best)  # which compares what they are of
    assert data == path.read_bytes()


@pytest.mark.every_storage
def test_the_winners_weights_are_those_with_which_it_passed_the_goal(
    storage: Storage, folder: Path
) -> None:
    planned(storage)
    work(storage, folder)
    assert_kept(storage, folder, by_itself(storage))


def test_a_trial_that_goes_on_past_the_goal_keeps_those_of_its_crossing(
    storage: Storage, folder: Path
) -> None:
    planned(storage, finishers=3, after_goal="continue", continuing=2)
    work(storage, folder)
    best = winner(storage)
    assert best.trial.steps > best.steps
    assert_kept(storage, folder, by_itself(storage))


def test_of_a_vectorized_heat_the_winners_row_is_kept(storage: Storage, folder: Path) -> None:
    planned(storage, toy.plain)
    work(storage, folder, engine=EngineName.VECTORIZED)
    best = find_reached(storage, "plain/mlp/momentum", 4)
    assert best.trial.versions["engine"] == "vectorized"
    (path,) = kept(storage, folder)
    found, alone = load_file(path), by_itself(storage, toy.plain)
    for name, tensor in alone.items():
        torch.testing.assert_close(found[name], tensor)
    assert path.stat().st_size < 2 * sum(t.nbytes for t in alone.values()) + 2000


@pytest.mark.slow
@pytest.mark.every_storage
def test_two_workers_processes_leave_one_file_though_one_is_killed(
    storage: Storage, database: str, folder: Path
) -> None:
    planned(storage, trials=16)
    command = [sys.executable, "-P", "-m", "batchfront.cli.main", "work", "--quiet"]
    command += ["--device", "cpu", "--checkpoint-dir", str(folder)]
    env = {**os.environ, "BATCHFRONT_STORAGE": database, "TOY_PAUSE": "0.01"}
    first, second = (
        subprocess.Popen([*command, "--worker-id", name], env=env) for name in ("one", "two")
    )
    try:
        eventually(lambda: any(row.state == "leased" for row in rows(storage)))
        first.send_signal(signal.SIGKILL)
        first.wait(LONG)
        Ledger(storage, "one").reap()
        assert second.wait(LONG) == 0
    finally:
        first.kill()
        second.kill()
    work(storage, folder)  # what was given back at the very end
    assert {row.state for row in rows(storage)} == {"done"}
    assert_kept(storage, folder, by_itself(storage))


def test_an_interrupted_winner_is_kept_as_an_undisturbed_one(
    storage: Storage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage)
    with stopping_at(6, monkeypatch) as stop:
        work(storage, folder, stop=stop)
    assert {row.state for row in rows(storage)} == {"free"}
    work(storage, folder, "heir")
    assert_kept(storage, folder, by_itself(storage))


def test_of_a_loop_that_keeps_its_model_the_module_is_kept(storage: Storage, folder: Path) -> None:
    plan(storage, f"{loops.SPEC}kept", loops.kept(), SearchOptions(trials=4, batch_sizes=(4,)))
    work(storage, folder)
    (path,) = kept(storage, folder)
    other = loops.model()
    other.load_state_dict(load_file(path))
    best = find_reached(storage, "clouds/loop/momentum", 4)
    assert loops.error(other) == best.trial.metric


def test_nothing_is_kept_where_nothing_is_to_be(storage: Storage, folder: Path) -> None:
    planned(storage)
    options = WorkerOptions(
        engine=EngineName.SEQUENTIAL,
        checkpoint_dir=str(folder),
        keep_model=KeepModel.NONE,
        code=CODE,
    )
    Worker(storage, Settings("one", "cpu", options=options), Event()).run()
    assert winner(storage)
    assert kept(storage, folder) == []


def test_reruns_leave_the_winners_alone(storage: Storage, folder: Path) -> None:
    planned(storage)
    work(storage, folder)
    before = kept(storage, folder)
    plan_confirmations(storage, NAME, seeds=2, candidates=1)
    work(storage, folder)
    assert kept(storage, folder) == before


@pytest.mark.every_storage
def test_a_study_that_is_deleted_takes_its_weights_along(storage: Storage, folder: Path) -> None:
    planned(storage)
    work(storage, folder)
    assert kept(storage, folder)
    delete_doomed(storage, find_doomed(storage, NAME), str(folder))
    assert kept(storage, folder) == []
    assert not Path(f"{storage.url.database}.models").exists()


def test_a_full_disk_is_told_in_one_line_and_costs_no_result(
    storage: Storage,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(KeptModels, "keep", full)
    planned(storage, finishers=3)
    with caplog.at_level(logging.WARNING):
        work(storage, folder)
    assert {row.outcome for row in rows(storage)} >= {"reached"}
    said = [r.getMessage() for r in caplog.records if "weights" in r.getMessage()]
    assert len(said) == 1
    assert said[0].startswith(f"{NAME}/b4: the weights of trial ")
    assert said[0].endswith(" are not kept: [Errno 28] No space left on device")
    assert KeptWeights(storage).of(winner(storage)) is None


class Silent(Counter):
    """A run that nobody else has the weights of."""

    def weights(self) -> Weights | None:
        return None


def test_one_is_kept_if_it_is_better_than_all_that_are_known(
    storage: Storage, tmp_path: Path
) -> None:
    (study,) = planned(storage)
    ledger = searches.worker(storage)
    _, slots = searches.started(ledger)
    models = KeptModels(tmp_path / "models", "db")
    keeper = KeptWinner(study, models, ledger, {})

    def cross(number: int, step: int, kind: Callable[..., Counter] = Counter) -> None:
        run = kind(toy.clouds().goal, 0.1)
        run.advance(step)
        run.goal_crossing = GoalCrossing(step, step - 1, 0.05)
        keeper.crossed(slots[number], run)

    def there() -> list[str]:
        return sorted(path.name[: -len(".safetensors")] for path in tmp_path.rglob("*.safetensors"))

    cross(3, 40)
    cross(1, 41)  # has lost already
    cross(5, 30, Silent)
    assert there() == ["trial-3-step-40"]
    ledger.finish(study, [(slots[3], searches.reached(40)), (slots[5], searches.reached(30))])
    keeper.settle()
    assert there() == []  # they would be those of a loser
    cross(0, 30)
    ledger.finish(study, [(slots[0], searches.reached(30))])
    keeper.settle()
    assert there() == ["trial-0-step-30"]
    found = models.find(study.id, 0, 30)
    assert found is not None
    assert load(models.read(found[0]))["step"] == 30


def averaged() -> Workload:
    """What is evaluated is the average of the weights."""
    return replace(toy.clouds(), name="clouds/averaged/momentum", average=WeightAverage(0.9))


def test_where_an_average_is_evaluated_the_average_is_kept(storage: Storage, folder: Path) -> None:
    plan(storage, f"{__file__}:averaged", averaged(), SearchOptions(trials=6, batch_sizes=(4,)))
    work(storage, folder)
    best = find_reached(storage, averaged().name, 4)
    (path,) = kept(storage, folder)
    model = toy.model(dropout=float(best.trial.params["dropout"]))
    model.load_state_dict(load_file(path))
    found = full_metric(model, toy.splits().validation, ERROR_RATE)
    assert found == best.trial.metric
    assert any(
        not torch.equal(model.state_dict()[name], tensor)
        for name, tensor in by_itself(storage, averaged).items()
    )
