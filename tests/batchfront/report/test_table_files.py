"""The tables of a page as files: what they hold, and where they stand."""

import csv
import json
import re
from base64 import b64decode
from html.parser import HTMLParser
from io import StringIO
from math import inf, nan
from pathlib import Path

from markupsafe import Markup

from batchfront.frontier.frontier import load_frontier
from batchfront.report.html import scrolled
from batchfront.report.table_files import Cell, beside, stem, table_files
from batchfront.store.database import Storage
from batchfront.table import Column, Table
from tests.batchfront.report.conftest import EVIL, WORKLOAD


class Links(HTMLParser):
    """The addresses of the links that are downloads, by the names of their files."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a" and "download" in given and "href" in given:
            self.found[given["download"] or ""] = given["href"] or ""


def content(address: str) -> str:
    kind, _, encoded = address.partition(";base64,")
    assert kind in ("data:text/csv", "data:application/json")
    return b64decode(encoded).decode()


def test_every_table_of_a_page_has_its_values_as_csv_and_json(page: Path, raced: Storage) -> None:
    text = page.read_text()
    links = Links(text).found
    labels = re.findall(r'class="scroll" role="region" aria-labelledby="w1-([^"]*)"', text)
    assert len(labels) > 4
    name = WORKLOAD.replace("/", "-")
    for label in labels:
        rows = json.loads(content(links[f"{name}-{label}.json"]))
        titles, *lines = csv.reader(StringIO(content(links[f"{name}-{label}.csv"])))
        assert rows
        assert [list(row) for row in rows] == [titles] * len(lines)
    points = load_frontier(raced, WORKLOAD).points
    frontier = json.loads(content(links[f"{name}-frontier.json"]))
    assert [row["steps"] for row in frontier] == [point.steps for point in points]
    rates = [point.params["learning_rate"] for point in points]
    assert [row["learning rate"] for row in frontier] == rates


def test_a_value_is_as_it_is_and_not_as_it_is_shown() -> None:
    columns = (
        Column("batch size", lambda value: f"{value:,}"),
        Column(Markup("B<sub>c</sub>"), lambda value: f"{value:.1f}"),
        Column("trial", Cell.shown),
        Column("pair", lambda pair: f"{pair[0]} to {pair[1]}"),
    )
    link = Cell(7, Markup('<a href="#">7</a>'))
    as_csv, as_json = table_files(
        Table(columns, [(4096, 1 / 3, link, (1, 2)), (8, inf, None, None)])
    )
    assert json.loads(as_json.content) == [
        {"batch size": 4096, "Bc": 1 / 3, "trial": 7, "pair": "1 to 2"},
        {"batch size": 8, "Bc": "inf", "trial": None, "pair": None},
    ]
    assert as_csv.content.splitlines() == [
        "batch size,Bc,trial,pair",
        "4096,0.3333333333333333,7,1 to 2",
        "8,inf,,",
    ]


def test_columns_of_one_title_are_told_apart() -> None:
    columns = (Column("steps"), Column("steps"), Column("steps 2"))
    (row,) = json.loads(table_files(Table(columns, [(1, 2, 3)]))[1].content)
    assert row == {"steps": 1, "steps 2": 2, "steps 2 2": 3}


def test_no_spreadsheet_computes_anything_from_a_name() -> None:
    as_csv, as_json = table_files(Table((Column("=name"),), [("=1+1",), (EVIL,), (nan,)]))
    assert as_csv.content.startswith("'=name\n'=1+1\n")
    assert json.loads(as_json.content)[:2] == [{"=name": "=1+1"}, {"=name": EVIL}]


def test_beside_a_served_page_they_have_addresses() -> None:
    there = scrolled("w1-some", Table((Column("a"),), [(f'" href="data:text/csv;base64,{EVIL}',)]))
    text, files = beside(there, "?workload=a/b")
    assert Links(text).found == {
        "w1-some.csv": "tables/w1-some.csv?workload=a/b",
        "w1-some.json": "tables/w1-some.json?workload=a/b",
    }
    assert list(files) == ["w1-some.csv", "w1-some.json"]
    assert json.loads(files["w1-some.json"].content)[0]["a"].endswith(EVIL)


def test_a_file_is_named_after_its_workload() -> None:
    assert stem("digits/mlp/momentum@wide") == "digits-mlp-momentum@wide"
    assert stem("../../x y") == "x-y"
