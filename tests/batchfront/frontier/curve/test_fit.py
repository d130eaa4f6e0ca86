import math

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize

from batchfront.frontier.curve.fit import aicc, fit, fit_both
from batchfront.frontier.curve.forms import Form, Shapes
from batchfront.frontier.curve.noise import SCALE_TO_DEVIATION, lift, log_likelihood, pulls
from tests.batchfront.frontier.curve.curves import POWERS

LOG_BATCH = np.log(POWERS)


def some_steps(seed: int, alpha: float = 0.9) -> np.ndarray:
    noise = 0.25 * np.random.default_rng(seed).standard_normal(len(POWERS))
    return np.log(30 * (1 + (60 / np.array(POWERS)) ** alpha)) + noise


def test_aicc_is_what_its_formula_says() -> None:
    # AIC + 2k(k+1)/(n-k-1)
    assert aicc(-10.0, 3, 10) == pytest.approx(2 * 3 + 2 * 10 + 2 * 3 * 4 / 6)
    assert aicc(4.5, 4, 8) == pytest.approx(2 * 4 - 9 + 2 * 4 * 5 / 3)
    assert aicc(4.5, 4, 5) == math.inf


def test_the_likelihood_is_students() -> None:
    residuals = np.array([[0.1, -0.4, 2.0], [0.3, 0.0, -0.2]])
    log_scale = np.log([0.5, 0.2])
    direct = stats.t.logpdf(residuals, 4, scale=np.exp(log_scale)[:, None]).sum(axis=1)
    scaled = residuals / np.exp(log_scale)[:, None]
    assert log_likelihood(scaled, log_scale) == pytest.approx(direct)


def test_pulls_are_the_slopes_of_the_likelihood() -> None:
    scaled, log_scale, step = np.array([[0.1, -1.4, 6.0]]), np.log([0.5]), 1e-6
    for index in range(3):
        moved = scaled.copy()
        moved[0, index] += step / 0.5
        rise = (log_likelihood(moved, log_scale) - log_likelihood(scaled, log_scale)) / step
        assert pulls(scaled, log_scale)[0, index] == pytest.approx(rise[0], rel=1e-4)


def test_height_and_scale_are_the_likeliest() -> None:
    residuals = np.random.default_rng(1).standard_t(4, (5, 9)) * 0.3 + 5
    found = lift(residuals)
    for row, height, log_scale in zip(residuals, found.log_s_min, found.log_scale, strict=True):
        freedom, middle, scale = stats.t.fit(row, fdf=4)
        assert freedom == 4
        assert height == pytest.approx(middle, abs=1e-3)
        assert math.exp(log_scale) == pytest.approx(scale, rel=1e-2)


def test_the_scale_of_normal_noise_gives_its_standard_deviation() -> None:
    normal = np.random.default_rng(0).standard_normal((1, 200_000))
    assert math.exp(lift(normal).log_scale[0]) * SCALE_TO_DEVIATION == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_no_other_curve_is_likelier(seed: int) -> None:
    log_steps = some_steps(seed)
    found = fit(Form.THREE_PARAMETERS, LOG_BATCH, log_steps)

    def unlikely(at: np.ndarray) -> float:
        log_half, alpha, log_s_min, log_scale = at
        curve = log_s_min + np.log1p(np.exp(np.clip(alpha, 0.5, 1.5) * (log_half - LOG_BATCH)))
        return -float(stats.t.logpdf(log_steps - curve, 4, scale=np.exp(log_scale)).sum())

    starts = [(half, alpha, 3.5, -1.5) for half in (3, 5) for alpha in (0.7, 1.2)]
    options = {"maxiter": 4000, "xatol": 1e-6, "fatol": 1e-9}
    others = [minimize(unlikely, s, method="Nelder-Mead", options=options).fun for s in starts]
    assert found.log_likelihood == pytest.approx(-min(others), abs=1e-4)


def test_the_form_of_lower_aicc_comes_first() -> None:
    for seed in range(3):
        first, second = fit_both(LOG_BATCH, some_steps(seed))
        assert first.aicc <= second.aicc
        assert {first.form, second.form} == set(Form)
        assert first.aicc == aicc(first.log_likelihood, first.form.parameters, len(POWERS))


def test_three_parameters_fit_no_worse_than_two() -> None:
    for seed in range(3):
        fits = {one.form: one for one in fit_both(LOG_BATCH, some_steps(seed))}
        three, two = fits[Form.THREE_PARAMETERS], fits[Form.TWO_PARAMETERS]
        assert three.log_likelihood >= two.log_likelihood - 1e-9


def test_where_aicc_is_infinite_for_both_the_simpler_form_is_chosen() -> None:
    first, second = fit_both(LOG_BATCH[:4], some_steps(0)[:4])
    assert first.aicc == second.aicc == math.inf
    assert first.form is Form.TWO_PARAMETERS


# What follows from a curve, against a direct search.


@pytest.mark.parametrize("alpha", [0.5, 0.8, 1.0, 1.2, 1.5])
@pytest.mark.parametrize("half", [0.1, 1.0, 50.0])
def test_the_end_of_near_perfect_scaling_is_the_last_that_is_cheap_enough(
    alpha: float, half: float
) -> None:
    shapes = Shapes(np.log([half]), np.array([alpha]))
    batch = np.geomspace(2, 2e5, 400_000)
    examples = batch * (1 + (half / batch) ** alpha)
    last = batch[examples <= 1.2 * examples[0]][-1]
    found = math.exp(shapes.log_perfect_until(0.2, math.log(2))[0])
    assert found == pytest.approx(last, rel=1e-4)


def test_the_largest_useful_batch_saves_the_share_exactly_or_none_does() -> None:
    shapes = Shapes(np.log([50.0, 50.0]), np.array([0.6, 1.3]))
    for share in (0.05, 0.3):
        useful = shapes.log_useful_until(share)
        for log_half, alpha, at in zip(shapes.log_half, shapes.alpha, useful, strict=True):
            one = Shapes(np.array([log_half]), np.array([alpha]))
            now, doubled = one.log_steps(np.array([at, at + math.log(2)]))[0]
            assert 1 - math.exp(doubled - now) == pytest.approx(share)
    # With α = 0.5 a doubling saves 1 - 2^-0.5 = 0.29 at most.
    assert Shapes(np.log([50.0]), np.array([0.5])).log_useful_until(0.3)[0] == -math.inf
