"""Workloads are found by name, as module:attribute, and as file.py:function; else one line."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from textwrap import dedent

import pytest

from batchfront.errors import CatalogError, SearchSpaceError, WorkloadError
from batchfront.workload import catalog
from batchfront.workload.catalog import load, names, spec_for_workers
from batchfront.workload.workload import Workload

WORKLOAD = """
from torch import nn
from batchfront import ERROR_RATE, SGD, Goal, Log, Splits, Workload, cross_entropy

def _make(name="toy/linear/sgd"):
    return Workload(
        name=name, data=lambda: Splits(), model=nn.Module, loss=cross_entropy, algorithm=SGD(),
        goal=Goal(ERROR_RATE, 0.5), search_space={"learning_rate": Log(0.1, 1.0)},
        step_budget=10, batch_sizes=[1],
    )
"""


@pytest.fixture(autouse=True)
def _imports_undone() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def write(path: Path, code: str, before: str = WORKLOAD) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(before + dedent(code))
    return str(path)


def refusal(spec: str) -> str:
    """The one line that says why `spec` can't be loaded."""
    with pytest.raises(CatalogError) as error:
        load(spec)
    assert "\n" not in str(error.value)
    return str(error.value)


def offer(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    found = EntryPoints(EntryPoint(k, v, catalog.GROUP) for k, v in values.items())
    monkeypatch.setattr(catalog, "entry_points", lambda group: found.select(group=group))


# By name


def test_a_catalog_name_loads_the_workload_of_that_name() -> None:
    assert load("digits/mlp/momentum").name == "digits/mlp/momentum"


def test_names_are_sorted_and_include_ours() -> None:
    assert names() == sorted(names())
    assert {"digits/mlp/adamw", "mnist/fc_256/sgd"} <= set(names())


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    assert "digits/mlp/momentum" in refusal("digits/mlp/momentun")
    assert "'digits/mlp/momentun'" in refusal("digits/mlp/momentun")


def test_a_name_near_to_none_is_answered_with_how_to_list_them() -> None:
    assert "batchfront workloads" in refusal("qqqqqq")


def test_listing_the_catalog_reads_no_data_and_imports_no_data_library() -> None:
    code = (
        "import sys; from batchfront.workload.catalog import entries\n"
        "[make() for make in entries().values()]\n"
        "print(*{'sklearn', 'torchvision', 'optuna', 'plotly'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_an_entry_point_may_be_a_mapping_or_a_function_that_returns_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "MAPPING = {'a/b/sgd': lambda: _make('a/b/sgd')}\ndef function(): return MAPPING"
    write(tmp_path / "plugin.py", code)
    monkeypatch.syspath_prepend(tmp_path)
    for attribute in ("MAPPING", "function"):
        offer(monkeypatch, mine=f"plugin:{attribute}")
        assert names() == ["a/b/sgd"]
        assert load("a/b/sgd").name == "a/b/sgd"


def test_two_entry_points_that_claim_one_name_are_both_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(
        monkeypatch,
        first="batchfront_studies:workloads",
        second="batchfront_studies.digits:workloads",
    )
    said = refusal("digits/mlp/sgd")
    assert "first = batchfront_studies:workloads" in said
    assert "second = batchfront_studies.digits:workloads" in said


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("no_such_module:workloads", "ModuleNotFoundError"),
        ("batchfront_studies:no_such_function", "AttributeError"),
        ("batchfront_studies.digits:step_budget", "TypeError"),
        ("batchfront_studies:__name__", "offers a str, not a mapping"),
    ],
)
def test_an_entry_point_that_offers_no_workloads_is_named(
    value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, broken=value)
    assert f"broken = {value}" in refusal("digits/mlp/sgd")
    assert says in refusal("digits/mlp/sgd")


# As module:attribute


def test_a_module_and_attribute_load_what_that_function_returns() -> None:
    assert load("batchfront_studies.digits:sgd").name == "digits/mlp/sgd"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("no_such_module:sgd", "No module named 'no_such_module'"),
        ("no_such_module:sgd", "path/to/file.py:function"),
        ("batchfront_studies.nothing:sgd", "No module named 'batchfront_studies.nothing'"),
        ("studies.digits.nope:sgd", "No module named 'studies"),
        ("batchfront_studies.digits:sdg", "did you mean sgd"),
        ("batchfront_studies.digits:", "has no ''"),
        (":sgd", "failed"),
        (
            "batchfront_studies.digits:LEARNING_RATE",
            "is a Log, not a function that returns a Workload",
        ),
        ("batchfront_studies.digits:workloads", "(dict), not a Workload"),
        ("batchfront_studies.digits:step_budget", "failed: TypeError"),
    ],
)
def test_a_module_without_such_a_workload_says_what_there_is(spec: str, says: str) -> None:
    assert says in refusal(spec)


