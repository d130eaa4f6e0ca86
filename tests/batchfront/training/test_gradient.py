"""A batch's gradient is the same in micro-batches of any size, whatever its model and execution."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from batchfront import ERROR_RATE, Goal, Log, NesterovMomentum, Split, Splits
from batchfront.errors import WorkloadError
from batchfront.training.memory import MicroBatchSize, MicroBatchSizes
from batchfront.training.model_run import ModelRun
from batchfront.workload.data import Examples
from batchfront.workload.execution import Execution
from batchfront.workload.layers import Dropout, GhostBatchNorm2d
from batchfront.workload.losses import cross_entropy, token_cross_entropy
from batchfront.workload.metrics import NO_TARGET, TOKEN_CROSS_ENTROPY, token_count
from batchfront.workload.microbatch import MicroBatch, computing, current_micro_batch
from batchfront.workload.workload import Workload

CPU = torch.device("cpu")
BATCH, GHOST, CLASSES, TOKENS = 22, 4, 3, 7
VALUES = {"learning_rate": 0.05, "momentum": 0.9, "label_smoothing": 0.1}


def images() -> Splits:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(40, 2, 6, 6, generator=generator, dtype=torch.float64)
    split = Split(inputs, torch.randint(CLASSES, (40,), generator=generator))
    return Splits(split, split)


def sentences() -> Splits:
    """Of 1 to 5 tokens, the rest padding."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(TOKENS, (40, 6), generator=generator)
    lengths = torch.randint(1, 6, (40, 1), generator=generator)
    targets = torch.where(torch.arange(5) < lengths, tokens[:, 1:], NO_TARGET)
    split = Split(tokens[:, :-1].contiguous(), targets)
    return Splits(split, split)


def dropped_out() -> nn.Module:
    layers = (nn.Flatten(), Dropout(0.3), nn.Linear(72, 16), nn.Tanh(), Dropout(0.5))
    return nn.Sequential(*layers, nn.Linear(16, CLASSES)).double()


def normalized() -> nn.Module:
    layers = (nn.Conv2d(2, 4, 3), GhostBatchNorm2d(4, GHOST), nn.Tanh(), nn.Conv2d(4, 4, 3))
    last = (GhostBatchNorm2d(4, GHOST), nn.Flatten(), nn.Linear(16, CLASSES))
    return nn.Sequential(*layers, *last).double()


def convolutional() -> nn.Module:
    layers = (nn.Conv2d(2, 5, 3), nn.Tanh(), nn.Conv2d(5, 4, 3), nn.AdaptiveAvgPool2d(1))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, CLASSES)).double()


def language() -> nn.Module:
    """[n, length] -> [n, length, TOKENS]"""
    layers = (
        nn.Embedding(TOKENS, 6),
        Dropout(0.2),
        nn.Linear(6, 8),
        nn.Tanh(),
        nn.Linear(8, TOKENS),
    )
    return nn.Sequential(*layers).double()


@dataclass(frozen=True)
class Kind:
    model: Callable[[], nn.Module]
    data: Callable[[], Splits] = images
    execution: Execution = field(default_factory=Execution)

    def workload(self) -> Workload:
        of_tokens = self.data is sentences
        return Workload(
            name="data/model/nesterov_momentum",
            data=self.data,
            model=self.model,
            loss=token_cross_entropy if of_tokens else cross_entropy,
            algorithm=NesterovMomentum(),
            goal=Goal(TOKEN_CROSS_ENTROPY, 1.0) if of_tokens else Goal(ERROR_RATE, 0.1),
            search_space={"learning_rate": Log(1e-3, 1.0), "momentum": 0.9, "label_smoothing": 0.1},
            step_budget=100,
            batch_sizes=(BATCH,),
            weight=token_count if of_tokens else None,
            execution=self.execution,
        )

    def run(self, size: int | None) -> ModelRun:
        micro_batches = MicroBatchSizes(MicroBatchSize(size), MicroBatchSize(size))
        made = ModelRun(self.workload(), self.data(), BATCH, VALUES, 3, CPU, micro_batches)
        made.loss_sum = made.loss_sum.double()
        return made


