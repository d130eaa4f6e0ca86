"""How sure each point of a frontier is."""

import json

from batchfront.frontier.frontier import Frontier
from batchfront.frontier.uncertainty.expected_best import more_trials
from batchfront.frontier.uncertainty.luck import noise_of_best
from batchfront.frontier.uncertainty.points import point_uncertainties
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
