"""The workloads that come with batchfront, offered to its catalog by an entry point."""

from collections.abc import Callable

from batchfront.workload.workload import Workload
from batchfront_studies.names import NAMES as NAMES


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
