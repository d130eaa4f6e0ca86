"""A step clips, calls closures, steps several optimizers, or is an update of the user's own."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn, optim

from batchfront.errors import WorkloadError
from batchfront.training.memory import MicroBatchSize, MicroBatchSizes
from batchfront.training.model_run import ModelRun
from batchfront.training.preflight.checks import check
from batchfront.workload.algorithm import SGD, Algorithm, Momentum, NesterovMomentum, TorchOptimizer
from batchfront.workload.data import Splits
from batchfront.workload.data_order import DataOrder
from batchfront.workload.execution import Execution
from batchfront.workload.layers import Dropout
from batchfront.workload.losses import cross_entropy
from batchfront.workload.lr_schedule import LinearDecay
from batchfront.workload.optimizers import Optimizer
from batchfront.workload.search_space import Linear, Log, Metaparameters
from batchfront.workload.seeds import mix
from batchfront.workload.workload import Workload
from tests.zoo.cases import mlp, plain, splits

CPU = torch.device("cpu")
SEED, BATCH_SIZE, STEPS = 5, 8, 20
DATA = splits()
RATE: Metaparameters = {"learning_rate": 0.1}

Named = list[tuple[str, nn.Parameter]]


def start(
    workload: Workload, values: Metaparameters = RATE, memory: MicroBatchSizes | None = None
) -> ModelRun:
    return ModelRun(workload, DATA, BATCH_SIZE, values, SEED, CPU, memory)


def trained(workload: Workload, values: Metaparameters = RATE, steps: int = STEPS) -> ModelRun:
    run = start(workload, values)
    run.advance(steps)
    return run


def by_hand(
    model: nn.Module, step: Callable[[Tensor, Tensor], object], steps: int = STEPS
) -> nn.Module:
    """The model after a loop as people write it, with a trial's data order and its draws."""
    order = DataOrder(len(DATA.train), BATCH_SIZE, mix(SEED, 1), CPU)
    for number, indices in enumerate(order.batches(0, steps)):
        torch.manual_seed(mix(mix(SEED, 2), number))
        step(*DATA.train.batch(indices))
    return model


def untrained(model: Callable[[], nn.Module] = mlp) -> nn.Module:
    torch.manual_seed(mix(SEED, 0))
    return model()


def assert_equal(run: ModelRun, model: nn.Module) -> None:
    ours, theirs = run.model.state_dict(), model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert any(not torch.equal(ours[name], own) for name, own in untrained().state_dict().items())


