"""Where a workload's code stands, and its checksums: found without running any of it."""

from hashlib import sha256
from pathlib import Path

import pytest

from batchfront.workload.source import Source, find_source

RAISES = "raise SystemError('it was run')\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose files fail when they are run."""
    for name, text in {
        "w.py": "import beside, os, pack.inner.deep\ndef w():\n    from late import x\n",
        "beside.py": "from pack import sub\n",
        "late.py": "",
        "unused.py": "",
        "pack/__init__.py": "",
        "pack/sub.py": "from . import sibling\nfrom .inner.deep import thing\n",
        "pack/sibling.py": "from .. import beyond\n",
        "pack/inner/deep.py": "def (\n",
        "sweep.toml": "",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + RAISES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(spec: str, here: Path | None = None) -> Source:
    source = find_source(spec, here)
    assert source is not None
    return source


ALL_OF_IT = [
    *("beside.py", "late.py", "pack/__init__.py", "pack/inner/deep.py", "pack/sibling.py"),
    *("pack/sub.py", "w.py"),
]


def test_a_files_checksums_are_of_all_that_it_imports_from_beside_it(folder: Path) -> None:
    checksums = found("w.py:w").checksums()
    assert sorted(checksums) == ALL_OF_IT
    assert checksums["late.py"] == sha256(RAISES.encode()).hexdigest()


def test_a_module_has_the_packages_that_it_is_in(folder: Path) -> None:
    source = found("pack.sibling:make", folder)
    assert sorted(source.checksums()) == ["pack/__init__.py", "pack/sibling.py"]
    assert source.spec == f"{folder}:pack.sibling:make"
    assert found(source.spec).file == folder / "pack" / "sibling.py"
    assert found("pack:make", folder).path == Path("pack/__init__.py")


def test_what_a_sweep_file_says_is_no_file_of_code(folder: Path) -> None:
    assert found("sweep.toml").checksums() == {}


def test_a_file_is_found_behind_links_and_beside_what_lies_there(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "link.py").symlink_to(folder / "w.py")
    source = found("elsewhere/../elsewhere/link.py:w")
    assert (source.file, sorted(source.checksums())) == (folder / "w.py", ALL_OF_IT)


def test_of_an_installed_module_only_its_own_package_counts() -> None:
    names = found("waitress.task:Task").checksums()
    assert {"waitress/__init__.py", "waitress/task.py", "waitress/utilities.py"} <= set(names)
    assert {name.partition("/")[0] for name in names} == {"waitress"}


@pytest.mark.parametrize(
    "spec",
    [
        "digits/mlp/momentum",
        "mine/x/y (planned from Python)",
        "gone.py:w",
        "gone.toml",
        "pack:w",
        "os:abort",
        "sys:exit",
        "loop.py:w",
        "nul\0.py:w",
        f"{'x' * 5000}.py:w",
        "",
        ":",
        "..:x",
        "/:x:y",
    ],
)
def test_what_names_no_file_of_python_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.py").symlink_to("loop.py")
    assert find_source(spec) is None
