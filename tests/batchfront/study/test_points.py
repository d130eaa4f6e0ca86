"""A study's points are a function of the study and of their numbers, however wide it gets."""

from typing import Any

from batchfront.study.points import sample_points
from batchfront.study.study import Study
from batchfront.workload.search_space import Log, ReverseLog, describe_space, quasi_random_points
from batchfront.workload.space_edges import holds

NARROW = {"learning_rate": Log(0.01, 0.1), "momentum": ReverseLog(0.0, 0.9), "fixed": 3}
WIDE = {**NARROW, "learning_rate": Log(0.01, 1.0)}
WIDEST = {**WIDE, "momentum": ReverseLog(0.0, 0.99)}


def study(*extensions: dict[str, Any], sampler: str = "sobol") -> Study:
    identity = {"search_space": describe_space(NARROW)}
    fields = ("a/b/c/b8", "a/b/c", "", 8, identity, None, 0, "race", sampler, "all", 200)
    return Study(*fields, extensions=extensions, id=1)


ONCE = {"first": 20, "outside": 30, "space": describe_space(WIDE)}
TWICE = {"first": 90, "outside": 100, "space": describe_space(WIDEST)}


def drawn(found: Study, first: int, count: int) -> list[dict[str, Any]]:
    points = sample_points(found, first, count)
    assert len(points) == count
    assert None not in points
    return [point for point in points if point is not None]


def test_points_are_those_of_the_studys_sobol_sequence() -> None:
    found = study()
    assert drawn(found, 3, 5) == quasi_random_points(NARROW, 8, found.points_seed)[3:]


def test_a_wider_space_leaves_the_points_before_it_as_they_were() -> None:
    assert drawn(study(ONCE), 0, 20) == drawn(study(), 0, 20)
    assert drawn(study(ONCE, TWICE), 0, 90) == drawn(study(ONCE), 0, 90)


def test_the_first_points_of_a_wider_space_lie_in_what_it_has_gained() -> None:
    both = study(ONCE, TWICE)
    for point in drawn(both, 20, 30):
        assert holds(WIDE, point)
        assert not holds(NARROW, point)
    for point in drawn(both, 90, 100):
        assert holds(WIDEST, point)
        assert not holds(WIDE, point)


def test_later_points_lie_anywhere_in_it() -> None:
    inside = [holds(NARROW, point) for point in drawn(study(ONCE), 50, 64)]
    assert sum(inside) == 32  # a Sobol sequence halves a doubled range exactly


def test_points_spread_evenly_over_what_was_gained() -> None:
    gained = drawn(study(ONCE), 20, 30)
    for name, middle in (("learning_rate", 0.1 * 10**0.5), ("momentum", 1 - 0.1**0.5)):
        assert abs(sum(point[name] > middle for point in gained) - 15) <= 3


def test_whoever_samples_them_and_in_whatever_parts_they_are_the_same() -> None:
    both = study(ONCE, TWICE)
    whole = drawn(both, 0, 250)
    parts = [(0, 1), (1, 30), (31, 60), (91, 1), (92, 158)]
    assert [point for first, count in parts for point in drawn(both, first, count)] == whole
    assert len({str(point) for point in whole}) == 250


def test_an_adaptive_sampler_samples_later() -> None:
    assert sample_points(study(ONCE, sampler="tpe"), 15, 20) == [None] * 20
