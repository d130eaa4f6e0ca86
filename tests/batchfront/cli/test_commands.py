"""What each command does and prints, on a workload of the user's own."""

import csv
import io
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects

from batchfront.cli import main as main_module
from tests.batchfront.cli.conftest import WORKLOAD, Result
from tests.waiting import LONG, eventually

Run = Callable[..., Result]
Write = Callable[..., str]
Start = Callable[..., "subprocess.Popen[str]"]

NAME = "blobs/linear/momentum"
SLOW = (  # so that there is time to interrupt it: labels nobody can learn, in a model that sleeps
    ("(inputs.sum(dim=1) > 0).long()", "torch.randint(0, 2, (96,), generator=generator)"),
    ("import torch\n", "import os\nimport time\n\nimport torch\n"),
    ("    return nn.Linear(4, 2)", "    return Slow()"),
    (
        "def model():",
        "class Slow(nn.Linear):\n"
        "    def __init__(self):\n"
        "        super().__init__(4, 2)\n\n"
        "    def forward(self, inputs):\n"
        "        time.sleep(float(os.environ.get('PAUSE', '0.001')))\n"
        "        return super().forward(inputs)\n\n\n"
        "def model():",
    ),
)


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of two batch sizes with four trials each, and what it said."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "my_workload.py").write_text(WORKLOAD)
    command = ["run", "./my_workload.py:my_workload", "--trials", "4", "--workers", "1"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "batchfront.cli.main", *command],
        cwd=folder,
        env={**os.environ, "BATCHFRONT_ENGINE": "sequential"},
        capture_output=True,
        text=True,
    )
    (folder / "result.json").write_text(json.dumps([done.returncode, done.stdout, done.stderr]))
    return folder


@pytest.fixture
def ran(first_run: Path, folder: Path) -> Result:
    """That run, as if it had been in this folder."""
    shutil.copytree(first_run, folder, dirs_exist_ok=True)
    return Result(*json.loads((folder / "result.json").read_text()))


def test_run_prints_the_frontier_and_writes_the_page(ran: Result, folder: Path) -> None:
    assert ran.code == 0, ran.err
    assert f"{NAME}: steps to target, validation error rate < 0.1" in ran.out
    assert "1 reached, 3 capped" in ran.out
    assert "No curve can be drawn through these points: 2 batch sizes reached" in ran.out
    assert NAME in (folder / "report.html").read_text()
    assert "blobs/linear/momentum/b8" in ran.err  # progress goes to standard error


def test_run_again_adds_nothing_and_says_the_same(
    ran: Result, batchfront: Run, workload_file: Write
) -> None:
    again = batchfront("run", workload_file(), "--workers", "1")
    assert again.code == 0
    assert again.out == ran.out


def test_a_profile_is_of_one_run_or_of_all_that_the_database_has_seen(
    ran: Result, batchfront: Run, workload_file: Write
) -> None:
    assert "Where the time" not in ran.err
    again = batchfront("run", workload_file(), "--workers", "1", "--profile")
    assert again.out == ran.out
    assert "Where the time of 1 worker went" in again.err.partition("Report: ")[2]
    told = json.loads(batchfront("status", "--profile", "--format", "json").out)["profile"]
    assert told["workers"] == 2
    assert told["seconds"]["training"] > 0  # of the first: the second found nothing to do
    assert 1 <= len(told["advice"]) <= 3
    assert told["advice"][0] in batchfront("status", "--profile").out


def test_an_engine_that_cannot_compute_the_workload_is_refused_before_anything_runs(
    batchfront: Run, workload_file: Write
) -> None:
    spec = workload_file(("nn.Linear(4, 2)", "nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))"))
    refused = batchfront("run", spec, "--trials", "4", "--workers", "1", "--engine", "vectorized")
    assert refused.code == 2
    said = f"batchfront: {NAME}: --engine vectorized can't compute it: it normalizes over batches"
    assert refused.err.splitlines()[-1].startswith(said)


def test_more_trials_and_batch_sizes_continue_what_is_there(
    ran: Result, batchfront: Run, workload_file: Write
) -> None:
    assert ran.code == 0
    planned = batchfront("plan", workload_file(), "--trials", "6", "--batch-sizes", "8..16")
    assert planned.out == f"{NAME}/b8: 6 trials, 2 new\n{NAME}/b16: 6 trials, 6 new\n"
    worked = batchfront("work", NAME, "--batch-sizes", "8")
    assert worked.code == 0
    outcomes = {p["batch_size"]: p["outcomes"] for p in _frontier(batchfront)["points"]}
    assert sum(outcomes[8].values()) == 6
    assert "open" not in outcomes[8]
    assert outcomes[16] == {"open": 6}


