"""Trials of a made-up workload whose log steps are known."""

import math
from collections.abc import Iterable

import numpy as np

from batchfront.surrogate.evidence import Evidence, Kind
from batchfront.surrogate.proposal import propose
from batchfront.workload.search_space import Log, Metaparameters, ReverseLog, SearchSpace

MOMENTUM: SearchSpace = {"learning_rate": Log(1e-3, 3.0), "momentum": ReverseLog(0.0, 0.99)}

SIZES = (4, 16, 64, 256)

NOISE = 0.25

BUDGET = 3_000.0


def spaces(space: SearchSpace = MOMENTUM) -> dict[int, SearchSpace]:
    return dict.fromkeys(SIZES, space)


def log_rate(params: Metaparameters) -> float:
    return math.log(float(params["learning_rate"])) - math.log(1 - float(params["momentum"]))


def edge(batch_size: float) -> float:
    """The log effective rate beyond which training slows down; it breaks 1.5 e-folds later."""
    return 0.8 * math.log(batch_size) - 3.0


def log_steps(batch_size: float, params: Metaparameters) -> float:
    beyond = log_rate(params) - edge(batch_size)
    return 5.5 - log_rate(params) + 2.0 * max(beyond, 0.0)


def ran(
    batch_size: int, params: Metaparameters, rng: np.random.Generator, cap: float = BUDGET
) -> Evidence:
    """One trial, up to a cap."""
    if log_rate(params) - edge(batch_size) > 1.5:
        return Evidence(batch_size, params, Kind.INFEASIBLE, 100.0)
    steps = math.exp(log_steps(batch_size, params) + NOISE * rng.normal())
    if steps > cap:
        return Evidence(batch_size, params, Kind.MORE_THAN, cap)
    return Evidence(batch_size, params, Kind.REACHED, steps)


def searched(rounds: int, each: int = 4, seed: int = 0) -> list[Evidence]:
    """Rounds of `propose`, each trial capped at the best of the rounds before."""
    shown: list[Evidence] = []
    rng = np.random.default_rng(seed)
    for number in range(rounds):
        wanted = dict.fromkeys(SIZES, each)
        caps = {size: best(shown, size) for size in SIZES}
        for size, points in propose(spaces(), shown, wanted, 100 * seed + number).items():
            shown += [ran(size, params, rng, caps[size]) for params in points]
    return shown


def best(shown: Iterable[Evidence], batch_size: int) -> float:
    reached = (e.steps for e in shown if e.kind == Kind.REACHED and e.batch_size == batch_size)
    return min(reached, default=BUDGET)
