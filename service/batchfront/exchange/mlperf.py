"""Reference convergence points of MLPerf, as MLCommons' public logging repository keeps them.

A file `ROUND/rcps_BENCHMARK.json` holds, for some batch sizes of a benchmark, how much training
each of several runs needed to reach its quality target. What it calls epochs is epochs of some
benchmarks and samples or tokens of others, in some rounds: a benchmark whose unit isn't known here
is refused, and so is a number that can't be of its unit.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path
from typing import Any

from batchfront.errors import DataError, UsageError
from batchfront.exchange.json_text import read_json
from batchfront.exchange.points_file import Measured
from batchfront.exchange.rows import LARGEST, VERY_LARGE, number
from batchfront.phrases import first_few
from batchfront.workload.search_space import Value

_ROUND = re.compile(r"(training|hpc)_(\d+)\.(\d+)\.(\d+)")

_EPOCHS = 10_000  # no run has as many

_Version = tuple[int, ...]


@dataclass(frozen=True)
class Unit:
    """What a benchmark counts its training in.

    examples -- in one of them: an epoch's, or a part of one
    train_examples -- in the training set; 0: not known
    """

    name: str
    examples: Fraction
    train_examples: int = 0


SAMPLES = Unit("samples", Fraction(1))


def _epochs(examples: int) -> Unit:
    return Unit("epochs", Fraction(examples), examples)


def _tokens(each: int) -> Unit:
    return Unit("tokens", Fraction(1, each))


_KNOWN: dict[str, tuple[tuple[_Version, Unit], ...]] = {
    "bert": (((1,), SAMPLES),),
    "cosmoflow": (((1,), _epochs(524_288)),),
    "deepcam": (((1,), _epochs(121_266)),),
    "deepseekv3_671b": (((6,), SAMPLES),),
    "dlrm": (((1,), _epochs(4_195_197_692)),),
    "dlrm_dcnv2": (((3,), _epochs(4_195_197_692)),),
    "flux1": (((5,), SAMPLES),),
    "gnn": (((4,), _epochs(94_605_581)),),  # 60 % of the 157,675,969 labelled papers of IGBH
    "gpt3": (((3,), _tokens(2048)),),
    "gpt_oss_20b": (((6,), SAMPLES),),
    "llama2_70b_lora": (((4,), SAMPLES),),
    "llama31_405b": (((5,), SAMPLES),),
    "llama31_8b": (((5,), SAMPLES),),
    "maskrcnn": (((1,), _epochs(117_266)),),
    "oc20": (((1,), _epochs(2_000_000)),),
    "openfold": (((3,), SAMPLES),),
    "qwen35_397b_grpo": (((6,), SAMPLES),),
    "resnet": (((1,), _epochs(1_281_167)),),
    "retinanet": (((5,), _epochs(1_170_301)),),
    "rgat": (((5,), _epochs(94_605_581)),),
    "ssd": (((1,), _epochs(117_266)), ((2,), _epochs(1_170_301))),  # COCO, then Open Images
    "stable_diffusion": (((3,), SAMPLES),),
    "unet3d": (((1,), _epochs(168)), ((3, 1), SAMPLES)),
}
"""By benchmark, the first round of each unit; the training sets are those of MLPerf's rules."""


@dataclass(frozen=True)
class Found:
    """A file of the repository: a benchmark in a round."""

    file: Path
    suite: str
    version: _Version
    benchmark: str

    @property
    def workload(self) -> str:
        """Its name here."""
        version = ".".join(map(str, self.version))
        return f"mlperf/{self.benchmark}/{self.suite}_{version}"


