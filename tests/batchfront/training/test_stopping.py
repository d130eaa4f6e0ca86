"""Trials are given up for what they have shown, and never while they improve."""

import math

import pytest

from batchfront.outcomes import Evaluation
from batchfront.training.stopping import judge
from batchfront.vocabulary import Outcome
from batchfront.workload.evaluation_grid import EvaluationGrid
from batchfront.workload.goal import Goal
from batchfront.workload.metrics import ACCURACY, ERROR_RATE
from batchfront.workload.stopping_rules import StoppingRules

RULES = StoppingRules()
ERROR = Goal(ERROR_RATE, 0.01)
UNTRAINED = 2.3
_GRID = EvaluationGrid().steps(4000)
STEPS = [s for p, s in zip((0, *_GRID), _GRID, strict=False) if EvaluationGrid().is_full(s, p)]


def verdict(looks: list[Evaluation], goal: Goal = ERROR) -> tuple[Outcome, str] | None:
    return judge(looks, UNTRAINED, RULES, goal)


def first_verdict(looks: list[Evaluation], goal: Goal = ERROR) -> tuple[int, Outcome] | None:
    """Step and outcome of the first look that ends the trial."""
    for n in range(1, len(looks) + 1):
        if found := judge(looks[:n], UNTRAINED, RULES, goal):
            return looks[n - 1].step, found[0]
    return None


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_loss_or_metric_that_is_not_finite_is_diverged_at_once(broken: float) -> None:
    assert verdict([Evaluation(1, broken, 0.9)]) == (
        "diverged",
        f"training loss {broken:g}, error rate 0.9 at step 1",
    )
    found = verdict([Evaluation(1, 2.0, broken)])
    assert found is not None
    assert found[0] == "diverged"


def test_a_loss_far_above_the_untrained_one_is_diverged_once_patience_is_over() -> None:
    high = RULES.diverged_at * UNTRAINED * 1.01
    assert verdict([Evaluation(RULES.patience - 1, high, 0.9)]) is None
    found = verdict([Evaluation(RULES.patience, high, 0.9)])
    assert found is not None
    assert found[0] == "diverged"
    assert "untrained 2.3" in found[1]


def test_a_training_loss_that_stays_above_the_untrained_one_is_stalled() -> None:
    # The metric improves all the while, so that only the loss can speak.
    looks = [Evaluation(s, UNTRAINED * 1.1, 0.9 - s * 1e-5) for s in STEPS]
    found = first_verdict(looks)
    assert found is not None
    assert found[1] == "stalled"
    assert RULES.patience <= found[0] < 2 * RULES.patience
    assert first_verdict([look._replace(loss=UNTRAINED * 1.04) for look in looks]) is None


def test_a_training_loss_that_has_come_down_lately_is_not_stalled() -> None:
    looks = [Evaluation(s, UNTRAINED * (3 if s < 64 else 0.9), 0.9 - s * 1e-5) for s in STEPS]
    assert first_verdict(looks) is None


def test_a_metric_without_a_better_value_for_all_but_an_eighth_of_the_steps_is_stalled() -> None:
    looks = [Evaluation(s, 1.0, max(0.2, 0.9 - s * 0.02)) for s in STEPS]
    falling = [look._replace(loss=1 / look.step) for look in looks]
    assert first_verdict(falling) is None  # as when a rare class is learnt: loss first, then error
    best = next(look.step for look in looks if look.metric == 0.2)
    found = first_verdict(looks)
    assert found is not None
    assert found[1] == "stalled"
    assert found[0] == next(s for s in STEPS if s > best * RULES.stale_after)


def test_no_rule_speaks_before_patience_is_over() -> None:
    looks = [Evaluation(s, UNTRAINED * 50, 0.9) for s in STEPS if s < RULES.patience]
    assert first_verdict(looks) is None
    assert len(looks) > 10


@pytest.mark.parametrize("goal", [ERROR, Goal(ACCURACY, 0.99)], ids=["lower", "higher"])
def test_a_steadily_improving_trial_is_never_given_up(goal: Goal) -> None:
    for rate in (0.02, 0.1, 0.5):
        looks = []
        for s in STEPS:
            error = 0.9 * s**-rate
            metric = error if goal.metric.better == "lower" else 1 - error
            looks.append(Evaluation(s, UNTRAINED * s**-rate, metric))
        assert first_verdict(looks, goal) is None


def test_a_score_that_falls_is_stalled_as_an_error_that_rises_is() -> None:
    looks = [Evaluation(s, 1.0, 0.5 - s * 1e-5) for s in STEPS]
    found = first_verdict(looks, Goal(ACCURACY, 0.99))
    assert found is not None
    assert found[1] == "stalled"


@pytest.mark.parametrize("untrained", [0.0, -5.0])
def test_a_loss_that_starts_at_or_below_zero_is_not_held_against_a_trial(untrained: float) -> None:
    """A log-density may be of either sign; only the metric can then tell."""
    looks = [Evaluation(s, untrained + 0.1, 0.9 * s**-0.1) for s in STEPS]
    assert all(judge(looks[:n], untrained, RULES, ERROR) is None for n in range(1, len(looks) + 1))
    stale = [look._replace(metric=0.5) for look in looks]
    assert judge(stale, untrained, RULES, ERROR) is not None


def test_without_a_training_loss_the_metric_alone_decides() -> None:
    looks = [Evaluation(s, None, max(0.2, 0.9 - s * 0.02)) for s in STEPS]
    best = next(look.step for look in looks if look.metric == 0.2)
    over = next(n for n, s in enumerate(STEPS, 1) if s > best * RULES.stale_after)
    assert all(verdict(looks[:n]) is None for n in range(1, over))
    assert verdict(looks[:over]) == ("stalled", f"no better error rate since step {best}")
    broken = [*looks[:3], Evaluation(STEPS[3], None, math.nan)]
    assert verdict(broken) == ("diverged", f"error rate nan at step {STEPS[3]}")


def test_a_training_loss_that_is_told_only_now_and_then_is_judged_where_it_is() -> None:
    looks = [Evaluation(s, UNTRAINED * 1.1, 0.9 - s * 1e-5) for s in STEPS]
    seldom = [look._replace(loss=None) if n % 3 else look for n, look in enumerate(looks)]
    found = first_verdict(seldom)
    assert found is not None
    assert found[1] == "stalled"
    assert first_verdict([look._replace(metric=0.9 * look.step**-0.1) for look in seldom]) == found
    falling = [one._replace(loss=one.loss and UNTRAINED / one.step, metric=0.9) for one in seldom]
    assert first_verdict(falling) is None  # no better metric, but a lower loss where one is told
