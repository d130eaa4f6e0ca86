"""MLPerf's reference convergence points become measurements, in steps, or are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from batchfront.errors import DataError, UsageError
from batchfront.exchange.mlperf import find_benchmarks, parse_unit, read_benchmark


def entry(batch_size: int, amounts: list[Any], **others: Any) -> dict[str, Any]:
    """An entry of a file, as the repository writes it."""
    return {
        "Benchmark": "any",
        "Creator": "NVIDIA",
        "When": "Reference RCPs before 4.0 submission",
        "Platform": "8 nodes",
        "BS": batch_size,
        "Hyperparams": {"opt_base_learning_rate": 0.1, "opt_betas": [0.9, 0.999], "opt_eps": None},
        "Epochs to converge": amounts,
        **others,
    }


def write(
    folder: Path, name: str, *entries: dict[str, Any], round_: str = "training_4.0.0"
) -> Path:
    """A file of a round. Returns the folder of all rounds."""
    (folder / round_).mkdir(parents=True, exist_ok=True)
    said = {f"{name}_ref_{place}": one for place, one in enumerate(entries)}
    (folder / round_ / f"rcps_{name}.json").write_text(json.dumps(said))
    return folder


def steps(folder: Path, *units: str) -> list[float | None]:
    """Of all runs of the one benchmark in the folder."""
    (found,) = find_benchmarks(folder, None)
    return [run.steps for run in read_benchmark(found, dict(map(parse_unit, units)))]


@pytest.mark.parametrize(
    ("name", "round_", "amounts", "batch_size", "expected"),
    [
        ("bert", "training_4.0.0", [25600, 25601], 256, [100, 101]),
        ("resnet", "training_4.0.0", [33], 1632, [25906]),  # 33 · 1,281,167 / 1632 = 25,905.95
        ("gpt3", "training_4.0.0", [1157627904], 1536, [368]),  # of 2,048 tokens each
        ("unet3d", "training_3.0.0", [1280], 2, [107520]),  # epochs of 168
        ("unet3d", "training_3.1.0", [215040], 2, [107520]),  # the same, in samples
        ("ssd", "training_1.1.0", [64], 2048, [3665]),  # COCO
        ("ssd", "training_2.0.0", [4], 256, [18286]),  # Open Images
        ("dlrm_dcnv2", "training_4.0.0", [0.75], 65536, [48011]),
    ],
)
def test_each_benchmark_is_counted_in_what_its_round_counts(
    tmp_path: Path, name: str, round_: str, amounts: list[Any], batch_size: int, expected: list[int]
) -> None:
    assert steps(write(tmp_path, name, entry(batch_size, amounts), round_=round_)) == expected


def test_samples_that_are_called_samples_need_no_unit(tmp_path: Path) -> None:
    said = entry(8, [])
    said["samples to converge"] = [2688, 3840]
    del said["Epochs to converge"]
    assert steps(write(tmp_path, "never_heard_of", said)) == [336, 480]


def test_an_unknown_benchmark_is_refused_until_its_unit_is_said(tmp_path: Path) -> None:
    folder = write(tmp_path, "rnnt", entry(1000, [40]))
    with pytest.raises(DataError, match="isn't known here; say it by --unit rnnt=samples"):
        steps(folder)
    assert steps(folder, "rnnt=epochs:2000") == [80]


@pytest.mark.parametrize(
    ("name", "amounts", "says"),
    [
        ("resnet", [215040], "215040 epochs at batch size 256 can't be meant"),
        ("bert", [33], "33 samples at batch size 256 can't be meant"),
        ("bert", [0], "0 must be a number above 0"),
        ("bert", ["many"], "'many' must be a number above 0"),
        ("bert", [float("nan")], "nan must be a number above 0"),
        ("bert", [True], "True must be a number above 0"),
        ("bert", [], 'needs "Epochs to converge"'),
    ],
)
def test_a_number_that_can_not_be_of_its_unit_is_refused(
    tmp_path: Path, name: str, amounts: list[Any], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        steps(write(tmp_path, name, entry(256, amounts)))


def test_two_entries_of_one_batch_size_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, "bert", entry(256, [25600]), entry(256, [51200]))
    with pytest.raises(DataError, match=r"batch size 256 is there already, in .*, bert_ref_0"):
        steps(folder)


def test_runs_are_numbered_and_keep_their_metaparameters(tmp_path: Path) -> None:
    (found,) = find_benchmarks(write(tmp_path, "bert", entry(256, [25600, 51200])), None)
    runs = read_benchmark(found, {})
    assert [run.seed for run in runs] == [0, 1]
    assert runs[0].params == {"opt_base_learning_rate": 0.1, "opt_betas": "[0.9, 0.999]"}
    assert runs[0].workload == "mlperf/bert/training_4.0.0"


def test_without_a_glob_the_newest_round_of_each_benchmark_is_taken(tmp_path: Path) -> None:
    for round_ in ("training_4.0.0", "training_10.0.0", "training_5.1.0"):
        write(tmp_path, "bert", entry(256, [25600]), round_=round_)
    write(tmp_path, "resnet", entry(1632, [33]), round_="training_3.0.0")
    names = [one.workload for one in find_benchmarks(tmp_path, None)]
    assert names == ["mlperf/bert/training_10.0.0", "mlperf/resnet/training_3.0.0"]
    older = find_benchmarks(tmp_path, "mlperf/bert/*")
    assert [one.version for one in older] == [(4, 0, 0), (5, 1, 0), (10, 0, 0)]
    (one_round,) = find_benchmarks(tmp_path / "training_3.0.0", None)
    assert one_round.workload == "mlperf/resnet/training_3.0.0"


def test_what_is_no_such_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        find_benchmarks(tmp_path / "none", None)
    with pytest.raises(UsageError, match=r"has no rcps_\*\.json in it"):
        find_benchmarks(tmp_path, None)
    write(tmp_path, "bert", entry(256, [25600]))
    with pytest.raises(UsageError, match="matches none of mlperf/bert"):
        find_benchmarks(tmp_path, "resnet")
    (tmp_path / "rcps_bert.json").write_text("{}")
    with pytest.raises(UsageError, match="must lie in the folder of a round"):
        find_benchmarks(tmp_path, None)


@pytest.mark.parametrize("text", ["rnnt", "rnnt=", "rnnt=epochs", "rnnt=epochs:0", "=samples"])
def test_a_unit_is_written_one_way(text: str) -> None:
    with pytest.raises(UsageError, match="write BENCHMARK=samples"):
        parse_unit(text)


def intervals(folder: Path) -> list[tuple[float | None, float | None]]:
    """Within which each run of the one benchmark passed its target."""
    (found,) = find_benchmarks(folder, None)
    return [(run.steps_lower, run.steps) for run in read_benchmark(found, {})]


def test_runs_end_multiples_of_their_evaluations_spacing_apart(tmp_path: Path) -> None:
    write(tmp_path, "bert", entry(100, [1000, 1600, 1900]), entry(1000, [30000, 30000]))
    assert intervals(tmp_path) == [(7, 10), (13, 16), (16, 19), (None, 30), (None, 30)]


def test_of_epochs_another_batch_size_tells_the_spacing(tmp_path: Path) -> None:
    write(tmp_path, "unet3d", entry(168, [1000, 1020]), entry(84, [500, 500]), round_="hpc_1.0.0")
    assert intervals(tmp_path) == [(980, 1000), (1000, 1020), (960, 1000), (960, 1000)]
