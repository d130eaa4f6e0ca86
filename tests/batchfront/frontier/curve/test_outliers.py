"""Points that no such curve goes through: what is said, and that no answer contradicts them."""

import numpy as np
import pytest

from batchfront.errors import UsageError
from batchfront.frontier.curve.curve import Curve, fit_curve
from batchfront.frontier.curve.deviation import replicates
from batchfront.frontier.curve.estimates import Estimate
from batchfront.frontier.curve.fit import Observation
from tests.batchfront.frontier.curve.curves import POWERS, noisy, on_curve

ANSWERS = ("s_min", "e_min", "half_efficiency", "perfect_until", "useful_until")


def points(*steps: float, first: int = 2) -> list[Observation]:
    """At doubled batch sizes."""
    return [Observation(first * 2**index, one) for index, one in enumerate(steps)]


def low(estimate: Estimate) -> float:
    """The lower end; 0 where it is open."""
    return 0.0 if estimate.low is None else estimate.low


def high(estimate: Estimate) -> float:
    """The upper end; infinite where it is open."""
    return np.inf if estimate.high is None else estimate.high


def holds(estimate: Estimate, first: float, last: float) -> bool:
    """Whether an estimate says nothing that contradicts a truth between two batch sizes."""
    return low(estimate) <= last and high(estimate) >= first


U_SHAPE = points(3306, 1709, 914, 522, 338, 271, 300, 479, 1012, 2510)


def test_where_steps_rise_again_larger_is_said_to_be_worse_and_no_use() -> None:
    curve = fit_curve(U_SHAPE)
    assert curve.worse_from == 128
    assert curve.warnings == (
        "Larger is worse from batch size 128 on: steps rise again, from 271 at 64 to 2,510 at "
        "1,024.",
    )
    useful, fewest = curve.useful_until, curve.s_min
    assert useful.value is not None
    assert low(useful) > 31.9  # from where a doubling still saves 20 %
    assert low(useful) < useful.value < high(useful) < 64.1
    assert fewest.kind == "at most"
    assert high(fewest) == pytest.approx(271)
    assert curve.half_efficiency.reason == "steps rise again from batch size 128 on"


def test_steps_that_rise_again_are_foretold_by_the_points_and_beyond_them_by_nothing() -> None:
    shown = fit_curve(U_SHAPE).predict([64, 181, 512, 1024, 1500])
    assert shown.median[:4] == pytest.approx([271, 380, 1012, 2510], rel=0.2)
    assert shown.new_high[3] > 2510
    assert shown.extrapolated.tolist() == [False, False, False, False, True]
    assert shown.median[4] > 2000


def test_one_rise_at_the_end_counts_if_it_doubles_the_steps() -> None:
    falling = on_curve(POWERS[:-1], 30, 60)
    assert fit_curve([*falling, Observation(1024, 250)]).worse_from == 1024
    little = fit_curve([*falling, Observation(1024, 50)])
    assert little.worse_from is None
    assert [one.batch_size for one in little.outliers] == [1024]


def test_larger_is_worse_from_where_the_steps_are_more_than_a_little_above_the_fewest() -> None:
    curve = fit_curve(points(254, 249, 251, 252, 253, 1010, 990, 1005, 1000, 1015))
    assert curve.worse_from == 64


@pytest.mark.parametrize(
    ("steps", "drop", "useful", "fewest"),
    [
        ((8082, 8058, 7917, 7888, 7706, 7519, 7416, 7384, 2153), "256 to 2,153 at 512", 256, 2153),
        ((8308, 1435, 1435, 1422, 1401, 1362, 1328, 1320, 1284), "2 to 1,435 at 4", 2, 1284),
    ],
)
def test_a_drop_at_either_end_is_no_point_to_leave_out(
    steps: tuple[float, ...], drop: str, useful: int, fewest: float
) -> None:
    curve = fit_curve(points(*steps))
    assert any(drop in said for said in curve.warnings)
    assert low(curve.useful_until) == pytest.approx(useful)
    assert high(curve.s_min) < 1.05 * fewest
    ends = [2, 2 ** len(steps)]
    assert curve.predict(ends).median == pytest.approx([steps[0], steps[-1]], rel=0.1)


