"""A trial's program is given its arguments one by one, its environment, and a file with all."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from batchfront.errors import ProgramError
from batchfront.training.programs.command_line import TrialStart
from batchfront.workload.program import Program
from tests.sweep_files import program

VALUES = {"learning_rate": 1e-4, "beta2": 0.1 + 0.2}


def start(program: Program, batch_size: int = 32, device: str = "cpu") -> TrialStart:
    folder = Path("trials/7")
    return TrialStart(program, batch_size, VALUES, seed=5, folder=folder, device=device)


def test_placeholders_are_filled_in_exactly_and_within_one_argument(tmp_path: Path) -> None:
    words = '["py", "{{x}} {seed} a b", "--lr={learning_rate}", "{beta2}", "{batch_size}"]\n#'
    assert start(program(tmp_path, ('"python3', words))).arguments() == [
        "py",
        "{x} 5 a b",
        "--lr=0.0001",
        "0.30000000000000004",
        "32",
    ]


def test_every_placeholder_that_is_said_to_exist_is_filled(tmp_path: Path) -> None:
    found = program(
        tmp_path,
        (
            '-b {batch_size} --seed {seed}"',
            "{batch_size} {per_device_batch_size} {accumulation} {seed} {step_budget} "
            '{epoch_budget} {trial_dir} {device} {checkpoint} {metaparameters}"\n'
            'train_examples = 64\nepoch_budget = 3\ncheckpoint = "{trial_dir}/ckpt.pt"',
        ),
        ("step_budget = 5000", ""),
        ("at_once = 2", "gpus = 2\nmax_batch_size_per_device = 10"),
    )
    folder = str(Path.cwd() / "trials" / "7")
    assert start(found, device="cuda").arguments()[6:] == [
        *("32", "8", "2", "5", "6", "3", folder, "cuda"),
        f"{folder}/ckpt.pt",
        f"{folder}/metaparameters.json",
    ]


def test_what_is_added_to_resume_stands_behind_the_command(tmp_path: Path) -> None:
    found = program(tmp_path, ("goal =", 'resume = "--resume {checkpoint}"\ngoal ='))
    fresh, resumed = start(found).arguments(), start(found).arguments(resuming=True)
    assert resumed == [*fresh, "--resume", str(start(found).checkpoint)]
    assert start(found).checkpoint == Path.cwd() / "trials/7/checkpoint"


def test_the_environment_has_the_trial_and_what_the_sweep_file_says(tmp_path: Path) -> None:
    env = '{LR = "{learning_rate}", THREADS = 2, LC_ALL = "C"}'
    found = start(program(tmp_path, ("at_once = 2", f"env = {env}")))
    told = found.environment({"HOME": "/root", "LC_ALL": "de"})
    assert told == {
        "HOME": "/root",
        "PYTHONUNBUFFERED": "1",
        "BATCHFRONT_TRIAL_DIR": str(Path.cwd() / "trials/7"),
        "BATCHFRONT_BATCH_SIZE": "32",
        "BATCHFRONT_SEED": "5",
        "BATCHFRONT_STEP_BUDGET": "5000",
        "BATCHFRONT_DEVICE": "cpu",
        "BATCHFRONT_LEARNING_RATE": "0.0001",
        "BATCHFRONT_BETA2": "0.30000000000000004",
        "LR": "0.0001",
        "THREADS": "2",
        "LC_ALL": "C",
    }


def test_a_file_in_the_folder_has_the_metaparameters_and_the_trial(tmp_path: Path) -> None:
    found = TrialStart(program(tmp_path), 32, VALUES, seed=5, folder=tmp_path)
    assert json.loads(found.write_metaparameters().read_text()) == {
        **{"batch_size": 32, "seed": 5, "long_seed": 5, "step_budget": 5000},
        **VALUES,
    }


def test_a_seed_is_one_that_every_generator_takes(tmp_path: Path) -> None:
    found = TrialStart(program(tmp_path), 32, VALUES, seed=2**62 + 2**31 + 5, folder=tmp_path)
    assert found.environment()["BATCHFRONT_SEED"] == "5"
    told = json.loads(found.write_metaparameters().read_text())
    assert (told["seed"], told["long_seed"]) == (5, 2**62 + 2**31 + 5)


@pytest.mark.parametrize(
    ("device", "gpus", "visible", "shown"),
    [
        ("cuda", 0, None, "0"),
        ("cuda:3", 0, None, "3"),
        ("cuda:2", 2, None, "2,3"),
        ("cuda:1", 2, "4, 5,GPU-6", "5,GPU-6"),
        ("cpu", 0, "4", "4"),
        ("cpu", 0, None, None),
    ],
)
def test_a_program_sees_no_gpus_but_its_own(
    tmp_path: Path, device: str, gpus: int, visible: str | None, shown: str | None
) -> None:
    found = start(program(tmp_path, ("at_once = 2", f"gpus = {gpus}")), device=device)
    inherited = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert found.environment(inherited).get("CUDA_VISIBLE_DEVICES") == shown


def test_gpus_that_are_not_there_are_refused(tmp_path: Path) -> None:
    found = start(program(tmp_path, ("at_once = 2", "gpus = 2")), device="cuda:1")
    with pytest.raises(ProgramError, match=r"needs 2 GPUs from cuda:1 on.*shows 2"):
        found.environment({"CUDA_VISIBLE_DEVICES": "0,1"})


def test_a_program_that_needs_gpus_is_not_started_without(tmp_path: Path) -> None:
    found = start(program(tmp_path, ("at_once = 2", "gpus = 2")), device="cpu")
    with pytest.raises(ProgramError, match="needs 2 GPUs, and its worker computes on cpu"):
        found.environment({})


def test_the_file_it_writes_is_where_it_is_started(tmp_path: Path) -> None:
    found = program(tmp_path, ("goal =", 'output_file = "{trial_dir}/{seed}.jsonl"\ngoal ='))
    assert start(found).output_file == Path.cwd() / "trials/7/5.jsonl"
    assert start(program(tmp_path)).output_file is None
    (tmp_path / "sub").mkdir()
    assert program(tmp_path, ("at_once = 2", 'cwd = "sub"')).folder == tmp_path / "sub"


def test_a_batchfront_command_inside_a_trial_takes_no_option_from_the_trials_variables(
    tmp_path: Path,
) -> None:
    code = (
        "from batchfront.cli.plan import command\n"
        "print({p.name: p.envvar for p in command.params if p.name in ('seed', 'storage')})"
    )
    told = start(program(tmp_path)).environment() | {"BATCHFRONT_TRIAL": "x"}
    ran = subprocess.run([sys.executable, "-c", code], env=told, capture_output=True, text=True)
    assert ran.stdout == "{'storage': 'BATCHFRONT_STORAGE', 'seed': None}\n", ran.stderr
