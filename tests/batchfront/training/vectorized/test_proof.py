"""What makes a difference to trials that are computed as one is found before they are."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks
from torch.nn.utils import prune

from batchfront.training.vectorized.eligibility import why_not
from batchfront.workload.algorithm import SGD, TorchOptimizer
from batchfront.workload.data import Examples, Splits
from batchfront.workload.goal import Goal
from batchfront.workload.lr_schedule import Schedule
from batchfront.workload.metrics import Metric
from batchfront.workload.optimizers import Optimizer, SGDOptimizer
from batchfront.workload.workload import Workload
from tests.batchfront.training.vectorized.trials import CPU, draws, follow, mlp, splits, workload


class Wrapped(nn.Module):
    """The plain model inside of another, which its subclasses change."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x)
        return y


def reason(model: Callable[..., nn.Module] = mlp, data: Splits | None = None, **parts: Any) -> str:
    """Why trials of a changed workload can't be computed as one; nothing if they can."""
    of: Workload = workload(model, parts.pop("algorithm", SGD()), **parts)
    found = why_not(of, 8, splits(16) if data is None else data, draws(1)[0], [CPU])
    return found or ""


def test_nothing_stands_in_the_way_of_plain_models() -> None:
    assert not reason()
    assert not reason(Wrapped)


# -- What a trial holds beside its parameters and buffers.


@dataclass
class Settings:
    scale: list[float] = field(default_factory=lambda: [float(torch.rand(()))])


def own(made: Callable[[], Any]) -> type[Wrapped]:
    class Own(Wrapped):
        def __init__(self) -> None:
            super().__init__()
            self.kept = made()

    return Own


def closure() -> Callable[[Tensor], Tensor]:
    order = torch.randperm(16)
    return lambda x: x[:, order]


@pytest.mark.parametrize(
    ("made", "path"),
    [
        (lambda: torch.randperm(16), "kept"),
        (lambda: {"order": torch.randperm(16).tolist()}, "kept.order.0"),
        (lambda: float(torch.rand(())), "kept"),
        (lambda: torch.randperm(1000).tolist(), "kept"),
        (lambda: torch.randperm(16).numpy(), "kept"),
        (lambda: set(torch.randperm(1000)[:3].tolist()), "kept.members.0"),
        (Settings, "kept.scale.0"),
        (closure, "kept.order"),
        (lambda: torch.Generator().manual_seed(int(torch.randint(99, ()))), "kept.state"),
        (lambda: np.random.default_rng(int(torch.randint(99, ()))), "kept.state.state.state"),
        (lambda: [nn.Linear(1, 1).weight], "kept.0"),
    ],
)
def test_what_trials_hold_of_their_own(made: Callable[[], Any], path: str) -> None:
    expected = f"its trials have more than weights of their own (model.{path})"
    assert reason(own(made)) == expected


def test_what_nobody_can_read() -> None:
    unreadable = own(lambda: (x for x in ()))
    assert reason(unreadable) == "nobody can tell whether trials have the same model.kept"


def test_memory_that_parameters_share_with_something_else() -> None:
    class Listed(Wrapped):
        def __init__(self) -> None:
            super().__init__()
            self.weights = [self.net[1].weight]

    class Viewed(Wrapped):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Parameter(self.net[1].weight.data[0])

    class Buffered(Wrapped):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", self.net[1].weight.detach())

    for model in (Listed, Viewed, Buffered):
        assert reason(model).endswith("share memory"), model


def test_models_that_trials_share() -> None:
    shared = mlp()
    assert reason(lambda: shared) == "its trials share parameters"


# -- What training and evaluation change.


def changing(change: Callable[[Any, Tensor], None]) -> type[Wrapped]:
    class Changing(Wrapped):
        calls = 0

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("peak", torch.zeros((), dtype=torch.float64))
            self.kept: list[Any] = []

        def forward(self, x: Tensor) -> Tensor:
            change(self, x)
            return super().forward(x)

    return Changing


