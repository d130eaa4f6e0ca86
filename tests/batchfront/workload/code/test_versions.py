"""Code that changes after a study was planned: refused by name, accepted, and told apart since."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import select, update

from batchfront.errors import IdentityError
from batchfront.frontier.code_versions import by_version, mixed
from batchfront.frontier.frontier import load_frontier
from batchfront.phrases import first_few
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import Planned, plan
from batchfront.plan.reruns import plan_confirmations
from batchfront.report.text import notes
from batchfront.store.schema import slots, studies
from batchfront.store.url import Storage
from batchfront.study.study import Filter, find_studies
from batchfront.worker.setup import set_up
from batchfront.workload import catalog
from batchfront.workload.code.versions import changes, digest
from tests.searches import work

pytestmark = pytest.mark.every_storage

CPU = torch.device("cpu")
NAME = "blobs/linear/momentum"

Edit = Callable[..., None]


@pytest.fixture
def spec(tmp_path: Path) -> str:
    """A workload of a user's own; `edit` changes its model's factor."""
    (tmp_path / "blobs.py").write_text(
        """
import torch
from torch import nn
from batchfront import *


def data():
    inputs = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))
    split = Split(inputs, (inputs.sum(dim=1) > 0).long())
    return Splits(split, split)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        return 1.0 * self.layer(x)


def workload() -> Workload:
    return Workload(
        name="blobs/linear/momentum", data=data, model=Net, loss=cross_entropy,
        algorithm=Momentum(), goal=Goal(ERROR_RATE, 0.1), step_budget=200, batch_sizes=(2, 8),
        search_space={"learning_rate": Log(0.01, 1.0), "momentum": ReverseLog(0.0, 0.9)},
    )
"""
    )
    return f"{tmp_path}/blobs.py:workload"


@pytest.fixture
def edit(tmp_path: Path) -> Edit:
    """Writes another factor into the model's forward; it was 1.0."""
    path, factor = tmp_path / "blobs.py", ["1.0"]

    def edit(now: str) -> None:
        text = path.read_text()
        path.write_text(text.replace(f"{factor[0]} * self", f"{now} * self"))
        factor[0] = now

    return edit


def make(storage: Storage, spec: str, **asked: Any) -> Planned:
    return plan(storage, spec, catalog.load(spec), SearchOptions(**asked))


def run(storage: Storage, *workloads: str) -> None:
    with storage.read() as conn:
        places = {str(Path(one.spec).parent) for one in find_studies(conn, Filter())}
    work(storage, wanted=Filter(workloads), code=tuple(places))


def forget_code(storage: Storage) -> None:
    """Leave the studies as they were stored before code was kept."""
    with storage.write() as conn:
        for row in conn.execute(select(studies)).all():
            identity = json.loads(row.identity)
            del identity["code"]
            changed = update(studies).where(studies.c.id == row.id)
            conn.execute(changed.values(identity=json.dumps(identity)))
        conn.execute(
            update(slots).where(slots.c.versions.is_not(None)).values(versions='{"source": "old"}')
        )


def test_planning_with_edited_code_is_refused_and_names_it(
    storage: Storage, spec: str, edit: Edit
) -> None:
    make(storage, spec, trials=2)
    edit("0.5")
    for asked in ({}, {"trials": 4}, {"batch_sizes": (4,)}, {"batch_sizes": (8,)}):
        with pytest.raises(IdentityError, match=r"differs in blobs\.py:Net$") as refused:
            make(storage, spec, **asked)
        assert refused.value.planned == (spec, "--accept-changes")
        assert refused.value.exit_code == 2
    edit("1.0")
    assert make(storage, spec).added == (0, 0)


def test_a_changed_definition_is_refused_with_its_code_and_cant_be_accepted(
    storage: Storage, spec: str, edit: Edit, tmp_path: Path
) -> None:
    make(storage, spec, trials=2)
    path = tmp_path / "blobs.py"
    path.write_text(path.read_text().replace("nn.Linear(4, 2)", "nn.Linear(4, 2, bias=False)"))
    for accept, says in ((False, r".*; code: blobs\.py:Net"), (True, "")):
        with pytest.raises(IdentityError, match=rf"model\.layers was{says}") as refused:
            make(storage, spec, accept_changes=accept)
        assert refused.value.planned == ()


def test_accepted_changes_go_on_and_every_study_of_the_workload_knows_them(
    storage: Storage, spec: str, edit: Edit
) -> None:
    make(storage, spec, trials=2)
    run(storage)
    plan_confirmations(storage, NAME, seeds=1)
    edit("0.5")
    made = make(storage, spec, trials=4, accept_changes=True, batch_sizes=(2, 4))
    assert made.added == (2, 4)
    with storage.read() as conn:
        known = [study.identity["code"] for study in find_studies(conn, Filter())]
    assert len(known) == 5  # of 2, 4 and 8, and of two confirmations
    assert all(code == known[0] for code in known)
    assert changes(*known[0]) == ["blobs.py:Net"]
    assert make(storage, spec).added == (0, 0, 0)
    run(storage)
    found = by_version(load_frontier(storage, NAME))
    assert [(one["version"], one["trials"], one["changed"]) for one in found] == [
        (1, 4, []),
        (2, 6, ["blobs.py:Net"]),
    ]


