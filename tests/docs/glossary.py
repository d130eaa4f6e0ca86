"""The glossary as the page has it, made of docs/glossary.md: python -m tests.docs.glossary"""

import json
import re
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
PAGE = ROOT / "service" / "batchfront" / "report" / "glossary.json"


def entries() -> dict[str, str]:
    """Each term that begins a paragraph to what is said of it, as HTML."""
    paragraphs = re.split(r"\n\s*\n", GLOSSARY.read_text(encoding="utf-8"))
    found = (re.fullmatch(r"\*\*(.+?)\*\*: (.*)", " ".join(p.split())) for p in paragraphs)
    return {one[1]: _html(one[2]) for one in found if one}


def _html(text: str) -> str:
    """A paragraph of Markdown as HTML, its links without addresses, which a page has none of."""
    text = escape(text, quote=False)
    text = re.sub(r"\s*\(\[[^\]]*\]\([^)]*\)\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
    text = re.sub(r"\*(.+?)\*", r"<em>\1</em>", text)
    return re.sub(r"\b([SBE])_(min|c)\b", r"\1<sub>\2</sub>", text)


def page() -> str:
    """The whole file."""
    return json.dumps(entries(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
