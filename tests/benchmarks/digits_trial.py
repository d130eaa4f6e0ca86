"""A trial of `digits/mlp/momentum` as one would write it by hand, to the same numbers: a generator,
which is a loop's; and a program, which prints its evaluations.

    python tests/benchmarks/digits_trial.py --learning-rate 0.1 --momentum 0.9 --batch-size 64 \
        --seed 1 --max-steps 100
"""

from argparse import ArgumentParser
from collections.abc import Iterator
from functools import cache

import torch
import torch.nn.functional as F

from batchfront import EvaluationGrid, Goal, Loop, Measured, Splits, Trial
from batchfront.training.generators import seed_generators
from batchfront.workload.data_order import DataOrder
from batchfront.workload.seeds import mix
from batchfront_studies.datasets import digits
from batchfront_studies.digits import model, momentum

CPU = torch.device("cpu")
GRID = EvaluationGrid()
GOAL = momentum().goal.value


@cache
def splits() -> Splits:
    """The data, read once in a process."""
    return digits.digits()


def evaluations(
    batch_size: int, rate: float, momentum: float, seed: int, budget: int
) -> Iterator[tuple[int, float, float]]:
    """Train from the weights, and on the batches, that a workload's trial of this seed has.

    Returns the step, the share of validation examples classified wrong, and the mean training loss
    since the evaluation before, at each step of the grid.
    """
    train, held_out = splits().train, splits().validation
    seed_generators(CPU, mix(seed, 0))
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), rate, momentum, fused=True)
    order = DataOrder(len(train), batch_size, mix(seed, 1), CPU)
    before = 0
    for step in GRID.steps(budget):
        losses = torch.zeros(())
        for indices in order.batches(before, step):
            loss = F.cross_entropy(net(train.inputs[indices]), train.targets[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses += loss.detach()
        with torch.no_grad():
            wrong = net(held_out.inputs).argmax(dim=1) != held_out.targets
        yield step, int(wrong.sum()) / len(wrong), losses.item() / (step - before)
        before = step


def train(trial: Trial) -> Iterator[Measured]:
    """The same as a loop's function."""
    rate, mass = float(trial["learning_rate"]), float(trial["momentum"])
    for step, error, loss in evaluations(
        trial.batch_size, rate, mass, trial.long_seed, trial.step_budget
    ):
        yield trial.measured(step, error, loss)


def loop() -> Loop:
    """`digits/mlp/momentum` as a loop, under the same name: its trials have the same draws."""
    same = momentum()
    return Loop(
        name=same.name,
        train=train,
        goal=Goal("error rate", GOAL, better="lower"),
        search_space=same.search_space,
        step_budget=same.step_budget,
        batch_sizes=same.batch_sizes,
    )


def main() -> None:
    """The same as a program."""
    parser = ArgumentParser()
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--momentum", type=float, required=True)
    for name in ("--batch-size", "--seed", "--max-steps"):
        parser.add_argument(name, type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for step, error, loss in evaluations(
        args.batch_size, args.learning_rate, args.momentum, args.seed, args.max_steps
    ):
        print(f"step {step} error {error:.6f} loss {loss}", flush=True)


if __name__ == "__main__":
    main()
