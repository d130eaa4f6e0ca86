"""Figures that stand by themselves: in a notebook, and as files for a paper."""

import asyncio
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import batchfront
from batchfront.errors import BatchfrontError, UsageError
from batchfront.frontier.frontier import load_frontier
from batchfront.frontier.reruns import load_confirmations
from batchfront.report.figures import _stems, for_a_column, write_figures
from batchfront.store.url import Storage
from tests.batchfront.report.conftest import NO_WINNER, WHOLE
from tests.waiting import eventually

needs_chromium = pytest.mark.skipif(
    not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    reason="no Chromium is on the path",
)
quiet = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def test_a_frontier_has_its_figures_by_name(odd: Storage) -> None:
    found = batchfront.figures(load_frontier(odd, WHOLE), load_confirmations(odd, WHOLE))
    rates = ["learning_rate", "momentum", "effective_learning_rate", "label_smoothing"]
    assert list(found) == ["steps", *rates, "certainty"]
    drawn = [trace.name for trace in found["steps"].data if trace.showlegend]
    again = "winner run again: median and range"
    perfect, useful = drawn[2:4]  # where the curve leaves a regime
    assert drawn == ["90 % interval", "fitted curve", perfect, useful, again, "fastest trial"]
    assert perfect.startswith("near-perfect until ")
    assert useful.startswith("useful up to ")


def test_no_colour_needs_a_page(odd: Storage) -> None:
    for figure in batchfront.figures(load_frontier(odd, WHOLE)).values():
        assert "var(" not in json.dumps(figure.to_plotly_json(), default=list)
        assert figure.layout.paper_bgcolor == "#ffffff"


def test_without_a_winner_there_are_none(odd: Storage) -> None:
    assert batchfront.figures(load_frontier(odd, NO_WINNER)) == {}


def test_a_column_is_three_and_a_half_inches_without_words_among_the_data(odd: Storage) -> None:
    figure = batchfront.figures(load_frontier(odd, WHOLE))["steps"]
    narrow = for_a_column(figure)
    assert narrow.layout.width == 3.5 * 96
    assert all("text" not in (trace.mode or "") for trace in narrow.data)
    assert "text" in figure.data[-1].mode  # the one given is left as it was


@needs_chromium
@quiet
@pytest.mark.slow
def test_each_is_written_as_a_file_and_no_browser_is_left(raced: Storage, tmp_path: Path) -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}

    def left() -> list[psutil.Process]:
        found = []
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # which has gone while it was asked for its name
                if process.pid not in before and "chrom" in process.name():
                    found.append(process)
        return found

    files = write_figures(raced, (), tmp_path / "figures", "svg")
    assert [file.name for file in files] == [
        "digits-mlp-momentum-steps.svg",
        "digits-mlp-momentum-learning_rate.svg",
        "digits-mlp-momentum-momentum.svg",
        "digits-mlp-momentum-effective_learning_rate.svg",
    ]
    for file in files:
        text = file.read_text()
        assert text.startswith("<svg")
        assert 'width="336"' in text
        assert "batch size" in text
    eventually(lambda: not left(), "a browser is left")


def test_without_a_chromium_that_is_said_in_one_line(
    raced: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "nothing"))
    with pytest.raises(BatchfrontError, match="none is on the path; install one, or name it in"):
        write_figures(raced, (), tmp_path / "figures")


def test_a_notebook_whose_event_loop_runs_is_answered_alike(
    raced: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "nothing"))

    async def cell() -> None:
        write_figures(raced, (), tmp_path / "figures")

    # Not in this thread, where the browser of other tests has its loop.
    with ThreadPoolExecutor(1) as notebook, pytest.raises(BatchfrontError, match="on the path"):
        notebook.submit(lambda: asyncio.run(cell())).result()


def test_a_file_is_no_folder(raced: Storage, tmp_path: Path) -> None:
    (tmp_path / "figures").write_text("")
    with pytest.raises(UsageError, match="figures: is a file; name a folder"):
        write_figures(raced, (), tmp_path / "figures")


def test_where_nothing_was_reached_there_is_nothing_to_draw(
    storage: Storage, tmp_path: Path
) -> None:
    with pytest.raises(BatchfrontError, match="nothing to draw"):
        write_figures(storage, (), tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


def test_each_figure_has_a_file_of_its_own(raced: Storage) -> None:
    alike = [("a/b-c/d", "steps"), ("a-b/c/d", "steps"), ("A/b/c/d", "steps"), ("é" * 300, "steps")]
    plain = [("a/b/c", "steps"), ("a/b/c", "lr"), ("compared",)]
    stems = _stems([*alike, *plain])
    assert [stems[of] for of in plain] == ["a-b-c-steps", "a-b-c-lr", "compared"]
    assert len({stem.casefold() for stem in stems.values()}) == len(alike) + len(plain)
    assert all(len(f"{stem}.svg".encode()) <= 255 for stem in stems.values())
    assert stems == _stems([*plain, *reversed(alike)])


class Drawing:
    """Stands for Kaleido: draws every figure but the second."""

    def __init__(self, **_: object) -> None:
        self.asked = 0

    async def __aenter__(self) -> "Drawing":
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def calc_fig(self, figure: Any, opts: dict[str, Any]) -> bytes:
        self.asked += 1
        if self.asked == 2:
            raise RuntimeError("the page\nhas crashed")
        return b"<svg"


def test_what_could_not_be_drawn_is_an_error_that_names_it_and_the_others_are_written(
    odd: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kaleido.Kaleido", Drawing)
    wrong = r"figure .*learning_rate\.svg can't be drawn: RuntimeError: the page has crashed"
    with pytest.raises(BatchfrontError, match=wrong) as refused:
        write_figures(odd, (WHOLE,), tmp_path / "figures")
    assert "steps.svg" not in str(refused.value)
    stem = WHOLE.replace("/", "-")
    there = {path.name for path in (tmp_path / "figures").iterdir()}
    assert f"{stem}-steps.svg" in there
    assert f"{stem}-learning_rate.svg" not in there
