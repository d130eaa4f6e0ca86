"""What the page promises, seen in a real browser."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import eventually

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]


def everywhere(test: Callable[..., None]) -> Callable[..., None]:
    """Both pages, on both screens, in both schemes."""
    for name, values in {
        "scheme": ["light", "dark"],
        "screen": ["phone", "desktop"],
        "which": ["page", "odd_page"],
    }.items():
        test = pytest.mark.parametrize(name, values)(test)
    return test


# Every visible text of a figure as its words, kind and box, beside the figure's own box.
TEXTS = """() => [...document.querySelectorAll('.figure')].map(figure => {
  const sides = b => [b.left, b.top, b.right, b.bottom]
  const box = e => sides(e.getBoundingClientRect())
  const kind = e => e.closest('.xtick') ? 'x' : e.closest('.ytick') ? 'y' :
    e.closest('.textpoint') ? 'value' : e.closest('.shape-label') ? 'line' :
    e.closest('.legend') ? 'legend' : 'other'
  const texts = [...figure.querySelectorAll('.main-svg text')]
    .filter(e => e.textContent && getComputedStyle(e).visibility !== 'hidden')
    .map(e => ({words: e.textContent, kind: kind(e), box: box(e)}))
  return {name: figure.getAttribute('aria-label'), box: box(figure), texts}
})"""


@dataclass(frozen=True)
class Seen:
    """What one visit found; `figures` holds every choice of study and curves."""

    file: Path
    heard: list[str]
    asked: list[str]
    attacked: object
    sideways: bool
    scrolled: list[str]
    figures: list[dict[str, Any]]


@pytest.fixture(scope="module")
def looks() -> dict[tuple[Path, str, str], Seen]:
    """A visit to each page, on each screen in each scheme, is made once."""
    return {}


@pytest.fixture
def seen(
    which: str,
    screen: str,
    scheme: str,
    visit: Visit,
    looks: dict[tuple[Path, str, str], Seen],
    request: pytest.FixtureRequest,
) -> Seen:
    file = request.getfixturevalue(which)
    if (file, screen, scheme) not in looks:
        tab = visit(file, screen, scheme)
        looks[file, screen, scheme] = Seen(
            file,
            tab.heard,
            tab.asked,
            tab.evaluate("window.pwned"),
            tab.evaluate("document.documentElement.scrollWidth > innerWidth"),
            tab.evaluate(
                "[...document.querySelectorAll('.scroll')].map(e => getComputedStyle(e).overflowX)"
            ),
            _all_choices(tab),
        )
    return looks[file, screen, scheme]


def _all_choices(tab: Any) -> list[dict[str, Any]]:
    found = tab.evaluate(TEXTS)
    for select in tab.query_selector_all("select"):
        for option in select.query_selector_all("option"):
            select.select_option(option.get_attribute("value"))
            found += tab.evaluate(TEXTS)
    return list({figure["name"]: figure for figure in found}.values())


@everywhere
def test_it_opens_without_an_error_and_asks_for_nothing_else(seen: Seen) -> None:
    assert seen.heard == []
    assert seen.asked == [seen.file.as_uri()]
    assert seen.attacked is None


@everywhere
def test_the_page_never_scrolls_sideways_but_its_tables_may(seen: Seen) -> None:
    assert not seen.sideways
    assert set(seen.scrolled) == {"auto"}


@everywhere
def test_every_figure_is_drawn_and_named(seen: Seen) -> None:
    assert seen.figures
    for figure in seen.figures:
        left, top, right, bottom = figure["box"]
        assert figure["name"]
        assert figure["texts"]
        assert right - left > 180
        assert bottom - top > 180


@everywhere
def test_no_text_of_a_figure_is_cut_off(seen: Seen) -> None:
    for figure in seen.figures:
        left, top, right, bottom = figure["box"]
        for text in figure["texts"]:
            a, b, c, d = text["box"]
            inside = a >= left - 1 and b >= top - 1 and c <= right + 1 and d <= bottom + 1
            assert inside, (figure["name"], text)


@everywhere
def test_values_and_marks_of_one_kind_do_not_overlap(seen: Seen) -> None:
    for figure in seen.figures:
        for kind in ("x", "y", "value", "legend"):
            texts = [text for text in figure["texts"] if text["kind"] == kind]
            for text, other in combinations(texts, 2):
                assert not _overlap(text["box"], other["box"]), (figure["name"], text, other)


@everywhere
def test_no_name_of_a_line_lies_on_a_value(seen: Seen) -> None:
    for figure in seen.figures:
        values, names = (
            [text for text in figure["texts"] if text["kind"] == kind] for kind in ("value", "line")
        )
        for value, name in product(values, names):
            assert not _overlap(value["box"], name["box"]), (figure["name"], value, name)


def _wait_for(tab: Any, condition: str) -> None:
    """Playwright's own waiting evaluates strings in the page, which the page forbids."""
    eventually(lambda: tab.evaluate(condition), condition)


