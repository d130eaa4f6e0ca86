"""What fits and what doesn't: every "yes" that is shown in Python is tried as written."""

import ast
import re
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from batchfront import Goal, Log, Loop, TorchOptimizer, Workload
from batchfront.training.loops import preflight as loops
from batchfront.training.model_run import ModelRun
from batchfront.training.preflight.checks import check
from batchfront.workload.search_space import point_at
from batchfront.workload.user_file import function_in
from tests.docs.pages import PAGES

PAGE = PAGES["docs/what_fits.md"]

SECTIONS: dict[str, str] = dict(re.findall(r"(?ms)^### (.*?)\n(.*?)(?=^##|\Z)", PAGE))

IMPORTS = """
from torch.nn.utils.rnn import pad_sequence
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR, StepLR
from torch.utils.data import TensorDataset
from batchfront import *
"""


def shown(text: str) -> list[str]:
    return re.findall(r"(?ms)^```python\n(.*?)^```", text)


BASE, *_ = shown(PAGE)

FIELDS = {field.name for field in fields(Workload)}

CASES = [
    pytest.param(section, block, id=f"{section}, {number}")
    for section, text in SECTIONS.items()
    for number, block in enumerate(shown(text), start=1)
]

WHOLE = ("Losses that see the whole batch", "An update of your own")
"""Sections of what can't be computed in micro-batches."""


def given(block: str) -> set[str]:
    """The names that a block gives something to."""
    found = set()
    for statement in ast.parse(block).body:
        if isinstance(statement, ast.FunctionDef):
            found.add(statement.name)
        elif isinstance(statement, ast.Assign):
            found |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize(("section", "block"), CASES)
def test_what_is_shown_is_accepted_and_trains(section: str, block: str, tmp_path: Path) -> None:
    if "import jax" in block:
        pytest.importorskip("jax")
    file = tmp_path / "shown.py"
    file.write_text(f"{IMPORTS}\n{BASE}\n{block}")
    names = given(block)
    if "train" in names:
        train = function_in(file, "train")
        loop = Loop(
            name="points/own/loop",
            train=train,  # type: ignore[arg-type]
            goal=Goal("error", 1e-3, better="lower"),
            search_space={"learning_rate": Log(1e-3, 1e-2)},
            step_budget=100,
            batch_sizes=(8,),
        )
        resumption = loops.examine(loop, (8,), f"{file}:train").resumption
        assert resumption == ("kept" if "trial.keep(" in block else "replayed")
        return
    workload = function_in(file, "workload")
    assert isinstance(workload, Workload)
    module = sys.modules[workload.data.__module__]
    changed = {name: vars(module)[name] for name in names & FIELDS}
    if "algorithm" not in changed and "adamw" in names:
        changed["algorithm"] = TorchOptimizer("adamw", module.adamw)
    assert changed, "nothing of it is a field of the workload"
    workload = replace(workload, **changed)
    checked = check(workload, (8,))
    assert (checked.whole is not None) == (section in WHOLE)
    values = point_at(workload.space(8), [0.5] * len(workload.searched(8)))
    run = ModelRun(workload, checked.splits, 8, values, 0, torch.device("cpu"))
    run.advance(5)
    assert run.is_finite()
    run.evaluate(full=True)
