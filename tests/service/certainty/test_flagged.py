"""Flags on points that a reader should doubt."""

from dataclasses import replace

from service.certainty import Flag, flags
from service.frontier import Frontier
from tests.service.certainty.searches import point


def test_a_frontier_that_falls_with_winners_inside_their_spaces_has_no_flag() -> None:
    assert flags(Frontier("a/b/c", (point(8, [40]), point(16, [20]), point(32)))) == []


def test_more_steps_than_a_smaller_batch_size_needs_are_flagged_unless_a_look_may_be_why() -> None:
    frontier = Frontier("a/b/c", (point(8, [40]), point(16, [40]), point(32), point(64, [50])))
    (flag,) = flags(frontier)
    assert (flag.batch_size, flag.kind) == (64, "not-monotone")
    assert flag.text.startswith("Batch size 64 takes 25 % more steps than 8, a smaller one")


def test_steps_without_a_look_before_them_are_flagged_too() -> None:
    first, same, more = (point(8, [40]), point(16, [40]), point(32, [50]))
    elsewhere = replace(more, best=replace(more.best, steps_lower=None))  # type: ignore[type-var]
    level = replace(same, best=replace(same.best, steps_lower=None))  # type: ignore[type-var]
    assert [f.batch_size for f in flags(Frontier("a/b/c", (first, level, elsewhere)))] == [32]


def test_a_winner_at_an_end_of_its_space_is_flagged_with_what_to_do() -> None:
    at_an_end = point(1024, [40], rate=0.99, spec="a folder/c.py:c")
    assert flags(Frontier("a/b/c", (at_an_end,))) == [
        Flag(
            1024,
            "edge",
            "At batch size 1,024 the winner's learning_rate lies at the high end of its search "
            "space; `batchfront plan 'a folder/c.py:c' --extend` widens it.",
        )
    ]


def test_of_trials_that_were_imported_no_more_can_be_run() -> None:
    (flag,) = flags(Frontier("a/b/c", (point(1024, [40], rate=0.99),)))
    assert flag.text.endswith("lies at the high end of its search space.")
