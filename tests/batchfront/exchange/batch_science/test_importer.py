"""The public archive of Shallue et al. 2018, imported, and the paper's own selection from it."""

import gzip
import json
import math
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import func, select

from batchfront.errors import DataError, IdentityError, UsageError
from batchfront.exchange.batch_science import archive
from batchfront.exchange.batch_science.goals import parse_goal
from batchfront.exchange.batch_science.importer import Imported, import_archive
from batchfront.frontier.frontier import load_frontier, load_frontiers
from batchfront.frontier.queries import load_trials
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.schema import measurements, slots, studies
from batchfront.store.url import Storage
from tests.batchfront.exchange.generated_archive import (
    COLUMNS,
    CONFIGS,
    Written,
    random_trials,
    trial,
    write_study,
)
from tests.reading import load_curves
from tests.searches import optuna_trials
from tests.toy import SPEC, clouds

RESNET = "imagenet/resnet_50/nesterov_momentum"
IMAGES = "open_images_v4/resnet_50/nesterov_momentum"
SCORES = ["train/average_precision", "val/average_precision"]


def imported(storage: Storage, root: Path, *goals: str) -> list[Imported]:
    folders = archive.find_folders(root)
    found = import_archive(storage, folders, [parse_goal(goal) for goal in goals], lambda _: None)
    return list(found)


def errors(metric: float) -> dict[str, float]:
    return {name: metric + k / 8 if "val" not in name else metric for k, name in enumerate(COLUMNS)}


def curve(*metrics: float) -> list[tuple[int, dict[str, float]]]:
    """Measured at steps 0, 10, 20, … with these validation errors."""
    return [(10 * n, errors(metric)) for n, metric in enumerate(metrics)]


def contents(storage: Storage) -> dict[str, int]:
    with storage.read() as conn:
        tables = (studies, slots, measurements)
        return {
            t.name: conn.execute(select(func.count()).select_from(t)).scalar_one() for t in tables
        }


def optunas(storage: Storage, name: str) -> list[optuna.trial.FrozenTrial]:
    """A study's trials through Optuna's own API."""
    return optuna_trials(storage, name)


FIVE = [
    trial(1, curve(0.9, 0.5, 0.25, 0.2, 0.1)),  # 0.25 is not past 0.25
    trial(2, curve(0.9, 0.25)),
    trial(5, curve(0.9, 0.2, math.nan), "INFEASIBLE", 12),
    trial(7, curve(0.9, 0.2), "INCOMPLETE", 15),
    trial(8, curve(0.9, math.nan, 0.24)),
]


@pytest.mark.every_storage
def test_trials_end_as_the_archive_says_they_did(storage: Storage, tmp_path: Path) -> None:
    write_study(tmp_path, RESNET, 64, FIVE)
    (result,) = imported(storage, tmp_path)
    assert (result.error, result.trials, result.measurements) == (None, 5, 15 * 6)
    (point,) = load_frontier(storage, RESNET).points
    first, second, infeasible, incomplete, last = load_trials(storage, point.study.id)
    assert [first.number, infeasible.number, last.number] == [1, 5, 8]
    assert (first.outcome, first.steps, first.metric) == ("reached", 600, 0.2)
    assert (first.steps_to_target, first.steps_lower) == (30, 20)
    assert (second.outcome, second.steps_to_target, second.metric) == ("exhausted", None, 0.25)
    assert (infeasible.outcome, infeasible.steps_to_target, infeasible.steps) == (
        "diverged",
        None,
        12,
    )
    assert (incomplete.outcome, incomplete.steps_to_target) == ("failed", None)
    assert incomplete.reason == "INCOMPLETE in the archive, after 15 steps"
    assert (last.steps_to_target, last.steps_lower) == (20, 10)
    assert point.best == last
    assert point.outcomes == {"reached": 2, "exhausted": 1, "diverged": 1, "failed": 1}