def test_the_frontier_as_json_holds_what_a_program_needs(ran: Result, batchfront: Run) -> None:
    assert ran.code == 0
    frontier = _frontier(batchfront)
    assert frontier["workload"] == NAME
    assert frontier["goal"] == {"metric": "error rate", "better": "lower", "value": 0.1}
    assert [point["batch_size"] for point in frontier["points"]] == [2, 8]
    for point in frontier["points"]:
        assert point["steps_lower"] < point["steps"]
        assert point["examples"] == point["steps"] * point["batch_size"]
        assert set(point["params"]) == {"learning_rate", "momentum"}
        assert sum(point["outcomes"].values()) == 4


def test_the_frontier_as_csv_says_the_same_as_json(ran: Result, batchfront: Run) -> None:
    assert ran.code == 0
    rows = list(csv.DictReader(io.StringIO(batchfront("frontier", NAME, "--format", "csv").out)))
    for row, point in zip(rows, _frontier(batchfront)["points"], strict=True):
        for field in ("batch_size", "steps", "steps_lower", "examples", "trial"):
            assert int(row[field]) == point[field]
        assert float(row["learning_rate"]) == point["params"]["learning_rate"]
        assert int(row["reached"]) == point["outcomes"]["reached"]


def test_optuna_reads_the_same_winner(ran: Result, batchfront: Run, folder: Path) -> None:
    assert ran.code == 0
    for point in _frontier(batchfront)["points"]:
        study = optuna.load_study(
            study_name=f"{NAME}/b{point['batch_size']}",
            storage=f"sqlite:///{folder / 'batchfront.db'}",
        )
        assert study.best_trial.number == point["trial"]
        assert study.best_trial.value == point["steps"]
        assert study.best_trial.params == point["params"]
        assert len(study.trials) == 4


def test_run_keeps_its_figure_for_a_plain_dashboard(ran: Result) -> None:
    assert ran.code == 0
    study = optuna.load_study(study_name=f"{NAME}/b8", storage="sqlite:///batchfront.db")
    stored = get_plotly_graph_objects(study._storage.get_study_system_attrs(study._study_id))
    assert NAME in stored["steps-to-target"]


def test_status_counts_slots_by_how_they_ended(ran: Result, batchfront: Run) -> None:
    assert ran.code == 0
    assert "1 reached, 3 capped" in batchfront("status").out
    studies = json.loads(batchfront("status", "--format", "json").out)["studies"]
    assert [(s["batch_size"], s["done"], s["total"]) for s in studies] == [(2, 4, 4), (8, 4, 4)]
    assert batchfront("status", "--watch").code == 0  # all done: it does not wait


def test_report_writes_a_page_of_what_is_asked_for(
    ran: Result, batchfront: Run, folder: Path
) -> None:
    assert ran.code == 0
    assert batchfront("report", NAME, "--output", "mine.html").code == 0
    assert NAME in (folder / "mine.html").read_text()
    assert batchfront("report", "not/there/sgd").code == 2


@pytest.mark.parametrize("how", [("--together", "1"), ("--together", "2")])
def test_an_adaptive_sampler_runs_to_its_end(
    batchfront: Run, workload_file: Write, how: tuple[str, ...]
) -> None:
    spec = workload_file()
    sizes = ("--trials", "5", "--batch-sizes", "8", "--workers", "1")
    result = batchfront("run", spec, *sizes, "--sampler", "tpe", *how, "--format", "json")
    (point,) = json.loads(result.out)["points"]
    assert sum(point["outcomes"].values()) == 5
    assert point["outcomes"]["reached"] >= 1
    assert "no-name" not in result.err  # which Optuna would say of the sampler's copy of a study


def test_a_goal_that_no_trial_reaches_ends_the_run_with_an_explanation(
    batchfront: Run, workload_file: Write
) -> None:
    spec = workload_file(("step_budget=200", "step_budget=1"), ("0.1)", "0.001)"))
    result = batchfront("run", spec, "--trials", "2", "--batch-sizes", "2", "--workers", "1")
    assert result.code == 1
    assert "no trial passed the goal, validation error rate < 0.001: 2 exhausted" in result.err


def test_the_catalog_is_listed_and_shown(batchfront: Run) -> None:
    listed = json.loads(batchfront("workloads", "--format", "json").out)
    names = [workload["name"] for workload in listed]
    assert "digits/mlp/momentum" in names
    assert "mnist/simple_cnn_base/nesterov_momentum" in names
    table = batchfront("workloads").out
    assert all(name in table for name in names)
    shown = batchfront("workloads", "show", "digits/mlp/momentum").out
    assert "validation error rate < 0.03" in shown
    assert "ReverseLog(0, 0.99)" in shown
    one = json.loads(batchfront("workloads", "show", "digits/mlp/adamw", "--format", "json").out)
    assert one == next(w for w in listed if w["name"] == "digits/mlp/adamw")


def test_every_command_explains_itself_with_an_example(batchfront: Run) -> None:
    overview = batchfront("--help").out
    for name in main_module._COMMANDS:
        assert f"  {name} " in overview
        assert f"batchfront {name}" in batchfront(name, "--help").out.split("Example")[1]


