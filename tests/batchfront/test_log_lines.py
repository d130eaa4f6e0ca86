"""What is said beside the output: a line, in which nothing others wrote acts, or an object."""

import json
import logging
import sys
from typing import Any

from batchfront.log_lines import JsonLines, TextLines, about, ascii_json, json_line, message_of
from tests.schemas import hold


def record(message: str, *args: object, **facts: Any) -> logging.LogRecord:
    made = logging.LogRecord("x", logging.WARNING, __file__, 1, message, args, None)
    made.__dict__.update(facts)
    return made


def test_a_message_is_one_line_and_cannot_look_like_another() -> None:
    shown = TextLines().format(record("%s is lost", "a\nbatchfront: all is well\x1b[2J"))
    assert shown == r"batchfront: a batchfront: all is well\x1b[2J is lost"


def test_a_traceback_stands_below_it_with_all_of_it_visible() -> None:
    try:
        raise ValueError("\x1b[31mred")
    except ValueError:
        failed = record("failed", exc_info=sys.exc_info())
    first, *others = TextLines().format(failed).splitlines()
    assert first == "batchfront: failed"
    assert others[-1] == r"ValueError: \x1b[31mred"
    assert "\x1b" not in json.loads(JsonLines().format(failed))["exception"]


def test_an_object_says_when_how_bad_and_by_whom() -> None:
    found = json.loads(JsonLines("w1").format(record("é\x7f", created=0.25)))
    assert found == {
        "time": "1970-01-01T00:00:00.250Z",
        "level": "warning",
        "worker": "w1",
        "message": "é\x7f",
    }
    hold("log", found)
    assert JsonLines().format(record("é\x7f\x9b")).isascii()
    assert "\x7f" not in JsonLines().format(record("é\x7f"))


def test_a_number_that_is_not_finite_is_null() -> None:
    assert (
        ascii_json({"a": [1.5, float("nan")], "b": -float("inf")})
        == '{"a": [1.5, null], "b": null}'
    )


def test_an_object_says_what_it_is_about_where_that_is_known() -> None:
    with about(study="w/b8"):
        inner = json.loads(JsonLines().format(record("failed", trial=3)))
    assert (inner["study"], inner["trial"]) == ("w/b8", 3)
    assert "study" not in json.loads(JsonLines().format(record("failed")))


def test_a_line_of_ours_stays_and_others_are_put_into_one() -> None:
    ours = JsonLines("w1").format(record("mine"))
    assert json_line(ours, "w2") == ours
    for other in ("plain", "[1]", "3", '{"a": 1}', "[" * 100_000):
        found = json.loads(json_line(other, "w2"))
        assert (found["level"], found["worker"], found["message"]) == ("info", "w2", other)


def test_what_a_line_of_standard_error_says_is_its_message() -> None:
    assert message_of(JsonLines("one").format(record("it has no code"))) == "it has no code"
    for other in ("Killed", '{"message": 1}', "[" * 10_000):
        assert message_of(other) == other
