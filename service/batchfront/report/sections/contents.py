"""What a workload's part of the page holds, as links to it."""

import re
from html import unescape

from markupsafe import Markup

from batchfront.report.html import rendered

_HEADING = re.compile(r"<h3(?: id=\"([^\"]*)\")?>(.*?)</h3>", re.DOTALL)


def with_contents(key: str, workload: str, head: str, rest: str) -> str:
    """A workload's part with links to all that follows its beginning between them, as HTML.

    Every heading that has no name of its own yet gets one of its words.
    """
    found: dict[str, Markup] = {}

    def named(heading: re.Match[str]) -> str:
        words = Markup(heading[2])  # escaped already
        name = heading[1] or f"{key}-{_slug(words)}"
        found[name] = words
        return f'<h3 id="{name}">{words}</h3>'

    body = _HEADING.sub(named, rest)
    links = rendered("sections.html", workload=workload, found=found) if len(found) > 1 else ""
    return f"{head}\n{links}\n{body}"


def _slug(words: str) -> str:
    text = unescape(re.sub(r"<[^>]*>", "", words)).lower()
    return re.sub(r"[^\w]+", "-", re.sub(r"['’]", "", text)).strip("-")
