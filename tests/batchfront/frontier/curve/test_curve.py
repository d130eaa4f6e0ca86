from math import exp, inf, log
from typing import Any

import numpy as np
import pytest

from batchfront.errors import UsageError
from batchfront.frontier.curve.curve import Curve, fit_curve
from batchfront.frontier.curve.fit import Observation, interval_error
from batchfront.frontier.curve.forms import Form
from batchfront.frontier.curve.posterior import error_of
from tests.batchfront.frontier.curve.curves import POWERS, noisy, on_curve
from tests.benchmarks.generated_curves import draw_truth

ANSWERS = ("s_min", "e_min", "half_efficiency", "perfect_until", "useful_until")


def ends(curve: Curve, name: str) -> np.ndarray:
    answer = getattr(curve, name)
    return np.array([answer.low, answer.value, answer.high], dtype=float)


def test_a_curve_of_two_parameters_is_recovered_with_all_its_answers() -> None:
    curve = fit_curve(on_curve(POWERS, 30, 60))
    assert curve.fits[0].form is Form.TWO_PARAMETERS
    assert curve.s_min.value == pytest.approx(30, rel=1e-3)
    assert curve.half_efficiency.value == pytest.approx(60, rel=1e-3)
    assert curve.e_min.value == pytest.approx(30 * 60, rel=1e-3)
    # B·S(B) = 30·(B + 60), so 1.2·(2 + 60) - 60; S(2B)/S(B) = 0.9 where B = 4·60
    assert curve.perfect_until.value == pytest.approx(14.4, rel=1e-3)
    assert curve.useful_until.value == pytest.approx(240, rel=1e-3)
    assert curve.noise == pytest.approx(0.0036, rel=0.5)  # the least: looks are 1 % apart


@pytest.mark.parametrize("alpha", [0.7, 0.85, 1.15])
def test_a_curve_of_three_parameters_is_recovered_with_all_its_answers(alpha: float) -> None:
    curve = fit_curve(on_curve(POWERS, 30, 60, alpha))
    assert curve.fits[0].form is Form.THREE_PARAMETERS
    assert curve.fits[0].alpha == pytest.approx(alpha)
    assert curve.s_min.value == pytest.approx(30, rel=0.01)
    assert curve.half_efficiency.value == pytest.approx(60, rel=0.01)

    def steps(batch: float) -> float:
        return float(30 * (1 + (60 / batch) ** alpha))

    useful = curve.useful_until.value
    assert useful is not None
    assert steps(2 * useful) / steps(useful) == pytest.approx(0.9, rel=1e-3)
    perfect = curve.perfect_until.value or curve.perfect_until.high
    assert perfect is not None
    if alpha == 0.7:  # 20 % are spent by batch size 4 already, within the first doubling
        assert curve.perfect_until.kind == "at most"
        assert perfect == pytest.approx(4)
    else:
        assert perfect * steps(perfect) / (2 * steps(2)) == pytest.approx(1.2, rel=0.01)


def test_the_shares_can_be_asked_for() -> None:
    curve = fit_curve(on_curve(POWERS, 30, 60), extra=0.5, share=0.2)
    assert curve.perfect_until.value == pytest.approx(1.5 * 62 - 60, rel=1e-3)
    assert curve.useful_until.value == pytest.approx(60 * (0.5 - 0.2) / 0.2, rel=1e-3)


@pytest.mark.parametrize("start", [4, 32, 100])  # the last one lies between two that were measured
def test_near_perfect_may_be_measured_from_another_batch_size(start: int) -> None:
    usual, curve = (fit_curve(on_curve(POWERS, 30, 60), perfect_from=b) for b in (None, start))
    assert curve.perfect_from == start
    assert curve.perfect_until.kind == ("number" if start == 4 else "at most")  # 1.2·(B + 60) - 60
    until = 1.2 * (start + 60) - 60 if start == 4 else 2 * start
    assert (curve.perfect_until.value or curve.perfect_until.high) == pytest.approx(until, rel=1e-3)
    same = ("s_min", "e_min", "half_efficiency", "useful_until")
    assert [getattr(curve, name) for name in same] == [getattr(usual, name) for name in same]


def test_measured_from_the_smallest_near_perfect_is_what_it_usually_is() -> None:
    for observations in (noisy(on_curve(POWERS, 30, 60), 0.2), noisy(on_curve(POWERS, 9, 20), 0.4)):
        usual, same = (fit_curve(observations, perfect_from=b) for b in (None, POWERS[0]))
        assert usual.perfect_until == same.perfect_until
        assert usual.perfect_from == same.perfect_from == POWERS[0]


