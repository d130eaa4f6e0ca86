"""docs/workloads.md says what the catalog holds."""

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
import torch

from batchfront.workload import catalog
from batchfront.workload.lr_schedule import Constant, LinearDecay
from batchfront.workload.workload import Workload
from tests.batchfront_studies.papers_workloads import BATCH_SIZES

PAGE = (Path(__file__).parents[2] / "docs" / "workloads.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


MODELS = rows("Models")
GOALS = rows("Goals, schedules and batch sizes")


def meant(cell: str) -> Iterator[str]:
    """The names that `a/{b,c}/*` and the like stand for."""
    for pattern in re.findall(r"`([^`]+)`", cell):
        parts = [part.split(",") for part in re.split(r"[{}]", pattern)]
        for words in product(*parts):
            glob = re.escape("".join(words)).replace(r"\*", "[^/]*")
            yield from (name for name in sorted(BATCH_SIZES) if re.fullmatch(glob, name))


def loaded(model: str) -> Workload:
    return catalog.load(next(n for n in catalog.names() if n.startswith(f"{model}/")))


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row[0].strip("`"))
def test_a_model_has_as_many_parameters_as_the_page_says(row: list[str]) -> None:
    with torch.device("meta"):
        model = loaded(row[0].strip("`")).model()
    assert f"{sum(p.numel() for p in model.parameters()):,}" == row[1]


def test_every_model_of_the_catalog_stands_on_the_page_but_for_those_on_other_data() -> None:
    shown = {row[0].strip("`") for row in MODELS}
    there = {name.rpartition("/")[0] for name in catalog.names()}
    elsewhere = {name for name in there if "/simple_cnn_base" in name} | {
        "imagenet_subsets/imagenet_half_images/resnet_50"
    }
    ours = {name for name in there if not name.startswith(("clouds", "shell"))}
    assert ours - elsewhere <= shown <= ours


def test_every_workload_of_the_paper_has_one_row() -> None:
    named = [name for row in GOALS for name in meant(row[0])]
    assert sorted(named) == sorted(BATCH_SIZES)


@pytest.mark.parametrize("row", GOALS, ids=lambda row: row[0])
def test_goals_schedules_and_batch_sizes_are_those_of_the_catalog(row: list[str]) -> None:
    for name in meant(row[0]):
        workload = catalog.load(name)
        assert str(workload.goal) == f"validation {row[1].rstrip(' *')}"
        kind = LinearDecay if row[2].startswith("linear") else Constant
        assert isinstance(workload.schedule, kind)
        first = re.match(r"\d+", row[3])
        assert first is not None
        assert int(first[0]) == workload.batch_sizes[0]
        last = row[3].replace(".. ", ",").split(",")[-1].split("..")[-1].strip()
        assert not last.isdigit() or int(last) == workload.batch_sizes[-1]
