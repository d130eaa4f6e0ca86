"""The first images of MNIST in a folder of their own: small_mnist.py FROM TO

FROM and TO are as torchvision has them, with MNIST/raw/ inside. TO gets 3,000 images to train on,
and 2,000 to test.
"""

import sys
from pathlib import Path

COUNTS = {"train": 3_000, "t10k": 2_000}


def main(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for file in sorted(source.glob("*-ubyte")):
        data, count = file.read_bytes(), COUNTS[file.name.partition("-")[0]]
        # A magic number, whose last byte says how many dimensions there are; these; the bytes.
        header = 4 + 4 * data[3]
        size = (len(data) - header) // int.from_bytes(data[4:8], "big")
        first = data[:4] + count.to_bytes(4, "big") + data[8 : header + count * size]
        (target / file.name).write_bytes(first)


if __name__ == "__main__":
    main(*(Path(folder, "MNIST", "raw") for folder in sys.argv[1:3]))
