"""lm1b/*: the language models of Shallue et al. 2018 on the One Billion Word Benchmark.

From the paper: the models (see studies/models), the training algorithms, the batch sizes of each,
the goal of 3.9 nats a token of Transformer and LSTM, the LSTM's constant learning rate, and that
learning rate and momentum are searched, on a logarithmic and a reverse logarithmic scale.

Ours: the same goal for the Transformers of other widths and depths, so that they can be compared;
the Transformer's learning rate, constant too, as neither a decay nor its end can be chosen well
before the steps to target are known; the ends of the scales and the step budgets; the grid; which
sentences are held out, and how they are cut into subwords (see studies/datasets/lm1b).
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from batchfront.workload.algorithm import SGD, Algorithm, Momentum, NesterovMomentum
from batchfront.workload.data import Splits
from batchfront.workload.evaluation_grid import EvaluationGrid
from batchfront.workload.goal import Goal
from batchfront.workload.losses import token_cross_entropy
from batchfront.workload.metrics import TOKEN_CROSS_ENTROPY, token_count
from batchfront.workload.search_space import Log, ReverseLog, SearchSpace
from batchfront.workload.workload import Workload, powers_of_two
from batchfront_studies.datasets.lm1b import LONGEST, TOKENS, lm1b
from batchfront_studies.models.lstm import lstm
from batchfront_studies.models.transformer import SIZES, transformer

GOAL = Goal(TOKEN_CROSS_ENTROPY, 3.9)

GRID = EvaluationGrid(first=100, spacing=0.02)
"""To look at some 6,000 sentences takes about as long as to train on a third of them, 125 steps of
16: so two percent more steps from one look to the next, where others have one, and none before the
hundredth, as the goal takes many times more."""

BATCH_SIZES = powers_of_two(16, 32_768)

LSTM_BATCH_SIZES = (16, 64, 256, 1024, 4096, 16_384, 32_768)

SGD_BATCH_SIZES = (32, 128, 512, 2048, 8192)

MOMENTUM_BATCH_SIZES = (*SGD_BATCH_SIZES, 32_768)
"""The paper's: of the shallow Transformer with sgd and with momentum."""

NESTEROV = NesterovMomentum()


def workloads() -> dict[str, Callable[[], Workload]]:
    """Name to maker of every workload of this file."""
    makers: dict[str, Callable[[], Workload]] = {
        f"lm1b/transformer_{variant}/nesterov_momentum": partial(
            _transformer, variant, NESTEROV, BATCH_SIZES
        )
        for variant in SIZES
    }
    return {
        **makers,
        "lm1b/transformer_shallow/momentum": partial(
            _transformer, "shallow", Momentum(), MOMENTUM_BATCH_SIZES
        ),
        "lm1b/transformer_shallow/sgd": partial(_transformer, "shallow", SGD(), SGD_BATCH_SIZES),
        "lm1b/lstm/nesterov_momentum": _lstm,
    }


def language_model(
    name: str,
    description: str,
    data: Callable[[], Splits],
    model: Callable[[], nn.Module],
    algorithm: Algorithm,
    batch_sizes: Sequence[int],
) -> Workload:
    """A model of sentences, its cost a mean over tokens; goal, search space and budget as here."""
    return Workload(
        name=f"{name}/{algorithm.name}",
        description=description,
        data=data,
        model=model,
        loss=token_cross_entropy,
        weight=token_count,
        algorithm=algorithm,
        goal=GOAL,
        search_space=partial(search_space, algorithm),
        step_budget=step_budget,
        batch_sizes=batch_sizes,
        grid=GRID,
    )


def search_space(algorithm: Algorithm, batch_size: int) -> SearchSpace:
    """Four decades of learning rates, higher by the root of the batch size, and momentum.

    The best learning rate rises with the batch size, more slowly than in proportion where the
    batch is large; four decades hold either. Ours, and not measured on these models: a winner at
    an edge is flagged, and says where to widen it.
    """
    shift = math.sqrt(batch_size / 256)
    if algorithm.name == "sgd":
        return {"learning_rate": Log(1e-2 * shift, 100.0 * shift)}
    low, high = 1e-4 * shift, 1.0 * shift
    return {"learning_rate": Log(low, high), "momentum": ReverseLog(0.9, 0.9999)}


def step_budget(batch_size: int) -> int:
    """60 million sentences, twice all of them, and at least 100,000 steps.

    Meant to be generous, not measured: a race ends at its first winner.
    """
    return max(100_000, 60_000_000 // batch_size)


def _transformer(variant: str, algorithm: Algorithm, batch_sizes: Sequence[int]) -> Workload:
    size = SIZES[variant]
    origin = "" if variant == "base" else "; goal ours"
    return language_model(
        f"lm1b/transformer_{variant}",
        f"Transformer of {size.layers} layers, {size.width} units, {size.heads} heads, filter "
        f"{size.filter}, one sentence at a time (Shallue et al. 2018; norm, schedule ours{origin})",
        lm1b,
        partial(transformer, variant, TOKENS, LONGEST),
        algorithm,
        batch_sizes,
    )


def _lstm() -> Workload:
    return language_model(
        "lm1b/lstm",
        "LSTM of 2,048 units projected to 512, one sentence at a time (Shallue et al. 2018)",
        lm1b,
        partial(lstm, TOKENS),
        NESTEROV,
        LSTM_BATCH_SIZES,
    )
