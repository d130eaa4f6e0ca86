"""Each thing has one name in the code, the glossary's; retired words name nothing."""

import io
import keyword
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

RETIRED = {
    r"bench": "loaded workload",
    r"hand_back": "release",
    r"keeper": "heartbeat",
    r"keeping": "checkpoint policy",
    r"oddit(y|ies)": "outliers",
    r"refill": "backfill",
    r"team": "process group",
    r"trial_run": "run, or model_run",
    r"widening": "space_edges",
}
"""Words of identifiers, as regular expressions, and what stands for each now (docs/glossary.md)."""


def identifiers(file: Path) -> Iterator[tuple[str, int]]:
    """The identifiers in a file, in lower case and with underscores, each with its line.

    A column of the database keeps its name: what follows `.c.` is not asked for.
    """
    before = ["", ""]
    for token in tokenize.generate_tokens(io.StringIO(file.read_text()).readline):
        named = token.type == tokenize.NAME and not keyword.iskeyword(token.string)
        if named and before != ["c", "."]:
            yield re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", token.string).lower(), token.start[0]
        before = [before[1], token.string]


@cache
def everywhere() -> list[tuple[str, str]]:
    """Each identifier of the sources, with its file and line."""
    files = sorted([*ROOT.glob("service/**/*.py"), *ROOT.glob("studies/**/*.py")])
    return [
        (name, f"{file.relative_to(ROOT)}:{line}")
        for file in files
        for name, line in identifiers(file)
    ]


def uses(word: str) -> Iterator[str]:
    """Where an identifier has this word in it: file, line and identifier."""
    pattern = re.compile(rf"(?:^|_)(?:{word})(?:_|$)")
    return (f"{place}: {name}" for name, place in everywhere() if pattern.search(name))


@pytest.mark.parametrize(("word", "instead"), RETIRED.items())
def test_a_retired_word_names_nothing(word: str, instead: str) -> None:
    assert list(uses(word)) == [], f"say {instead}"
