"""`batchfront import` and `batchfront export`, as a user runs them."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.batchfront.cli.conftest import Result
from tests.batchfront.cli.test_bad_input import refused
from tests.batchfront.exchange.generated_archive import COLUMNS, random_trials, trial, write_study
from tests.batchfront.exchange.test_mlperf import entry
from tests.batchfront.exchange.test_mlperf import write as write_points

Run = Callable[..., Result]

RESNET = "imagenet/resnet_50/nesterov_momentum"


def archive(folder: Path) -> str:
    """An archive of one workload at three batch sizes."""
    root = folder / "batch_science"
    for k, batch_size in enumerate((64, 128, 256)):
        write_study(root, RESNET, batch_size, random_trials(k, 30, list(COLUMNS)))
    return str(root)


def test_the_archive_is_imported_and_every_command_works_on_it(
    batchfront: Run, folder: Path
) -> None:
    root = archive(folder)
    result = batchfront("import", "batch-science", root)
    assert (result.code, result.err) == (0, "")
    assert f"{RESNET}: 3 studies, 3 of them new with 90 trials and" in result.out
    assert "goal: validation error rate < 0.25 (the paper)" in result.out
    shown = json.loads(batchfront("frontier", RESNET, "--format", "json").out)
    assert [point["batch_size"] for point in shown["points"]] == [64, 128, 256]
    assert batchfront("frontier", RESNET, "--first", "20").code == 0
    assert batchfront("status").code == 0
    assert batchfront("report").code == 0
    again = batchfront("import", "batch-science", root)
    assert f"{RESNET}: 3 studies, 0 of them new with 0 trials" in again.out


def test_too_few_complete_trials_are_refused_with_the_study(batchfront: Run, folder: Path) -> None:
    batchfront("import", "batch-science", archive(folder))
    result = batchfront("frontier", RESNET, "--first", "100")
    refused(result, f"study {RESNET}/b64 has", "complete trials, not the 100 asked for")


def test_a_damaged_study_is_named_and_the_others_are_imported(
    batchfront: Run, folder: Path
) -> None:
    root = archive(folder)
    file = next((Path(root) / RESNET / "128").glob("*/metadata.json"))
    file.write_text("{")
    result = batchfront("import", "batch-science", root)
    assert result.code == 1
    assert result.err.startswith(f"batchfront: not imported: {file}: Expecting")
    assert len(result.err.splitlines()) == 1
    assert f"{RESNET}: 2 studies, 2 of them new" in result.out


def test_an_imported_workload_can_be_run_no_further(batchfront: Run, folder: Path) -> None:
    write_study(folder / "batch_science", "digits/mlp/momentum", 64, [trial(1, [])])
    metadata = folder / "batch_science/digits/mlp/momentum/64/1/metadata.json"
    metadata.write_text(metadata.read_text().replace('"COMPLETE"', '"INFEASIBLE"'))
    goal = ("--goal", "digits/*=error rate<0.1")
    assert batchfront("import", "batch-science", "batch_science", *goal).code == 0
    for command in ("plan", "work", "launch debug"):
        result = batchfront(*command.split(), "digits/mlp/momentum")
        refused(result, "study digits/mlp/momentum/b64 was imported", "there is no code here")


def test_a_goal_that_cannot_be_read_is_refused(batchfront: Run, folder: Path) -> None:
    root = archive(folder)
    for goal, says in (
        ("error rate<0.1", "write WORKLOAD=METRIC<VALUE"),
        ("mnist/*=0.1", "'0.1' is no goal; write METRIC<VALUE"),
        ("mnist/*=error rate<low", "is no goal"),
        ("mnist/*=test/error rate<0.1", "a goal is of the validation split, not of 'test'"),
    ):
        refused(batchfront("import", "batch-science", root, "--goal", goal), says)
    refused(batchfront("import", "batch-science", "none"), "no such folder")
    refused(batchfront("import", "batch-science", root, "--workloads", "x"), "matches none of")
    assert not (folder / "batchfront.db").exists()


def test_points_are_imported_and_shown(batchfront: Run, folder: Path) -> None:
    (folder / "points.csv").write_text(
        "workload,batch_size,seed,epochs\na/b/c,8,0,2\na/b/c,8,1,4\na/b/c,8,2,3\na/b/c,16,0,\n"
    )
    refused(batchfront("import", "points", "points.csv"), "line 2: epochs need train_examples")
    asked = ("import", "points", "points.csv", "--train-examples", "800")
    assert batchfront(*asked).out == (
        "a/b/c: 2 batch sizes, 4 measurements new, 0 replaced, 0 unchanged\n"
    )
    shown = batchfront("frontier", "a/b/c")
    assert "a goal that was not stated" in shown.out
    assert "300" in shown.out
    assert batchfront("frontier", "a/b/c", "--first", "9").code == 0  # seeds are no trials
    assert batchfront("report").code == 0
    (folder / "points.csv").write_text("workload,batch_size,seed,steps\na/b/c,8,0,150\n")
    refused(batchfront("import", "points", "points.csv"), "line 2", "200 steps", "here 150 steps")
    assert "1 replaced" in batchfront("import", "points", "points.csv", "--replace").out


def test_an_export_is_imported_into_another_database(batchfront: Run, folder: Path) -> None:
    batchfront("import", "batch-science", archive(folder))
    for format_ in ("parquet", "csv"):
        result = batchfront("export", "--output", format_, "--format", format_)
        assert result.out.startswith(f"{format_}: 3 studies, 90 trials, ")
        assert result.err == ""
        other = ("--storage", f"sqlite:///{format_}.db")
        assert batchfront("import", "export", format_, *other).out == "3 studies, 3 of them new\n"
        same = batchfront("import", "export", format_, *other).out
        assert same == "3 studies, 0 of them new\n"
        ours = batchfront("frontier", RESNET, "--format", "csv").out
        assert batchfront("frontier", RESNET, "--format", "csv", *other).out == ours


def test_what_cannot_be_exported_or_imported_is_refused(batchfront: Run, folder: Path) -> None:
    batchfront("import", "batch-science", archive(folder))
    refused(batchfront("export", "x/y/z", "--output", "out"), f"there are: {RESNET}")
    refused(batchfront("export"), "--output")
    refused(batchfront("import", "export", "batch_science"), "holds no whole export", code=1)


def test_mlperf_s_points_are_imported_and_make_a_curve(batchfront: Run, folder: Path) -> None:
    sizes = {256: [2560000, 2580000], 1024: [2700000, 2710000], 4096: [3400000, 3500000]}
    write_points(folder, "bert", *(entry(size, runs) for size, runs in sizes.items()))
    write_points(folder, "unknown", entry(8, [40]))
    result = batchfront("import", "mlperf", ".")
    assert result.code == 1
    assert result.out == (
        "mlperf/bert/training_4.0.0: 3 batch sizes, 6 measurements new, 0 replaced, 0 unchanged\n"
    )
    assert len(result.err.splitlines()) == 1
    assert "say it by --unit unknown=samples" in result.err
    shown = json.loads(batchfront("frontier", "mlperf/bert/training_4.0.0", "--format", "json").out)
    assert [point["steps"] for point in shown["points"]] == [10039.5, 2642, 843]
    assert batchfront("curve", "mlperf/bert/training_4.0.0").code == 0
    only = batchfront("import", "mlperf", ".", "--workloads", "mlperf/bert/*")
    assert only.code == 0
    assert "0 measurements new, 0 replaced, 6 unchanged" in only.out
