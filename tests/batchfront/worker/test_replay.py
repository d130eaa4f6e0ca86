"""A trial run again by itself comes to the same step and weights, and writes nothing."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from sqlalchemy import MetaData

from batchfront import Splits, Workload
from batchfront.errors import BatchfrontError, IdentityError, UsageError
from batchfront.exchange.model import KeptWeights
from batchfront.frontier.reached_trial import find_reached
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.url import Storage
from batchfront.training.kept_models import differing
from batchfront.vocabulary import EngineName
from batchfront.worker.replay import replay
from batchfront.workload import catalog
from tests import loops, searches, toy
from tests.searches import CODE, NAME, rows, stopping_at, work

planned = partial(searches.planned, trials=8, batch_sizes=(4,))


def everything(storage: Storage) -> dict[str, list[Any]]:
    """All rows of all tables."""
    found = MetaData()
    found.reflect(storage.engine)
    with storage.read() as conn:
        return {name: list(conn.execute(table.select())) for name, table in found.tables.items()}


def assert_replayed(storage: Storage, workload: str = NAME) -> None:
    best, before = find_reached(storage, workload, 4), everything(storage)
    kept = KeptWeights(storage).of(best)
    assert kept is not None
    again = replay(storage, best, "cpu", code=CODE)
    assert again.same
    assert again.differs == ()
    assert again.weights is not None
    assert differing(again.weights, kept) == {}
    assert everything(storage) == before


def test_a_winner_comes_to_the_same_bits(storage: Storage) -> None:
    planned(storage)
    work(storage)
    assert_replayed(storage)


def test_so_does_one_of_a_vectorized_heat(storage: Storage) -> None:
    planned(storage, toy.plain)
    work(storage, engine=EngineName.VECTORIZED)
    best = find_reached(storage, "plain/mlp/momentum", 4)
    assert best.trial.versions["engine"] == "vectorized"
    assert_replayed(storage, "plain/mlp/momentum")


def test_so_does_one_that_was_interrupted(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage)
    with stopping_at(6, monkeypatch) as stop:
        work(storage, tmp_path / "checkpoints", stop=stop)
    assert min(row.steps for row in rows(storage)) > 0
    work(storage, tmp_path / "checkpoints", "heir")
    assert_replayed(storage)


def test_so_does_a_loop_that_keeps_its_model(storage: Storage) -> None:
    options = SearchOptions(trials=4, batch_sizes=(4,))
    plan(storage, f"{loops.SPEC}kept", loops.kept(), options)
    work(storage)
    assert_replayed(storage, "clouds/loop/momentum")


def test_it_is_cut_into_micro_batches_as_the_trial_was(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(storage, toy.plain)
    work(storage)
    best = find_reached(storage, "plain/mlp/momentum", 4)
    whole = replay(storage, best, "cpu", code=CODE)
    trial = replace(best.trial, micro_batch=1)
    cut = replay(storage, replace(best, trial=trial), "cpu", code=CODE)
    assert cut.result.micro_batch == 1
    assert whole.result.micro_batch is None
    assert cut.weights is not None
    assert whole.weights is not None
    for name, tensor in load(cut.weights).items():
        torch.testing.assert_close(tensor, load(whole.weights)[name])


def test_other_code_is_refused(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    planned(storage)
    work(storage)
    best = find_reached(storage, NAME, 4)

    def fewer() -> Splits:
        whole = splits()
        return Splits(whole.train, whole.test, whole.validation)

    splits: Callable[[], Splits] = toy.splits
    made: Callable[[], Workload] = toy.clouds
    monkeypatch.setattr(catalog, "load_trained", lambda _: replace(made(), data=fewer))
    with pytest.raises(IdentityError, match=r"data.validation.* replayed by the code"):
        replay(storage, best, "cpu", code=CODE)


def test_a_loop_that_keeps_nothing_has_no_weights(storage: Storage) -> None:
    options = SearchOptions(trials=4, batch_sizes=(4,))
    plan(storage, f"{loops.SPEC}replayed", loops.replayed(), options)
    work(storage)
    best = find_reached(storage, loops.replayed().name, 4)
    with pytest.raises(BatchfrontError, match="it has no weights to give"):
        replay(storage, best, "cpu", code=CODE)
    with pytest.raises(UsageError, match=r"none are kept of its loop.*batchfront recipe"):
        best.require_weights()


def test_what_is_computed_otherwise_is_said(storage: Storage) -> None:
    planned(storage)
    work(storage)
    best = find_reached(storage, NAME, 4)
    versions = {**best.trial.versions, "torch": "1.0", "engine": "sequential and vectorized"}
    trial = replace(best.trial, versions=versions)
    again = replay(storage, replace(best, trial=trial), "cpu", code=CODE)
    assert again.differs == (
        f"torch {torch.__version__}, and 1.0 in the search",
        "engine sequential, and sequential and vectorized in the search",
    )
