"""Tables in lines: what gives way where there is little room, in which order, and what never."""

from dataclasses import replace

import pytest
from rich.cells import cell_len

from batchfront.outcomes import abbreviations, in_brief, in_words
from batchfront.table import Brief, Column, Table, of_facts
from batchfront.table_text import drawn, table_text

OUTCOMES = Column("all trials", in_words, words=True, brief=Brief(in_brief, abbreviations))
ENDED = {"reached": 116, "stalled": 2, "exhausted": 42}
STUDIES = Table(
    (
        Column("Study", words=True, names=True),
        Column("last miss", "{:,}".format),
        Column("learning_rate"),
        OUTCOMES,
    ),
    [("digits/mlp/adamw/b4", 1718, 0.00452, ENDED), ("digits/mlp/adamw/b512", 33, 0.0819, ENDED)],
)
NAMES = ("beta1", "beta2", "learning_rate", "weight_decay", "warmup_share", "final_share", "eps")
WIDE = Table(
    (Column("batch size"), Column("trial"), *map(Column, NAMES)),
    [(4, 136, *(f"0.{n}2345" for n in range(7))), (16384, 7, *["1.23456e-07"] * 7)],
    keys=2,
)


def lines(table: Table, width: int | None) -> list[str]:
    return [line.text for line in drawn(table, width)]


def tokens(table: Table, width: int | None) -> list[str]:
    return " ".join(lines(table, width)).split()


def test_a_table_that_fits_is_a_line_for_each_row() -> None:
    head, rule, *rows = lines(STUDIES, None)
    assert head.split() == ["Study", "last", "miss", "learning_rate", "all", "trials"]
    assert set(rule) == {"─"}
    assert len(rule) == max(map(len, rows))
    assert rows[1].split()[:3] == ["digits/mlp/adamw/b512", "33", "0.0819"]
    assert lines(STUDIES, len(rule)) == [head, rule, *rows]


def test_words_stand_to_the_left_and_numbers_to_the_right() -> None:
    first, second = lines(STUDIES, None)[2:]
    assert first.index("1,718") + 5 == second.index(" 33") + 3
    assert first.index("116") == second.index("116")


def test_first_titles_are_folded() -> None:
    first, second, _, *rows = lines(STUDIES, 78)
    assert first.split() == ["last", "learning_"]
    assert second.split() == ["Study", "miss", "rate", "all", "trials"]
    assert rows[0].split() == lines(STUDIES, None)[2].split()


def test_then_the_common_beginning_of_names_goes_above() -> None:
    above, _, _, *rows = lines(STUDIES, 76)
    assert above == "Study: all begin with digits/mlp/adamw/"
    assert rows[0].startswith("b4 ")
    assert rows[1].startswith("b512 ")
    assert "116 reached, 2 stalled, 42 exhausted" in rows[0]


def test_then_outcomes_are_abbreviated_and_that_is_explained() -> None:
    table = replace(
        STUDIES,
        columns=(*STUDIES.columns, Column("n")),
        rows=[(*row, 10**20) for row in STUDIES.rows],
    )
    found = lines(table, 68)
    assert max(map(len, found)) <= 68
    assert "learning_" in found[1]
    assert "116 re, 2 st, 42 ex" in found[4]
    assert found[-1] == "re: reached, st: stalled, ex: exhausted"


def test_names_of_which_only_some_are_known_have_a_beginning_too() -> None:
    table = replace(STUDIES, rows=[*STUDIES.rows, (None, 1, 0.1, ENDED)])
    assert lines(table, 76)[-1].startswith("–")


def test_then_words_are_folded() -> None:
    table = Table((Column("n"), Column("why", words=True)), [(1, "because of " * 20)])
    found = lines(table, 60)
    assert max(map(len, found)) <= 60
    assert " ".join(line[3:] for line in found[2:]).split() == ["because", "of"] * 20


def test_columns_without_a_place_follow_below_beside_what_rows_are_about() -> None:
    found = lines(WIDE, 60)
    assert max(map(len, found)) <= 60
    blank = found.index("")
    for part in (found[:blank], found[blank + 1 :]):
        assert " ".join(part[:3]).split()[-2:] != ["batch", "size"]
        assert any(line.split()[:2] == ["16384", "7"] for line in part)
    assert tokens(WIDE, 60).count("1.23456e-07") == 7


