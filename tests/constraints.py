"""constraints.txt, made of what is installed here: python -m tests.constraints"""

from importlib.metadata import distribution, version
from pathlib import Path

from tests.distributions import needed

FILE = Path(__file__).parents[1] / "constraints.txt"

_BUILDING = ("editables", "hatchling")
"""What pip installs to build batchfront, in a place of its own."""

_INTRODUCTION = """\
# What the tests and the images run with: every package that pip installs for them, directly or not,
# and to build batchfront. The ranges that batchfront itself asks for are in pyproject.toml. Made by
# `python -m tests.constraints` of what is installed.
"""


def pinned() -> dict[str, str]:
    """The version of every package that the README's test command installs."""
    names = {*_BUILDING}
    for extra in ("train", "test"):  # the second asks for batchfront itself, with the first
        names |= needed(distribution("batchfront"), extra)
    for name in _BUILDING:
        names |= needed(distribution(name))
    return {name: version(name) for name in sorted(names - {"batchfront"})}


if __name__ == "__main__":
    lines = [f"{name}=={number}\n" for name, number in pinned().items()]
    FILE.write_text("".join([_INTRODUCTION, *lines]))
