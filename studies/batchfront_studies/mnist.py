"""mnist/*: the fully connected networks and Simple CNNs of Shallue et al. 2018, and one of ours.

From the paper: the models (see studies/models), the training algorithms, the batch sizes of each,
the split, the goal of the Simple CNNs, the constant learning rate, and that learning rate and
momentum are searched, on a logarithmic and a reverse logarithmic scale.

Ours: the ends of those scales and the step budget, as the paper chose its own per workload and
batch size; the goal of the fully connected networks (see FC_GOAL); and which of the paper's
models are offered with algorithms that its data does not have (their description says so).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from torch import nn

from batchfront.workload.algorithm import SGD, Algorithm, Momentum, NesterovMomentum
from batchfront.workload.data import Splits
from batchfront.workload.execution import Execution
from batchfront.workload.goal import Goal
from batchfront.workload.losses import cross_entropy
from batchfront.workload.metrics import ERROR_RATE
from batchfront.workload.search_space import Log, ReverseLog, SearchSpace
from batchfront.workload.workload import Workload, powers_of_two
from batchfront_studies.datasets.mnist import mnist
from batchfront_studies.models.fully_connected import fully_connected
from batchfront_studies.models.simple_cnn import WIDTHS, simple_cnn

ALGORITHMS: tuple[Algorithm, ...] = (SGD(), Momentum(), NesterovMomentum())

WHOLE_TRAINING_SET = 55_000

UP_TO_32768 = powers_of_two(1, 32_768)

BATCH_SIZES = (*UP_TO_32768, WHOLE_TRAINING_SET)

NESTEROV_BATCH_SIZES = (1, 2, *(2**k for k in range(3, 16, 2)), WHOLE_TRAINING_SET)
"""1, 2, 8, 32, 128, ... 32768, 55000: the paper's for Simple CNN with Nesterov momentum."""

CNN_GOAL = 0.01
"""The paper's for the Simple CNN."""

FC_HIDDEN: tuple[tuple[int, ...], ...] = (
    (1024,),
    (1024, 1024),
    (1024, 1024, 1024),
    *((width,) * 3 for width in (64, 128, 256, 512, 2048)),
)
"""Hidden units of the paper's fully connected networks."""

FC_GOAL = 0.04
"""One goal for all of them, so that their widths and depths can be compared, and one that the
narrowest still reaches with ease: fc_64_64_64 levels off at 0.038 with sgd, batch size 64 and a
learning rate of 0.05 to 0.2 (18 epochs), and at 0.029 to 0.034 with batch size 1,024 (110 epochs).
Ours: we don't know the paper's for certain."""

FC_256_GOAL = 0.025
"""Without dropout it levels off at about 0.0205 (batch size 1,024, 75-150 epochs)."""

SGD_SPACE: SearchSpace = {"learning_rate": Log(1e-3, 10.0)}

MOMENTUM_SPACE: SearchSpace = {"learning_rate": Log(3e-4, 3.0), "momentum": ReverseLog(0.0, 0.99)}
"""One space for all batch sizes: the best effective learning rate, lr / (1 - momentum), of fc_256
was 0.12 at batch size 8, 1.7 at 256 and 34 (lr 0.63) at 8,192."""

EXECUTION = Execution(channels_last=True)
"""Of the Simple CNNs: on a CPU a step then takes 0.7-0.8 of the time, and a look 0.5-0.8."""


def workloads() -> dict[str, Callable[[], Workload]]:
    """Name to maker of every workload of this file."""
    makers: dict[str, Callable[[], Workload]] = {}
    for algorithm in ALGORITHMS:
        for hidden in FC_HIDDEN:
            name = "_".join(map(str, ("fc", *hidden)))
            makers[f"mnist/{name}/{algorithm.name}"] = partial(fc, name, hidden, algorithm)
        for variant in WIDTHS:
            name = f"mnist/simple_cnn_{variant}/{algorithm.name}"
            makers[name] = partial(cnn, variant, algorithm)
        makers[f"mnist/fc_256/{algorithm.name}"] = partial(fc_256, algorithm)
    return makers


def fc(name: str, hidden: Sequence[int], algorithm: Algorithm) -> Workload:
    """One of the paper's fully connected networks, with dropout 0.4. The paper's are with sgd."""
    origin = "" if algorithm.name == "sgd" else "; the paper has it with sgd alone"
    return _workload(
        name,
        f"784-{_dashed(hidden)}-10 units, dropout 0.4 (Shallue et al. 2018; goal ours{origin})",
        partial(fully_connected, 784, hidden, 10, 0.4),
        algorithm,
        FC_GOAL,
    )


def fc_256(algorithm: Algorithm) -> Workload:
    """A small and fast network. Ours, not the paper's."""
    return _workload(
        "fc_256",
        "784-256-10 units without dropout (ours, not the paper's)",
        partial(fully_connected, 784, (256,), 10),
        algorithm,
        FC_256_GOAL,
    )


def cnn(variant: str, algorithm: Algorithm) -> Workload:
    """One of the paper's Simple CNNs. It has base with every algorithm, the others with sgd."""
    widths = _dashed(WIDTHS[variant])
    origin = "" if variant == "base" else "; widths ours"
    if variant != "base" and algorithm.name != "sgd":
        origin += "; the paper has it with sgd alone"
    batch_sizes = BATCH_SIZES
    if variant == "base" and algorithm.name == "nesterov_momentum":
        batch_sizes = NESTEROV_BATCH_SIZES
    elif variant == "wide":
        batch_sizes = UP_TO_32768
    made = _workload(
        f"simple_cnn_{variant}",
        f"two 5x5 convolutions and a dense layer, {widths} (Shallue et al. 2018{origin})",
        partial(simple_cnn, variant),
        algorithm,
        CNN_GOAL,
        batch_sizes,
    )
    return replace(made, execution=EXECUTION)


def cnn_base_on(
    dataset: str,
    data: Callable[..., Splits],
    goal: float,
    batch_sizes: Sequence[int],
    origin: str,
) -> Workload:
    """The paper's Simple CNN with Nesterov momentum on other data of MNIST's shape, searched as on
    MNIST.

    dataset -- the first part, or parts, of the workload's name
    origin  -- what is from where, for the description
    """
    widths = _dashed(WIDTHS["base"])
    described = f"two 5x5 convolutions and a dense layer, {widths} (Shallue et al. 2018; {origin})"
    made = _workload(
        "simple_cnn_base",
        described,
        partial(simple_cnn, "base"),
        NesterovMomentum(),
        goal,
        batch_sizes,
    )
    name = f"{dataset}/simple_cnn_base/{made.algorithm.name}"
    return replace(made, name=name, data=data, execution=EXECUTION)


def step_budget(batch_size: int) -> int:
    """40 epochs, and at least 20,000 steps: meant to be generous, not measured at every size."""
    return max(20_000, 40 * WHOLE_TRAINING_SET // batch_size)


def _workload(
    model_name: str,
    description: str,
    model: Callable[[], nn.Module],
    algorithm: Algorithm,
    goal: float,
    batch_sizes: Sequence[int] = BATCH_SIZES,
) -> Workload:
    return Workload(
        name=f"mnist/{model_name}/{algorithm.name}",
        description=description,
        data=mnist,
        model=model,
        loss=cross_entropy,
        algorithm=algorithm,
        goal=Goal(ERROR_RATE, goal),
        search_space=SGD_SPACE if algorithm.name == "sgd" else MOMENTUM_SPACE,
        step_budget=step_budget,
        batch_sizes=batch_sizes,
    )


def _dashed(widths: Sequence[int]) -> str:
    return "-".join(map(str, widths))
