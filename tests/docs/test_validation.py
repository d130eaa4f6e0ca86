"""The page of curves through published numbers says what the curves are now."""

from batchfront.frontier.curve.forms import Form
from tests.docs import validation


def test_the_page_is_what_the_numbers_make_of_it_now() -> None:
    made = validation.page()
    assert validation.PAGE.read_text() == made, "make it anew: python -m tests.docs.validation"


def test_a_critical_batch_size_follows_from_their_curve_as_they_define_it() -> None:
    """20 % more steps than perfect scaling from 256: a + b/B = 1.2 · 256/B · (a + b/256)."""
    for model in validation.models():
        curve = validation.curve_of(model)
        (fit,) = [one for one in curve.fits if one.form is Form.TWO_PARAMETERS]
        size = 1.2 * 256 + 0.2 * fit.half_efficiency
        assert 0.9 < size / model.critical < 1.1, model.name
