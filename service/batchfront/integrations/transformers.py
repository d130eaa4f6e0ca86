"""Trials that a transformers `Trainer` trains."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from batchfront.errors import WorkloadError
from batchfront.integrations.checks import made, refuse_other_batch_size, required
from batchfront.reporting import TrialEnded, this_trial
from batchfront.workload.goal import Goal
from batchfront.workload.loop import Loop, Trial

transformers = required("transformers", since="4.57")


def loop(make_trainer: Callable[..., Any], *, goal: Goal, **parts: Any) -> Loop:
    """A workload whose trials a `Trainer` trains.

    make_trainer -- returns the user's own Trainer, ready to train for the step budget; called with
                    what it names of the metaparameters, `batch_size`, `seed`, `step_budget`,
                    `device` and `directory`
    goal         -- of a metric that the Trainer's evaluation has: `eval_loss`
    parts        -- name, search_space, step_budget, batch_sizes and the others of a `Loop`
    """
    return Loop(train=_Train(make_trainer, goal.metric.name), goal=goal, **parts)


class Callback(transformers.TrainerCallback):  # type: ignore[name-defined, misc]
    """Reports a Trainer's evaluations to the trial that it trains.

    Where the trial's study has a grid it is evaluated at the grid's steps, whatever the Trainer's
    own `eval_strategy`; where it has none, as that of a program, when the Trainer does so.

    metric -- the key of the evaluations that the goal is of
    trial  -- None: the one that this program trains
    """

    def __init__(self, metric: str = "eval_loss", trial: Trial | None = None) -> None:
        self.ended: TrialEnded | None = None
        self._metric, self._trial = metric, this_trial() if trial is None else trial
        self._due: int | None = None
        self._losses, self._logged = 0.0, 0  # their sum over steps, and the last of these
        self._from = 0
        self._metrics: list[str] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if args.auto_find_batch_size:
            raise WorkloadError(
                "auto_find_batch_size takes another batch size than the study's where memory is "
                "short: leave it out, and use gradient_accumulation_steps"
            )
        split = args.accelerator_config is not None and args.accelerator_config.split_batches
        devices = 1 if split else args.world_size * max(args.n_gpu, 1)
        accumulation = args.gradient_accumulation_steps
        per_device = args.per_device_train_batch_size
        refuse_other_batch_size(self._trial, per_device, accumulation, devices)
        args.logging_nan_inf_filter = False  # which hides that a loss has diverged

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._refuse_unreported()
        if self._trial.has_grid:
            control.should_evaluate = self._trial.evaluates(state.global_step)
        if control.should_evaluate:
            control.should_log = True  # the mean training loss, before the evaluation
            self._due = state.global_step

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._trial.has_grid:
            control.should_evaluate = False
        elif control.should_evaluate:
            self._due = state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self._losses += logs["loss"] * (state.global_step - self._logged)
            self._logged = state.global_step

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any, **_: Any) -> None:
        if state.global_step != self._due:
            return
        if self._metric not in metrics:  # but perhaps in those of another data set
            self._metrics += metrics
            return
        step, self._due = state.global_step, None
        steps, losses = self._logged - self._from, self._losses
        self._from, self._losses, self._metrics = self._logged, 0.0, []
        try:
            self._trial.report(step, metrics[self._metric], losses / steps if steps else None)
        except TrialEnded as ended:
            self.ended, control.should_training_stop = ended, True

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._refuse_unreported()

    def _refuse_unreported(self) -> None:
        if self._due is not None:
            raise WorkloadError(
                f"the evaluation at step {self._due} has no {self._metric}, but "
                f"{', '.join(dict.fromkeys(self._metrics)) or 'nothing'}; the goal's metric is one "
                "of them"
            )


@dataclass(frozen=True)
class _Train:
    """A loop's function, of data, so that the loop's code is that of `make`."""

    make: Callable[..., Any]
    metric: str

    def __call__(self, trial: Trial) -> None:
        trainer = made(self.make, trial)
        callback = Callback(self.metric, trial)
        trainer.add_callback(callback)
        trainer.train()
        if callback.ended is not None:
            raise callback.ended
