import numpy as np
import pytest
from scipy import stats

from batchfront.frontier.curve.forms import ALPHAS, SCALE_POWER, TWO_PARAMETER_SHARE
from batchfront.frontier.curve.posterior import DRAWS, Sample, draw
from tests.batchfront.frontier.curve.curves import noisy, on_curve

SIZES = (2, 8, 32, 128, 512, 2048)
LOG_BATCH = np.log(SIZES)
LEVELS = (0.05, 0.5, 0.95)


def some_steps(seed: int) -> np.ndarray:
    points = noisy(on_curve(SIZES, 30, 60), 0.2, seed)
    return np.log([point.steps for point in points])


def on_a_grid(log_steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log B_c, log S_min and their posterior weights, by summing over a grid."""
    alphas = np.sort(np.append(np.geomspace(*ALPHAS, 24), 1.0))
    log_half, alpha, log_s_min, log_scale = np.meshgrid(
        np.linspace(-6, 20, 105),
        alphas,
        np.linspace(1.0, 4.8, 48),
        np.linspace(-4.5, 0.8, 22),
        indexing="ij",
        sparse=True,
    )
    log_density = SCALE_POWER * log_scale + log_scale  # of log σ
    slopes = []
    for at, steps in zip(LOG_BATCH, log_steps, strict=True):
        excess = np.exp(alpha * (log_half - at))
        residual = (steps - log_s_min - np.log1p(excess)) / np.exp(log_scale)
        log_density = log_density - log_scale - 2.5 * np.log1p(residual**2 / 4)
        slopes.append(alpha * excess / (1 + excess))
    density = np.exp(log_density - log_density.max()) * np.std(slopes, axis=0)
    general = np.gradient(np.log(alphas)) / np.log(ALPHAS[1] / ALPHAS[0])
    form = (1 - TWO_PARAMETER_SHARE) * general + TWO_PARAMETER_SHARE * (alphas == 1)
    weights = density * form[None, :, None, None]
    return log_half.ravel(), log_s_min.ravel(), weights.sum(axis=(1, 3))


def quantiles(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    rising = (np.cumsum(weights) - weights / 2) / weights.sum()
    found: np.ndarray = np.interp(LEVELS, rising, values)
    return found


@pytest.mark.parametrize("seed", [0, 1])
def test_quantiles_are_those_of_the_posterior_summed_over_a_grid(seed: int) -> None:
    log_steps = some_steps(seed)
    sample = draw(LOG_BATCH, log_steps)
    log_half, log_s_min, weights = on_a_grid(log_steps)
    found = sample.quantiles(sample.shapes.log_half, LEVELS)
    assert found == pytest.approx(quantiles(log_half, weights.sum(axis=1)), abs=0.1)
    found = sample.quantiles(sample.log_s_min, LEVELS)
    assert found == pytest.approx(quantiles(log_s_min, weights.sum(axis=0)), abs=0.05)


@pytest.mark.parametrize("deviation", [0.01, 0.1, 0.4])
def test_no_few_draws_carry_the_weight(deviation: float) -> None:
    points = noisy(on_curve(SIZES, 30, 60), deviation)
    sample = draw(LOG_BATCH, np.log([point.steps for point in points]))
    assert sample.weights.sum() == pytest.approx(1)
    assert 1 / np.sum(sample.weights**2) > DRAWS / 5


def test_new_points_scatter_as_the_noise_does() -> None:
    sample = draw(LOG_BATCH, some_steps(0))
    standard = sample.new / np.exp(sample.log_scale)
    expected = stats.t.ppf(LEVELS, 4)
    assert np.quantile(standard, LEVELS) == pytest.approx(expected, abs=0.05)


def test_influence_is_how_the_mean_moves_with_a_point() -> None:
    log_steps = some_steps(0)

    def mean(sample: Sample) -> float:
        return float(sample.weights @ sample.shapes.log_half)

    influence = draw(LOG_BATCH, log_steps).influence(draw(LOG_BATCH, log_steps).shapes.log_half)
    for index in range(len(SIZES)):
        step = np.zeros(len(SIZES))
        step[index] = 0.05
        up, down = (mean(draw(LOG_BATCH, log_steps + sign * step)) for sign in (1, -1))
        assert influence[index] == pytest.approx((up - down) / 0.1, abs=0.3)
