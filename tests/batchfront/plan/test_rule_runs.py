"""A rule for the learning rate, followed from the winner of the smallest batch size."""

from typing import Any

import optuna
import pytest
import torch

from batchfront.errors import UsageError
from batchfront.frontier.frontier import load_frontier
from batchfront.frontier.queries import load_reruns, load_trials
from batchfront.frontier.reruns import rule_runs
from batchfront.outcomes import TrialResult
from batchfront.plan.reruns import plan_rule
from batchfront.store.schema import studies
from batchfront.store.url import Storage
from batchfront.study.dashboard_note import study_note
from batchfront.vocabulary import SEARCHES
from batchfront.worker.setup import set_up
from batchfront.workload.scaling_rules import RULES
from tests import toy
from tests.searches import NAME, end, planned, reached, slots_of, stored

pytestmark = pytest.mark.every_storage


@pytest.fixture
def searched(storage: Storage) -> Storage:
    """Of batch sizes 2, 8, 32 and 64 the first has no winner, and of the last nothing is known."""
    planned(storage, batch_sizes=(2, 8, 32, 64))
    end(storage, f"{NAME}/b2", {0: TrialResult("stalled", "", 100)})
    end(storage, f"{NAME}/b8", {0: reached(50), 3: reached(40)})
    end(storage, f"{NAME}/b32", {1: reached(20)})
    return storage


def winner(storage: Storage, batch_size: int = 8) -> Any:
    points = load_frontier(storage, NAME).points
    return next(p.best for p in points if p.batch_size == batch_size)


@pytest.mark.parametrize(
    ("rule", "factors"), [("linear", (1, 4, 8)), ("square-root", (1, 2, 8**0.5))]
)
def test_the_learning_rate_is_scaled_by_the_rule_and_all_else_is_the_winners(
    searched: Storage, rule: str, factors: tuple[float, ...]
) -> None:
    made = plan_rule(searched, NAME, rule, seeds=3)
    assert [s.name for s in made.studies] == [f"{NAME}/b{b}/{rule}" for b in (8, 32, 64)]
    assert made.added == (3, 3, 3)
    first = winner(searched)
    for study, factor in zip(made.studies, factors, strict=True):
        for trial in load_trials(searched, study.id):
            rate = first.params["learning_rate"] * factor
            assert trial.params == pytest.approx({**first.params, "learning_rate": rate})
            assert trial.rerun_of == first.number
        set_up(study, torch.device("cpu"), None)
        assert (study.purpose, study.finishers) == (rule, 0)


def test_the_rules_are_the_purposes_of_their_studies_and_make_one_of_one() -> None:
    assert not set(RULES) & set(SEARCHES)
    assert all(len(rule) <= studies.c.purpose.type.length for rule in RULES)
    params = {"learning_rate": 0.3, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1}
    assert all(rule.followed(params, 1.0) == params for rule in RULES.values())


def test_planning_again_adds_what_is_missing_and_follows_a_new_winner(searched: Storage) -> None:
    plan_rule(searched, NAME, "linear", seeds=2)
    assert plan_rule(searched, NAME, "linear", seeds=2).added == (0, 0, 0)
    assert plan_rule(searched, NAME, "linear", seeds=3).added == (1, 1, 1)
    end(searched, f"{NAME}/b8/linear", {n: reached(44 + n) for n in range(3)})
    end(searched, f"{NAME}/b8", {1: reached(30)})
    assert rule_runs("linear", load_reruns(searched, NAME))[8].steps == (44, 45, 46)
    assert plan_rule(searched, NAME, "linear", seeds=3).added == (3, 3, 3)
    run = rule_runs("linear", load_reruns(searched, NAME))[8]
    assert (run.trial, run.steps, run.open) == (1, (), 3)
    assert [row.repeats for row in slots_of(searched, f"{NAME}/b8/linear")] == [3, 3, 3, 1, 1, 1]


def test_some_batch_sizes_alone_can_be_asked_for_and_the_anchor_stays(searched: Storage) -> None:
    assert plan_rule(searched, NAME, "linear", seeds=1, batch_sizes=(32,)).added == (1,)
    rate = float(winner(searched).params["learning_rate"])
    run = rule_runs("linear", load_reruns(searched, NAME))[32]
    assert run.scaled == {"learning_rate": pytest.approx(4 * rate)}


