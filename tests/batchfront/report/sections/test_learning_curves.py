"""The learning curves of a study."""

from batchfront.frontier.frontier import load_frontier
from batchfront.frontier.queries import load_curves, load_trials
from batchfront.report.sections.learning_curves import curves_figure
from batchfront.store.url import Storage

from tests.batchfront.report.rows import add_study


def test_the_star_stands_where_the_winner_passed_the_goal_though_it_went_on(
    storage: Storage,
) -> None:
    looks = [(step, "validation", "error rate", 2.0 / step) for step in range(10, 2001, 10)]
    winner = {"outcome": "reached", "steps": 2000, "steps_to_target": 70, "curve": looks}
    add_study(storage, "a/b/c", 8, [winner])
    frontier = load_frontier(storage, "a/b/c")
    point = frontier.points[0]
    id_ = point.study.id
    read = load_trials(storage, id_), load_curves(storage, id_)
    drawn = curves_figure(frontier, point, *read, "validation", "error rate")
    star = drawn["data"][-1]
    assert star["x"] == [70]
    assert star["y"] == [2.0 / 70]
