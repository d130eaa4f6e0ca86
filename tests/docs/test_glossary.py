"""What code and database call things is explained."""

import re

from batchfront.vocabulary import Outcome
from tests.docs import glossary
from tests.docs.pages import PAGES
from tests.test_words import RETIRED

GLOSSARY = PAGES["docs/glossary.md"].lower()


def test_every_outcome_is_explained_with_its_state_in_optuna() -> None:
    rows = re.findall(r"(?m)^\| `(\w+)` \| .* \| ([A-Z]+)\b", PAGES["docs/guides/search.md"])
    assert rows == [(outcome.value, outcome.optuna_state) for outcome in Outcome]
    assert all(f"*{outcome.value}*" in GLOSSARY for outcome in Outcome)


def test_what_stands_for_a_retired_word_is_in_the_glossary() -> None:
    for instead in RETIRED.values():
        for word in instead.split(", "):
            assert word.replace("_", " ") in GLOSSARY.replace("-", " "), word


def test_the_page_has_the_glossary_as_it_is_now() -> None:
    assert glossary.PAGE.read_text() == glossary.page(), (
        "make it anew: python -m tests.docs.glossary"
    )
