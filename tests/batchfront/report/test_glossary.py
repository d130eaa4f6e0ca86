"""Words are explained where they first stand, and nowhere else."""

import re
from pathlib import Path
from typing import Any

import pytest

from batchfront.report.glossary import _ENTRIES, explained, glossary


def opened(html: str) -> list[str]:
    return re.findall(r'popovertarget="([^"]*)"', html)


def test_every_entry_that_pages_link_is_in_the_glossary() -> None:
    assert set(_ENTRIES.values()) <= set(glossary())
    names = [word.name for word in glossary().values()]
    assert len(set(names)) == len(names)


def test_a_word_opens_its_entry_where_it_first_stands() -> None:
    html, words = explained("<p>Winners, and a winner. The frontier.</p><p>A frontier</p>")
    assert opened(html) == ["word-winner", "word-frontier"]
    assert html.index("Winners</button>") < html.index("a winner.")
    assert [word.term for word in words] == ["winner", "frontier"]


def test_names_links_headings_and_tables_are_left_alone() -> None:
    html = (
        "<h2>a/winner/b</h2><a href='#x'>winner</a><code>--trials</code>"
        "<table><td>trial</td></table>"
        "<svg><path d=''/></svg><p>my-winner, a/trial/c and trial_1, frontiers</p>"
    )
    assert explained(html) == (html, ())


def test_no_line_ends_between_a_word_and_its_comma_or_bracket() -> None:
    html, _ = explained("<p>a search space: a winner</p>")
    assert '<span class="kept"><dfn><button' in html
    assert "search space</button></dfn>:</span> a <dfn>" in html
    html, _ = explained("<p>one (winner of all)</p>")
    assert html.startswith('<p>one <span class="kept">(<dfn><button')
    assert html.endswith("winner</button></dfn></span> of all)</p>")


def test_an_empty_element_does_not_hide_what_follows() -> None:
    html, _ = explained('<a href="#"/>x<br>y<p>winner</p>')
    assert opened(html) == ["word-winner"]


def test_a_page_explains_each_word_once_and_lists_it(page: Path) -> None:
    text = page.read_text()
    targets = opened(text)
    assert {"word-winner", "word-perfect-scaling", "word-trial"} <= set(targets)
    assert len(set(targets)) == len(targets)
    assert sorted(targets) == sorted(re.findall(r'<div class="meaning" id="([^"]*)" popover', text))
    listed = text.partition('<h2 id="words">')[2].partition("<h3>")[0]
    assert listed.count("<dt>") == len(targets)


@pytest.mark.browser
def test_a_click_or_the_keyboard_opens_it_and_escape_closes_it(page: Path, visit: Any) -> None:
    tab = visit(page)
    word = tab.locator("button.word").first
    meaning = tab.locator(f"#{word.get_attribute('popovertarget')}")
    assert not meaning.is_visible()
    word.focus()
    tab.keyboard.press("Enter")
    assert meaning.is_visible()
    tab.keyboard.press("Escape")
    assert not meaning.is_visible()
    assert tab.heard == []
