"""A database, an export and a user's file of version 0.1.0, when batchfront was imported as
`service` and its workloads as `studies`, go on as if nothing had been renamed.

earlier.tar.gz was made by that version's commands. It holds studies that were planned from the
catalog, from a file (`blobs.py`; as of variants: raced with halving, run one by one, drawn by TPE)
and as `studies.digits:sgd`; a confirmation of a winner; one study of the vectorized engine. Three
were interrupted, as by Ctrl-C, and have checkpoints; others have slots that nobody has begun.
`finished.json` is what that version made of them, where it went on. `exported` was written by
`batchfront export`.
"""

import json
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from batchfront import __version__
from tests.golden.recorded import another_kind, differences
from tests.golden.runs import batchfront, trials_in

ROOT = Path(__file__).parents[2]
INTERRUPTED = ("digits/mlp/sgd/b64", "blobs/mlp/momentum/b4", "blobs/mlp/momentum@tpe/b16")


_SPENT = """
    SELECT training_seconds FROM bf_slots JOIN bf_studies ON study_id = bf_studies.id
    WHERE name = ? ORDER BY number
"""


def unpacked(folder: Path) -> Path:
    """The database in a folder, with the file that a user would have to change one name in."""
    with tarfile.open(Path(__file__).parent / "earlier.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    file = folder / "blobs.py"
    file.write_text(file.read_text().replace("from service import", "from batchfront import"))
    batchfront(folder / "earlier.db", "init", "--upgrade")
    return folder / "earlier.db"


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    return unpacked(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, gone on with to the end; the checkpoints say that a million seconds were spent."""
    database = unpacked(tmp_path_factory.mktemp("earlier"))
    for path in database.parent.glob("earlier.db.checkpoints/*/*/*.pt"):
        state = torch.load(path, weights_only=True)
        state["spent"]["training_seconds"] += 1e6
        torch.save(state, path)
    for variant in ((), ("--variant", "tpe")):  # as the file has moved
        batchfront(database, "plan", f"{database.parent}/blobs.py:blobs", *variant)
    told = ("--code", str(database.parent), "--engine", "sequential", "--quiet")
    batchfront(database, "work", "--device", "cpu", *told)
    return database


def _query(database: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(sql, values).fetchall()


def test_its_frontiers_are_what_they_were(earlier: Path) -> None:
    for workload, steps in (
        ("digits/mlp/momentum", [(16, 462), (64, 176)]),
        ("digits/mlp/adamw", [(64, 114)]),
        ("blobs/mlp/momentum@halved", [(16, 32)]),
        ("blobs/mlp/momentum@single", [(16, 32)]),
    ):
        found = json.loads(batchfront(earlier, "frontier", workload, "--format", "json"))
        assert [(p["batch_size"], p["steps"]) for p in found["points"]] == steps
        assert len(found["code"]) == 1


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("status",), "blobs/mlp/momentum@tpe"),
        (("curve", "digits/mlp/momentum"), "digits/mlp/momentum"),
        (("analyze", "outcomes", "digits/mlp/momentum"), "capped"),
        (
            (
                "confirm",
                "digits/mlp/momentum",
                "--candidates",
                "1",
                "--seeds",
                "2",
                "--batch-sizes",
                "16",
            ),
            "418",
        ),
    ],
)
def test_commands_that_read_go_on(earlier: Path, command: tuple[str, ...], says: str) -> None:
    assert says in batchfront(earlier, *command)


@pytest.mark.parametrize("workload", ["digits/mlp/momentum", "blobs/mlp/momentum@halved"])
def test_a_page_is_written_of_it(earlier: Path, workload: str) -> None:
    page = earlier.parent / "page.html"
    batchfront(earlier, "report", workload, "--output", str(page))
    assert workload in page.read_text()


def test_what_was_begun_is_finished_as_the_version_of_then_did(finished: Path) -> None:
    then = json.loads((finished.parent / "finished.json").read_text())
    now = trials_in(finished)
    assert [*now] == [*then]
    assert all(trial["outcome"] for trials in now.values() for trial in trials)
    if another_kind():
        pytest.skip(another_kind())
    assert list(differences(then, now)) == []


@pytest.mark.parametrize("study", INTERRUPTED)
def test_trials_go_on_from_their_checkpoints(finished: Path, study: str) -> None:
    """A checkpoint is of one version of batchfront and of torch; under others a trial restarts."""
    ((versions,),) = _query(finished, "SELECT versions FROM bf_slots WHERE id = 1")
    then, now = json.loads(versions), {"batchfront": __version__, "torch": torch.__version__}
    if any(then[name] != is_ for name, is_ in now.items()):
        pytest.skip(f"made by batchfront {then['batchfront']} and torch {then['torch']}")
    begun = {"blobs/mlp/momentum@tpe/b16": 3}.get(study)
    spent = [seconds for (seconds,) in _query(finished, _SPENT, study)]
    assert all(seconds > 1e6 for seconds in spent[:begun])


def test_no_checkpoint_is_left(finished: Path) -> None:
    assert not (finished.parent / "earlier.db.checkpoints").exists()


def test_more_trials_are_drawn_by_the_same_definition_and_code(earlier: Path) -> None:
    for spec in ("digits/mlp/adamw", "studies.digits:sgd"):
        assert ": 8 trials, " in batchfront(earlier, "plan", spec, "--trials", "8")


def test_an_export_goes_back_in(earlier: Path, tmp_path: Path) -> None:
    restored = tmp_path / "restored.db"
    batchfront(restored, "import", "export", str(tmp_path / "exported"))
    found, then = trials_in(restored), trials_in(earlier)
    assert [*found] == [name for name in then if name.startswith(("digits/mlp/a", "digits/mlp/m"))]
    assert list(differences({name: then[name] for name in found}, found)) == []


@pytest.mark.parametrize("name", ["service", "studies"])
def test_nothing_of_ours_is_imported_by_a_name_from_before(tmp_path: Path, name: str) -> None:
    program = f"import importlib.util as u; print(getattr(u.find_spec({name!r}), 'origin', None))"
    command = [sys.executable, "-P", "-c", program]
    origin = subprocess.check_output(command, text=True, cwd=tmp_path).strip()
    assert ROOT not in Path(origin).parents
