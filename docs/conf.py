"""The site of these pages: sphinx-build -W docs OUTPUT

Every page is Markdown that reads as well on a git host, so no page holds what only Sphinx knows:
the contents are here, and are added to the first page as it is read.
"""

import os
import re
import tomllib
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

HERE = Path(__file__).parent

CONTENTS = {
    "Start": ["install", "tutorial", "faq"],
    "Run a search": [
        "guides/search",
        "guides/answer",
        "guides/report",
        "guides/hours",
        "guides/model",
        "guides/analyses",
        "guides/python",
        "notebooks/*",
        "guides/exchange",
        "guides/trouble",
    ],
    "Bring your training": [
        "what_fits",
        "guides/programs",
        "sweep_file",
        "guides/loops",
        "guides/workloads",
        "guides/frameworks",
        "guides/ask-and-tell",
        "guides/code_changes",
        "examples/README",
    ],
    "Use many machines": [
        "guides/workers",
        "guides/clusters",
        "guides/docker",
        "guides/monitoring",
        "guides/security",
    ],
    "Understand it": [
        "explanation/racing",
        "guides/exactness",
        "explanation/censoring",
        "explanation/curve",
        "explanation/trust",
        "architecture",
    ],
    "Look it up": ["reference", "api", "json", "glossary", "workloads", "guides/*"],
    "Measured": ["runs/README", "validation", "benchmarks", "*"],
    "The project": ["project/*"],
}
"""The captions of the site and the pages below them. A pattern has those that no line names."""

project = "batchfront"
author = "the batchfront developers"
version = release = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"][
    "version"
]
extensions = ["myst_nb", "sphinx_copybutton"]
root_doc = "index"
highlight_language = "none"  # what isn't marked is what a program has printed
exclude_patterns = ["**/.*", "conf.py"]
nitpicky = True

myst_heading_anchors = 4  # as a git host has them: each heading can be linked to
nb_execution_mode = "off"  # they keep what they showed when test_notebooks.py ran them
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = "batchfront"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = html_show_copyright = False

STANDS_FOR = {
    "index": "README.md",
    "project/contributing": "CONTRIBUTING.md",
    "project/changelog": "CHANGELOG.md",
}
"""Pages of the site that are files of the repository outside its docs."""


def contents() -> dict[str, list[str]]:
    """The pages that there are, without the index, by their captions."""
    files = {path for kind in ("md", "ipynb") for path in HERE.rglob(f"*.{kind}")}
    left = {str(path.relative_to(HERE).with_suffix("")) for path in files} - {root_doc}
    found: dict[str, list[str]] = {}
    patterns = [(caption, one) for caption, pages in CONTENTS.items() for one in pages]
    for pattern in sorted(patterns, key=lambda one: "*" in one[1]):  # what is named goes first
        caption, one = pattern
        matching = sorted(page for page in left if Path(page).match(one) and _as_deep(page, one))
        left -= {*matching}
        found.setdefault(caption, []).extend(matching)
    return {caption: found[caption] for caption in CONTENTS if found.get(caption)}


def _as_deep(page: str, pattern: str) -> bool:
    return page.count("/") == pattern.count("/")


def _toctrees() -> str:
    trees = [
        "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```"])
        for caption, pages in contents().items()
    ]
    return "\n\n".join(["", *trees, ""])


def _led(text: str, file: Path, page: str) -> str:
    """The Markdown of a file with its relative links as they lead from a page of the site."""
    pages = {HERE.parent / other: HERE / f"{name}.md" for name, other in STANDS_FOR.items()}

    def led(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(file.parent / link["file"]))
        target = pages.get(target, target)
        return f"]({os.path.relpath(target, (HERE / page).parent)}{link['section']})"

    return re.sub(r"\]\((?![a-z]+:|#)(?P<file>[^)#\s]+)(?P<section>#[^)\s]*|)\)", led, text)


def _read(_app: Sphinx, page: str, source: list[str]) -> None:
    """Put in what a page stands for, have its links lead to pages of the site, and add the contents
    to the first one."""
    file = HERE / f"{page}.md"
    if page in STANDS_FOR:
        file = HERE.parent / STANDS_FOR[page]
        source[0] = file.read_text()
    if file.exists():
        source[0] = _led(source[0], file, page)
    if page == root_doc:
        source[0] += _toctrees()


def setup(app: Sphinx) -> None:
    app.connect("source-read", _read)
    app.add_lexer("csv", TextLexer)
