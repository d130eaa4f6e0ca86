"""What the file promises, read as a file."""

import re
import subprocess
import sys
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path

import plotly.graph_objects as go
import pytest

from batchfront.errors import BatchfrontError, StorageError, UsageError
from batchfront.frontier.frontier import load_frontier
from batchfront.report.files import write_report
from batchfront.report.html import DASHBOARD
from batchfront.report.text import OUTCOME_STYLES
from batchfront.store.commands import command
from batchfront.store.url import Storage
from batchfront.vocabulary import Outcome
from batchfront.whole_file import require_place
from tests.batchfront.report.conftest import EVIL, NO_WINNER, WORKLOAD
from tests.packed import figures_of


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


class _Loads(HTMLParser):
    """Every address that an element would load, and every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        wanted = ("src", "href", "data", "srcset", "action")
        self.addresses += [value or "" for name, value in attrs if name in wanted]


def _loads(page: Path) -> _Loads:
    parser = _Loads()
    parser.feed(_text(page))
    return parser


def test_the_page_names_nothing_outside_itself(page: Path) -> None:
    assert all(address.startswith(("#", "data:")) for address in _loads(page).addresses)
    head = _text(page).partition("</head>")[0]
    assert "default-src 'none'" in head
    assert not re.search(r"https?:|@import|url\(", head)


@pytest.mark.parametrize("which", ["page", "odd_page"])
def test_the_page_is_small(which: str, request: pytest.FixtureRequest) -> None:
    assert request.getfixturevalue(which).stat().st_size < 1_000_000


def test_the_page_has_a_title_a_language_a_viewport_and_words_without_scripts(page: Path) -> None:
    text = _text(page)
    assert '<html lang="en">' in text
    assert "width=device-width" in text
    assert f"<title>{WORKLOAD}:" in text
    assert "<noscript>" in text


def test_every_point_of_the_frontier_stands_in_the_table(page: Path, raced: Storage) -> None:
    table = _text(page).partition('-frontier" tabindex')[2].partition("<tbody>")[2]
    table = table.partition("</tbody>")[0]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in table.split("</tr>")[:-1]]
    points = load_frontier(raced, WORKLOAD).points
    assert [row[0] for row in rows] == [f"{point.batch_size:,}" for point in points]
    assert [row[1] for row in rows] == [f"{point.steps:,}" for point in points]
    assert [row[3] for row in rows] == [f"{point.examples:,}" for point in points]
    assert rows[0][4] == "1.00"


def test_the_steps_figure_draws_the_frontier(page: Path, raced: Storage) -> None:
    trace = figures_of(_text(page))["w1/steps"]["data"][0]
    points = load_frontier(raced, WORKLOAD).points
    assert trace["x"] == [point.batch_size for point in points]
    assert trace["y"] == [point.steps for point in points]


def test_perfect_scaling_needs_the_examples_of_the_smallest_batch(page: Path) -> None:
    (line,) = figures_of(_text(page))["w1/steps"]["layout"]["shapes"]
    assert line["x0"] * line["y0"] == pytest.approx(line["x1"] * line["y1"])


def test_momentum_is_drawn_as_its_distance_to_one(page: Path, raced: Storage) -> None:
    panel = figures_of(_text(page))["w1/winner/1"]
    points = load_frontier(raced, WORKLOAD).points
    wanted = [1 - float(point.params["momentum"]) for point in points]
    assert panel["data"][-1]["y"] == pytest.approx(wanted, rel=1e-3)
    assert "<h4>1 − momentum</h4>" in _text(page)


def test_the_heuristics_start_at_the_smallest_batch_and_grow_as_named(page: Path) -> None:
    *_, linear, root, winners = figures_of(_text(page))["w1/winner/0"]["data"]
    assert linear["y"][0] == root["y"][0] == winners["y"][0]
    assert linear["y"][1] / linear["y"][0] == pytest.approx(512 / 64, rel=1e-3)
    assert root["y"][1] / root["y"][0] == pytest.approx((512 / 64) ** 0.5, rel=1e-3)


def test_every_trial_of_a_study_is_drawn_once(page: Path) -> None:
    for batch in (64, 128, 512):
        traces = figures_of(_text(page))[f"w1/{batch}/trials"]["data"]
        assert sum(len(trace["x"]) for trace in traces) == 8


@pytest.mark.parametrize("which", ["page", "odd_page"])
def test_plotly_accepts_every_figure(which: str, request: pytest.FixtureRequest) -> None:
    for figure in figures_of(_text(request.getfixturevalue(which))).values():
        go.Figure(data=figure["data"], layout=figure["layout"])


@pytest.mark.parametrize("which", ["page", "odd_page"])
def test_every_place_on_the_page_has_its_figures(
    which: str, request: pytest.FixtureRequest
) -> None:
    page = request.getfixturevalue(which)
    figures = figures_of(_text(page))
    for place in re.findall(r'data-figure="([^"]+)"', _text(page)):
        if "{" not in place:
            assert place in figures
    studies = {key.rpartition("/")[0] for key in figures if key.endswith("/trials")}
    assert all(f"{study}/{kind}" in figures for study in studies for kind in ("goal", "loss"))


def test_a_hostile_name_stays_text(odd_page: Path) -> None:
    found = _loads(odd_page)
    assert found.tags.count("script") == 3  # Plotly, the figures and what draws them
    assert "img" not in found.tags
    assert "i" not in found.tags
    assert EVIL in unescape(_text(odd_page))


def test_several_workloads_stand_in_an_index(odd_page: Path) -> None:
    index = _text(odd_page).partition("<nav")[2].partition("</nav>")[0]
    assert index.count("<li>") == 6


def test_trials_are_linked_only_to_a_dashboard_that_was_named_and_how_to_open_it_is_said(
    page: Path, raced: Storage, tmp_path: Path
) -> None:
    linked = write_report(raced, (), tmp_path / "linked.html", DASHBOARD)
    addresses = [one for one in _loads(linked).addresses if one.startswith(DASHBOARD)]
    assert len(addresses) == 3
    opens = escape(command(raced, "dashboard").strip("`"))
    for text in (_text(page), _text(linked)):
        assert f"<code>{opens}</code> opens" in text
    assert f"--dashboard {DASHBOARD}" in _text(page)
    assert f"the Optuna dashboard at <code>{DASHBOARD}</code>" in _text(linked)


def test_only_the_named_workloads_are_written(odd: Storage, tmp_path: Path) -> None:
    text = _text(write_report(odd, ["no/meta/parameters"], tmp_path / "one.html"))
    assert "single/batch/size" not in text
    assert '<nav aria-label="workloads"' not in text


def test_what_is_missing_or_mixed_is_said(odd_page: Path) -> None:
    text = re.sub(r"</?(?:dfn|button)[^>]*>", "", _text(odd_page))
    assert "5 trials are not done yet" in text
    assert "No winner yet at batch size 16." in text
    assert "different versions of torch: 2.0 and 2.1" in text
    assert "lies at an edge of the search space" in text


def test_a_workload_without_a_winner_says_so(odd_page: Path) -> None:
    section = _text(odd_page).partition(f">{NO_WINNER}</h2>")[2].partition("</section>")[0]
    assert "No trial has reached the goal yet." in section
    assert "Steps to target</h3>" not in section


def test_every_outcome_of_training_is_explained_in_its_order() -> None:
    assert tuple(style.name for style in OUTCOME_STYLES) == (*Outcome, "open")
    assert len({style.symbol for style in OUTCOME_STYLES}) == 8
    assert len({style.color for style in OUTCOME_STYLES}) == 8


def test_the_page_is_written_without_loading_torch(raced: Storage, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from batchfront.report.files import write_report\n"
        "from batchfront.whole_file import require_place\n"
        "from batchfront.store.url import open_storage\n"
        "write_report(open_storage(sys.argv[1]), (), Path(sys.argv[2]))\n"
        "assert 'torch' not in sys.modules"
    )
    url, file = str(raced.url), str(tmp_path / "report.html")
    subprocess.run([sys.executable, "-c", code, url, file], check=True)


def test_an_older_page_is_replaced_and_nothing_else_is_left(raced: Storage, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text("older")
    assert write_report(raced, [WORKLOAD], file) == file
    assert _text(file).startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [file]


def test_a_failed_write_keeps_the_older_page(
    raced: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "report.html"
    file.write_text("older")

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(BatchfrontError, match=r"report\.html: can't be written: No space left"):
        write_report(raced, (), file)
    assert file.read_text() == "older"
    assert list(tmp_path.iterdir()) == [file]


def test_a_path_in_no_folder_is_refused(raced: Storage, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the folder .*nowhere does not exist"):
        write_report(raced, (), tmp_path / "nowhere" / "report.html")


def test_a_folder_is_refused_where_a_file_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder; name a file"):
        require_place(tmp_path, "--report")


def test_an_unknown_workload_is_refused_with_those_there_are(
    raced: Storage, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"no studies of 'digits/mlp/sgd' .*there are: {WORKLOAD}"):
        write_report(raced, [WORKLOAD, "digits/mlp/sgd"], tmp_path / "report.html")


def test_a_database_without_studies_is_refused(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="holds no studies: `batchfront run"):
        write_report(storage, (), tmp_path / "report.html")
