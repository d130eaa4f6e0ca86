"""The page on the architecture describes every package, in their order, and every table."""

import re
import tomllib

from batchfront.store.schema import metadata
from tests.docs.pages import PAGES, ROOT

PAGE = PAGES["docs/architecture.md"]


def test_packages_stand_in_the_order_in_which_they_may_import_one_another() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (one["layers"] for one in contracts["contracts"] if one["type"] == "layers")
    packages = re.findall(r"(?m)^\| `(\w+)/` \|", PAGE)
    assert packages == [one for one in reversed(layers) if one in packages]
    shared = re.findall(r"(?m)^\| (`\w+`, .*?) \|", PAGE)
    assert re.findall(r"\w+", shared[0]) == sorted(layers[-1].split(" : "))
    there = {path.parent.name for path in ROOT.glob("service/batchfront/*/__init__.py")}
    assert {*packages} == there


def test_every_table_of_the_database_is_described() -> None:
    assert {*re.findall(r"(?m)^\| `(bf_\w+)` \|", PAGE)} == {*metadata.tables}


def test_every_module_that_is_named_is_there() -> None:
    named = re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", PAGE)
    assert len(named) > 20
    for path in named:
        assert any((root / path).exists() for root in (ROOT, ROOT / "service" / "batchfront")), path
