"""The learning rates that one of torch's schedulers sets, step by step."""

from array import array
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from batchfront.workload.scheduled_rate import PLATEAU, Unfit

_SETS = ("params", "lr")  # of a parameter group, what a scheduler may set

_BY_GROUP = ("lr_lambdas, but got", "same length as optimizer.param_groups")  # in torch's messages


class ScheduledRates:
    """The rates of an optimizer's parameter groups, as a scheduler sets them in a training loop.

    They are asked of a scheduler of an optimizer that updates nothing, as far as they are wanted.

    make -- makes the scheduler of an optimizer
    own  -- the rates that the groups were made with
    """

    def __init__(self, make: Callable[[Any], Any], own: tuple[float, ...]) -> None:
        groups = [{"params": [torch.zeros(())], "lr": rate} for rate in own]
        self._optimizer = torch.optim.SGD(groups, lr=own[0])
        self._before = self._others()
        self._scheduler = self._made(make)
        _refuse_unfit(self._scheduler, self._optimizer)
        self._optimizer.step()  # or torch warns of the scheduler's first
        self._rates = array("d")  # of all groups, step after step
        self._note()

    def _made(self, make: Callable[[Any], Any]) -> Any:
        try:
            return make(self._optimizer)
        except ValueError as error:
            if not any(words in str(error) for words in _BY_GROUP):
                raise
            raise Unfit(
                f"{error}; give what holds for all parameter groups, whose own rates the optimizer "
                "is made with"
            ) from error

    def at(self, place: int) -> "array[float]":
        """The rates of the groups after the scheduler's `step` has been called so many times.

        Raises WorkloadError if it sets something else than rates, and what it raises itself.
        """
        groups = len(self._optimizer.param_groups)
        known = len(self._rates) // groups
        if known <= place:
            for _ in range(place + 1 - known):
                self._scheduler.step()
                self._note()
        return self._rates[place * groups : (place + 1) * groups]

    def _note(self) -> None:
        found = self._others()
        for before, after in zip(self._before, found, strict=True):
            if after != before:
                changed = ", ".join(name for name in before if after[name] != before[name])
                raise Unfit(
                    f"{type(self._scheduler).__name__} sets {changed} beside the learning rate, "
                    "and a schedule has learning rates alone; with OneCycleLR and CyclicLR, write "
                    "cycle_momentum=False"
                )
        self._rates.extend(float(group["lr"]) for group in self._optimizer.param_groups)

    def _others(self) -> list[dict[str, Any]]:
        names = self._optimizer.defaults
        return [
            {name: group[name] for name in names if name not in _SETS}
            for group in self._optimizer.param_groups
        ]


def _refuse_unfit(made: object, optimizer: torch.optim.Optimizer) -> None:
    if isinstance(made, ReduceLROnPlateau):
        raise Unfit(PLATEAU)
    if not isinstance(made, LRScheduler):
        raise Unfit(
            "its factory must return a torch.optim.lr_scheduler of the optimizer that it is given; "
            f"returned {type(made).__name__}"
        )
    if getattr(made, "optimizer", optimizer) is not optimizer:
        raise Unfit(
            "its factory must make a new scheduler of the optimizer that it is given; it returned "
            f"a {type(made).__name__} of another one"
        )