@pytest.mark.every_storage
def test_a_study_is_what_its_study_json_says(storage: Storage, tmp_path: Path) -> None:
    write_study(tmp_path, RESNET, 64, FIVE)
    imported(storage, tmp_path)
    study = load_frontier(storage, RESNET).points[0].study
    assert (study.name, study.batch_size, study.trials) == (f"{RESNET}/b64", 64, 5)
    assert (study.purpose, study.spec, study.finishers) == ("search", "", 0)
    assert {name: str(entry) for name, entry in study.space.items()} == {
        "learning_rate": "Log(0.0001, 10)",
        "label_smoothing": "Choice(0.0, 0.01, 0.1)",
        "learning_rate_decay_steps": "Integer(300000, 600000)",
        "momentum": "ReverseLog(0.9, 0.9999)",
    }
    assert study.identity["goal"] == {"metric": "error rate", "better": "lower", "value": 0.25}
    assert study.identity["step_budget"] == 600
    assert study.identity["source"]["goal"] == "the paper"


@pytest.mark.every_storage
def test_all_measurements_of_all_splits_are_kept(storage: Storage, tmp_path: Path) -> None:
    write_study(tmp_path, RESNET, 64, FIVE)
    imported(storage, tmp_path)
    names = [
        (s, m) for s in ("train", "validation", "test") for m in ("cross-entropy", "error rate")
    ]
    by_number = {written.number: written for written in FIVE}
    curves = load_curves(storage, load_frontier(storage, RESNET).points[0].study.id)
    assert curves.keys() == by_number.keys()
    for number, points in curves.items():
        kept = {(p.step, p.split, p.metric): p.value for p in points}
        rows = by_number[number].rows
        assert kept == {
            (step, *name): values[column] if math.isfinite(values[column]) else None
            for step, values in rows
            for name, column in zip(names, COLUMNS, strict=True)
        }


@pytest.mark.every_storage
def test_optuna_reads_the_same_trials(storage: Storage, tmp_path: Path) -> None:
    write_study(tmp_path, RESNET, 64, FIVE)
    imported(storage, tmp_path)
    trials = optunas(storage, f"{RESNET}/b64")
    assert [t.number for t in trials] == [1, 2, 5, 7, 8]
    complete, pruned, failed = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
    assert [t.state for t in trials] == [complete, pruned, pruned, failed, complete]
    assert [t.value for t in trials] == [30, None, None, None, 20]
    assert [t.params for t in trials] == [written.params for written in FIVE]
    assert trials[0].intermediate_values == {30: 0.2}
    assert math.isnan(trials[2].intermediate_values[20])
    assert trials[2].user_attrs["outcome"] == "diverged"


def papers_rule(
    trials: list[Written], column: str, goal: float, first: int, minimize: bool
) -> tuple[int, int] | None:
    """Steps and trial id by the description of the paper's analysis, read off what was written."""
    complete = sorted((t for t in trials if t.status == "COMPLETE"), key=lambda t: t.number)
    passed = [
        (step, t.number)
        for t in complete[:first]
        for step, values in t.rows
        if (values[column] < goal if minimize else values[column] > goal)
    ]
    return min(passed, default=None)


@pytest.mark.every_storage
@pytest.mark.parametrize("seed", range(3))
def test_the_selection_is_the_papers(storage: Storage, tmp_path: Path, seed: int) -> None:
    wanted: dict[tuple[str, int], Any] = {}
    written: dict[tuple[str, int], tuple[list[Written], str, float, bool]] = {}
    for k, batch_size in enumerate((16, 32, 64, 128)):
        trials = random_trials(100 * seed + k, 40, list(COLUMNS))
        write_study(tmp_path, RESNET, batch_size, trials)
        written[RESNET, batch_size] = (trials, "val/classification_error", 0.25, True)
        trials = random_trials(100 * seed + 10 + k, 40, SCORES)
        write_study(tmp_path, IMAGES, batch_size, trials, SCORES)
        written[IMAGES, batch_size] = (trials, "val/average_precision", 0.31, False)
    assert [r.error for r in imported(storage, tmp_path)] == [None] * 8
    for first in (1, 2, 5, 20):
        for key, (trials, column, goal, minimize) in written.items():
            wanted[key] = papers_rule(trials, column, goal, first, minimize)
        found = {
            (f.workload, p.batch_size): p.best and (p.steps, p.best.number)
            for f in load_frontiers(storage, first=first)
            for p in f.points
        }
        assert found == wanted
        assert {p.trials for f in load_frontiers(storage, first=first) for p in f.points} == {first}
    assert None not in wanted.values()  # among so many trials some had passed