def test_which_trials_are_of_which_version_is_said_with_the_fastest(
    storage: Storage, spec: str, edit: Edit
) -> None:
    make(storage, spec, trials=4)
    run(storage)
    assert mixed(load_frontier(storage, NAME)) is None
    edit("0.001")
    make(storage, spec, accept_changes=True)
    said = mixed(load_frontier(storage, NAME))
    assert said == (
        "All trials are of version 1 of the workload's code, and none of version 2 (what differs: "
        "blobs.py:Net)."
    )
    make(storage, spec, trials=6)
    run(storage)
    frontier = load_frontier(storage, NAME)
    said = mixed(frontier)
    assert said == (
        "Trials of 2 versions of the workload's code are mixed: 8 of version 1, 4 of version 2 "
        "(what differs: blobs.py:Net). The fastest by batch size: version 1 at 2, 8."
    )
    assert said in notes(frontier)
    assert not [note for note in notes(frontier) if "versions of source" in note]
    assert frontier.to_dict()["code"] == [
        {"version": 1, "trials": 8, "fastest_at": [2, 8], "changed": []},
        {"version": 2, "trials": 4, "fastest_at": [], "changed": ["blobs.py:Net"]},
    ]


def test_going_back_has_to_be_accepted_too_and_is_no_third_version(
    storage: Storage, spec: str, edit: Edit
) -> None:
    make(storage, spec, trials=2)
    edit("0.5")
    make(storage, spec, accept_changes=True)
    edit("1.0")
    with pytest.raises(IdentityError):
        make(storage, spec)
    (first, second, third) = make(storage, spec, accept_changes=True).studies[0].identity["code"]
    assert digest(first) == digest(third) != digest(second)
    run(storage)
    found = by_version(load_frontier(storage, NAME))
    assert [(one["version"], one["trials"]) for one in found] == [(1, 4), (2, 0)]


def test_a_worker_needs_the_version_that_the_study_goes_on_with(
    storage: Storage, spec: str, edit: Edit
) -> None:
    old = make(storage, spec, trials=2).studies[0]
    edit("0.5")
    with pytest.raises(IdentityError, match=r"differs in blobs\.py:Net") as refused:
        set_up(old, CPU, None)
    assert refused.value.planned == (spec, "--accept-changes")
    new = make(storage, spec, accept_changes=True).studies[0]
    loaded = set_up(new, CPU, None)
    assert loaded.versions["source"] == digest(new.identity["code"][-1])
    edit("0.25")
    newer = make(storage, spec, accept_changes=True).studies[0]
    with pytest.raises(IdentityError):  # of one that was loaded before
        set_up(newer, CPU, loaded)


def test_a_worker_with_other_code_leaves_the_trials_to_others(
    storage: Storage, spec: str, edit: Edit
) -> None:
    make(storage, spec, trials=2)
    edit("0.5")
    with pytest.raises(IdentityError):
        run(storage)
    edit("1.0")
    run(storage)
    assert by_version(load_frontier(storage, NAME))[0]["trials"] == 4


def test_studies_from_before_code_was_kept_go_on_and_are_told_apart_from_then_on(
    storage: Storage, spec: str, edit: Edit, caplog: pytest.LogCaptureFixture
) -> None:
    make(storage, spec, trials=2)
    run(storage)
    forget_code(storage)
    before = load_frontier(storage, NAME)
    with caplog.at_level(logging.WARNING):
        assert make(storage, spec).added == (0, 0)
        assert make(storage, spec).added == (0, 0)
    assert [r.message for r in caplog.records].count(caplog.records[0].message) == 1
    assert "whether it has changed since is not known" in caplog.records[0].message
    after = load_frontier(storage, NAME)
    assert [p.to_dict() for p in after.points] == [p.to_dict() for p in before.points]
    assert mixed(after) is None
    make(storage, spec, trials=3)
    run(storage)
    said = mixed(load_frontier(storage, NAME)) or ""
    assert said.startswith("Of 4 trials it is not known which version")
    assert "as it was not kept then; 2 of version 1. The fastest by batch size:" in said
    edit("0.5")
    with pytest.raises(IdentityError):
        make(storage, spec)


def test_a_worker_goes_on_with_a_study_from_before_code_was_kept(
    storage: Storage, spec: str
) -> None:
    make(storage, spec, trials=2)
    forget_code(storage)
    run(storage)
    assert load_frontier(storage, NAME).reached


def test_a_winner_that_another_version_ran_again_is_named(
    storage: Storage, spec: str, edit: Edit
) -> None:
    make(storage, spec, trials=2)
    run(storage)
    plan_confirmations(storage, NAME, seeds=1, candidates=1)
    edit("0.9")
    make(storage, spec, accept_changes=True)
    run(storage)
    said = mixed(load_frontier(storage, NAME)) or ""
    assert "Run again by another version than the fastest trial's: 2, 8." in said


def test_many_names_are_a_few_and_a_number() -> None:
    assert first_few(["a", "b"]) == "a, b"
    assert first_few(list("abcdefg")) == "a, b, c, d, e, f, g"
    assert first_few(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"
