"""What to train on: the answer first, the recipe last, and every bad input in a line."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchfront.advice.timings import Timing, keep_timings
from batchfront.frontier.frontier import load_frontier
from batchfront.frontier.recipe import curve_recipe
from batchfront.store.url import open_storage
from batchfront.vocabulary import TimedPart
from tests.batchfront.cli.conftest import Result
from tests.batchfront.cli.test_advice import advised as commands
from tests.batchfront.cli.test_advice import words
from tests.batchfront.cli.test_bad_input import refused
from tests.batchfront.frontier.test_recipe import with_lucky_winners
from tests.searches import NAME, end, planned, reached

Run = Callable[..., Result]
Write = Callable[..., str]

URL = "sqlite:///batchfront.db"
PRICED = ("--price", "2.5")


def timings(device: str = "NVIDIA H200") -> list[Timing]:
    """What steps take that are 0.4 s and 0.05 s for each example on a device, and 0.1 s more on
    two."""

    def one(part: TimedPart, examples: int, seconds: float, devices: int = 1) -> Timing:
        ends = (0.98 * seconds, 1.02 * seconds, 30)
        return Timing(NAME, "float32", device, devices, part, examples, seconds, *ends)

    parts = [one(TimedPart.PASS, size, 0.3 + 0.05 * size) for size in (1, 4, 16, 32)]
    parts += [one(TimedPart.UPDATE, 0, 0.1), one(TimedPart.EVALUATION, 80, 2.0)]
    parts += [one(TimedPart.LOADING, size, 0.001) for size in (1, 32)]
    parts += [one(TimedPart.ALL_REDUCE, 0, 0.1, 2)]
    parts += [one(TimedPart.STEP, size, 0.4 + 0.05 * size) for size in (2, 8, 32)]
    return parts + [one(TimedPart.STEP, size, 0.5 + 0.025 * size, 2) for size in (2, 8, 32)]


@pytest.fixture(scope="module")
def made(made_database: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database of searches with timings."""
    file = tmp_path_factory.mktemp("advise") / "x.db"
    file.write_bytes(made_database.read_bytes())
    storage = open_storage(f"sqlite:///{file}")
    with_lucky_winners(storage)
    keep_timings(storage, timings())
    storage.close()
    return file.read_bytes()


@pytest.fixture
def searched(made: bytes, folder: Path) -> str:
    (folder / "batchfront.db").write_bytes(made)
    return NAME


def advised(batchfront: Run, *options: str) -> Any:
    """The advice as JSON."""
    shown = batchfront("advise", NAME, "--format", "json", *options)
    assert shown.code == 0, shown.err
    return json.loads(shown.out)


def test_the_answer_comes_first_and_the_exact_recipe_last(searched: str, batchfront: Run) -> None:
    shown = batchfront("advise", searched, *PRICED)
    assert shown.code == 0, shown.err
    plain = advised(batchfront, *PRICED)
    lines = shown.out.strip().splitlines()
    assert lines[0] == f"{NAME}: hours and money, validation error rate < 0.1"
    assert lines[2] == plain["answer"]
    chosen = plain[plain["recommended"]]
    layout = chosen["layout"]
    at_once = f"{layout['micro_batch']} examples at once x {layout['accumulation']} accumulated"
    (batch,) = (line for line in lines if line.startswith("batch  "))
    assert batch.split("  ")[-1].strip() == f"{chosen['batch_size']} = 1 device x {at_once}"
    last = shown.out[shown.out.index("How to train with batch size") :]
    recipe = curve_recipe(load_frontier(URL, NAME), chosen["batch_size"])
    for name, value in recipe.metaparameters.items():
        assert any(line.split() == [name, repr(value)] for line in last.splitlines()), name
    assert "How this was derived" in last


def test_hours_and_cost_are_of_the_steps_and_what_each_takes(
    searched: str, batchfront: Run
) -> None:
    plain = advised(batchfront, *PRICED)
    assert [choice["devices"] for choice in plain["choices"]] == [1, 2]
    for choice in plain["choices"]:
        training = choice["steps"]["median"] * choice["seconds_per_step"]["median"] / 3600
        hours = choice["hours"]
        assert hours["median"] == pytest.approx(training + choice["evaluation_hours"])
        assert hours["low"] < hours["median"] < hours["high"]
        assert choice["cost"]["median"] == pytest.approx(hours["median"] * choice["devices"] * 2.5)
        layout = choice["layout"]
        shared = layout["devices"] * layout["micro_batch"] * layout["accumulation"]
        assert shared == choice["batch_size"]
    assert plain["fastest"] == plain["choices"][1]


