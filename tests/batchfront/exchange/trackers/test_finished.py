"""A finished run becomes a trial by its batch size, its goal and what it logged as steps."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batchfront.errors import DataError, UsageError
from batchfront.exchange.points import import_points
from batchfront.exchange.trackers.finished import (
    FinishedRun,
    Wanted,
    as_points,
    import_trials,
    judge,
    judge_all,
    parse_goal,
    parse_logged,
    told_together,
)
from batchfront.frontier.frontier import load_frontier
from batchfront.frontier.queries import load_goal_curves
from batchfront.store.url import open_storage
from batchfront.vocabulary import Outcome

NAN = float("nan")


def wanted(goal: str = "loss<0.5", logged: str = "steps", batch_size: str = "batch_size") -> Wanted:
    return Wanted("mlflow", "toy/x/sgd", *parse_goal(goal), batch_size, parse_logged(logged))


def run(name: str = "a", batch_size: int = 8, failed: bool = False, **curve: Any) -> FinishedRun:
    """A run with a curve of its loss, by `at=[(step, value), ...]`."""
    params = {"batch_size": str(batch_size), "lr": f"0.{batch_size}", "depth": "8"}
    return FinishedRun(name, name, params, {"loss": tuple(curve["at"])}, failed)


@pytest.mark.parametrize(
    ("curve", "failed", "outcome", "steps", "lower"),
    [
        ([(10, 1.0), (20, 0.4), (30, 0.6)], False, Outcome.REACHED, 20, 10),
        ([(10, 0.4)], False, Outcome.REACHED, 10, None),
        ([(10, 0.5)], False, Outcome.EXHAUSTED, None, None),  # strictly past it
        ([(10, NAN), (20, 0.4)], False, Outcome.REACHED, 20, 10),
        ([(10, 1.0), (20, NAN)], False, Outcome.DIVERGED, None, None),
        ([(10, 1.0)], True, Outcome.FAILED, None, None),
        ([(10, 0.4), (20, 1.0)], True, Outcome.REACHED, 10, None),
    ],
)
def test_a_run_is_judged_by_where_it_first_passed_the_goal(
    curve: Any, failed: bool, outcome: Outcome, steps: int | None, lower: int | None
) -> None:
    result = judge(run(at=curve, failed=failed), wanted()).result
    assert (result.outcome, result.steps_to_target, result.steps_lower) == (outcome, steps, lower)
    assert result.steps == curve[-1][0]


def test_a_score_is_passed_from_below() -> None:
    one = FinishedRun("a", "a", {"batch_size": "8"}, {"val/acc": ((1, 0.8), (2, 0.95))})
    assert judge(one, wanted("val/acc > 0.9")).result.steps_to_target == 2


@pytest.mark.parametrize(
    ("logged", "steps"),
    [("steps", 3), ("examples", 1), ("epochs:80", 30), ("epochs-from-0:80", 40)],
)
def test_what_was_logged_as_a_step_is_counted_in_steps(logged: str, steps: int) -> None:
    judged = judge(run(at=[(1, 1.0), (3, 0.4)]), wanted(logged=logged))
    assert judged.result.steps_to_target == steps


def test_the_batch_size_may_stand_in_the_name() -> None:
    assert judge(run("lr1_bs64", at=[(1, 1.0)]), wanted(batch_size=r"bs(\d+)")).batch_size == 64


@pytest.mark.parametrize(
    ("one", "asked", "says"),
    [
        (run(at=[]), wanted(), "a: has no 'loss', but loss"),
        (run(at=[(1, 1.0)]), wanted("acc>0.9"), "a: has no 'acc', but loss"),
        (
            replace(run(at=[]), curves={f"m{n}": () for n in range(9)}),
            wanted("acc>0.9"),
            "a: has no 'acc', but m0, m1, m2, m3, m4, m5 and 3 more",
        ),
        (run(at=[(1, 1.0)]), wanted(batch_size="bs"), "a: it has no parameter 'bs'"),
        (run(at=[(1, 1.0)]), wanted(batch_size="lr"), "the batch size '0.8' must be a whole"),
        (run(at=[(1, 1.0)]), wanted(batch_size=r"bs(\d+)"), "nothing in its name matches"),
        (run(at=[(0, 0.1)]), wanted(), "holds before any training"),
        (run(at=[(0, 0.1)]), wanted(logged="epochs:80"), "a: logs at 0, where --logged epochs:80"),
        (run(at=[(2**40, 1.0)]), wanted(), "is more than can be stored"),
    ],
)
def test_a_run_that_can_not_be_judged_is_named(one: FinishedRun, asked: Wanted, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        judge(one, asked)
    assert says in str(refused.value)


@pytest.mark.parametrize("text", ["", "step", "epochs", "epochs:0", "epochs:x", "tokens:5"])
def test_what_is_logged_is_said_one_way(text: str) -> None:
    with pytest.raises(UsageError, match="write steps, examples, epochs:N"):
        parse_logged(text)


@pytest.mark.parametrize("text", ["loss", "loss<", "<1", "a<1>2", "loss=1", "loss<x"])
def test_a_goal_is_written_one_way(text: str) -> None:
    with pytest.raises(UsageError, match="is no goal; write METRIC<VALUE"):
        parse_goal(text)


def runs() -> list[FinishedRun]:
    """Two at each of two batch sizes."""
    return [
        run(f"{size}-{k}", size, at=[(10, 1.0), (20 + 10 * k, 0.4)])
        for size in (8, 16)
        for k in (0, 1)
    ]


def test_runs_become_trials_once_and_later_ones_are_added(tmp_path: Path) -> None:
    judged, errors = judge_all([*runs(), run("none", at=[])], wanted())
    assert [str(error)[:4] for error in errors] == ["none"]
    storage = open_storage(f"sqlite:///{tmp_path}/x.db", create=True)
    assert import_trials(storage, judged[:3], wanted()) == (3, 0)
    assert import_trials(storage, judged, wanted()) == (1, 3)
    frontier = load_frontier(storage, "toy/x/sgd")
    assert [point.steps for point in frontier.points] == [20, 20]
    assert [dict(point.outcomes) for point in frontier.points] == [{"reached": 2}] * 2
    assert frontier.points[0].params == {"lr": 0.8}  # not the depth, which they have alike
    curves = load_goal_curves(storage, "toy/x/sgd", "loss")
    assert sum(len(one.steps) for one in curves.values()) == 8
    with pytest.raises(UsageError, match="in this database otherwise: the goal is"):
        import_trials(storage, judged, wanted("loss<0.45"))
    with pytest.raises(UsageError, match="in this database otherwise: it comes from"):
        import_trials(storage, judged, wanted(logged="examples"))
    storage.close()


def test_repeats_become_points_whose_median_counts(tmp_path: Path) -> None:
    judged, _ = judge_all(runs(), wanted())
    storage = open_storage(f"sqlite:///{tmp_path}/x.db", create=True)
    import_points(storage, as_points(judged, wanted()))
    (again,) = import_points(storage, as_points(judged, wanted()))
    assert (again.new, again.unchanged) == (0, 4)
    frontier = load_frontier(storage, "toy/x/sgd")
    assert [point.steps for point in frontier.points] == [25, 25]
    storage.close()


def test_a_reason_that_holds_for_a_thousand_runs_is_told_once() -> None:
    errors = [UsageError(f"run{n}: has no 'acc', but loss") for n in range(1000)]
    assert list(told_together([*errors, UsageError("odd: is odd"), DataError("damaged")])) == [
        "run0, run1, run2, run3, run4, run5 and 994 more: has no 'acc', but loss",
        "odd: is odd",
        "damaged",
    ]
