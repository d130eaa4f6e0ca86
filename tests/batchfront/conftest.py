"""A real browser, for the tests that look at pages; databases and heats to work on."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from batchfront.store.url import Storage, open_storage
from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.training.preflight import examined
from batchfront.training.preflight.checks import Checked, check
from batchfront.worker.setup import LoadedWorkload, set_up
from batchfront.workload.workload import Workload
from tests.searches import claim, planned, worker
from tests.toy import plain

_checked: dict[object, tuple[Workload, Checked]] = {}


@pytest.fixture(autouse=True)
def checks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What checking a workload shows, which takes most of a second, is kept for the next time that
    one with the very same parts is planned in this process."""

    def checked(workload: Workload, batch_sizes: Sequence[int]) -> Checked:
        known = repr(workload), tuple(batch_sizes), os.environ.get("TOY_WIDTH")
        if known not in _checked:  # the workload is kept too: what repr says is said of it alone
            _checked[known] = workload, check(workload, batch_sizes)
        return _checked[known][1]

    monkeypatch.setattr(examined, "check", checked)


@pytest.fixture
def second_storage(made_database: Path, tmp_path: Path) -> Iterator[Storage]:
    """A database beside `storage`, with no studies: for what its own are compared with."""
    path = tmp_path / "second.db"
    path.write_bytes(made_database.read_bytes())
    storage = open_storage(f"sqlite:///{path}")
    yield storage
    storage.close()


@pytest.fixture
def claimed(storage: Storage) -> tuple[Study, LoadedWorkload, list[Slot]]:
    """Four claimed trials of a study."""
    planned(storage, plain, batch_sizes=(4,))
    study, taken = claim(worker(storage))
    return study, set_up(study, torch.device("cpu"), None), taken


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A real Chromium, for tests marked `browser`."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is on the path")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    quiet = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    quiet += ["--disable-background-networking", "--disable-component-update"]
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=quiet)
        yield launched
        launched.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """An empty tab. Its `heard` lists errors, warnings and dialogs, its `asked` requests."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.heard, tab.asked = [], []

    def dismiss(dialog: Any) -> None:
        tab.heard.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    tab.on("dialog", dismiss)
    tab.on("console", lambda m: m.type in ("error", "warning") and tab.heard.append(m.text))
    tab.on("pageerror", lambda error: tab.heard.append(str(error)))
    tab.on("request", lambda request: tab.asked.append((request.method, request.url)))
    yield tab
    context.close()
