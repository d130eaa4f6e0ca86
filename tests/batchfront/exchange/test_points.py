"""Numbers that were measured elsewhere become the points of a frontier."""

import json
from pathlib import Path

import optuna
import pytest

from batchfront.errors import UsageError
from batchfront.exchange.points import Taken, import_points
from batchfront.exchange.points_file import read_points
from batchfront.frontier.frontier import Frontier, load_frontier, load_frontiers
from batchfront.frontier.queries import load_trials
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.url import Storage
from tests.toy import SPEC, clouds


def written(folder: Path, text: str, name: str = "points.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def steps(folder: Path, text: str, train_examples: int | None = None) -> list[float | None]:
    return [row.steps for row in read_points(written(folder, text), train_examples)]


def imported(storage: Storage, file: Path, *, replace: bool = False) -> list[Taken]:
    return import_points(storage, read_points(file), replace_changed=replace)


def medians(frontier: Frontier) -> dict[int, float | None]:
    return {point.batch_size: point.steps for point in frontier.points}


SEEDS = """\
workload,batch_size,seed,steps,learning_rate,param:warmup
net/π/sgd,32,0,900,0.1,5
net/π/sgd,32,1,1100,0.1,5
net/π/sgd,32,7,1000,0.2,linear

net/π/sgd,64,0,600,0.1,5
net/π/sgd,64,1,nan,0.1,5
other/net/sgd,8,0,,0.5,
"""


@pytest.mark.every_storage
def test_a_point_is_the_median_over_seeds(storage: Storage, tmp_path: Path) -> None:
    taken = imported(storage, written(tmp_path, SEEDS))
    assert taken == [Taken("net/π/sgd", 2, 5, 0, 0), Taken("other/net/sgd", 1, 1, 0, 0)]
    net, other = load_frontiers(storage)
    assert medians(net) == {32: 1000, 64: None}  # of 64 only one of two seeds gets there
    assert medians(other) == {8: None}
    best = net.points[0].best
    assert best is not None
    assert best.number == 7
    assert best.params == {"learning_rate": 0.2, "warmup": "linear"}
    assert net.points[1].outcomes == {"reached": 1, "exhausted": 1}
    assert [t.params["warmup"] for t in load_trials(storage, net.points[1].study.id)] == [5, 5]


@pytest.mark.every_storage
def test_optuna_has_a_trial_a_seed(storage: Storage, tmp_path: Path) -> None:
    imported(storage, written(tmp_path, SEEDS))
    rdb = optuna.storages.RDBStorage(storage.url.render_as_string(hide_password=False))
    study = optuna.load_study(study_name="net/π/sgd/b64", storage=rdb)
    found = [(t.number, t.state.name, t.value) for t in study.trials]
    rdb.engine.dispose()
    assert found == [(0, "COMPLETE", 600.0), (1, "PRUNED", None)]


@pytest.mark.every_storage
def test_the_same_file_again_changes_nothing(storage: Storage, tmp_path: Path) -> None:
    file = written(tmp_path, SEEDS)
    imported(storage, file)
    before = [load_trials(storage, p.study.id) for f in load_frontiers(storage) for p in f.points]
    again = imported(storage, file)
    assert [(t.new, t.replaced, t.unchanged) for t in again] == [(0, 0, 5), (0, 0, 1)]
    after = [load_trials(storage, p.study.id) for f in load_frontiers(storage) for p in f.points]
    assert after == before


@pytest.mark.every_storage
def test_a_changed_value_is_refused_unless_it_is_to_replace(
    storage: Storage, tmp_path: Path
) -> None:
    imported(storage, written(tmp_path, SEEDS))
    changed = written(tmp_path, SEEDS.replace("1,1100", "1,800").replace("64,0,600", "64,2,700"))
    says = r"points\.csv, line 3: net/π/sgd at batch size 32, seed 1, has 1100 steps, .* here 800"
    with pytest.raises(UsageError, match=says):
        imported(storage, changed)
    assert medians(load_frontier(storage, "net/π/sgd")) == {32: 1000, 64: None}
    first, second = imported(storage, changed, replace=True)
    assert (first.new, first.replaced, first.unchanged) == (1, 1, 3)
    assert (second.new, second.replaced, second.unchanged) == (0, 0, 1)
    points = load_frontier(storage, "net/π/sgd").points
    assert [(p.steps, p.trials, p.study.trials) for p in points] == [(900, 3, 3), (700, 3, 3)]


def test_rows_without_a_seed_are_numbered(storage: Storage, tmp_path: Path) -> None:
    text = "workload,batch_size,steps\na/b/c,8,30\na/b/c,16,20\na/b/c,8,10\na/b/c,8,20\n"
    imported(storage, written(tmp_path, text))
    points = load_frontier(storage, "a/b/c").points
    assert [(p.batch_size, p.steps, p.trials) for p in points] == [(8, 20, 3), (16, 20, 1)]


def test_epochs_and_samples_become_steps(tmp_path: Path) -> None:
    head = "workload,batch_size,"
    assert steps(tmp_path, head + "samples\na/b/c,64,6400\na/b/c,64,6401\n") == [100, 101]
    assert steps(tmp_path, head + "examples\na/b/c,64,1\na/b/c,64,1.5e6\n") == [1, 23438]
    assert steps(tmp_path, head + "epochs\na/b/c,100,2.5\n", 60_000) == [1500]
    assert steps(tmp_path, head + "epochs,train_examples\na/b/c,100,2.5,1000\n", 60_000) == [25]
    third = 0.1 * 3  # 0.30000000000000004, of 1,000 examples 300 and no step more
    assert steps(tmp_path, head + f"epochs\na/b/c,10,{third!r}\n", 1000) == [30]
    unreached = "".join(f"a/b/c,8,{text}\n" for text in ("", "nan", "NaN", "inf"))
    assert steps(tmp_path, head + "epochs\n" + unreached) == [None] * 4


def test_a_json_list_says_the_same_as_a_csv(storage: Storage, tmp_path: Path) -> None:
    rows = [
        {"workload": "a/b/c", "batch_size": 8, "seed": 3, "steps": 30, "param:decay": 0.1},
        {"workload": "a/b/c", "batch_size": 16, "seed": 3, "steps": None},
        {"workload": "a/b/c", "batch_size": 32, "seed": 3, "steps": float("inf")},
    ]
    imported(storage, written(tmp_path, json.dumps(rows), "points.json"))
    assert medians(load_frontier(storage, "a/b/c")) == {8: 30, 16: None, 32: None}
    text = "workload,batch_size,seed,steps,param:decay\na/b/c,8,3,30,0.1\na/b/c,16,3,,\n"
    (taken,) = imported(storage, written(tmp_path, text))
    assert taken.unchanged == 2


def test_a_goal_is_kept_as_a_comparison_or_as_the_text_that_it_is(
    storage: Storage, tmp_path: Path
) -> None:
    text = "workload,batch_size,steps,goal,metric\n"
    text += "a/b/c,8,30,error rate<0.25,\nd/e/f,8,30,75.9 % top-1,accuracy\n"
    imported(storage, written(tmp_path, text))
    first, second = load_frontiers(storage)
    assert first.goal == {"metric": "error rate", "better": "lower", "value": 0.25}
    assert (first.goal_text, second.goal_text) == (
        "validation error rate < 0.25",
        "accuracy 75.9 % top-1",
    )
    imported(storage, written(tmp_path, "workload,batch_size,steps\ng/h/i,8,30\n"))
    assert load_frontier(storage, "g/h/i").goal_text == "a goal that was not stated"


def test_the_training_set_is_kept_where_it_was_said(storage: Storage, tmp_path: Path) -> None:
    text = "workload,batch_size,epochs,train_examples\na/b/c,8,2,1000\n"
    imported(storage, written(tmp_path, text))
    point = load_frontier(storage, "a/b/c").points[0]
    assert (point.study.train_examples, point.steps) == (1000, 250)


HEAD = "workload,batch_size,seed,steps\n"

BAD = {
    "no steps column": ("workload,batch_size\na,8\n", "line 2: needs a column of steps"),
    "two amounts": ("workload,batch_size,steps,epochs\na,8,1,2\n", "has steps 1 and epochs 2;"),
    "no workload": ("batch_size,steps\n8,1\n", "line 2: lacks the column workload"),
    "unknown column": ("workload,batch_size,steps,lr\na,8,1,2\n", "unknown column 'lr'"),
    "column twice": ("workload,steps,steps\na,8,1\n", "line 1: column steps stands twice"),
    "epochs alone": ("workload,batch_size,epochs\na,8,1\n", "epochs need train_examples"),
    "batch size": (HEAD + "a,8,0,1\na,0,0,1\n", "line 3: batch_size '0' must be a whole number"),
    "no batch size": (HEAD + "a,,0,1\n", "line 2: batch_size '' must be a whole number, 1 or more"),
    "no name": (HEAD + ",8,0,1\n", "line 2: workload '': write a name"),
    "bad seed": (HEAD + "a,8,x,1\n", "line 2: seed 'x' must be a whole number, 0 or more"),
    "half a step": (HEAD + "a,8,0,0.5\n", "line 2: steps '0.5' must be a number of 1 or more"),
    "no number": (HEAD + "a,8,0,ten\n", "line 2: steps 'ten' must be a number of 1 or more"),
    "a ratio": (HEAD + "a,8,0,17/20\n", "line 2: steps '17/20' must be a number of 1 or more"),
    "thousands": (HEAD + 'a,8,0,"1,234"\n', "steps '1,234' must be a number of 1 or more, without"),
    "negative": (HEAD + "a,8,0,-5\n", "line 2: steps '-5' must be a number of 1 or more"),
    "zero": (HEAD + "a,8,0,0\n", "line 2: steps '0' must be a number of 1 or more"),
    "minus infinity": (HEAD + "a,8,0,-inf\n", "line 2: steps '-inf' must be a number of 1"),
    "an endless exponent": (HEAD + "a,8,0,1e999999999\n", "steps '1e999999999' must be a number"),
    "no samples": ("workload,batch_size,samples\na,8,0\n", "samples '0' must be a number above 0"),
    "half a batch": (HEAD + "a,8.5,0,1\n", "line 2: batch_size '8.5' must be a whole number, 1 or"),
    "huge batch": (HEAD + "a,3e9,0,1\n", "batch_size '3e9' must be a whole number, from 1 to 2147"),
    "bad seed, below 0": (HEAD + "a,8,-1,1\n", "line 2: seed '-1' must be a whole number, 0 or"),
    "seed": (HEAD + f"a,8,{2**63},1\n", f"must be a whole number, from 0 to {2**63 - 1}"),
    "missed late": (
        "workload,batch_size,steps,steps_lower\na,8,100,100\n",
        "line 2: steps_lower '100' must be a number of 0 or more and below the steps, 100",
    ),
    "missed before": (
        "workload,batch_size,steps,steps_lower\na,8,,-1\n",
        "line 2: steps_lower '-1' must be a number of 0 or more",
    ),
    "semicolons": (
        "workload;batch_size;steps\na;8;1\n",
        "line 1: columns must be separated by com",
    ),
    "tabs": ("workload\tbatch_size\tsteps\na\t8\t1\n", "line 1: columns must be separated by com"),
    "upper case": ("workload,batch_size,STEPS\na,8,1\n", "unknown column 'STEPS'; there are workl"),
    "a table's own index": (
        ",workload,batch_size,steps\n0,a,8,1\n",
        "unknown column ''; there are",
    ),
    "too many": (HEAD + "a,8,0,3000000000\n", "line 2: 3000000000 steps are more than can be"),
    "short row": (HEAD + "a,8,0\n", "line 2: 3 columns, where the header has 4"),
    "open quote": (HEAD + '"a,8,0,1\n', "line 2: unexpected end of data"),
    "twice": (HEAD + "a,8,0,1\na,8,1,1\na,8,0,2\n", "line 4: a at batch size 8, seed 0, is there"),
    "nothing": (HEAD, "holds no measurement"),
    "a NUL": (HEAD + "a\0,8,0,1\n", "line 2: the text 'a\\x00' has a NUL character"),
    "a long name": (
        HEAD + f"{'a' * 401},8,0,1\n",
        "aaa'… has 401 characters; a name has 400 at most",
    ),
    "a long metric": (
        f"workload,batch_size,steps,metric\na,8,1,{'m' * 65}\n",
        "mmm'… has 65 characters; a name has 64 at most",
    ),
    "a long metaparameter": (
        f"workload,batch_size,steps,param:{'p' * 400}\na,8,1,2\n",
        "ppp'… has 406 characters",
    ),
}


@pytest.mark.parametrize(("text", "says"), BAD.values(), ids=BAD)
def test_what_cannot_be_meant_is_refused_with_its_line(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(UsageError) as refused:
        read_points(written(tmp_path, text))
    assert str(refused.value).startswith(f"{tmp_path}/points.csv")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text(HEAD, encoding="utf-16")
    with pytest.raises(UsageError, match=r"points\.csv: must be text in UTF-8"):
        read_points(tmp_path / "points.csv")


def test_what_spreadsheets_write_is_read(tmp_path: Path) -> None:
    lines = (
        "\ufeffworkload,batch_size , steps",
        " a/b , 8 , 1e3 ",
        "",
        "a/b,16,1234.50",
        "a/b,32.0,70",
    )
    (tmp_path / "points.csv").write_bytes("\r\n".join(lines).encode())
    found = read_points(tmp_path / "points.csv")
    assert [(row.workload, row.batch_size, row.steps) for row in found] == [
        ("a/b", 8, 1000),
        ("a/b", 16, 1234.5),
        ("a/b", 32, 70),
    ]


def test_each_row_may_state_another_amount(tmp_path: Path) -> None:
    text = "workload,batch_size,epochs,samples,steps\na,8,2,,\na,16,,320,\na,32,,,9\na,64,,,\n"
    assert steps(tmp_path, text, 100) == [25, 20, 9, None]


@pytest.mark.every_storage
def test_means_over_seeds_are_kept_as_they_are(storage: Storage, tmp_path: Path) -> None:
    text = (
        "workload,batch_size,steps,steps_lower\na/b,8,1234.6,1200.5\na/b,16,620,600\na/b,32,,500\n"
    )
    file = written(tmp_path, text)
    imported(storage, file)
    (taken,) = imported(storage, file)
    assert taken.unchanged == 3
    points = load_frontier(storage, "a/b").points
    assert [(p.steps, p.steps_lower, p.examples) for p in points] == [
        (1234.6, 1200.5, 9877),
        (620, 600, 9920),
        (None, None, None),
    ]
    assert isinstance(points[1].steps, int)
    assert [trial.steps for trial in load_trials(storage, points[2].study.id)] == [500]
    changed = written(tmp_path, text.replace("600", "610"))
    with pytest.raises(UsageError, match="has 620 steps, last missed at 600 in the database, here"):
        imported(storage, changed)


@pytest.mark.every_storage
def test_large_seeds_and_training_sets_are_kept(storage: Storage, tmp_path: Path) -> None:
    head = "workload,batch_size,seed,steps,train_examples\n"
    text = head + f"a/b,8,3160192025,1000,{2**40}\na/b,8,{2**63 - 1},1002,\na/b,8,0,1001,\n"
    file = written(tmp_path, text)
    imported(storage, file)
    (taken,) = imported(storage, file)
    assert (taken.new, taken.unchanged) == (0, 3)
    (point,) = load_frontier(storage, "a/b").points
    assert (point.steps, point.study.train_examples) == (1001, 2**40)
    replaced = written(tmp_path, text.replace("1000", "1010"))
    (taken,) = imported(storage, replaced, replace=True)
    assert (taken.replaced, load_frontier(storage, "a/b").points[0].steps) == (1, 1002)
    more = written(tmp_path, head + "a/b,8,1,900,\na/b,8,2,901,\n")
    imported(storage, more)
    assert load_frontier(storage, "a/b").points[0].trials == 5


@pytest.mark.every_storage
def test_the_median_of_two_is_between_them(storage: Storage, tmp_path: Path) -> None:
    text = "workload,batch_size,steps,steps_lower\na,8,100,90\na,8,201,191\n"
    imported(storage, written(tmp_path, text))
    (point,) = load_frontier(storage, "a").points
    assert (point.steps, point.steps_lower, point.trial) == (150.5, 140.5, None)
    assert point.seeds == (100, 201)


def test_half_of_the_seeds_are_too_few_to_reach_the_goal(storage: Storage, tmp_path: Path) -> None:
    rows = "".join(f"a,8,{text}\n" for text in ("10", "20", "", ""))
    imported(storage, written(tmp_path, "workload,batch_size,steps\n" + rows))
    frontier = load_frontier(storage, "a")
    assert (frontier.reached, frontier.unreached) == ((), frontier.points)
    assert frontier.points[0].seeds == (10, 20, float("inf"), float("inf"))
    imported(storage, written(tmp_path, "workload,batch_size,seed,steps\na,8,9,30\n"))
    assert load_frontier(storage, "a").points[0].steps == 30


def test_a_training_set_larger_than_any_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--train-examples {2**63}: must be at most"):
        read_points(written(tmp_path, HEAD), 2**63)


def test_a_json_file_that_is_no_list_of_objects_is_refused(tmp_path: Path) -> None:
    for text, says in (
        ("{", "points.json: Expecting"),
        ("[" * 100_000, "levels deep"),
        ('[{"workload": "a", "workload": "b"}]', "the key 'workload' stands twice"),
        ('[{"workload": "a\\u0000b", "batch_size": 8, "steps": 1}]', "has a NUL character"),
        ('[{"workload": "a\\ud800", "batch_size": 8, "steps": 1}]', "half of a surrogate pair"),
        ("{}", "must be a list of objects"),
        ("[1]", "entry 1: must be an object"),
        ('[{"workload": "a", "batch_size": [8], "steps": 1}]', "entry 1: must be an object"),
        ('[{"workload": "a", "batch_size": 8, "steps": "x"}]', "entry 1: steps 'x'"),
    ):
        with pytest.raises(UsageError, match=says):
            read_points(written(tmp_path, text, "points.json"))
    with pytest.raises(UsageError, match="No such file"):
        read_points(tmp_path / "none.csv")


def test_one_workload_has_one_goal(storage: Storage, tmp_path: Path) -> None:
    head = "workload,batch_size,steps,goal\n"
    mixed = written(tmp_path, head + "a/b/c,8,1,error rate<0.1\na/b/c,16,1,error rate<0.2\n")
    with pytest.raises(UsageError, match=r"line 3: goal and metric differ .* line 2; use one name"):
        imported(storage, mixed)
    imported(storage, written(tmp_path, head + "a/b/c,8,1,error rate<0.1\n"))
    with pytest.raises(UsageError, match=r"error rate < 0\.1 in this database, here .* < 0\.2"):
        imported(storage, written(tmp_path, head + "a/b/c,16,1,error rate<0.2\n"))


def test_points_are_not_mixed_with_trials(storage: Storage, tmp_path: Path) -> None:
    plan(storage, SPEC, clouds(), SearchOptions(trials=1, batch_sizes=(4,)))
    points = written(tmp_path, "workload,batch_size,steps\nclouds/mlp/momentum,8,30\n")
    with pytest.raises(UsageError, match="clouds/mlp/momentum has trials in this database"):
        imported(storage, points)


def test_points_can_be_planned_no_further(storage: Storage, tmp_path: Path) -> None:
    points = written(tmp_path, "workload,batch_size,steps\nclouds/mlp/momentum,8,30\n")
    imported(storage, points)
    with pytest.raises(UsageError, match="clouds/mlp/momentum/b8 was imported"):
        plan(storage, SPEC, clouds(), SearchOptions(trials=1, batch_sizes=(4,)))


def test_a_metaparameter_beyond_all_numbers_is_a_text(storage: Storage, tmp_path: Path) -> None:
    endless = "9" * 400
    imported(storage, written(tmp_path, f"workload,batch_size,steps,param:x\na,8,1,{endless}\n"))
    assert load_frontier(storage, "a").points[0].params == {"x": endless}
