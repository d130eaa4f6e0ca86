"""A tabular result, and its printers."""

from collections.abc import Callable

import pytest
from markupsafe import Markup
from rich.console import Console

from batchfront.cli.output.tables import Output, print_output, view
from batchfront.report.html import scrolled
from batchfront.table import Column, Table, as_no_formula, by_batch_size, of_records

WORDS = Table(
    (Column("steps", "{:,}".format), Column("name", words=True)),
    [(1200, "<b>one</b>"), (None, "two, with more words than a narrow terminal holds")],
    "a title",
    ["a note"],
)
OUTPUT = Output([WORDS], of_records([{"steps": 1200, "name": None}]), {"steps": 1200})


FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+cmd|A0",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    " =1",
    "＝1",
    "'=1",
    "-",
    "-5\n",
]
HARMLESS = ["", "-5", "+.5e-3", "a=1", "1-1", "(=1)", '{"a": "=1"}', "−1"]


@pytest.mark.parametrize("cell", [*FORMULAS, *HARMLESS])
def test_a_spreadsheet_computes_nothing_from_text_and_numbers_are_left_alone(cell: str) -> None:
    written = as_no_formula(cell)
    assert written == (f"'{cell}" if cell in FORMULAS else cell)
    assert written.removeprefix("'") == cell


def test_records_for_spreadsheets_hold_no_formula(capsys: pytest.CaptureFixture[str]) -> None:
    records = of_records([{"=name": "=1+1", "steps": -12.5, "trial": None}])
    print_output(Output([], records, None), "spreadsheet")
    assert capsys.readouterr().out == "'=name,steps,trial\n'=1+1,-12.5,\n"


@pytest.mark.parametrize(
    ("format_", "printed"),
    [("json", '{\n  "steps": 1200\n}\n'), ("csv", "steps,name\n1200,\n")],
)
def test_a_machine_gets_plain_values(
    format_: str, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_output(OUTPUT, format_)
    assert capsys.readouterr().out == printed


def test_a_person_gets_title_values_as_shown_and_notes(capsys: pytest.CaptureFixture[str]) -> None:
    print_output(OUTPUT, "table")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == ["a", "title"]
    assert lines[3] == ["steps", "name"]
    assert lines[5] == ["1,200", "<b>one</b>"]
    assert lines[6][:2] == ["–", "two,"]
    assert lines[-1] == ["a", "note"]


def shown(table: Table, width: int) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(view([table]))
    return captured.get()


def test_on_a_narrow_terminal_words_are_folded_and_no_number_is_cut() -> None:
    number = 1234567890123
    table = Table((Column("a long title"), Column("name", words=True)), [(number, "w" * 40)])
    text = shown(table, 30)
    assert str(number) in text
    assert text.count("w") == 40
    assert max(map(len, text.splitlines())) <= 30


def test_without_records_a_machine_gets_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_output(Output([], of_records([]), []), "csv")
    assert capsys.readouterr().out == ""


def test_on_a_page_text_is_escaped_and_html_is_not() -> None:
    linked: Callable[[str], str] = Markup("<a>{}</a>").format
    table = Table((Column("<i>", words=True), Column("link", linked)), [("<b>", "<c>")])
    html = scrolled("label", table)
    assert '<th scope="col" class="text">&lt;i&gt;</th>' in html
    assert '<th scope="row" class="text">&lt;b&gt;</th>' in html
    assert "<td><a>&lt;c&gt;</a></td>" in html


def test_series_stand_side_by_side_where_some_lack_a_batch_size() -> None:
    series = [(Column("a"), {8: 1, 4: 2}), (Column("b"), {16: 3})]
    columns, rows = by_batch_size(Column("batch size"), series)
    assert [column.title for column in columns] == ["batch size", "a", "b"]
    assert rows == [(4, 2, None), (8, 1, None), (16, None, 3)]


def test_a_column_without_a_value_in_any_row_can_be_left_out() -> None:
    columns = (Column("study"), Column("left"), Column("best"))
    found = Table(columns, [("a", None, 3), ("b", None, None)], "a title").filled()
    assert [column.title for column in found.columns] == ["study", "best"]
    assert found.rows == [("a", 3), ("b", None)]
    assert found.title == "a title"