def seldom(model: Any, x: Tensor) -> None:
    """Changes a buffer at a size of inputs that there is none of, but writes to it each time."""
    model.peak.copy_(torch.where(x.max() > 1e3, x.max(), model.peak))


def replaces(model: Any, x: Tensor) -> None:
    model.peak = torch.maximum(model.peak, x.max().detach() * 0)


_calls = [0]


def counts_globally(_model: Any, _x: Tensor) -> None:
    _calls[0] += 1


def counts_in_its_class(model: Any, _x: Tensor) -> None:
    type(model).calls += 1


def counts_in_a_default(_model: Any, _x: Tensor, calls: list[int] = [0]) -> None:  # noqa: B006
    calls[0] += 1


def counts_in_a_function(_model: Any, _x: Tensor) -> None:
    counts_in_a_function.calls = getattr(counts_in_a_function, "calls", 0) + 1  # type: ignore[attr-defined]


def caches_in_evaluation(model: Any, _x: Tensor) -> None:
    if not model.training:
        model.kept.append(1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (seldom, "its training changes buffers.peak"),
        (replaces, "its training changes buffers.peak"),
        (counts_globally, "its training changes model.Changing.forward.change._calls.0"),
        (counts_in_its_class, "its training changes model.Changing.calls"),
        (counts_in_a_default, "its training changes model.Changing.forward.change.defaults.0.0.0"),
        (
            counts_in_a_function,
            "its training changes model.Changing.forward.change.attributes.calls",
        ),
        (caches_in_evaluation, "its evaluation changes model.kept.1"),
    ],
)
def test_what_changes_beside_the_weights(change: Callable[[Any, Tensor], None], said: str) -> None:
    assert reason(changing(change)) == said


def test_what_a_forward_pass_does_out_of_sight() -> None:
    def clamps(model: Any, _x: Tensor) -> None:
        model.net[1].weight.data.clamp_(-10, 10)

    def freezes(model: Any, _x: Tensor) -> None:
        model.net[1].requires_grad_(True)

    def hooks(_model: Any, x: Tensor) -> None:
        if x.requires_grad:
            x.register_hook(lambda gradient: gradient.clamp(-10, 10))

    class Hooked(Wrapped):
        def forward(self, x: Tensor) -> Tensor:
            hidden = self.net[1](x)
            hooks(self, hidden)
            y: Tensor = self.net[3](hidden.relu())
            return y

    class Packed(Wrapped):
        def forward(self, x: Tensor) -> Tensor:
            with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
                return super().forward(x)

    assert reason(changing(clamps)) == "its forward pass takes tensors' `data`"
    assert reason(changing(freezes)) == "its forward pass freezes or unfreezes tensors"
    assert reason(Hooked) == "its forward pass sets hooks on tensors"
    assert "it packs what it saves" in reason(Packed)


def largest(y: Tensor) -> Tensor:
    return y.detach().abs().max()


@pytest.mark.parametrize(
    "take",
    [
        lambda y: largest(y).item() > 1e3,
        lambda y: bool(largest(y) > 1e3),
        lambda y: float(largest(y)) > 1e3,
        lambda y: largest(y) > 1e3 or None,
        lambda y: [False, False][int(largest(y) * 0)],
        lambda y: [False, False][(largest(y) * 0).long()],
        lambda y: max(y.detach().flatten().tolist()) > 1e3,
        lambda y: y.detach().numpy().max() > 1e3,
        lambda y: np.asarray(y.detach()).max() > 1e3,
        lambda y: not torch.allclose(y.clamp(-1e3, 1e3), y),
        lambda y: not torch.equal(y.clamp(-1e3, 1e3), y),
        lambda y: torch.is_nonzero(largest(y) > 1e3),
        lambda y: 1e3 in y,
        lambda y: len((y > 1e3).nonzero()) > 0,
        lambda y: len(y[y > 1e3]) > 0,
        lambda y: "e+" in f"{y}",
        lambda y: "e+" in f"{largest(y):.3f}",
        lambda y: "e+" in str(y),
    ],
)
def test_values_that_a_forward_pass_takes_out_of_tensors(take: Callable[[Tensor], Any]) -> None:
    """`torch.vmap` has none, and the model is content with an error."""

    class Taking(Wrapped):
        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x)
            try:
                large = take(y)
            except Exception:
                large = False
            return y * 0.5 if large else y

    why = reason(Taking)
    assert "its model can't be stacked" in why or why == "its forward pass writes tensors as text"


