"""Learning rates against the scaling rules, and what following these would have cost."""

from typing import Any

import numpy as np
import pytest

from batchfront.frontier.analysis.censoring import Needed
from batchfront.frontier.analysis.scaling_rules import Followed, Rules, rules
from batchfront.frontier.queries import load_reruns
from batchfront.frontier.reruns import rule_runs
from batchfront.store.url import Storage
from tests.batchfront.frontier.analysis.studies import ended, loaded, reached
from tests.batchfront.report.rows import SPACE, add_study

NAME = "a/b/momentum"
LR = {"learning_rate": {"kind": "Log", "low": 1e-3, "high": 10.0}}  # four decades


def analyzed(storage: Storage) -> Rules:
    frontier, trials, _ = loaded(storage, NAME)
    return rules(frontier, trials, load_reruns(storage, NAME))


def rate(value: float, **others: Any) -> dict[str, Any]:
    return {"learning_rate": value, **others}


def winners(storage: Storage, rates: dict[int, float], momentum: float = 0.9) -> Rules:
    for batch_size, value in rates.items():
        add_study(storage, NAME, batch_size, [reached(9, params=rate(value, momentum=momentum))])
    return analyzed(storage)


def following(found: Rules, rule: str, batch_size: int) -> Followed:
    return next(f for f in found.followed if (f.rule, f.batch_size) == (rule, batch_size))


def test_winners_stand_beside_what_the_rules_make_of_the_first(storage: Storage) -> None:
    found = winners(storage, {8: 0.1, 32: 0.3})
    second = found.winners[1]
    assert (second.batch_size, second.learning_rate, second.momentum) == (32, 0.3, 0.9)
    assert second.effective == pytest.approx(3)
    assert second.ruled == {
        "linear": {"learning_rate": pytest.approx(0.4)},
        "square-root": {"learning_rate": pytest.approx(0.2)},
    }
    assert second.effective_ruled == pytest.approx({"linear": 4, "square-root": 2})


def test_one_batch_size_is_followed_nowhere(storage: Storage) -> None:
    one = winners(storage, {4: 0.1})
    assert (one.exponents, one.followed, len(one.winners)) == ((), (), 1)


def test_the_nearest_trial_stands_for_a_rule(storage: Storage) -> None:
    add_study(storage, NAME, 8, [reached(100, params=rate(0.1))], space=LR)
    trials = [
        reached(50, params=rate(0.2)),
        reached(60, params=rate(0.4)),
        ended("capped", 60, params=rate(4.0)),
    ]
    add_study(storage, NAME, 32, trials, space=LR)
    linear = following(analyzed(storage), "linear", 32)
    assert linear.params == rate(pytest.approx(0.4))
    assert (linear.source, linear.outcomes, linear.far) == ("nearest", {"reached": 1}, False)
    assert [near.number for near in linear.nearest] == [1, 0, 2]
    # A factor of two is 0.075 of four decades, and of ten 0.25.
    distances = [near.distance for near in linear.nearest]
    assert distances == pytest.approx([0, np.log10(2) / 4, 0.25], abs=1e-9)
    assert linear.needed is not None
    assert linear.needed.exact
    assert linear.loss == 1.2


def test_distances_are_over_all_searched_metaparameters(storage: Storage) -> None:
    space = {
        **LR,
        "decay": {"kind": "Linear", "low": 0.0, "high": 2.0},
        "units": {"kind": "Choice", "values": ["few", "many"]},
        "fixed": 3,
    }
    start = rate(0.1, decay=1.0, units="few", fixed=3)
    add_study(storage, NAME, 8, [reached(100, params=start)], space=space)
    trials = [
        reached(50, params=rate(1.0, decay=1.4, units="few", fixed=3)),
        reached(70, params=rate(0.1, decay=1.0, units="many", fixed=3)),
        reached(80, params=rate(0.1, decay=1.0)),
        ended("failed", 0, params=start),
        {"params": start},
    ]
    add_study(storage, NAME, 80, trials, space=space)
    linear = following(analyzed(storage), "linear", 80)
    distances = {near.number: near.distance for near in linear.nearest}
    assert distances == pytest.approx({0: 0.2, 1: np.hypot(0.25, 1)})


def test_a_censored_trial_bounds_the_loss_and_a_diverged_one_never_gets_there(
    storage: Storage,
) -> None:
    add_study(storage, NAME, 8, [reached(100, params=rate(0.1))], space=LR)
    trials = [
        reached(50, params=rate(0.01)),
        ended("capped", 75, params=rate(0.8)),
        ended("diverged", 3, params=rate(6.4)),
    ]
    add_study(storage, NAME, 512, trials, space=LR)
    found = analyzed(storage)
    root, linear = (following(found, rule, 512) for rule in ("square-root", "linear"))
    assert root.needed is not None
    assert (root.needed.at_least, root.needed.at_most, root.loss) == (75, None, 1.5)
    assert (linear.needed, linear.loss, linear.outcomes) == (None, None, {"diverged": 1})


def test_a_rule_that_leaves_the_search_space_says_so(storage: Storage) -> None:
    add_study(storage, NAME, 8, [reached(100, params=rate(1.0))], space=LR)
    add_study(storage, NAME, 800, [reached(50, params=rate(10.0))], space=LR)
    found = analyzed(storage)
    linear, root = (following(found, rule, 800) for rule in ("linear", "square-root"))
    assert (linear.outside, root.outside) == (("learning_rate",), ())
    assert linear.nearest[0].distance == pytest.approx(0.25)
    assert linear.far


