"""Workers say in the database where their time goes; a profile adds it up, and says what helps."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from torch import Tensor

from batchfront.ledger.time_profile import Profile, load_profile, time_of
from batchfront.phase_timer import Clock, Part, timed_as
from batchfront.store.database import Storage
from batchfront.study.study import Filter
from batchfront.training.prefetch import Prefetch
from batchfront.training.preflight.checks import check
from batchfront.worker.options import WorkerOptions
from batchfront.worker.worker import Settings, Worker
from batchfront.workload import data
from tests.searches import CODE, claim, planned, worker
from tests.toy import clouds, plain
from tests.waiting import Seconds, eventually


@pytest.mark.every_storage
@pytest.mark.parametrize("engine", ["sequential", "vectorized"])
def test_a_worker_leaves_word_of_all_parts_of_its_life(
    storage: Storage, tmp_path: Path, engine: Any
) -> None:
    planned(storage, plain, batch_sizes=(4,))
    kept = str(tmp_path / "kept")
    settings = Settings(
        "one", "cpu", options=WorkerOptions(checkpoint_dir=kept, engine=engine, code=CODE)
    )
    clock = Clock()
    Worker(storage, settings, Event(), clock).run()
    life, profile = clock.seconds(), load_profile(storage)
    assert profile.workers == 1
    assert profile.all_seconds <= sum(life.values()) + 0.01
    for part in ("training", "evaluation"):  # over, when it told of them last
        assert profile.seconds[part] == pytest.approx(life[part], abs=1e-3), part
        assert profile.seconds[part] > 0
    for part in ("set-up", "storage"):  # which its end takes some of
        assert 0 < profile.seconds[part] <= life[part] + 1e-3, part
    assert profile.share("waiting") == 0


@pytest.mark.every_storage
def test_of_a_worker_at_work_it_is_known_how_far_it_is(storage: Storage) -> None:
    planned(storage, trials=2, batch_sizes=(4,))
    with Clock() as clock:
        busy = worker(storage, "busy", clock=clock)
        assert load_profile(storage).workers == 0
        study, (slot,) = claim(busy, 1)
        busy.heartbeat(study.id, {slot.id: (slot.fence, 0)})
        first = load_profile(storage)
        assert first.seconds["storage"] > 0
        busy.heartbeat(study.id, {slot.id: (slot.fence, 0)})
    assert load_profile(storage).all_seconds > first.all_seconds


@pytest.mark.every_storage
def test_workers_that_waited_say_so_and_earlier_ones_may_be_left_out(storage: Storage) -> None:
    for name in ("earlier", "later"):
        since = time_of(storage)
        with Clock() as clock:
            ledger = worker(storage, name, clock=clock)
            ledger.wait(Filter())
            ledger.leave(in_order=True)
    assert load_profile(storage).workers == 2
    assert load_profile(storage, since).workers == 1


def test_loading_a_data_set_is_data_and_not_set_up() -> None:
    toy = clouds()

    def slow() -> data.Splits:
        time.pass_by(5)
        return toy.data()

    time = Seconds()
    with Clock(time) as clock, timed_as("set-up"):
        check(replace(toy, data=slow), [4])
    assert clock.seconds() == {"set-up": 0, "other": 0, "data": 5}


def test_waiting_for_a_batch_is_data_and_not_training() -> None:
    time = Seconds()
    clock = Clock(time)

    class Slow(data.Part):
        ahead = 1

        def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
            eventually(lambda: time.pass_by(1) or clock.seconds().get("data"))
            return super().batch(indices, seed)

    indices = torch.arange(2)
    ahead = Prefetch(
        Slow(clouds().data().train, torch.arange(4)), lambda _: iter([(indices, None)])
    )
    with clock, timed_as("training"):
        ahead.batch(indices, None, 0)
    ahead.close()
    assert clock.seconds()["data"] >= 1


def advice(workers: int = 2, **seconds: float) -> list[str]:
    named: Mapping[str, Part] = {"set_up": "set-up"}
    return Profile(workers, {named.get(k, k): s for k, s in seconds.items()}).advice()  # type: ignore


def test_nothing_measured_is_no_error() -> None:
    assert Profile(0, {}).share("training") == 0
    assert len(Profile(0, {}).advice()) == 1


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        ({"training": 90, "evaluation": 10}, "Training took 90%"),
        ({"training": 39, "evaluation": 61}, "Evaluation took 61%: a workload's grid="),
        ({"training": 60, "waiting": 40}, "waited 40% of their time for trials that others held, "),
        ({"training": 60, "waiting": 40}, "1.2 of them were busy on average: fewer --workers"),
        ({"training": 60, "set_up": 40}, "Set-up took 40%, 20.0 s a worker"),
        ({"training": 60, "sampling": 40}, "Sampling metaparameters took 40%"),
        ({"training": 60, "data": 40}, "Loading data took 40%"),
        ({"training": 60, "storage": 12}, "The database and checkpoints took 17%"),
    ],
)
def test_a_large_part_is_named_with_what_makes_it_smaller(
    seconds: dict[str, float], said: str
) -> None:
    assert said in " ".join(advice(**seconds))


def test_a_small_part_is_not_worth_a_sentence() -> None:
    assert advice(training=60, evaluation=25, storage=5, waiting=10) == [
        "No part stands out: there is little to gain but by more or faster devices."
    ]


def test_there_are_three_sentences_at_most_the_largest_part_first() -> None:
    said = advice(evaluation=31, set_up=26, waiting=24, data=19)
    assert [sentence.split()[0] for sentence in said] == ["Evaluation", "Set-up", "2"]


def test_one_worker_is_not_advised_to_be_fewer() -> None:
    said = " ".join(advice(1, set_up=30, waiting=30, storage=40))
    assert "fewer" not in said
    assert "workers elsewhere held" in said


def test_where_time_has_gone_is_said_in_a_line_with_what_helps_most() -> None:
    seconds: dict[Part, float] = {"data": 70, "evaluation": 15, "training": 11, "storage": 4}
    said = Profile(1, seconds).in_words()
    assert said.startswith("data 70%, evaluation 15%, training 11%. Loading data took 70%: ")
    assert "Examples.of(dataset)" in said
    assert "\n" not in said
