"""Weights & Biases: offline runs in a folder, which `wandb sync` uploads."""

import shutil
from pathlib import Path

import wandb

from batchfront.exchange.trackers.runs import TrackedRun, by_step, new_folder, project
from batchfront.printable import shell_word

_LONGEST = 64  # characters of a tag
_DONE = "batchfront-done"


class _Offline:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: list[TrackedRun] = []
        self._settings = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            save_code=False,
            x_disable_stats=True,
            x_disable_meta=True,
        )

    def has(self, run: TrackedRun) -> bool:
        return any((found / _DONE).exists() for found in self._folders(run))

    def write(self, run: TrackedRun) -> None:
        for part in self._folders(run):
            shutil.rmtree(part)
        tags = [run.tags[name] for name in ("outcome", "purpose") if run.tags.get(name)]
        with wandb.init(
            project=project(run.workload),
            id=run.key,
            name=run.name,
            group=run.group,
            config={**run.config, **{f"batchfront/{k}": v for k, v in run.tags.items()}},
            tags=[tag[:_LONGEST] for tag in tags],
            dir=str(self._folder),
            mode="offline",
            settings=self._settings,
        ) as made:
            for step, values in by_step(run.curves).items():
                made.log(values, step=step)
            made.summary.update(run.summary)
        self._written.append(run)

    def _folders(self, run: TrackedRun) -> list[Path]:
        return list((self._folder / "wandb").glob(f"offline-run-*-{run.key}"))

    def close(self) -> str:
        """End W&B's own process, which writes files out after a run's end, and mark what is there
        whole."""
        wandb.teardown()
        for run in self._written:
            for whole in self._folders(run):
                (whole / _DONE).touch()
        return f"upload them with: wandb sync {shell_word(str(self._folder))}/wandb/offline-run-*"


def open_tracker(where: str) -> _Offline:
    """A folder, made if it isn't there."""
    folder = new_folder(where)
    return _Offline(folder)
