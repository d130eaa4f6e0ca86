"""The pages of the documentation, as text."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
}
"""Path below the root of the repository to Markdown."""


def blocks(page: str, language: str) -> list[str]:
    """The code on a page that is marked as of this language."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", PAGES[page])


def prose(page: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"(?ms)^```.*?^```", "", PAGES[page])