@pytest.mark.every_storage
def test_of_equals_the_lowest_trial_id_is_taken(storage: Storage, tmp_path: Path) -> None:
    tied = [trial(n, curve(0.9, 0.2, 0.1)) for n in (9, 3, 30)]
    write_study(tmp_path, RESNET, 64, tied)
    imported(storage, tmp_path)
    best = load_frontier(storage, RESNET, first=3).points[0].best
    assert best is not None
    assert best.number == 3


@pytest.mark.every_storage
def test_a_study_with_too_few_complete_trials_is_named(storage: Storage, tmp_path: Path) -> None:
    write_study(tmp_path, RESNET, 64, FIVE)
    imported(storage, tmp_path)
    assert load_frontier(storage, RESNET, first=3).points[0].trials == 3
    with pytest.raises(UsageError, match=f"{RESNET}/b64 has 3 complete trials, not the 4 asked"):
        load_frontier(storage, RESNET, first=4)


def test_all_studies_with_too_few_complete_trials_are_named(
    storage: Storage, tmp_path: Path
) -> None:
    for batch_size, trials in ((64, FIVE), (128, FIVE[:2]), (256, [*FIVE, trial(9, curve(0.9))])):
        write_study(tmp_path, RESNET, batch_size, trials)
    imported(storage, tmp_path)
    with pytest.raises(UsageError) as refused:
        load_frontier(storage, RESNET, first=4)
    said = f"study {RESNET}/b64 has 3, study {RESNET}/b128 has 2 complete trials, not the 4 asked"
    assert str(refused.value).startswith(said)
    advised = re.findall("`batchfront (.*)`", str(refused.value))
    assert advised == [f"frontier {RESNET} --first 2 --storage {storage.url}"]


def test_workloads_are_named_by_their_path_however_deep(storage: Storage, tmp_path: Path) -> None:
    deep = "imagenet_subsets/half/imagenet/resnet_50/nesterov_momentum"
    write_study(tmp_path, deep, 64, FIVE)
    write_study(tmp_path, "mnist/fc_1024/sgd", 8, FIVE)
    imported(storage, tmp_path)
    assert [f.workload for f in load_frontiers(storage)] == [deep, "mnist/fc_1024/sgd"]
    goals = [f.points[0].study.identity for f in load_frontiers(storage)]
    assert [g["goal"]["value"] for g in goals] == [0.25, 0.04]
    assert [g["source"]["goal"] for g in goals] == ["ours", "ours"]


def test_a_goal_of_the_users_own_goes_before(storage: Storage, tmp_path: Path) -> None:
    write_study(tmp_path, RESNET, 64, FIVE)
    imported(storage, tmp_path, "imagenet/*=cross_entropy_error<0.45", "*=error rate<0.9")
    frontier = load_frontier(storage, RESNET)
    assert frontier.goal == {"metric": "cross-entropy", "better": "lower", "value": 0.45}


@pytest.mark.every_storage
def test_an_interrupted_import_goes_on_where_it_was(storage: Storage, tmp_path: Path) -> None:
    for batch_size in (16, 32, 64):
        write_study(tmp_path, RESNET, batch_size, FIVE)
    folders = archive.find_folders(tmp_path)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    first = import_archive(storage, folders[:1], (), lambda _: None)
    assert [result.trials for result in first] == [5]
    with pytest.raises(KeyboardInterrupt):
        list(import_archive(storage, folders, (), interrupt))
    half = contents(storage)
    assert half["bf_studies"] == 1  # the one that it was at is not there by halves
    assert [r.trials for r in import_archive(storage, folders, (), lambda _: None)] == [0, 5, 5]
    assert contents(storage) == {name: 3 * count for name, count in half.items()}
    assert [r.trials for r in import_archive(storage, folders, (), lambda _: None)] == [0, 0, 0]


