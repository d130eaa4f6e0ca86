"""How long until a command says its first word, and until it has answered a slip?

    python -m tests.benchmarks.first_words
    python -m tests.benchmarks.first_words --command /elsewhere/bin/batchfront  # as installed there

Runs the command itself, in processes of their own, one thread each. CPU seconds are of all that a
command has started, and tell more than wall-clock time where others use the machine.
"""

import argparse
import os
import resource
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from tests.benchmarks.markdown import spread, table

WORKLOAD = "digits/mlp/momentum"

OURS = (sys.executable, "-P", "-m", "batchfront.cli.main")

FILE = """
import torch
from batchfront import Workload


def mine() -> Workload:
    raise NotImplementedError
"""


@dataclass(frozen=True)
class Asked:
    """A command, and how it ends. `run` is stopped at its first word, where no code is given."""

    words: str
    code: int | None = 0


SLIPS = (
    Asked("run digits/mlp/momentun", 2),
    Asked(f"run {WORKLOAD} --goal 97", 2),
    Asked(f"run {WORKLOAD} --goal 3%", 2),
    Asked(f"run {WORKLOAD} --batch-sizes 2048", 2),
    Asked(f"run {WORKLOAD} --device cuda:99", 2),
    Asked("run mine.py:yours", 2),
    Asked("time digits/mlp/momentun", 2),
    Asked("probe digits/mlp/momentun", 2),
    Asked(f"frontier {WORKLOAD} --storage sqlite:///none.db", 1),
)

ANSWERS = (
    Asked("--version"),
    Asked("--help"),
    Asked("run --help"),
    Asked("workloads"),
    Asked(f"workloads show {WORKLOAD}"),
    Asked("status --storage {database}"),
    Asked(f"frontier {WORKLOAD} --storage {{database}}"),
    Asked(f"curve {WORKLOAD} --storage {{database}}"),
)

FIRST = Asked(f"run {WORKLOAD} --trials 1 --batch-sizes 256 --workers 1", None)


@dataclass(frozen=True)
class Took:
    """Seconds to the first line and to the end, and CPU seconds."""

    first: float
    whole: float
    cpu: float


def take(command: Sequence[str], asked: Asked, folder: Path, database: str) -> Took:
    """Run a command in a folder. Raises SystemExit where it doesn't end as it should."""
    words = shlex.split(asked.words.format(database=database))
    own = {name: value for name, value in os.environ.items() if not name.startswith("BATCHFRONT_")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = perf_counter()
    process = subprocess.Popen(
        [*command, *words],
        cwd=folder,
        env={**own, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    first = perf_counter() - began
    if asked.code is None:
        process.terminate()
    said = line + process.stdout.read()
    process.stdout.close()
    if process.wait() != asked.code and asked.code is not None:
        raise SystemExit(f"{asked.words}: exit code {process.returncode}: {said}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(first, perf_counter() - began, cpu)


def searched(command: Sequence[str], folder: Path) -> str:
    """The URL of a database in which a small search is done."""
    url = f"sqlite:///{folder}/searched.db"
    words = f"run {WORKLOAD} --trials 8 --batch-sizes 32..512 --workers 1 --storage {url}"
    take(command, Asked(words), folder, url)
    return url


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5, help="times that each command runs")
    parser.add_argument("--command", help="another installation's")
    parser.add_argument("--quick", action="store_true", help="two commands, once each")
    told = parser.parse_args(arguments)
    command = (str(Path(told.command).absolute()),) if told.command else OURS
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "mine.py").write_text(FILE)
        database = "" if told.quick else searched(command, folder)
        commands = (*SLIPS[:1], ANSWERS[0]) if told.quick else (FIRST, *SLIPS, *ANSWERS)
        for asked in commands:
            took = [take(command, asked, folder, database) for _ in range(told.repeat)]
            left = [path.name for path in folder.glob("batchfront.db")]
            for path in folder.glob("batchfront.db*"):
                path.unlink() if path.is_file() else None
            words = asked.words.replace(" --storage {database}", "")
            ends = asked.code is not None
            rows.append(
                [
                    f"`{words}`",
                    spread([one.first for one in took], ".2f"),
                    spread([one.whole for one in took], ".2f") if ends else "–",
                    spread([one.cpu for one in took], ".2f") if ends else "–",
                    ", ".join(left) if ends and left else "nothing" if ends else "–",
                ]
            )
    titles = ("command", "s to the first line", "s in all", "CPU s", "leaves behind")
    print(table(titles, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
