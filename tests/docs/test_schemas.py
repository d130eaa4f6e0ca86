"""Every JSON that is promised has a schema, which is as what is printed is typed."""

from tests.docs.pages import PAGES
from tests.docs.reference import commands
from tests.docs.schemas import MADE, text
from tests.schemas import file_of, names

BY_HAND = {"frontier", "curve"}

AS_ANOTHER = {"run": "frontier", "export": "tables"}
"""Commands whose --format prints what another does, or writes files."""


def test_every_command_that_prints_json_has_a_schema_and_a_line_in_the_docs() -> None:
    printing = set()
    for context in commands():
        formats = next((p for p in context.command.params if p.name == "format_"), None)
        if formats is not None and "json" in getattr(formats.type, "choices", ()):
            printing.add(context.command_path.removeprefix("batchfront ").replace(" ", "-"))
    assert printing - {*AS_ANOTHER} <= names()
    assert names() == {*MADE, *BY_HAND}
    linked = [name for name in names() if f"(schemas/{name}-1.json)" in PAGES["docs/json.md"]]
    assert {*linked} == names()


def test_schemas_are_as_what_is_printed_is_typed() -> None:
    for name in MADE:
        assert file_of(name).read_text() == text(name), f"{name}: python -m tests.docs.schemas"
