"""What does a run on JPEG files take, decoded as they are asked for, by processes, and kept?

    python -m tests.benchmarks.jpeg_files

The same race on the same files each time: 4,000 to train on, cropped and flipped at random, and
1,000 for validation. *Naive* is an `Examples` whose `batch` decodes what it is asked for; the rest
are `Examples.of` torchvision's ImageFolder. Winners and their steps must be the same.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image
from sqlalchemy import select
from torch import Tensor, nn
from torchvision import transforms
from torchvision.datasets import ImageFolder

from batchfront import (
    ERROR_RATE,
    Examples,
    Goal,
    Log,
    Momentum,
    Splits,
    Workload,
    cross_entropy,
)
from batchfront.ledger.time_profile import Profile, load_profile
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.schema import slots
from batchfront.store.url import open_storage
from batchfront.vocabulary import EngineName
from batchfront.worker.options import WorkerOptions
from batchfront.worker.worker import Settings, Worker
from batchfront.workload import catalog
from batchfront.workload.datasets import Piece, Source
from tests.benchmarks.markdown import table
from tests.searches import CODE

_FOLDER = "BATCHFRONT_DATA_DIR"
_WAY = "BATCHFRONT_BENCHMARK_WAY"

_CLASSES, _SIDE, _CROP = 4, 96, 64

WAYS = ("naive", "processes=0", "processes=2", "processes=4")

_ALIKE = transforms.Compose([transforms.CenterCrop(_CROP), transforms.ToTensor()])

_AT_RANDOM = transforms.Compose(
    [transforms.RandomCrop(_CROP), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
)


def write_files(folder: Path, train: int, validation: int) -> None:
    """Make JPEG files of a few classes, told apart by their colours, in much noise."""
    random = np.random.default_rng(0)
    colours = random.integers(110, 146, (_CLASSES, 3))
    for split, count in (("train", train), ("validation", validation)):
        for n in range(count):
            kind = n % _CLASSES
            file = folder / split / str(kind) / f"{n}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = (
                colours[kind]
                + random.normal(0, 25, (1, 1, 3))
                + random.normal(0, 30, (_SIDE, _SIDE, 3))
            )
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, quality=90)


class Naive(Examples):
    """Decodes what it is asked for, with the draws that `Examples.of` makes."""

    def __init__(self, files: ImageFolder) -> None:
        self.source = Source(files, None, None)

    @property
    def indexed_on(self) -> torch.device:
        return torch.device("cpu")

    def __len__(self) -> int:
        return self.source.length

    def batch(self, indices: Tensor, seed: int | None = None) -> Any:
        with torch.random.fork_rng():
            return self.source.draw(Piece(indices.tolist(), seed)).found

    def to(self, device: torch.device) -> "Naive":
        return self

    def describe(self) -> dict[str, Any]:
        return {"examples": len(self)}


def data(data_dir: Path) -> Splits:
    """The files, decoded in the way that the environment names."""
    folders = (("train", _AT_RANDOM), ("validation", _ALIKE))
    files = [ImageFolder(str(data_dir / name), transform) for name, transform in folders]
    way = os.environ[_WAY]
    if way == "naive":
        return Splits(*map(Naive, files))
    return Splits(*(Examples.of(one, processes=int(way[-1])) for one in files))


def model() -> nn.Module:
    """A small convolutional network."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, _CLASSES),
    )


def workload() -> Workload:
    """The files, with a goal that takes tens of steps."""
    return Workload(
        name="jpeg_files/cnn/momentum",
        data=data,
        model=model,
        loss=cross_entropy,
        algorithm=Momentum(),
        goal=Goal(ERROR_RATE, 0.5),
        search_space={"learning_rate": Log(0.01, 0.3), "momentum": 0.9},
        step_budget=30,
        batch_sizes=(64,),
    )


def race(folder: Path, way: str, trials: int, goal: float) -> tuple[float, list[Any], Profile]:
    """Plan and run it in one way.

    Returns the seconds from the plan to the last trial, how each trial ended, and where a worker's
    time went.
    """
    os.environ[_FOLDER], os.environ[_WAY] = str(folder), way
    with TemporaryDirectory() as place:
        storage = open_storage(f"sqlite:///{place}/batchfront.db", create=True)
        spec = f"{Path(__file__).resolve()}:workload"
        began = perf_counter()
        asked = SearchOptions((64,), trials, seed=0, goal=goal)
        planned = plan(storage, spec, catalog.load(spec), asked)
        options = WorkerOptions(engine=EngineName.SEQUENTIAL, code=CODE)
        Worker(storage, Settings("here", "cpu", planned.filter, options), Event()).run()
        seconds = perf_counter() - began
        query = select(slots.c.number, slots.c.outcome, slots.c.steps_to_target)
        with storage.read() as conn:
            ended = [tuple(row) for row in conn.execute(query.order_by(slots.c.number))]
        profile = load_profile(storage)
        storage.close()
    return seconds, ended, profile


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table; 1 if the trials of one way have ended otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few files, an easy goal")
    quick = parser.parse_args(arguments).quick
    threads, before = torch.get_num_threads(), dict(os.environ)
    torch.set_num_threads(1)
    found: dict[str, tuple[float, list[Any], Profile]] = {}
    try:
        with TemporaryDirectory() as folder:
            write_files(Path(folder), *((300, 200) if quick else (4_000, 1_000)))
            for way in WAYS:
                goal = 0.7 if quick else 0.3
                found[way] = race(Path(folder), way, 2, goal)
                print(f"{way}: {found[way][0]:.1f} s", file=sys.stderr, flush=True)
    finally:
        torch.set_num_threads(threads)
        for name in (_FOLDER, _WAY):
            os.environ.pop(name, None)
            os.environ.update({name: before[name]} if name in before else {})
    whole = found["naive"][0]
    rows = [
        [way, f"{seconds:.1f}", f"{whole / seconds:.1f}", f"{profile.share('data'):.0%}"]
        for way, (seconds, _, profile) in found.items()
    ]
    print(table(["way", "s", "times as fast", "of a worker's time, loading data"], rows))
    print(f"\ntrials (number, outcome, steps to target): {found['naive'][1]}")
    differ = [way for way, (_, ended, _) in found.items() if ended != found["naive"][1]]
    for way in differ:
        print(f"other results: {way}: {found[way][1]}", file=sys.stderr)
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
