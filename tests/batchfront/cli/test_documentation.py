"""What the README and the guides say can be run, and the names that they use exist."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import batchfront
from tests.batchfront.cli.conftest import Result
from tests.docs.pages import PAGES, blocks

README = PAGES["README.md"]
ANSWER = "docs/guides/answer.md"
NAME = "digits/mlp/momentum"


def example(page: str, word: str) -> str:
    """The example in Python on this page that has this word in it."""
    return next(block for block in blocks(page, "python") if word in block)


def test_the_example_workload_runs_as_written(
    batchfront: Callable[..., Result], folder: Path
) -> None:
    code = example("README.md", "my_workload")
    (folder / "my_workload.py").write_text(code)
    shown = next(line for line in README.splitlines() if line.startswith("batchfront run ./"))
    few = ("--trials", "4", "--batch-sizes", "8,64", "--workers", "1")
    result = batchfront(*shlex.split(shown)[1:], *few)
    assert result.code == 0, result.err
    assert "shell/mlp/momentum" in result.out


def test_the_example_of_examples_that_are_read_when_asked_for_works_as_written(
    folder: Path,
) -> None:
    code = example("docs/guides/workloads.md", "lazily.py")
    exec(compile(code, "workloads.md", "exec"), found := {})
    samples = np.random.default_rng(0).random((6, 16_000), np.float32)
    np.save(folder / "samples.npy", samples)
    np.save(folder / "classes.npy", np.arange(6))
    recordings = found["Recordings"](folder).to(torch.device("cpu"))
    assert isinstance(recordings, batchfront.Examples)
    inputs, targets = recordings.batch(torch.tensor([4, 1]))
    assert targets.tolist() == [4, 1]
    assert np.array_equal(inputs.numpy(), samples[[4, 1]])
    assert recordings.weights(lambda classes: classes).tolist() == [0, 1, 2, 3, 4, 5]
    assert len(batchfront.Part(recordings, torch.tensor([5]))) == 1
    assert recordings.describe()["examples"] == 6


def test_the_example_notebook_runs_as_written_and_json_has_the_fields_that_the_guide_says(
    batchfront: Callable[..., Result], folder: Path
) -> None:
    page, few = "docs/guides/python.md", ("--trials", "6", "--finishers", "2", "--workers", "1")
    sizes = ("--batch-sizes", "64,128,256,512")
    result = batchfront("run", NAME, *sizes, *few)
    assert result.code == 0, result.err
    said = [set(re.findall(r"`(\w+)`", table)) for table in re.split(r"\| field \|", PAGES[ANSWER])]
    frontier = json.loads(batchfront("frontier", NAME, "--format", "json").out)
    assert {*frontier["points"][0]} <= said[1]
    assert {*frontier["expected"]["points"][0]} <= said[2]
    curves = json.loads(batchfront("curve", "--format", "json").out)
    (curve,) = curves
    assert {*curve, *next(iter(curve["estimates"].values()))} <= said[3]
    exec(compile(example(page, "load_frontier"), "python.md", "exec"), found := {})
    assert list(found["fastest"]) == [64, 128, 256, 512]
    assert set(found["reached"]["outcome"]) == {"reached"}
    documented = PAGES[page].split("| DataFrame | columns |")[1].split("\n\n")[0].splitlines()[2:]
    expected = found["frontier"].expected.to_frame()
    frames = (found["frontier"].to_frame(), expected, found["trials"], found["curves"])
    for line, frame in zip(documented, frames, strict=True):
        named = re.findall(r"`(\w+)(?:_\*)?`", line.split("|")[2])
        columns = [name if name in named else name.partition("_")[0] for name in frame.columns]
        assert list(dict.fromkeys(columns)) == named


def test_every_public_name_exists_and_the_guide_names_no_other() -> None:
    assert all(getattr(batchfront, name) is not None for name in batchfront.__all__)
    assert [name for name in dir(batchfront) if name[0] != "_"] == sorted(
        {*batchfront.__all__, "open"}
    )
    parts = PAGES["docs/guides/workloads.md"].split("| part | what there is |")[1].split("\n\n")[0]
    named = re.findall(r"`([A-Z]\w+)", parts)
    assert len(named) > 15
    assert set(named) <= set(batchfront.__all__)
