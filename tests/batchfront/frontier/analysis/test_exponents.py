"""The exponents with which metaparameters go are those of searches that were made with them."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import linregress

from batchfront.frontier.analysis.exponents import EFFECTIVE, Exponents, exponents, line
from batchfront.frontier.analysis.parabola import fit_parabola
from batchfront.store.url import Storage
from batchfront.workload.search_space import quasi_random_points, restore_space
from tests.batchfront.frontier.analysis.studies import ended, loaded, reached
from tests.batchfront.report.rows import add_study

NAME = "a/b/adamw"
SIZES = (4, 16, 64, 256)
SPACE = {
    "learning_rate": {"kind": "Log", "low": 1e-3, "high": 10.0},
    "beta1": {"kind": "ReverseLog", "low": 0.0, "high": 0.999},
}


def steps_at(params: Any, batch_size: int, powers: dict[str, float]) -> float:
    """A parabola whose bottom goes with these powers of the batch size from rate 0.05, and a beta
    of 0.95, at 4; of what is not among them, steps don't depend on it."""
    logs = {"learning_rate": np.log(params["learning_rate"] / 0.05)}
    logs["beta1"] = np.log((1 - params["beta1"]) / 0.05)
    away = [logs[name] - power * np.log(batch_size / 4) for name, power in powers.items()]
    return float(8000 / batch_size**0.5 * np.exp(0.25 * sum(a**2 for a in away)))


def trial(steps: float, params: Any) -> dict[str, Any]:
    """One that reaches the goal within its step budget, or doesn't."""
    if steps > 1e5:
        return ended("exhausted", 100_000, params=params)
    return reached(max(round(steps), 1), params=params)


def searched(
    storage: Storage,
    powers: dict[str, float],
    space: Any = SPACE,
    sizes: Any = SIZES,
    trials: int = 24,
    noise: float = 0.1,
) -> dict[str, Exponents]:
    rng = np.random.default_rng(3)
    for batch_size in sizes:
        points = quasi_random_points(restore_space(space), trials, seed=batch_size)
        made = []
        for params in points:
            steps = steps_at(params, batch_size, powers) * np.exp(noise * rng.normal())
            made.append(trial(steps, params))
        add_study(storage, NAME, batch_size, made, space=space)
    return analyzed(storage)


def analyzed(storage: Storage) -> dict[str, Exponents]:
    frontier, trials, _ = loaded(storage, NAME)
    return {one.name: one for one in exponents(frontier.reached, trials)}


@pytest.mark.parametrize(("rate", "beta"), [(0.5, 1.0), (1.0, 0.0), (0.0, 0.5)])
def test_generated_searches_have_the_exponents_that_they_were_made_with(
    storage: Storage, rate: float, beta: float
) -> None:
    found = searched(storage, {"learning_rate": rate, "beta1": beta}, sizes=(4, 8, 16, 64))
    for name, power in (("learning_rate", rate), ("beta1", beta)):
        told = found[name].finishers
        assert told is not None
        assert told.low is not None
        assert told.high is not None
        assert told.low <= power <= told.high
        assert told.high - told.low < 0.6
        assert told.value == pytest.approx(power, abs=0.1)
        assert told.batch_sizes == (4, 8, 16, 64)


def test_exponents_stand_beside_what_the_rules_say(storage: Storage) -> None:
    found = searched(storage, {"learning_rate": 0.5, "beta1": 1.0}, noise=0)
    assert found["beta1"].quantity == "1 - beta1"
    assert found["beta1"].rules == {"linear": 0, "square-root": 0, "adam-square-root": 1}
    assert found["learning_rate"].rules["adam-square-root"] == 0.5


def test_a_range_in_which_steps_hardly_differ_is_too_flat_to_tell(storage: Storage) -> None:
    found = searched(storage, {"learning_rate": 0.5})
    assert found["beta1"].finishers is None
    assert found["beta1"].notes[0] == "its range is too flat to tell what is best of it"
    assert found["learning_rate"].finishers is not None
    assert found["beta1"].winners is not None


def test_a_best_beyond_the_range_is_said_to_be_there(storage: Storage) -> None:
    narrow = {**SPACE, "learning_rate": {"kind": "Log", "low": 1e-3, "high": 0.1}}
    found = searched(storage, {"learning_rate": 1.0, "beta1": 0.0}, narrow)["learning_rate"]
    assert found.finishers is None
    assert found.beyond == (16, 64, 256)
    assert found.notes[1] == "what is best of it lies beyond the searched range at 16, 64 and 256"
    assert set(found.edges.values()) == {"high"}
    assert "winners lie at an end of the range at " in found.notes[2]


def test_one_best_beyond_the_range_is_left_out_and_said(storage: Storage) -> None:
    narrow = {**SPACE, "learning_rate": {"kind": "Log", "low": 1e-3, "high": 0.4}}
    found = searched(storage, {"learning_rate": 0.5, "beta1": 0.0}, narrow, (4, 16, 64, 512))
    told = found["learning_rate"]
    assert told.finishers is not None
    assert (told.beyond, told.finishers.batch_sizes) == ((512,), (4, 16, 64))
    assert told.finishers.value == pytest.approx(0.5, abs=0.1)