# As a file


def test_a_function_of_a_file_needs_no_annotation(tmp_path: Path) -> None:
    spec = write(tmp_path / "mine.py", "def mine(): return _make()")
    assert load(f"{spec}:mine").name == "toy/linear/sgd"


def test_a_relative_path_is_taken_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "mine.py", "def mine(): return _make()")
    monkeypatch.chdir(tmp_path)
    assert load("./mine.py:mine").name == load("mine.py:mine").name == "toy/linear/sgd"


@pytest.mark.parametrize(
    "annotation", ["Workload", "'Workload'", "'batchfront.workload.workload.Workload'"]
)
def test_the_only_function_that_returns_a_workload_need_not_be_named(
    tmp_path: Path, annotation: str
) -> None:
    code = f"def helper(): ...\ndef mine() -> {annotation}: return _make()"
    assert load(write(tmp_path / "mine.py", code)).name == "toy/linear/sgd"


def test_a_workload_function_that_the_file_imported_is_not_taken_for_its_own(
    tmp_path: Path,
) -> None:
    code = "from batchfront_studies.digits import sgd\ndef mine() -> Workload: return _make()"
    assert load(write(tmp_path / "mine.py", code)).name == "toy/linear/sgd"
    assert load(write(tmp_path / "mine.py", code) + ":sgd").name == "digits/mlp/sgd"


def test_several_functions_have_to_be_chosen_from(tmp_path: Path) -> None:
    code = "def one() -> Workload: ...\ndef two() -> Workload: ...\ndef other(): ..."
    spec = write(tmp_path / "mine.py", code)
    assert refusal(spec).endswith("its workloads: one, two")
    assert "has no function 'three'; its workloads: one, two" in refusal(f"{spec}:three")


def test_a_file_without_such_a_function_lists_those_it_has(tmp_path: Path) -> None:
    spec = write(tmp_path / "mine.py", "def one(): ...\ndef _hidden(): ...")
    assert refusal(f"{spec}:two").endswith("has no function 'two'; its functions: one")
    assert refusal(write(tmp_path / "empty.py", "")).endswith("it has no functions")


def test_a_file_that_does_not_exist_is_said_to_be_missing(tmp_path: Path) -> None:
    assert refusal(f"{tmp_path}/none.py:mine") == f"no file {tmp_path}/none.py"
    assert refusal("none.py:mine") == f"no file none.py in {Path.cwd()}"
    assert "no file" in refusal(write(tmp_path / "folder.py" / "x", "").removesuffix("/x"))


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("\n\nundefined", "mine.py, line 3: NameError: name 'undefined' is not defined"),
        ("\nimport not_there", "mine.py, line 2: ModuleNotFoundError: No module"),
        ("x = 1\ndef f(:", "mine.py, line 2: SyntaxError: invalid syntax"),
        ("import torch\ntorch.zeros(2) @ torch.zeros(3)", "mine.py, line 2: RuntimeError"),
        ("raise ValueError('a\\nb')", "mine.py, line 1: ValueError: a b"),
        ("raise SystemExit", "mine.py, line 1: SystemExit"),
        ("import json\njson.loads('{')", "mine.py, line 2: JSONDecodeError"),
    ],
)
def test_a_file_that_does_not_run_says_where_and_why(tmp_path: Path, code: str, says: str) -> None:
    spec = write(tmp_path / "mine.py", code, before="")
    assert f"{spec} does not run: {says}" in refusal(f"{spec}:mine")


def test_an_error_that_arises_in_batchfront_is_placed_where_the_file_calls_it(
    tmp_path: Path,
) -> None:
    code = "from batchfront import load_frontier\nload_frontier(3, 'digits/mlp/sgd')"
    spec = write(tmp_path / "mine.py", code, before="")
    assert "mine.py, line 2: AttributeError" in refusal(f"{spec}:mine")


@pytest.mark.parametrize("line", ["from service import Goal", "from service.goal import Goal"])
def test_a_file_from_before_is_told_what_to_import(tmp_path: Path, line: str) -> None:
    spec = write(tmp_path / "mine.py", line, before="")
    said = refusal(f"{spec}:mine")
    assert "mine.py, line 1" in said
    assert said.endswith("if batchfront is meant, it is imported as `batchfront` now")


