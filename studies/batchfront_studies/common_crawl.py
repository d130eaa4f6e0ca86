"""common_crawl/transformer_base/*: the Transformer of Shallue et al. 2018 on text of the web.

From the paper: the model, the algorithm, the batch sizes, and the goal of 3.9 nats a token. Ours:
the text, as the paper's crawl was not published (see studies/datasets/common_crawl), and what is
ours of studies/lm1b.
"""

from collections.abc import Callable
from functools import partial

from batchfront.workload.algorithm import NesterovMomentum
from batchfront.workload.workload import Workload
from batchfront_studies.datasets.common_crawl import common_crawl
from batchfront_studies.datasets.lm1b import LONGEST, TOKENS
from batchfront_studies.lm1b import language_model
from batchfront_studies.models.transformer import transformer

BATCH_SIZES = (32, 64, 256, 1024, 4096, 16_384)


def workloads() -> dict[str, Callable[[], Workload]]:
    """Name to maker of every workload of this file."""
    return {"common_crawl/transformer_base/nesterov_momentum": _transformer}


def _transformer() -> Workload:
    return language_model(
        "common_crawl/transformer_base",
        "Transformer of 6 layers, 512 units on sentences of local web text, such as C4 (Shallue et "
        "al. 2018; text, norm, schedule ours)",
        common_crawl,
        partial(transformer, "base", TOKENS, LONGEST),
        NesterovMomentum(),
        BATCH_SIZES,
    )