KINDS = {
    "dropout": Kind(dropped_out),
    "ghost batch normalization": Kind(normalized),
    "tokens": Kind(language, sentences),
    "channels last": Kind(convolutional, execution=Execution(channels_last=True)),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.mark.parametrize("size", [1, 2, 5, 8, 21])
def test_passes_of_any_size_add_up_to_the_batchs_gradient_and_loss(kind: Kind, size: int) -> None:
    whole, parts = kind.run(None), kind.run(size)
    indices = torch.arange(40).flip(0)[:BATCH]
    losses = [run.gradient.of(5, indices) for run in (whole, parts)]
    assert losses[0] is not None
    assert losses[1] is not None
    assert losses[0].item() == pytest.approx(losses[1].item(), abs=1e-12)
    for mine, theirs in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert torch.allclose(mine.grad, theirs.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [1, 9])
def test_trials_in_micro_batches_of_any_size_are_the_same_trial(kind: Kind, size: int) -> None:
    whole, parts = kind.run(None), kind.run(size)
    found = []
    for run in (whole, parts):
        run.advance(8)
        found.append(run.evaluate(full=True))
    for mine, theirs in zip(
        whole.model.state_dict().values(), parts.model.state_dict().values(), strict=True
    ):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-10)
    assert found[0].value == pytest.approx(found[1].value, abs=1e-10)
    assert whole.loss_sum.item() == pytest.approx(parts.loss_sum.item(), abs=1e-10)


class Seen(nn.Module):
    """Notes how many examples pass in training; fails once beyond so many in all."""

    def __init__(self, room: int | None = None) -> None:
        super().__init__()
        self.room, self.sizes = room, list[int]()

    def forward(self, x: Tensor) -> Tensor:
        if self.training and current_micro_batch() is not None:
            self.sizes.append(len(x))
            if self.room is not None and sum(self.sizes) > self.room:
                self.room = None
                raise torch.OutOfMemoryError("CUDA out of memory")
        return x


def test_passes_are_of_whole_groups() -> None:
    run = KINDS["ghost batch normalization"].run(11)
    seen = Seen()
    run.model.insert(0, seen)  # type: ignore[operator]
    run.advance(1)
    assert seen.sizes == [8, 8, 6]


def test_memory_that_runs_out_within_a_batch_leaves_no_trace_in_running_means() -> None:
    kind = KINDS["ghost batch normalization"]
    whole, tried = kind.run(None), kind.run(8)
    seen = Seen(room=12)
    tried.model.insert(3, seen)  # type: ignore[operator]
    for run in (whole, tried):
        run.advance(3)
    assert seen.sizes[:8] == [8, 8, 4, 4, 4, 4, 4, 2]
    for mine, theirs in zip(whole.model.buffers(), tried.model.buffers(), strict=True):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-12)


def test_bfloat16_computes_in_it_and_keeps_weights_and_outputs_in_float32() -> None:
    def single() -> nn.Module:
        return dropped_out().float()

    def data() -> Splits:
        made = images()
        split = Split(made.train.inputs.float(), made.train.targets)  # type: ignore[attr-defined]
        return Splits(split, split)

    plain, lower = Kind(single, data), Kind(single, data, Execution("bfloat16"))
    runs, seen = [kind.run(7) for kind in (plain, lower)], list[torch.dtype]()
    for run in runs:
        run.model[2].register_forward_hook(lambda _m, _i, out: seen.append(out.dtype))  # type: ignore[operator,union-attr]
        run.advance(4)
        run.evaluate(full=True)
    assert set(seen) == {torch.float32, torch.bfloat16}
    assert all(p.dtype == torch.float32 for p in runs[1].model.parameters())
    assert runs[1]._computed(data().train.batch(torch.arange(2))[0]).dtype == torch.float32
    for mine, theirs in zip(runs[0].model.parameters(), runs[1].model.parameters(), strict=True):
        assert not torch.equal(mine, theirs)
        assert F.mse_loss(mine, theirs).item() < 1e-4


def test_images_with_channels_last_are_laid_out_so_with_the_weights() -> None:
    run = KINDS["channels last"].run(None)
    layouts: list[bool] = []
    layout = torch.channels_last
    run.model[2].register_forward_hook(  # type: ignore[operator,union-attr]
        lambda _m, given, _o: layouts.append(given[0].is_contiguous(memory_format=layout))
    )
    run.advance(2)
    run.evaluate(full=True)
    assert run.model[0].weight.is_contiguous(memory_format=layout)  # type: ignore[operator,union-attr]
    assert all(layouts)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_compiled_trial_is_the_same_trial_with_the_same_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: compile_(model, backend="eager"))
    kind = KINDS["dropout"]
    runs = [kind.run(8), replace(kind, execution=Execution(compile=True)).run(8)]
    for run in runs:
        run.advance(2)
        run.evaluate(full=True)
    states = [run.model.state_dict() for run in runs]
    assert states[0].keys() == states[1].keys()
    for name in states[0]:
        assert torch.allclose(states[0][name], states[1][name], rtol=0, atol=1e-12)
    torch.compiler.reset()


