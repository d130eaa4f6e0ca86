"""The reference says what the commands and options say, and they all say something."""

import click
import pytest

from tests.docs import reference


def test_the_page_is_what_the_options_make_of_it_now() -> None:
    made = reference.reference()
    assert reference.PAGE.read_text() == made, "make it anew: python -m tests.docs.reference"


@pytest.mark.parametrize("context", list(reference.commands()), ids=lambda one: one.command_path)
def test_every_command_and_option_explains_itself(context: click.Context) -> None:
    assert context.command.help
    assert [one.opts[0] for one in reference.options(context) if not one.help] == []