def same(one: ModelRun, other: ModelRun) -> bool:
    pairs = zip(one.model.parameters(), other.model.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


# Clipping


@pytest.mark.parametrize("algorithm", [SGD(), Momentum(), optim.AdamW], ids=str)
def test_a_gradient_is_clipped_before_the_step_by_the_field_or_the_metaparameter(
    algorithm: Any,
) -> None:
    values = {**RATE, "momentum": 0.9}
    free = trained(plain("free", algorithm=algorithm), values)
    field = trained(plain("field", algorithm=algorithm, clip_norm=0.1), values)
    other = plain("both", algorithm=algorithm, clip_norm=7.0)
    searched = trained(other, {**values, "clip_norm": 0.1})
    assert same(field, searched)
    assert not same(field, free)
    assert same(trained(plain("far", algorithm=algorithm, clip_norm=1e6), values), free)


def test_clipping_is_of_the_whole_batchs_gradient_in_any_micro_batches() -> None:
    workload = plain("clipped", clip_norm=0.1)
    cut = start(workload, memory=MicroBatchSizes(training=MicroBatchSize(3)))
    cut.advance(STEPS)
    for one, other in zip(
        cut.model.parameters(), trained(workload).model.parameters(), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_what_no_optimizer_has_counts_in_the_norm_by_its_own_batchs_gradient_alone() -> None:
    def first_layer(named_parameters: Named, *, learning_rate: float) -> optim.Optimizer:
        return optim.SGD([p for name, p in named_parameters if name[0] == "0"], learning_rate)

    model = untrained()
    optimizer = optim.SGD(model[0].parameters(), 0.1)  # type: ignore[index]

    def step(inputs: Tensor, targets: Tensor) -> None:
        model.zero_grad()
        cross_entropy(model(inputs), targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.3)
        optimizer.step()

    run = trained(plain("first", algorithm=first_layer, clip_norm=0.3))
    assert_equal(run, by_hand(model, step))
    assert torch.equal(run.model.get_parameter("2.bias"), untrained().get_parameter("2.bias"))


@pytest.mark.parametrize("norm", [0, -1.0, math.inf, True, "1"], ids=repr)
def test_a_norm_that_nothing_can_be_clipped_to_is_refused(norm: Any) -> None:
    with pytest.raises(WorkloadError, match="clip_norm"):
        start(plain("clipped", clip_norm=norm))
    with pytest.raises(WorkloadError, match=r"clip_norm must be a number above 0, .* found"):
        start(plain("clipped"), {**RATE, "clip_norm": norm})


def test_the_ends_of_a_range_of_norms_are_tried_before_a_search() -> None:
    space = {**RATE, "clip_norm": Linear(-0.1, 1.0)}
    with pytest.raises(WorkloadError, match=r"clip_norm must be a number above 0, .* found -0.1"):
        check(plain("clipped", search_space=space), [8])


def test_a_factory_that_takes_clip_norm_sees_to_it_itself() -> None:
    def halving(
        parameters: list[Tensor], *, learning_rate: float, clip_norm: float
    ) -> optim.Optimizer:
        return optim.SGD(parameters, lr=learning_rate * clip_norm)

    own = trained(plain("own", algorithm=halving), {**RATE, "clip_norm": 0.5})
    assert same(own, trained(plain("halved"), {"learning_rate": 0.05}))
    with pytest.raises(WorkloadError, match="takes the metaparameter clip_norm; leave one"):
        start(plain("both", algorithm=halving, clip_norm=1.0), {**RATE, "clip_norm": 0.5})


# Several optimizers


def muon_and_adamw(
    named_parameters: Named, *, learning_rate: float, other_rate: float
) -> list[optim.Optimizer]:
    matrices = [p for _, p in named_parameters if p.ndim == 2]
    others = [p for _, p in named_parameters if p.ndim != 2]
    return [optim.Muon(matrices, lr=learning_rate), optim.AdamW(others, lr=other_rate)]


def test_muon_takes_the_matrices_and_another_the_rest_each_at_a_rate_of_its_own() -> None:
    model = untrained()
    made = muon_and_adamw(list(model.named_parameters()), learning_rate=0.02, other_rate=0.003)

    def step(inputs: Tensor, targets: Tensor) -> None:
        model.zero_grad()
        cross_entropy(model(inputs), targets).backward()
        for optimizer in made:
            optimizer.step()

    values = {"learning_rate": 0.02, "other_rate": 0.003}
    run = trained(plain("muon", algorithm=TorchOptimizer("muon", muon_and_adamw)), values)
    assert_equal(run, by_hand(model, step))


@pytest.mark.parametrize("kind", [list, tuple, dict], ids=lambda kind: kind.__name__)
def test_several_optimizers_keep_to_the_schedule_and_go_on_from_a_file(
    kind: type, tmp_path: Path
) -> None:
    def factory(named_parameters: Named, *, learning_rate: float, other_rate: float) -> Any:
        made = muon_and_adamw(named_parameters, learning_rate=learning_rate, other_rate=other_rate)
        return dict(zip(("muon", "rest"), made, strict=True)) if kind is dict else kind(made)

    workload = plain("muon", algorithm=factory, schedule=LinearDecay())
    values = {"learning_rate": 0.02, "other_rate": 0.003, "decay_steps": 15, "decay_factor": 0.1}
    whole = trained(workload, values)
    first, second = start(workload, values), start(workload, values)
    rates = [group["lr"] for one in whole.optimizer.of_torch() for group in one.param_groups]
    assert rates == pytest.approx([0.002, 0.0003])
    first.advance(7)
    torch.save(first.state(), tmp_path / "state.pt")
    second.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    second.advance(STEPS)
    assert same(second, whole)


def test_parameters_that_no_optimizer_has_are_said() -> None:
    def matrices(named_parameters: Named, *, learning_rate: float) -> optim.Optimizer:
        return optim.Muon([p for _, p in named_parameters if p.ndim == 2], lr=learning_rate)

    said = "zoo/muon/sgd: no optimizer is given 0.bias, 2.bias, which is therefore not trained"
    assert check(plain("muon", algorithm=matrices), [8]).notes == [said]
    assert check(plain("muon", algorithm=optim.Adam), [8]).notes == []


def test_a_parameter_in_two_optimizers_is_refused() -> None:
    def twice(named_parameters: Named, *, learning_rate: float) -> list[optim.Optimizer]:
        given = [p for _, p in named_parameters]
        return [optim.SGD(given, lr=learning_rate), optim.Adam(given[2:], lr=learning_rate)]

    with pytest.raises(WorkloadError, match=r"the parameter 2\.(weight|bias) is in two of its opt"):
        start(plain("twice", algorithm=twice))


def test_one_of_several_that_takes_a_closure_is_refused() -> None:
    def mixed(parameters: list[Tensor], *, learning_rate: float) -> list[optim.Optimizer]:
        return [
            optim.LBFGS(parameters[:2], learning_rate),
            optim.SGD(parameters[2:], learning_rate),
        ]

    with pytest.raises(WorkloadError, match=r"several optimizers takes a closure, .* update="):
        start(plain("mixed", algorithm=mixed))


def test_a_factory_may_see_the_model() -> None:
    def by_layer(model: nn.Module, *, learning_rate: float) -> dict[str, optim.Optimizer]:
        layers = [layer for layer in model if isinstance(layer, nn.Linear)]  # type: ignore[attr-defined]
        return {
            str(number): optim.SGD(layer.parameters(), lr=learning_rate * 0.5**number)
            for number, layer in enumerate(layers)
        }

    run = trained(plain("by_layer", algorithm=by_layer))
    rates = [one.param_groups[0]["lr"] for one in run.optimizer.of_torch()]
    assert rates == pytest.approx([0.1, 0.05])


# Closures


def lbfgs(parameters: list[Tensor], *, learning_rate: float) -> optim.Optimizer:
    return optim.LBFGS(parameters, lr=learning_rate, max_iter=4)


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))


