"""Images that are decoded when they are asked for, by as many threads as there are cores.

Training: a random crop of 8 to 100 % of the image's area, of an aspect ratio of 3/4 to 4/3,
resized to the square, mirrored every other time (Szegedy et al. 2015, with the numbers that have
become customary). Evaluation: the central 224/256 of the shorter side, resized to the square
(resize to 256, crop 224, of Krizhevsky et al. 2012 and He et al. 2016a, in one step).
Standardization: the customary mean and deviation of each colour. Shallue et al. 2018 name random
crops, mirroring and standardization; that theirs have these numbers is our assumption.
"""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from batchfront.errors import DataError
from batchfront.workload.data import Examples
from batchfront_studies.datasets.image_index import ImageIndex
from batchfront_studies.datasets.image_targets import Targets
from batchfront_studies.datasets.pixel_cache import PixelCache, Pixels

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue over ImageNet's training images, on a scale of 0 to 1."""

CENTRE = 224 / 256

AREA = (0.08, 1.0)

RATIO = (3 / 4, 4 / 3)

CPU = torch.device("cpu")

_TRIES = 10  # at a crop that lies within the image

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels of the image."""


@dataclass(frozen=True, eq=False)
class Images(Examples):
    """The images of an index, as float32 [n, 3, side, side], standardized; channels last in memory.

    They are uint8 until they are on their device, to which four times less then has to move.

    source  -- the data set's name, for messages
    targets -- one for each image of the index
    kept    -- those decoded for evaluation, where they are kept
    """

    source: str
    index: ImageIndex
    targets: Targets
    side: int
    kept: PixelCache | None = None
    device: torch.device = CPU

    ahead = 4

    @property
    def indexed_on(self) -> torch.device:
        return CPU

    def __len__(self) -> int:
        return len(self.index)

    def to(self, device: torch.device) -> "Images":
        return replace(self, device=device)

    def batch(self, indices: Tensor, seed: int | None = None) -> tuple[Tensor, Tensor]:
        pixels = self._pixels(indices.tolist(), seed).to(self.device, non_blocking=True)
        return standardized(pixels), self.targets.of(indices, self.device)

    def describe(self) -> dict[str, Any]:
        """Sizes and names of files stand for their pixels."""
        return {
            "examples": len(self),
            "side": self.side,
            "files": self.index.checksum,
            "targets": self.targets.checksum(),
        }

    def _pixels(self, numbers: Sequence[int], seed: int | None) -> Tensor:
        """uint8 [n, side, side, 3]."""
        pinned = self.device.type == "cuda"  # from which the device fetches them by itself
        shape = (len(numbers), self.side, self.side, 3)
        pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
        work = partial(self._decode, seed)
        for _ in _threads().map(work, numbers, pixels.numpy()):
            pass  # which raises what the work raised
        return pixels

    def _decode(self, seed: int | None, number: int, pixels: Pixels) -> None:
        if seed is not None:
            random = Random(f"{seed} {number}")
            box, mirrored = partial(training_box, random), random.random() < 0.5
            pixels[:] = self._read(number, box, mirrored)
        elif self.kept is None:
            pixels[:] = self._read(number, evaluation_box)
        elif not self.kept.read(number, pixels):
            pixels[:] = self._read(number, evaluation_box)
            self.kept.write(number, pixels)

    def _read(self, number: int, box: Callable[[int, int], Box], mirrored: bool = False) -> Pixels:
        from PIL import Image

        path = self.index.path(number)
        try:
            return decoded(path, box, self.side, mirrored)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            found = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"{self.source}: the image {path} can't be read ({found}); "
                "replace it by a whole copy"
            ) from error


def decoded(path: Path, box: Callable[[int, int], Box], side: int, mirrored: bool) -> Pixels:
    """The part `box(width, height)` of an image, resized to `side` x `side`: uint8 [side, side, 3].

    A JPEG whose part is more than twice as large is decoded at a half, a quarter or an eighth of
    its size.
    """
    from PIL import Image

    with Image.open(path) as image:
        width, height = image.size
        left, top, right, bottom = box(width, height)
        image.draft(
            "RGB",
            (math.ceil(width * side / (right - left)), math.ceil(height * side / (bottom - top))),
        )
        across, down = image.width / width, image.height / height
        part = (left * across, top * down, right * across, bottom * down)
        colours = image if image.mode == "RGB" else image.convert("RGB")
        square = colours.resize((side, side), Image.Resampling.BILINEAR, box=part)
        if mirrored:
            square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return np.asarray(square)


def evaluation_box(width: int, height: int) -> Box:
    """The central square whose side is 224/256 of the shorter side."""
    side = min(width, height) * CENTRE
    return _central(width, height, side, side)


def _central(width: int, height: int, across: float, down: float) -> Box:
    left, top = (width - across) / 2, (height - down) / 2
    return left, top, left + across, top + down


def training_box(random: Random, width: int, height: int) -> Box:
    """A random part of the image: its share of the area uniform, its aspect ratio log-uniform."""
    for _ in range(_TRIES):
        area = width * height * random.uniform(*AREA)
        ratio = math.exp(random.uniform(*map(math.log, RATIO)))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left, top = random.randint(0, width - across), random.randint(0, height - down)
            return left, top, left + across, top + down
    ratio = min(max(width / height, RATIO[0]), RATIO[1])  # of an image too long or too high
    sides = min(width, height * ratio), min(height, width / ratio)
    return _central(width, height, *sides)


def standardized(pixels: Tensor) -> Tensor:
    """uint8 [n, side, side, 3] -> float32 [n, 3, side, side] of mean 0 and deviation 1, roughly."""
    scale, shift = _standard(pixels.device)
    return pixels.permute(0, 3, 1, 2).to(torch.float32).mul_(scale).add_(shift)


@cache
def _standard(device: torch.device) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):  # it is used outside of it too
        mean, deviation = (torch.tensor(x, device=device).view(3, 1, 1) for x in (MEAN, DEVIATION))
        return 1 / (255 * deviation), -mean / deviation


_decoders: dict[int, ThreadPoolExecutor] = {}


def _threads() -> ThreadPoolExecutor:
    """The threads that decode. A process that was forked has none of its parent's."""
    process = os.getpid()
    if process not in _decoders:  # of two callers at once the first one's stay
        _decoders.setdefault(process, ThreadPoolExecutor(_cores(), thread_name_prefix="decode"))
    return _decoders[process]


def _cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
