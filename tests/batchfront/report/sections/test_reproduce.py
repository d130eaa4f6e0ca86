"""How to search again: all that the database has, and what it hasn't."""

import re
from html import unescape
from typing import Any

import pytest

from batchfront.ledger.ledger import Ledger
from batchfront.ledger.self_description import SelfDescription
from batchfront.report.data import Subject, load_subjects
from batchfront.report.html import Dashboard
from batchfront.report.sections.reproduce import reproduce_part
from batchfront.store.database import Storage
from batchfront.store.schema import slots
from tests.batchfront.report.rows import add_study

TRIAL = {"params": {"learning_rate": 0.1}, "outcome": "reached", "steps": 100, "steps_lower": 90}
TIMED = {**TRIAL, "training_seconds": 90.0, "evaluation_seconds": 30.0}
WHOLE = {
    "data": {"train": {"examples": 1297, "checksum": "aa11"}},
    "model": {"layers": "Linear(<64>)", "parameters": {"w": [10, 64], "b": [10]}},
    "code": [{"model": "1", "loss": "2"}],
    "algorithm": {"name": "momentum", "nesterov": True},
    "step_budget": 500,
}


def subject(storage: Storage) -> Subject:
    with storage.read() as moment:
        (found,) = load_subjects(moment, (), Dashboard())
    return found


def facts(storage: Storage) -> dict[str, str]:
    html = reproduce_part(subject(storage)).html
    found = re.findall(r"<div><dt>([^<]*)</dt><dd>(.*?)</dd></div>", html)
    return {
        name: unescape(re.sub(r"<[^>]*>", "", fact.replace("<br>", "\n"))) for name, fact in found
    }


def said(storage: Storage) -> str:
    return unescape(re.sub(r"<[^>]*>", " ", reproduce_part(subject(storage)).html))


def test_what_is_known_is_said(storage: Storage) -> None:
    versions = {"batchfront": "1", "torch": "2.6", "device": "cpu", "source": "x"}
    at = {"versions": versions, "started_at": 0.0, "finished_at": 3600.0}
    add_study(storage, "a/b/c", 8, [{**TIMED, **at}, {**TIMED, **at}], identity=WHOLE, finishers=1)
    told = facts(storage)
    assert told["Data"] == "train: 1,297 examples, checksum aa11"
    assert told["Model"] == "650 parameters in 2 tensors"
    assert told["Training"] == "algorithm: momentum (nesterov True)"
    assert told["Ran on"] == "batchfront 1\ndevice cpu\ntorch 2.6"
    assert told["Cost of the search"] == (
        "3\u00a0min of training and 60\u00a0s of evaluation, added up over all devices\n"
        "200 steps on 1,600 examples, in 2 trials\nfrom 1 January 1970, 00:00 to 01:00 UTC"
    )
    assert told["The search again"].startswith("batchfront run a/b/c --batch-sizes 8 --trials 2 ")
    text = said(storage)
    assert "Linear(<64>)" in text
    assert "8  500  2  0.001 to 3, log  0 to 0.999, log of 1\u00a0−\u00a0value" in text
    assert "Not in the database: the versions of Python, Optuna and drivers." in text


def test_optunas_version_is_what_the_workers_have_told(storage: Storage) -> None:
    at = {"started_at": 0.0, "finished_at": 3600.0}
    add_study(storage, "a/b/c", 8, [{**TIMED, **at}, {**TIMED, **at}], identity=WHOLE)
    Ledger(storage, "w").register("host", 1, "cpu", SelfDescription({"optuna": "5.0.0"}))
    with storage.write() as conn:
        conn.execute(slots.update().where(slots.c.number == 0).values(worker_id="w"))
    assert facts(storage)["Ran on"] == "optuna 5.0.0"
    assert "the versions of Python, Optuna and drivers." in said(storage)  # of the other trial
    with storage.write() as conn:
        conn.execute(slots.update().values(worker_id="w"))
    assert "the versions of Python and drivers." in said(storage)


def test_what_is_not_known_is_said_too(storage: Storage) -> None:
    add_study(storage, "a/b/c", 8, [TRIAL], spec="", sampler="imported")
    told, text = facts(storage), said(storage)
    assert not {"The search again", "A winner again", "Data", "Model", "Code"} & set(told)
    assert told["Search"] == "run elsewhere; how its trials were sampled is not known here"
    for missing in ("the code, and", "checksums of the data", "the model", "how long it took"):
        assert missing in text.partition("Not in the database:")[2]


@pytest.mark.parametrize(
    ("space", "shown"),
    [
        ({"kind": "Linear", "low": 0.0, "high": 0.5}, "0 to 0.5"),
        ({"kind": "Integer", "low": 1, "high": 64, "log": True}, "1 to 64, log"),
        ({"kind": "Choice", "values": [True, "<b>"]}, "True, <b>"),
        (0.9, "0.900, fixed"),
    ],
    ids=str,
)
def test_a_range_is_told_with_its_scale(storage: Storage, space: Any, shown: str) -> None:
    add_study(storage, "a/b/c", 8, [{**TRIAL, "params": {}}], space={"x": space})
    assert f"10,000  1  {shown} " in said(storage)
