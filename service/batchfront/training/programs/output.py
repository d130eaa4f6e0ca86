"""From what a program tells to its evaluations, exactly or not at all."""

import json
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

from batchfront.errors import ProgramError, WorkloadError
from batchfront.outcomes import Evaluation
from batchfront.training.programs.numbers import count_of, value_of
from batchfront.workload.program import UNITS, Program, Unit

log = logging.getLogger(__name__)

_LONGEST = 8192
"""Characters of a line, its last ones, in which a pattern is looked for: in longer ones a regular
expression may take minutes, and what prints those has no evaluations there."""

_BEFORE = re.compile(r"(?<![\w.)-])-?(?:[\d.]*\d|\.|(?<=-))$|[\d.]*\d$")
_AFTER = re.compile(r"(?<=\d)\d*(?:\.\d+)*(?:[eE][+-]?\d+)?(?:[kKM]\b)?|(?<=\.)\d+")
_AFTER_THOUSANDS = re.compile(r"(?:,\d{3})+(?![\d,]*\d)(?:\.\d+)?")
"""What of a number may stand before a part of it, and after it."""

_BAR = re.compile(r"\d%\||[\d?](it/s|s/it)\b")
"""What a progress bar has beside its numbers."""

_MISSING: Any = object()


class OutputReader:
    """Makes evaluations of what one trial's program tells, in order.

    Give it the lines that the program prints or writes (`line`), or the rows of a file of another
    kind (`row`); each answers with the evaluations that it has brought, mostly none. An
    evaluation's loss is the mean of those told since the evaluation before, its own included; None
    if there were none.

    An evaluation at step 0 is the one before training.
    """

    def __init__(
        self, program: Program, batch_size: int, before: Sequence[Evaluation] = ()
    ) -> None:
        """before -- the trial's evaluations from earlier starts of its program, which has resumed:
        what it tells again up to the last of them is skipped"""
        self._program, self._output, self._batch_size = program, program.output, batch_size
        self._pattern = re.compile(self._output.pattern) if self._output.pattern else None
        self._before = {evaluation.step: evaluation.metric for evaluation in before}
        self._resumed_from = max(self._before, default=0)
        self._first = min(self._before, default=0)
        self._seen: dict[int, float] = {}
        self._last = 0
        self._counts: dict[bool, tuple[Unit, object]] = {}  # last seen, by whether as an error
        self._count: tuple[Unit, object] | None = None
        self._losses: list[float] = []

    def take(self, told: str | Mapping[str, Any]) -> list[Evaluation]:
        """The evaluations in a line, or in a row."""
        return self.line(told) if isinstance(told, str) else self.row(told)

    def line(self, text: str, *, error: bool = False) -> list[Evaluation]:
        """The evaluations in a line.

        error -- whether it was printed on standard error: which of two lines came first is known of
                 one stream alone, so a value is at the step last seen on its own

        Raises ProgramError, which names the line and what is wrong in it, for one whose step or
        value can't be trusted.
        """
        if self._pattern is None:
            return self.row(_json_object(text))
        unit = self._output.unit
        assert unit is not None
        found: list[Evaluation] = []
        for match in _matches(self._pattern, unit, text[-_LONGEST:]):
            said = match.groupdict()
            _refuse_cut(match, text)
            if said[unit]:
                self._counts[error] = (unit, said[unit])
            self._count = self._counts.get(error)
            found += self._evaluation(said.get("loss"), said["value"] or None, text)
        return found

    def row(self, row: Mapping[str, Any]) -> list[Evaluation]:
        """The evaluations in an object of JSON, a row of a CSV or a scalar of TensorBoard."""
        self._count = self._counted(row)
        if self._count is None:
            return []
        loss = _entry(row, self._output.loss)
        value = self._value(row)
        return self._evaluation(
            None if loss is _MISSING else loss, None if value is _MISSING else value, str(dict(row))
        )

    def _counted(self, row: Mapping[str, Any]) -> tuple[Unit, object] | None:
        """The unit that a row counts by, and its count; None if it has none."""
        units = UNITS if self._output.unit is None else (self._output.unit,)
        for unit in units:
            count = _entry(row, self._output.count or unit)
            if count not in (_MISSING, None, ""):
                return unit, count
        return None

    def _value(self, row: Mapping[str, Any]) -> Any:
        names = (self._program.goal.metric.name, "value")
        for name in names if self._output.value is None else (self._output.value,):
            if (value := _entry(row, name)) not in (_MISSING, None, ""):
                return value
        return _MISSING

    def _evaluation(self, loss: object, value: object, told: str) -> list[Evaluation]:
        """The evaluation of a line or row with this loss and value; none if it has no value, or
        was heard before."""
        try:
            if loss not in (None, ""):
                self._losses.append(value_of(loss))
            if value is None:
                return []
            metric = value_of(value)
            step = self._step()
        except (ValueError, WorkloadError) as error:
            raise ProgramError(f"{error}, in what the program tells: {_short(told)}") from None
        return self._new(step, metric, told)

    def _new(self, step: int, metric: float, told: str) -> list[Evaluation]:
        if step in self._seen:
            if _same(self._seen[step], metric):  # as in a file that is written anew each time
                return []
            raise ProgramError(
                f"step {step:,} has the value {metric:g} now, and had {self._seen[step]:g}, "
                f"in what the program tells: {_short(told)}"
            )
        if step < self._last:
            raise ProgramError(
                f"step {step:,} comes after step {self._last:,}, in what the program tells: "
                f"{_short(told)}"
            )
        again = step in self._before and _same(self._before[step], metric)
        if 0 < step <= self._first and not self._last and not again:
            raise ProgramError(
                f"step {step:,} is the first that the program tells since it has resumed at step "
                f"{self._resumed_from:,}: it has to go on counting from its checkpoint"
            )
        if self._last and self._seen[self._last] == metric and _BAR.search(told):
            _warn_of_bar(self._program.name)
        self._seen[step], self._last = metric, step
        losses, self._losses = self._losses, []
        loss = sum(losses) / len(losses) if losses else None
        if 0 < step <= self._resumed_from:
            self._compare(step, metric)
            return []
        return [Evaluation(step, loss, metric)]

    def _compare(self, step: int, metric: float) -> None:
        """Warn of an evaluation that isn't what it was before the program has resumed."""
        before = self._before.pop(step, None)
        if before is not None and not _same(before, metric):
            log.warning(
                "%s isn't reproducible: resumed, it gives %g at step %s, and gave %g",
                self._program.name,
                metric,
                step,
                before,
            )
            self._before.clear()  # to say it once

    def _step(self) -> int:
        """The updates done, by the count last seen. Raises ValueError if they are no whole
        number."""
        if self._count is None and self._counts:
            raise ValueError(
                "its value and its step are printed on two streams, standard output and standard "
                "error, and which came first isn't known; have both on one, as with "
                'command = ["sh", "-c", "... 2>&1"]'
            )
        if self._count is None:
            raise ValueError("there is a value before any step")
        unit, said = self._count
        count = count_of(said)
        offset = 1 if self._output.counts_from == 0 else 0
        if unit in ("step", "epoch"):
            count += offset
        if unit == "epoch" and count == 0 and self._output.counts_from is None:
            raise ValueError(
                f"epoch {said} is the one before training, or the first one; write counts_from = 1 "
                "in [workload] if it is before, or 0 if the first epoch is called 0"
            )
        if unit == "step" and count == 0 and self._output.counts_from is None:
            _warn_of_step_0(self._program.name)
        steps = self._steps(unit, count)
        if steps.denominator != 1:
            raise ValueError(
                f"{unit} {said} is no whole number of steps at batch size {self._batch_size}, but "
                f"{float(steps):.6g}"
            )
        return int(steps)

    def _steps(self, unit: Unit, count: Fraction) -> Fraction:
        if unit == "step":
            return count
        if unit == "epoch":
            return count * self._program.steps_per_epoch(self._batch_size)
        if unit == "tokens":
            each = self._output.tokens_per_example
            if each is None:
                raise ValueError("tokens are no steps as long as tokens_per_example isn't said")
            count /= each
        examples, drop_last = self._program.train_examples, self._output.drop_last
        if drop_last or not examples or examples % self._batch_size == 0:
            return count / self._batch_size
        # An epoch ends with a smaller batch, which is a step too.
        epochs, rest = divmod(count, examples)
        return epochs * self._program.steps_per_epoch(self._batch_size) + rest / self._batch_size


