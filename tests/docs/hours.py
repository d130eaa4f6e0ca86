"""What the guide to hours and money types, files and shows: python -m tests.docs.hours"""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.docs import session
from tests.docs.pages import PAGES, blocks

PAGE = "docs/guides/hours.md"

SHOWN = re.compile(r"(?s)(\n\n```\n)(.*?)(```)")
"""The block of what is printed."""

COMMANDS = [line for block in blocks(PAGE, "sh") for line in block.splitlines()]


def answer(folder: Path) -> str:
    """What the page shows of its first answer, as it is printed now."""
    session.write_files(PAGE, folder)
    *_, printed = [session.typed(folder, line) for line in COMMANDS[:3]]
    lines = printed[printed.index("Train on") : printed.index("How to train")].strip().splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        new = answer(Path(made))
    session.write(PAGE, SHOWN.sub(lambda found: f"{found[1]}{new}{found[3]}", PAGES[PAGE], 1))