def test_a_closure_draws_the_same_each_time_and_its_first_loss_is_recorded() -> None:
    model = untrained(dropping)
    optimizer, losses = optim.LBFGS(model.parameters(), lr=0.1, max_iter=4), []

    def step(inputs: Tensor, targets: Tensor) -> None:
        state = torch.get_rng_state()

        def closure() -> Tensor:
            torch.set_rng_state(state)
            optimizer.zero_grad()
            loss = cross_entropy(model(inputs), targets)
            loss.backward()
            return loss.detach()

        losses.append(float(optimizer.step(closure)))  # type: ignore[arg-type]

    run = start(plain("lbfgs", model=dropping, algorithm=lbfgs))
    run.advance(STEPS)
    run.evaluate(full=True)
    ours, theirs = run.model.state_dict(), by_hand(model, step).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert run.evaluations[0].loss == pytest.approx(sum(losses) / STEPS)


class Forgetful(optim.SGD):
    def step(self, closure: Callable[[], Any]) -> None:  # type: ignore[override]
        return None


def test_a_closure_that_is_never_called_is_refused() -> None:
    with pytest.raises(WorkloadError, match="has not called the closure"):
        trained(plain("forgetful", algorithm=Forgetful))


# Updates of one's own


def simple(model: nn.Module, batch: Any, optimizer: optim.Optimizer) -> Tensor:
    inputs, targets = batch
    optimizer.zero_grad()
    loss = cross_entropy(model(inputs), targets)
    loss.backward()
    optimizer.step()
    return loss


def sharp(model: nn.Module, batch: Any, optimizer: optim.Optimizer, *, rho: float) -> Tensor:
    """Sharpness-aware minimization (Foret et al. 2021)."""
    inputs, targets = batch
    loss = cross_entropy(model(inputs), targets)
    loss.backward()
    parameters = list(model.parameters())
    norm = torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm()
    with torch.no_grad():
        moves = [p.grad * (rho / norm) for p in parameters if p.grad is not None]
        for p, move in zip(parameters, moves, strict=True):
            p.add_(move)
    optimizer.zero_grad()
    cross_entropy(model(inputs), targets).backward()
    with torch.no_grad():
        for p, move in zip(parameters, moves, strict=True):
            p.sub_(move)
    optimizer.step()
    optimizer.zero_grad()
    return loss


