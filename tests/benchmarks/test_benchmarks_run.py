"""Every benchmark runs, and what it promises exactly holds. Times and shares are not asserted.

They take minutes, and are no part of the default run: `pytest -m benchmarks`.
"""

from pathlib import Path

import pytest

from tests.benchmarks import (
    aggregation,
    allocation,
    best_of_n,
    claim_cost,
    cost_growth,
    curve_coverage,
    curve_holdout,
    curve_misfits,
    draw_cost,
    engine_throughput,
    expected_coverage,
    exponents,
    finishers,
    first_words,
    fleet,
    fleet_connections,
    frontier_cost,
    heat_throughput,
    hours,
    hours_coverage,
    import_speed,
    joint_draws,
    jpeg_files,
    known_errors,
    ledger_throughput,
    looking,
    missed_crossings,
    noise_scale,
    page_load,
    prior_elsewhere,
    program_search,
    scaling_workers,
    search_price,
    stacked_steps,
    step_time,
    three_doors,
    time_shares,
    whole_search,
)
from tests.benchmarks.whole_tables import Compared
from tests.benchmarks.whole_tasks import Result, Spent, Task
from tests.postgres import Postgres

pytestmark = pytest.mark.benchmarks


def test_three_ways_to_search_the_same_trials_find_the_same_frontier_and_no_rule_loses_a_winner(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert frontier_cost.main(["--quick"]) == 0  # 1 where a frontier differs or a winner is lost
    shown = capsys.readouterr().out
    assert shown.count("identical") == 3
    assert "plain Optuna" in shown


def test_a_race_with_one_finisher_is_the_beginning_of_a_longer_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert finishers.main(["--quick"]) == 0  # 1 where it took other steps
    shown = capsys.readouterr().out
    assert all(shown.count(f"\n| {number} ") == 2 for number in finishers.FINISHERS)


def test_what_is_expected_is_compared_with_fresh_seeds_and_with_a_known_truth(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert expected_coverage.main(["--quick"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n{search}: " in shown for search in expected_coverage.SEARCHES)
    assert shown.count("| noise 0.2, joint") == len(expected_coverage.QUANTITIES)


def test_exponents_are_those_of_generated_searches(capsys: pytest.CaptureFixture[str]) -> None:
    assert exponents.main(["--searches", "4"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n| {kind.name} " in shown for kind in exponents.KINDS)


def test_predicted_hours_are_compared_with_what_runs_take(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert hours.main(["--quick"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("\n| digits/mlp/momentum, ") == 4


def test_the_best_of_n_is_compared_with_fresh_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert best_of_n.main(["--quick"]) == 0
    assert "best of 4" in capsys.readouterr().out


def test_cheaper_searches_are_priced_and_a_replay_is_what_the_race_would_have_been(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert search_price.main(["--quick"]) == 0  # 1 where a race came out otherwise
    shown = capsys.readouterr().out
    assert all(f"\n| digits: {option} " in shown for option in search_price.OPTIONS)
    assert all(f"\n| {kind} " in shown for kind in ("warm start", "tpe", "gp"))


def test_sparse_evaluation_is_compared_with_every_on_recorded_trials(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert missed_crossings.main(["--quick"]) == 0
    assert "\n| digits/mlp/momentum " in capsys.readouterr().out


def test_what_noise_foretells_is_compared_with_what_was_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert noise_scale.main(["--quick"]) == 0
    assert "\n| digits/mlp/sgd | own" in capsys.readouterr().out


def test_a_search_is_told_of_anothers_in_every_way(capsys: pytest.CaptureFixture[str]) -> None:
    assert prior_elsewhere.main(["--quick"]) == 0
    shown = capsys.readouterr().out
    assert all(shown.count(f" {way} |") >= 2 for way in prior_elsewhere.WAYS)


def test_the_engine_is_timed_beside_every_lean_loop(capsys: pytest.CaptureFixture[str]) -> None:
    assert engine_throughput.main(["--quick"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("digits/mlp/momentum") == 2


def test_a_heat_is_timed_beside_its_trials_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert heat_throughput.main(["--quick"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("digits/mlp/momentum") == 4


def test_a_step_is_timed_beside_each_trials_own_optimizer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert stacked_steps.main(["--quick"]) == 0
    shown = capsys.readouterr().out
    assert all(f"| {name} " in shown for name in ("momentum", "AdamW"))


def test_a_whole_search_is_compared_with_that_of_every_peer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = ["--results", str(tmp_path / "results.jsonl")]
    assert whole_search.main(["--quick", *kept]) == 0
    shown = capsys.readouterr().out
    assert all(f"| {name} " in shown for name in whole_search.CONTENDERS)
    assert whole_search.main(["--quick", *kept]) == 0  # from what is kept
    assert capsys.readouterr().out == shown


def test_tables_of_whole_searches_run_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert whole_search.main(["--tables", "--results", str(tmp_path / "none.jsonl")]) == 0
    assert capsys.readouterr().out.count("nothing is kept") == len(whole_search.BENCHES)


def test_a_contender_has_enough_from_the_trial_on_that_came_within_the_reference() -> None:
    found = (Spent(4, 850, 8, 0, 0), Spent(16, 300, 32, 0, 0), Spent(64, None, 32, 0, 0))
    races = {4: [700, 800, 900], 16: [200, 300, 250], 64: [70]}
    task = Task("digits", 0.03, (4, 16, 64), limit=32)
    compared = Compared(task, races, {"ours": {0: Result(found, 1.0, 1.0)}}, frozenset())
    assert compared.shares("ours", 4) == [0]
    assert compared.shares("ours", 8) == compared.shares("ours", 32) == [1 / 3]
    assert compared.trials_needed("ours") == [(8 + 32 + 32) / 3]


def test_the_best_peer_is_the_cheapest_that_has_enough_as_often() -> None:
    task = Task("digits", 0.03, (4,), limit=32)

    def found(steps: int, seconds: float) -> dict[int, Result]:
        return {0: Result((Spent(4, steps, 8, 0, 0),), seconds, seconds)}

    results = {"ours": found(80, 1.0), "quick": found(200, 2.0), "good": found(80, 30.0)}
    results |= {"slow": found(80, 60.0), "an oracle": found(80, 3.0)}
    compared = Compared(task, {4: [80]}, results, told=frozenset({"an oracle"}))
    assert compared.best_peer(told=False) == "good"
    assert compared.best_peer(told=True) == "an oracle"


def test_steps_grow_no_faster_than_trials(capsys: pytest.CaptureFixture[str]) -> None:
    assert cost_growth.main(["--quick", "--check"]) == 0
    assert capsys.readouterr().out.count("| trials ") == 2


def test_a_step_of_a_large_model_is_timed_beside_a_bare_loop(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert step_time.main(["--quick"]) == 0
    shown = capsys.readouterr().out
    assert all(case.name in shown for case in step_time.SMALL)


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


def test_intervals_of_generated_curves_are_compared_with_the_truth(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert curve_coverage.main(["--quick"]) == 0
    shown = capsys.readouterr().out
    assert all(trouble in shown for trouble in curve_coverage.TROUBLES)
    assert "percentile bootstrap" in shown


def test_points_left_out_of_measured_curves_are_foretold(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert curve_holdout.main(["--quick"]) == 0
    shown = capsys.readouterr().out
    assert "between: all" in shown
    assert "beyond: all" in shown


def test_one_model_has_the_same_winners_through_every_door(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert three_doors.main(["--quick"]) == 0  # 1 where a door has another winner
    shown = capsys.readouterr().out
    assert all(f"\n| {door} " in shown for door in ("workload", "loop", "program"))


def test_a_programs_race_has_the_winner_of_running_every_program_to_its_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert program_search.main(["--quick"]) == 0  # 1 where it has another
    shown = capsys.readouterr().out
    assert all(f"\n| {way} " in shown for way in program_search.WAYS)


@pytest.mark.postgresql
def test_our_ledger_and_optunas_end_trials_side_by_side(
    postgres_server: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ledger_throughput.main(["--quick"]) == 0
    shown = capsys.readouterr().out
    assert all(f"| {kind} " in shown for kind in ledger_throughput.KINDS)


@pytest.mark.postgresql
def test_a_claim_costs_the_same_in_a_larger_database(
    postgres_server: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    assert claim_cost.main(["--quick"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("| claim ") == shown.count("| Optuna's ask ") == 2


@pytest.mark.postgresql
def test_a_fleet_works_without_an_error_and_loses_no_trial(
    postgres_server: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fleet.main(["--quick"]) == 0  # raises unless every trial has ended exactly once
    assert "waiting for the database" in capsys.readouterr().out


@pytest.mark.postgresql
def test_what_connections_cost_is_measured(
    postgres_server: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fleet_connections.main(["--quick"]) == 0
    assert "connections that a worker holds" in capsys.readouterr().out


@pytest.mark.postgresql
def test_more_workers_find_the_same_frontier(
    postgres_server: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scaling_workers.main(["--quick"]) == 0  # 1 where a frontier differs
    assert "2, heats kept whole" in capsys.readouterr().out


@pytest.mark.postgresql
def test_our_frontiers_are_those_of_optunas_own_api(
    postgres_server: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    assert aggregation.main(["--quick", "--check"]) == 0  # 1 where a frontier differs
    shown = capsys.readouterr().out
    assert shown.count("| sqlite, ") == shown.count("| postgresql, ") == 2


@pytest.mark.postgresql
def test_what_looking_costs_is_measured_in_either_storage(
    postgres_server: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    assert looking.main(["--quick"]) == 0
    shown = capsys.readouterr().out
    for storage in ("SQLite", "PostgreSQL"):
        assert all(f"\n| {storage}: {what} " in shown for what in ("status", "report", "export"))
        assert shown.count(f"{storage}: report --serve, ") == 7


@pytest.mark.postgresql
def test_an_archive_is_imported_into_either_storage(
    postgres_server: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    assert import_speed.main(["--quick"]) == 0  # raises unless every study is imported
    shown = capsys.readouterr().out
    assert "| SQLite " in shown
    assert "| PostgreSQL " in shown


def test_points_that_no_curve_goes_through_are_told_from_those_of_curves(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert curve_misfits.main(["--quick"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in curve_misfits.SHAPES)


def test_jpeg_files_are_raced_alike_however_they_are_decoded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert jpeg_files.main(["--quick"]) == 0  # 1 where a trial ended otherwise
    shown = capsys.readouterr().out
    assert all(f"\n| {way} " in shown for way in jpeg_files.WAYS)


def test_rounds_are_drawn_by_each_way_and_what_they_cost_is_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert joint_draws.main(["--quick"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n| {name} " in shown for name in joint_draws.DRAWS)
    assert draw_cost.main(["--quick"]) == 0


def test_trials_that_are_shared_out_are_compared_with_equal_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert allocation.main(["--quick"]) == 0
    shown = capsys.readouterr().out
    assert "\n| shared out, 1 finisher " in shown
    assert "\n| equal, 1 finisher " in shown


def test_intervals_of_points_with_known_errors_are_judged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert known_errors.main(["--quick"]) == 0
    assert capsys.readouterr().out.count("together") == 3


def test_intervals_of_hours_on_made_up_devices_are_judged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert hours_coverage.main(["--quick"]) == 0
    assert "\n| all " in capsys.readouterr().out


def test_how_long_first_words_take_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert first_words.main(["--quick", "--repeat", "1"]) == 0
    assert "`run digits/mlp/momentun`" in capsys.readouterr().out


def test_a_page_is_opened_and_its_first_figure_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    page.write_text('<p>text</p><div class="figure"><svg class="main-svg"></svg></div>')
    assert page_load.main([str(page), "--repeats", "1"]) == 0
    assert "page.html" in capsys.readouterr().out
