"""What a curve says in sentences."""

from collections.abc import Callable
from dataclasses import replace
from math import exp, log

import pytest

from batchfront.frontier.curve.curve import Curve, fit_curve
from batchfront.frontier.curve.estimates import Estimate
from batchfront.frontier.curve.fit import Observation
from batchfront.frontier.curve.text import answers, estimate_text, size, unreached_answers
from batchfront.frontier.frontier import Frontier
from batchfront.frontier.warnings import outlier_warnings
from tests.batchfront.frontier.uncertainty.searches import point

SIZES = tuple(2**power for power in range(1, 11))


def curve(steps: Callable[[int], float], sizes: tuple[int, ...] = SIZES) -> Curve:
    return fit_curve(Observation(size, steps(size)) for size in sizes)


def scattered(batch_size: int) -> float:
    """45·(1 + 60/B), up and down by 5 % in turns."""
    return 45 * (1 + 60 / batch_size) * (1.05 if batch_size.bit_length() % 2 else 1 / 1.05)


NOTHING = Frontier("a/b/c", ())  # of whose points the sentences of a curve say nothing


def said(found: Curve) -> list[str]:
    return [text.replace("\u00a0", " ") for text in answers(NOTHING, found)]


def test_a_curve_that_bends_is_answered_with_numbers_and_their_intervals() -> None:
    perfect, useful, fewest = said(curve(scattered))
    assert perfect.startswith("Scaling is near-perfect up to batch size 1")
    assert perfect.endswith(": beyond it training takes over 20 % more examples than at 2.")
    assert useful.startswith("A larger batch is useful up to batch size 2")
    assert "(90 % interval 2" in useful
    assert useful.endswith(": beyond it a doubling saves less than 10 % of the steps.")
    assert fewest.startswith("Large batches level off at about 4")
    assert fewest.endswith("takes twice as many.")


def test_the_shares_asked_for_are_in_the_sentences() -> None:
    found = fit_curve((Observation(size, scattered(size)) for size in SIZES), 0.5, 0.025)
    perfect, useful, _ = answers(NOTHING, found)
    assert "over 50\u00a0% more examples" in perfect
    assert "less than 2.5\u00a0% of the steps" in useful


def test_where_near_perfect_is_measured_from_is_in_its_sentence() -> None:
    found = fit_curve((Observation(size, scattered(size)) for size in SIZES), perfect_from=4)
    perfect = said(found)[0]
    assert perfect.startswith("Scaling from batch size 4 is near-perfect up to batch size ")
    assert perfect.endswith(": beyond it training takes over 20 % more examples than at 4.")
    found = fit_curve((Observation(size, scattered(size)) for size in SIZES), perfect_from=9999)
    assert said(found)[0].startswith("How far scaling from batch size 9,999 is near-perfect cannot")


def test_where_no_flattening_is_seen_the_answer_is_a_bound() -> None:
    perfect, useful, fewest = said(curve(lambda b: 50 * scattered(b) / (1 + b / 60), SIZES[:8]))
    assert "at least; near-perfect scaling may go on beyond batch size 256." in perfect
    assert "at least; doubling may still save" in useful
    assert fewest == (
        "The fewest steps that a large batch can reach are not known: no flattening is seen up "
        "to batch size 256."
    )


def test_too_few_points_are_one_sentence_that_says_so() -> None:
    assert said(curve(scattered, (2, 4, 8))) == [
        "No curve can be drawn through these points: 3 batch sizes reached the goal, and 4 are "
        "needed."
    ]


def test_points_off_the_curve_are_named() -> None:
    found = curve(lambda b: scattered(b) * (3 if b == 512 else 1))
    (above,) = outlier_warnings(found)
    assert above == "Batch size 512 lies far above the curve, further than the others scatter."
    assert outlier_warnings(curve(scattered)) == ()
    assert outlier_warnings(replace(found, refusal="so it is")) == ()


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(64.2, 41.4, 97.0), "64 (90 % interval 41 to 97)"),
        (Estimate(1840.4, 1200.0, None), "1,840 (90 % sure: at least 1,200)"),
        (Estimate(2.64, None, 8.0), "2.6 (90 % sure: at most 8)"),
        (Estimate(2.1, None, 2.2), "2.1 (90 % sure: at most 2.2)"),
        (Estimate(41.2, None, 41.4), "41 at most"),
        (Estimate(41.4, 41.2, None), "41 at least"),
        (
            Estimate(302_440_361.0, 293_385_465.0, 3.1e11),
            "302,400,000 (90 % interval 293,400,000 to 3.1e+11)",
        ),
        (Estimate(None, 512.0, None), "512 at least"),
        (Estimate(None, None, 4.0), "4 at most"),
        (Estimate(None, None, None, reason="so it is"), "unknown"),
    ],
)
def test_an_estimate_in_words(estimate: Estimate, text: str) -> None:
    assert estimate_text(estimate).replace("\u00a0", " ") == text


def test_a_batch_size_is_a_whole_number() -> None:
    text = estimate_text(Estimate(2.64, 0.3, 8.2), size).replace("\u00a0", " ")
    assert text == "3 (90 % interval 1 to 8)"
    assert [size(value) for value in (0.02, 1840.4, 24_757.6)] == ["1", "1,840", "24,760"]
    assert [size(value) for value in (65_536, exp(log(65_536)))] == ["65,536", "65,536"]


def test_what_the_points_do_not_determine_says_why_in_one_sentence() -> None:
    none = Estimate(None, None, None, reason="either it is small, or it is large")
    _, useful, _ = said(replace(curve(scattered), useful_until=none))
    assert useful == (
        "How far a larger batch is useful cannot be told from these points: either it is small, or "
        "it is large."
    )


def test_what_did_not_reach_the_goal_is_named_with_how_many_did() -> None:
    reached, exhausted = {"reached": 3}, {"exhausted": 20}
    points = (
        point(2, [30, 40, 50], reached, purpose="points"),
        point(4, [20, 21], {"reached": 2, "exhausted": 1}, purpose="points"),
        replace(point(8, [9], {"reached": 1, "exhausted": 19}, purpose="points"), best=None),
        point(16, (), exhausted, purpose="points"),
        point(32, (), exhausted, purpose="points"),
    )
    assert list(unreached_answers(Frontier("a/b/c", points), None)) == [
        "The goal was not reached at batch sizes 8 (1 of 20 seeds did), 16 and 32 (none of 20 "
        "seeds did); a batch size reaches it where more than half of its seeds do.",
        "Not all seeds reached the goal at batch size 4 (2 of 3 seeds did); the others count as "
        "the slowest.",
    ]


def test_of_a_search_what_is_not_done_or_failed_has_not_missed_the_goal() -> None:
    points = (
        point(2, [30], {"reached": 1, "capped": 2}),
        point(4, (), {"stalled": 2, "open": 1}),
        point(8, (), {"failed": 3}),
        point(16, (), {"failed": 1, "stalled": 2}),
        point(32),
    )
    assert list(unreached_answers(Frontier("a/b/c", points), None)) == [
        "The goal was not reached at batch size 16 (2 stalled, 1 failed).",
        "Nothing is known of batch size 8, where every trial ended in an error.",
    ]


def test_a_question_that_the_points_leave_open_is_said_to_be_open() -> None:
    flat = curve(lambda b: 45.0 * (1.3 if b.bit_length() % 2 else 1 / 1.3), SIZES[:5])
    assert all("NaN" not in text and "None" not in text for text in said(flat))