def test_points_far_above_a_start_of_their_own_bound_the_answer() -> None:
    # Perfect up to 64 and flat from there on: no curve of either form bends like that.
    steps = {size: 6400 / min(size, 64) for size in POWERS}
    curve = fit_curve([Observation(*point) for point in steps.items()], perfect_from=16)
    assert (curve.perfect_until.low or 0) >= 32
    assert (curve.perfect_until.high or inf) <= 128


def test_near_perfect_cannot_be_measured_from_what_was_not() -> None:
    usual, beyond = (fit_curve(on_curve(POWERS, 30, 60), perfect_from=b) for b in (None, 4096))
    assert beyond.perfect_until.kind == "unknown"
    assert "4,096" in beyond.perfect_until.reason
    assert f"{POWERS[0]:,} to {POWERS[-1]:,}" in beyond.perfect_until.reason
    assert beyond.useful_until == usual.useful_until


def test_near_perfect_cannot_be_measured_from_where_steps_rise_again() -> None:
    points = [*on_curve(POWERS, 30, 60), Observation(4096, 90), Observation(8192, 200)]
    rising = fit_curve(points, perfect_from=8192)
    assert rising.worse_from is not None
    assert rising.perfect_until.kind == "unknown"
    assert "steps rise again" in rising.perfect_until.reason


def test_the_interval_holds_the_value_and_evidence_is_among_the_points() -> None:
    curve = fit_curve(noisy(on_curve(POWERS, 30, 60), 0.2))
    for name in ANSWERS:
        answer = getattr(curve, name)
        assert answer.kind == "number"
        assert answer.low <= answer.value <= answer.high
        assert set(answer.evidence) < set(POWERS)


def test_what_speaks_to_the_fewest_steps_is_where_the_curve_is_flat() -> None:
    curve = fit_curve(noisy(on_curve(POWERS, 30, 20), 0.1))
    assert set(curve.s_min.evidence) >= {256, 512, 1024}
    assert set(curve.s_min.evidence) < set(POWERS)


def test_steps_in_another_unit_scale_the_steps_and_nothing_else() -> None:
    points = noisy(on_curve(POWERS, 30, 60), 0.2)
    once = fit_curve(points)
    thrice = fit_curve([Observation(p.batch_size, 3 * p.steps) for p in points])
    for name in ("s_min", "e_min"):
        assert ends(thrice, name) == pytest.approx(3 * ends(once, name), rel=1e-6)
    for name in ("half_efficiency", "perfect_until", "useful_until"):
        assert ends(thrice, name) == pytest.approx(ends(once, name), rel=1e-6)
    assert thrice.noise == pytest.approx(once.noise)


def test_batch_sizes_in_another_unit_scale_batch_sizes_and_examples() -> None:
    points = noisy(on_curve(POWERS, 30, 60), 0.2)
    once = fit_curve(points)
    in_eights = fit_curve([Observation(8 * p.batch_size, p.steps) for p in points])
    assert ends(in_eights, "s_min") == pytest.approx(ends(once, "s_min"), rel=1e-6)
    for name in ("e_min", "half_efficiency", "perfect_until", "useful_until"):
        assert ends(in_eights, name) == pytest.approx(8 * ends(once, name), rel=1e-6)


def test_the_order_of_the_points_does_not_matter_and_the_answer_is_always_the_same() -> None:
    points = noisy(on_curve(POWERS, 30, 60), 0.2)
    assert fit_curve(points) == fit_curve(points[::-1])


def test_one_lucky_point_moves_the_answers_less_than_they_are_uncertain_and_stands_out() -> None:
    points = noisy(on_curve(POWERS, 30, 60), 0.1)
    sure = fit_curve(points)
    assert sure.outliers == ()
    for index in (0, 3, 6, 9):
        lucky = list(points)
        lucky[index] = Observation(points[index].batch_size, points[index].steps / 2)
        curve = fit_curve(lucky)
        for name in ANSWERS:
            low, value, high = ends(sure, name)
            moved = getattr(curve, name)
            if (name, index) == ("perfect_until", 0) and moved.value is None:
                continue  # all others take many more examples than a lucky smallest one
            assert low * value / high < moved.value < high * high / low
    assert [point.batch_size for point in curve.outliers] == [POWERS[-1]]
    assert curve.outliers[0].sigmas < -3


def test_a_missing_batch_size_changes_nothing_without_noise() -> None:
    points = on_curve(POWERS, 30, 60)
    for index in (0, 4, 9):
        curve = fit_curve(points[:index] + points[index + 1 :])
        assert curve.half_efficiency.value == pytest.approx(60, rel=1e-3)


