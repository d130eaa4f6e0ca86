"""Tables stand by themselves as text and as HTML, whatever is in them."""

from collections.abc import Sequence

from batchfront.displayed import Displayed, as_html
from batchfront.table import Column, Table
from batchfront.table_text import table_text

TABLE = Table(
    (Column("batch size"), Column("by whom", words=True)),
    [(1024, "a"), (8, None)],
    "A title",
    ["A note."],
)


class Shown(Displayed):
    def __repr__(self) -> str:
        return "<Shown>"

    def as_tables(self) -> Sequence[Table]:
        return [TABLE, Table(notes=["Another."])]


def test_as_html_what_is_in_it_is_escaped() -> None:
    table = Table((Column("<b>", words=True),), [("<script>",)], "<i>", ["&"])
    found = as_html(table)
    assert "&lt;script&gt;" in found
    assert "&lt;b&gt;" in found
    assert "&lt;i&gt;" in found
    assert "<script" not in found


def test_what_is_displayed_has_a_line_a_text_and_tables() -> None:
    shown = Shown()
    assert repr(shown) == "<Shown>"
    assert str(shown) == f"{table_text(TABLE)}\n\nAnother."
    assert shown._repr_html_().count("<table") == 1
    assert shown._repr_mimebundle_() == {
        "text/html": shown._repr_html_(),
        "text/plain": str(shown),
    }
