"""Goals that a user gives the archive's workloads, and how they are written."""

import pytest

from batchfront.errors import UsageError
from batchfront.exchange.batch_science.goals import goal_of, parse_comparison, parse_goal


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