def test_runs_of_each_rule_are_read_by_batch_size(searched: Storage) -> None:
    plan_rule(searched, NAME, "linear", seeds=3)
    plan_rule(searched, NAME, "square-root", seeds=1)
    diverged = TrialResult("diverged", "", 5)
    end(searched, f"{NAME}/b32/linear", {0: diverged, 1: reached(25), 2: reached(22)})
    end(searched, f"{NAME}/b64/linear", dict.fromkeys(range(3), diverged))
    end(searched, f"{NAME}/b32/square-root", {0: reached(21)})
    runs = rule_runs("linear", load_reruns(searched, NAME))
    assert [*runs] == [8, 32, 64]
    assert (runs[32].steps, runs[32].unreached, runs[32].median) == ((22, 25), 1, 25)
    assert (runs[64].steps, runs[64].unreached, runs[64].median) == ((), 3, None)
    assert runs[8].open == 3
    assert rule_runs("square-root", load_reruns(searched, NAME))[32].steps == (21,)


def test_a_learning_rate_beyond_the_search_space_is_one_that_optuna_reads(
    searched: Storage, database: str
) -> None:
    plan_rule(searched, NAME, "linear", seeds=1)
    name = f"{NAME}/b64/linear"
    end(searched, name, {0: reached(15)})
    rate = 8 * float(winner(searched).params["learning_rate"])
    space = stored(searched, name).space
    (trial,) = optuna.load_study(study_name=name, storage=database).trials
    assert trial.params["learning_rate"] == pytest.approx(rate)
    high = trial.distributions["learning_rate"].high  # type: ignore[attr-defined]
    assert high == max(0.1, rate) == space["learning_rate"].high  # type: ignore[union-attr]


def test_without_a_winner_there_is_nothing_to_follow(storage: Storage) -> None:
    planned(storage)
    with pytest.raises(UsageError, match="no trial has reached the goal"):
        plan_rule(storage, NAME, "linear")
    end(storage, f"{NAME}/b16", {0: reached(20)})
    with pytest.raises(UsageError, match="--batch-sizes 4: smaller than 16, the smallest"):
        plan_rule(storage, NAME, "linear", batch_sizes=(4,))
    with pytest.raises(UsageError, match="--seeds 0"):
        plan_rule(storage, NAME, "linear", seeds=0)


ADAMW = "clouds/mlp/adamw"


@pytest.fixture
def adamw(storage: Storage) -> Storage:
    planned(storage, toy.adamw, batch_sizes=(2, 16, 96))
    end(storage, f"{ADAMW}/b2", {0: reached(50), 3: reached(40)})
    return storage


def test_rules_of_other_metaparameters_scale_theirs_and_stand_side_by_side(adamw: Storage) -> None:
    (first,) = [p.best.params for p in load_frontier(adamw, ADAMW).reached if p.best]
    scaled = {
        "adam-square-root": {
            "learning_rate": float(first["learning_rate"]) * 8**0.5,
            "beta1": max(1 - 8 * (1 - float(first["beta1"])), 0.0),
            "beta2": 0.992,
            "eps": 1e-8 / 8**0.5,
        },
        "beta2-half-life": {"beta2": 0.999**8},
        "weight-decay": {"weight_decay": 8 * float(first["weight_decay"])},
    }
    for rule in RULES:
        assert plan_rule(adamw, ADAMW, rule, seeds=2).added == (2, 2, 2)
        assert plan_rule(adamw, ADAMW, rule, seeds=2).added == (0, 0, 0)
    reruns = load_reruns(adamw, ADAMW)
    assert {rule for rule, _ in reruns} == set(RULES)
    for rule, expected in scaled.items():
        run = rule_runs(rule, reruns)[16]
        assert run.params == pytest.approx({**first, **expected})
        assert run.scaled == pytest.approx(expected)
    assert rule_runs("adam-square-root", reruns)[2].clipped == ()
    assert rule_runs("adam-square-root", reruns)[96].clipped == ("beta1",)
    assert rule_runs("beta2-half-life", reruns)[96].clipped == ()


def test_what_a_rule_makes_can_be_trained_and_has_a_note_of_its_own(adamw: Storage) -> None:
    for rule in scaled_otherwise():
        for study in plan_rule(adamw, ADAMW, rule, seeds=1).studies:
            set_up(study, torch.device("cpu"), None)
            assert RULES[rule].source in study_note(study)


def scaled_otherwise() -> list[str]:
    return [name for name, rule in RULES.items() if "learning_rate" not in rule.powers]


@pytest.mark.parametrize("rule", ["adam-square-root", "beta2-half-life", "weight-decay"])
def test_a_rule_for_another_optimizer_or_without_its_metaparameter_is_refused(
    searched: Storage, rule: str
) -> None:
    wrong = "the search space has no weight_decay" if rule == "weight-decay" else "here is SGD"
    with pytest.raises(UsageError, match=f"{NAME}: the {rule} rule .*{wrong}"):
        plan_rule(searched, NAME, rule)
    assert not load_reruns(searched, NAME)