def test_another_goal_for_what_is_there_is_refused(storage: Storage, tmp_path: Path) -> None:
    write_study(tmp_path, RESNET, 64, FIVE)
    imported(storage, tmp_path)
    with pytest.raises(IdentityError, match=r"b64 exists.*value was 0\.25, is 0\.2"):
        imported(storage, tmp_path, "*=error rate<0.2")
    write_study(tmp_path, RESNET, 32, FIVE)
    with pytest.raises(IdentityError, match=r"b64 exists.*value was 0\.25, is 0\.2"):
        imported(storage, tmp_path, "*=error rate<0.2")
    assert contents(storage)["bf_studies"] == 1


def test_a_study_that_was_planned_here_is_not_mixed_in(storage: Storage, tmp_path: Path) -> None:
    plan(storage, SPEC, clouds(), SearchOptions(trials=1, batch_sizes=(4,)))
    write_study(tmp_path, "clouds/mlp/momentum", 16, FIVE)
    with pytest.raises(IdentityError, match="it was planned, and runs, here"):
        imported(storage, tmp_path, "*=error rate<0.2")


def test_an_imported_study_can_be_planned_no_further(storage: Storage, tmp_path: Path) -> None:
    write_study(tmp_path, "clouds/mlp/momentum", 16, FIVE)
    imported(storage, tmp_path, "*=error rate<0.2")
    with pytest.raises(UsageError, match="clouds/mlp/momentum/b16 was imported"):
        plan(storage, SPEC, clouds(), SearchOptions(trials=1, batch_sizes=(4,)))


def gone(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).unlink()


def holds(file: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_text(text)


def changed(file: str, **entries: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))

    return change


HEAD = "step,val/classification_error\n"

