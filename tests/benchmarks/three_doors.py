"""What do the three doors cost? One model as a workload, a loop and a program.

    python -m tests.benchmarks.three_doors

`digits/mlp/momentum` with the same draws, initial weights and order of examples through each door:
the winners must be the same. Beside each stands what the same trials take without batchfront, each
trained to the step at which its race has left it: by a bare generator, or by the program alone.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import torch
from sqlalchemy import select

from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.schema import slots, studies
from batchfront.store.url import open_storage
from batchfront.vocabulary import EngineName
from batchfront.worker.options import WorkerOptions
from batchfront.worker.worker import Settings, Worker
from batchfront.workload import catalog
from batchfront.workload.search_space import Value
from batchfront.workload.seeds import study_seed, trial_seed
from batchfront_studies.digits import momentum
from tests.benchmarks import digits_trial
from tests.benchmarks.markdown import table
from tests.searches import CODE

PROGRAM = Path(digits_trial.__file__).resolve()
NAME = momentum().name

_SWEEP_FILE = """
[workload]
name = "{name}"
command = "{python} {program} --learning-rate {{learning_rate}} --momentum {{momentum}} \
--batch-size {{batch_size}} --seed {{seed}} --max-steps {{step_budget}}"
output = 'step (?P<step>\\d+) error (?P<value>\\S+) loss (?P<loss>\\S+)'
metric = "error rate"
better = "lower"
goal = {goal}
batch_sizes = {batch_sizes}
step_budget = {{{budgets}}}
[search_space]
learning_rate = {{ log = [1e-3, 3.0] }}
momentum = {{ reverse_log = [0.0, 0.99] }}
[resources]
at_once = {at_once}
"""


@dataclass(frozen=True)
class Ended:
    """A trial as its race has left it."""

    batch_size: int
    number: int
    steps: int
    values: dict[str, Value]
    won: int | None

    @property
    def seed(self) -> int:
        """The trial's own."""
        return trial_seed(study_seed(0, NAME, self.batch_size), self.number)


@dataclass(frozen=True)
class Door:
    """What a search through one door has come to, in CPU seconds.

    alone -- the same trials, trained to the same steps without batchfront
    """

    trials: Sequence[Ended]
    seconds: float
    alone: float

    @property
    def winners(self) -> list[tuple[int, int, int]]:
        """Batch size, steps to target and trial of each winner."""
        passed = [(t.batch_size, t.won, t.number) for t in self.trials if t.won is not None]
        sizes = sorted({size for size, _, _ in passed})
        return [min(one for one in passed if one[0] == size) for size in sizes]

    @property
    def overhead(self) -> float:
        """Of a trial."""
        return (self.seconds - self.alone) / len(self.trials)


def sweep_file(folder: Path, batch_sizes: Sequence[int], trials: int) -> Path:
    """Write the sweep file of the program, all of whose trials race together."""
    budget = momentum().steps_allowed
    path = folder / "sweep.toml"
    text = _SWEEP_FILE.format(
        name=NAME,
        python=sys.executable,
        program=PROGRAM,
        goal=digits_trial.GOAL,
        batch_sizes=list(batch_sizes),
        budgets=", ".join(f"{size} = {budget(size)}" for size in batch_sizes),
        at_once=trials,
    )
    path.write_text(text)
    return path


def search(
    spec: str, folder: Path, asked: SearchOptions, engine: EngineName = EngineName.SEQUENTIAL
) -> tuple[list[Ended], float]:
    """Plan and race a workload of any kind by a worker in this process.

    Returns its trials, and the worker's CPU seconds with those of all processes that it started.
    """
    storage = open_storage(f"sqlite:///{folder / 'batchfront.db'}", create=True)
    planned = plan(storage, spec, catalog.load(spec), asked)
    options = WorkerOptions(
        engine=engine, trial_dir=str(folder / "trials"), code=(*CODE, str(folder))
    )
    began = cpu_seconds()
    Worker(storage, Settings("here", "cpu", planned.filter, options), Event()).run()
    spent = cpu_seconds() - began
    query = select(studies.c.batch_size, slots).join(studies).order_by(slots.c.id)
    with storage.read() as conn:
        ended = [
            Ended(
                row.batch_size, row.number, row.steps, json.loads(row.params), row.steps_to_target
            )
            for row in conn.execute(query)
        ]
    storage.close()
    return ended, spent


def generator_alone(trial: Ended) -> None:
    """Train one in this process."""
    for _ in digits_trial.evaluations(
        trial.batch_size,
        float(trial.values["learning_rate"]),
        float(trial.values["momentum"]),
        trial.seed,
        trial.steps,
    ):
        pass


def program_alone(trial: Ended) -> None:
    """Run its program by itself."""
    told = {
        "--learning-rate": trial.values["learning_rate"],
        "--momentum": trial.values["momentum"],
        "--batch-size": trial.batch_size,
        "--seed": trial.seed,
        "--max-steps": trial.steps,
    }
    arguments = [text for name, value in told.items() for text in (name, repr(value))]
    subprocess.run([sys.executable, PROGRAM, *arguments], check=True, stdout=subprocess.DEVNULL)


def measure(
    spec: Callable[[Path], str],
    engine: EngineName,
    alone: Callable[[Ended], None],
    asked: SearchOptions,
) -> Door:
    """Search through one door, and then train the same trials without it."""
    with TemporaryDirectory() as folder:
        ended, spent = search(spec(Path(folder)), Path(folder), asked, engine)
    began = cpu_seconds()
    for trial in ended:
        alone(trial)
    return Door(ended, spent, cpu_seconds() - began)


def cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    return sum(os.times()[:4])


def doors_table(doors: dict[str, Door]) -> str:
    """One row a door."""
    rows = [
        [
            name,
            " / ".join(f"{steps} ({number})" for _, steps, number in door.winners),
            f"{sum(trial.steps for trial in door.trials):,}",
            f"{door.seconds:.1f}",
            f"{door.alone:.1f}",
            f"{door.overhead:.2f}",
            f"{(door.seconds / door.alone - 1):.0%}",
        ]
        for name, door in doors.items()
    ]
    columns = "door|winners: steps (trial)|steps|CPU s|alone, CPU s|overhead a trial, s|share"
    return table(columns.split("|"), rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table; 1 if the doors have found different winners."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few trials, an easy goal")
    quick = parser.parse_args(arguments).quick
    batch_sizes, trials = ((64, 256), 3) if quick else ((16, 64, 256), 8)
    asked = SearchOptions(batch_sizes, trials, seed=0, goal=0.2 if quick else None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    digits_trial.splits()
    loop = f"{PROGRAM}:loop"
    kinds = {
        "workload": (lambda _: NAME, EngineName.SEQUENTIAL, generator_alone),
        "workload, vectorized": (lambda _: NAME, EngineName.VECTORIZED, generator_alone),
        "loop": (lambda _: loop, EngineName.SEQUENTIAL, generator_alone),
        "program": (
            lambda folder: str(sweep_file(folder, batch_sizes, trials)),
            EngineName.SEQUENTIAL,
            program_alone,
        ),
    }
    doors = {name: measure(*kind, asked) for name, kind in kinds.items()}
    torch.set_num_threads(threads)
    print(doors_table(doors))
    first = doors["workload"].winners
    differ = [name for name, door in doors.items() if door.winners != first]
    for name in differ:
        print(f"other winners: {name}", file=sys.stderr)
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
