"""What workers are told reaches them, and a password by no way but the environment."""

import os
import pickle

import pytest
from sqlalchemy import make_url

from batchfront.cli.work import command as work
from batchfront.launch.worker_options import Order, in_environment
from batchfront.study.study import Filter
from batchfront.worker.options import WorkerOptions

URL = make_url("postgresql+psycopg2://me:open-sesame@host/studies")


def test_the_worker_understands_every_argument() -> None:
    order = Order(
        URL,
        Filter(("digits/mlp/sgd", "-odd/name"), (2, 16), purposes=("search", "points")),
        WorkerOptions(
            device="cuda:1",
            checkpoint_dir="/kept",
            max_time=5400.0,
            max_steps=1000,
            until_done=False,
            max_outage=90.5,
            devices_per_trial=2,
            engine="vectorized",
        ),
    )
    told = work.make_context("work", order.arguments("--sharing", "3")).params
    assert told["workloads"] == ("digits/mlp/sgd", "-odd/name")
    assert told["batch_sizes"] == (2, 16)
    assert told["purposes"] == "search,points"
    assert told["device"] == "cuda:1"
    assert told["checkpoint_dir"] == "/kept"
    assert told["quiet"]
    assert told["sharing"] == 3
    assert told["max_time"] == 5400.0
    assert told["max_steps"] == 1000
    assert not told["until_done"]
    assert told["max_outage"] == 90.5
    assert told["devices_per_trial"] == 2
    assert told["engine"] == "vectorized"


def test_a_workers_environment_changes_nothing_of_what_it_was_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BATCHFRONT_DEVICES_PER_TRIAL", "2")
    monkeypatch.setenv("BATCHFRONT_UNTIL_DONE", "false")
    monkeypatch.setenv("BATCHFRONT_ENGINE", "sequential")
    told = work.make_context("work", Order().arguments()).params
    assert (told["devices_per_trial"], told["until_done"], told["engine"]) == (1, True, "auto")
    assert Order().environment() == {}


def test_a_password_is_in_the_environment_and_nowhere_else() -> None:
    order = Order(URL, Filter(("a/b/c",)), data_dir="/data")
    assert order.environment() == {
        "BATCHFRONT_STORAGE": "postgresql+psycopg2://me:open-sesame@host/studies",
        "BATCHFRONT_DATA_DIR": "/data",
    }
    assert "open-sesame" not in " ".join(order.arguments())
    assert "open-sesame" not in repr(order)
    with pytest.raises(TypeError, match="password"):
        pickle.dumps(order)


def test_the_environment_is_as_before_once_the_block_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BATCHFRONT_STORAGE", "before")
    monkeypatch.delenv("BATCHFRONT_DATA_DIR", raising=False)
    told = {"BATCHFRONT_STORAGE": "within", "BATCHFRONT_DATA_DIR": "/data"}
    with in_environment(told):
        assert os.environ["BATCHFRONT_STORAGE"] == "within"
        assert os.environ["BATCHFRONT_DATA_DIR"] == "/data"
    assert os.environ["BATCHFRONT_STORAGE"] == "before"
    assert "BATCHFRONT_DATA_DIR" not in os.environ