def by_requires_grad(y: Tensor) -> Tensor:
    return y.clamp(max=1e3 if y.requires_grad else 1e4)


def by_level(y: Tensor) -> Tensor:
    return y if torch._C._functorch.is_batchedtensor(y) else torch.where(y > 1e3, y * 0.5, y)


class Bounded(torch.autograd.Function):
    """Without a rule for `torch.vmap`."""

    @staticmethod
    def forward(ctx: Any, y: Tensor) -> Tensor:
        return y.clamp(max=1e3)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0]


def where_it_can_be(y: Tensor) -> Tensor:
    try:
        bounded: Tensor = Bounded.apply(y)
    except RuntimeError:
        return y
    return bounded


@pytest.mark.parametrize("change", [by_requires_grad, by_level, where_it_can_be])
def test_a_forward_pass_that_can_tell_that_it_is_stacked(
    change: Callable[[Tensor], Tensor],
) -> None:
    """What it does then may make a difference to large numbers alone."""

    class Telling(Wrapped):
        def forward(self, x: Tensor) -> Tensor:
            return change(super().forward(x))

    assert reason(Telling) == "its forward pass calls other functions when it is stacked"


# -- Hooks.


@pytest.mark.parametrize(
    "register",
    [
        lambda m: m[1].register_forward_hook(lambda *_: None),
        lambda m: m[1].register_forward_pre_hook(lambda *_: None),
        lambda m: m[1].register_full_backward_hook(lambda *_: None),
        lambda m: m[1].register_full_backward_pre_hook(lambda *_: None),
        lambda m: m.register_forward_hook(lambda *_: None),
        lambda m: m[1].weight.register_hook(lambda gradient: gradient),
        lambda m: m[1].weight.register_post_accumulate_grad_hook(lambda _: None),
        lambda m: prune.identity(m[1], "weight"),
    ],
)
def test_hooks_on_modules_and_parameters(register: Callable[[nn.Module], object]) -> None:
    def model() -> nn.Module:
        made = mlp()
        register(made)
        return made

    assert reason(model).startswith("a hook hangs on its ")


def test_hooks_on_all_modules() -> None:
    handle = global_hooks.register_module_forward_hook(lambda *_: None)
    try:
        assert reason() == "a hook hangs on all modules"
    finally:
        handle.remove()


def test_hooks_on_optimizers_and_none_that_take_no_part() -> None:
    def hooked(parameters: Iterable[Tensor], *, learning_rate: float) -> torch.optim.Optimizer:
        made = torch.optim.SGD(parameters, learning_rate)
        made.register_step_post_hook(lambda *_: None)
        return made

    def saved() -> nn.Module:
        model = mlp()
        model.register_state_dict_post_hook(lambda *_: None)
        return model

    assert reason(algorithm=TorchOptimizer("hooked", hooked)) == "a hook hangs on its optimizer"
    assert not reason(saved)


# -- Optimizers.


def stepping(step: Callable[[Any], None]) -> TorchOptimizer:
    """SGD, with something done before each step."""

    class Stepping(torch.optim.SGD):
        steps = 0

        def step(self, closure: Any = None) -> Any:
            self.steps = self.steps + 1
            step(self)
            return super().step(closure)

    def factory(parameters: Iterable[Tensor], *, learning_rate: float) -> torch.optim.Optimizer:
        return Stepping(parameters, learning_rate)

    return TorchOptimizer("stepping", factory)


