"""Goals of the archive's workloads: the paper's, and ours."""

import pytest

from batchfront.exchange.batch_science.goals import goal_of


@pytest.mark.parametrize(
    ("workload", "goal", "origin"),
    [
        ("mnist/simple_cnn_base/nesterov_momentum", "error rate < 0.01", "the paper"),
        ("fashion_mnist/simple_cnn_base/nesterov_momentum", "error rate < 0.1", "the paper"),
        ("cifar_10/resnet_8/nesterov_momentum", "error rate < 0.3", "the paper"),
        ("imagenet/resnet_50/nesterov_momentum", "error rate < 0.25", "the paper"),
        ("imagenet/vgg_11/nesterov_momentum", "error rate < 0.35", "the paper"),
        ("open_images_v4/resnet_50/nesterov_momentum", "average precision > 0.31", "the paper"),
        ("lm1b/transformer/nesterov_momentum", "cross-entropy < 3.9", "the paper"),
        ("lm1b/transformer_base/nesterov_momentum", "cross-entropy < 3.9", "the paper"),
        ("lm1b/lstm/nesterov_momentum", "cross-entropy < 3.9", "the paper"),
        ("common_crawl/transformer/nesterov_momentum", "cross-entropy < 3.9", "the paper"),
        ("mnist/fc_1024/sgd", "error rate < 0.04", "ours"),
        ("lm1b/transformer_shallow/nesterov_momentum", "cross-entropy < 3.9", "ours"),
    ],
)
def test_each_workload_has_a_goal_and_it_is_said_whose(
    workload: str, goal: str, origin: str
) -> None:
    found = goal_of(workload, workload, ())
    assert (str(found), found.origin) == (f"validation {goal}", origin)


def test_a_subset_of_the_data_has_the_goal_of_the_whole_but_not_the_papers() -> None:
    name = "imagenet/resnet_50/nesterov_momentum"
    found = goal_of(f"imagenet_subsets/half/{name}", name, ())
    assert (found.value, found.origin) == (0.25, "ours")


def test_parts_of_mnist_have_a_goal_that_the_smallest_reaches() -> None:
    name = "mnist/simple_cnn_base/nesterov_momentum"
    subset = "mnist_subsets/mnist_6875/simple_cnn_base/nesterov_momentum"
    for archive_name in (name, subset):
        found = goal_of(subset, archive_name, ())
        assert (found.value, found.origin) == (0.02, "ours")