def test_few_trials_that_reached_the_goal_tell_of_the_winners_alone(storage: Storage) -> None:
    for batch_size in SIZES:
        trials = [reached(9, params={"learning_rate": 0.01 * batch_size, "beta1": 0.9})]
        trials += [ended("capped", 9, params={"learning_rate": 1.0, "beta1": 0.9})] * 20
        add_study(storage, NAME, batch_size, trials, space=SPACE)
    found = analyzed(storage)["learning_rate"]
    assert found.winners is not None
    assert found.winners.value == pytest.approx(1)
    assert found.winners.high == pytest.approx(1, abs=1e-3)
    assert found.finishers is None
    assert found.reason == "fewer than 3 batch sizes have 4 trials that reached the goal"


def test_learning_rate_and_momentum_have_an_effective_rate(storage: Storage) -> None:
    space = {"learning_rate": SPACE["learning_rate"], "momentum": SPACE["beta1"]}
    for batch_size in SIZES:
        made = []
        for params in quasi_random_points(restore_space(space), 24, seed=batch_size):
            effective = float(params["learning_rate"]) / (1 - float(params["momentum"]))
            away = np.log(effective / (0.1 * batch_size**0.5))
            made.append(trial(8000 / batch_size**0.5 * np.exp(0.2 * away**2), params))
        add_study(storage, NAME, batch_size, made, space=space)
    found = analyzed(storage)
    effective = found[EFFECTIVE].finishers
    assert effective is not None
    assert effective.value == pytest.approx(0.5, abs=0.02)
    assert found["momentum"].finishers is None
    assert found[EFFECTIVE].rules == {"linear": 1, "square-root": 0.5}


def test_what_is_fixed_or_takes_no_logarithm_has_no_exponent(storage: Storage) -> None:
    space = {
        "learning_rate": SPACE["learning_rate"],
        "activation": {"kind": "Choice", "values": ["relu", "gelu"]},
        "decay": {"kind": "Linear", "low": 0.0, "high": 1.0},
        "beta2": 0.99,
    }
    params = {"learning_rate": 0.1, "activation": "relu", "decay": 0.0, "beta2": 0.99}
    for batch_size in SIZES[:2]:
        add_study(storage, NAME, batch_size, [reached(9, params=params)], space=space)
    assert [*analyzed(storage)] == ["learning_rate"]


def test_the_line_through_winners_is_that_of_least_squares() -> None:
    sizes, values = [4, 8, 16, 32, 64], np.log([0.1, 0.3, 0.25, 1.1, 0.9])
    expected = linregress(np.log(sizes), values)
    found = line(sizes, values)
    assert found.value == pytest.approx(expected.slope)
    assert found.low is not None
    t = 2.353363  # of three degrees of freedom, 95 %
    assert found.value - found.low == pytest.approx(t * expected.stderr, rel=1e-4)
    two = line([4, 8], np.log([0.1, 0.2]))
    assert (two.value, two.low, two.high) == (pytest.approx(1), None, None)


def test_intervals_hold_the_true_exponent_in_about_nine_of_ten_searches() -> None:
    """Of bottoms that are known as the parabola knows them and also lie off the line."""
    rng = np.random.default_rng(0)
    sizes, held = (4, 8, 16, 32, 64, 128), []
    for _ in range(60):
        samples = []
        for batch_size in sizes:
            z = rng.uniform(-6, 3, size=(20, 2))
            bottom = np.array([-3 + 0.5 * np.log(batch_size) + 0.2 * rng.normal(), -1.0])
            away = z - bottom
            log_steps = 0.2 * (away**2).sum(axis=1) + 0.1 * away[:, 0] * away[:, 1]
            samples.append((z, log_steps + 0.2 * rng.normal(size=20)))
        fitted = fit_parabola(samples)
        assert fitted is not None
        found = line(sizes, fitted.bottoms[:, 0], fitted.covariance(0))
        assert found.low is not None
        assert found.high is not None
        held.append(found.low <= 0.5 <= found.high)
    assert 0.82 <= np.mean(held) <= 0.98


def test_the_bottoms_of_a_parabola_without_noise_are_found() -> None:
    rng = np.random.default_rng(0)
    bottoms = np.array([[0.0, 1.0], [0.5, -1.0], [2.0, 0.3]])
    shape = np.array([[1.0, 0.4], [0.4, 0.5]])
    samples = []
    for bottom in bottoms:
        z = rng.normal(size=(9, 2))
        samples.append((z, 3 + 0.5 * np.einsum("ni,ij,nj->n", z - bottom, shape, z - bottom)))
    found = fit_parabola(samples)
    assert found is not None
    assert found.bowl
    assert found.bottoms == pytest.approx(bottoms)