def parameters_of(optimizer: Any) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def clips(optimizer: Any) -> None:
    nn.utils.clip_grad_norm_(parameters_of(optimizer), 0.05)


def moves(optimizer: Any) -> None:
    """Gives parameters new memory, as some optimizers do."""
    for p in parameters_of(optimizer):
        p.data = p.data * 0.99


def looks_back(optimizer: Any) -> None:
    """Keeps the parameters' own memory in its state, and goes back a little now and then."""
    for p in parameters_of(optimizer):
        state = optimizer.state[p]
        state.setdefault("now", p.data)
        state.setdefault("slow", p.detach().clone())
        if optimizer.steps % 100 == 0:
            state["now"].lerp_(state["slow"], 0.5)


@pytest.mark.parametrize("step", [clips, moves], ids=lambda s: s.__name__)
def test_optimizers_that_change_gradients_and_weights_in_their_own_way(
    data: Splits, step: Callable[[Any], None]
) -> None:
    follow(workload(mlp, stepping(step)), data, draws(4), steps=40)


def test_optimizers_that_keep_what_a_stack_moves() -> None:
    found = reason(algorithm=stepping(looks_back))
    assert found.endswith(".now share memory")


def test_optimizers_that_keep_gradients() -> None:
    class Accumulating(torch.optim.SGD):
        def zero_grad(self, set_to_none: bool = True) -> None:
            pass

    def factory(parameters: Iterable[Tensor], *, learning_rate: float) -> torch.optim.Optimizer:
        return Accumulating(parameters, learning_rate)

    found = reason(algorithm=TorchOptimizer("accumulating", factory))
    assert found == "its optimizer keeps gradients from step to step"


def test_optimizers_that_count_for_all_trials_together() -> None:
    class Shared(torch.optim.SGD):
        steps = 0

        def step(self, closure: Any = None) -> Any:
            type(self).steps += 1
            return super().step(closure)

    def factory(parameters: Iterable[Tensor], *, learning_rate: float) -> torch.optim.Optimizer:
        return Shared(parameters, learning_rate)

    found = reason(algorithm=TorchOptimizer("shared", factory))
    assert found.startswith("its training changes algorithm.factory.")


def test_optimizers_that_hold_the_model() -> None:
    class Holding(SGDOptimizer):
        def __init__(self, model: nn.Module) -> None:
            super().__init__(model, 0.0, nesterov=False, weight_decay=0.0)
            self.model = model

    class Cooling(SGD):
        def start(self, model: nn.Module, _values: Any) -> Optimizer:
            return Holding(model)

    assert reason(algorithm=Cooling()) == "its optimizer holds the model, and may change it"


# -- Data, losses, metrics and schedules.


class Sentences(Examples):
    """Rows that are cut after the longest of those that they are gathered with."""

    indexed_on = CPU

    def __init__(self, stored: Examples) -> None:
        self.stored = stored

    def __len__(self) -> int:
        return len(self.stored)

    def to(self, device: torch.device) -> "Sentences":
        return self

    def describe(self) -> dict[str, Any]:
        return {}

    def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
        inputs, targets = self.stored.batch(indices, seed)
        return inputs[:, : 8 + int(targets.max())], targets


class Counting(Sentences):
    """Gets harder with each batch that is asked for."""

    calls = 0

    def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
        inputs, targets = self.stored.batch(indices, seed)
        self.calls += seed is not None
        return inputs if self.calls < 1000 else 2 * inputs, targets


def test_batches_whose_shape_depends_on_what_is_gathered_with_them(data: Splits) -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(1, 4).double()

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.head(x.mean(1, keepdim=True))
            return y

    said = "the shape of an example depends on what it is gathered with"
    assert reason(Mean, Splits(Sentences(data.train), data.validation)) == said
    assert reason(Mean, Splits(data.train, Sentences(data.validation))) == said


