"""Each search's best trials are run again with fresh seeds, and none of them is capped."""

from pathlib import Path
from statistics import median
from threading import Event

import optuna
import pytest
import torch
from sqlalchemy import event, update

from batchfront.errors import UsageError
from batchfront.frontier.frontier import load_frontier
from batchfront.frontier.queries import load_trials
from batchfront.frontier.reruns import Confirmation, load_confirmations, steadiest
from batchfront.outcomes import TrialResult
from batchfront.plan.extend import extend
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.plan.reruns import plan_confirmations
from batchfront.store.schema import studies
from batchfront.store.url import Storage
from batchfront.study.identity import differences
from batchfront.study.study import Filter
from batchfront.training.model_run import ModelRun
from batchfront.worker.options import WorkerOptions
from batchfront.worker.setup import set_up
from batchfront.worker.worker import Settings, Worker
from tests.searches import CODE, NAME, end, planned, reached, slots_of, stored
from tests.toy import SPEC, STEP_BUDGET, clouds

pytestmark = pytest.mark.every_storage

B4, AGAIN = f"{NAME}/b4", f"{NAME}/b4/confirm"
CAPPED = TrialResult("capped", "", 40)


@pytest.fixture
def searched(storage: Storage) -> Storage:
    """At batch size 4 trial 2 has won before 0 and 3; at 16 nothing has ended."""
    planned(storage)
    end(storage, B4, {0: reached(50), 1: CAPPED, 2: reached(40), 3: reached(60)})
    return storage


def asked(storage: Storage) -> list[tuple[int, int]]:
    """Trials of the search and how often each is run again, in their order."""
    repeats = [row.repeats for row in slots_of(storage, AGAIN)]
    return [(number, repeats.count(number)) for number in dict.fromkeys(repeats)]


def test_the_winner_and_the_next_finishers_are_run_again_as_they_were_drawn(
    searched: Storage,
) -> None:
    made = plan_confirmations(searched, NAME, seeds=3)
    assert [study.name for study in made.studies] == [AGAIN]
    assert made.added == (6,)
    assert asked(searched) == [(2, 3), (0, 3)]
    by_number = {t.number: t.params for t in load_trials(searched, stored(searched, B4).id)}
    rows = load_trials(searched, made.studies[0].id)
    assert all(row.params == by_number[row.rerun_of or 0] for row in rows)
    assert {row.outcome for row in rows} == {None}


def test_as_many_are_run_again_as_are_asked_for_and_there_are(searched: Storage) -> None:
    assert plan_confirmations(searched, NAME, seeds=1, candidates=9).added == (3,)
    assert asked(searched) == [(2, 1), (0, 1), (3, 1)]


def test_planning_again_adds_what_is_missing_and_nothing_else(searched: Storage) -> None:
    plan_confirmations(searched, NAME, seeds=3)
    assert plan_confirmations(searched, NAME, seeds=3).added == (0,)
    assert plan_confirmations(searched, NAME, seeds=2).added == (0,)
    assert plan_confirmations(searched, NAME, seeds=4).added == (2,)
    assert asked(searched) == [(2, 4), (0, 4)]
    assert stored(searched, AGAIN).trials == 8
    planned(searched, trials=6)
    end(searched, B4, {5: reached(30)})
    assert plan_confirmations(searched, NAME, seeds=4).added == (4,)
    assert asked(searched) == [(2, 4), (0, 4), (5, 4)]
    assert [row.number for row in slots_of(searched, AGAIN)] == list(range(12))


def test_the_study_has_the_searchs_definition_and_is_no_search(searched: Storage) -> None:
    plan_confirmations(searched, NAME)
    search, study = stored(searched, B4), stored(searched, AGAIN)
    changed = differences(search.identity, study.identity)
    assert all(difference.startswith("search.") for difference in changed)
    assert (study.purpose, study.finishers, study.count) == ("confirm", 0, "all")
    set_up(study, torch.device("cpu"), None)  # a worker's check of the code against it
    frontier = load_frontier(searched, NAME)
    assert [point.study.name for point in frontier.points] == [B4, f"{NAME}/b16"]
    assert set(plan(searched, SPEC, clouds(), SearchOptions()).added) == {0}