def test_each_choice_has_its_recipe_of_the_trials_that_the_curve_goes_through(
    searched: str, batchfront: Run
) -> None:
    frontier = load_frontier(URL, NAME)
    recommended = {one.batch_size: one.trial for one in frontier.expected.points}
    plain = advised(batchfront, "--devices", "1,2,3")
    for choice in plain["choices"]:
        recipe = curve_recipe(frontier, choice["batch_size"])
        assert choice["recipe"]["metaparameters"] == recipe.metaparameters
        trials = {one["batch_size"]: one["trial"] for one in choice["recipe"]["from"]}
        assert trials == {size: recommended[size] for size in trials}
        assert "steps" not in choice["recipe"]  # of which the choice has its own
    derived = {choice["batch_size"] % 3: choice["recipe"]["derived"] for choice in plain["choices"]}
    assert derived[0] == "interpolated"  # three devices share no power of two


def test_csv_has_a_row_for_each_number_of_devices_also_for_those_left_out(
    searched: str, batchfront: Run
) -> None:
    options = ("--devices", "1..8", *PRICED)
    shown = batchfront("advise", searched, *options, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(shown.out)))
    assert [row["devices"] for row in rows] == ["1", "2", "4", "8"]
    plain = advised(batchfront, *options)
    for row, choice in zip(rows, plain["choices"], strict=False):
        for name in ("steps", "seconds_per_step", "hours", "device_hours", "cost"):
            ends = [float(row[f"{name}{end}"]) for end in ("", "_low", "_high")]
            assert ends == [choice[name][end] for end in ("median", "low", "high")]
        values = choice["recipe"]["metaparameters"]
        assert float(row["param:learning_rate"]) == values["learning_rate"]
    assert {name for row in rows for name in row["answers"].split()} == {
        "fastest",
        "cheapest",
        "knee",
    }
    assert [row["recommended"] for row in rows].count("True") == 1
    assert "2 devices at most were timed together" in rows[-1]["left_out"]
    assert rows[-1]["hours"] == ""


def test_a_deadline_and_a_budget_are_kept_or_what_comes_closest_is_said(
    searched: str, batchfront: Run
) -> None:
    free = advised(batchfront, *PRICED)
    (slow, fast) = (choice["hours"] for choice in free["choices"])
    assert fast["high"] < slow["high"]
    seconds = round(3600 * (fast["high"] + slow["high"]) / 2)
    soon = advised(batchfront, *PRICED, "--deadline", f"{seconds}s")
    assert (soon["recommended"], soon["by_deadline"]["devices"]) == ("by_deadline", 2)
    assert "the cheapest to keep the deadline of" in soon["answer"]
    money = free["choices"][0]["cost"]["high"] * 1.001
    cheap = advised(batchfront, *PRICED, "--budget", str(money))
    assert (cheap["recommended"], cheap["within_budget"]["devices"]) == ("within_budget", 1)
    never = advised(batchfront, *PRICED, "--deadline", "1s")
    assert never["answer"].startswith("Nothing keeps the deadline of 1s: ")
    assert (never["recommended"], never["by_deadline"]) == ("fastest", None)
    shown = batchfront("advise", searched, *PRICED, "--deadline", "1s").out
    assert f"by the deadline: none, as {never['why_not']['by_deadline']}." in shown


MACHINES = """
[[machine]]
name = "eight"
devices = 8
price = 2.0
bandwidth_within = 450e9
latency_within = 5e-6
bandwidth_between = 50e9
latency_between = 20e-6

[[machine]]
name = "one"
devices = 1
price = 3.0
"""


def test_machines_are_compared_and_several_of_them_are_launched_as_such(
    searched: str, batchfront: Run, folder: Path
) -> None:
    (folder / "machines.toml").write_text(MACHINES)
    options = ("--machines", "machines.toml", "--devices", "1,16")
    plain = advised(batchfront, *options)
    places = [(choice["machine"], choice["nodes"]) for choice in plain["choices"]]
    assert places == [("eight", 1), ("eight", 2), ("one", 1)]
    assert [one["machine"] for one in plain["left_out"]] == ["one"]
    shown = batchfront("advise", searched, *options, "--deadline", "5m").out
    assert "16 devices (2 x eight)" in shown
    assert "torchrun --nnodes 2 --nproc-per-node 8" in shown
    assert "computed from the given bandwidth and latency" in shown


def test_without_a_price_device_hours_are_compared(searched: str, batchfront: Run) -> None:
    shown = batchfront("advise", searched).out
    assert "cheapest: the least device-hours." in shown
    assert "cost" not in shown.split("How to train")[0].replace("costs more", "")
    assert all(choice["cost"] is None for choice in advised(batchfront)["choices"])


