"""A sweep of Weights & Biases becomes a sweep file, and what can't be said there is said so."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from batchfront.errors import SweepFileError, UsageError
from batchfront.exchange.wandb_sweep import sweep_file_from
from batchfront.workload.search_space import Choice, Integer, Linear, Log
from batchfront.workload.sweep_file import SweepFile, read_sweep_file

SWEEP: dict[str, Any] = {
    "program": "train.py",
    "method": "random",
    "metric": {"name": "val/loss", "goal": "minimize"},
    "parameters": {
        "learning_rate": {"distribution": "log_uniform_values", "min": 1e-4, "max": 0.1},
        "batch_size": {"values": [16, 64]},
    },
}


def translated(folder: Path, **replaced: Any) -> str:
    path = folder / "wandb.yaml"
    path.write_text(yaml.safe_dump({**SWEEP, **replaced}, sort_keys=False))
    return sweep_file_from(path)


def read(folder: Path, text: str) -> SweepFile:
    """The sweep file, with the lines that are its user's to write as they are suggested."""
    path = folder / "sweep.toml"
    path.write_text(re.sub("^#! ", "", text, flags=re.MULTILINE))
    return read_sweep_file(path)


def with_parameter(folder: Path, name: str, said: Any, **more: Any) -> tuple[Any, str]:
    """The dimension of one more parameter, and the text."""
    text = translated(folder, parameters={**SWEEP["parameters"], name: said}, **more)
    return read(folder, text).program.space(16).get(name), text


def test_a_sweep_is_a_sweep_file_once_its_user_has_said_the_rest(tmp_path: Path) -> None:
    text = translated(tmp_path, run_cap=40, method="bayes", description="as\nbefore")
    found = read(tmp_path, text)
    assert found.program.name == "data/train/sweep"
    assert found.program.command == (
        *("python", "train.py"),
        *("--learning_rate={learning_rate}", "--batch_size={batch_size}"),
    )
    assert found.program.code == ("train.py",)
    assert found.program.batch_sizes == (16, 64)
    assert found.program.goal.metric.name == "val/loss"
    assert found.program.goal.metric.better == "lower"
    assert found.program.space(16) == {"learning_rate": Log(1e-4, 0.1)}
    assert found.search == {"trials": 40, "sampler": "tpe"}
    assert "#?" not in text.partition("\n\n")[2]


def test_what_a_sweep_does_not_say_is_left_for_its_user_to_say(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(translated(tmp_path))
    with pytest.raises(SweepFileError, match="is missing"):
        read_sweep_file(path)
    asked = [line.split()[1] for line in path.read_text().splitlines() if line.startswith("#! ")]
    assert asked == ["output", "goal", "step_budget"]
    metric = {"name": "acc", "goal": "maximize", "target": 0.9}
    goal = read(tmp_path, translated(tmp_path, metric=metric)).program.goal
    assert str(goal) == "acc > 0.9"


@pytest.mark.parametrize(
    ("said", "dimension"),
    [
        ({"min": 0.0, "max": 0.5}, Linear(0.0, 0.5)),
        ({"min": 2, "max": 8}, Integer(2, 8)),
        ({"distribution": "uniform", "min": 2, "max": 8}, Linear(2.0, 8.0)),
        ({"distribution": "int_uniform", "min": 2, "max": 8}, Integer(2, 8)),
        ({"distribution": "log_uniform", "min": -2.302585, "max": 0}, Log(0.1, 1.0)),
        ({"distribution": "inv_log_uniform", "min": 0, "max": 2.302585}, Log(0.1, 1.0)),
        ({"distribution": "inv_log_uniform_values", "min": 0.1, "max": 1}, Log(0.1, 1.0)),
        ({"distribution": "q_uniform", "q": 0.1, "min": 0, "max": 0.3}, Choice(0.0, 0.1, 0.2, 0.3)),
        ({"distribution": "q_uniform", "q": 1, "min": 1, "max": 90}, Integer(1, 90)),
        (
            {"distribution": "q_log_uniform_values", "min": 32, "max": 512},
            Integer(32, 512, log=True),
        ),
        ({"values": ["relu", "gelu"]}, Choice("relu", "gelu")),
        ({"values": [0.1, "1e-4"]}, Choice(0.1, 1e-4)),
        ({"values": [3]}, 3),
        ({"value": "cuda"}, "cuda"),
        ({"value": True}, "True"),
        ({"values": [True, False]}, Choice("True", "False")),
    ],
)
def test_a_parameter_is_the_same_dimension(tmp_path: Path, said: Any, dimension: object) -> None:
    found, text = with_parameter(tmp_path, "x", said)
    assert found == dimension
    assert "#?" not in text.partition("[workload]")[2]
    assert '"--x={x}"' in text


@pytest.mark.parametrize(
    ("name", "said", "says"),
    [
        ("x", {"distribution": "normal", "mu": 1, "sigma": 0.5}, "x was normal(mu 1, sigma 0.5)"),
        ("x", {"distribution": "log_normal", "mu": 1, "sigma": 1}, "x was log_normal"),
        ("x", {"distribution": "q_uniform", "q": 0.1, "min": 0, "max": 99}, "multiples of 0.1"),
        ("x", {"min": 0.001, "max": 1.0}, "x spans decades"),
        ("x", {"values": [1, 2], "probabilities": [0.9, 0.1]}, "equally likely"),
        ("x", {"values": [[1], [2]]}, "could not be translated; left out"),
        ("x", {"values": [None, 2]}, "could not be translated; left out"),
        ("x", {"distribution": "beta", "min": 0, "max": 1}, "could not be translated; left out"),
        ("x", {"distribution": "uniform"}, "could not be translated; left out"),
        ("x", 3, "3 is no parameter"),
        ("device", {"values": ["a", "b"]}, "device is my_device here"),
        ("seed", {"values": [1, 2]}, "seed is each trial's own"),
        ("optimizer", {"parameters": {"beta": {"min": 0.1, "max": 0.9}}}, "optimizer is nested"),
    ],
)
def test_what_has_no_equal_is_said_in_a_comment(
    tmp_path: Path, name: str, said: Any, says: str
) -> None:
    _, text = with_parameter(tmp_path, name, said)
    (remark,) = [line for line in text.splitlines() if line.startswith("#?")]
    assert says in remark


def test_a_nested_parameter_has_its_path_for_a_name(tmp_path: Path) -> None:
    said = {"parameters": {"beta": {"min": 0.1, "max": 0.9}}}
    _, text = with_parameter(tmp_path, "optimizer", said)
    assert read(tmp_path, text).program.space(16)["optimizer.beta"] == Linear(0.1, 0.9)
    assert '"--optimizer.beta={optimizer.beta}"' in text


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (
            ["${env}", "python3", "${program}", "${args_no_hyphens}"],
            ["python3", "train.py", "learning_rate={learning_rate}", "batch_size={batch_size}"],
        ),
        (
            ["${interpreter}", "${program}", "${args_json_file}"],
            ["python", "train.py", "{metaparameters}"],
        ),
        (
            ["x", "${args_json}", "{literal}"],
            [
                "x",
                '{{"learning_rate": {learning_rate}, "batch_size": {batch_size}}}',
                "{{literal}}",
            ],
        ),
    ],
)
def test_a_command_is_translated_word_by_word(
    tmp_path: Path, words: list[str], command: list[str]
) -> None:
    found = read(tmp_path, translated(tmp_path, command=words)).program
    assert list(found.command) == command


