"""What trials say about steps to target when some of them did not get there."""

from dataclasses import replace

import pytest

from batchfront.frontier.analysis.censoring import Needed, fewest, median_needed, stopped_short
from batchfront.frontier.queries import Trial

BLANK = Trial(0, {}, None, None, 0, None, None, None, None, None, None, {})


def trials(*ends: tuple[str | None, int]) -> list[Trial]:
    return [
        replace(BLANK, outcome=o, steps=n, steps_to_target=n if o == "reached" else None)
        for o, n in ends
    ]


@pytest.mark.parametrize(
    ("ends", "needed"),
    [
        ((("reached", 90), ("reached", 70), ("capped", 90)), Needed(70, 70)),
        ((("reached", 90), ("capped", 60)), Needed(60, 90)),
        ((("reached", 90), ("dropped", 32)), Needed(32, 90)),
        ((("capped", 60), ("exhausted", 50), ("diverged", 2)), Needed(50, None)),
        ((("diverged", 2), ("stalled", 20), ("failed", 0), (None, 40)), None),
        ((), None),
    ],
)
def test_the_fewest_steps_lie_between_bounds(
    ends: tuple[tuple[str | None, int], ...], needed: Needed | None
) -> None:
    assert fewest(trials(*ends)) == needed


def test_only_equal_bounds_are_exact() -> None:
    assert Needed(70, 70).exact
    assert not Needed(60, 70).exact
    assert not Needed(60, None).exact


@pytest.mark.parametrize(
    ("ends", "needed"),
    [
        ((("reached", 9), ("reached", 7), ("reached", 8)), Needed(8, 8)),
        ((("reached", 9), ("reached", 7), ("diverged", 1)), Needed(9, 9)),
        (
            (("reached", 100), ("reached", 120), ("reached", 160), ("reached", 200)),
            Needed(140, 140),
        ),
        ((("reached", 9), ("diverged", 1)), None),
        ((("reached", 9), ("exhausted", 40)), Needed(24.5, None)),
        ((("reached", 9), ("exhausted", 40), ("exhausted", 30)), Needed(30, None)),
        ((("reached", 9), ("diverged", 1), ("diverged", 1)), None),
    ],
)
def test_the_median_counts_trials_that_did_not_get_there_as_infinitely_long(
    ends: tuple[tuple[str | None, int], ...], needed: Needed | None
) -> None:
    assert median_needed(trials(*ends)) == needed


def test_trials_stopped_short_if_they_might_have_gone_on() -> None:
    ended = trials(("reached", 50), ("capped", 60), ("capped", 50), ("diverged", 2), (None, 90))
    assert stopped_short(ended, 60) == {"reached": 1, "capped": 1, "open": 1}
    assert stopped_short(ended, 50) == {"open": 1}
