"""The workloads that come with batchfront, offered to its catalog by an entry point."""

from collections.abc import Callable

from service.workload import Workload
from studies import cifar_10, digits, fashion_mnist, mnist, mnist_subsets, solution_quality


def workloads() -> dict[str, Callable[[], Workload]]:
    """Workload name to the function that makes it. Loads no data."""
    return {
        **digits.workloads(),
        **mnist.workloads(),
        **mnist_subsets.workloads(),
        **fashion_mnist.workloads(),
        **solution_quality.workloads(),
        **cifar_10.workloads(),
    }