def test_variables_that_other_commands_read_name_no_kind_of_device(
    searched: str, batchfront: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHFRONT_DEVICE", "cuda:1")
    monkeypatch.setenv("BATCHFRONT_DEVICES", "7")
    assert [choice["devices"] for choice in advised(batchfront)["choices"]] == [1, 2]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--price", "-1"], ["--price -1", "must be at least 0"]),
        (["--budget", "5"], ["--budget 5", "needs a price"]),
        (["--budget", "0", *PRICED], ["--budget 0", "must be more than 0"]),
        (["--deadline", "0h"], ["--deadline 0s", "must be longer than 0"]),
        (["--deadline", "soon"], ["--deadline", "write 90s, 30m, 12h or 1d"]),
        (["--spot", "1.5"], ["--spot 1.5"]),
        (["--saves", "2", "--costs-more", "-1"], ["--saves 2", "--costs-more -1"]),
        (["--devices", "0"], ["--devices", "the smallest is 1"]),
        (["--devices", "16..64"], ["2 devices at most were timed", "nothing is known"]),
        (["--device", "cpu"], ["--device cpu", "was timed on NVIDIA H200"]),
        (["--machines", "none.toml"], ["none.toml"]),
        (["--machines", "unknown.toml"], ["unknown.toml", "cost", "latency_within"]),
        (["--machines", "negative.toml"], ["negative.toml", "price", "-3 is below 0"]),
        (["--machines", "other.toml"], ["NVIDIA B200", "was timed on NVIDIA H200"]),
    ],
    ids=lambda found: " ".join(found),
)
def test_what_cannot_be_is_refused_in_a_line(
    searched: str, batchfront: Run, folder: Path, options: list[str], says: list[str]
) -> None:
    machine = '[[machine]]\nname = "x"\ndevices = 8\n'
    (folder / "unknown.toml").write_text(f"{machine}cost = 3\n")
    (folder / "negative.toml").write_text(f"{machine}price = -3\n")
    (folder / "other.toml").write_text(f'{machine}device = "NVIDIA B200"\n')
    refused(batchfront("advise", searched, *options), *says)


def test_without_timings_it_says_which_commands_make_some(
    batchfront: Run, folder: Path, made_database: Path
) -> None:
    (folder / "batchfront.db").write_bytes(made_database.read_bytes())
    storage = open_storage(URL)
    planned(storage, trials=1)
    no_steps = f"{NAME}: no batch size has reached the goal"
    refused(batchfront("advise", NAME), no_steps)
    end(storage, f"{NAME}/b4", {0: reached(40)})
    refused(batchfront("advise", NAME), "no step was timed", f"`batchfront time {NAME}")
    storage.close()
    refused(batchfront("advise", "digits/mlp/none"), "no studies of 'digits/mlp/none'")


def test_a_curve_that_refuses_leaves_the_batch_sizes_that_were_measured(
    batchfront: Run, folder: Path, made_database: Path
) -> None:
    (folder / "batchfront.db").write_bytes(made_database.read_bytes())
    storage = open_storage(URL)
    planned(storage, trials=1, batch_sizes=(4, 16))
    for size, steps in ((4, 100), (16, 50)):
        end(storage, f"{NAME}/b{size}", {0: reached(steps)})
    keep_timings(storage, timings())
    storage.close()
    plain = advised(batchfront, "--devices", "1,2,3")
    assert {choice["batch_size"] for choice in plain["choices"]} <= {4, 16}
    assert [one["devices"] for one in plain["left_out"]] == [3]
    assert "No curve can be drawn" in batchfront("advise", NAME).out


POINTS = "".join(f"a/b/c,{size},{400 // size + 10},error<0.1\n" for size in (2, 4, 8, 16, 32))
TIMED = "".join(f"a/b/c,gpu,1,{size},{1 + size / 10}\n" for size in (2, 32))


def test_steps_and_seconds_from_elsewhere_have_an_answer_without_metaparameters(
    batchfront: Run, folder: Path
) -> None:
    (folder / "points.csv").write_text(f"workload,batch_size,steps,goal\n{POINTS}")
    header = "workload,device,devices,batch_size,seconds_per_step"
    (folder / "timings.csv").write_text(f"{header}\n{TIMED}")
    assert batchfront("init").code == 0
    for what in ("points", "timings"):
        brought = batchfront("import", what, f"{what}.csv")
        assert brought.code == 0, brought.err
    shown = batchfront("advise", "a/b/c")
    assert shown.code == 0, shown.err
    assert "Train on one gpu with batch size" in shown.out
    assert "There are no metaparameters to train with" in shown.out


@pytest.mark.slow
def test_a_search_that_ran_and_was_timed_here_is_advised_on(
    batchfront: Run, workload_file: Write
) -> None:
    spec = workload_file(("batch_sizes=(2, 8)", "batch_sizes=(2, 4, 8, 16)"))
    few = ("--trials", "4", "--seed", "3", "--workers", "1")
    assert batchfront("run", spec, *few).code == 0
    name = "blobs/linear/momentum"
    (time, _) = commands(batchfront("advise", name).err)
    timed = batchfront(*words(time))
    assert timed.code == 0, timed.err
    shown = batchfront("advise", name, *PRICED, "--format", "json")
    assert shown.code == 0, shown.err
    plain = json.loads(shown.out)
    assert plain["device"] == "cpu"
    (choice,) = plain["choices"]
    assert 0 < choice["hours"]["median"] < 0.1
    assert set(choice["recipe"]["metaparameters"]) == {"learning_rate", "momentum"}