def test_ctrl_c_keeps_everything_and_the_same_command_continues(
    started: Start, batchfront: Run, workload_file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAUSE", "0.01")
    arguments = ["run", workload_file(*SLOW), "--trials", "6", "--workers", "2", "--format", "json"]
    process = started(*arguments)
    _wait_until(lambda: _trained(batchfront) > 100, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=LONG)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "The same command continues" in err
    status = json.loads(batchfront("status", "--format", "json").out)
    assert status["workers"] == []
    assert all(study["running"] == 0 for study in status["studies"])
    assert _trained(batchfront) > 100  # what was trained is kept
    monkeypatch.setenv("PAUSE", "0")
    assert batchfront(*arguments).code == 1  # done, and the goal not reached
    status = json.loads(batchfront("status", "--format", "json").out)
    assert all(study["done"] == study["total"] == 6 for study in status["studies"])


@pytest.mark.parametrize("limit", ["--max-steps 64", "--max-time 1s"])
def test_a_run_that_a_limit_stops_says_what_is_left_and_the_same_command_continues(
    batchfront: Run, workload_file: Write, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setenv("PAUSE", "0.03")
    arguments = ["run", workload_file(*SLOW), "--trials", "6", "--workers", "2"]
    stopped = batchfront(*arguments, *limit.split())
    assert stopped.code == 0, stopped.err
    left = "0 of 12 trials ran; all batch sizes have fewer. The same command continues."
    assert stopped.err.splitlines()[-1] == f"Stopped by {limit}: {left}"
    assert f"as {limit} stopped the last run" in Path("report.html").read_text()
    said = f"The last run was stopped by {limit}: 0 of 12 trials ran; all batch sizes have fewer."
    assert said in " ".join(batchfront("status").out.split())
    if "steps" in limit:  # each worker ends after the round in which it has taken half of them
        assert 64 <= _trained(batchfront) <= 64 + 2 * 6
    monkeypatch.setenv("PAUSE", "0")
    assert batchfront(*arguments).code == 1  # done, and the goal not reached
    assert "stopped by" not in batchfront("status").out


def test_when_run_is_killed_its_workers_stop(
    started: Start, batchfront: Run, workload_file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAUSE", "0.01")
    process = started("run", workload_file(*SLOW), "--trials", "6", "--workers", "2")
    _wait_until(lambda: _trained(batchfront) > 20, process)
    process.kill()
    process.communicate(timeout=LONG)
    shown = ("status", "--format", "json")
    eventually(lambda: json.loads(batchfront(*shown).out)["workers"] == [], "still working")


def test_progress_on_a_terminal_is_a_table_that_names_each_batch_size(
    workload_file: Write,
) -> None:
    leader, follower = pty.openpty()
    command = ["run", workload_file(), "--trials", "4", "--workers", "1"]
    process = subprocess.Popen(
        [Path(sys.executable).with_name("batchfront"), *command],
        stdout=subprocess.DEVNULL,
        stderr=follower,
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm-256color"},
    )
    os.close(follower)
    shown = b""
    try:
        while chunk := os.read(leader, 65536):
            shown += chunk
    except OSError:  # how Linux says that the other end has closed
        pass
    os.close(leader)
    assert process.wait(timeout=LONG) == 0
    assert b"batch size" in shown
    assert b"4/4" in shown
    assert b"steps/s" in shown


def _frontier(batchfront: Run) -> dict[str, list[dict[str, dict[str, int]]]]:
    shown = json.loads(batchfront("frontier", NAME, "--format", "json").out)
    assert isinstance(shown, dict)
    return shown


def _trained(batchfront: Run) -> int:
    """Steps trained so far, by all trials together."""
    result = batchfront("status", "--format", "json")
    if result.code:
        return 0
    return sum(study["steps"] for study in json.loads(result.out)["studies"])


def _wait_until(happened: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    eventually(lambda: happened() or process.poll() is not None)
    assert process.poll() is None, process.communicate()


def test_a_module_in_the_current_folder_is_found_and_by_workers_in_any_other(
    batchfront: Run, workload_file: Write, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload_file()
    for path in ("pkg/__init__.py", "elsewhere/my_workload.py"):
        (folder / path).parent.mkdir()
        (folder / path).write_text("")  # in another folder, another module has the name
    (folder / "pkg" / "mod.py").write_text("from my_workload import my_workload as mine\n")
    few = ("--trials", "2", "--batch-sizes", "8", "--workers", "1")
    ran = batchfront("run", "pkg.mod:mine", *few)
    assert ran.code == 0, ran.err
    assert batchfront("plan", "my_workload:my_workload", "--trials", "4").code == 0
    monkeypatch.chdir(folder / "elsewhere")
    database = f"sqlite:///{folder}/batchfront.db"
    worked = batchfront("launch", "local", "--workers", "1", "--storage", database)
    assert worked.code == 0, worked.err
    shown = batchfront("frontier", NAME, "--storage", database, "--format", "json").out
    assert [sum(p["outcomes"].values()) for p in json.loads(shown)["points"]] == [4]
    assert "open" not in json.loads(shown)["points"][0]["outcomes"]
