"""Each trial on the page leads to its own page in a real Optuna dashboard."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchfront.frontier.frontier import Point, load_frontier
from batchfront.report.files import write_report
from batchfront.report.web.dashboard import dashboard
from batchfront.report.web.guards import guarded
from batchfront.store.url import Storage
from tests.batchfront.report.conftest import WORKLOAD
from tests.web import served

pytestmark = pytest.mark.browser


@pytest.fixture
def address(raced: Storage) -> Iterator[str]:
    with served(guarded(dashboard(raced), "127.0.0.1")) as found:
        yield found


@pytest.fixture
def tab(raced: Storage, address: str, tmp_path: Path, opened: Any) -> Any:
    file = write_report(raced, (), tmp_path / "report.html", address)
    opened.goto(file.as_uri())
    return opened


@pytest.fixture
def point(raced: Storage) -> Point:
    """The second batch size: its study's id and its winner differ from the first's."""
    return load_frontier(raced, WORKLOAD).points[1]


def trial_page(tab: Any, click: Any) -> Any:
    with tab.context.expect_page() as arrived:
        click()
    return arrived.value


def address_of(address: str, point: Point) -> str:
    number = point.best.number if point.best else None
    return f"{address}dashboard/studies/{point.study.id}/trials?numbers={number}"


def shows(page: Any, point: Point) -> None:
    """The dashboard's own page of the winner, and of no other trial."""
    number = point.best.number if point.best else None
    page.get_by_text(f"Trial {number} (trial_id=").first.wait_for()
    page.get_by_text(str(point.params["learning_rate"])).first.wait_for()


def test_the_winner_in_the_table(tab: Any, address: str, point: Point) -> None:
    row = tab.locator("[aria-labelledby=w1-frontier] tbody tr").nth(1)
    page = trial_page(tab, row.locator("a").click)
    assert page.url == address_of(address, point)
    shows(page, point)
    assert tab.heard == []


def test_a_row_of_the_chosen_study(tab: Any, address: str, point: Point) -> None:
    tab.get_by_role("combobox", name="Study").select_option(str(point.batch_size))
    rows = tab.locator("[data-table] tbody tr")
    assert rows.count() == 8
    page = trial_page(tab, rows.first.locator("a").click)
    assert page.url == address_of(address, point)


def test_a_point_of_the_curve(tab: Any, address: str, point: Point) -> None:
    mark = tab.locator(".figure.tall .points path").nth(1)
    tab.locator(".figure.tall").scroll_into_view_if_needed()
    box = mark.bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.locator(".figure.over-trial").wait_for()
    page = trial_page(tab, lambda: (tab.mouse.down(), tab.mouse.up()))
    assert page.url == address_of(address, point)
