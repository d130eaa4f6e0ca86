"""The site is built of these pages without a warning, and every page has its place in it."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.notebooks import NOTEBOOKS
from tests.docs.pages import PAGES, ROOT

pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """What a page of the site leads to, and what of it can be led to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.sections: set[str] = {""}
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.sections |= {str(found["id"])} if "id" in found else set()
        self.links += [str(found[key]) for key in ("href", "src") if found.get(key)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, as `just site` builds it."""
    made = tmp_path_factory.mktemp("site")
    folders = ["-d", made / "read", ROOT / "docs", made / "site"]
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", *folders]
    built = subprocess.run(build, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return made / "site"


def test_every_page_is_there_and_no_other_file_of_the_docs(site: Path) -> None:
    pages = [name.removeprefix("docs/") for name in PAGES if name.startswith("docs/")]
    assert [page for page in pages if not (site / page).with_suffix(".html").exists()] == []
    assert not (site / "conf.py").exists()


def test_the_contents_name_every_page(site: Path) -> None:
    contents = re.search(
        r'(?s)<div class="sidebar-tree">(.*?)</ul>\n\n?</div>', (site / "index.html").read_text()
    )
    assert contents is not None
    named = set(re.findall(r'href="([\w/-]+)\.html"', contents[1]))
    pages = {name.removeprefix("docs/").removesuffix(".md") for name in PAGES if "docs/" in name}
    notebooks = {f"notebooks/{path.stem}" for path in NOTEBOOKS}
    assert named == (pages | notebooks) - {"index"}


def test_every_link_within_it_leads_somewhere(site: Path) -> None:
    pages = {file: Page(file) for file in site.rglob("*.html")}
    lost = []
    for file, page in pages.items():
        for link in page.links:
            url = urlsplit(link)
            if url.scheme or url.netloc or link == "#":
                continue
            target = (file.parent / unquote(url.path)).resolve() if url.path else file
            known = pages[target].sections if target in pages else {unquote(url.fragment)}
            if not target.exists() or unquote(url.fragment) not in known:
                lost.append(f"{file.relative_to(site)}: {link}")
    assert lost == []


def test_it_asks_nobody_else_for_anything(site: Path) -> None:
    for file in site.rglob("*.html"):
        asked = re.findall(
            r'<(?:script|img|iframe)[^>]* src="(\w+:[^"]*)|<link[^>]* href="(\w+:[^"]*)',
            file.read_text(),
        )
        assert asked == [], file
