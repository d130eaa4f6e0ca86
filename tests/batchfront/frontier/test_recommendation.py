"""Which batch size to train with, in steps and examples: by the curve, or by the points alone."""

import pytest

from batchfront.frontier.curve.answers import fit_curve
from batchfront.frontier.frontier import load_frontier
from batchfront.frontier.recommendation import Recommendation, Spent, recommendation, traded
from batchfront.store.url import Storage
from tests.batchfront.report.rows import add_study

SIZES = (2, 4, 8, 16, 32, 64, 128, 256, 512)


def found(storage: Storage, steps: dict[int, int | None]) -> Recommendation | None:
    for batch, taken in steps.items():
        ended = {"outcome": "stalled"} if taken is None else {"outcome": "reached"}
        trial = {**ended, "steps": taken or 0, "steps_lower": (taken or 1) - 1}
        add_study(storage, "a/b/c", batch, [trial])
    frontier = load_frontier(storage, "a/b/c")
    return recommendation(frontier, fit_curve(frontier) if frontier.reached else None)


def smooth(batches: tuple[int, ...], critical: float = 32) -> dict[int, int | None]:
    """Points of S(B) = 100 (1 + B_c/B)."""
    return {batch: round(100 * (1 + critical / batch)) for batch in batches}


def test_one_device_gets_the_largest_near_perfect_batch_and_several_the_largest_useful_one(
    storage: Storage,
) -> None:
    # 20 % more examples than at 2 are taken at 9, and doubling saves 10 % of the steps at 128.
    one = found(storage, smooth(SIZES))
    assert one is not None
    assert (one.alone.batch_size, one.several.batch_size) == (8, 128)
    assert one.text == (
        "For one device, whose time goes with the examples, batch size 8: about 500 steps on "
        "4,000 examples. For several, up to batch size 128: about 125 steps on 16,000 examples, "
        "4 times the data for 75\u00a0% fewer steps. Beyond 128, more devices hardly pay: batch "
        "size 512 takes about 106 steps on 54,270 examples, 3.4 times the data for 15\u00a0% "
        "fewer steps."
    )


def test_a_point_that_is_off_the_curve_by_luck_is_not_taken_at_its_word(storage: Storage) -> None:
    luck = (1.04, 0.95, 0.91, 1.06, 0.96, 1.05, 0.94, 1.04, 0.97)
    steps = smooth(SIZES).items()
    one = found(storage, {b: round((s or 0) * by) for (b, s), by in zip(steps, luck, strict=True)})
    assert one is not None
    assert (one.alone.batch_size, one.alone.about) == (8, True)
    assert one.alone.steps == pytest.approx(500, rel=0.05)  # and 455 were measured


def test_where_the_largest_is_still_useful_nothing_lies_beyond_and_that_is_said(
    storage: Storage,
) -> None:
    one = found(storage, smooth((2, 4, 8, 16, 32), critical=1000))
    assert one is not None
    assert (one.alone, one.beyond) == (one.several, None)
    assert one.text.startswith("For one device or several, batch size 32: about 3,225 steps on ")
    assert one.text.endswith("; a larger one than was measured may be useful, too.")


def test_where_no_batch_is_useful_all_of_them_are_left_with_the_smallest(storage: Storage) -> None:
    one = found(storage, smooth((64, 128, 256, 512, 1024), critical=8))
    assert one is not None
    assert one.alone.batch_size == 64
    assert one.several.batch_size in (64, 128)  # no curve is that sure


def test_a_size_that_has_not_reached_the_goal_is_never_recommended(storage: Storage) -> None:
    one = found(storage, {**smooth((2, 4, 8, 16, 32, 64)), 128: None})
    assert one is not None
    assert one.several.batch_size <= 64


def test_without_a_curve_the_points_stand_for_themselves(storage: Storage) -> None:
    one = found(storage, {64: 54, 512: 44})
    assert one is not None
    assert not one.by_curve
    assert one.text == (
        "Of those measured, batch size 64 takes the fewest examples: 54 steps on 3,456 examples. "
        "The fewest steps are those of batch size 512: 44 steps on 22,528 examples, 6.5 times the "
        "data for 19\u00a0% fewer steps."
    )


def test_one_size_may_take_the_fewest_of_both(storage: Storage) -> None:
    one = found(storage, {2: 100, 4: 100, 8: 101, 16: 100})
    assert one is not None
    assert one.text == "Of those measured, batch size 2 takes the fewest steps and examples."


def test_where_steps_rise_again_what_lies_beyond_is_as_it_was_measured(storage: Storage) -> None:
    one = found(storage, {**smooth((2, 4, 8, 16, 32, 64, 128)), 256: 300, 512: 400})
    assert one is not None
    assert one.beyond == Spent(512, 400)
    assert "for no fewer steps" in one.text


def test_one_that_lies_beyond_what_the_curve_says_says_so(storage: Storage) -> None:
    # Near-perfect up to 7.6, and useful up to 128, to which 136 is the nearest.
    one = found(storage, smooth((1, 2, 4, 8, 20, 40, 80, 136, 512)))
    assert one is not None
    assert (one.alone.batch_size, one.several.batch_size) == (8, 136)
    assert "up to batch size 136 (useful up to 128): about " in one.text
    assert "up to 136 for several (useful up to 128): " in one.headline
    assert "Beyond, more devices hardly pay" in one.text


def test_a_bound_on_what_is_useful_is_no_end_of_what_still_saves(storage: Storage) -> None:
    # Of digits/mlp/momentum: useful up to 26 at least, and from 16 to 32 the curve falls by 44 %.
    one = found(storage, {2: 1075, 4: 969, 8: 438, 16: 286, 32: 135})
    assert one is not None
    assert one.useful is not None
    assert one.useful.kind == "at least"
    assert (one.several.batch_size, one.beyond, one.open_end) == (32, None, True)


def test_one_device_gets_no_smaller_batch_than_scaling_is_measured_from(storage: Storage) -> None:
    found(storage, smooth(SIZES))
    frontier = load_frontier(storage, "a/b/c")
    one = recommendation(frontier, fit_curve(frontier, perfect_from=64))
    assert one is not None
    assert one.alone.batch_size == 64


@pytest.mark.parametrize("steps", [{8: 40}, {8: 40, 16: None}, {8: None, 16: None}])
def test_nothing_is_recommended_where_there_is_no_choice(
    storage: Storage, steps: dict[int, int | None]
) -> None:
    assert found(storage, steps) is None


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (Spent(128, 25), "as much data for 50\u00a0% fewer steps"),
        (Spent(128, 20), "20\u00a0% less data for 60\u00a0% fewer steps"),
        (Spent(2560, 2.5), "twice the data for 20 times fewer steps"),
        (Spent(128, 49.9), "twice the data for 1\u00a0% fewer steps"),
        (Spent(128, 50), "twice the data for no fewer steps"),
        (Spent(64 * 4000, 49), "3,900 times the data for 2\u00a0% fewer steps"),
    ],
)
def test_what_is_traded_is_said_in_a_readers_numbers(other: Spent, said: str) -> None:
    assert traded(Spent(64, 50), other) == said
