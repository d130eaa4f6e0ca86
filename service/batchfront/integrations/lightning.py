"""Trials that a Lightning `Trainer` trains."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from batchfront.errors import WorkloadError
from batchfront.integrations.checks import made, refuse_other_batch_size, required
from batchfront.reporting import TrialEnded, this_trial
from batchfront.workload.goal import Goal
from batchfront.workload.loop import Loop, Trial

if "pytorch_lightning" in sys.modules:  # the package that the user's code has chosen
    lightning = required("pytorch-lightning", "2.4", "pytorch_lightning")
else:
    lightning = required("lightning", "2.4", "lightning.pytorch")

_NEVER = sys.maxsize  # batches


def loop(make: Callable[..., Any], *, goal: Goal, **parts: Any) -> Loop:
    """A workload whose trials a Lightning `Trainer` trains.

    make  -- returns the Trainer and what its `fit` is given: (trainer, model, train_loader,
             val_loader); called with what it names of the metaparameters, `batch_size`, `seed`,
             `step_budget`, `device` and `directory`
    goal  -- of a metric that `validation_step` logs: `val_loss`
    parts -- name, search_space, step_budget, batch_sizes and the others of a `Loop`
    """
    return Loop(train=_Train(make, goal.metric.name), goal=goal, **parts)


class Callback(lightning.Callback):  # type: ignore[name-defined, misc]
    """Reports a Trainer's validations to the trial that it trains.

    Where the trial's study has a grid it is validated at the grid's steps, whatever the Trainer's
    own `val_check_interval`; where it has none, as that of a program, when the Trainer does so. A
    step is one of the optimizer's; in a module that optimizes by hand, a batch.

    metric -- the name under which `validation_step` logs what the goal is of
    trial  -- None: the one that this program trains
    """

    def __init__(self, metric: str = "val_loss", trial: Trial | None = None) -> None:
        self.ended: TrialEnded | None = None
        self._metric, self._trial = metric, this_trial() if trial is None else trial
        self._step, self._batches, self._is_due = 0, 0, False
        self._loss: Any = 0.0  # the sum since the last report, where the model is
        self._losses = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if self._trial.has_grid:
            trainer.check_val_every_n_epoch = None
            trainer.val_check_batch = _NEVER

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self._batches:
            per_device = lightning.utilities.data.extract_batch_size(batch)
            accumulation, devices = trainer.accumulate_grad_batches, trainer.world_size
            refuse_other_batch_size(self._trial, per_device, accumulation, devices)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches += 1
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if loss is not None:  # which Lightning has divided
            self._loss += loss.detach() * trainer.accumulate_grad_batches
            self._losses += 1
        step = trainer.global_step if pl_module.automatic_optimization else self._batches
        self._is_due = step != self._step and self._trial.evaluates(step)
        self._step = step
        if self._trial.has_grid:
            trainer.val_check_batch = 1 if self._is_due else _NEVER

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if not self._is_due:  # but before training, or as another callback stops it
            return
        if self._metric not in trainer.callback_metrics:
            raise WorkloadError(
                f"the validation at step {self._step} has no {self._metric}, but "
                f"{', '.join(trainer.callback_metrics) or 'nothing'}; the goal's metric is one of "
                "them, logged by validation_step"
            )
        loss = self._loss / self._losses if self._losses else None
        self._loss, self._losses, self._is_due = 0.0, 0, False
        try:
            self._trial.report(self._step, trainer.callback_metrics[self._metric], loss)
        except TrialEnded as ended:
            self.ended, trainer.should_stop = ended, True


@dataclass(frozen=True)
class _Train:
    """A loop's function, of data, so that the loop's code is that of `make`."""

    make: Callable[..., Any]
    metric: str

    def __call__(self, trial: Trial) -> None:
        trainer, *fitted = made(self.make, trial)
        callback = Callback(self.metric, trial)
        trainer.callbacks.append(callback)
        trainer.fit(*fitted)
        if callback.ended is not None:
            raise callback.ended