def test_a_file_that_was_moved_is_found_where_it_is_now(searched: Storage) -> None:
    plan_confirmations(searched, NAME)
    plan(searched, "elsewhere.py:clouds", clouds(), SearchOptions())
    assert stored(searched, AGAIN).spec == "elsewhere.py:clouds"


def test_seeds_are_fresh_and_no_two_are_the_same(searched: Storage) -> None:
    plan_confirmations(searched, NAME, seeds=50)
    search, study = stored(searched, B4), stored(searched, AGAIN)
    seeds = [s.trial_seed(number) for s in (search, study) for number in range(100)]
    assert len(set(seeds)) == 200


def test_a_confirmation_is_the_median_and_range_beside_the_single_best(searched: Storage) -> None:
    plan_confirmations(searched, NAME, seeds=3)
    steps = (44, 41, 71, 42, 43, 45)
    end(searched, AGAIN, {number: reached(s) for number, s in enumerate(steps)})
    winner, runner_up = load_confirmations(searched, NAME)[4]
    assert (winner.trial, winner.best, winner.steps) == (2, 40, (41, 44, 71))
    assert (winner.median, winner.low, winner.high) == (44, 41, 71)
    assert winner.ratio == 44 / 40
    assert (runner_up.trial, runner_up.best, runner_up.median) == (0, 50, 43)
    assert steadiest((winner, runner_up)) is runner_up
    assert winner.params == load_frontier(searched, NAME).points[0].params


def test_what_did_not_reach_the_goal_counts_as_the_slowest_and_what_failed_not_at_all(
    searched: Storage,
) -> None:
    plan_confirmations(searched, NAME, seeds=4)
    stalled, failed = TrialResult("stalled", "", 100), TrialResult("failed", "no luck", 3)
    exhausted, diverged = TrialResult("exhausted", "", 150), TrialResult("diverged", "", 5)
    endings = [reached(44), exhausted, reached(41), failed, diverged, reached(40), stalled, stalled]
    end(searched, AGAIN, dict(enumerate(endings)))
    winner, runner_up = load_confirmations(searched, NAME)[4]
    assert (winner.steps, winner.unreached, winner.failed, winner.seeds) == ((41, 44), 1, 1, 3)
    assert (winner.median, winner.low, winner.high) == (44, 41, None)
    assert (runner_up.steps, runner_up.unreached) == ((40,), 3)
    assert (runner_up.median, runner_up.ratio, runner_up.low) == (None, None, 40)
    assert steadiest((winner, runner_up)) is winner


def test_there_is_no_median_before_all_are_done(searched: Storage) -> None:
    plan_confirmations(searched, NAME, seeds=3, candidates=1)
    end(searched, AGAIN, {0: reached(41), 1: reached(42)})
    (winner,) = load_confirmations(searched, NAME)[4]
    assert (winner.steps, winner.open) == ((41, 42), 1)
    assert (winner.median, winner.low, winner.high, winner.ratio) == (None, None, None, None)
    assert steadiest((winner,)) is None


@pytest.mark.parametrize("unreached", [0, 1, 2, 3])
@pytest.mark.parametrize("steps", [(7,), (3, 8), (1, 2, 9), (4, 4, 5, 6)])
def test_the_median_is_that_of_all_seeds(steps: tuple[int, ...], unreached: int) -> None:
    one = Confirmation(
        trial=0, best=1, params={}, steps=steps, unreached=unreached, failed=2, open=0
    )
    expected = median([*map(float, steps), *[1e9] * unreached])
    assert one.median == (expected if expected < 1e8 else None)