def test_flags_without_values_stand_or_are_left_out(tmp_path: Path) -> None:
    parameters = {
        **SWEEP["parameters"],
        "on": {"value": True},
        "off": {"value": False},
        "both": {"values": [True, False]},
    }
    text = translated(
        tmp_path, parameters=parameters, command=["x", "${args_no_boolean_flags}", "${envvar:A}"]
    )
    found = read(tmp_path, text).program
    assert list(found.command[3:]) == ["--on", "--both={both}", "${{envvar:A}}"]
    assert "#? --both was a flag" in text
    assert "#? ${envvar:A} in the command could not be translated" in text


def test_a_range_of_batch_sizes_is_its_powers_of_two(tmp_path: Path) -> None:
    parameters = {**SWEEP["parameters"], "batch_size": {"min": 10, "max": 100}}
    text = translated(tmp_path, parameters=parameters)
    assert read(tmp_path, text).program.batch_sizes == (16, 32, 64)
    assert "#? batch_size was a range" in text


def test_a_sweep_without_a_batch_size_asks_for_one(tmp_path: Path) -> None:
    parameters = {"lr": {"min": 0.1, "max": 1.0}}
    text = translated(tmp_path, parameters=parameters)
    assert "#! batch_sizes" in text
    assert "#? the sweep has no batch size" in text


def test_a_sweep_that_is_begun_in_python_asks_for_its_program(tmp_path: Path) -> None:
    text = translated(tmp_path, program=None)
    assert "#! command = [" in text
    found = read(tmp_path, text).program
    assert found.command[:2] == ("python", "train.py")
    assert found.code == ("train.py",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a: [", "isn't YAML"),
        ("a: 2020-13-45", "isn't YAML"),
        ("a: " + "[" * 5_000, "lie too deep in one another"),
        ("parameters: &a {b: *a}", "holds more than 100,000 values"),
        (
            "a: &a0 [0, 1]\n"
            + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)),
            "holds more than 100,000 values",
        ),
        ("- 1", "is no sweep of Weights & Biases"),
        ("program: x.py", "which has `parameters`"),
    ],
)
def test_what_is_no_sweep_is_refused_in_a_line(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "wandb.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=re.escape(says)) as refused:
        sweep_file_from(path)
    assert "\n" not in str(refused.value)
    with pytest.raises(UsageError, match="can't be read: No such file"):
        sweep_file_from(tmp_path / "none.yaml")
