"""A workload of a notebook's cells is kept as a file that makes the same, or refused."""

from pathlib import Path
from types import ModuleType

import pytest

from batchfront.errors import CatalogError
from batchfront.notebook.cells import FOLDER, Cells, kept_as_file
from batchfront.workload import catalog
from batchfront.workload.loop import Loop

HEAD = "import numpy as np\nfrom batchfront import Goal, Log, Loop"

DATA = "rng = np.random.default_rng(0)\ndata = rng.normal(size=100)\nscale = 2"

LOOP = """
def train(trial):
    for step, batch in trial.batches(100):
        if trial.evaluates(step):
            yield trial.measured(step, float(scale * data[batch].mean()) + SHIFT)


loop = Loop(
    name="cells/mean/none",
    train=train,
    goal=Goal("error", 0.0, better="lower"),
    search_space={"rate": Log(0.1, 1.0)},
    step_budget=50,
    batch_sizes=(4, 8),
)
"""


def run(*texts: str) -> Cells:
    """A notebook in which these cells have been run."""
    names = vars(ModuleType("__main__"))
    for text in texts:
        exec(compile(text, "<cell>", "exec"), names)
    return Cells(names, texts)


@pytest.fixture
def cells() -> Cells:
    return run(HEAD, DATA, "SHIFT = 1", LOOP, "print = 3")


def test_its_file_makes_the_same_workload(cells: Cells, tmp_path: Path) -> None:
    spec = kept_as_file(cells, "loop", tmp_path)
    (file,) = (tmp_path / FOLDER).iterdir()
    assert spec == f"{tmp_path}:{FOLDER}.{file.stem}:loop"
    assert file.stem.startswith("cells_cells_mean_none_")
    assert "scale = 2" in file.read_text()
    assert "print" not in file.read_text()
    loaded = catalog.load(spec)
    assert isinstance(loaded, Loop)
    assert loaded.describe() == cells.names["loop"].describe()


def test_a_changed_cell_is_another_file_and_the_same_one_the_same(
    cells: Cells, tmp_path: Path
) -> None:
    first = kept_as_file(cells, "loop", tmp_path)
    assert kept_as_file(cells, "loop", tmp_path) == first
    assert kept_as_file(run(HEAD, DATA, "SHIFT = 2", LOOP), "loop", tmp_path) != first
    assert len(list((tmp_path / FOLDER).iterdir())) == 2


def test_a_module_beside_the_notebook_is_found(tmp_path: Path) -> None:
    (tmp_path / "shifting_for_cells.py").write_text("SHIFT = 4\n")
    found = ModuleType("shifting_for_cells")
    found.SHIFT = 4  # type: ignore[attr-defined]
    texts = (HEAD, DATA, "from shifting_for_cells import SHIFT", LOOP)
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(tmp_path))
        spec = kept_as_file(run(*texts), "loop", tmp_path)
    assert isinstance(catalog.load(spec), Loop)


def test_what_was_changed_behind_the_cells_is_named(cells: Cells, tmp_path: Path) -> None:
    cells.names["data"][3] = 7  # type: ignore[index]
    with pytest.raises(CatalogError, match=r"another than in the notebook: data\. Run the cells"):
        kept_as_file(cells, "loop", tmp_path)
    assert not (tmp_path / FOLDER).exists()


def test_data_without_a_seed_is_refused(tmp_path: Path) -> None:
    unseeded = DATA.replace("default_rng(0)", "default_rng()")
    with pytest.raises(CatalogError, match=r": data\. .* drawn at random needs a seed"):
        kept_as_file(run(HEAD, unseeded, "SHIFT = 1", LOOP), "loop", tmp_path)


def test_a_stale_definition_is_refused(tmp_path: Path) -> None:
    cells = run(HEAD, DATA, "SHIFT = 1", LOOP)
    later = Cells({**cells.names}, (*cells.texts, LOOP.replace("(4, 8)", "(4, 16)")))
    with pytest.raises(CatalogError, match="another than in the notebook"):
        kept_as_file(later, "loop", tmp_path)


def test_what_no_statement_binds_is_named(cells: Cells, tmp_path: Path) -> None:
    hidden = Cells(cells.names, tuple(one for one in cells.texts if "SHIFT = 1" not in one))
    with pytest.raises(CatalogError, match="no statement of a cell binds SHIFT; write it in"):
        kept_as_file(hidden, "loop", tmp_path)


def test_what_only_a_notebook_has_is_named(cells: Cells, tmp_path: Path) -> None:
    asking = LOOP.replace("+ SHIFT", "+ len(get_ipython().getoutput('ls'))")
    with pytest.raises(CatalogError, match="uses get_ipython, which only a notebook has"):
        kept_as_file(run(HEAD, DATA, asking), "loop", tmp_path)


def test_a_function_that_makes_a_workload_is_kept_too(tmp_path: Path) -> None:
    body = "\n".join(f"    {line}" for line in LOOP.splitlines())
    made = f"def make():\n{body}\n    return loop"
    spec = kept_as_file(run(HEAD, DATA, "SHIFT = 1", made), "make", tmp_path)
    assert catalog.load(spec).name == "cells/mean/none"


def test_names_are_found_by_what_they_stand_for(cells: Cells) -> None:
    assert cells.name_of(cells.names["loop"]) == "loop"
    assert cells.name_of(object()) is None


def test_there_are_no_cells_where_no_notebook_is() -> None:
    assert Cells.here() is None