class Slow(Examples):
    """Examples that are loaded by threads; notes what is loaded, and fails at an example."""

    ahead = 2

    def __init__(self, split: Split, broken: int | None = None) -> None:
        self.split, self.broken = split, broken
        self.loaded: list[tuple[int, int | None]] = []

    @property
    def indexed_on(self) -> torch.device:
        return CPU

    def __len__(self) -> int:
        return len(self.split)

    def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
        self.loaded.append((len(indices), seed))
        if self.broken is not None and self.broken in indices.tolist():
            raise OSError(f"example {self.broken} can't be read")
        inputs, targets = self.split.batch(indices)
        return inputs + (0.0 if seed is None else (seed % 7) * 0.01), targets

    def to(self, device: torch.device) -> "Slow":
        return self

    def describe(self) -> dict[str, object]:
        return self.split.describe()


class AtOnce(Slow):
    ahead = 0


def slow(made: type[Slow], size: int | None, kind: Kind, broken: int | None = None) -> ModelRun:
    split = kind.data().train
    assert isinstance(split, Split)
    data = Splits(made(split, broken), made(split))
    micro_batches = MicroBatchSizes(MicroBatchSize(size), MicroBatchSize(size))
    return ModelRun(kind.workload(), data, BATCH, VALUES, 3, CPU, micro_batches)


@pytest.mark.parametrize("size", [None, 8])
def test_loading_ahead_changes_no_result_and_loads_nothing_twice(size: int | None) -> None:
    runs = [slow(made, size, KINDS["dropout"]) for made in (Slow, AtOnce)]
    for run in runs:
        for step in (1, 4, 9):
            run.advance(step)
            run.evaluate(full=step == 4)
    for mine, theirs in zip(runs[0].model.parameters(), runs[1].model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert torch.equal(runs[0].evaluator.order, runs[1].evaluator.order)
    for name in ("train", "validation"):
        loaded = [sorted(getattr(run.splits, name).loaded, key=str) for run in runs]
        assert loaded[0] == loaded[1]


def test_a_smaller_pass_is_loaded_anew_and_nothing_else_changes() -> None:
    runs = [slow(made, None, KINDS["dropout"]) for made in (Slow, AtOnce)]
    for run in runs:
        run.model.insert(1, Seen(room=30))  # type: ignore[operator]
        run.advance(4)
    assert runs[0].micro_batches.micro_batch(BATCH) == 11
    for mine, theirs in zip(runs[0].model.parameters(), runs[1].model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_an_error_of_loading_is_raised_at_the_step_that_it_is_of() -> None:
    plain = slow(AtOnce, None, KINDS["dropout"])
    batches = [set(indices.tolist()) for indices in plain.order.batches(0, 2)]
    broken = min(batches[1] - batches[0])
    run = slow(Slow, None, KINDS["dropout"], None)
    run.splits.train.broken = broken  # type: ignore[attr-defined]
    with pytest.raises(OSError, match=f"example {broken} can't be read"):
        run.advance(5)
    assert run.step == 1


def test_no_thread_is_left_when_an_advance_or_a_look_is_over() -> None:
    run = slow(Slow, 4, KINDS["dropout"])
    run.advance(2)
    run.evaluate(full=False)
    run.splits.train.broken = 0  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="example 0"):
        run.advance(9)
    assert not [t for t in threading.enumerate() if t.name.startswith("load")]


EMPTY = 1, 2, 3, 8, 9, 20  # sentences without a token to predict


def partly_empty() -> Splits:
    made = sentences().train
    assert isinstance(made, Split)
    targets = made.targets.clone()
    targets[list(EMPTY)] = NO_TARGET
    split = Split(made.inputs, targets)
    return Splits(split, split)


def by_mask(outputs: Tensor, targets: Tensor) -> Tensor:
    """As it is written by hand: 0 / 0 where nothing is to be predicted, and so is its gradient."""
    mask = targets != NO_TARGET
    costs = F.cross_entropy(outputs.transpose(1, 2), targets.clamp_min(0), reduction="none")
    return (costs * mask).sum() / mask.sum()


def partly_empty_run(loss: Callable[..., Tensor], batch_size: int, size: int | None) -> ModelRun:
    workload = replace(KINDS["tokens"].workload(), loss=loss)
    micro_batches = MicroBatchSizes(MicroBatchSize(size), MicroBatchSize(size))
    values = {"learning_rate": 0.05, "momentum": 0.9}
    run = ModelRun(workload, partly_empty(), batch_size, values, 3, CPU, micro_batches)
    run.loss_sum = run.loss_sum.double()
    return run


either_loss = pytest.mark.parametrize("loss", [by_mask, token_cross_entropy])


@either_loss
@pytest.mark.parametrize("size", [None, 1, 2, 3, 8])
def test_a_pass_without_targets_adds_nothing(loss: Callable[..., Tensor], size: int | None) -> None:
    run = partly_empty_run(loss, 12, size)
    run.model.eval()  # whose dropout would draw for other places
    indices = torch.arange(12)
    found = run.gradient.of(0, indices)
    full = torch.tensor([i for i in range(12) if i not in EMPTY])
    model = run.model
    expected = by_mask(model(run.splits.train.batch(full)[0]), run.splits.train.batch(full)[1])
    assert found is not None
    assert found.item() == pytest.approx(expected.item(), abs=1e-12)
    wanted = torch.autograd.grad(expected, list(model.parameters()))
    for parameter, gradient in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-12)


