"""What the pages point to is there: files, sections, options and modules."""

import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from importlib.util import find_spec
from pkgutil import resolve_name

import pytest

from tests.docs.pages import PAGES, ROOT, prose
from tests.docs.reference import commands, options

OPTIONS = {"--help", "--debug", "--version"} | {
    name
    for context in commands()
    for one in options(context)
    for name in (*one.opts, *one.secondary_opts)
}

OF_OTHER_TIMES = ("CHANGELOG.md", "docs/benchmarks.md")
"""Pages that name options which are gone, or are other programs'."""

OF_THE_SITE = {page for page in PAGES if "This page of the site is" in PAGES[page]}
"""Pages that stand for those of the repository outside its docs."""


def links(page: str) -> Iterator[tuple[str, str]]:
    """The relative links of a page, pictures among them: the file and the section."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not re.match(r"[a-z]+:", target):
            file, _, section = target.partition("#")
            path = (ROOT / page).parent / file if file else ROOT / page
            yield str(path.resolve().relative_to(ROOT)), section


def sections(page: str) -> set[str]:
    """What a link can name of a page: its headings, lower-case and joined by hyphens."""
    headings = re.findall(r"(?m)^#+ (.*)$", prose(page))
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for file, section in links(page):
        assert (ROOT / file).exists(), file
        assert not section or section in sections(file), f"{file}#{section}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    found, reached = ["README.md"], set[str]()
    while found:
        page = found.pop()
        reached.add(page)
        found += {file for file, _ in links(page)} & PAGES.keys() - reached
    assert reached == PAGES.keys() - OF_THE_SITE


@pytest.mark.parametrize("page", [one for one in PAGES if one not in OF_OTHER_TIMES])
def test_files_options_and_modules_that_a_page_names_exist(page: str) -> None:
    for code in re.findall(r"`([^`\n]+)`", prose(page)):
        for path in re.findall(r"^(?:service|studies|tests|docs)/[\w./]+$", code):
            assert (ROOT / path).exists(), path
        for name in re.findall(r"^batchfront(?!\.db)(?:\.\w+)+", code):
            if name.startswith("batchfront.integrations."):  # whose frameworks may not be installed
                name = ".".join(name.split(".")[:3])
                assert find_spec(name), name
            else:
                assert name in entry_points().groups or resolve_name(name)
        if re.match(r"(batchfront .*)?--\w", code):
            assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", code)) <= OPTIONS, code
