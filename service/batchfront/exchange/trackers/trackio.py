"""trackio: a project for each workload, in a folder of its databases."""

import io
import os
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

from batchfront.exchange.trackers.runs import TrackedRun, by_step, new_folder, project
from batchfront.printable import shell_word

_RESULT = "result/"


class _Trackio:
    def __init__(self, folder: Path, trackio: Any) -> None:
        self._folder, self._trackio = folder, trackio
        self._there: dict[str, set[str]] = {}

    def has(self, run: TrackedRun) -> bool:
        """Whether the run is there with its results, which are logged last."""
        kept, of, name = self._trackio.SQLiteStorage, project(run.workload), _name(run)
        if of not in self._there:
            self._there[of] = set(kept.get_runs(of)) if of in kept.get_projects() else set()
        if name not in self._there[of]:
            return False
        if any(key.startswith(_RESULT) for row in kept.get_logs(of, name)[-1:] for key in row):
            return True
        kept.delete_run(of, name)
        return False

    def write(self, run: TrackedRun) -> None:
        with redirect_stdout(io.StringIO()):  # it says for each run where its dashboard is
            self._trackio.init(
                project(run.workload),
                name=_name(run),
                group=run.group,
                config={**run.config, **run.tags},
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
            last = 0
            for step, values in by_step(run.curves).items():
                self._trackio.log(values, step=step)
                last = step
            results = {f"{_RESULT}{name}": value for name, value in run.summary.items()}
            self._trackio.log({**results, f"{_RESULT}whole": 1.0}, step=last)
            self._trackio.finish()

    def close(self) -> str:
        return f"look at them with: TRACKIO_DIR={shell_word(str(self._folder))} trackio show"


def open_tracker(where: str) -> _Trackio:
    """A folder, made if it isn't there."""
    folder = new_folder(where).resolve()
    os.environ["TRACKIO_DIR"] = str(folder)  # which it reads when it is imported
    return _Trackio(folder, import_module("trackio"))


def _name(run: TrackedRun) -> str:
    """A name that no other run of the project has."""
    return f"{run.name} {run.key}"
