"""Small JPEGs that look like something: gradients of a colour, with noise over them."""

from pathlib import Path

import numpy as np
from PIL import Image


def jpeg(
    path: Path, number: int, kind: int = 0, size: tuple[int, int] = (60, 40), noise: int = 16
) -> None:
    """Write an image of `size` (width, height) that depends on `number` and `kind` alone; those of
    a kind resemble each other."""
    random, (width, height) = np.random.default_rng(number), size
    colour = np.random.default_rng(1000 + kind).uniform(30, 225, size=3)
    corners = colour + random.uniform(-30, 30, size=(4, 3))
    down, across = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    weights = np.stack(
        [(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across]
    )
    pixels = np.einsum("khw,kc->hwc", weights, corners)
    pixels += random.integers(-noise, noise + 1, size=pixels.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