@either_loss
@pytest.mark.parametrize("size", [None, 1])
def test_of_a_batch_without_targets_the_gradient_is_0(
    loss: Callable[..., Tensor], size: int | None
) -> None:
    run = partly_empty_run(loss, 3, size)
    assert run.gradient.of(0, torch.tensor(EMPTY[:3])) is None
    for parameter in run.model.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


@either_loss
def test_a_trial_whose_batches_are_empty_now_and_then_is_that_of_a_loop_by_hand(
    loss: Callable[..., Tensor],
) -> None:
    """Where `clamp(min=1)` stands below the fraction: momentum goes on, and a step is spent."""
    run, model = partly_empty_run(loss, 1, None), partly_empty_run(loss, 1, None).model
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, nesterov=True)
    model.train()
    losses: list[float] = []
    for step, indices in enumerate(run.order.batches(0, 40)):
        inputs, targets = run.splits.train.batch(indices)
        with computing(MicroBatch(0, 1, 1, run.alone.begin(step))):
            outputs = model(inputs)
        summed = F.cross_entropy(outputs.transpose(1, 2), targets, reduction="sum")
        count = (targets != NO_TARGET).sum()
        (summed / count.clamp(min=1)).backward()
        optimizer.step()
        optimizer.zero_grad()
        losses += [(summed / count).item()] if count else []
    run.advance(40)
    for mine, theirs in zip(run.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)
    assert len(losses) == 40 - len(EMPTY)
    assert run.is_finite()
    run.evaluate(full=True)
    assert run.evaluations[-1].loss == pytest.approx(sum(losses) / len(losses))


def test_where_no_batch_since_the_last_look_had_a_target_its_loss_stands() -> None:
    run = partly_empty_run(by_mask, 1, None)
    run.order.batches = lambda first, _: iter([torch.tensor([0 if first else 1])])  # type: ignore[assignment,method-assign]
    for step in (1, 2):
        run.advance(step)
        run.evaluate(full=True)
    run.order.batches = lambda *_: iter([torch.tensor([2])])  # type: ignore[assignment,method-assign]
    run.advance(3)
    run.evaluate(full=True)
    losses = [look.loss for look in run.evaluations]
    assert losses[0] == run.untrained_loss
    assert losses[1] == losses[2] != run.untrained_loss


def test_the_untrained_loss_is_of_the_first_examples_that_have_targets() -> None:
    made = partly_empty().train
    assert isinstance(made, Split)
    empty = Split(made.inputs[:1].repeat(600, 1), made.targets[1:2].repeat(600, 1))
    late = Split(torch.cat([empty.inputs, made.inputs]), torch.cat([empty.targets, made.targets]))
    workload = replace(KINDS["tokens"].workload(), loss=by_mask)
    run = ModelRun(workload, Splits(late, made), 8, VALUES, 3, CPU)
    with torch.no_grad():
        expected = by_mask(run.model.eval()(made.inputs), made.targets)
    assert run.untrained_loss == pytest.approx(expected.item())
    with pytest.raises(WorkloadError, match="no example of the training split has anything to"):
        ModelRun(workload, Splits(empty, made), 8, VALUES, 3, CPU)


def test_weights_below_0_are_refused() -> None:
    workload = replace(KINDS["tokens"].workload(), weight=lambda t: -token_count(t))
    with pytest.raises(
        WorkloadError, match=r"the workload's weight is -\d+ for an example; it must"
    ):
        ModelRun(workload, sentences(), BATCH, VALUES, 3, CPU)
