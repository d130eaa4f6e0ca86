"""The workloads that come with batchfront, offered to its catalog by an entry point."""

from collections.abc import Callable

from service.workload import Workload
from studies import books, common_crawl, digits, lm1b, mnist


def workloads() -> dict[str, Callable[[], Workload]]:
    """Workload name to the function that makes it. Loads no data."""
    return {
        **digits.workloads(),
        **mnist.workloads(),
        **lm1b.workloads(),
        **common_crawl.workloads(),
        **books.workloads(),
    }