DAMAGE = {
    "no metadata": (gone("5/metadata.json"), "5/metadata.json: is missing"),
    "no measurements": (gone("8/measurements.csv"), "8/measurements.csv: is missing"),
    "empty file": (holds("2/measurements.csv", ""), "2/measurements.csv: Empty CSV file"),
    "no rows": (holds("2/measurements.csv", HEAD), "2/measurements.csv: holds no measurement"),
    "bad number": (
        holds("2/measurements.csv", HEAD + "0,x\n"),
        "2/measurements.csv: In CSV column",
    ),
    "cut off": (holds("2/measurements.csv", HEAD + "0"), "2/measurements.csv: CSV parse error"),
    "a step twice": (holds("2/measurements.csv", HEAD + "5,1\n5,1\n"), "step 5 stands twice"),
    "no step": (holds("2/measurements.csv", "val/x\n1\n"), "every row must have a step"),
    "a step below 0": (holds("2/measurements.csv", HEAD + "-5,1\n"), "step -5 is no whole number"),
    "a step beyond all": (
        holds("2/measurements.csv", HEAD + "1e30,1\n"),
        "step 1e+30 is no whole number from 0 to 2,147,483,648",
    ),
    "a column twice": (
        holds("2/measurements.csv", f"{HEAD.strip()},{HEAD.strip().split(',')[1]}\n5,1,1\n"),
        "stands twice",
    ),
    "a trial twice": (
        lambda folder: shutil.copytree(folder / "2", folder / "02"),
        "is trial 2, as ",
    ),
    "fewer steps than none": (
        changed("5/metadata.json", steps=-1),
        "steps must be a whole number from 0 to 2,147,483,648, not -1",
    ),
    "more steps than can be": (changed("5/metadata.json", steps=1e30), "must be a whole number"),
    "nested without end": (holds("study.json", "[" * 100_000), "more than 100 levels deep"),
    "a key twice": (holds("study.json", '{"a": 1, "a": 2}'), "the key 'a' stands twice"),
    "a NUL": (changed("study.json", model="a\0"), "study.json: the text 'a\\x00' has a NUL"),
    "an endless range": (
        changed(
            "study.json",
            parameter_configs={"x": {"type": "DOUBLE", "min_value": 0, "max_value": 10**400}},
        ),
        "parameter_configs.x ",
    ),
    "a choice of lists": (
        changed(
            "study.json", parameter_configs={"x": {"type": "DISCRETE", "feasible_points": [[1]]}}
        ),
        "parameter_configs.x must have feasible_points that are finite numbers, or texts",
    ),
    "a name without end": (
        changed("study.json", parameter_configs={"x" * 600: {}}),
        "must have a name of 512 characters at most",
    ),
    "a draw that can't be": (
        changed("5/metadata.json", parameters={**FIVE[2].params, "momentum": 2.0}),
        "5/metadata.json: parameters: its momentum is 2.0",
    ),
    "a metric without end": (
        holds("2/measurements.csv", f"step,val/{'m' * 80}\n1,1\n"),
        "must have a name of 64 characters at most",
    ),
    "a metric by two names": (
        holds("2/measurements.csv", "step,val/classification_error,val/error_rate\n1,1,0\n"),
        "column 'val/error_rate' is another's, called otherwise",
    ),
    "no choices": (
        changed("study.json", parameter_configs={"x": {"type": "DISCRETE", "feasible_points": []}}),
        "parameter_configs.x must have a list of feasible_points",
    ),
    "no range": (changed("study.json", parameter_configs={"x": [1]}), "x must be an object"),
    "half a step": (holds("2/measurements.csv", HEAD + "1.5,1\n"), "step 1.5 is no whole number"),
    "endless step": (holds("2/measurements.csv", HEAD + "inf,1\n"), "step inf is no whole number"),
    "no goal": (holds("2/measurements.csv", "step\n1\n"), "error rate, which was not measured"),
    "bad JSON": (holds("5/metadata.json", '{"trial_id":'), "5/metadata.json: Expecting value"),
    "no object": (holds("study.json", "[]"), "study.json: must hold a JSON object"),
    "another batch size": (changed("study.json", batch_size=65), "batch_size is 65"),
    "another id": (changed("5/metadata.json", trial_id=4), "trial_id is 4"),
    "unknown status": (changed("5/metadata.json", status="DONE"), "status 'DONE' is none of COMPL"),
    "no draw": (changed("5/metadata.json", parameters={}), "parameters.learning_rate is missing"),
    "no steps": (
        changed("5/metadata.json", steps=None),
        "steps must be a whole number from 0 to 2,147,483,648, not null",
    ),
    "half a trial": (changed("5/metadata.json", steps=12.5), "steps must be a whole number"),
    "true steps": (changed("5/metadata.json", steps=True), "steps must be a whole number"),
    "odd ends": (
        changed(
            "study.json",
            parameter_configs={"x": {"type": "INTEGER", "min_value": 0.5, "max_value": 2}},
        ),
        "parameter_configs.x has type 'INTEGER', and ends that are no whole numbers",
    ),
    "odd draw": (
        changed("5/metadata.json", parameters={**FIVE[2].params, "momentum": "much"}),
        "parameters.momentum is 'much', which is no value of ReverseLog(0.9, 0.9999)",
    ),
    "odd scale": (
        changed("study.json", parameter_configs={"x": {"type": "DOUBLE", "min_value": 1.0}}),
        "parameter_configs.x lacks 'max_value'",
    ),
}


