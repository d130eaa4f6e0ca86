"""Workloads with one goal on the same data, side by side as they are."""

from batchfront.frontier.analysis.side_by_side import SideBySide, Steps, side_by_side
from batchfront.frontier.frontier import load_frontiers
from batchfront.store.url import Storage
from tests.batchfront.frontier.analysis.studies import ended, reached
from tests.batchfront.report.rows import GOAL, add_study

DATA = {"data": {"train": {"examples": 100, "checksum": "aa"}}}


def add(storage: Storage, name: str, steps: dict[int, int], **more: object) -> None:
    for size, taken in steps.items():
        add_study(storage, name, size, [reached(taken)], **{"identity": DATA, **more})  # type: ignore[arg-type]


def group(steps: dict[str, dict[int, Steps]], expected: bool = False) -> SideBySide:
    return SideBySide("loss < 1", steps, expected, True, dict.fromkeys(steps, (4, 4)))


def test_only_those_of_one_goal_and_the_same_data_are_compared(storage: Storage) -> None:
    add(storage, "a/x/one", {8: 100, 16: 60})
    add(storage, "a/x/two", {8: 90, 16: 70})
    add(storage, "b/y/one", {8: 10}, goal={**GOAL, "value": 0.1})
    add(storage, "c/z/one", {8: 10}, identity={"data": {"train": {"examples": 9}}})
    (found,) = side_by_side(load_frontiers(storage))
    assert list(found.steps) == ["a/x/one", "a/x/two"]
    assert (found.beginning, found.brief("a/x/one")) == ("a/x/", "one")
    assert [found.best(size) for size in found.batch_sizes] == [("a/x/two",), ("a/x/one",)]
    assert found.data_known


def test_where_nobody_knows_the_data_that_is_said(storage: Storage) -> None:
    for name in ("a/x/one", "a/x/two"):
        add(storage, name, {8: 100}, identity={})
    (found,) = side_by_side(load_frontiers(storage))
    assert "Whether their data are the same is not known here" in " ".join(found.notes)


def test_of_more_trials_the_fastest_is_faster_and_that_is_said(storage: Storage) -> None:
    add(storage, "a/x/one", {8: 100})
    add_study(storage, "a/x/two", 8, [reached(90), ended("capped", 90)], identity=DATA)
    (found,) = side_by_side(load_frontiers(storage))
    assert "there are, at a batch size, one 1 and two 2." in " ".join(found.notes)


def test_one_sentence_says_which_is_best_where() -> None:
    steps = {
        "a/b/one": {4: Steps(100), 8: Steps(50), 16: Steps(30)},
        "a/b/two": {4: Steps(90), 8: Steps(50), 16: Steps(20), 32: Steps(15)},
        "a/b/three": {4: Steps(80)},
    }
    assert group(steps).sentence == (
        "three takes the fewest steps at 1 of 3 batch sizes, two at 1, several are equal at 8; the "
        "fewest of all are 15, of two at batch size 32."
    )
    assert group(steps).best(32) == ()
    alone = {"a/b/one": {4: Steps(9), 8: Steps(5)}, "a/b/two": {4: Steps(8), 8: Steps(4)}}
    assert group(alone).sentence.startswith("two takes the fewest steps at all 2 batch sizes; ")
    nowhere = {"a/b/one": {4: Steps(9)}, "a/b/two": {8: Steps(8)}}
    assert group(nowhere).sentence == ""


def test_an_order_that_the_intervals_do_not_tell_is_said() -> None:
    steps = {
        "a/b/one": {4: Steps(100, 90, 110), 8: Steps(50, 40, 60)},
        "a/b/two": {4: Steps(150, 140, 160), 8: Steps(55, 45, 65)},
    }
    found = group(steps, expected=True)
    assert (found.is_clear(4), found.is_clear(8)) == (True, False)
    assert next(iter(found.notes)).startswith("At 8 the 90\u00a0% interval of another overlaps")
