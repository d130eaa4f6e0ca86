"""Goals of the public archive's workloads, offered to its import by an entry point.

Shallue et al. 2018 state the goals of their standard workloads, and their analysis code holds
them; for the others the goals here are ours, and said to be wherever they are used.
"""

from batchfront.exchange.batch_science.goals import GoalOf


def _error(of: str, value: float, origin: str = "the paper") -> GoalOf:
    return GoalOf(of, "error rate", "lower", value, origin)


def _nats(of: str, origin: str = "the paper") -> GoalOf:
    return GoalOf(of, "cross-entropy", "lower", 3.9, origin)


GOALS = (
    _error("mnist/simple_cnn*", 0.01),
    _error("fashion_mnist/simple_cnn*", 0.1),
    _error("cifar_10/resnet_8/*", 0.3),
    _error("imagenet/resnet_50/*", 0.25),
    _error("imagenet/vgg_11/*", 0.35),
    GoalOf("open_images_v4/resnet_50/*", "average precision", "higher", 0.31, "the paper"),
    _nats("lm1b/transformer/*"),
    _nats("lm1b/transformer_base/*"),
    _nats("lm1b/lstm/*"),
    _nats("common_crawl/transformer/*"),
    _nats("common_crawl/transformer_base/*"),
    # Those of workloads and data sets that resemble them.
    _error("mnist_subsets/*", 0.02, "ours"),
    _error("*mnist*/fc*", 0.04, "ours"),
    _error("*fashion_mnist*", 0.1, "ours"),
    _error("*mnist*", 0.01, "ours"),
    _error("*cifar*", 0.3, "ours"),
    _error("*imagenet*/vgg*", 0.35, "ours"),
    _error("*imagenet*", 0.25, "ours"),
    GoalOf("*open_images*", "average precision", "higher", 0.31, "ours"),
    _nats("*lm1b*", "ours"),
    _nats("*common_crawl*", "ours"),
)
"""The first that matches counts. Those of workloads in the catalog are the catalog's."""