def test_noise_is_the_standard_deviation_of_log_steps() -> None:
    many = [4**k for k in range(1, 11) for _ in range(20)]
    curve = fit_curve(noisy(on_curve(many, 30, 5000), 0.2))
    assert curve.noise == pytest.approx(0.2, rel=0.1)


def test_several_points_at_a_batch_size_count_each() -> None:
    points = [p for seed in range(4) for p in noisy(on_curve(POWERS, 30, 60), 0.2, seed)]
    four, one = fit_curve(points), fit_curve(points[: len(POWERS)])
    for name in ANSWERS:
        low, _, high = np.log(ends(four, name))
        low_of_one, _, high_of_one = np.log(ends(one, name))
        assert high - low < high_of_one - low_of_one


def test_the_goal_was_passed_between_two_looks() -> None:
    assert Observation(8, 110, 100).middle == 105.5
    assert Observation(8, 50, 49).middle == 50
    assert Observation(8, 50).middle == 50


def test_evaluations_that_lie_apart_leave_the_answers_as_uncertain() -> None:
    """On a curve as they may look, the points are known only to within their intervals."""
    exact = on_curve(POWERS, 200, 60)
    every = [50 * np.ceil(point.steps / 50) for point in exact]
    coarse = [
        Observation(point.batch_size, float(steps), float(steps - 50))
        for point, steps in zip(exact, every, strict=True)
    ]
    sure, unsure = fit_curve(exact), fit_curve(coarse)
    assert interval_error(coarse) > 0.04
    for name in ANSWERS:
        low, _, high = ends(unsure, name)
        assert low < getattr(sure, name).value < high
    assert unsure.noise is not None
    assert unsure.noise >= interval_error(coarse)


def test_evaluations_as_close_as_a_grids_change_nothing() -> None:
    near = [
        Observation(p.batch_size, p.steps, p.steps * 0.99 - 1) for p in on_curve(POWERS, 30, 60)
    ]
    assert interval_error(near) == 0


# What the points do not say.


def test_three_batch_sizes_are_too_few() -> None:
    curve = fit_curve([*on_curve((2, 16, 128), 30, 60), *on_curve((128,), 30, 60)])
    assert curve.refusal == "3 batch sizes reached the goal, and 4 are needed"
    assert {getattr(curve, name).kind for name in ANSWERS} == {"unknown"}
    assert curve.half_efficiency.reason == curve.refusal
    with pytest.raises(UsageError, match="no curve: 3 batch sizes"):
        curve.predict([4])


def test_no_points_at_all_are_too_few() -> None:
    assert fit_curve([]).refusal == "0 batch sizes reached the goal, and 4 are needed"


def test_without_flattening_there_are_bounds_of_at_most_twice_what_was_measured() -> None:
    curve = fit_curve(noisy([Observation(size, 10_000 / size) for size in POWERS], 0.1))
    for name in ("half_efficiency", "perfect_until", "useful_until"):
        answer = getattr(curve, name)
        assert answer.kind == "at least"
        assert 100 < answer.low <= 2 * 1024
        assert answer.high is None
        assert "1,024" in answer.reason
    assert curve.s_min.kind == "at most"
    assert curve.s_min.reason == "no flattening is seen up to batch size 1,024"


def test_without_a_fall_at_small_batches_nothing_is_said_of_where_it_ends() -> None:
    curve = fit_curve(noisy(on_curve(POWERS, 100, 0.5), 0.05))
    assert curve.half_efficiency.kind == "at most"
    assert curve.perfect_until.kind == "at most"
    assert "no near-perfect part is seen" in curve.perfect_until.reason
    assert curve.s_min.value == pytest.approx(100, rel=0.1)


def test_a_share_that_hardly_any_doubling_saves_gives_a_bound() -> None:
    curve = fit_curve(noisy(on_curve(POWERS, 30, 60, 0.6), 0.05), share=0.45)
    assert curve.useful_until.kind == "at most"
    assert curve.useful_until.high == pytest.approx(1)  # half the smallest measured
    assert "doubling may save less than 45 %" in curve.useful_until.reason


def test_steps_that_rise_all_along_are_refused_and_flagged() -> None:
    curve = fit_curve([Observation(size, 100 + size) for size in POWERS])
    assert curve.refusal == "steps do not fall as the batch size grows"
    assert curve.useful_until.reason == curve.refusal
    with pytest.raises(UsageError, match="no curve: steps do not fall"):
        curve.predict([4])


