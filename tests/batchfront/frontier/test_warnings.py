"""Flags on points that a reader should doubt."""

from batchfront.frontier.curve.answers import fit_curve
from batchfront.frontier.frontier import Frontier
from batchfront.frontier.warnings import PointWarning, point_warnings
from tests.batchfront.frontier.uncertainty.searches import point

STEPS = {2: 3300, 4: 1700, 8: 900, 16: 500, 32: 300, 64: 200, 128: 150, 256: 125}


def flagged(steps: dict[int, int], **study: object) -> list[PointWarning]:
    frontier = Frontier("a/b/c", tuple(point(b, [n], **study) for b, n in steps.items()))
    return point_warnings(frontier, fit_curve(frontier))


def test_a_frontier_that_falls_with_winners_inside_their_spaces_has_no_flag() -> None:
    assert flagged(STEPS) == []


def test_more_steps_than_a_smaller_batch_size_needs_are_flagged_beyond_the_scatter() -> None:
    (flag,) = flagged({**STEPS, 16: 2000})
    assert (flag.batch_size, flag.kind) == (16, "not-monotone")
    assert flag.text == (
        "Batch size 16 takes 122 % more steps than 8, a smaller one: more trials would probably "
        "find fewer."
    )
    steps = (1010, 1025, 1011, 962, 1027, 1014, 984, 1018, 1011, 1009)
    assert flagged({2 << k: n for k, n in enumerate(steps)}) == []


def test_where_steps_rise_to_the_end_more_trials_are_no_answer() -> None:
    assert flagged({**STEPS, 512: 400, 1024: 900}) == []


def test_steps_measured_elsewhere_are_no_search_to_be_prolonged() -> None:
    assert flagged({**STEPS, 16: 2000}, purpose="points") == []


def test_a_winner_at_an_end_of_its_space_is_flagged_with_what_to_do() -> None:
    at_an_end = point(1024, [40], rate=0.99, spec="a folder/c.py:c")
    assert point_warnings(Frontier("a/b/c", (at_an_end,)), None) == [
        PointWarning(
            1024,
            "edge",
            "At batch size 1,024 the winner's learning_rate lies at the high end of its search "
            "space; `batchfront plan 'a folder/c.py:c' --extend` widens it.",
        )
    ]


def test_of_trials_that_were_imported_no_more_can_be_run() -> None:
    (flag,) = point_warnings(Frontier("a/b/c", (point(1024, [40], rate=0.99),)), None)
    assert flag.text.endswith("lies at the high end of its search space.")