def test_confirmations_take_few_queries_however_many_there_are(searched: Storage) -> None:
    end(searched, f"{NAME}/b16", {0: reached(20), 1: reached(21)})
    plan_confirmations(searched, NAME, seeds=9)
    asked: list[str] = []

    def listen(*execution: object) -> None:
        asked.append(str(execution[2]))

    event.listen(searched.engine, "before_cursor_execute", listen)
    found = load_confirmations(searched, NAME)
    assert [*found] == [4, 16]
    # Nine of them ask whether what is read can be right, whatever is asked of it then.
    assert len([query for query in asked if query.startswith("SELECT")]) == 18


def test_a_winner_from_a_wider_space_is_confirmed_within_that_one(
    storage: Storage, database: str
) -> None:
    (study,) = planned(storage, batch_sizes=(4,), trials=40)
    trials = load_trials(storage, study.id)
    highest = max(trials, key=lambda trial: float(trial.params["learning_rate"])).number
    end(storage, B4, {highest: reached(50)})
    extend(storage, NAME)
    best = load_trials(storage, study.id)[40]
    end(storage, B4, {40: reached(40)})
    plan_confirmations(storage, NAME, seeds=1)
    end(storage, AGAIN, {0: reached(42), 1: reached(43)})
    winner, _ = load_confirmations(storage, NAME)[4]
    assert winner.params == best.params
    theirs = optuna.load_study(study_name=AGAIN, storage=database).trials[0]
    kind = theirs.distributions["learning_rate"]
    assert kind._contains(kind.to_internal_repr(best.params["learning_rate"]))


refusals = [
    ({"seeds": 0}, "--seeds 0: must be at least 1"),
    ({"candidates": 0}, "--candidates 0: must be at least 1"),
    ({"batch_sizes": (4, 8)}, "--batch-sizes 8: .* has no study of it; there are: 4, 16"),
    ({"batch_sizes": (16,)}, "no trial has reached the goal yet, so there is no winner"),
]


@pytest.mark.parametrize(("told", "said"), refusals, ids=[said for _, said in refusals])
def test_what_cannot_be_confirmed_is_refused(
    searched: Storage, told: dict[str, int], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        plan_confirmations(searched, NAME, **told)  # type: ignore[arg-type]
    assert load_confirmations(searched, NAME) == {}


def test_every_seed_is_run_to_its_own_goal_by_whatever_worker(
    storage: Storage, tmp_path: Path
) -> None:
    planned(storage, batch_sizes=(4,), trials=6)

    def work(**wanted: tuple[str, ...]) -> None:
        kept = str(tmp_path / "kept")
        settings = Settings(
            "one",
            "cpu",
            Filter(**wanted),
            options=WorkerOptions(engine="sequential", checkpoint_dir=kept, code=CODE),
        )
        Worker(storage, settings, Event()).run()

    work()
    plan_confirmations(storage, NAME, seeds=4, candidates=1)
    work(purposes=("search",))
    assert {row.state for row in slots_of(storage, AGAIN)} == {"free"}
    work()
    rows = slots_of(storage, AGAIN)
    assert {row.state for row in rows} == {"done"}
    assert "capped" not in {row.outcome for row in rows}
    assert len({row.steps for row in rows}) > 1
    (winner,) = load_confirmations(storage, NAME)[4]
    study = stored(storage, AGAIN)
    loaded = set_up(study, torch.device("cpu"), None)
    alone = [loaded.run(4, winner.params, study.trial_seed(number)) for number in range(4)]
    assert winner.steps == tuple(sorted(filter(None, map(first_passage, alone))))
    assert winner.seeds == 4


def first_passage(run: ModelRun) -> int | None:
    """The steps to target of one trial alone, looked at after every step."""
    for step in range(1, STEP_BUDGET + 1):
        run.advance(step)
        if run.evaluate(full=True).passed:
            return step
    return None


def test_trials_that_ran_elsewhere_cannot_be_run_again_here(searched: Storage) -> None:
    with searched.write() as conn:
        conn.execute(update(studies).where(studies.c.name == B4).values(spec=""))
    with pytest.raises(UsageError, match=f"study {B4} was imported, and there is no code here"):
        plan_confirmations(searched, NAME, seeds=1)
