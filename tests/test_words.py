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
    r"batch_pass": "micro_batch",
    r"bench": "loaded",
    r"bury|gone": "stale, reap",
    r"certaint(y|ies)": "uncertainty",
    r"doubts": "warnings",
    r"hand(s|ed|ing)?_(back|out)s?|give_back": "release",
    r"heed|overhear": "poll",
    r"keeping": "checkpoint_policy",
    r"lease_keeper|keeper": "heartbeat",
    r"looks": "evaluation",
    r"oddit(y|ies)": "outliers",
    r"passages?": "goal_crossing",
    r"plan(ned)?_repeats": "rerun",
    r"refills?": "backfill",
    r"team": "process_group",
    r"trial_ending": "result",
    r"trial_run": "run",
    r"widening": "space_edge",
    r"worn": "exhausted",
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
