"""Small JPEGs that look like something: gradients, with noise over them."""

from pathlib import Path

import numpy as np
from PIL import Image


def jpeg(path: Path, number: int, width: int = 60, height: int = 40, noise: int = 16) -> None:
    """Write an image whose colours and noise depend on `number` alone."""
    random = np.random.default_rng(number)
    down, across = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    corners = random.uniform(0, 255, size=(4, 3))
    weights = np.stack([(1 - down) * (1 - across), (1 - down) * across, down * (1 - across)])
    weights = np.concatenate([weights, [down * across]])
    pixels = np.einsum("khw,kc->hwc", weights, corners)
    pixels += random.integers(-noise, noise + 1, size=pixels.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
