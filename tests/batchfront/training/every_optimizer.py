"""Every optimizer of `torch.optim`: as a workload's algorithm, and in a loop written by hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.nn.utils import clip_grad_norm_

from batchfront.training.model_run import ModelRun
from batchfront.workload.algorithm import TorchOptimizer
from batchfront.workload.data import Split, Splits
from batchfront.workload.data_order import DataOrder
from batchfront.workload.losses import cross_entropy
from batchfront.workload.search_space import Metaparameters
from batchfront.workload.seeds import mix
from batchfront.workload.workload import Workload
from tests.batchfront.training.vectorized import trials

SEED, BATCH_SIZE = 100, 8

Named = list[tuple[str, nn.Parameter]]


def matrices() -> nn.Module:
    """16-12-4 units in float64, of which Muon takes every parameter."""
    layers = [nn.Linear(16, 12, bias=False), nn.ReLU(), nn.Linear(12, 4, bias=False)]
    return nn.Sequential(*layers).double()


class Table(nn.Module):
    """The sum of a row's embeddings, whose gradients are sparse. [n, 3] -> [n, 4]"""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 4, sparse=True, dtype=torch.float64)

    def forward(self, tokens: Tensor) -> Tensor:
        summed: Tensor = self.table(tokens).sum(1)
        return summed


def tokens() -> Splits:
    """96 / 80 rows of three tokens, whose sum tells their class."""
    drawn = torch.randint(20, (176, 3), generator=torch.Generator().manual_seed(5))
    classes = drawn.sum(1) // 15
    return Splits(Split(drawn[:96], classes[:96]), Split(drawn[96:], classes[96:]))


@dataclass(frozen=True)
class Case:
    """An optimizer class, and what it is tried with.

    rate    -- a learning rate at which it learns
    options -- further keywords, by the names that metaparameters have
    clips   -- whether its gradients can be clipped
    groups  -- whether it takes parameter groups
    stacks  -- whether its trials can be computed as one
    loose   -- how far rounding may take the weights, where it computes in less than their precision
    """

    kind: type[optim.Optimizer]
    rate: float
    options: dict[str, Any] = field(default_factory=dict)
    model: Callable[[], nn.Module] = trials.mlp
    data: Callable[[], Splits] = lambda: trials.splits(16)
    clips: bool = True
    groups: bool = True
    stacks: bool = True
    loose: float = 1e-8

    @property
    def name(self) -> str:
        return "-".join([self.kind.__name__, *self.options])

    @property
    def values(self) -> Metaparameters:
        return {"learning_rate": self.rate, **self.options}


CASES = (
    Case(optim.ASGD, 0.1, {"t0": 5.0, "weight_decay": 0.01}),
    Case(optim.Adadelta, 1.0, {"rho": 0.8}),
    Case(optim.Adafactor, 0.05, {"eps2": 1e-2, "d": 1.1}),
    Case(optim.Adagrad, 0.1, {"lr_decay": 0.01}),
    Case(optim.Adam, 0.01),
    Case(optim.Adam, 0.01, {"amsgrad": True, "weight_decay": 0.1}),
    Case(optim.AdamW, 0.01, {"beta1": 0.8, "beta2": 0.95, "eps": 1e-6}),
    Case(optim.AdamW, 0.01, {"fused": True}),
    Case(optim.Adamax, 0.01, {"beta2": 0.99}),
    Case(optim.LBFGS, 0.5, {"max_iter": 3}, groups=False, stacks=False),
    Case(
        optim.LBFGS,
        1.0,
        {"line_search_fn": "strong_wolfe", "max_iter": 2},
        groups=False,
        stacks=False,
    ),
    Case(optim.Muon, 0.02, {"ns_steps": 3, "momentum": 0.9}, model=matrices, loose=0.1),
    Case(optim.NAdam, 0.01, {"decoupled_weight_decay": True, "weight_decay": 0.1}),
    Case(optim.RAdam, 0.02),
    Case(optim.RMSprop, 0.005, {"momentum": 0.9, "centered": True}),
    Case(optim.Rprop, 0.005, {"eta1": 0.6, "step_size2": 0.1}),
    Case(optim.SGD, 0.1),
    Case(optim.SGD, 0.05, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    Case(optim.SparseAdam, 0.1, model=Table, data=tokens, clips=False, groups=False, stacks=False),
)


def plain(case: Case, **changed: Any) -> Workload:
    """The class itself as the algorithm, its keywords as metaparameters."""
    return trials.workload(case.model, case.kind, **changed)  # type: ignore[arg-type]


def two_groups(case: Case) -> Callable[..., optim.Optimizer]:
    """A factory of two groups by name, the second at a rate that is searched too."""

    def factory(
        named_parameters: Named, *, learning_rate: float, last_rate: float
    ) -> optim.Optimizer:
        last = named_parameters[-1][0].split(".")[0]
        body = [p for name, p in named_parameters if not name.startswith(f"{last}.")]
        head = [p for name, p in named_parameters if name.startswith(f"{last}.")]
        groups = [{"params": body}, {"params": head, "lr": last_rate}]
        return case.kind(groups, lr=learning_rate, **keywords(case))

    return factory


def grouped(case: Case, **changed: Any) -> Workload:
    """The algorithm of `two_groups`; trials need a `last_rate`."""
    algorithm = TorchOptimizer(case.kind.__name__.lower(), two_groups(case))
    return trials.workload(case.model, algorithm, **changed)


def keywords(case: Case) -> dict[str, Any]:
    """The options as its constructor takes them: `beta1` and `beta2` as a tuple."""
    given = dict(case.options)
    tuples = {
        "betas": ("beta", (0.9, 0.999)),
        "etas": ("eta", (0.5, 1.2)),
        "step_sizes": ("step_size", (1e-6, 50)),
        **({"eps": ("eps", (None, 1e-3))} if case.kind is optim.Adafactor else {}),
    }
    for name, (stem, defaults) in tuples.items():
        entries = [given.pop(f"{stem}{k}", default) for k, default in enumerate(defaults, 1)]
        if tuple(entries) != defaults:
            given[name] = tuple(entries)
    return given


def start(workload: Workload, data: Splits, values: Metaparameters) -> ModelRun:
    """A trial of the seed that a loop by hand draws from."""
    return ModelRun(workload, data, BATCH_SIZE, values, SEED, torch.device("cpu"))


def by_hand(
    model: Callable[[], nn.Module],
    data: Splits,
    make: Callable[[nn.Module], Sequence[optim.Optimizer]],
    steps: int,
    clip_norm: float | None = None,
) -> nn.Module:
    """The model after so many steps of a loop as people write it, with a trial's draws."""
    torch.manual_seed(mix(SEED, 0))
    net = model()
    optimizers = make(net)
    order = DataOrder(len(data.train), BATCH_SIZE, mix(SEED, 1), torch.device("cpu"))
    for indices in order.batches(0, steps):
        inputs, targets = data.train.batch(indices)

        def closure(inputs: Tensor = inputs, targets: Tensor = targets) -> Tensor:
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss = cross_entropy(net(inputs), targets)
            loss.backward()
            if clip_norm is not None:
                clip_grad_norm_(net.parameters(), clip_norm)
            return loss

        if isinstance(optimizers[0], optim.LBFGS):
            optimizers[0].step(closure)
        else:
            closure()
            for optimizer in optimizers:
                optimizer.step()
    return net
