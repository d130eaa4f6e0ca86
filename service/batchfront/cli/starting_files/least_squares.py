"""Least squares by gradient descent with momentum, in Python alone: put your own program here.

batchfront needs of a program that it takes its metaparameters as arguments, and prints how far it
is: sweep.toml says how.
"""

from argparse import ArgumentParser
from random import Random

INPUTS, TRAIN, VALIDATION, NOISE = 16, 2_000, 200, 0.5

parser = ArgumentParser()
parser.add_argument("--learning-rate", type=float, required=True)
parser.add_argument("--momentum", type=float, required=True)
parser.add_argument("--batch-size", type=int, required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("--max-steps", type=int, required=True)
args = parser.parse_args()

draw = Random(0)  # the data are the same for every trial
truth = [draw.gauss(0, 1) for _ in range(INPUTS)]


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def examples(count: int) -> list[tuple[list[float], float]]:
    inputs = [[draw.gauss(0, 1) for _ in range(INPUTS)] for _ in range(count)]
    return [(x, dot(x, truth) + draw.gauss(0, NOISE)) for x in inputs]


train, validation = examples(TRAIN), examples(VALIDATION)
order = Random(args.seed)  # which examples a step trains on is the trial's own
weights, velocity = [0.0] * INPUTS, [0.0] * INPUTS
next_evaluation = 1

for step in range(1, args.max_steps + 1):
    batch = order.choices(train, k=args.batch_size)
    errors = [dot(x, weights) - y for x, y in batch]
    for i in range(INPUTS):
        gradient = sum(e * x[i] for e, (x, _) in zip(errors, batch, strict=True)) / len(batch)
        velocity[i] = args.momentum * velocity[i] + gradient
        weights[i] -= args.learning_rate * velocity[i]
    if step >= next_evaluation:
        errors = [dot(x, weights) - y for x, y in validation]
        val_loss = sum(e * e for e in errors) / VALIDATION
        print(f"step {step}: val_loss {val_loss:.6f}")
        next_evaluation = step + 1 + step // 20  # 5 % apart: no count of steps is truer than that