def test_a_rise_by_more_than_the_noise_is_flagged_and_one_within_it_is_not() -> None:
    points = noisy(on_curve(POWERS, 30, 60), 0.05)
    assert fit_curve(points).rises == ()
    badly_tuned = [*points[:-1], Observation(1024, points[-1].steps * 1.6)]
    (rise,) = fit_curve(badly_tuned).rises
    assert rise.larger == 1024
    assert rise.batch_size < 1024
    assert rise.sigmas > 3


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([Observation(0, 10)], "batch size 0 with 10 steps: both must be positive"),
        ([Observation(8, 0)], "batch size 8 with 0 steps: both must be positive"),
        ([Observation(8, float("nan"))], "both must be positive"),
        ([Observation(8, 10, 10)], "can't have been passed between 10 and 10 steps"),
    ],
)
def test_points_that_cannot_be_are_refused(points: list[Observation], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fit_curve(points)


def test_shares_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match=r"--extra 0: must be above 0, such as 0.2"):
        fit_curve([], extra=0)
    with pytest.raises(UsageError, match=r"--share 0.5: must be between 0 and 0.5"):
        fit_curve([], share=0.5)


# Predictions.


def test_the_curve_lies_in_its_band_and_a_new_point_in_a_wider_one() -> None:
    curve = fit_curve(noisy(on_curve(POWERS, 30, 60), 0.2))
    shown = curve.predict([1, 2, 48, 1024, 2048])
    assert (shown.low <= shown.median).all()
    assert (shown.median <= shown.high).all()
    assert (shown.new_low < shown.low).all()
    assert (shown.high < shown.new_high).all()
    width = np.log(shown.high / shown.low)
    assert width[2] < width[0]  # surest in the middle
    assert width[2] < width[4]


def test_extrapolation_is_said() -> None:
    curve = fit_curve(on_curve(POWERS[1:], 30, 60))
    shown = curve.predict([1.9, 2, 4, 1024, 2048, 2049])
    assert shown.extrapolated.tolist() == [True, False, False, False, False, True]


def test_points_on_a_curve_that_too_few_of_them_let_one_choose_do_not_stand_out() -> None:
    steps = {32: 69, 64: 33, 128: 21, 256: 16, 512: 15, 1024: 14}  # nearly α = 1.5
    curve = fit_curve(Observation(*point) for point in steps.items())
    assert curve.fits[0].form is Form.TWO_PARAMETERS
    assert curve.outliers == ()


def test_one_batch_size_is_not_several() -> None:
    assert (
        fit_curve([Observation(8, 9)]).refusal == "1 batch size reached the goal, and 4 are needed"
    )


def _with_known_errors(seed: int, errors: "np.ndarray[Any, Any]") -> tuple[bool, float, float]:
    """Whether the interval of the useful batch size holds the truth of points that are off by
    errors of this covariance; and how wide it is with it, and by their scatter."""
    sizes = tuple(2**k for k in range(2, 12))
    rng = np.random.default_rng(seed)
    truth = draw_truth(rng, Form.THREE_PARAMETERS, sizes)
    off = np.linalg.cholesky(errors) @ rng.standard_normal(len(sizes))
    steps = np.exp(truth.log_steps(np.log(sizes)) + off).tolist()
    seen = [Observation(size, one) for size, one in zip(sizes, steps, strict=True)]
    known, scattered = (fit_curve(seen, errors=one).useful_until for one in (errors, None))
    holds = (known.low or 0) <= exp(truth.answers(4)["useful_until"]) <= (known.high or inf)
    return holds, *(log((one.high or inf) / (one.low or 1)) for one in (known, scattered))


def test_points_that_are_off_together_are_as_unsure_as_is_known_though_they_hardly_scatter() -> (
    None
):
    log_batch = np.log([2.0**k for k in range(2, 12)])
    beside = (log_batch[:, None] - log_batch) / 1.5
    smooth = 0.06**2 * np.exp(-0.5 * beside**2) + 1e-6 * np.eye(10) + 0.1**2
    found = [_with_known_errors(seed, smooth) for seed in range(20)]
    assert sum(holds for holds, *_ in found) >= 15
    assert sum(known > 2 * scattered for _, known, scattered in found) >= 15


def test_errors_that_are_known_to_be_small_leave_the_answers_sure() -> None:
    found = [_with_known_errors(seed, 0.01**2 * np.eye(10)) for seed in range(20)]
    assert sum(holds for holds, *_ in found) >= 15
    assert all(known < log(1.3) for _, known, _ in found)


def test_an_error_that_all_points_share_bends_no_curve() -> None:
    assert error_of(0.3**2 * np.ones((6, 6))) == pytest.approx(0, abs=1e-6)
    assert error_of(0.2**2 * np.eye(6)) == pytest.approx(0.2)