@pytest.mark.parametrize(("damage", "says"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_study_is_left_out_whole_and_its_file_named(
    storage: Storage, tmp_path: Path, damage: Callable[[Path], object], says: str
) -> None:
    damage(write_study(tmp_path, RESNET, 64, FIVE))
    write_study(tmp_path, RESNET, 128, FIVE)
    results = imported(storage, tmp_path)
    error = {r.folder.path.name: r.error for r in results}
    assert error["128"] is None
    assert error["64"] is not None
    assert str(tmp_path / RESNET / "64") in error["64"]
    assert says in error["64"]
    assert "\n" not in error["64"]
    assert [p.batch_size for p in load_frontier(storage, RESNET).points] == [128]


UNREAD = {
    "no file": gone("measurements.csv"),
    "empty file": holds("measurements.csv", ""),
    "blank file": holds("measurements.csv", "\n\n"),
    "a step twice": holds("measurements.csv", HEAD + "5,1\n5,1\n"),
    "cut off": holds("measurements.csv", HEAD + "0"),
    "NaN step": holds("measurements.csv", HEAD + "nan,1\n"),
    "packed, and damaged": lambda folder: (folder / "measurements.csv").rename(
        folder / "measurements.csv.gz"
    ),
}


@pytest.mark.parametrize("damage", UNREAD.values(), ids=UNREAD)
def test_damaged_measurements_of_trials_that_did_not_complete_are_left_out_alone(
    storage: Storage, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    folder = write_study(tmp_path, RESNET, 64, FIVE)
    damage(folder / "5")
    damage(folder / "7")
    (result,) = imported(storage, tmp_path)
    assert (result.error, result.trials, result.measurements) == (None, 5, 10 * 6)
    said = f"{RESNET}/b64: 2 trials that did not complete are there without their measurements: "
    assert (result.warning or "").startswith(f"{said}{folder / '5' / 'measurements.csv'}")
    assert (result.warning or "").endswith(", and others")
    (point,) = load_frontier(storage, RESNET).points
    assert point.outcomes == {"reached": 2, "exhausted": 1, "diverged": 1, "failed": 1}
    assert point.steps == 20
    trials = {trial.number: trial for trial in load_trials(storage, point.study.id)}
    assert (trials[5].outcome, trials[5].steps, trials[5].metric) == ("diverged", 12, None)
    assert load_curves(storage, point.study.id).keys() == {1, 2, 8}


@pytest.mark.every_storage
def test_a_study_of_which_nothing_was_measured_is_kept(storage: Storage, tmp_path: Path) -> None:
    folder = write_study(tmp_path, RESNET, 64, [FIVE[2], FIVE[3]])
    (folder / "5" / "measurements.csv").unlink()
    holds("7/measurements.csv", HEAD)(folder)  # measured, but nothing yet
    (result,) = imported(storage, tmp_path)
    assert (result.error, result.trials, result.measurements) == (None, 2, 0)
    assert "1 trial that did not complete is" in (result.warning or "")


def _rewritten(change: Callable[[str], bytes]) -> Callable[[Path], object]:
    def rewrite(folder: Path) -> None:
        for file in folder.glob("*/measurements.csv"):
            packed = change(file.read_text())
            file.unlink()
            gz = packed.startswith(b"\x1f\x8b")
            file.with_name(f"measurements.csv{'.gz' if gz else ''}").write_bytes(packed)

    return rewrite


def _reversed(text: str) -> bytes:
    rows = [line.split(",")[::-1] for line in text.splitlines()]
    return "\n".join(",".join(row) for row in rows).encode() + b"\n"


def _widened(text: str) -> bytes:
    head, *rows = text.splitlines()
    more = [f"{row},noted,True,3.5,x{n}" for n, row in enumerate(rows)]
    return "\n".join([f"{head},note,best,seconds,train/kind", *more, ""]).encode()


ALIKE = {
    "byte order mark": _rewritten(lambda text: text.encode("utf-8-sig")),
    "CRLF": _rewritten(lambda text: text.replace("\n", "\r\n").encode()),
    "blank lines": _rewritten(lambda text: text.replace("\n", "\n\n").encode()),
    "other order": _rewritten(_reversed),
    "steps as floats": _rewritten(lambda text: re.sub(r"(?m)^(\d+)", r"\1.0", text).encode()),
    "packed": _rewritten(lambda text: gzip.compress(text.encode())),
    "further columns": _rewritten(_widened),
    "numbers as floats and texts": lambda folder: [
        changed("study.json", batch_size="64", train_steps=600.0)(folder),
        *(
            changed(f"{n}/metadata.json", trial_id=str(n), steps=float(steps))(folder)
            for n, steps in ((1, 600), (5, 12))
        ),
        changed("1/metadata.json", parameters=_as_texts(FIVE[0].params))(folder),
        changed("2/metadata.json", parameters={**FIVE[1].params, "note": None})(folder),
    ],
}


def _as_texts(params: Mapping[str, Any]) -> dict[str, str]:
    whole = {"learning_rate_decay_steps": f"{params['learning_rate_decay_steps']}.0"}
    return {**{name: repr(value) for name, value in params.items()}, **whole}


@pytest.mark.parametrize("change", ALIKE.values(), ids=ALIKE)
def test_an_archive_that_was_written_otherwise_says_the_same(
    storage: Storage, second_storage: Storage, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    change(write_study(tmp_path / "changed", RESNET, 64, FIVE))
    write_study(tmp_path / "plain", RESNET, 64, FIVE)
    found = []
    for opened, name in ((storage, "changed"), (second_storage, "plain")):
        (result,) = imported(opened, tmp_path / name)
        assert (result.error, result.warning) == (None, None)
        (point,) = load_frontier(opened, RESNET).points
        curves = load_curves(opened, point.study.id)
        found.append((load_trials(opened, point.study.id), point.study.identity, curves))
    assert found[0] == found[1]


def test_choices_are_recognized_however_they_are_written(tmp_path: Path) -> None:
    config = {"type": "CATEGORICAL", "feasible_points": [True, False]}
    rates = {"type": "DISCRETE", "feasible_points": ["0.1", "0.2"]}
    configs = {**CONFIGS, "nesterov": config, "rate": rates}
    drawn = [(True, 0.1), ("true", "0.10"), ("True", 0.1), (1, "0.1")]
    trials = [trial(n, curve(0.9, 0.2)) for n in range(len(drawn))]
    for one, (nesterov, rate) in zip(trials, drawn, strict=True):
        one.params = {**one.params, "nesterov": nesterov, "rate": rate}
    write_study(tmp_path, RESNET, 64, trials, parameter_configs=configs)
    study = archive.read_study(archive.find_folders(tmp_path)[0])
    assert [(t.params["nesterov"], t.params["rate"]) for t in study.trials] == [(True, "0.1")] * 4


def test_a_goal_on_what_was_not_measured_is_said(storage: Storage, tmp_path: Path) -> None:
    write_study(tmp_path, RESNET, 64, FIVE)
    (result,) = imported(storage, tmp_path, "*=average_precision>0.5")
    assert result.error is not None
    assert "the validation average precision, which was not measured" in result.error


def test_a_goal_that_takes_no_training_is_refused(storage: Storage, tmp_path: Path) -> None:
    write_study(tmp_path, RESNET, 64, FIVE)
    (result,) = imported(storage, tmp_path, "*=error rate<0.95")
    assert result.error is not None
    assert "validation error rate < 0.95 holds before any training" in result.error


def test_a_workload_without_a_known_goal_asks_for_one(storage: Storage, tmp_path: Path) -> None:
    write_study(tmp_path, "wine/mlp/sgd", 64, FIVE)
    (result,) = imported(storage, tmp_path)
    assert result.error is not None
    assert "no goal is known for wine/mlp/sgd" in result.error


def test_a_folder_that_holds_no_archive_is_refused(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        archive.find_folders(tmp_path / "none")
    with pytest.raises(UsageError, match=r"holds no study\.json"):
        archive.find_folders(tmp_path)
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(DataError, match="its folder must be WORKLOAD/BATCH_SIZE"):
        archive.find_folders(tmp_path)


def test_some_workloads_are_chosen_by_a_glob(storage: Storage, tmp_path: Path) -> None:
    write_study(tmp_path, RESNET, 64, FIVE)
    write_study(tmp_path, "mnist/fc_1024/sgd", 8, FIVE)
    chosen = archive.find_folders(tmp_path, "imagenet/*")
    assert [folder.workload for folder in chosen] == [RESNET]
    with pytest.raises(UsageError, match=f"matches none of {RESNET}, mnist/fc_1024/sgd"):
        archive.find_folders(tmp_path, "cifar*")


@pytest.mark.parametrize("place", [".", "imagenet", "imagenet/resnet_50"])
@pytest.mark.parametrize("link", [".", "..", "itself"])
def test_a_folder_that_is_in_itself_by_a_link_is_refused(
    tmp_path: Path, place: str, link: str
) -> None:
    root = tmp_path / "archive"
    write_study(root, RESNET, 64, FIVE)
    (root / place / "itself").symlink_to(link)
    with pytest.raises(DataError, match=r"itself|is a link to a folder that it is in") as refused:
        archive.find_folders(root)
    assert "\n" not in str(refused.value)
