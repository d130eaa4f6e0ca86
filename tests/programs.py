"""Programs as users have them: a training script without torch, and the sweep file that runs it."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.url import Storage
from batchfront.study.study import Study
from batchfront.workload.sweep_file import read_sweep_file

NAME = "toy/line/sgd"

TRAIN = """
import argparse, os, random, signal, sys

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--batch-size", type=int)
parser.add_argument("--seed", type=int)
parser.add_argument("--max-steps", type=int)
parser.add_argument("--resume")
told = parser.parse_args()

if "BATCHFRONT_SOCKET" in os.environ:
    import batchfront
else:  # run by hand: it prints what it would report
    class batchfront:
        report = staticmethod(lambda step, value: print(f"step {step}: a b val_loss {value}"))

rng = random.Random(told.seed)
weight, first, every = 3.0, 1, 10
checkpoint = os.environ.get("CHECKPOINT")
if told.resume:
    kept = eval(open(told.resume).read())
    weight, first = kept["weight"], kept["step"] + 1
    rng.setstate(kept["rng"])

def save(*_):
    if checkpoint:
        kept = {"weight": weight, "step": step, "rng": rng.getstate()}
        open(checkpoint, "w").write(repr(kept))
        sys.exit(0)
    os._exit(143)

if checkpoint:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
for step in range(first, told.max_steps + 1):
    with open("steps.log", "a") as file:
        file.write(f"{told.lr} {step}\\n")
    weight -= told.lr * (2 * weight + rng.gauss(0, 1) / told.batch_size**0.5)
    EVERY
    if step % every == 0:
        print(f"step {step}: train_loss {weight:.4f} val_loss {weight**2:.6g}")
    if checkpoint and signal.SIGTERM in signal.sigpending():
        save()
"""

SWEEP = """
[workload]
name = "toy/line/sgd"
command = "PYTHON train.py --lr {learning_rate} --batch-size {batch_size} --seed {seed} --max-steps {step_budget}"
output = 'step (?P<step>\\d+): .*val_loss (?P<value>\\S+)'
metric = "val_loss"
better = "lower"
goal = 0.2
batch_sizes = [8, 32]
step_budget = 90
code = ["train.py"]

[search_space]
learning_rate = {log = [1e-3, 2.0]}

[resources]
at_once = 3
"""  # noqa: E501


def write_sweep(folder: Path, *changes: tuple[str, str], every: str = "") -> Path:
    """Write the script and its sweep file, with some of its lines replaced; where that is.

    every -- a line of the script, before each of its steps ends
    """
    text = SWEEP.replace("PYTHON", sys.executable)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "train.py").write_text(TRAIN.replace("EVERY", every or "pass"))
    path = folder / "sweep.toml"
    path.write_text(text)
    return path


def planned(storage: Storage, path: Path, **asked: Any) -> tuple[Study, ...]:
    """Plan a sweep file, with six trials if no other number is asked for; its studies."""
    program = read_sweep_file(path).program
    options = SearchOptions(**{"trials": 6, "batch_sizes": (8,), **asked})
    return plan(storage, str(path), program, options).studies


def alone(path: Path, study: Study, slot: Any) -> list[tuple[int, float]]:
    """What a trial's program tells that runs by itself to its end: steps and values."""
    values: Mapping[str, Any] = json.loads(slot.params)
    command = [sys.executable, "train.py", "--lr", repr(values["learning_rate"])]
    seed = study.trial_seed(slot.number) % 2**31
    command += ["--batch-size", str(study.batch_size), "--seed", str(seed)]
    command += ["--max-steps", str(study.identity["step_budget"])]
    printed = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=True)
    lines = [line.split() for line in printed.stdout.splitlines()]
    return [(int(words[1].rstrip(":")), float(words[5])) for words in lines]


def steps_done(path: Path) -> int:
    """The steps that all of the programs have done so far."""
    log = path.parent / "steps.log"
    return len(log.read_text().splitlines()) if log.exists() else 0
