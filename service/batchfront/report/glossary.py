"""The words of the glossary, explained where they first stand on a page.

They come from `docs/glossary.md`, and `python -m tests.docs.glossary` brings them here.
"""

import json
import re
from dataclasses import dataclass
from functools import cache

from markupsafe import Markup

from batchfront.report.scripts import asset

_ENTRIES = {
    "steps to target": "steps to target",
    "near-perfect": "near-perfect",
    "perfect scaling": "perfect scaling",
    "diminishing returns": "diminishing returns",
    "useful": "useful",
    "frontier": "frontier",
    "winners?": "winner",
    "expected steps": "expected steps",
    "fitted curve": "scaling curve",
    "surrogate": "surrogate",
    "search space": "search space",
    "step budget": "step",
    "metaparameters?": "metaparameter",
    "trials?": "trial",
    "effective learning rate": "effective learning rate",
    "scaling rules?": "effective learning rate",
    "learning curves?": "learning curve",
    "warm start": "warm start",
    "gradient noise scale": "gradient noise scale",
    "half-efficiency batch size": "S_min",
}
"""How words stand on a page to the entry that explains them. Those by which a page means something
else as well, such as a run, are left alone."""

_ALONE = ("a", "button", "code", "pre", "h1", "h2", "h3", "h4", "nav", "svg", "table", "select")
"""Elements whose words stay as they are: names of others', or links already."""

_TAG = re.compile(r"(<[^>]*>)")


@dataclass(frozen=True)
class Word:
    """An entry of the glossary: its id on the page, the term, and what is said of it."""

    name: str
    term: str
    meaning: Markup


@cache
def glossary() -> dict[str, Word]:
    """All entries, by term."""
    return {
        term: Word(f"word-{re.sub(r'[^a-z]+', '-', term.lower())}", term, Markup(meaning))
        for term, meaning in json.loads(asset("glossary.json")).items()
    }


@cache
def _looked_for() -> re.Pattern[str]:
    longest = sorted(_ENTRIES, key=len, reverse=True)
    return re.compile(rf"(?<![\w/.-])(\(?)({'|'.join(longest)})(?![\w/-])([,.:;)]?)", re.IGNORECASE)


def explained(html: str) -> tuple[str, tuple[Word, ...]]:
    """A page's HTML in which each word that the glossary has opens its entry where it first stands;
    and these entries, in the glossary's order."""
    found: set[str] = set()
    within: list[str] = []
    pieces = _TAG.split(html)
    for number, piece in enumerate(pieces):
        if number % 2:
            _step(within, piece)
        elif not within and piece:
            pieces[number] = _looked_for().sub(lambda word: _opening(word, found), piece)
    return "".join(pieces), tuple(one for term, one in glossary().items() if term in found)


def _step(within: list[str], tag: str) -> None:
    """Keep which elements a piece of text is in, of those that are left alone."""
    name = tag.strip("</>").partition(" ")[0].partition("\n")[0]
    if name not in _ALONE:
        return
    if tag.startswith("</"):
        while within and within.pop() != name:
            pass
    elif not tag.endswith("/>"):
        within.append(name)


def _opening(word: re.Match[str], found: set[str]) -> str:
    before, text, after = word.groups()
    term = next(
        term for pattern, term in _ENTRIES.items() if re.fullmatch(pattern, text, re.IGNORECASE)
    )
    if term in found:
        return word[0]
    found.add(term)
    name = glossary()[term].name
    button = f'<button type="button" class="word" popovertarget="{name}">{text}</button>'
    # A browser would begin a line after a button, even with a comma, and end one before it.
    html = f"{before}<dfn>{button}</dfn>{after}"
    return f'<span class="kept">{html}</span>' if before or after else html
