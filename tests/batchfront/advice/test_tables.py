"""An advice in tables fits a terminal of 80 columns, and says once what several rows rest on."""

from dataclasses import replace

from rich.console import Console

from batchfront.advice.advise import AdviceOptions, LeftOut
from batchfront.advice.tables import answers_table, devices_table
from batchfront.cli.output.tables import view
from batchfront.table import Table
from tests.batchfront.advice.test_text import ALL, FOUR, ONE, TWO, advice, choice

RECIPES = {one: {"learning_rate": 0.1 * one.devices, "momentum": 0.9} for one in ALL}


def rows(table: Table) -> dict[str, list[str]]:
    """The cells of each row, by the first."""
    found: dict[str, list[str]] = {}
    for name, *cells in table.cells():
        found.setdefault(name.replace("\u00a0", " "), cells)
    return found


def test_answers_that_are_the_same_choice_share_a_column() -> None:
    found = advice(*ALL, knee=TWO)
    table = answers_table(replace(found, cheapest=TWO), RECIPES, str)
    assert [column.title for column in table.columns] == ["", "fastest", "cheapest, as many as pay"]
    cells = rows(table)
    assert cells["devices"] == ["4", "2"]
    assert cells["  in micro-batches"] == ["2 of 32", "2 of 32"]
    assert cells["hours"] == ["5.2", "5.5"]
    assert cells["learning_rate"] == ["0.4", "0.2"]
    assert "machines" not in cells
    assert "  repeated" not in cells


def test_an_answer_that_was_asked_for_and_is_none_says_why() -> None:
    asked = AdviceOptions(deadline=3600.0)
    found = advice(*ALL, asked=asked, knee=TWO, why_not={"by_deadline": "none is over by then"})
    notes = answers_table(found, {}, str).notes
    assert "by the deadline: none, as none is over by then." in notes
    assert not any("budget" in note for note in notes)


def test_each_number_of_devices_stands_beside_half_of_it() -> None:
    table = devices_table(advice(*ALL))
    assert [row[4:6] for row in table.cells()] == [
        ["–", "–"],
        ["45\u00a0%", "10\u00a0%"],
        ["5\u00a0%", "89\u00a0%"],
    ]


def test_what_several_rows_rest_on_and_are_left_out_for_is_said_once() -> None:
    noted = [
        replace(one, notes=(f"Nothing was timed on {one.devices} devices.",)) for one in (TWO, FOUR)
    ]
    left = tuple(
        LeftOut(devices, None, f"the network of {devices} devices isn't known")
        for devices in (8, 16)
    )
    notes = devices_table(advice(ONE, *noted, left_out=left)).notes
    assert "2 and 4 devices: Nothing was timed on so many devices." in notes
    assert "8 and 16 devices: left out, the network of so many devices isn't known." in notes


def test_both_fit_a_terminal_of_80_columns() -> None:
    asked = AdviceOptions(deadline=3600.0, budget=100.0)
    eight = replace(choice(8, 1234.5), machine="p5.48xlarge", evaluation_hours=20.0)
    many = tuple(replace(one, machine="p5.48xlarge") for one in ALL)
    found = advice(
        *many, eight, asked=asked, knee=many[1], by_deadline=many[2], within_budget=many[1]
    )
    console = Console(width=80, soft_wrap=True, force_terminal=True)
    with console.capture() as captured:
        console.print(view([answers_table(found, RECIPES, str), devices_table(found)]))
    lines = captured.get().splitlines()
    assert max(len(line.rstrip()) for line in lines if "\x1b" not in line) <= 80
    assert any("p5.48xlarge" in line for line in lines)
