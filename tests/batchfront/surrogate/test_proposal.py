import math
from statistics import median

import numpy as np
import pytest

from batchfront.surrogate.evidence import Evidence, Kind
from batchfront.surrogate.proposal import propose, unmodelled
from batchfront.workload.search_space import (
    Choice,
    Integer,
    Linear,
    Log,
    ReverseLog,
    SearchSpace,
    dimensions,
    quasi_random_points,
)
from tests.batchfront.surrogate.planted import (
    MOMENTUM,
    SIZES,
    best,
    log_rate,
    ran,
    searched,
    spaces,
)

WANTED = {4: 3, 16: 0, 64: 2, 256: 1}


def test_each_batch_size_gets_as_many_as_wanted() -> None:
    for shown in ([], searched(2)):
        found = propose(spaces(), shown, WANTED, seed=1)
        assert {size: len(points) for size, points in found.items()} == {4: 3, 64: 2, 256: 1}


def test_a_round_is_a_function_of_its_arguments_whatever_their_order() -> None:
    shown = searched(2)
    found = propose(spaces(), shown, WANTED, seed=1)
    turned = dict(reversed(spaces().items())), shown[::-1], dict(reversed(WANTED.items()))
    assert propose(*turned, seed=1) == found
    assert propose(spaces(), shown, WANTED, seed=2) != found


def test_the_first_round_covers_the_space_at_each_batch_size_and_finely_with_all() -> None:
    found = propose(spaces(), [], dict.fromkeys(SIZES, 4), seed=1)
    dimension = dimensions(MOMENTUM)["momentum"]
    positions = [[dimension.position(p["momentum"]) for p in points] for points in found.values()]
    assert all(sorted(int(4 * at) for at in some) == [0, 1, 2, 3] for some in positions)
    assert sorted(int(16 * at) for some in positions for at in some) == list(range(16))


def test_the_first_round_is_about_where_training_is_thought_to_be_fastest() -> None:
    found = propose(spaces(), [], dict.fromkeys(SIZES, 64), seed=1)
    rates = [median(log_rate(params) for params in found[size]) for size in SIZES]
    assert rates == sorted(rates)
    assert rates[-1] - rates[0] > 1.0


def test_it_finds_what_random_trials_miss() -> None:
    reference, random = {}, {}
    rng = np.random.default_rng(5)
    ours = searched(4, seed=3)
    drawn = [
        ran(size, params, rng) for size in SIZES for params in quasi_random_points(MOMENTUM, 16, 9)
    ]
    for size in SIZES:
        reference[size], random[size] = best(ours, size), best(drawn, size)
    assert median(math.log(random[s] / reference[s]) for s in SIZES) > 0.2


def test_where_nothing_has_worked_other_points_are_tried() -> None:
    before = propose(spaces(), [], dict.fromkeys(SIZES, 4), seed=1)
    broken = [
        Evidence(size, params, Kind.INFEASIBLE, 9.0) for size in SIZES for params in before[size]
    ]
    found = propose(spaces(), broken, dict.fromkeys(SIZES, 4), seed=1)
    for size in SIZES:
        assert not any(params in before[size] for params in found[size])
        assert len({params["learning_rate"] for params in found[size]}) == 4


@pytest.mark.parametrize("kind", [Kind.REACHED, Kind.MORE_THAN])
@pytest.mark.parametrize(
    "space",
    [
        {"learning_rate": Log(0.1, 1.0)},
        {"lr": Log(1e-4, 0.1), "beta1": ReverseLog(0.5, 0.99), "weight_decay": Log(1e-4, 0.1)},
        {"n": Integer(1, 5), "how": Choice("a", "b", "c"), "k": Choice(1, 2, 4), "t": True},
        {"dropout": Linear(0.0, 0.5), "on": Choice(True, False)},
        {"learning_rate": 0.1},
    ],
    ids=lambda space: " ".join(space) if isinstance(space, dict) else None,
)
def test_any_space_is_searched(space: SearchSpace, kind: Kind) -> None:
    for sizes in ((8,), (8, 64)):
        some = dict.fromkeys(sizes, space)
        points = propose(some, [], dict.fromkeys(sizes, 2), seed=0)
        shown = [
            Evidence(size, params, kind, 90.0 + at)
            for size in sizes
            for at, params in enumerate(points[size])
        ]
        for size, found in propose(some, shown, dict.fromkeys(sizes, 3), seed=1).items():
            assert len(found) == 3
            for params in found:
                assert list(params) == list(some[size])
                for name, dimension in dimensions(some[size]).items():
                    assert 0 <= dimension.position(params[name]) <= 1


def test_where_the_surrogate_cannot_be_computed_points_are_spread_and_it_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    some: dict[int, SearchSpace] = {size: {"learning_rate": Log(1e-300, 1e300)} for size in SIZES}
    shown = [
        Evidence(size, {"learning_rate": 10.0**n}, Kind.REACHED, 90.0 + n)
        for size in SIZES
        for n in (-290, -1, 290)
    ]
    found = [propose(some, shown, dict.fromkeys(SIZES, 2), seed=1) for _ in range(2)]
    assert found[0] == found[1]
    assert len({float(p["learning_rate"]) for p in found[0][SIZES[0]]}) == 2
    assert "the next round is quasi-random" in caplog.text


def test_ranges_that_move_with_the_batch_size_are_kept_to() -> None:
    moving = {size: {"learning_rate": Log(1e-4 * size, 1e-2 * size)} for size in SIZES}
    shown = [
        Evidence(size, {"learning_rate": 1e-3 * size}, Kind.REACHED, 500.0 / size) for size in SIZES
    ]
    for size, points in propose(moving, shown, dict.fromkeys(SIZES, 4), seed=1).items():
        assert all(1e-4 * size <= float(p["learning_rate"]) <= 1e-2 * size for p in points)


def test_what_cannot_be_modelled_is_said_with_what_to_change() -> None:
    assert unmodelled(MOMENTUM) is None
    assert unmodelled({"width": Choice(*range(1_000))}) is None
    fixed = unmodelled({"learning_rate": 0.1})
    assert fixed is not None
    assert "one value" in fixed
    many = unmodelled({"seed": Choice(*(f"s{n}" for n in range(1_000)))})
    assert many is not None
    assert many.startswith("seed has 1,000 categories")
