"""Where further trials are expected to tell the most, and when none is needed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from batchfront.frontier import allocation
from batchfront.frontier.allocation import (
    AT_ONCE,
    EQUAL_ROUNDS,
    Known,
    Settled,
    foretold,
    next_round,
    shares,
)
from batchfront.frontier.curve.estimates import Estimate
from batchfront.frontier.expected import ExpectedFrontier, ExpectedPoint
from batchfront.surrogate.evidence import Evidence, Kind
from batchfront.workload.search_space import Log, SearchSpace

SIZES = (4, 8, 16, 32, 64, 128, 256, 512)
SPACES: dict[int, SearchSpace] = {size: {"learning_rate": Log(0.01, 1.0)} for size in SIZES}
PLENTY = dict.fromkeys(SIZES, 100)


def known(varies: Sequence[float], factor: float = 2.0) -> Known:
    """An answer that varies with each of the steps as much as is said; all else is alike."""
    together = np.eye(len(varies) + 1)
    together[0, 1:] = together[1:, 0] = varies
    answer = Estimate(100.0, 100 / factor, 100 * factor)
    return Known(answer, SIZES[: len(varies)], together, np.full(len(varies), 5.0))


decide = partial(next_round, together=4, until=1.3)


def shown(sizes: Sequence[int] = SIZES, *, reached: int = 12) -> list[Evidence]:
    params = [{"learning_rate": 0.01 * 100 ** (n / reached)} for n in range(reached)]
    return [
        Evidence(size, one, Kind.REACHED, 1000 / size + 20 + n)
        for size in sizes
        for n, one in enumerate(params)
    ]


class Errors:
    """How far off each of the expected steps may be, by itself, as a logarithm."""

    each = 0.01


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch) -> Errors:
    """Expected steps that follow a curve, and are off by as much as is said."""
    known = Errors()

    def expect(_: object, shown: Mapping[tuple[int, int], Evidence]) -> ExpectedFrontier:
        sizes = sorted({size for size, _ in shown})
        points = [
            ExpectedPoint(
                size, one := 1000 / size + 20, one * 0.9, one * 1.1, 0.3, {}, 0, trials=9, reached=9
            )
            for size in sizes
        ]
        covariance = (known.each**2 * np.eye(len(sizes))).tolist()
        return ExpectedFrontier(tuple(points), covariance=tuple(map(tuple, covariance)))

    monkeypatch.setattr(allocation, "expect", expect)
    return known


def test_a_trial_takes_from_the_variance_what_conditioning_on_it_does() -> None:
    now = known([0.5, 0.2, -0.3])
    after = now.after(1)
    observed, noise = np.array([0.0, 0.0, 1.0, 0.0]), 1 / now.told[1]
    gain = now.together @ observed / (observed @ now.together @ observed + noise)
    direct = now.together - np.outer(gain, observed @ now.together)
    np.testing.assert_allclose(after.together, direct)
    assert now.together[0, 0] - after.together[0, 0] == pytest.approx(now.gains()[1])
    np.testing.assert_allclose(now.after(1).after(1).together, now.after(1, 2).together)


def test_each_trial_of_a_round_goes_to_where_it_tells_the_most() -> None:
    found = shares(known([0.3, 0.1, 0.0]), dict.fromkeys(SIZES[:3], 100), 4)
    assert sum(found.values()) == 12
    assert found[4] > found.get(8, 0) > 0
    assert 16 not in found
    assert max(found.values()) <= AT_ONCE * 4


def test_where_one_may_not_get_more_the_others_do() -> None:
    found = shares(known([0.3, 0.1, 0.1]), {4: 2, 8: 100, 16: 1}, 4)
    assert found == {4: 2, 8: 9, 16: 1}


def test_what_has_not_reached_the_goal_gets_an_equal_share_and_what_may_get_none_gets_none() -> (
    None
):
    found = shares(known([0.3, 0.2]), {4: 100, 64: 100, 128: 3}, 4)
    assert found == {4: 4, 64: 4, 128: 3}
    assert shares(None, {4: 100, 8: 1, 16: 0}, 4) == {4: 4, 8: 1}


def test_a_search_begins_with_equal_rounds_also_at_batch_sizes_that_come_later() -> None:
    trials = dict.fromkeys(SIZES, 0)
    for _ in range(EQUAL_ROUNDS):
        assert decide(foretold(SPACES, [], 1), trials, PLENTY) == dict.fromkeys(SIZES, 4)
        trials = {size: count + 4 for size, count in trials.items()}
    trials |= {512: 0}
    assert decide(foretold(SPACES, shown(), 1), trials, PLENTY) == {512: 4}


def test_an_answer_that_is_as_sure_as_was_asked_settles_the_search(errors: Errors) -> None:
    trials = dict.fromkeys(SIZES, 12)
    found = decide(foretold(SPACES, shown(), 1), trials, PLENTY)
    assert isinstance(found, Settled)
    assert found.why.startswith(
        "how far a larger batch size is useful is known to within a factor of 1.3: up to "
    )


def test_one_that_is_less_sure_has_as_many_trials_in_a_round_as_ever(errors: Errors) -> None:
    errors.each = 0.1
    found = decide(foretold(SPACES, shown(), 1), dict.fromkeys(SIZES, 12), PLENTY)
    assert isinstance(found, dict)
    assert sum(found.values()) == 4 * len(SIZES)
    assert len(set(found.values())) > 1


def test_without_a_trial_left_the_search_is_settled(errors: Errors) -> None:
    errors.each = 0.3
    none = dict.fromkeys(SIZES, 0)
    found = decide(foretold(SPACES, shown(), 1), dict.fromkeys(SIZES, 12), none)
    assert found == Settled("each batch size has had as many trials as it may have")


def test_where_no_trial_would_tell_more_the_search_is_settled(errors: Errors) -> None:
    errors.each = 0.3
    one = dict.fromkeys(SIZES, 0) | {4: 1}
    found = decide(foretold(SPACES, shown(), 1), dict.fromkeys(SIZES, 12), one)
    assert isinstance(found, Settled)
    assert found.why.startswith("no further trial is expected to tell more")


def test_where_no_curve_can_be_drawn_a_round_is_shared_equally(errors: Errors) -> None:
    trials, few = dict.fromkeys(SIZES, 12), shown(SIZES[:3])
    assert foretold(SPACES, few, 1) is None
    assert decide(None, trials, PLENTY) == dict.fromkeys(SIZES, 4)


def test_a_trial_tells_less_where_it_is_likely_to_be_capped(errors: Errors) -> None:
    early, late = (foretold(SPACES, shown(), finishers) for finishers in (1, 100))
    assert early is not None
    assert late is not None
    assert (early.told < late.told).all()
    assert late.told == pytest.approx(1 / 0.3**2)


def test_it_is_a_function_of_what_was_shown_in_any_order() -> None:
    found, other = (foretold(SPACES, told, 1) for told in (shown(), shown()[::-1]))
    assert found is not None
    assert other is not None
    assert found.answer == other.answer
    assert shares(found, PLENTY, 4) == shares(other, PLENTY, 4)


def test_an_interval_that_is_open_is_not_sure() -> None:
    assert known([0.1], 1.2).factor == pytest.approx(1.2)
    opened = replace(known([0.1]), answer=Estimate(100.0, 50.0, None))
    assert math.isinf(opened.factor)
