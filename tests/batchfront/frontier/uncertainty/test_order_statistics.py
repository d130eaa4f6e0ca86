"""A point's trials as order statistics: which finishers are known to be the best."""

from batchfront.frontier.uncertainty.order_statistics import Sample, sample
from tests.batchfront.frontier.uncertainty.searches import point


def test_the_sample_of_a_race_is_its_finishers_among_all_its_trials() -> None:
    ended = {"reached": 2, "capped": 20, "diverged": 6, "stalled": 3, "failed": 1}
    assert sample(point(8, [40, 50], ended, finishers=2)) == Sample((40, 50), 31)
    assert sample(point(8, [40, 50], ended, finishers=2, count="feasible")) == Sample((40, 50), 25)


def test_finishers_beyond_those_a_race_waits_for_are_known_only_where_none_was_capped() -> None:
    capped = {"reached": 3, "capped": 2}
    assert sample(point(8, [40, 50, 60], capped, finishers=2)) == Sample((40, 50), 5)
    ended = {"reached": 3, "exhausted": 2}
    assert sample(point(8, [40, 50, 60], ended, finishers=2)) == Sample((40, 50, 60), 5)
    assert sample(point(8, [40, 50, 60], capped, finishers=0)) == Sample((40, 50, 60), 5)


def test_a_dropped_trial_counts_as_slower_than_the_winner() -> None:
    ended = {"reached": 2, "dropped": 3, "stalled": 1}
    assert sample(point(8, [40, 50], ended, finishers=1)) == Sample((40,), 6)


def test_what_is_not_a_finished_search_has_no_sample() -> None:
    assert sample(point(8, [40], {"reached": 1, "open": 3})) is None
    assert sample(point(8, [], {"stalled": 4})) is None
    assert sample(point(8, [40, 50], {"reached": 2}, purpose="points")) is None


def test_trials_drawn_from_the_results_of_others_are_no_sample() -> None:
    assert sample(point(8, [40, 50], {"reached": 2, "capped": 6}, sampler="tpe")) is None