def test_the_fewest_steps_before_a_rise_are_those_of_the_best_batch_size() -> None:
    curve = fit_curve(points(1602, 828, 454, 247, 158, 114, 107, 109, 163, 257))
    assert curve.worse_from == 512
    assert curve.s_min.high == pytest.approx(107)
    assert curve.s_min.evidence == (128,)


def test_a_rise_within_the_noise_is_none() -> None:
    flat = [Observation(p.batch_size, p.steps) for p in noisy(on_curve(POWERS, 30, 8), 0.2, 1)]
    assert fit_curve(flat).worse_from is None


def test_a_rise_after_too_few_batch_sizes_leaves_no_curve() -> None:
    curve = fit_curve(points(1000, 500, 260, 400, 800, 1600, 3200))
    assert curve.refusal == (
        "steps rise again from batch size 16 on, and of the 4 batch sizes that a curve needs only "
        "3 are smaller"
    )


def test_a_drop_in_one_place_is_said_and_the_answers_are_those_of_the_points() -> None:
    curve = fit_curve(points(*[1000] * 5, *[100] * 5))
    assert curve.warnings[0] == (
        "Steps drop in one place, from 1,000 at batch size 32 to 100 at 64, which no such curve "
        "does."
    )
    # The first doubling costs twice the examples; the last that pays is that of 32.
    assert high(curve.perfect_until) <= 4
    assert holds(curve.useful_until, 32, 64)
    assert high(curve.useful_until) <= 128


def test_a_plateau_before_the_fall_is_said() -> None:
    curve = fit_curve(points(*[1000] * 4, 500, 250, 125, 62, 31, 16))
    (said,) = curve.warnings
    assert said.startswith("Neighbouring points lie ")
    assert high(curve.perfect_until) <= 4
    assert low(curve.useful_until) >= 512


def test_points_all_over_the_place_are_said_to_be_so() -> None:
    zigzag = [p.steps * (4 if i % 2 else 1) for i, p in enumerate(on_curve(POWERS, 30, 60))]
    (said,) = fit_curve(points(*zigzag)).warnings
    assert said.startswith("The points scatter by ")


@pytest.mark.parametrize("seed", range(3))
def test_points_with_the_noise_of_a_search_are_a_curve(seed: int) -> None:
    assert fit_curve(noisy(on_curve(POWERS, 30, 60), 0.2, seed)).warnings == ()


def test_one_bad_point_is_an_outlier_and_no_misfit() -> None:
    bad = on_curve(POWERS, 30, 60)
    bad[5] = Observation(64, 100 * bad[5].steps)
    curve = fit_curve(bad)
    assert curve.warnings == ()
    assert [one.batch_size for one in curve.outliers] == [64]
    assert curve.useful_until.value == pytest.approx(240, rel=0.01)


def test_no_bound_contradicts_the_points() -> None:
    # Perfect up to 64, then flat at once: 128 takes 96 % more examples than 2.
    sharp = [150 * (1 + (64 / size) ** 8) ** 0.125 for size in POWERS]
    curve = fit_curve(points(*sharp))
    assert holds(curve.perfect_until, 64, 128)
    assert low(curve.perfect_until) < 128
    assert holds(curve.useful_until, 64, 128)
    assert low(curve.s_min) <= 150 <= high(curve.s_min)


def test_a_slow_fall_is_useful_to_the_end() -> None:
    # B^-0.2: every doubling saves 12.9 %.
    curve = fit_curve(Observation(size, round(100_000 * size**-0.2)) for size in POWERS)
    assert curve.useful_until.kind == "at least"
    assert low(curve.useful_until) >= 512
    assert curve.warnings == ()


@pytest.mark.parametrize("alpha", [0.16, 0.2, 0.25, 0.3])
def test_no_slow_fall_is_said_to_end_where_it_does_not(alpha: float) -> None:
    held = [
        fit_curve(noisy([Observation(s, 9e4 * s**-alpha) for s in POWERS], 0.03, seed)).useful_until
        for seed in range(5)
    ]
    assert sum(one.high is None for one in held) >= 4


