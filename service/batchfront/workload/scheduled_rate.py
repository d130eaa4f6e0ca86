"""A learning rate that a schedule has set, and what no schedule can be; without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from batchfront.errors import WorkloadError

PLATEAU = (
    "ReduceLROnPlateau sets rates by what evaluations find, which batchfront makes when it needs "
    "them; name the steps or epochs instead, as MultiStepLR does, or train by a batchfront.Loop, "
    "which evaluates when it likes"
)


class Unfit(WorkloadError):
    """What makes schedulers is given otherwise than a schedule can have it."""


class ScheduledRate(float):
    """A step's learning rate, from a schedule by which parameter groups that were made with other
    rates have more than a multiple of it.

    made_for  -- the trial's learning rate, that the groups were made for
    of_groups -- from the rates that an optimizer's groups were made with, to those of this step
    """

    made_for: float
    of_groups: Callable[[tuple[float, ...]], Sequence[float]]

    def __new__(
        cls,
        rate: float,
        made_for: float,
        of_groups: Callable[[tuple[float, ...]], Sequence[float]],
    ) -> ScheduledRate:
        found = super().__new__(cls, rate)
        found.made_for, found.of_groups = made_for, of_groups
        return found