def test_data_losses_metrics_and_schedules_that_count(data: Splits) -> None:
    class Curriculum:
        calls = 0

        def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
            self.calls += 1
            return nn.functional.cross_entropy(outputs, targets)

    class Metered(Curriculum):
        def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
            self.calls += 1
            return (outputs.argmax(1) != targets).float()

    @dataclass(frozen=True)
    class Recent(Schedule):
        calls: list[int] = field(default_factory=list)

        def metaparameters(self) -> dict[str, Any]:
            return {}

        def factor(self, step: int, _values: Any) -> float:
            self.calls.append(step)
            return 1.0

    counting = Splits(Counting(data.train), data.validation)
    assert reason(data=counting) == "its training changes data.0.calls"
    assert reason(loss=Curriculum()) == "its training changes loss.calls"
    assert (
        reason(goal=Goal(Metric("m", Metered(), "lower"), 0.1))
        == "its evaluation changes metric.calls"
    )
    assert reason(schedule=Recent()) == "its schedule changes from call to call"


@pytest.mark.parametrize(
    "noise",
    [
        lambda x: x + 1e-9 * torch.randn_like(x),
        lambda x: x + 1e-9 * float(np.random.randn()),
        lambda x: x * (1 + 1e-9 * random.random()),
    ],
)
def test_numbers_that_are_drawn_from_generators_that_trials_share(
    noise: Callable[[Tensor], Tensor],
) -> None:
    class Noisy(Wrapped):
        def forward(self, x: Tensor) -> Tensor:
            return noise(super().forward(x))

    class NoisyInEvaluation(Wrapped):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x if self.training else noise(x))

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(noise(outputs), targets)

    def wrong(outputs: Tensor, targets: Tensor) -> Tensor:
        return (noise(outputs).argmax(1) != targets).float()

    draws_in_training = "its training draws from generators that all trials share"
    assert reason(Noisy) == reason(loss=loss) == draws_in_training
    draws_in_evaluation = "its evaluation draws from generators that all trials share"
    assert reason(NoisyInEvaluation) == draws_in_evaluation
    assert reason(goal=Goal(Metric("wrong", wrong, "lower"), 0.1)) == draws_in_evaluation


def test_a_model_that_is_not_made_from_its_seed() -> None:
    made = iter(range(100))

    def model() -> nn.Module:
        found = mlp()
        with torch.no_grad():
            found.get_parameter("1.bias").add_(0.01 * next(made))
        return found

    assert reason(model) == "its models are not made from the seed alone (1.bias)"


@pytest.mark.parametrize(
    "options", [{"padding_idx": 3}, {"max_norm": 9.0}, {"scale_grad_by_freq": True}]
)
def test_embeddings_whose_rows_are_not_all_alike(options: dict[str, Any]) -> None:
    """Whether they are layers or functions, and whether or not such a row is among the first."""

    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(9, 4, **options), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.head(self.table((x > 0).long()).sum(1))
            return y.double()

    class Functional(Embedded):
        def forward(self, x: Tensor) -> Tensor:
            embedded = nn.functional.embedding((x > 0).long(), self.table.weight, **options)
            y: Tensor = self.head(embedded.sum(1))
            return y.double()

    (name,) = options
    for model in (Embedded, Functional):
        assert f"it has an embedding with `{name}`" in reason(model)


def test_gradients_that_are_sparse() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(9, 4, sparse=True)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.table((x > 0).long()).sum(1)
            return y.double()

    def factory(parameters: Iterable[Tensor], *, learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.SparseAdam(list(parameters), learning_rate)

    found = reason(Table, algorithm=TorchOptimizer("sparse_adam", factory))
    assert found == "it has an embedding with `sparse`"