@pytest.mark.parametrize(
    "steps",
    [
        {1536: 368, 2048: 276, 3072: 192, 4096: 150, 6144: 112, 8192: 96},
        {2: 4000, 256: 110, 512: 110, 1024: 110},
    ],
)
def test_a_value_lies_within_its_interval(steps: dict[int, int]) -> None:
    curve = fit_curve(Observation(*point) for point in steps.items())
    for name in ANSWERS:
        assert within(getattr(curve, name)), name


def within(one: Estimate) -> bool:
    """Strictly, where there are a value and an end."""
    if one.value is None:
        return one.low is None or one.high is None
    return low(one) < one.value < high(one)


def random_curve(seed: int) -> list[Observation]:
    """Of any size, form and noise, some of them not curves at all."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(4, 13))
    sizes = np.unique(np.ceil(np.cumprod(rng.uniform(1.05, 4, count)) * rng.uniform(1, 100)))
    steps = 10 ** rng.uniform(0, 6) * (1 + (rng.uniform(1, 5000) / sizes) ** rng.uniform(0.1, 2.5))
    steps = steps * np.exp(rng.choice([0, 0.02, 0.3]) * rng.standard_normal(len(sizes)))
    if seed % 3 == 0:
        steps[rng.integers(len(sizes)) :] *= rng.choice([0.1, 0.5, 3])
    if seed % 4 == 0:
        steps = steps + steps[0] * (sizes / sizes[-1]) ** 2
    return [Observation(int(b), max(float(s), 1)) for b, s in zip(sizes, steps, strict=True)]


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_points_the_answers_are_in_order(seed: int) -> None:
    curve = fit_curve(random_curve(seed))
    for name in ANSWERS:
        estimate = getattr(curve, name)
        assert within(estimate), name
        assert estimate.value is not None or estimate.reason or estimate.evidence
    if curve.refusal is None:
        useful, perfect = curve.useful_until.value, curve.perfect_until.value
        examples = [one.batch_size * one.steps for one in curve.observations]
        if useful and perfect and examples == sorted(examples):
            assert useful > perfect / 2
        sizes = [one.batch_size for one in curve.observations]
        shown = curve.predict(np.geomspace(sizes[0], sizes[-1], 20))
        assert (shown.new_low <= shown.median).all()
        assert (shown.median <= shown.new_high).all()
        assert (shown.low <= shown.median).all()
        assert (shown.median <= shown.high).all()


# Repeated measurements.


def repeated(spread: float, off: float = 0.0, seed: int = 0) -> list[Observation]:
    """Medians exactly on a curve, or off it in turns, of three seeds that differ."""
    found = []
    for index, one in enumerate(on_curve(POWERS, 30, 60)):
        steps = one.steps * np.exp(off if index % 2 else -off)
        seeds = (steps / np.exp(spread), steps, steps * np.exp(spread))
        found.append(Observation(one.batch_size, steps, None, seeds))
    return found


def width(estimate: Estimate) -> float:
    return float(np.log(high(estimate) / low(estimate)))


def test_seeds_that_differ_widen_the_intervals_though_their_medians_do_not() -> None:
    close, far = (fit_curve(repeated(spread)) for spread in (0.001, np.log(2)))
    assert width(close.useful_until) < 0.05
    assert width(far.useful_until) > 1  # seeds that lie 4-fold apart
    assert far.warnings == ()


def test_points_further_off_the_curve_than_seeds_explain_are_said_to_be() -> None:
    (said,) = fit_curve(repeated(0.01, 0.25)).warnings
    assert said.startswith("The points lie ")
    assert "where repeated measurements explain 1\u00a0%" in said
    assert fit_curve(repeated(0.4, 0.25)).warnings == ()


def test_rows_of_one_batch_size_are_repeated_measurements_too() -> None:
    rows = [
        Observation(one.batch_size, one.steps * factor)
        for one in on_curve(POWERS, 30, 60)
        for factor in (0.5, 1, 2)
    ]
    found = replicates(rows)
    assert found is not None
    assert found.error == pytest.approx(np.log(2))


def test_what_was_not_reached_is_no_point_of_the_curve() -> None:
    reached = on_curve(POWERS[:7], 30, 60)
    curve = fit_curve([*reached, *(Observation(size, np.inf) for size in (256, 512))])
    assert curve.unreached == (256, 512)
    assert curve.observations == tuple(reached)
    assert curve.useful_until == fit_curve(reached).useful_until


def test_seeds_that_did_not_reach_the_goal_lie_as_far_above_the_median_as_others_below() -> None:
    whole = [Observation(s, 100 + s, None, (50 + s / 2, 100 + s, 200 + 2 * s)) for s in POWERS]
    some = [Observation(s, 100 + s, None, (50 + s / 2, 100 + s, np.inf)) for s in POWERS]
    for found in (replicates(some), replicates(whole)):
        assert found is not None
        assert found.freedom == 20
        assert found.error == pytest.approx(np.log(2) * 0.663, rel=0.01)


def test_where_seeds_show_that_no_curve_fits_the_points_answer_as_closely_as_seeds_agree() -> None:
    steps = (1000, 1000, 1000, 300, 300, 300, 300, 90, 90, 90)
    seen = [
        Observation(2 ** (k + 1), one, None, (0.98 * one, one, 1.02 * one))
        for k, one in enumerate(steps)
    ]
    curve = fit_curve(seen)
    assert any("they follow no such curve" in said for said in curve.warnings)
    useful = curve.useful_until
    assert 100 < low(useful) < 128 * 1.1
    assert 200 < high(useful) < 300
    assert curve.s_min.kind == "at most"
    assert curve.s_min.high == pytest.approx(90)
    assert curve.half_efficiency.reason == "the points follow no such curve"


@pytest.mark.parametrize("steps", [(220, *[110] * 6), (4000, *[110] * 4), (1000, 1000, *[500] * 6)])
def test_steps_that_fall_only_at_the_smallest_batch_sizes_do_fall(steps: tuple[float, ...]) -> None:
    curve = fit_curve(points(*steps))
    assert curve.refusal is None
    assert high(curve.useful_until) <= 16.1


def test_no_batch_is_said_to_take_less_than_a_step() -> None:
    curve = fit_curve(points(64, 32, 16, 8, 4, 2, 1, 1, 1))
    assert low(curve.s_min) >= 1


# Predictions.


def test_between_points_that_leave_the_curve_together_a_new_one_is_looked_for_beside_them() -> None:
    # A sharper bend than any such curve has.
    sharp = [Observation(s, 150 * (1 + (64 / s) ** 8) ** 0.125) for s in POWERS]
    for index in (4, 5, 6):
        out = sharp[index]
        curve: Curve = fit_curve(sharp[:index] + sharp[index + 1 :])
        shown = curve.predict([out.batch_size])
        line = np.sqrt(sharp[index - 1].steps * sharp[index + 1].steps)
        assert abs(np.log(shown.median[0] / out.steps)) < abs(np.log(line / out.steps)) + 0.1
        assert shown.new_low[0] < out.steps < shown.new_high[0]


def test_where_the_form_is_a_little_wrong_predictions_are_better_than_the_line() -> None:
    # Two bends; none of the misfit is large enough to be said.
    bends = [Observation(s, 40 * (1 + 16 / s) * (1 + (3000 / s) ** 0.5)) for s in POWERS]
    seen = noisy(bends, 0.02)
    assert fit_curve(seen).warnings == ()
    errors, by_line = [], []
    for before, out, after in zip(seen, seen[1:], seen[2:], strict=False):
        curve = fit_curve([one for one in seen if one is not out])
        errors.append(np.log(curve.predict([out.batch_size]).median[0] / out.steps))
        by_line.append(np.log(np.sqrt(before.steps * after.steps) / out.steps))
    assert np.mean(np.square(errors)) < np.mean(np.square(by_line))


@pytest.mark.parametrize("size", [0, -5, 0.5, float("nan"), float("inf")])
def test_no_steps_are_foretold_for_what_is_no_batch_size(size: float) -> None:
    curve = fit_curve(on_curve(POWERS, 30, 60))
    with pytest.raises(UsageError, match=r"must be a number of at least 1"):
        curve.predict([8, size])
