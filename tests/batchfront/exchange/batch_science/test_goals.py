"""Goals of the archive's workloads: the paper's, ours, and the user's."""

import pytest
from batchfront.errors import UsageError
from batchfront.exchange.batch_science.goals import goal_of, parse_comparison, parse_goal


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


def test_the_first_of_the_users_goals_that_matches_counts() -> None:
    goals = [parse_goal(g) for g in ("mnist/*/sgd=error rate<0.5", "*=val/average_precision>0.2")]
    assert goal_of("mnist/fc/sgd", "mnist/fc/sgd", goals).value == 0.5
    other = goal_of("mnist/fc/adam", "mnist/fc/adam", goals)
    assert (other.metric, other.better, other.origin) == ("average precision", "higher", "--goal")


def test_an_unknown_workload_asks_for_a_goal() -> None:
    with pytest.raises(UsageError, match=r"no goal is known for a/b/c: give one, such as --goal"):
        goal_of("a/b/c", "a/b/c", ())


@pytest.mark.parametrize(
    "text", ["error rate<0.1", " classification_error < 1e-1", "val/classification_error<0.1"]
)
def test_a_metric_has_the_archives_name_or_ours(text: str) -> None:
    assert parse_comparison(text, "here") == ("error rate", "lower", 0.1)
    assert parse_comparison(f"validation {text}".replace("val/", ""), "here")[1:] == ("lower", 0.1)


@pytest.mark.parametrize("text", ["", "0.1", "<0.1", "error rate", "error rate<", "e<x", "e<nan"])
def test_what_is_no_comparison_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"here: .* is no goal"):
        parse_comparison(text, "here")
