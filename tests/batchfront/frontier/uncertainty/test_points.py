"""How sure each point of a frontier is."""

import json
from dataclasses import replace

from batchfront.frontier.frontier import Frontier, Point
from batchfront.frontier.uncertainty.expected_best import more_trials
from batchfront.frontier.uncertainty.luck import noise_of_best
from batchfront.frontier.uncertainty.points import point_uncertainties, why_merged
from tests.batchfront.frontier.uncertainty.searches import point

ENDED = {"reached": 3, "capped": 29}


def test_a_points_noise_is_estimated_from_the_finishers_of_all() -> None:
    points = [
        point(8, [40, 50, 60], ENDED, finishers=3),
        point(16, [20, 22, 30], ENDED, finishers=3),
    ]
    first, second = point_uncertainties(Frontier("a/b/c", tuple(points)))
    assert first.noise == noise_of_best([40, 50, 60], 32, [[20, 22, 30]])
    assert second.noise == noise_of_best([20, 22, 30], 32, [[40, 50, 60]])
    assert first.more == more_trials([40, 50, 60], 32)


def test_points_that_are_not_finished_or_have_no_winner_are_left_out() -> None:
    points = (point(8, [40], {"reached": 1, "open": 3}), point(16, [], {"stalled": 4}))
    assert point_uncertainties(Frontier("a/b/c", points)) == ()


def test_as_plain_data_it_says_what_is_not_known() -> None:
    one = point(8, [40], {"reached": 1, "capped": 31})
    (found,) = point_uncertainties(Frontier("a/b/c", (one,)))
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (plain["trials"], plain["finishers"], plain["halving_unknown"]) == (32, 1, 0.5)
    assert plain["doubling_saves_at_most"] is None
    assert plain["another_low"] is None


def evaluated_every(interval: int, batch_size: int, steps: list[int]) -> Point:
    """A point whose trials are evaluated only so often."""
    found = point(batch_size, steps, ENDED, finishers=3)
    assert found.best is not None
    return replace(found, best=replace(found.best, steps_lower=steps[0] - interval))


def test_trials_that_evaluations_do_not_tell_apart_say_nothing_of_another_search() -> None:
    points = (
        evaluated_every(100, 8, [200, 200, 200]),
        evaluated_every(100, 16, [300, 400, 500]),
        evaluated_every(10, 32, [100, 120, 150]),
        point(64, [40, 40, 40], ENDED, finishers=3),  # each was evaluated at every step
    )
    found = point_uncertainties(Frontier("a/b/c", points))
    assert [one.merged for one in found] == [True, False, False, False]
    assert found[0].noise is None
    assert found[0].more.next_doubling is None
    assert found[2].noise == noise_of_best([100, 120, 150], 32, [[300, 400, 500], [40, 40, 40]])
    assert why_merged(found) == (
        "At batch size 8 the fastest trials differ by no more than lies between two evaluations, "
        "so what more of them would find isn't known."
    )
    assert why_merged(found[1:]) is None