@cache
def _warn_of_step_0(name: str) -> None:
    log.warning(
        "%s: its evaluation at step 0 is taken as the one before the first update; write "
        "counts_from = 1 in [workload] if it is, or 0 if the first step is called 0",
        name,
    )


@cache
def _warn_of_bar(name: str) -> None:
    log.warning(
        "%s: a progress bar shows the same value at one step after another: if it is that of the "
        "last evaluation, steps to target are more than they were; have each evaluation printed in "
        "a line of its own, and match that",
        name,
    )


def _matches(pattern: re.Pattern[str], unit: str, line: str) -> Iterator[re.Match[str]]:
    """The matches in a line, from left to right. One that spans several evaluations, as `.*` does,
    is taken as each of them."""
    start = 0
    while found := pattern.search(line, start):
        end = found.end()
        # Is there another match within this one, and one of another step before that other?
        later = pattern.search(line, found.start() + 1)
        while later is not None and later.start() < end:
            alone = pattern.search(line, start, later.start())
            if alone and _begins_anew(line, later.start()) and alone[unit] != later[unit]:
                found, end = alone, alone.end()
                break
            later = pattern.search(line, later.start() + 1)
        yield found
        start = max(end, start + 1)


def _refuse_cut(match: re.Match[str], text: str) -> None:
    """Raise ProgramError for a group that takes a part of a number, which is another number: of
    3.2e-05 `[\\d.]+` takes 3.2, and after `.*` it takes 5."""
    line, names = match.string, [name for name, taken in match.groupdict().items() if taken]
    begins, ends = ({*map(at, names)} for at in (match.start, match.end))
    for name in names:
        start, end = match.span(name)
        before = None if start in ends else _BEFORE.search(line[max(start - 40, 0) : start])
        taken, after = line[start:end], None
        if not {end, end + 1} & begins:
            after = _thousands(line, taken, end) or _AFTER.match(line, end)
        whole = (before[0] if before else "") + taken + (after[0] if after else "")
        if whole != taken and _is_other(whole, taken):
            raise ProgramError(
                f"(?P<{name}>...) takes {taken!r}, which is a part of {whole!r}; have it match all "
                f"of a number, as \\S+ does, in what the program tells: {_short(text)}"
            )


