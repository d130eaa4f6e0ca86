"""`plan` and `run` take a sweep file, and what it says of their options."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from batchfront.store.url import open_storage
from batchfront.study.study import Filter, find_studies
from tests.batchfront.cli.conftest import Result
from tests.batchfront.cli.test_bad_input import refused
from tests.sweep_files import written

Run = Callable[..., Result]


@pytest.fixture
def url(database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BATCHFRONT_STORAGE", database)
    return database


def trials(url: str) -> dict[int, int]:
    """By batch size."""
    storage = open_storage(url)
    with storage.read() as conn:
        found = {study.batch_size: study.trials for study in find_studies(conn, Filter())}
    storage.close()
    return found


def test_a_flag_comes_before_the_environment_the_sweep_file_stored_studies_and_the_default(
    batchfront: Run, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = ("trials = 16", "")
    written(folder, silent)
    batchfront("plan", "sweep.toml", "--batch-sizes", "8")
    assert trials(url) == {8: 32}  # the default
    written(folder)
    batchfront("plan", "sweep.toml", "--batch-sizes", "32")
    assert trials(url) == {8: 32, 32: 16}  # the file
    written(folder, silent)
    batchfront("plan", "sweep.toml", "--batch-sizes", "128")
    assert trials(url) == {8: 32, 32: 16, 128: 16}  # stored studies
    written(folder)
    monkeypatch.setenv("BATCHFRONT_TRIALS", "64")
    batchfront("plan", "sweep.toml", "--batch-sizes", "32")
    assert trials(url) == {8: 32, 32: 64, 128: 16}  # the environment, not the file
    batchfront("plan", "sweep.toml", "--batch-sizes", "128", "--trials", "128")
    assert trials(url) == {8: 32, 32: 64, 128: 128}  # a flag, not the environment


def test_batch_sizes_that_are_added_to_the_file_are_planned(
    batchfront: Run, url: str, folder: Path
) -> None:
    written(folder, ("[8, 32, 128]", "[8, 32]"))
    batchfront("plan", "sweep.toml")
    assert trials(url) == {8: 16, 32: 16}
    written(folder)
    batchfront("plan", "sweep.toml")
    assert trials(url) == {8: 16, 32: 16, 128: 16}


def test_more_trials_and_a_comment_continue_and_another_command_is_refused(
    batchfront: Run, url: str, folder: Path
) -> None:
    written(folder)
    assert batchfront("plan", "sweep.toml").code == 0
    written(folder, ("trials = 16", "trials = 17  # one more"))
    assert batchfront("plan", "sweep.toml").out.count("17 trials, 1 new") == 3
    written(folder, ("--seed", "--fast --seed"))
    changed = batchfront("plan", "sweep.toml")
    assert (changed.code, changed.out) == (2, "")
    assert "exists under another definition: command was" in changed.err
    assert "--variant v2" in changed.err


def test_a_change_of_the_programs_code_is_refused_by_the_files_name(
    batchfront: Run, url: str, folder: Path
) -> None:
    code = ("goal =", 'code = ["train.py"]\ngoal =')
    written(folder, code)
    assert batchfront("plan", "sweep.toml").code == 0
    (folder / "train.py").write_text("print('something else')")
    changed = batchfront("plan", "sweep.toml")
    assert changed.code == 2
    assert "it differs in train.py. Undo" in changed.err
    assert batchfront("plan", "sweep.toml", "--accept-changes").code == 0


def test_fewer_trials_than_there_are_is_said_in_the_words_of_who_said_it(
    batchfront: Run, url: str, folder: Path
) -> None:
    written(folder)
    batchfront("plan", "sweep.toml", "--trials", "20")
    assert "trials = 16 in [search] takes none away" in batchfront("plan", "sweep.toml").err
    assert "--trials 8 takes none" in batchfront("plan", "sweep.toml", "--trials", "8").err


def test_options_of_run_alone_are_known_to_plan_too(
    batchfront: Run, url: str, folder: Path
) -> None:
    said = 'trials = 4\nworkers = 1\nreport = "page.html"\nmax_outage = "5m"\nformat = "json"'
    written(folder, ("trials = 16", said))
    assert batchfront("plan", "sweep.toml").code == 0


@pytest.mark.parametrize(
    ("search", "says"),
    [
        ("trails = 4", ("[search] trails", "did you mean trials")),
        ('trials = "many"', ("[search] trials", "'many' is no number of trials")),
        ("trials = 2.5", ("[search] trials", "'2.5' is no number of trials")),
        ("trials = true", ("[search] trials", "true is not a number")),
        ("trials = 0", ("[search]", "must be a whole number")),
        ('extrapolate = "yes"', ("[search] extrapolate", "true or false")),
        ('sampler = "random"', ("[search] sampler", "'sobol', 'tpe', 'gp'")),
        ('together = "al"', ("[search] together", "write 8, or all")),
        ('max_outage = "ten"', ("[search] max_outage", "write 90s, 30m")),
        ("goal = 2.0", ("[search] goal", "[workload]")),
        ("batch_sizes = [8]", ("[search] batch_sizes", "[workload]")),
        ('storage = "sqlite:///x.db"', ("[search] storage", "BATCHFRONT_STORAGE")),
        ('schedule = "race"', ("[search] schedule", "is no option of `run`")),
        ("until_done = false", ("[search] until_done", "is no option of `run`")),
    ],
)
def test_a_slip_in_the_search_is_refused_in_a_line(
    batchfront: Run, url: str, folder: Path, search: str, says: tuple[str, ...]
) -> None:
    written(folder, ("trials = 16", search))
    refused(batchfront("plan", "sweep.toml"), "sweep.toml, ", *says)
    assert trials(url) == {}


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_slip_elsewhere_is_refused_in_a_line(
    batchfront: Run, url: str, folder: Path, command: str
) -> None:
    written(folder, ('better = "lower"', 'better = "min"'))
    refused(batchfront(command, "sweep.toml"), "sweep.toml, [workload] better")
    refused(batchfront(command, "swep.toml"), "no file swep.toml")
    refused(batchfront(command, "w.yaml"), "is TOML", "`batchfront new program --from w.yaml`")
    assert trials(url) == {}


def test_help_is_shown_whatever_the_file_says(batchfront: Run, folder: Path) -> None:
    (folder / "sweep.toml").write_text("nothing")
    assert batchfront("plan", "--help", "sweep.toml").code == 0


def test_gpus_that_this_machine_has_not_are_refused_before_anything_is_planned(
    batchfront: Run, url: str, folder: Path
) -> None:
    written(folder, ("at_once = 2", "gpus = 2"))
    wrong = batchfront("run", "sweep.toml", "--device", "cpu")
    refused(wrong, "sweep.toml, [resources] gpus: 2 are needed", "0 here with --device cpu")
    assert trials(url) == {}


def test_a_sweep_file_is_shown_as_any_workload_is(batchfront: Run, folder: Path) -> None:
    written(folder)
    shown = batchfront("workloads", "show", "sweep.toml")
    assert shown.code == 0
    assert "command      `python3 train.py --lr '{learning_rate}'" in shown.out
    assert re.search(r"learning_rate +Log\(0\.0001, 0\.1\)", shown.out)
    as_json = json.loads(batchfront("workloads", "show", "sweep.toml", "--format", "json").out)
    assert as_json["step_budget"] == {"8": 5000, "32": 5000, "128": 5000}


def test_a_sweep_of_weights_and_biases_becomes_a_sweep_file(batchfront: Run, folder: Path) -> None:
    (folder / "wandb.yaml").write_text(
        "program: train.py\nparameters: {lr: {min: 0.1, max: 1.0}, batch_size: {values: [2, 4]}}"
    )
    made = batchfront("new", "program", "--from", "wandb.yaml")
    assert made.out == (
        "Wrote sweep.toml. Next: write what its lines with #! leave open; then batchfront run "
        "./sweep.toml\n"
    )
    refused(batchfront("plan", "sweep.toml"), "sweep.toml, [workload] output: is missing")
    refused(batchfront("new", "program", "--from", "wandb.yaml"), "is there already, and stays")
    refused(batchfront("new", "program", "b.toml", "--from", "none.yaml"), "none.yaml: can't be")
