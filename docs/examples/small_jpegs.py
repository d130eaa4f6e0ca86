"""scikit-learn's digits as JPEG files of 32x32 pixels, a folder for each class: small_jpegs.py TO

TO gets train/ with 1,400 of them and validation/ with 397, as torchvision's ImageFolder reads them.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def main(target: Path, train: int = 1_400, validation: int = 397) -> None:
    digits = load_digits()
    for number in range(train + validation):
        split = "train" if number < train else "validation"
        folder = target / split / str(digits.target[number])
        folder.mkdir(parents=True, exist_ok=True)
        pixels = (digits.images[number] * 255 / 16).astype(np.uint8)
        image = Image.fromarray(pixels).resize((32, 32)).convert("RGB")
        image.save(folder / f"{number:04}.jpg", quality=95)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