def find_benchmarks(folder: Path, workloads: str | None) -> list[Found]:
    """The benchmarks in a folder of the repository, or in the whole of it.

    workloads -- a glob of names; without one, the newest round that has a benchmark is taken

    Raises UsageError where there is none.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    found = sorted(
        (_found(file) for file in folder.resolve().rglob("rcps_*.json")),
        key=lambda one: (one.benchmark, one.suite, one.version),
    )
    if not found:
        raise UsageError(
            f"{folder}: has no rcps_*.json in it; give a checkout of the logging repository of "
            "MLCommons, or a part such as mlperf_logging/rcp_checker/training_5.1.0"
        )
    if workloads is None:
        return list({(one.benchmark, one.suite): one for one in found}.values())
    matching = [one for one in found if fnmatchcase(one.workload, workloads)]
    if not matching:
        names = first_few([one.workload for one in found])
        raise UsageError(f"--workloads {workloads!r} matches none of {names}")
    return matching


def _found(file: Path) -> Found:
    told = _ROUND.fullmatch(file.parent.name)
    if told is None:
        raise UsageError(f"{file}: must lie in the folder of a round, such as training_5.1.0")
    version = tuple(int(part) for part in told.groups()[1:])
    return Found(file, told[1], version, file.stem.removeprefix("rcps_"))


def parse_unit(text: str) -> tuple[str, Unit]:
    """`BENCHMARK=samples`, `=epochs:N` or `=tokens:N`. Raises UsageError for any other text."""
    benchmark, _, said = text.partition("=")
    unit, _, digits = said.partition(":")
    each = int(digits) if digits.isdecimal() and digits.isascii() and len(digits) < 20 else 0
    if benchmark and said == "samples":
        return benchmark, SAMPLES
    if benchmark and unit in ("epochs", "tokens") and 0 < each <= VERY_LARGE:
        return benchmark, _epochs(each) if unit == "epochs" else _tokens(each)
    raise UsageError(
        f"--unit {text!r}: write BENCHMARK=samples, BENCHMARK=epochs:N, with the examples of an "
        "epoch, or BENCHMARK=tokens:N, with the tokens of an example"
    )


def read_benchmark(found: Found, units: Mapping[str, Unit]) -> list[Measured]:
    """All runs of a benchmark, in its order, with a number for a seed.

    units -- those of the user's own, which go before the known ones

    Raises DataError, naming the entry, for what can't be meant.
    """
    try:
        entries = read_json(found.file.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{found.file}: {error}") from None
    if not isinstance(entries, dict) or not entries:
        raise DataError(f"{found.file}: must be an object with an entry for each batch size")
    read = [
        _entry(f"{found.file}, {name}", found, entry, units.get(found.benchmark))
        for name, entry in entries.items()
    ]
    at: dict[int, str] = {}
    for one in read:
        first = at.setdefault(one.batch_size, one.where)
        if first != one.where:
            raise DataError(
                f"{one.where}: batch size {one.batch_size} is there already, in {first}"
            )
    # Epochs are as long at all batch sizes.
    common = _spacing([one.amounts for one in read if one.unit.train_examples])
    return [run for one in read for run in _runs(one, found, common)]


@dataclass(frozen=True)
class _Entry:
    """All runs at a batch size. `amounts` are of the unit."""

    where: str
    batch_size: int
    unit: Unit
    amounts: tuple[Fraction, ...]
    params: Mapping[str, Value]

    def steps(self, amount: Fraction) -> Fraction:
        """A number of steps, which may end within one."""
        return amount * self.unit.examples / self.batch_size


def _entry(where: str, found: Found, entry: object, given: Unit | None) -> _Entry:
    if not isinstance(entry, dict):
        raise DataError(f"{where}: must be an object")
    batch_size = entry.get("BS")
    if type(batch_size) is not int or not 1 <= batch_size <= LARGEST:
        raise DataError(f"{where}: BS must be a whole number, 1 or more, not {batch_size!r}")
    by_samples = "samples to converge" in entry
    stated = entry.get("samples to converge" if by_samples else "Epochs to converge")
    if not isinstance(stated, list) or not stated:
        raise DataError(f'{where}: needs "Epochs to converge", a list with a number for each run')
    unit = SAMPLES if by_samples else given or _known(where, found)
    amounts = tuple(_likely(where, found.benchmark, unit, stated, batch_size))
    read = _Entry(where, batch_size, unit, amounts, _params(entry.get("Hyperparams")))
    if read.steps(max(amounts)) > LARGEST:
        raise DataError(f"{where}: {max(stated)} {unit.name} are more steps than can be stored")
    return read


def _runs(entry: _Entry, found: Found, common: Fraction) -> Iterator[Measured]:
    """A measurement of each run, which passed the target at its end, or since the evaluation
    before.

    common -- how far apart evaluations lie where the entry's own runs don't tell; 0: not known
    """
    apart = _spacing([entry.amounts]) or (common if entry.unit.train_examples else 0)
    for seed, amount in enumerate(entry.amounts):
        steps = max(1, math.ceil(entry.steps(amount) * (1 - Fraction(1, 10**12))))
        missed = apart and math.floor(entry.steps(amount - apart))
        yield Measured(
            where=entry.where,
            workload=found.workload,
            batch_size=entry.batch_size,
            seed=seed,
            steps=steps,
            steps_lower=float(missed) if missed > 0 else None,
            goal=f"the quality target of MLPerf's {found.benchmark}",
            metric="",
            train_examples=entry.unit.train_examples,
            params=entry.params,
        )


def _spacing(entries: Sequence[Sequence[Fraction]]) -> Fraction:
    """How far apart evaluations lie at most, if evenly: runs of a batch size end whole multiples of
    it apart. Returns 0 where no two of them differ."""
    between = [amount - min(amounts) for amounts in entries for amount in amounts]
    whole = math.lcm(*(one.denominator for one in between))
    return Fraction(math.gcd(*(int(one * whole) for one in between)), whole)


def _known(where: str, found: Found) -> Unit:
    units = [unit for first, unit in _KNOWN.get(found.benchmark, ()) if found.version >= first]
    if not units:
        raise DataError(
            f"{where}: whether {found.benchmark} counts epochs, samples or tokens isn't known "
            f"here; say it by --unit {found.benchmark}=samples, or =epochs:N, or =tokens:N"
        )
    return units[-1]


def _likely(
    where: str, benchmark: str, unit: Unit, amounts: Sequence[object], batch_size: int
) -> Iterator[Fraction]:
    """Each amount. Raises DataError for one that is no number above 0, or can't be of its unit."""
    for stated in amounts:
        plain = isinstance(stated, int | float) and not isinstance(stated, bool)
        amount = number(str(stated)) if plain else None
        if amount is None or amount <= 0:
            raise DataError(f"{where}: {stated!r} must be a number above 0")
        if amount >= _EPOCHS if unit.name == "epochs" else amount < batch_size:
            raise DataError(
                f"{where}: {stated} {unit.name} at batch size {batch_size} can't be meant; say "
                f"what {benchmark} counts by --unit {benchmark}=samples, =epochs:N or =tokens:N"
            )
        yield amount


def _params(stated: Any) -> dict[str, Value]:
    """Metaparameters; lists as text, and what has no value left out."""
    if not isinstance(stated, dict):
        return {}
    return {
        name: value if isinstance(value, bool | int | float | str) else json.dumps(value)
        for name, value in stated.items()
        if value is not None
    }
