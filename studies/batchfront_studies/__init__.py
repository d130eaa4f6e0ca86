"""The workloads that come with batchfront, offered to its catalog by an entry point."""

import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from batchfront.workload.workload import Workload

OUTLINES: Mapping[str, Mapping[str, Any]] = json.loads(
    files(__name__).joinpath("outlines.json").read_text()
)
"""Workload name to its outline, for whoever wants no more: making them brings torch."""


def workloads() -> dict[str, Callable[[], Workload]]:
    """Workload name to the function that makes it. Loads no data."""
    # Not at the top: they bring torch, and what else this package offers doesn't.
    from batchfront_studies import (
        books,
        cifar_10,
        common_crawl,
        digits,
        fashion_mnist,
        imagenet,
        lm1b,
        mnist,
        mnist_subsets,
        open_images,
        solution_quality,
    )

    homes = (
        digits,
        mnist,
        mnist_subsets,
        fashion_mnist,
        solution_quality,
        cifar_10,
        imagenet,
        open_images,
        lm1b,
        common_crawl,
        books,
    )
    return {name: make for home in homes for name, make in home.workloads().items()}
