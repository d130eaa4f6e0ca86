"""The curve in the page's words, whatever the points are."""

import pytest

from batchfront.frontier.curve import USUAL, Asked
from batchfront.frontier.curve.estimates import Estimate
from batchfront.frontier.expected import ExpectedFrontier, ExpectedPoint
from batchfront.frontier.frontier import Frontier, load_frontier
from batchfront.report.sections.curve import steps_figure
from batchfront.report.sections.curve_traces import DIMINISHING, NEAR_PERFECT, NO_MORE, regimes
from batchfront.report.text import Fitted, fitted
from batchfront.store.url import Storage
from tests.batchfront.report.rows import add_study


def frontier(storage: Storage, steps: dict[int, int]) -> Frontier:
    for batch, found in steps.items():
        trial = {"outcome": "reached", "steps": found, "steps_lower": found - 1}
        add_study(storage, "a/b/c", batch, [trial])
    return load_frontier(storage, "a/b/c")


def smooth(batches: tuple[int, ...]) -> dict[int, int]:
    """Points of S(B) = 100 (1 + 32/B)."""
    return {batch: round(100 * (1 + 32 / batch)) for batch in batches}


@pytest.fixture
def whole(storage: Storage) -> Frontier:
    return frontier(storage, smooth((2, 4, 8, 16, 32, 64, 128, 256, 512)))


def test_the_answer_is_one_sentence_with_its_intervals(whole: Frontier) -> None:
    # Doubling saves 10 % at B_c (1/2 - 0.1) / 0.1 = 4 B_c = 128; 20 % more examples than at 2
    # are taken at 1.2 (2 + B_c) - B_c = 8.8.
    answer = fitted(whole).answer
    assert answer.startswith("Useful up to batch size 12")
    assert "near-perfect up to batch size 9 (" in answer
    assert answer.count("90\u00a0% interval") == 2
    assert answer.count(". ") == 0


def test_near_perfect_is_measured_from_where_it_is_asked_for(whole: Frontier) -> None:
    found = fitted(whole, Asked(perfect_from=16))
    assert "scaling from batch size 16 is near-perfect up to" in found.answer
    assert found.facts[0].name == "near-perfect from 16 up to"
    assert found.curve is not None
    near = [stretch for stretch in regimes(found.curve, 2, 512) if stretch[0] is NEAR_PERFECT]
    assert all(start >= 16 for _, start, _ in near)


def test_every_number_of_the_curve_has_an_interval_and_its_evidence(whole: Frontier) -> None:
    facts = fitted(whole).facts
    assert [fact.value for fact in facts[2:]] == ["32", "100", "3,202"]
    assert all(" to " in fact.interval for fact in facts)
    assert all(fact.evidence[0].isdigit() for fact in facts)
    assert "B<sub>c</sub>" in facts[2].name


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ({2: 100, 4: 50}, "2 batch sizes reached the goal"),
        ({2: 100, 4: 100, 8: 101, 16: 100}, "do not fall"),
    ],
)
def test_where_no_curve_can_be_drawn_the_reason_stands_instead(
    storage: Storage, steps: dict[int, int], why: str
) -> None:
    found = fitted(frontier(storage, steps))
    assert found.curve is None
    assert why in found.refusal
    assert (found.answer, found.facts, found.warnings) == ("", (), ())


def test_points_that_cannot_be_are_refused_and_do_no_harm(storage: Storage) -> None:
    for batch in (2, 4, 8, 16):
        trial = {"outcome": "reached", "steps": 9, "steps_lower": 9}
        add_study(storage, "a/b/c", batch, [trial])
    assert "passed between" in fitted(load_frontier(storage, "a/b/c")).refusal


def test_without_a_winner_there_is_nothing_to_refuse(storage: Storage) -> None:
    add_study(storage, "a/b/c", 8, [{}])
    assert fitted(load_frontier(storage, "a/b/c")) == Fitted()


def test_the_curve_lies_in_its_band_and_perfect_scaling_starts_on_it(whole: Frontier) -> None:
    curve = fitted(whole).curve
    figure = steps_figure(whole, curve)
    low, high, median = (trace["y"] for trace in figure["data"][:3])
    assert all(a <= b <= c for a, b, c in zip(low, median, high, strict=True))
    line = next(s for s in figure["layout"]["shapes"] if s.get("name") == "perfect scaling")
    assert line["y0"] == pytest.approx(1700, rel=0.01)
    assert line["x0"] * line["y0"] == pytest.approx(line["x1"] * line["y1"])
    assert figure["data"][-1]["y"] == [point.steps for point in whole.reached]


def test_a_value_stands_below_a_point_over_which_its_expected_steps_are_drawn(
    whole: Frontier,
) -> None:
    one, steps = whole.reached[0], float(whole.reached[0].steps or 0)
    over = ExpectedPoint(one.batch_size, 1.3 * steps, steps, 2 * steps, 0.2, {}, 0, 32, 2)
    curve = fitted(whole).curve
    plain = steps_figure(whole, curve)["data"][-1]["textposition"]
    figure = steps_figure(whole, curve, expected=ExpectedFrontier((over,)))
    assert plain[0] == "top center"
    assert figure["data"][-1]["textposition"] == ["bottom center", *plain[1:]]


def test_the_regimes_meet_where_the_curve_says(whole: Frontier) -> None:
    curve = fitted(whole).curve
    assert curve is not None
    found = regimes(curve, 1.0, 1000.0)
    assert [regime for regime, _, _ in found] == [NEAR_PERFECT, DIMINISHING, NO_MORE]
    (_, a, b), (_, c, d), (_, e, f) = found
    assert (a, b, d, f) == (1.0, c, e, 1000.0)
    assert b == curve.perfect_until.value
    assert d == curve.useful_until.value


AT_LEAST, AT_MOST, UNKNOWN = (
    Estimate(None, 64.0, None, reason="not seen"),
    Estimate(None, None, 64.0, reason="not seen"),
    Estimate(None, None, None, reason="not told"),
)


@pytest.mark.parametrize(
    ("perfect", "useful", "shaded"),
    [
        (AT_LEAST, AT_LEAST, [("near-perfect scaling", 1.0, 64.0)]),
        (AT_MOST, AT_LEAST, []),
        (AT_MOST, UNKNOWN, []),
        (UNKNOWN, AT_MOST, [("no more gain", 64.0, 1000.0)]),
        (UNKNOWN, UNKNOWN, []),
    ],
)
def test_what_is_not_known_is_not_shaded(
    perfect: Estimate, useful: Estimate, shaded: list[tuple[str, float, float]]
) -> None:
    class Bounded:
        perfect_until, useful_until, asked = perfect, useful, USUAL

    found = regimes(Bounded(), 1.0, 1000.0)  # type: ignore[arg-type]
    assert [(regime.name, *ends) for regime, *ends in found] == shaded