def test_an_error_in_a_module_beside_the_file_is_placed_there(tmp_path: Path) -> None:
    write(tmp_path / "beside.py", "1 / 0", before="")
    assert "beside.py, line 1: ZeroDivisionError" in refusal(
        write(tmp_path / "mine.py", "import beside", before="")
    )


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("mine = 3", "is 3 (int), not a function"),
        ("def mine() -> Workload: return 3", "returned 3 (int), not a Workload"),
        ("def mine(batch_size): ...", "TypeError: mine() missing 1 required positional"),
        (
            "def mine(): return 1 / 0",
            f"mine.py, line {WORKLOAD.count(chr(10)) + 1}: ZeroDivisionError",
        ),
    ],
)
def test_what_is_not_a_function_that_returns_a_workload_is_refused(
    tmp_path: Path, code: str, says: str
) -> None:
    assert says in refusal(write(tmp_path / "mine.py", code) + ":mine")


def test_a_workload_itself_is_taken_too(tmp_path: Path) -> None:
    assert load(write(tmp_path / "mine.py", "mine = _make()") + ":mine").name == "toy/linear/sgd"


def test_the_error_of_a_workload_that_does_not_fit_together_is_passed_on(tmp_path: Path) -> None:
    spec = write(tmp_path / "mine.py", "def mine(): return _make('toy')")
    with pytest.raises(WorkloadError, match="must read dataset/model/optimizer"):
        load(f"{spec}:mine")
    spec = write(tmp_path / "mine.py", "SPACE = Log(1.0, 0.1)")
    with pytest.raises(SearchSpaceError, match=r"Log\(1, 0.1\): low must be less than high"):
        load(f"{spec}:mine")


def test_a_file_may_import_the_modules_beside_it_at_once_and_later(tmp_path: Path) -> None:
    write(tmp_path / "beside.py", "NAME = 'beside/linear/sgd'", before="")
    write(tmp_path / "pack" / "__init__.py", "", before="")
    write(tmp_path / "pack" / "later.py", "NAME = 'later/linear/sgd'", before="")
    code = """
    import beside
    def at_once(): return _make(beside.NAME)
    def later():
        from pack.later import NAME
        return _make(NAME)
    """
    spec = write(tmp_path / "mine.py", code)
    assert load(f"{spec}:at_once").name == "beside/linear/sgd"
    assert load(f"{spec}:later").name == "later/linear/sgd"


def test_what_lies_beside_a_file_hides_no_installed_module_afterwards(tmp_path: Path) -> None:
    write(tmp_path / "colorsys.py", "", before="")
    load(write(tmp_path / "mine.py", "def mine() -> Workload: return _make()"))
    import colorsys

    assert Path(str(colorsys.__file__)).parent == Path(os.__file__).parent


def test_files_of_one_name_in_two_folders_keep_apart_and_so_do_their_neighbours(
    tmp_path: Path,
) -> None:
    code = "import beside\ndef mine() -> Workload: return _make(beside.NAME)"
    specs = {}
    for folder in ("first", "second"):
        write(tmp_path / folder / "beside.py", f"NAME = '{folder}/linear/sgd'", before="")
        specs[folder] = write(tmp_path / folder / "mine.py", code)
    for folder in ("first", "second", "first"):
        assert load(specs[folder]).name == f"{folder}/linear/sgd"


def test_a_file_loaded_again_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    spec = write(path, "def mine() -> Workload: return _make('one/linear/sgd')")
    assert [load(spec).name for _ in range(2)] == ["one/linear/sgd"] * 2
    write(path, "def mine() -> Workload: return _make('another/linear/sgd')")
    assert load(spec).name == "another/linear/sgd"


def test_a_file_may_hold_dataclasses_and_is_called_what_it_is_called(tmp_path: Path) -> None:
    code = """
    from dataclasses import dataclass
    @dataclass
    class Sizes:
        train: "int" = 1
    def mine() -> Workload: return _make()
    """
    assert isinstance(load(write(tmp_path / "torch.py", code)), Workload)
    assert "zeros" in dir(sys.modules["torch"])


# As module:function in the current folder


