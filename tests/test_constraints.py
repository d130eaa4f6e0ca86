"""constraints.txt says which package the tests and the images run with, to the last one."""

import re

from tests.constraints import FILE, pinned

LINES = [line for line in FILE.read_text().splitlines() if not line.startswith("#")]


def test_every_package_that_is_installed_is_pinned_at_its_version_and_no_other_is() -> None:
    assert dict(line.split("==") for line in LINES) == pinned()


def test_each_has_one_line_and_they_are_in_order() -> None:
    assert all(re.fullmatch(r"[a-z0-9-]+==[A-Za-z0-9.+!]+", line) for line in LINES)
    names = [line.partition("==")[0] for line in LINES]
    assert names == sorted(set(names))
