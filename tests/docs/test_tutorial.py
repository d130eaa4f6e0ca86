"""The tutorial's script, sweep file and commands lead to the batch size that it ends with."""

import re
from pathlib import Path

import pytest

from tests.docs import session, tutorial
from tests.docs.pages import PAGES


@pytest.mark.slow
def test_it_prints_what_it_shows_and_recommends_what_it_says(tmp_path: Path) -> None:
    shown, printed = PAGES[tutorial.PAGE], session.played(tutorial.PAGE, tmp_path)
    # On another kind of processor a run may take a step more, and a trial be drawn elsewhere.
    assert _without_numbers(printed) == _without_numbers(shown), "python -m tests.docs.tutorial"
    assert "with batch size 128:" in printed


def _without_numbers(text: str) -> str:
    """A text with its numbers alike, and with them intervals and counts of outcomes, and what
    stands between the columns of a table."""
    for pattern in (r"\([^()]*\)", r"(\d+ [a-z]+, )*\d+ (capped|stalled)\b", r"\d[\d,.]*"):
        text = re.sub(pattern, "0", text)
    return re.sub(r"[─\s]+", " ", text)
