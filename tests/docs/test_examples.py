"""The examples are what their page says, and those that are light run."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from batchfront.training.programs.output import OutputReader
from batchfront.workload.sweep_file import read_sweep_file
from tests.batchfront.cli.conftest import Result, batchfront, folder  # noqa: F401
from tests.docs.pages import PAGES, ROOT

EXAMPLES = ROOT / "docs" / "examples"
PAGE = PAGES["docs/examples/README.md"]

PRINTED = {
    "nanogpt.toml": [
        "step 0: train loss 4.4453, val loss 4.4444",
        "iter 0: loss 4.4469, time 12.60ms, mfu -100.00%",
        "step 10: train loss 3.9021, val loss 3.8956",
    ],
    "mnist.toml": [
        "Train Epoch: 1 [0/3000 (0%)]\tLoss: 2.300039",
        "Train Epoch: 1 [2560/3000 (83%)]\tLoss: 0.302039",
        "Test set: Average loss: 0.4830, Accuracy: 1704/2000 (85%)",
        "Train Epoch: 2 [0/3000 (0%)]\tLoss: 0.200039",
        "Test set: Average loss: 0.2388, Accuracy: 1852/2000 (93%)",
    ],
}
"""Lines of the programs of others."""

TOLD = {"nanogpt.toml": [(0, 4.4444), (10, 3.8956)], "mnist.toml": [(47, 1704), (94, 1852)]}
"""At batch size 64."""


@pytest.mark.parametrize("name", PRINTED)
def test_a_sweep_file_of_at_most_15_lines_reads_what_the_program_prints(name: str) -> None:
    lines = [line for line in (EXAMPLES / name).read_text().splitlines() if line.strip()]
    assert len(lines) <= 15
    program = read_sweep_file(EXAMPLES / name).program
    reader = OutputReader(program, 64)
    told = [one for line in PRINTED[name] for one in reader.line(line)]
    assert [(one.step, one.metric) for one in told] == TOLD[name]


def test_the_page_has_every_example_and_a_picture_of_each_page() -> None:
    for file in EXAMPLES.iterdir():
        assert file.name == "README.md" or f"({file.name})" in PAGE, file.name


def test_the_gan_runs_as_its_page_says(
    batchfront: Callable[..., Result],  # noqa: F811
    folder: Path,  # noqa: F811
) -> None:
    (folder / "gan.py").write_text((EXAMPLES / "gan.py").read_text())
    (command,) = re.findall(r"batchfront (run \./gan\.py:gan)", PAGE)
    few = ("--trials", "2", "--batch-sizes", "32", "--goal", "0.1", "--workers", "1")
    result = batchfront(*command.split(), *few)
    assert result.code == 0, result.err
    assert "ring/gan/adam: steps to target, energy distance < 0.1" in result.out


@pytest.mark.parametrize(
    ("library", "file"), [("lightning", "lightning_digits"), ("transformers", "bert")]
)
@pytest.mark.slow
def test_what_a_framework_trains_runs_as_its_page_says(
    batchfront: Callable[..., Result],  # noqa: F811
    folder: Path,  # noqa: F811
    library: str,
    file: str,
) -> None:
    pytest.importorskip(library)
    (folder / f"{file}.py").write_text((EXAMPLES / f"{file}.py").read_text())
    (command,) = re.findall(rf"batchfront (run \./{file}\.py:{file})", PAGE)
    goal = "0.5" if library == "lightning" else "0.68"
    few = ("--trials", "1", "--batch-sizes", "512", "--goal", goal, "--workers", "1")
    result = batchfront(*command.split(), *few)
    assert result.code == 0, result.err
    assert "1 reached" in result.out
