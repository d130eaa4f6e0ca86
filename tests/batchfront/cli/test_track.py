"""`batchfront track`, and `import` of what trackers hold, as a user runs them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, select

from batchfront.store.schema import measurements, slots, studies
from batchfront.store.url import open_storage
from tests.batchfront.cli.conftest import Result
from tests.batchfront.cli.test_bad_input import refused
from tests.batchfront.exchange.trackers.stored import NAME, search

Run = Callable[..., Result]

GOAL = ("--goal", "validation/error rate<0.25")


ASIDE = "left out, as `track` wrote it of no trial of a search: confirm (2 runs) and the frontier\n"


def trials(url: str) -> list[dict[str, Any]]:
    """The trials of a database's searches with their learning curves."""
    storage = open_storage(url)
    with storage.read() as conn:
        query = select(studies.c.batch_size, slots).join(studies)
        rows = conn.execute(query.where(studies.c.purpose == "search")).mappings().all()
        names = (
            "batch_size",
            "outcome",
            "params",
            "steps",
            "steps_to_target",
            "steps_lower",
            "metric",
        )
        found = [{name: row[name] for name in names} for row in rows]
        for row, one in zip(rows, found, strict=True):
            curve = select(measurements).where(measurements.c.slot_id == row["id"])
            one["params"] = json.loads(one["params"])
            one["curve"] = [(p.step, p.value) for p in conn.execute(curve).all()]
    storage.close()
    return sorted(found, key=str)


def steps(batchfront: Run, workload: str, *storage: str) -> list[float | None]:
    shown = batchfront("frontier", workload, "--format", "json", *storage)
    return [point["steps"] for point in json.loads(shown.out)["points"]]


def test_trials_go_to_tensorboard_and_come_back(batchfront: Run, folder: Path) -> None:
    pytest.importorskip("tensorboard")
    first = ("--storage", search(folder, confirmed=True))
    told = batchfront("track", "--to", "tensorboard:runs", *first)
    assert (told.code, told.err) == (0, "")
    assert told.out == (
        "tensorboard: 7 runs new, 0 there already; look at them with: tensorboard --logdir runs\n"
    )
    second = ("--workload", "back/x/y", *GOAL, "--storage", "sqlite:///second.db")
    back = batchfront("import", "tensorboard", "runs", *second)
    assert (back.code, back.out) == (0, "back/x/y: 2 batch sizes, 4 trials new, 0 unchanged\n")
    assert back.err == ASIDE
    assert trials(second[-1]) == trials(first[-1])
    again = batchfront("import", "tensorboard", "runs", *second)
    assert again.out == "back/x/y: 2 batch sizes, 0 trials new, 4 unchanged\n"
    assert steps(batchfront, "back/x/y", *second[-2:]) == [40, 40]
    assert batchfront("report", *second[-2:]).code == 0


def test_trials_go_to_mlflow_and_come_back(batchfront: Run, folder: Path) -> None:
    pytest.importorskip("mlflow")
    first = ("--storage", search(folder, confirmed=True))
    assert batchfront("track", NAME, "--to", "mlflow:mlruns", *first).code == 0
    second = ("--experiment", NAME, *GOAL, "--storage", "sqlite:///second.db")
    back = batchfront("import", "mlflow", "mlruns", *second)
    assert (back.code, back.err) == (0, ASIDE)
    assert back.out == f"{NAME}: 2 batch sizes, 4 trials new, 0 unchanged\n"
    assert trials(second[-1]) == trials(first[-1])
    assert steps(batchfront, NAME, *second[-2:]) == [40, 40]


def test_mlflow_is_kept_out_of_the_database_of_a_search(batchfront: Run, folder: Path) -> None:
    pytest.importorskip("mlflow")
    url = search(folder)
    there = inspect(create_engine(url)).get_table_names()
    says = "is a database of batchfront's; give MLflow one of its own"
    refused(batchfront("track", "--to", f"mlflow:{url}", "--storage", url), says)
    refused(batchfront("import", "mlflow", url, "--experiment", "x", *GOAL), says)
    assert inspect(create_engine(url)).get_table_names() == there


def test_nothing_is_made_where_mlflow_has_nothing_or_a_file_is_in_the_way(
    batchfront: Run, folder: Path
) -> None:
    pytest.importorskip("mlflow")
    missing = f"sqlite:///{folder / 'missing.db'}"
    asked = batchfront("import", "mlflow", missing, "--experiment", "x", *GOAL)
    refused(asked, "no such database")
    assert not (folder / "missing.db").exists()
    (folder / "a.txt").write_text("text")
    told = ("--storage", search(folder))
    refused(batchfront("track", "--to", "mlflow:a.txt", *told), "a.txt: is a file; give a folder")


def test_what_can_not_be_tracked_or_imported_is_refused(batchfront: Run, folder: Path) -> None:
    first = ("--storage", search(folder))
    refused(batchfront("track", "--to", "comet:x", *first), "--to 'comet:x': write one of mlflow")
    refused(batchfront("track", "nobody/s", "--to", "wandb:x", *first), "nobody/s")
    (folder / "file").touch()
    refused(batchfront("track", "--to", "tensorboard:file", *first), "file: File exists")
    told = ("--workload", "w/x/y", *GOAL)
    refused(batchfront("import", "tensorboard", ".", *told), "has no event files of TensorBoard")
    refused(batchfront("import", "mlflow", "none", "--experiment", "x", *GOAL), "no such folder")
    (folder / "events.out.tfevents.1").write_bytes(b"\x18" + b"\0" * 40)
    damaged = batchfront("import", "tensorboard", ".", *told)
    assert (damaged.code, damaged.out) == (1, "")
    assert "events.out.tfevents.1" in damaged.err
    assert len(damaged.err.splitlines()) == 1
