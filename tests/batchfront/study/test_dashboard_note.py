"""What the note on a study says, and that names are text in it."""

import re
from dataclasses import replace

import optuna
import pytest
from optuna_dashboard import get_note

from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.database import Storage
from batchfront.study.dashboard_note import study_note
from batchfront.study.study import Study
from batchfront.vocabulary import Outcome
from tests.toy import SPEC, clouds


def study(workload: str = "a/b/c", metric: str = "error rate", schedule: str = "race") -> Study:
    goal = {"metric": metric, "better": "lower", "value": 0.03}
    name = f"{workload}/b2048"
    fields = (name, workload, "", 2048, {"goal": goal}, None, 0, schedule, "sobol", "all", 8)
    return Study(*fields, id=1)


def test_planning_writes_the_note_where_the_dashboard_reads_it(
    storage: Storage, database: str
) -> None:
    for planned in plan(storage, SPEC, clouds(), SearchOptions(trials=1)).studies:
        found = optuna.load_study(study_name=planned.name, storage=database)
        assert get_note(found) == study_note(planned)


def test_it_explains_goal_value_outcomes_and_family() -> None:
    note = study_note(study())
    assert "**Goal**: validation error rate \\< 0\\.03." in note
    assert "first evaluated step at which the goal is passed" in note
    assert "`a/b/c/b<batch size>`" in note
    assert "batch size 2,048" in note
    assert set(re.findall(r"- `(\w+)` \(", note)) == set(Outcome)


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        ("race", "advance together"),
        ("one-by-one", "one after another"),
        ("imported", "ran elsewhere"),
    ],
)
def test_it_says_how_the_trials_are_scheduled(schedule: str, says: str) -> None:
    assert says in study_note(study(schedule=schedule))


def test_it_says_that_the_trials_of_an_adaptive_sampler_race_in_generations() -> None:
    plain = study()
    adaptive = replace(
        plain, sampler="tpe", identity={**plain.identity, "search": {"generation": 6}}
    )
    assert "6 at a time, sampled from what those before them have shown" in study_note(adaptive)
    assert "at a time" not in study_note(plain)


@pytest.mark.parametrize(
    ("race", "says"),
    [
        ({"finishers": 1}, "`capped` (PRUNED): another trial of the study had reached the goal"),
        ({"finishers": 4}, "`capped` (PRUNED): 4 other trials of the study had reached the goal"),
        ({"finishers": 0}, "`capped` (PRUNED): none here"),
        ({"continuing": 1}, "The first to pass the goal trained on to the step budget."),
        ({"continuing": 3}, "The first 3 to pass the goal trained on to the step budget."),
    ],
)
def test_it_says_when_a_trial_ends(race: dict[str, int], says: str) -> None:
    assert says in study_note(replace(study(), **race))
    assert "trained on" not in study_note(study())


def test_it_says_which_option_drops_trials_and_that_the_winner_may_be_another() -> None:
    assert "`dropped` (PRUNED): none here" in study_note(study())
    for option, says in (("halving", "the worse half"), ("extrapolate", "missed the leader")):
        one = study()
        note = study_note(replace(one, identity={**one.identity, "search": {option: True}}))
        assert says in note
        assert "the best trial here may not be the one that would have won" in note


def test_it_says_that_evaluations_are_left_out() -> None:
    one = study()
    note = study_note(replace(one, identity={**one.identity, "search": {"evaluate": "sparse"}}))
    assert "evaluated less often" in note
    assert "evaluated less often" not in study_note(one)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a/`b`/c", "``a/`b`/c``"),
        ("a/``/`", "``` a/``/` ```"),
        ("a/b\n\n# c/d", "`a/b # c/d`"),
        ("[x](javascript:alert(1))/b/c", "`[x](javascript:alert(1))/b/c`"),
    ],
)
def test_a_name_can_not_leave_its_code_font(name: str, shown: str) -> None:
    first = study_note(study(workload=name)).splitlines()[0]
    assert f"for the workload {shown}." in first


def test_a_metrics_name_is_text() -> None:
    note = study_note(study(metric="<b>![x](y)</b> _m_\n- item"))
    assert "\\<b\\>\\!\\[x\\]\\(y\\)\\<\\/b\\> \\_m\\_ \\- item" in note


def test_it_says_what_trains_where_that_is_a_program_or_a_function() -> None:
    command = ["python", "train.py", "--lr", "{learning_rate}", "--name", "a `b"]
    one = study()
    program = replace(one, identity={**one.identity, "kind": "program", "command": command})
    shown = "by the program ``python train.py --lr {learning_rate} --name 'a `b'``, which"
    assert shown in study_note(program)
    loop = replace(one, identity={**one.identity, "kind": "loop"})
    assert "by a function of the user's" in study_note(loop)
    assert "**Training**" not in study_note(one)
