"""What does racing a program save? Beside Optuna, which runs the same program to its end.

    python -m tests.benchmarks.program_search

The program is the one that `batchfront new program` writes. All three ways run the same trials, of
the same metaparameters and seeds, and look for the one that passes the goal in the fewest steps:
batchfront's race; a plain Optuna loop, which reads a program's output once it has ended; and one
with a median pruner, which reads its lines as they come, ends it where the pruner says so, and
where it has passed the goal.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna

from batchfront.plan.options import SearchOptions
from batchfront.workload import catalog
from batchfront.workload.program import Program
from batchfront.workload.search_space import Value, quasi_random_points
from batchfront.workload.seeds import study_seed, trial_seed
from tests.benchmarks.markdown import spread, table
from tests.benchmarks.three_doors import Ended, search

FACTOR = 3
"""The oracle's budget, in multiples of the best steps of the same study."""

_LINE = re.compile(r"step (\d+): val_loss (\S+)")


@dataclass(frozen=True)
class Searched:
    """What one way came to at one batch size.

    steps  -- that its programs have done, whether they were of use or not
    winner -- steps to target and trial
    """

    steps: int
    winner: tuple[int, int] | None


def race(program: Program, folder: Path, asked: SearchOptions) -> dict[int, Searched]:
    """All trials of each batch size race together; what each way of Optuna's then repeats."""
    ended, _ = search(str(program.path), folder, asked)
    return {
        size: Searched(
            sum(map(last_step, folder.glob(f"trials/*/{program.name}/b{size}/*/output.log"))),
            min((t.won, t.number) for t in ended if t.batch_size == size and t.won is not None),
        )
        for size in program.batch_sizes
    }


def last_step(log: Path) -> int:
    """How far a program has come, which may be further than its race has heard."""
    return max(int(step) for step, _ in _LINE.findall(log.read_text()))


def by_optuna(
    program: Program, points: Sequence[Mapping[str, Value]], trial_of: Ended, *, prune: bool
) -> Searched:
    """The same trials by `study.optimize`, one after another.

    trial_of -- batch size, seed of the study, and budget
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner() if prune else optuna.pruners.NopPruner()
    study = optuna.create_study(direction="minimize", pruner=pruner)
    for values in points:
        study.enqueue_trial(dict(values))
    spent: list[int] = []
    run = partial(_objective, program, trial_of, spent, prune=prune)
    study.optimize(run, n_trials=len(points))
    done = [t for t in study.trials if t.state is optuna.trial.TrialState.COMPLETE]
    best = min(((int(t.value or 0), t.number) for t in done), default=None)
    return Searched(sum(spent), best)


def _objective(
    program: Program, trial_of: Ended, spent: list[int], trial: optuna.Trial, *, prune: bool
) -> float:
    rate = trial.suggest_float("learning_rate", 1e-3, 1.0, log=True)
    momentum = trial.suggest_float("momentum", 0.0, 0.99)
    told = {
        "learning-rate": rate,
        "momentum": momentum,
        "batch-size": trial_of.batch_size,
        "seed": trial_seed(trial_of.number, trial.number),
        "max-steps": trial_of.steps,
    }
    passed = pruned = None
    step = 0
    with _started(program, told) as process:
        for step, value in _lines(process):
            if passed is None and value < program.goal.value:
                passed = step
            trial.report(value, step)
            if prune and (passed or trial.should_prune()):
                pruned = not passed
                process.terminate()
                break
    spent.append(step)
    if passed is None or pruned:
        raise optuna.TrialPruned
    return passed


def _started(program: Program, told: Mapping[str, Value]) -> "subprocess.Popen[str]":
    words = [word for name, value in told.items() for word in (f"--{name}", repr(value))]
    command = [sys.executable, "-u", str(program.folder / program.command[1]), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _lines(process: "subprocess.Popen[str]") -> Iterator[tuple[int, float]]:
    assert process.stdout is not None
    for line in process.stdout:
        if found := _LINE.search(line):
            yield int(found[1]), float(found[2])


def program_in(folder: Path, batch_sizes: Sequence[int], trials: int) -> Program:
    """The program that `batchfront new program` writes, all of whose trials race together."""
    made = files("batchfront.cli").joinpath("starting_files")
    for name in ("sweep.toml", "least_squares.py"):
        (folder / name).write_text(made.joinpath(name).read_text())
    path = folder / "sweep.toml"
    text = re.sub(r"(?m)^at_once = \d+", f"at_once = {trials}", path.read_text())
    text = text.replace('"python3 ', f'"{sys.executable} ').replace(
        "python3 ", f"{sys.executable} "
    )
    path.write_text(re.sub(r"(?m)^batch_sizes = .*$", f"batch_sizes = {list(batch_sizes)}", text))
    found = catalog.load(str(path))
    assert isinstance(found, Program)
    return found


WAYS = {
    "racing": None,
    "plain Optuna, to the step budget": (False, None),
    f"plain Optuna, to {FACTOR}× the best": (False, FACTOR),
    "MedianPruner, to the step budget": (True, None),
    f"MedianPruner, to {FACTOR}× the best": (True, FACTOR),
}


def measure(batch_sizes: Sequence[int], trials: int, seed: int) -> dict[str, list[Searched]]:
    """What every way came to, at each batch size."""
    with TemporaryDirectory() as folder:
        program = program_in(Path(folder), batch_sizes, trials)
        asked = SearchOptions(tuple(batch_sizes), trials, seed=seed)
        raced = race(program, Path(folder), asked)
        found = {name: [] for name in WAYS}
        found["racing"] = list(raced.values())
        for size in batch_sizes:
            of = study_seed(seed, program.name, size)
            points = quasi_random_points(program.space(size), trials, of)
            best = raced[size].winner
            assert best is not None
            for name, way in WAYS.items():
                if way is not None:
                    prune, factor = way
                    budget = factor * best[0] if factor else program.steps_allowed(size)
                    trial_of = Ended(size, of, budget, {}, None)
                    found[name].append(by_optuna(program, points, trial_of, prune=prune))
    return found


def ways_table(runs: Sequence[dict[str, list[Searched]]]) -> str:
    """One row a way: its steps over all batch sizes, and how often it finds the race's winner."""
    rows = []
    for name in WAYS:
        steps = [sum(one.steps for one in run[name]) for run in runs]
        raced = [sum(one.steps for one in run["racing"]) for run in runs]
        pairs = [
            (a.winner, b.winner)
            for run in runs
            for a, b in zip(run[name], run["racing"], strict=True)
        ]
        same = sum(one == other for one, other in pairs)
        shares = [s / r for s, r in zip(steps, raced, strict=True)]
        rows.append([name, spread(steps, ",.0f"), spread(shares, ".1f"), f"{same} of {len(pairs)}"])
    return table(["way", "program steps", "times racing's", "the race's winner"], rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table; 1 if a program run to its end shows another winner."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, two batch sizes")
    quick = parser.parse_args(arguments).quick
    batch_sizes, trials, seeds = ((16, 64), 6, 1) if quick else ((1, 4, 16, 64), 16, 3)
    runs = [measure(batch_sizes, trials, seed) for seed in range(seeds)]
    print(ways_table(runs))
    exact = [name for name, way in WAYS.items() if way is not None and not way[0]]
    wrong = [
        name
        for run in runs
        for name in exact
        if [one.winner for one in run[name]] != [one.winner for one in run["racing"]]
    ]
    for name in wrong:
        print(f"another winner: {name}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