def test_a_module_is_found_in_a_folder_alone_and_in_packages_there(tmp_path: Path) -> None:
    write(tmp_path / "beside_it.py", "NAME = 'beside/linear/sgd'", before="")
    code = "import beside_it\ndef mine(): return _make(beside_it.NAME)"
    write(tmp_path / "my_module.py", code)
    write(tmp_path / "my_package" / "__init__.py", "NAME = 'pack/linear/sgd'", before="")
    write(tmp_path / "my_package" / "mod.py", "from . import NAME\ndef mine(): return _make(NAME)")
    write(tmp_path / "bare" / "mod.py", "def mine():\n    import beside_it\n    return _make()")
    assert load("my_module:mine", tmp_path).name == "beside/linear/sgd"
    assert load("my_package.mod:mine", tmp_path).name == "pack/linear/sgd"
    assert load("bare.mod:mine", tmp_path).name == "toy/linear/sgd"
    assert "No module named 'nowhere_at_all'" in refusal("nowhere_at_all:mine")


def test_a_folder_hides_an_installed_module_as_it_does_from_python_m(tmp_path: Path) -> None:
    write(tmp_path / "colorsys.py", "def mine(): return _make()")
    sys.modules.pop("colorsys", None)
    assert load("colorsys:mine", tmp_path).name == "toy/linear/sgd"
    sys.modules.pop("colorsys")
    assert "has no 'mine'" in refusal("colorsys:mine")


def test_a_module_of_a_folder_is_found_by_workers_from_any_other(tmp_path: Path) -> None:
    folder = tmp_path / "with: colon"
    write(folder / "my_package" / "mod.py", "def mine(): return _make()")
    load("my_package.mod:mine", folder)
    spec = spec_for_workers("my_package.mod:mine", folder)
    assert spec == f"{folder}:my_package.mod:mine"
    assert load(spec).name == "toy/linear/sgd"
    assert spec_for_workers(spec, tmp_path) == spec
    assert f"no folder {folder}s" in refusal(f"{folder}s:my_package.mod:mine")


def test_a_module_that_is_installed_needs_no_folder(tmp_path: Path) -> None:
    load("batchfront_studies.digits:sgd", tmp_path)
    assert (
        spec_for_workers("batchfront_studies.digits:sgd", tmp_path)
        == "batchfront_studies.digits:sgd"
    )


# By a name from before


def test_a_module_of_ours_goes_on_by_the_name_that_it_had_before(tmp_path: Path) -> None:
    assert load("studies.digits:sgd").name == "digits/mlp/sgd"
    assert load("studies.digits:sgd", tmp_path).name == "digits/mlp/sgd"
    assert load(f"{tmp_path}:studies.digits:sgd").name == "digits/mlp/sgd"  # was a checkout's
    assert spec_for_workers("studies.digits:sgd", tmp_path) == "studies.digits:sgd"
    said = "importing 'studies.nowhere' failed: ModuleNotFoundError: No module named 'studies"
    assert said in refusal("studies.nowhere:sgd")


def test_a_package_of_the_users_own_by_such_a_name_comes_first(tmp_path: Path) -> None:
    write(tmp_path / "studies" / "digits.py", "def sgd(): return _make('mine/linear/sgd')")
    write(tmp_path / "studies" / "broken.py", "import studies.not_there", before="")
    assert load("studies.digits:sgd", tmp_path).name == "mine/linear/sgd"
    spec = spec_for_workers("studies.digits:sgd", tmp_path)
    assert spec == f"{tmp_path}:studies.digits:sgd"
    assert load(spec).name == "mine/linear/sgd"
    assert "broken.py, line 1: ModuleNotFoundError" in refusal("studies.broken:sgd")
    assert "has no 'momentum'" in refusal("studies.digits:momentum")


# For other processes


def test_a_file_spec_for_workers_is_right_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert spec_for_workers("./mine.py:mine") == f"{tmp_path}/mine.py:mine"
    assert spec_for_workers("mine.py") == f"{tmp_path}/mine.py"
    assert spec_for_workers(f"{tmp_path}/mine.py:mine") == f"{tmp_path}/mine.py:mine"


@pytest.mark.parametrize("spec", ["digits/mlp/sgd", "batchfront_studies.digits:sgd"])
def test_every_other_spec_for_workers_is_as_it_was(spec: str) -> None:
    assert spec_for_workers(spec) == spec


def test_a_variants_name_is_answered_with_how_to_ask_for_one() -> None:
    with pytest.raises(CatalogError, match="is asked for by --variant wider"):
        load("digits/mlp/momentum@wider")