def test_runs_of_a_rule_stand_for_it_by_their_median(storage: Storage) -> None:
    add_study(storage, NAME, 8, [reached(100, params=rate(0.1))], space=LR)
    add_study(storage, NAME, 32, [reached(50, params=rate(0.3))], space=LR)
    ruled, other = rate(0.4), rate(0.7)
    runs = [
        reached(90, params=ruled),
        reached(60, params=ruled),
        ended("exhausted", 300, params=ruled),
        reached(1, params=other),  # of another winner than the present one
        ended("failed", 2, params=ruled),
    ]
    add_study(storage, NAME, 32, runs, space=LR, purpose="linear")
    found = analyzed(storage)
    linear, root = (following(found, rule, 32) for rule in ("linear", "square-root"))
    assert (linear.source, linear.loss, linear.far) == ("run", 1.8, False)
    assert linear.outcomes == {"reached": 2, "exhausted": 1}
    assert root.source == "nearest"


def test_confirm_and_the_analysis_have_one_median(storage: Storage) -> None:
    add_study(storage, NAME, 8, [reached(90, params=rate(0.1))], space=LR)
    add_study(storage, NAME, 32, [reached(50, params=rate(0.3))], space=LR)
    steps = (120, 100, 200, 160)
    runs = [{**reached(n, params=rate(0.4)), "repeats": 0} for n in steps]
    add_study(storage, NAME, 32, runs, space=LR, purpose="linear", finishers=0)
    found = following(analyzed(storage), "linear", 32)
    assert (found.needed, found.loss) == (Needed(140, 140), 2.8)
    assert rule_runs("linear", load_reruns(storage, NAME))[32].median == 140


def test_runs_count_once_all_are_done(storage: Storage) -> None:
    add_study(storage, NAME, 8, [reached(100, params=rate(0.1))], space=LR)
    add_study(storage, NAME, 32, [reached(50, params=rate(0.3))], space=LR)
    runs = [reached(60, params=rate(0.4)), {"params": rate(0.4)}]
    add_study(storage, NAME, 32, runs, space=LR, purpose="linear")
    assert following(analyzed(storage), "linear", 32).source == "nearest"


def test_a_median_that_did_not_get_there_is_a_bound(storage: Storage) -> None:
    add_study(storage, NAME, 8, [reached(100, params=rate(0.1))], space=LR)
    add_study(storage, NAME, 32, [reached(50, params=rate(0.3))], space=LR)
    runs = [ended("exhausted", 300), reached(60), ended("exhausted", 300)]
    runs = [run | {"params": rate(0.4)} for run in runs]
    add_study(storage, NAME, 32, runs, space=LR, purpose="linear")
    linear = following(analyzed(storage), "linear", 32)
    assert linear.needed is not None
    assert (linear.needed.at_most, linear.loss) == (None, 6)


def test_without_a_learning_rate_or_a_winner_there_is_a_reason(storage: Storage) -> None:
    add_study(storage, NAME, 8, [ended("exhausted", 100, params=rate(0.1))], space=LR)
    assert analyzed(storage).reason == "the goal has not been reached"
    add_study(storage, NAME, 16, [reached(10)], space={})
    found = analyzed(storage)
    assert (found.winners, found.reason) == ((), "its points have no learning rate")


def test_without_momentum_there_is_no_effective_learning_rate(storage: Storage) -> None:
    for batch_size in (8, 16):
        add_study(storage, NAME, batch_size, [reached(9, params=rate(0.1))], space=LR)
    found = analyzed(storage)
    assert [(w.momentum, w.effective, w.effective_ruled) for w in found.winners] == [
        (None, None, {})
    ] * 2


def test_momentum_stays_what_it_was_at_the_smallest_batch_size(storage: Storage) -> None:
    add_study(storage, NAME, 8, [reached(100, params=rate(0.1, momentum=0.9))], space=SPACE)
    add_study(storage, NAME, 16, [reached(50, params=rate(0.2, momentum=0.5))], space=SPACE)
    linear = following(analyzed(storage), "linear", 16)
    assert linear.params["momentum"] == 0.9
    assert linear.nearest[0].distance == pytest.approx(np.log10(5) / 3)  # of 1 - momentum


def test_where_no_rate_was_searched_only_runs_at_the_rules_rate_stand_for_it(
    storage: Storage,
) -> None:
    for batch_size, value in ((8, 0.1), (16, 0.2), (32, 0.2)):
        run = reached(9, params=rate(value))
        add_study(storage, NAME, batch_size, [run], space={}, purpose="points")
    found = analyzed(storage)
    assert [trial.number for trial in following(found, "linear", 16).nearest] == [0]
    assert following(found, "linear", 16).loss == 1
    assert following(found, "linear", 16).source == "run"
    missed = following(found, "linear", 32)
    assert (missed.nearest, missed.loss, missed.outcomes) == ((), None, {})


def test_seeds_at_a_rules_rate_stand_for_it_by_their_median(storage: Storage) -> None:
    for batch_size, value, steps in ((8, 0.1, (90,)), (16, 0.2, (40, 50, 70, None))):
        runs = [ended("exhausted", 0) if n is None else reached(n) for n in steps]
        runs = [run | {"params": rate(value)} for run in runs]
        add_study(storage, NAME, batch_size, runs, space={}, purpose="points")
    linear = following(analyzed(storage), "linear", 16)
    assert (linear.needed, linear.loss) == (Needed(60, 60), 1)
    assert linear.outcomes == {"reached": 3, "exhausted": 1}
