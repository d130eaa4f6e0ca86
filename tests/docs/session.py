"""A page on which a user types commands, one after another: its files, and what they print.

Files stand in the blocks below a line that ends in their name, as in "`train.py`:". Below a block
of commands, one that isn't marked shows a part of what the last of them prints: from the line that
begins as it does, up to an empty one.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from textwrap import fill

from tests.docs.pages import PAGES, ROOT

_FILE = re.compile(r"(?ms)`([\w.]+)`(?:, [^`\n]*)?:\n\n```(?:csv|python|toml)\n(.*?)^```")
_TYPED = re.compile(
    r"(?ms)^```sh\n(?P<lines>.*?)^```\n(?P<between>[^`]*)(?:^```\n(?P<shown>.*?)^```)?"
)
_BEGINS = 14
"""So many characters of a part's first line say where it begins."""


def write_files(page: str, folder: Path) -> list[str]:
    """Write the files that a page shows. Returns their names."""
    found = _FILE.findall(PAGES[page])
    for name, text in found:
        (folder / name).write_text(text)
    return [name for name, _ in found]


def typed(folder: Path, line: str, **environment: str) -> str:
    """What a line of a page prints, typed there by a user."""
    program, *told = shlex.split(line)
    assert program == "batchfront"
    own = {key: value for key, value in os.environ.items() if not key.startswith("BATCHFRONT_")}
    data = {"BATCHFRONT_DATA_DIR": os.environ.get("BATCHFRONT_DATA_DIR", str(folder / "data"))}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "batchfront.cli.main", *told],
        cwd=folder,
        env={**own, **data, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (line, done.stderr)
    return done.stdout


def played(page: str, folder: Path) -> str:
    """A page with what its commands print now, after its files were written and they were run."""
    write_files(page, folder)

    def again(block: re.Match[str]) -> str:
        *_, printed = [typed(folder, line) for line in block["lines"].splitlines()]
        if block["shown"] is None:
            return block[0]
        start = block.start("shown") - block.start()
        return f"{block[0][:start]}{_part(printed, block['shown'])}```"

    return _TYPED.sub(again, PAGES[page])


def _part(printed: str, shown: str) -> str:
    """The part of what was printed that begins as what is shown does."""
    lines = [line.rstrip() for line in printed.splitlines()]
    first = shown.partition("\n")[0][:_BEGINS]
    begins = [n for n, line in enumerate(lines) if line.startswith(first)]
    assert begins, f"nothing that was printed begins as {first!r}: {printed}"
    end = lines.index("", begins[0]) if "" in lines[begins[0] :] else len(lines)
    return "".join(f"{_in_sight(line)}\n" for line in lines[begins[0] : end])


def _in_sight(line: str) -> str:
    """A sentence in lines as wide as a page's; what has columns as it is."""
    return line if re.search("  |──", line) else fill(line, 88, break_on_hyphens=False)


def write(page: str, text: str) -> None:
    """Put a page in the place of the one that there is."""
    (ROOT / page).write_text(text)
