"""A loop that calls `trial.report`, each trial as a program of its own.

A generator stands still where it yields; a function that calls back has to wait inside of its call,
and so has a process to itself. To a worker it is a program whose output is what it reports
(`as_program`). The program is this module, which loads the user's file again and trains one trial:

    python -m batchfront.training.loops.child SPEC --files DIGEST --source DIGEST
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from threading import TIMEOUT_MAX
from typing import Any

from batchfront.errors import BatchfrontError, IdentityError, WorkloadError
from batchfront.reporting import GRID, TrialEnded, report, this_trial
from batchfront.training.loops.turns import Turns
from batchfront.workload import catalog
from batchfront.workload.base import WorkloadBase
from batchfront.workload.code.loop import loop_code
from batchfront.workload.code.versions import digest
from batchfront.workload.evaluation_grid import EvaluationGrid, EveryStep, GridSteps
from batchfront.workload.loop import Loop, Measured, Trial
from batchfront.workload.program import Output, Program, Resources
from batchfront.workload.source import files_digest

ASKED_FOR = "asked_for.json"
"""In a trial's folder: what the loop had not asked its trial for when it reported its first steps,
the examples that it had asked for batches of, and whether it had asked when it is evaluated, which
trying it looks at."""

_CHANGED = (
    "the code of {} has changed since its worker loaded it, and its trials go on with what they "
    "were planned with: put it back, or start the workers again"
)

_TRIED = 10  # steps in which that is of interest
_NAME = "batchfront.training.loops.child"  # also while it is the program that runs


def as_program(loop: Loop, spec: str, source: str) -> Program:
    """The program whose trials are those of a loop that calls `trial.report`.

    spec   -- where the loop is found from any folder: `catalog.spec_for_workers`
    source -- the digest of its code, which the program compares with that of what it loads; and
              before it loads them, its files with what they are now
    """
    told = ["--files", files_digest(spec), "--source", source]
    command = [sys.executable, "-P", "-m", _NAME, spec, *told]
    return Program(
        **{one.name: getattr(loop, one.name) for one in fields(WorkloadBase)},
        path=Path(spec.rpartition(":")[0] or spec),
        command=[_literally(word) for word in command],
        output=Output("report"),
        train_examples=loop.train_examples,
        resources=Resources(
            at_once=loop.at_once or 1,
            env={} if loop.own_steps else {GRID: _literally(json.dumps(asdict(loop.grid)))},
            cwd=Path.cwd(),
            max_pause=TIMEOUT_MAX,  # it waits in its report, where nothing else is under way
        ),
    )


def train(spec: str, files: str | None, source: str) -> None:
    """Train the trial that this process is.

    Raises IdentityError if the loop's code has changed, WorkloadError if it isn't a loop or doesn't
    do what a loop has to, and whatever it raises itself.
    """
    if files not in (None, files_digest(spec)):
        raise IdentityError(_CHANGED.format(spec))
    loop = catalog.load(spec)
    if not isinstance(loop, Loop):
        raise WorkloadError(f"{spec} is a {type(loop).__name__}, not a Loop")
    if digest(loop_code(loop)) != source:
        raise IdentityError(_CHANGED.format(loop.name))
    reports = _Reports(loop, this_trial())
    trial = reports.trial
    found = Turns(trial.long_seed, trial.device).take(lambda: loop.train(trial))
    if hasattr(found, "__next__"):
        raise WorkloadError(
            f"{loop.name}: train() returns a {type(found).__name__}, of which nothing has run; "
            "write the yields in train() itself, or call trial.report"
        )
    reports.refuse_early_end()


class _Reports:
    """Passes on what a loop reports to the worker, if it is what a loop has to report.

    trial -- what the loop is given
    """

    def __init__(self, loop: Loop, told: Trial) -> None:
        grid, budget = json.loads(os.environ.get(GRID, "null")), told.step_budget
        self._steps = (
            EveryStep(budget) if grid is None else GridSteps(EvaluationGrid(**grid), budget)
        )
        self._loop, self._at = loop, 0
        self._had_torch = "torch" in sys.modules
        self.trial = Trial(
            told.metaparameters,
            told.batch_size,
            told.long_seed,
            self._steps,
            device=told.device,
            directory=lambda: told.directory,
            report=self._report,
        )

    def refuse_early_end(self) -> None:
        """Raise WorkloadError if the loop has returned before its step budget is spent, unless it
        alone says when it is evaluated."""
        following = self._expected()
        if following is not None and self.trial.has_grid:
            after = f"after step {self._at}" if self._at else "without a report"
            raise self._error(
                f"train() returns {after}; it is to go on to the step budget, "
                f"{self._steps.budget:,} steps (trial.step_budget), and to report step {following} "
                "next"
            )

    def _report(self, step: Any, value: Any, loss: Any, examples: Any, measures: Any) -> None:
        if not self._at:
            self._check_begun()
        if self._at < _TRIED:
            asked = {
                "not": sorted(self.trial.unread),
                "batches_of": self.trial.train_examples,
                "when": self.trial.has_asked_when,
            }
            (self.trial.directory / ASKED_FOR).write_text(json.dumps(asked))
        try:
            found = self.trial.measured(step, value, loss, examples, measures)
        except WorkloadError as error:
            raise self._error(f"reports what it can't: {error}") from None
        if self._expected() is None:
            raise TrialEnded(f"the step budget of {self._steps.budget:,} steps is spent")
        self._check(found)
        self._at = found.step
        report(found.step, found.value, found.loss, found.examples, found.measures)

    def _check(self, found: Measured) -> None:
        expected, batch_size = self._expected(), self.trial.batch_size
        if found.step != expected and self.trial.has_grid:
            raise self._error(
                f"reports step {found.step}, where step {expected} is the next that is evaluated; "
                "report wherever trial.evaluates(step), and only there"
            )
        if (wrong := self._loop.why_wrong(found, batch_size)) is not None:
            raise self._error(wrong)

    def _expected(self) -> int | None:
        """The step at which it reports next; None once the budget ends before."""
        if isinstance(self._steps, GridSteps):
            return self._steps.after(self._at)
        return self._at + 1 if self._at < self._steps.budget else None

    def _check_begun(self) -> None:
        """Raise WorkloadError if the loop can't be what is searched, by how it has begun."""
        if "batch_size" in self.trial.unread:
            raise self._error(
                "the loop doesn't take its batch size: it has reported without asking for "
                "trial.batch_size"
            )
        if not self._had_torch and "torch" in sys.modules:
            raise self._error(
                "imports torch on its way, too late for its random numbers to be seeded; import it "
                "at the top of the file"
            )

    def _error(self, what: str) -> WorkloadError:
        return WorkloadError(f"{self._loop.name}: {what}")


def _literally(text: str) -> str:
    """A text in which no brace is a placeholder's."""
    return text.replace("{", "{{").replace("}", "}}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train one trial. Returns the exit code: an error of ours is one line, as anywhere."""
    parser = argparse.ArgumentParser(prog=f"python -m {_NAME}")
    parser.add_argument("spec")
    parser.add_argument("--files")
    parser.add_argument("--source", required=True)
    given = parser.parse_args(arguments)
    try:
        train(given.spec, given.files, given.source)
    except BatchfrontError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