def _overlap(a: list[float], b: list[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def test_every_value_is_readable_beside_its_point(visit: Visit, page: Path) -> None:
    tab = visit(page, "phone")
    shown = [t["words"] for t in tab.evaluate(TEXTS)[0]["texts"] if t["kind"] == "value"]
    cells = tab.locator("[aria-labelledby=w1-frontier] tbody td:nth-child(2)").all_inner_texts()
    assert shown == cells


def test_choosing_a_study_changes_both_figures(visit: Visit, page: Path) -> None:
    tab = visit(page)
    names = "[...document.querySelectorAll('.figure.study')].map(f => f.getAttribute('aria-label'))"
    curves = "document.querySelectorAll('.figure.study')[1].data.flatMap(t => t.x).length"
    before, points = tab.evaluate(names), tab.evaluate(curves)
    assert all(name.endswith("batch size 64") for name in before)
    tab.get_by_role("combobox", name="Study").select_option("512")
    after = tab.evaluate(names)
    assert all(name.endswith("batch size 512") for name in after)
    assert tab.evaluate(curves) != points


def test_a_study_can_be_chosen_with_the_keyboard(visit: Visit, page: Path) -> None:
    tab = visit(page)
    tab.get_by_role("combobox", name="Study").focus()
    tab.keyboard.press("ArrowDown")
    label = tab.locator(".figure.study").first.get_attribute("aria-label")
    assert label.endswith("batch size 128")


def test_the_training_loss_is_the_other_view_of_the_curves(visit: Visit, page: Path) -> None:
    tab = visit(page)
    curves = tab.locator(".figure.study").nth(1)
    assert "goal < 0.03" in curves.inner_text()
    tab.locator("select[name=curves]").select_option("loss")
    assert "training loss" in curves.get_attribute("aria-label")
    assert "goal" not in curves.inner_text()


def test_one_workloads_choice_leaves_the_others_alone(visit: Visit, odd_page: Path) -> None:
    tab = visit(odd_page)
    names = "[...document.querySelectorAll('.figure.study')].map(f => f.getAttribute('aria-label'))"
    before = tab.evaluate(names)
    tab.locator("select[name=study]").first.select_option("1024")
    after = tab.evaluate(names)
    assert after[:2] != before[:2]
    assert after[2:] == before[2:]


def test_figures_follow_the_colour_scheme_while_the_page_is_open(visit: Visit, page: Path) -> None:
    tab = visit(page, scheme="light")
    ink = "getComputedStyle(document.querySelector('.textpoint text')).fill"
    line = "getComputedStyle(document.querySelector('.js-line')).stroke"
    light = tab.evaluate(ink), tab.evaluate(line)
    tab.emulate_media(color_scheme="dark")
    _wait_for(tab, f"{ink} === 'rgb(232, 235, 239)'")
    assert tab.evaluate(line) != light[1]


def test_paper_is_light_whatever_the_screen_is(visit: Visit, page: Path) -> None:
    tab = visit(page, scheme="dark")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    ink = "getComputedStyle(document.querySelector('.textpoint text')).fill"
    assert tab.evaluate(ink) == "rgb(27, 31, 36)"
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate(ink) == "rgb(232, 235, 239)"


def test_figures_fill_a_window_that_changes_its_width(visit: Visit, page: Path) -> None:
    tab = visit(page, "desktop")
    tab.set_viewport_size({"width": 320, "height": 844})
    _wait_for(tab, "document.querySelector('.main-svg').getBoundingClientRect().width < 320")
    # The figures are drawn anew one after another, so the page is narrow only after the last.
    _wait_for(tab, "document.documentElement.scrollWidth <= innerWidth")


def test_a_figure_can_be_kept_as_a_png(visit: Visit, page: Path) -> None:
    tab = visit(page)
    tab.locator(".figure").first.hover()
    with tab.expect_download() as download:
        tab.locator(".modebar-btn[data-title*=PNG]").first.click()
    assert download.value.suggested_filename.startswith("Steps-to-target")
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


def test_the_headings_form_one_tree(visit: Visit, page: Path) -> None:
    tab = visit(page)
    levels = tab.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))


def test_the_contents_lead_to_each_section(page: Path, visit: Visit) -> None:
    tab = visit(page)
    links = tab.locator("nav.sections a")
    assert links.nth(0).inner_text() == "Steps to target"
    assert links.nth(1).inner_text() == "Frontier"
    for link in links.all():
        assert tab.locator(link.get_attribute("href")).count() == 1
    links.filter(has_text="How to reproduce").click()
    heading = tab.locator("h3", has_text="How to reproduce")
    eventually(lambda: 0 <= heading.bounding_box()["y"] < 900)


def test_steps_of_one_goal_are_drawn_as_they_are_and_normalized_by_choice(
    odd_page: Path, visit: Visit
) -> None:
    tab = visit(odd_page)
    figure = tab.locator(".compared .figure")
    figure.scroll_into_view_if_needed()
    eventually(lambda: "normalized" not in figure.get_attribute("aria-label").lower())
    tab.locator("select[name=scale]").select_option("normalized")
    eventually(lambda: figure.get_attribute("aria-label").startswith("Normalized"))
    assert tab.heard == []


def test_the_trials_of_the_chosen_study_are_a_file(page: Path, visit: Visit) -> None:
    tab = visit(page)
    tab.locator("select[name=study]").select_option("128")
    with tab.expect_download() as download:
        tab.locator("[data-trials] a").nth(1).click()
    assert download.value.suggested_filename.endswith("-trials-128.json")
    rows = json.loads(Path(download.value.path()).read_text())
    assert [row["trial"] for row in rows] == list(range(8))
    with tab.expect_download() as download:
        tab.locator("[data-trials] a").nth(0).click()
    assert len(Path(download.value.path()).read_text().splitlines()) == 9
    with tab.expect_download() as download:
        tab.locator("a[download$='-frontier.csv']").click()
    assert Path(download.value.path()).read_text().startswith("batch size,steps,")
    assert tab.heard == []
