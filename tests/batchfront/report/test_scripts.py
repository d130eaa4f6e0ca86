"""The Plotly that the page brings along."""

import re
from pathlib import Path

import pytest
from plotly.offline.offline import get_plotlyjs_version

from batchfront.report.scripts import PLOTLY, asset, inline_scripts
from tests.packed import figures_of, unpacked


def banner() -> str:
    return asset(PLOTLY).partition("*/")[0]


def test_it_is_the_one_with_which_notebooks_draw() -> None:
    version = get_plotlyjs_version()
    assert f"plotly.js (basic - minified) v{version}" in banner(), (
        f"Plotly's own JavaScript is {version} now: put plotly-basic.min.js of "
        f"plotly.js-basic-dist-min@{version} and its LICENSE into service/batchfront/report/vendor"
    )


def test_it_comes_with_its_licence_and_the_page_says_whose_it_is() -> None:
    assert asset("vendor/plotly-basic.LICENSE").startswith("MIT License")
    assert "Copyright 2012-" in banner()
    said = r"<!-- plotly\.js .*; Copyright 2012-\d+, Plotly, Inc; .*MIT license -->"
    assert re.search(said, inline_scripts().html)


def test_the_page_carries_it_whole() -> None:
    assert unpacked(inline_scripts().html, "plotly") == asset(PLOTLY)


@pytest.mark.parametrize("which", ["page", "odd_page"])
def test_it_can_draw_whatever_the_page_has(which: str, request: pytest.FixtureRequest) -> None:
    page: Path = request.getfixturevalue(which)
    figures = figures_of(page.read_text(encoding="utf-8"))
    kinds = {trace["type"] for figure in figures.values() for trace in figure["data"]}
    assert kinds <= {"scatter", "bar", "pie"}
