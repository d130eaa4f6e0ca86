"""The report of many workloads: an index with a page each, in a folder."""

import re
from collections.abc import Sequence
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from sqlalchemy import update

from batchfront.report import files
from batchfront.report.files import TOGETHER, write_report
from batchfront.store.database import Storage
from batchfront.store.schema import studies
from tests.batchfront.report.conftest import EVIL
from tests.batchfront.report.rows import add_study

STEPS = {2: 3000, 4: 1500, 8: 800, 16: 500, 32: 400}


def add(storage: Storage, workload: str, scale: int = 1) -> None:
    """A workload whose curve is one."""
    for batch_size, steps in STEPS.items():
        taken = scale * steps
        params = {"learning_rate": 0.1, "momentum": 0.9}
        trial: dict[str, Any] = {"params": params, "outcome": "reached", "steps": taken}
        add_study(storage, workload, batch_size, [trial, {}])


def pages_of(index: Path) -> dict[str, Path]:
    """Name of a workload to the file that the index leads to."""
    rows = re.findall(r'<th scope="row"[^>]*><a href="([^"]+)">([^<]+)</a>', index.read_text())
    return {unescape(name): index.parent / unquote(unescape(link)) for link, name in rows}


def body(page: Path) -> str:
    """What a page says, without how its scripts come and when it was made."""
    text = page.read_text().partition("<noscript>")[2]
    return re.sub(
        r"(<!-- plotly.js [^>]*-->\s*)?<script( src=[^>]*| [^>]*id=\"plotly\")?>.*?</script>",
        "",
        text,
        flags=re.DOTALL,
    )


@pytest.fixture
def names(storage: Storage) -> list[str]:
    """More workloads than one page holds; two whose files a plain name would not tell apart, one
    of a long name, one that is hostile."""
    plain = [f"digits/mlp_{n:02}/sgd" for n in range(TOGETHER - 3)]
    found = sorted([*plain, "a/b-c/d", "a-b/c/d", "n" * 300, EVIL])
    for name in found:
        add(storage, name)
    return found


def test_an_index_with_a_page_for_each_of_many_workloads(
    storage: Storage, names: Sequence[str], tmp_path: Path
) -> None:
    index = write_report(storage, (), tmp_path / "all #1.html")
    assert index == tmp_path / "all #1.html"
    pages = pages_of(index)
    assert list(pages) == names
    assert len(set(pages.values())) == len(names)
    assert {page.parent for page in pages.values()} == {tmp_path / "all #1_files"}
    for name, page in pages.items():
        assert f"<title>{name}:" in unescape(page.read_text())
        back = re.search(r'<nav><a href="([^"]+)">All workloads</a></nav>', page.read_text())
        assert back
        assert (page.parent / unquote(back[1])).resolve() == index


def test_the_index_says_what_was_asked_and_how_far_it_is(
    storage: Storage, names: Sequence[str], tmp_path: Path
) -> None:
    text = write_report(storage, (), tmp_path / "report.html").read_text()
    row = re.search(r'<tr><th scope="row"[^>]*><a [^>]*>a/b-c/d</a>.*?</tr>', text)
    assert row
    goal, useful, perfect, done, state, notes = re.findall(r"<td[^>]*>(.*?)</td>", row[0])
    assert "error rate" in goal
    assert useful != "–"
    assert perfect != "–"
    assert (done, state) == ("5 of 10", "waiting")
    assert int(notes) > 0


def test_the_page_of_a_workload_is_the_same_among_others_and_alone(
    storage: Storage, names: Sequence[str], tmp_path: Path
) -> None:
    among = pages_of(write_report(storage, (), tmp_path / "report.html"))["a/b-c/d"]
    alone = write_report(storage, ["a/b-c/d"], tmp_path / "one.html")
    assert body(among) == body(alone)


def test_few_workloads_are_one_page_and_in_a_folder_a_page_each(
    storage: Storage, tmp_path: Path
) -> None:
    add(storage, "a/b/c")
    add(storage, "d/e/f", 2)
    together = write_report(storage, (), tmp_path / "report.html")
    assert together.read_text().count('<section class="workload"') == 2
    folder = tmp_path / "pages"
    folder.mkdir()
    index = write_report(storage, (), folder)
    assert index == folder / "index.html"
    assert {page.parent for page in pages_of(index).values()} == {folder}
    assert "compared" in index.read_text()  # of so few, side by side


def test_one_workload_is_read_at_a_time(
    storage: Storage, names: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    load = files.load_subjects

    def counted(moment: Any, workloads: Sequence[str], *rest: Any) -> Any:
        asked.append(tuple(workloads))
        return load(moment, workloads, *rest)

    monkeypatch.setattr(files, "load_subjects", counted)
    write_report(storage, (), tmp_path / "report.html")
    assert asked == [(name,) for name in names]


def test_a_workload_that_cant_be_read_is_named_and_the_others_are_there(
    storage: Storage, tmp_path: Path
) -> None:
    add(storage, "a/b/c")
    add(storage, "d/e/f")
    with storage.write() as conn:
        conn.execute(update(studies).where(studies.c.workload == "d/e/f").values(identity="{"))
    index = write_report(storage, (), tmp_path)
    assert list(pages_of(index)) == ["a/b/c", "d/e/f"]
    assert "d/e/f" in unescape(index.read_text().partition('<ul class="notes">')[2])
    assert "is left out" in pages_of(index)["d/e/f"].read_text()
    assert "is left out" not in pages_of(index)["a/b/c"].read_text()
