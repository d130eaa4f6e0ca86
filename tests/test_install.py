"""What is built installs, with the extra `train` and without, and gets in nobody's way.

The environments are fresh, but for their packages, which are those of this environment: each sees
the ones that the wheel asks for, directly or not, and no other.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import Distribution, distribution, packages_distributions
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.utils import canonicalize_name

from tests.distributions import needed
from tests.programs import NAME, write_sweep
from tests.without import hiding

ROOT = Path(__file__).parents[1]
WORKLOAD = "digits/mlp/momentum"

pytestmark = pytest.mark.slow

Run = Callable[..., subprocess.CompletedProcess[str]]
"""Runs a program of an environment: its name, its arguments, where, and environment variables."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as installers do it: from the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder]
    subprocess.run(build, cwd=ROOT, check=True)
    (source,) = folder.glob("*.tar.gz")
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def training(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An environment as of `pip install 'batchfront[train]' pytest`."""
    return _environment(tmp_path_factory.mktemp("training"), wheel, "train", "pytest")


@pytest.fixture(scope="module")
def light(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An environment as of `pip install batchfront`, in which there is pip."""
    return _environment(tmp_path_factory.mktemp("light"), wheel, "", "pip")


@pytest.fixture(scope="module")
def studied(training: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the database that a first run has left, with trials planned since."""
    folder = tmp_path_factory.mktemp("studied")
    few = ("--batch-sizes", "128,256", "--trials")
    for command in (("run", WORKLOAD, "--workers", "1", *few, "4"), ("plan", WORKLOAD, *few, "5")):
        done = training("batchfront", *command, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def test_the_wheel_holds_two_typed_packages_and_nothing_else(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    packages = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert packages == {"batchfront", "batchfront_studies"}
    assert {f"{package}/py.typed" for package in packages} <= {*names}


def test_what_was_run_is_read_and_shown_without_torch(
    studied: Path, light: Run, training: Run
) -> None:
    for command in (("frontier", WORKLOAD), ("status",)):
        shown = light("batchfront", *command, cwd=studied)
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout == training("batchfront", *command, cwd=studied).stdout
    written = light("batchfront", "report", "--output", "light.html", cwd=studied)
    assert written.returncode == 0, written.stderr
    assert WORKLOAD in (studied / "light.html").read_text()


def test_the_model_that_won_is_taken_out_without_torch_and_read_by_safetensors(
    studied: Path, light: Run, training: Run
) -> None:
    taken = ("--batch-size", "128", "--output", "model")
    done = light("batchfront", "model", WORKLOAD, *taken, cwd=studied)
    assert done.returncode == 0, done.stderr
    read = "from safetensors.torch import load_file; print(*load_file('weights.safetensors'))"
    shown = training("python", "-c", read, cwd=studied / "model")
    assert {*shown.stdout.split()} == {"1.weight", "1.bias", "3.weight", "3.bias"}, shown.stderr


def test_a_program_is_run_without_torch(light: Run, tmp_path: Path) -> None:
    write_sweep(tmp_path)
    done = light("batchfront", "run", "./sweep.toml", "--trials", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{NAME}: steps to target" in done.stdout


@pytest.mark.parametrize(
    "command", [("run", WORKLOAD), ("plan", "./mine.py"), ("work",)], ids=" ".join
)
def test_a_command_that_needs_torch_says_how_to_get_it(
    command: tuple[str, ...], light: Run, studied: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text("import torch\n")
    storage = ("--storage", f"sqlite:///{studied / 'batchfront.db'}")
    done = light("batchfront", *command, *storage, cwd=tmp_path)
    said = done.stderr.splitlines()[-1]
    assert (done.returncode, done.stdout) == (1, "")
    assert said.startswith("batchfront: this needs torch, which is not installed: `")
    _, advised, rest = said.split("`")
    assert rest == ""
    told = shlex.split(advised)
    assert told[-1].endswith(".whl[train]")
    assert light(*told, "--no-deps", "--no-index").returncode == 0


def test_a_users_own_service_and_studies_are_what_is_imported(
    training: Run, tmp_path: Path
) -> None:
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "__init__.py").write_text("ANSWER = 42\n")
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "mine.py").write_text(
        "from batchfront import Workload\n"
        "from batchfront_studies import workloads\n"
        "from service import ANSWER\n\n\n"
        "def workload() -> Workload:\n"
        "    assert ANSWER == 42\n"
        f"    return workloads()['{WORKLOAD}']()\n"
    )
    (tmp_path / "test_mine.py").write_text(
        "from studies.mine import workload\n\n\n"
        "def test_mine():\n"
        "    assert workload().batch_sizes\n"
    )
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    tested = training("python", "-m", "pytest", "-q", cwd=tmp_path, **alone)
    assert tested.returncode == 0, tested.stdout
    for spec, path in (("studies.mine:workload", ""), ("studies/mine.py", ".")):
        shown = training("batchfront", "workloads", "show", spec, cwd=tmp_path, PYTHONPATH=path)
        assert shown.returncode == 0, shown.stderr


def test_nothing_called_service_or_studies_is_installed(light: Run, tmp_path: Path) -> None:
    find = "from importlib.util import find_spec; print(find_spec('service'), find_spec('studies'))"
    assert light("python", "-c", find, cwd=tmp_path).stdout == "None None\n"


def _environment(folder: Path, wheel: Path, extra: str, *others: str) -> Run:
    """An environment with the wheel in it, what it needs with this extra, and others."""
    python = folder / "bin" / "python"
    make = [sys.executable, "-m", "venv", "--without-pip", folder]
    subprocess.run(make, check=True)
    _pip("--python", python, "install", "--no-deps", wheel)
    (info,) = folder.glob("lib/*/site-packages/batchfront-*.dist-info")
    wanted = {"batchfront"} | needed(Distribution.at(info), extra)
    for name in others:
        wanted |= {name} | needed(distribution(name))
    unwanted = [
        module
        for module, providers in packages_distributions().items()
        if not wanted & {*map(canonicalize_name, providers)}
    ]
    sites = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (info.parent / "_hiding.py").write_text(hiding(unwanted))
    (info.parent / "borrowed.pth").write_text("\n".join([*sites, "import _hiding", ""]))

    def run(
        program: str, *arguments: str, cwd: Path = folder, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        told = [python.with_name(Path(program).name), *arguments]
        variables = {**os.environ, "PYTHONPATH": "", **environment}
        return subprocess.run(told, cwd=cwd, env=variables, capture_output=True, text=True)

    return run


def _pip(*told: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "-q", *told, "--no-index"], check=True)
