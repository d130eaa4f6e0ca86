"""The workloads that come with batchfront, offered to its catalog by an entry point."""

from collections.abc import Callable

from service.workload import Workload
from studies import digits, imagenet, mnist, open_images


def workloads() -> dict[str, Callable[[], Workload]]:
    """Workload name to the function that makes it. Loads no data."""
    return {
        **digits.workloads(),
        **mnist.workloads(),
        **imagenet.workloads(),
        **open_images.workloads(),
    }
