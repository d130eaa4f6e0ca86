"""The page's scripts, in the page or linked from it, and the policy that allows no others."""

import gzip
import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from html import escape
from importlib import resources

PLOTLY = "vendor/plotly-basic.min.js"
"""Plotly as far as the figures need it, scatter, bar and pie: a quarter of all of it. The page's
own, whatever Plotly is installed beside batchfront."""


@dataclass(frozen=True)
class Scripts:
    """What draws the page's figures, as HTML; what a browser must allow for it; and what the
    page says of how new it stays, as HTML."""

    html: str
    allowed: str
    freshness: str = ""

    @property
    def policy(self) -> str:
        """The Content-Security-Policy: these scripts, and none that a name could bring in."""
        return (
            f"default-src 'none'; style-src 'unsafe-inline'; {self.allowed}; "
            "img-src data: blob:; base-uri 'none'; form-action 'none'"
        )


def inline_scripts() -> Scripts:
    """All in the page, allowed by their hashes: Plotly packed, which the page's own script unpacks
    and runs."""
    texts = (asset(PLOTLY), asset("page.js"))
    hashes = (b64encode(sha256(text.encode()).digest()).decode() for text in texts)
    pieces = (
        f"<!-- {_notice()} -->",
        embedded("plotly", _packed_plotly()),
        f"<script>{texts[1]}</script>",
    )
    allowed = " ".join(["script-src", *(f"'sha256-{found}'" for found in hashes)])
    return Scripts("\n".join(pieces), allowed)


def packed(text: str) -> str:
    """A text as the page carries it, gzip in base64: a quarter of its bytes or less. It is the same
    for the same text, and nothing in it could end an element."""
    return b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def embedded(name: str, content: str) -> str:
    """An element that keeps a packed text, for the page's script, under this id."""
    return f'<script type="application/gzip" id="{name}">{content}</script>'


def asset(name: str) -> str:
    """A file of this package, as text."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def linked_scripts() -> tuple[Scripts, dict[str, str]]:
    """For a server: named by the page and cached by the browser, and the files, name to text."""
    files = _files("plotly.js", "page.js", "live.js")
    kept_fresh = " · kept up to date while it is open"
    return Scripts(_linked(files, ""), "script-src 'self'; connect-src 'self'", kept_fresh), files


def shared_scripts() -> tuple[Callable[[str], Scripts], dict[str, str]]:
    """For pages in a folder that share them: those of a page from which the files are reached by
    this prefix, and the files, name to text."""
    files = _files("plotly.js", "page.js")
    # Opened from a disk, no page is of the origin of another file there.
    return lambda prefix: Scripts(_linked(files, prefix), "script-src 'self' file:"), files


def _files(*names: str) -> dict[str, str]:
    """Scripts under names that change with what is in them."""
    texts = {name: asset(PLOTLY if name == "plotly.js" else name) for name in names}
    return {f"{sha256(text.encode()).hexdigest()[:12]}.{n}": text for n, text in texts.items()}


def _linked(files: Iterable[str], prefix: str) -> str:
    return "\n".join(f'<script src="{escape(prefix)}{name}"></script>' for name in files)


@cache
def _packed_plotly() -> str:
    return packed(asset(PLOTLY))


def _notice() -> str:
    """Whose Plotly is, as the comment at its beginning has it."""
    comment = asset(PLOTLY).partition("*/")[0]
    return "; ".join(re.findall(r"^\* (.+?)\.?$", comment, re.MULTILINE))
