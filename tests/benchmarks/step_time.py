"""How fast is a training step of a large model through our engine, beside a bare PyTorch loop?

    python -m tests.benchmarks.step_time

The catalog's models on one synthetic batch that is already on the device: `ModelRun.advance`
against forward, `backward` and `torch.optim.SGD(fused=True, nesterov=True)`. Rounds of both take
turns; every round gives a ratio, and the median counts. On a CPU time is that of the CPU, so that
what a neighbour on a shared core takes is not counted; on a GPU it is that of the clock, with the
device waited for. With --quick the same engine trains small stand-ins of each kind.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter, process_time

import torch
from torch import Tensor, nn

from batchfront import ERROR_RATE, Goal, NesterovMomentum, Split, Splits, cross_entropy
from batchfront.training.devices import describe, resolve
from batchfront.training.model_run import ModelRun
from batchfront.workload import catalog
from batchfront.workload.layers import Dropout, GhostBatchNorm2d
from batchfront.workload.losses import token_cross_entropy
from batchfront.workload.lr_schedule import Constant
from batchfront.workload.metrics import TOKEN_CROSS_ENTROPY, token_count
from batchfront.workload.workload import Workload
from tests.benchmarks.markdown import spread, table

PROMISE = 0.95
RATE, MOMENTUM = 1e-4, 0.9
TOKENS = 32_000  # about as many as the vocabulary that language workloads learn


@dataclass(frozen=True)
class Case:
    """A model to train on a synthetic batch, whose examples are of one shape.

    shape  -- of one example: an image, or so many tokens
    labels -- classes, or different tokens
    batch  -- examples, on a GPU and on a CPU
    """

    name: str
    load: Callable[[str], Workload]
    shape: tuple[int, ...]
    labels: int
    batch: tuple[int, int]

    def splits(self, device: torch.device, count: int) -> Splits:
        """`count` random examples: an epoch is one batch."""
        if len(self.shape) == 1:
            tokens = torch.randint(self.labels, (count, *self.shape))
            split = Split(tokens, tokens.roll(-1, 1))
        else:
            split = Split(torch.randn(count, *self.shape), torch.randint(self.labels, (count,)))
        return Splits(split, split).to(device)


def _workload(name: str, model: Callable[[], nn.Module], *, of_tokens: bool) -> Workload:
    return Workload(
        name=f"{name}/nesterov_momentum",
        data=_none,
        model=model,
        loss=token_cross_entropy if of_tokens else cross_entropy,
        weight=token_count if of_tokens else None,
        algorithm=NesterovMomentum(),
        goal=Goal(TOKEN_CROSS_ENTROPY, 1.0) if of_tokens else Goal(ERROR_RATE, 0.1),
        search_space={"learning_rate": RATE, "momentum": MOMENTUM},
        step_budget=1_000_000,
        batch_sizes=(1,),
    )


def _none() -> Splits:
    raise NotImplementedError("a benchmark's data is synthetic")


def _catalog(name: str) -> Workload:
    return catalog.load(f"{name}/nesterov_momentum")


def _transformer_base(name: str) -> Workload:
    """With a vocabulary of TOKENS, for which no corpus is needed."""
    from batchfront_studies.models.transformer import SIZES, Transformer

    return _workload(name, lambda: Transformer(SIZES["base"], TOKENS, 256), of_tokens=True)


def _lstm(name: str) -> Workload:
    from batchfront_studies.models.lstm import lstm

    return _workload(name, lambda: lstm(TOKENS), of_tokens=True)


def _small_images(name: str) -> Workload:
    def model() -> nn.Module:
        first = (nn.Conv2d(3, 32, 3), GhostBatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2))
        second = (nn.Conv2d(32, 32, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
        return nn.Sequential(*first, *second, nn.Flatten(), Dropout(0.1), nn.Linear(128, 10))

    return _workload(name, model, of_tokens=False)


def _small_language(name: str) -> Workload:
    def model() -> nn.Module:
        layer = nn.TransformerEncoderLayer(64, 2, 128, 0.0, batch_first=True)
        return nn.Sequential(nn.Embedding(500, 64), layer, nn.Linear(64, 500))

    return _workload(name, model, of_tokens=True)


IMAGE = (3, 224, 224)
CASES = (
    Case("imagenet/resnet_50", _catalog, IMAGE, 1000, (128, 4)),
    Case("imagenet/vgg_11", _catalog, IMAGE, 1000, (128, 4)),
    Case("lm1b/transformer_base", _transformer_base, (40,), TOKENS, (256, 8)),
    Case("lm1b/lstm", _lstm, (40,), TOKENS, (256, 8)),
)
SMALL = (
    Case("small/images", _small_images, (3, 16, 16), 10, (16, 16)),
    Case("small/language", _small_language, (12,), 500, (8, 8)),
)


@dataclass(frozen=True)
class Measured:
    """Seconds a step, of ours and of the bare loop, one entry a round."""

    case: Case
    batch: int
    parameters: int
    ours: list[float]
    bare: list[float]

    @property
    def ratios(self) -> list[float]:
        """Our throughput as a share of the bare loop's, round by round."""
        return [bare / ours for bare, ours in zip(self.bare, self.ours, strict=True)]

    def row(self) -> list[str]:
        """The measurement as a row of the table."""
        return [
            self.case.name,
            f"{self.parameters:,}",
            str(self.batch),
            f"{1000 * median(self.ours):,.1f}",
            f"{1000 * median(self.bare):,.1f}",
            spread(self.ratios, ".3f"),
        ]


