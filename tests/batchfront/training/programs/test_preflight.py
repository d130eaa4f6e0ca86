"""A program is found to hold together, or refused in a line, before anything is planned."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from batchfront.errors import WorkloadError
from batchfront.training.programs.preflight import examine
from batchfront.workload.code.versions import changes, digest
from batchfront.workload.program import Program
from batchfront.workload.sweep_file import read_sweep_file
from tests.sweep_files import program, written

BOTH = "-b {per_device_batch_size} -a {accumulation}"


def test_a_program_that_holds_together_is_examined_without_torch(tmp_path: Path) -> None:
    path = written(tmp_path, ("goal =", 'code = ["train.py"]\ngoal ='))
    code = (
        "import sys, json\n"
        "from pathlib import Path\n"
        "from batchfront.workload.sweep_file import read_sweep_file\n"
        "from batchfront.training.programs.preflight import examine\n"
        f"found = read_sweep_file(Path({str(path)!r})).program\n"
        "examined = examine(found, found.batch_sizes)\n"
        "print(json.dumps([list(examined.code), list(examined.notes), 'torch' in sys.modules]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == [["train.py:"], [], False]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("python3 train.py", "pythonn train.py", "command: pythonn isn't found on PATH"),
        ("python3 train.py", "train.py", "train.py isn't found on PATH; if .*/train.py is meant"),
        ("python3 train.py", "./train.py", "train.py can't be executed"),
        ("python3 train.py", "./trian.py", "trian.py isn't there"),
        ("python3 train.py", "python3 trian.py", "there is no file trian.py"),
        ("at_once = 2", 'cwd = "nowhere"', "cwd: there is no folder .*nowhere"),
        ("at_once = 2", 'env = {PATH = "/nowhere"}', "python3 isn't found on PATH"),
        ("goal =", 'code = ["net.py"]\ngoal =', "code: there is no file net.py"),
        ("goal =", 'code = ["*.jl"]\ngoal =', r"code: there is no file \*\.jl"),
        ("goal =", 'code = ["."]\ngoal =', r"code: \. has this file in it"),
        ("goal =", 'code = ["data"]\ngoal =', r"code: data has 65 MiB in 1 files, more than code"),
        ("(?P<step>", "(?P<epoch>", "train_examples: is missing"),
    ],
)
def test_what_can_not_run_is_refused_in_a_line(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    (tmp_path / "data").mkdir()
    with (tmp_path / "data" / "train.bin").open("wb") as file:
        file.truncate(65 << 20)  # which takes no space
    found = program(tmp_path, (old, new))
    with pytest.raises(WorkloadError, match=says) as refused:
        examine(found, found.batch_sizes)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(str(found.path))


def test_the_python_that_there_is_is_named_where_python_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    found = program(tmp_path, ("python3 train.py", "python train.py"))
    with pytest.raises(WorkloadError, match="python isn't found on PATH; python3 is"):
        examine(found, [8])


def divided(folder: Path, command: str, resources: str) -> Program:
    return program(folder, ("-b {batch_size}", command), ("at_once = 2", resources))


def test_a_batch_is_divided_exactly(tmp_path: Path) -> None:
    found = divided(tmp_path, BOTH, "gpus = 4\nmax_batch_size_per_device = 12")
    for batch_size, per_device, accumulation in ((8, 2, 1), (32, 8, 1), (96, 12, 2), (128, 8, 4)):
        shares = found.shares(batch_size)
        assert (shares.per_device, shares.accumulation) == (per_device, accumulation)
        assert shares.per_device * shares.accumulation * shares.devices == batch_size


@pytest.mark.parametrize(
    ("command", "resources", "says"),
    [
        (BOTH, "gpus = 3", "gpus: batch size 8 can't be divided between 3"),
        ("-b {batch_size}", "max_batch_size_per_device = 64", "128 is 2 micro-batches of 64"),
        (
            "-b {per_device_batch_size}",
            "max_batch_size_per_device = 64",
            "write {accumulation} in the command",
        ),
        (
            "-b {batch_size} -a {accumulation}",
            "max_batch_size_per_device = 64",
            "write {per_device_batch_size} in the command",
        ),
    ],
)
def test_a_batch_that_the_program_would_not_train_on_is_refused(
    tmp_path: Path, command: str, resources: str, says: str
) -> None:
    found = divided(tmp_path, command, resources)
    with pytest.raises(WorkloadError, match=says):
        examine(found, found.batch_sizes)


def test_the_code_is_every_file_that_is_named_and_a_change_names_it(tmp_path: Path) -> None:
    net = tmp_path / "net"
    (net / "__pycache__").mkdir(parents=True)
    for name in ("model.py", "__pycache__/model.pyc", ".hidden"):
        (net / name).write_text(name)
    found = program(tmp_path, ("goal =", 'code = ["*.py", "net"]\ngoal ='))
    before = examine(found, [8]).code
    assert sorted(before) == ["net/model.py:", "train.py:"]
    (net / "model.py").write_text("another")
    after = examine(found, [8]).code
    assert digest(before) != digest(after)
    assert changes(before, after) == ["net/model.py"]
    assert sorted(changes({}, after)) == ["net/model.py (new)", "train.py (new)"]


@pytest.mark.parametrize(
    ("replaced", "says"),
    [
        ((), 'code = ["train.py"]'),
        ((("--seed {seed}", ""),), "nothing tells the program a seed"),
        ((("at_once = 2", "gpus = 2"),), "write {per_device_batch_size}"),
        (
            (
                ("-b {batch_size}", BOTH),
                ("at_once = 2", "max_batch_size_per_device = 16"),
            ),
            "which is 2 micro-batches at batch size 32",
        ),
        (
            (("(?P<step>", "(?P<epoch>"), ("goal =", "train_examples = 100\ngoal =")),
            "an epoch is taken as 13 steps at batch size 8",
        ),
    ],
)
def test_what_may_be_other_than_meant_is_noted(
    tmp_path: Path, replaced: tuple[tuple[str, str], ...], says: str
) -> None:
    found = program(tmp_path, *replaced)
    assert any(says in note for note in examine(found, found.batch_sizes).notes)


def test_nothing_is_noted_where_nothing_is_in_doubt(tmp_path: Path) -> None:
    path = written(tmp_path, ("goal =", 'code = ["train.py"]\ngoal ='))
    found = read_sweep_file(path).program
    assert list(examine(found, found.batch_sizes).notes) == []


def test_devices_are_the_programs_own_affair(tmp_path: Path) -> None:
    examined = examine(program(tmp_path), [8])
    examined.refuse_devices(1)
    with pytest.raises(WorkloadError, match="gpus = 2 under \\[resources\\]"):
        examined.refuse_devices(2)
