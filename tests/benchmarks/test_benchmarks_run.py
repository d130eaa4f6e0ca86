"""Every benchmark runs, and what it promises exactly holds. Times and shares are not asserted."""

import pytest

from tests.benchmarks import engine_throughput, frontier_cost, time_shares


def test_three_ways_to_search_the_same_trials_find_the_same_frontier_and_no_rule_loses_a_winner(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert frontier_cost.main(["--quick"]) == 0  # 1 where a frontier differs or a winner is lost
    shown = capsys.readouterr().out
    assert shown.count("identical") == 3
    assert "plain Optuna" in shown


def test_the_engine_is_timed_beside_every_lean_loop(capsys: pytest.CaptureFixture[str]) -> None:
    assert engine_throughput.main(["--quick"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("digits/mlp/momentum") == 2


def test_the_time_of_a_run_is_divided_without_rest(capsys: pytest.CaptureFixture[str]) -> None:
    assert time_shares.main(["--quick"]) == 0
    shown = capsys.readouterr().out
    for part in (*time_shares.SETUP, *time_shares.WORK):
        assert part in shown


def test_time_inside_a_part_is_not_counted_in_the_part_around_it() -> None:
    clock = time_shares.Clock()
    with clock.part("outer"), clock.part("inner"):
        pass
    assert set(clock.spent) == {"outer", "inner"}
    assert min(clock.spent.values()) >= 0
