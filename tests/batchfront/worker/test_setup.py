"""A loaded: a workload made ready once, and confirmed to be what its study says."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from batchfront.errors import CatalogError, IdentityError
from batchfront.plan.delete import delete_doomed, find_doomed
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.url import Storage
from batchfront.study.study import Study
from batchfront.worker.setup import set_up
from tests.toy import SPEC, clouds

pytestmark = pytest.mark.every_storage

CPU = torch.device("cpu")


@pytest.fixture
def studies(storage: Storage) -> tuple[Study, ...]:
    return plan(storage, SPEC, clouds(), SearchOptions(trials=2)).studies


def test_one_bench_serves_all_studies_of_a_workload(studies: tuple[Study, ...]) -> None:
    loaded = set_up(studies[0], CPU, None)
    assert set_up(studies[1], CPU, loaded) is loaded
    assert set_up(studies[0], CPU, loaded) is loaded


def test_a_goal_of_the_users_own_makes_another_bench(
    storage: Storage, studies: tuple[Study, ...], made_database: Path, tmp_path: Path
) -> None:
    loaded = set_up(studies[0], CPU, None)
    goal = {**studies[0].identity["goal"], "value": 0.3}
    eased = replace(
        studies[0], id=99, goal_value=0.3, identity={**studies[0].identity, "goal": goal}
    )
    other = set_up(eased, CPU, loaded)
    assert other is not loaded
    assert other.workload.goal.value == 0.3


def test_code_that_gives_another_definition_is_refused_with_the_difference(
    studies: tuple[Study, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_WIDTH", "13")
    with pytest.raises(IdentityError, match=r"model\.parameters\.1\.weight was \[12, 2\]"):
        set_up(studies[0], CPU, None)


def test_a_study_of_the_same_workload_is_confirmed_on_its_own(studies: tuple[Study, ...]) -> None:
    loaded = set_up(studies[0], CPU, None)
    changed = replace(studies[1], identity={**studies[1].identity, "step_budget": 9})
    with pytest.raises(IdentityError, match="step_budget was 9, is 150"):
        set_up(changed, CPU, loaded)


def test_a_study_planned_anew_in_the_place_of_a_deleted_one_is_confirmed_again(
    storage: Storage, studies: tuple[Study, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = set_up(studies[0], CPU, None)
    delete_doomed(storage, find_doomed(storage, clouds().name))
    monkeypatch.setenv("TOY_WIDTH", "13")
    anew = plan(storage, SPEC, clouds(), SearchOptions(trials=2)).studies[0]
    with pytest.raises(IdentityError, match=r"model\.parameters\.1\.weight was \[13, 2\], is \[12"):
        set_up(replace(anew, id=studies[0].id), CPU, loaded)  # as SQLite gives it again


def test_code_that_is_gone_is_said(studies: tuple[Study, ...], tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no file"):
        set_up(replace(studies[0], spec=f"{tmp_path}/gone.py"), CPU, None)


def test_the_versions_of_all_that_decides_a_result_are_kept(studies: tuple[Study, ...]) -> None:
    versions = set_up(studies[0], CPU, None).versions
    assert versions["torch"] == torch.__version__
    assert versions["device"] == "cpu"
    assert versions.keys() >= {"batchfront", "source"}
    assert json.loads(json.dumps(versions)) == versions
    again = set_up(studies[0], CPU, None).versions
    assert again["source"] == versions["source"] != "unknown"
