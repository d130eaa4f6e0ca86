"""Variants: a second definition of a workload beside the first, in the same database."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from batchfront.errors import UsageError
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import Planned, plan
from batchfront.plan.reruns import plan_confirmations
from batchfront.store.url import Storage
from batchfront.study.study import Filter, find_studies
from batchfront.study.variants import as_variant, base_of, family, unused_variant
from batchfront.worker.setup import set_up
from batchfront.workload.seeds import study_seed
from tests.toy import SPEC, clouds

pytestmark = pytest.mark.every_storage

NAME = "clouds/mlp/momentum"


def make(storage: Storage, **asked: Any) -> Planned:
    return plan(storage, SPEC, clouds(), SearchOptions(**asked))


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a@b", "ä", "x.y", "-v\n"])
def test_a_name_that_could_be_taken_for_something_else_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="letters, digits, - and _, such as wider"):
        as_variant(clouds(), name)


def test_a_variant_stands_beside_the_first_under_a_name_of_its_own(storage: Storage) -> None:
    first = make(storage, trials=3)
    second = make(storage, trials=3, variant="wider", goal=0.2)
    assert [s.name for s in second.studies] == [f"{NAME}@wider/b4", f"{NAME}@wider/b16"]
    assert second.filter.workloads == (f"{NAME}@wider",)
    with storage.read() as conn:
        assert find_studies(conn, Filter((NAME,))) == list(first.studies)
    assert make(storage, variant="wider").added == (0, 0)
    assert make(storage, variant="wider", trials=5).added == (2, 2)


def test_a_variants_trials_have_the_points_and_the_seeds_of_the_firsts(storage: Storage) -> None:
    first, second = make(storage, trials=3), make(storage, trials=3, variant="v-2_b")
    for one, other in zip(first.studies, second.studies, strict=True):
        assert one.points_seed == study_seed(0, NAME, one.batch_size) == other.points_seed
        assert [one.trial_seed(n) for n in range(3)] == [other.trial_seed(n) for n in range(3)]


def test_a_name_that_merely_looks_like_a_variants_has_seeds_of_its_own(storage: Storage) -> None:
    """As of studies planned before there were variants."""
    named = plan(
        storage, SPEC, replace(clouds(), name=f"{NAME}@x"), SearchOptions(trials=1)
    ).studies[0]
    assert named.variant is None
    assert named.points_seed == study_seed(0, f"{NAME}@x", 4)


def test_what_is_not_said_of_a_variant_is_what_its_base_was_planned_with(storage: Storage) -> None:
    make(storage, trials=3, seed=7, goal=0.2, batch_sizes=(16,), finishers=2)
    (study,) = make(storage, variant="wider").studies
    assert (study.batch_size, study.trials, study.seed) == (16, 3, 7)
    assert (study.goal_value, study.finishers) == (0.2, 2)
    again = make(storage, variant="wider", trials=4).studies[0]
    assert (again.trials, again.seed) == (4, 7)


def test_a_bench_of_the_first_doesnt_serve_its_variant(storage: Storage) -> None:
    first, second = make(storage, trials=1), make(storage, trials=1, variant="wider")
    loaded = set_up(first.studies[0], torch.device("cpu"), None)
    other = set_up(second.studies[0], torch.device("cpu"), loaded)
    assert (loaded.workload.name, other.workload.name) == (NAME, f"{NAME}@wider")


def test_the_family_of_a_workload_is_it_and_its_variants(storage: Storage) -> None:
    assert family(storage, NAME) == []
    assert unused_variant(storage, NAME) == "v2"
    for variant in (None, "v2", "wider"):
        make(storage, trials=1, batch_sizes=(4,), variant=variant)
    plan(storage, SPEC, replace(clouds(), name="clouds/mlp/momentum_2"), SearchOptions(trials=1))
    assert family(storage, NAME) == [NAME, f"{NAME}@v2", f"{NAME}@wider"]
    assert unused_variant(storage, NAME) == "v3"
    assert base_of(f"{NAME}@wider", "wider") == NAME == base_of(NAME, None)


def test_confirming_needs_a_winner_of_the_variant_itself(storage: Storage) -> None:
    make(storage, trials=1, variant="wider")
    with pytest.raises(UsageError, match=f"{NAME}@wider: no trial has reached the goal"):
        plan_confirmations(storage, f"{NAME}@wider")
