"""The learning curves of a study."""

from batchfront.frontier.frontier import load_frontier
from batchfront.frontier.queries import load_trials
from batchfront.report.sections.learning_curves import curves_figure
from batchfront.store.url import Storage
from tests.batchfront.report.rows import add_study


def test_the_star_stands_where_the_winner_passed_the_goal_though_it_went_on(
    storage: Storage,
) -> None:
    line = [(step, 2.0 / step) for step in range(10, 2001, 10)]
    add_study(storage, "a/b/c", 8, [{"outcome": "reached", "steps": 2000, "steps_to_target": 70}])
    frontier = load_frontier(storage, "a/b/c")
    point = frontier.points[0]
    trials = load_trials(storage, point.study.id)
    drawn = curves_figure(frontier, point, trials, {0: line}, "validation error rate", 0.03)
    star = drawn["data"][-1]
    assert star["x"] == [70]
    assert star["y"] == [2.0 / 70]