def _thousands(line: str, taken: str, end: int) -> re.Match[str] | None:
    """What follows the first three digits, at most, of 1,234,567."""
    return _AFTER_THOUSANDS.match(line, end) if taken.isdigit() and len(taken) <= 3 else None


def _is_other(whole: str, part: str) -> bool:
    """Whether a part of what is written is another number than all of it, as 10 isn't of 10.00."""
    try:
        number = value_of(part)
    except ValueError:
        return False
    try:
        return value_of(whole) != number
    except ValueError:
        return True


def _begins_anew(line: str, at: int) -> bool:
    """Whether what begins there isn't the rest of a word or a number."""
    return not (line[at - 1].isalnum() or line[at - 1] in "._+-")


def _json_object(text: str) -> Mapping[str, Any]:
    """The object of JSON that a line is, or ends with, as a logger writes it; empty for any
    other."""
    text = text.rstrip()
    begin = text.find("{")
    if begin < 0 or not text.endswith("}"):
        return {}
    try:
        found = json.loads(text[begin:])
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _entry(row: Mapping[str, Any], name: str) -> Any:
    """What a row has by a name, or by a path of names with dots between."""
    if name in row:
        return row[name]
    found: Any = row
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return _MISSING
        found = found[part]
    return found


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 120 else f"{text[:117]}...")
