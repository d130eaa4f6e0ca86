"""A sweep file whose text a test changes, and what it comes to."""

from collections.abc import Callable
from pathlib import Path

from batchfront.workload.program import Program
from batchfront.workload.sweep_file import read_sweep_file

SWEEP = r"""
[workload]
name = "shakespeare/char_gpt/adamw"
command = "python3 train.py --lr {learning_rate} --beta2 {beta2} -b {batch_size} --seed {seed}"
output = 'step (?P<step>\S+) .*val_loss (?P<value>\S+)'
metric = "val_loss"
better = "lower"
goal = 1.8
batch_sizes = [8, 32, 128]
step_budget = 5000

[search_space]
learning_rate = {log = [1e-4, 1e-1]}
beta2 = {reverse_log = [0.9, 0.9999]}

[search]
trials = 16

[resources]
at_once = 2
"""

Write = Callable[..., Path]


def written(folder: Path, *replaced: tuple[str, str], text: str = SWEEP) -> Path:
    """The file, sweep.toml, with some of its text replaced, beside a train.py."""
    for old, new in replaced:
        assert old in text, old
        text = text.replace(old, new)
    (folder / "train.py").write_text("print('step 1 val_loss 1')\n")
    path = folder / "sweep.toml"
    path.write_text(text)
    return path


def program(folder: Path, *replaced: tuple[str, str]) -> Program:
    """Its program."""
    return read_sweep_file(written(folder, *replaced)).program