COLUMNS = ("model", "parameters", "batch", "ours, ms a step", "bare, ms a step", "ours / bare")


def bare_loop(workload: Workload, inputs: Tensor, targets: Tensor) -> Callable[[int], None]:
    """What one would write by hand, on the same model, computed in the same way."""
    model = workload.model().to(inputs.device).train()
    if workload.execution.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM, nesterov=True, fused=True)

    def loop(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            workload.loss(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return loop


def measure(case: Case, device: torch.device, rounds: int, steps: int) -> Measured:
    """Time ours and the bare loop in turns of so many steps."""
    batch = case.batch[0 if device.type == "cuda" else 1]
    workload, splits = case.load(case.name), case.splits(device, batch)
    # At a constant rate: where a schedule has its parameters from is not what is timed.
    workload = replace(workload, schedule=Constant())
    run = ModelRun(
        workload, splits, batch, {"learning_rate": RATE, "momentum": MOMENTUM}, 0, device
    )
    train = splits.train
    bare = bare_loop(workload, train.inputs, train.targets)  # type: ignore[attr-defined]
    ours: Callable[[int], object] = lambda n: run.advance(run.step + n)  # noqa: E731
    measured = Measured(case, batch, sum(p.numel() for p in run.model.parameters()), [], [])
    for loop in (ours, bare):
        loop(2)
    for _ in range(rounds):
        measured.ours.append(_timed(ours, steps, device))
        measured.bare.append(_timed(bare, steps, device))
    return measured


def _timed(loop: Callable[[int], object], steps: int, device: torch.device) -> float:
    clock = process_time if device.type == "cpu" else perf_counter
    began = clock()
    loop(steps)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (clock() - began) / steps


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and with --check say whether the promise holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small stand-ins, two rounds")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--models", nargs="*", help="some of them, by name")
    parser.add_argument("--check", action="store_true", help=f"exit 1 below {PROMISE}")
    asked = parser.parse_args(arguments)
    device = resolve("cpu" if asked.quick else asked.device)
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    rounds, steps = (2, 1) if asked.quick else (asked.rounds, 20 if device.type == "cuda" else 1)
    found = []
    for case in SMALL if asked.quick else CASES:
        if not asked.models or case.name in asked.models:
            print(f"{case.name} on {describe(device)} …", file=sys.stderr)
            found.append(measure(case, device, rounds, steps))
    torch.set_num_threads(threads)
    print(table(COLUMNS, [m.row() for m in found]))
    slow = [m.case.name for m in found if median(m.ratios) < PROMISE]
    if asked.check and slow:
        print(f"below {PROMISE} of the bare loop: {', '.join(slow)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