class Adversaries(nn.Module):
    """A classifier of points, and one that draws points for it to take for real ones."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = nn.Sequential(nn.Linear(4, 8), Dropout(0.2), nn.BatchNorm1d(8))
        self.judge = nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        judged: Tensor = self.judge(inputs)
        return judged


def two(model: nn.Module, *, learning_rate: float, drawn_rate: float) -> dict[str, Any]:
    parts = {name: part.parameters() for name, part in model.named_children()}
    return {
        "drawn": optim.Adam(parts["drawn"], lr=drawn_rate, betas=(0.5, 0.9)),
        "judge": optim.Adam(parts["judge"], lr=learning_rate),
    }


def alternating(model: nn.Module, batch: Any, optimizers: Any, *, noise: float = 1.0) -> Tensor:
    assert isinstance(model, Adversaries)
    inputs, targets = batch
    z = noise * torch.randn(len(inputs), 4)
    optimizers["judge"].zero_grad()
    false = model.judge(model.drawn(z).detach()).logsumexp(1).mean()
    (cross_entropy(model(inputs), targets) + 0.1 * false).backward()
    optimizers["judge"].step()
    optimizers["drawn"].zero_grad()
    loss = -model.judge(model.drawn(z)).logsumexp(1).mean()
    loss.backward()
    optimizers["drawn"].step()
    return loss.detach()


SHARP = plain("sharp", update=sharp, loss=None, algorithm=NesterovMomentum())
SHARP_VALUES = {**RATE, "momentum": 0.9, "rho": 0.05, "weight_decay": 0.01}
SHARP_SPACE = replace(
    SHARP, search_space={"learning_rate": Log(1e-2, 1.0), "momentum": 0.9, "rho": Log(0.01, 0.1)}
)
GAN = plain("gan", model=Adversaries, update=alternating, loss=None, algorithm=two)
GAN_VALUES = {"learning_rate": 0.05, "drawn_rate": 0.01, "noise": 0.7}


@pytest.mark.parametrize("algorithm", [SGD(), Momentum(), NesterovMomentum()], ids=lambda a: a.name)
def test_an_update_that_does_the_plain_thing_is_the_plain_step(algorithm: Algorithm) -> None:
    values = {**RATE, "momentum": 0.9, "weight_decay": 0.01}
    own = trained(plain("own", update=simple, algorithm=algorithm), values)
    usual = trained(plain("usual", algorithm=algorithm), values)
    for one, other in zip(own.model.parameters(), usual.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    own.evaluate(full=True)
    usual.evaluate(full=True)
    assert own.untrained_loss == usual.untrained_loss
    assert own.evaluations[0].loss == pytest.approx(usual.evaluations[0].loss)


def test_an_update_of_two_gradients_trains_as_in_a_loop_by_hand() -> None:
    model = untrained()
    optimizer = optim.SGD(model.parameters(), 0.1, 0.9, 0, 0.01, nesterov=True)
    run = trained(SHARP, SHARP_VALUES)
    assert run.untrained_loss is None
    assert_equal(run, by_hand(model, lambda *batch: sharp(model, batch, optimizer, rho=0.05)))


def test_alternating_updates_train_as_in_a_loop_by_hand_with_a_steps_own_draws() -> None:
    model = untrained(Adversaries)
    made = two(model, learning_rate=0.05, drawn_rate=0.01)
    by_hand(model, lambda *batch: alternating(model, batch, made, noise=0.7))
    ours, theirs = trained(GAN, GAN_VALUES).model.state_dict(), model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("workload", "values"), [(SHARP, SHARP_VALUES), (GAN, GAN_VALUES)], ids=["sharp", "gan"]
)
def test_an_update_goes_on_from_a_file_and_beside_others_bit_for_bit(
    workload: Workload, values: Metaparameters, tmp_path: Path
) -> None:
    whole, run = trained(workload, values), start(workload, values)
    for step in range(1, STEPS + 1):
        run.advance(step)
        run.evaluate(full=False)
        torch.rand(step)
        if step % 6 == 0:
            torch.save(run.state(), tmp_path / "state.pt")
            run = start(workload, values)
            run.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    assert same(run, whole)


def test_the_schedule_sets_the_rates_before_an_update() -> None:
    seen: list[float] = []

    def update(model: nn.Module, batch: Any, optimizer: optim.Optimizer) -> None:
        seen.append(optimizer.param_groups[0]["lr"])

    workload = plain("rates", update=update, schedule=LinearDecay())
    trained(workload, {**RATE, "decay_steps": 4, "decay_factor": 0.0}, steps=6)
    assert seen == pytest.approx([0.1, 0.075, 0.05, 0.025, 0.0, 0.0])


def test_an_update_begins_in_training_mode_and_without_gradients() -> None:
    def update(model: nn.Module, batch: Any, optimizer: optim.Optimizer) -> None:
        assert model.training
        assert all(p.grad is None for p in model.parameters())
        model.eval()
        cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()

    trained(plain("modes", update=update))


@pytest.mark.parametrize("given", [1, 0.5, torch.tensor(2.0), torch.ones(1, requires_grad=True)])
def test_whatever_number_an_update_gives_is_its_loss(given: Any) -> None:
    run = trained(plain("number", update=lambda *_: given, loss=None))
    run.evaluate(full=True)
    assert run.evaluations[0].loss == torch.as_tensor(given).item()


def test_an_update_that_tells_no_loss_is_judged_by_the_metric_alone() -> None:
    run = trained(plain("silent", update=lambda *_: None, loss=None))
    run.evaluate(full=True)
    assert run.untrained_loss is None
    assert run.evaluations[0].loss is None
    assert run.is_finite()


def test_weights_that_are_no_finite_numbers_are_seen_where_an_update_tells_no_loss() -> None:
    def update(model: nn.Module, batch: Any, optimizer: optim.Optimizer) -> None:
        inputs, targets = batch
        (cross_entropy(model(inputs), targets) * math.nan).backward()
        optimizer.step()

    assert not trained(plain("poisoned", update=update, loss=None)).is_finite()


@pytest.mark.parametrize("broken", [math.nan, torch.tensor(math.inf)], ids=["nan", "inf"])
def test_a_loss_that_is_no_finite_number_is_seen(broken: Any) -> None:
    assert not trained(plain("broken", update=lambda *_: broken)).is_finite()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"loss": 1.0}, "returned dict"),
        ((1.0, 2.0), "returned tuple"),
        (torch.ones(2), r"returned a tensor of shape \(2,\) \(torch.float32\)"),
        (True, "returned bool"),
        ("0.5", "returned str"),
    ],
    ids=["dict", "tuple", "several numbers", "bool", "text"],
)
def test_whatever_else_an_update_gives_is_refused(given: Any, says: str) -> None:
    with pytest.raises(WorkloadError, match=f"one number or a tensor of one, or None; {says}"):
        check(plain("other", update=lambda *_: given), [8])


def test_rates_that_an_update_sets_are_refused() -> None:
    def update(model: nn.Module, batch: Any, optimizer: optim.Optimizer) -> None:
        optimizer.param_groups[0]["lr"] *= 0.5

    with pytest.raises(WorkloadError, match="somebody else has set the rate of parameter group 0"):
        trained(plain("halving", update=update))


def test_an_updates_batch_is_never_cut_and_one_device_computes_it() -> None:
    found = check(SHARP_SPACE, [8])
    assert found.whole == "its update sees a batch as a whole"
    with pytest.raises(WorkloadError, match="shares every batch, and its update sees a batch as"):
        found.refuse_devices(2)

    def full(model: nn.Module, batch: Any, optimizer: optim.Optimizer) -> None:
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(WorkloadError, match="memory is too small for a batch of 8, and its update"):
        trained(plain("full", update=full))


def test_channels_last_reaches_an_update_and_lower_precision_is_refused() -> None:
    seen: list[bool] = []

    def update(model: nn.Module, batch: Any, optimizer: optim.Optimizer) -> None:
        seen.append(batch[0].is_contiguous(memory_format=torch.channels_last))

    images = Splits(*(replace(s, inputs=s.inputs.view(-1, 2, 2, 2)) for _, s in DATA.named()))  # type: ignore[attr-defined,type-var]
    workload = plain("images", update=update, loss=None, execution=Execution(channels_last=True))
    ModelRun(workload, images, BATCH_SIZE, RATE, SEED, CPU).advance(2)
    assert seen == [True, True]
    with pytest.raises(WorkloadError, match=r"'bfloat16' doesn't reach; use torch.autocast"):
        SHARP.with_precision("bfloat16")


def test_an_update_needs_an_optimizer_of_torchs_and_clips_itself() -> None:
    class Other(Algorithm):
        name = "other"

        def metaparameters(self) -> dict[str, Any]:
            return {}

        def start(self, model: nn.Module, values: Metaparameters) -> Optimizer:
            return SGD().start(model, values)

    with pytest.raises(WorkloadError, match="the algorithm 'other' has none; give TorchOptimizer"):
        start(plain("other", update=simple, algorithm=Other()))
    with pytest.raises(WorkloadError, match=r"update= computes its own; call torch.nn.utils.clip"):
        start(plain("clipped", update=simple, clip_norm=1.0))
