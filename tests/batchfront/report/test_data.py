"""What is drawn of a large study."""

from batchfront.frontier.frontier import load_frontier
from batchfront.frontier.queries import load_trials
from batchfront.report.data import Limits, chosen, evenly
from batchfront.store.url import Storage
from tests.batchfront.report.rows import add_study


def test_a_small_study_is_drawn_whole(storage: Storage) -> None:
    add_study(storage, "a/b/c", 8, [{"outcome": "stalled", "steps": 5}] * 6)
    point = load_frontier(storage, "a/b/c").points[0]
    trials = load_trials(storage, point.study.id)
    assert chosen(point, trials, 6) == trials


def test_of_a_large_one_the_fastest_and_others_evenly(storage: Storage) -> None:
    trials = [{"outcome": "stalled", "steps": 9} for _ in range(300)]
    for number, steps in ((250, 50), (7, 60), (123, 70), (200, 99)):
        trials[number] = {"outcome": "reached", "steps": steps}
    add_study(storage, "a/b/c", 8, trials)
    point = load_frontier(storage, "a/b/c").points[0]
    drawn = [t.number for t in chosen(point, load_trials(storage, point.study.id), 9)]
    assert len(drawn) == 9
    assert {250, 7, 123} <= set(drawn)
    others = sorted(set(drawn) - {250, 7, 123})
    assert [round(number / 50) for number in others] == [0, 1, 2, 3, 4, 5]


def test_a_thinned_curve_keeps_its_ends() -> None:
    assert evenly(range(5), 9) == [0, 1, 2, 3, 4]
    assert evenly(range(1000), 4) == [0, 333, 666, 999]


def test_a_page_of_many_studies_has_less_of_each() -> None:
    assert Limits.for_page(10) == Limits(300, 100)
    assert Limits.for_page(32) == Limits(300, 50)
    many = Limits.for_page(454)
    assert 454 * many.trials <= 30_000
    assert many.curves == 8
    assert Limits.for_page(0) == Limits.for_page(1)
