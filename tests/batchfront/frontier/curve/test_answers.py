"""The curve through a frontier."""

import json

import pytest

from batchfront.errors import UsageError
from batchfront.frontier.curve.answers import QUANTITIES, curve_dict, fit_curve
from batchfront.frontier.curve.curve import fit_curve as fit_points
from batchfront.frontier.curve.fit import Observation
from batchfront.frontier.frontier import Frontier
from tests.batchfront.frontier.uncertainty.searches import point

STEPS = {2: 1841, 4: 1149, 8: 520, 16: 260, 32: 140, 64: 90, 128: 63, 256: 52}


def frontier(steps: dict[int, int]) -> Frontier:
    return Frontier("a/b/c", tuple(point(size, [n] if n else []) for size, n in steps.items()))


def test_it_goes_through_the_points_that_have_reached_the_goal_and_their_intervals() -> None:
    seen = [Observation(size, n, n - 1) for size, n in STEPS.items()]
    assert fit_curve(frontier({**STEPS, 512: 0})) == fit_points(seen)
    assert fit_curve(frontier(STEPS), 0.5, 0.05) == fit_points(seen, 0.5, 0.05)


def test_no_answer_lies_beyond_what_has_not_reached_the_goal() -> None:
    smaller = {batch: round(100 * (1 + 64 / batch)) for batch in (2, 4, 8, 16, 32, 64, 128)}
    missed = [point(batch, (), {"stalled": 3}) for batch in (256, 512)]
    whole = Frontier("a/b/c", (*frontier(smaller).points, *missed))
    useful = fit_curve(whole).useful_until
    assert (useful.kind, useful.low, useful.high) == ("at least", 128, None)
    assert useful.reason == "batch size 256 has not reached the goal"
    assert fit_curve(whole).unreached == (256, 512)
    assert fit_curve(whole).perfect_until == fit_curve(frontier(smaller)).perfect_until


def test_points_that_determine_no_curve_are_no_error() -> None:
    assert "4 are needed" in (fit_curve(frontier({2: 100, 4: 50})).refusal or "")
    assert "0 batch sizes" in (fit_curve(frontier({2: 0})).refusal or "")


def test_a_share_that_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--share 0\.7: must be between 0 and 0\.5"):
        fit_curve(frontier(STEPS), share=0.7)


@pytest.mark.parametrize("steps", [STEPS, {2: 100, 4: 50}, dict(list(STEPS.items())[:4])])
def test_as_plain_data_it_is_json_with_every_quantity_and_form(steps: dict[int, int]) -> None:
    found = fit_curve(frontier(steps))
    plain = curve_dict(found)
    restored = json.loads(json.dumps(plain, allow_nan=False))
    assert restored["refusal"] == found.refusal
    assert restored["estimates"].keys() == QUANTITIES.keys()
    for name, estimate in restored["estimates"].items():
        ours = getattr(found, name)
        assert (estimate["value"], estimate["kind"]) == (ours.value, ours.kind)
    assert [fit["form"] for fit in restored["fits"]] == [fit.form.value for fit in found.fits]
