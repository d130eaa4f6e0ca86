"""Seconds per step that were measured elsewhere become timings of a workload that is there."""

import json
from pathlib import Path

import pytest

from batchfront.advice.advise import load_advice
from batchfront.advice.timings import Timing, keep_timings, load_timings
from batchfront.errors import UsageError
from batchfront.exchange.points import import_points
from batchfront.exchange.points_file import read_points
from batchfront.exchange.timings_file import Taken, import_timings, read_timings
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.url import Storage
from batchfront.vocabulary import TimedPart
from tests.toy import SPEC, clouds

FILE = """\
workload,device,devices,batch_size,seconds_per_step,examples_per_second,precision,accumulation
net/π/sgd,TPU v9,8,256,0.5,,fp4,2
net/π/sgd,TPU v9,8,512,,1e3,,

other/net/sgd,cpu,1,64,2,,,
"""


def written(folder: Path, text: str, name: str = "timings.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def imported(storage: Storage, file: Path, *, replace: bool = False) -> list[Taken]:
    return import_timings(storage, read_timings(file), replace_changed=replace)


@pytest.fixture
def curves(storage: Storage, tmp_path: Path) -> Storage:
    """Two curves that were measured elsewhere too, whose code is nowhere."""
    rows = "".join(f"{name},8,30\n" for name in ("net/π/sgd", "other/net/sgd"))
    file = written(tmp_path, "workload,batch_size,steps\n" + rows, "points.csv")
    import_points(storage, read_points(file))
    return storage


def of(storage: Storage, workload: str = "net/π/sgd") -> dict[tuple[str, int], Timing]:
    return {(one.precision, one.examples): one for one in load_timings(storage, workload)}


@pytest.mark.every_storage
def test_a_row_is_the_timing_of_a_whole_step_of_all_devices(
    curves: Storage, tmp_path: Path
) -> None:
    assert imported(curves, written(tmp_path, FILE)) == [
        Taken("net/π/sgd", 2, 0, 0),
        Taken("other/net/sgd", 1, 0, 0),
    ]
    found = of(curves)
    assert found.keys() == {("fp4", 256), ("fp4", 512)}
    assert of(curves, "other/net/sgd").keys() == {("float32", 64)}
    first, second = found["fp4", 256], found["fp4", 512]
    assert (first.part, first.device, first.devices) == (TimedPart.STEP, "TPU v9", 8)
    assert (first.seconds, second.seconds) == (0.5, 0.512)
    assert first.versions == {"source": "imported", "accumulation": "2"}
    assert second.versions == {"source": "imported"}
    assert first.imported


def test_without_a_precision_it_is_that_of_the_search(storage: Storage, tmp_path: Path) -> None:
    plan(storage, SPEC, clouds(), SearchOptions(trials=1, precision="bfloat16"))
    head = "workload,device,devices,batch_size,seconds_per_step\n"
    imported(storage, written(tmp_path, f"{head}clouds/mlp/momentum,TPU,1,8,1\n"))
    assert [t.precision for t in load_timings(storage, "clouds/mlp/momentum")] == ["bfloat16"]


def test_the_same_again_changes_nothing(curves: Storage, tmp_path: Path) -> None:
    file = written(tmp_path, FILE)
    imported(curves, file)
    before = of(curves)
    assert [(t.new, t.replaced, t.unchanged) for t in imported(curves, file)] == [
        (0, 0, 2),
        (0, 0, 1),
    ]
    assert of(curves) == before


@pytest.mark.every_storage
def test_other_numbers_are_refused_unless_they_are_to_replace(
    curves: Storage, tmp_path: Path
) -> None:
    imported(curves, written(tmp_path, FILE))
    changed = written(tmp_path, FILE.replace("0.5", "0.6").replace("64,2", "128,2"))
    says = (
        r"timings\.csv, line 2: net/π/sgd on 8 × TPU v9 in fp4, batch size 256, has 0\.5 seconds a "
        r"step, in 2 micro-batches in the database, here 0\.6 seconds a step, in 2 micro-batches; "
    )
    with pytest.raises(UsageError, match=says):
        imported(curves, changed)
    assert of(curves)["fp4", 256].seconds == 0.5
    assert len(of(curves, "other/net/sgd")) == 1
    assert imported(curves, changed, replace=True) == [
        Taken("net/π/sgd", 0, 1, 1),
        Taken("other/net/sgd", 1, 0, 0),
    ]
    assert of(curves)["fp4", 256].seconds == 0.6


def test_what_was_measured_here_is_not_taken_for_the_same(curves: Storage, tmp_path: Path) -> None:
    here = Timing("net/π/sgd", "fp4", "TPU v9", 8, TimedPart.STEP, 256, 0.5, 0.4, 0.6, 20)
    keep_timings(curves, [here])
    with pytest.raises(UsageError, match="seconds a step, measured here in the database"):
        imported(curves, written(tmp_path, FILE))


def test_of_another_number_of_micro_batches_it_is_another(curves: Storage, tmp_path: Path) -> None:
    imported(curves, written(tmp_path, FILE))
    with pytest.raises(UsageError, match="in 2 micro-batches in the database, here "):
        imported(curves, written(tmp_path, FILE.replace("fp4,2", "fp4,4")))


def test_a_curve_from_elsewhere_is_of_one_precision(curves: Storage, tmp_path: Path) -> None:
    imported(curves, written(tmp_path, FILE))
    more = FILE.splitlines()[0] + "\nnet/π/sgd,TPU v9,1,64,1,,{},\n"
    says = (
        r"line 2: net/π/sgd has timings in fp4, here in bf16; its steps were measured elsewhere, in"
    )
    with pytest.raises(UsageError, match=says):
        imported(curves, written(tmp_path, more.format("bf16")))
    imported(curves, written(tmp_path, more.format("")))
    assert {precision for precision, _ in of(curves)} == {"fp4"}


@pytest.mark.parametrize("precision", ["", "fp4"])
def test_a_second_one_of_the_same_is_refused(
    curves: Storage, tmp_path: Path, precision: str
) -> None:
    file = written(tmp_path, f"{FILE}net/π/sgd,TPU v9,8,512,0.3,,{precision},\n")
    says = "line 6: net/π/sgd on 8 × TPU v9 in fp4, batch size 512, is there already, in "
    with pytest.raises(UsageError, match=says):
        imported(curves, file)
    assert of(curves) == {}


@pytest.mark.every_storage
def test_timings_of_a_workload_that_is_not_there_are_refused(
    curves: Storage, tmp_path: Path
) -> None:
    file = written(tmp_path, FILE.replace("other/net", "mistyped"))
    says = r"line 5: no studies of 'mistyped/sgd' in .*; there are: net/π/sgd, other/net/sgd\. Plan"
    with pytest.raises(UsageError, match=says):
        imported(curves, file)
    assert of(curves) == {}


def test_a_json_list_says_the_same_as_a_csv(curves: Storage, tmp_path: Path) -> None:
    row = {"workload": "net/π/sgd", "device": "TPU v9", "devices": 8, "batch_size": 256}
    more = {"seconds_per_step": 0.5, "precision": "fp4", "accumulation": 2}
    rows = [{**row, **more}, {**row, "batch_size": 512, "examples_per_second": 1000}]
    imported(curves, written(tmp_path, json.dumps(rows), "timings.json"))
    first, _ = imported(curves, written(tmp_path, FILE))
    assert first == Taken("net/π/sgd", 0, 0, 2)


HEAD = "workload,device,devices,batch_size,seconds_per_step\n"
SPEED = "workload,device,devices,batch_size,examples_per_second\n"

BAD = {
    "no time column": ("workload,device,devices,batch_size\na,cpu,1,8\n", "a column of seconds_pe"),
    "no devices": ("workload,device,batch_size,seconds_per_step\na,cpu,8,1\n", "lacks the column "),
    "unknown column": (HEAD.replace("step", "epoch") + "a,cpu,1,8,1\n", "unknown column 'seconds_"),
    "no device": (HEAD + "a,,1,8,1\n", "line 2: device is empty"),
    "no workload": (HEAD + ",cpu,1,8,1\n", "line 2: workload '': write a name"),
    "neither": (HEAD + "a,cpu,1,8,\n", "line 2: has neither of both; state seconds_per_step, or"),
    "both": (
        HEAD.replace("\n", ",examples_per_second\n") + "a,cpu,1,8,2,4\n",
        "line 2: has seconds_per_step 2 and examples_per_second 4; state",
    ),
    "zero": (HEAD + "a,cpu,1,8,0\n", "seconds_per_step '0' must be a number above 0"),
    "negative": (HEAD + "a,cpu,1,8,-1\n", "seconds_per_step '-1' must be a number above 0"),
    "not a number": (HEAD + "a,cpu,1,8,nan\n", "seconds_per_step 'nan' must be a number above 0"),
    "infinite": (SPEED + "a,cpu,1,8,inf\n", "examples_per_second 'inf' must be a number above 0"),
    "thousands": (SPEED + 'a,cpu,1,8,"1,000"\n', "without separators of thousands"),
    "huge": (HEAD + "a,cpu,1,8,1e9\n", "1e9 is 1e+09 seconds a step; one takes 1e-09 to 1e+07"),
    "tiny": (SPEED + "a,cpu,1,8,1e11\n", "examples_per_second 1e11 is 8e-11 seconds a step; one"),
    "an endless exponent": (HEAD + "a,cpu,1,8,1e99999999\n", "must be a number above 0"),
    "no such number of devices": (HEAD + "a,cpu,0,8,1\n", "devices '0' must be a whole number, 1"),
    "half a device": (HEAD + "a,cpu,1.5,8,1\n", "devices '1.5' must be a whole number"),
    "a huge batch": (
        HEAD + "a,cpu,1,9e9,1\n",
        "batch_size '9e9' must be a whole number, from 1 ",
    ),
    "a device's own batch": (
        HEAD + "a,cpu,16,8,1\n",
        "batch_size 8 is that of all devices together, and can't be shared by 16 devices: it must",
    ),
    "too many micro-batches": (
        HEAD.replace("\n", ",accumulation\n") + "a,cpu,2,8,1,3\n",
        "can't be shared by 2 devices in 3 micro-batches: it must be a multiple of 6",
    ),
    "a long device": (
        HEAD + f"a,{'d' * 129},1,8,1\n",
        "has 129 characters; a name has 128 at",
    ),
    "a long precision": (
        HEAD.replace("\n", ",precision\n") + f"a,cpu,1,8,1,{'p' * 17}\n",
        "has 17 characters; a name has 16 at most",
    ),
    "nothing": (HEAD, "holds no timing"),
}


@pytest.mark.parametrize(("text", "says"), BAD.values(), ids=BAD)
def test_what_cannot_be_meant_is_refused_with_its_line(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(UsageError) as refused:
        read_timings(written(tmp_path, text))
    assert str(refused.value).startswith(f"{tmp_path}/timings.csv")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_they_give_an_advice_on_an_imported_curve_whose_code_is_nowhere(
    storage: Storage, tmp_path: Path
) -> None:
    steps = "".join(f"net/sgd,{2**n},{64_000 // 2**n + 500}\n" for n in range(5, 11))
    file = written(tmp_path, "workload,batch_size,steps\n" + steps, "points.csv")
    import_points(storage, read_points(file))
    with pytest.raises(UsageError, match="no step was timed; `batchfront import timings FILE"):
        load_advice(storage, "net/sgd")
    head = "workload,device,devices,batch_size,examples_per_second,precision\n"
    rows = "".join(f"net/sgd,TPU v9,{n},{128 * n},{800 * n},fp4\n" for n in (1, 2, 4))
    imported(storage, written(tmp_path, head + rows))
    advice = load_advice(storage, "net/sgd")
    assert (advice.device, [one.devices for one in advice.choices]) == ("TPU v9", [1, 2, 4])
    assert advice.fastest is not None
    assert advice.fastest.devices == 4