def test_what_follows_below_leaves_out_rows_of_which_it_says_nothing() -> None:
    columns = (*WIDE.columns[:6], Column("", words=True))
    rows = [(*row[:6], said) for row, said in zip(WIDE.rows, ("", "2 not reached"), strict=True)]
    table = replace(WIDE, columns=columns, rows=rows)
    found = lines(table, 66)
    *_, rule, last = found[found.index("") :]
    assert set(rule) == {"─"}
    assert last.split() == ["16384", "7", "2", "not", "reached"]


@pytest.mark.parametrize("width", [40, 59])
def test_below_60_columns_a_row_is_lines(width: int) -> None:
    found = lines(WIDE, width)
    start = found.index("batch size 16384, trial 7")
    assert found[start + 3] == "  learning_rate  1.23456e-07"
    heads = [line.text for line in drawn(WIDE, width) if line.head]
    assert heads == ["batch size 4, trial 136", "batch size 16384, trial 7"]


def test_a_small_table_stays_one_on_40_columns() -> None:
    table = Table((Column("batch size"), Column("steps")), [(4, 547)])
    assert lines(table, 40) == lines(table, None)


def test_of_facts_each_thing_has_its_own_lines() -> None:
    columns = (
        Column("", words=True, whole=True),
        *(Column(f"thing {n}", words=True) for n in (1, 2)),
    )
    table = Table(
        columns, [("devices", "1", "2"), ("cost in all", "12" * 9, "34" * 9)], by_facts=True
    )
    assert lines(table, 40) == [
        *("thing 1", "  devices      1", f"  cost in all  {'12' * 9}"),
        *("thing 2", "  devices      2", f"  cost in all  {'34' * 9}"),
    ]


def test_facts_have_no_head_and_their_words_stay_beside_what_they_are_about() -> None:
    facts = of_facts({"goal": "validation error rate < 0.03", "steps": "54"})
    assert lines(facts, None) == ["goal   validation error rate < 0.03", "steps  54"]
    assert lines(facts, 24) == ["goal   validation error", "       rate < 0.03", "steps  54"]


def test_a_command_among_facts_is_left_whole() -> None:
    facts = of_facts({"command": "`python train.py --learning-rate 0.1 --batch-size 8`"})
    assert lines(facts, 40) == ["command  `python train.py --learning-rate 0.1 --batch-size 8`"]


def test_a_value_too_long_for_beside_its_title_stands_below_it() -> None:
    table = Table((Column("n"), Column("a long title"), Column("b")), [(1, "9" * 36, 2)])
    assert lines(table, 40) == ["n 1", "  a long title", f"    {'9' * 36}", "  b             2"]


@pytest.mark.parametrize("width", [1, 20, 40, 59, 60, 66, 72, 80, 120, 200])
@pytest.mark.parametrize("table", [STUDIES, WIDE])
def test_no_number_is_cut_or_lost_at_any_width(table: Table, width: int) -> None:
    values = [token for row in table.cells() for cell in row for token in cell.split()]
    numbers = [token for token in values if token[0].isdigit()]
    assert set(numbers) <= {token.rstrip(",") for token in tokens(table, width)}
    if width >= 40:
        assert max(map(cell_len, lines(table, width))) <= width


def test_wide_characters_are_counted_as_terminals_do() -> None:
    table = Table((Column("name", words=True), Column("n")), [("数据", 1), ("data", 2)])
    assert [cell_len(line) for line in lines(table, None)[2:]] == [7, 7]


def test_what_cannot_be_seen_is_written_out() -> None:
    assert r"a\x1b" in table_text(Table((Column("x\x1b"),), [("a\x1b",)], "t\x1b"))
    assert "\x1b" not in table_text(Table((Column("x\x1b"),), [("a\x1b",)], "t\x1b", ["n\x1b"]))


def test_as_text_a_table_has_its_title_and_notes() -> None:
    table = Table((Column("n"),), [(1,)], "a title", ["a note"])
    assert table_text(table).splitlines() == ["a title", "", "n", "─", "1", "a note"]
