"""The page of the Python API says what the docstrings say, and they all say something."""

import inspect

import pytest

from tests.docs import api


def test_the_page_is_what_the_docstrings_make_of_it_now() -> None:
    made = api.api()
    assert api.PAGE.read_text() == made, "make it anew: python -m tests.docs.api"


@pytest.mark.parametrize("name", api.names())
def test_every_public_class_and_function_explains_itself(name: str) -> None:
    one = api.found(name)
    if inspect.isclass(one) or inspect.isfunction(one):
        assert one.__doc__
