"""Has a workload's schedule a learning rate for every step, and the one that is meant?"""

import math

from batchfront.errors import WorkloadError
from batchfront.training.preflight.wording import naming
from batchfront.training.training_step import clip_norm
from batchfront.workload.lr_schedule import TrainingSize
from batchfront.workload.scheduled_rate import Unfit
from batchfront.workload.search_space import Metaparameters, point_at
from batchfront.workload.torch_schedule import FactorSchedule
from batchfront.workload.workload import Workload

_ASKED = 1000  # steps over the budget, at the middle of the search space

_LONGEST = 10_000
"""Steps that are asked of at most: one of torch's schedulers goes through all before, for a second
in 60,000."""

_SMALL = 0.05
"""Below which all that a function gives are learning rates, and no factors of them."""


def check_rates(workload: Workload, batch_size: int, examples: int) -> None:
    """Ask for learning rates at both ends and in the middle of the search space.

    Raises WorkloadError in one line if there are none, or they don't depend on the learning rate
    that is searched, or other numbers of a step's metaparameters are none.
    """
    size = TrainingSize(batch_size, examples, workload.steps_allowed(batch_size))
    longest = size.step_budget if isinstance(workload.schedule, FactorSchedule) else _LONGEST
    last = min(size.step_budget, longest) - 1
    for position in (0.0, 0.5, 1.0):
        searched = workload.searched(batch_size)
        values = point_at(workload.space(batch_size), [position] * len(searched))
        if position == 0.5:
            steps = [*range(0, last, last // _ASKED + 1), last]
            rates = _rates(workload, size, steps, values)
            _refuse_rates_as_factors(workload, rates, values)
            if "learning_rate" in searched:
                _refuse_unused(workload, size, steps, values, rates)
        else:
            _rates(workload, size, [0, last], values)
        clip_norm(workload, values)
        if workload.average is not None:
            workload.average.share(0, values)


def _rates(
    workload: Workload, size: TrainingSize, steps: list[int], values: Metaparameters
) -> list[float]:
    at = f"batch size {size.batch_size} with {dict(values)}"
    try:
        with naming(workload, f"its schedule fails at {at}"):
            schedule = workload.schedule.at(size)
            rates = [float(schedule.learning_rate_at(step, values)) for step in steps]
    except Unfit as error:
        raise WorkloadError(f"{workload.name}: its schedule: {error}") from error
    for step, rate in zip(steps, rates, strict=True):
        if not 0 <= rate < math.inf:
            raise WorkloadError(
                f"{workload.name}: its schedule makes a learning rate of {rate:g} at step {step}, "
                f"at {at}; a rate is a number of 0 or more"
            )
    return rates


def _refuse_rates_as_factors(
    workload: Workload, rates: list[float], values: Metaparameters
) -> None:
    """As the function of the step that many loops have gives the rate itself."""
    largest = max(rates) / float(values["learning_rate"])
    if isinstance(workload.schedule, FactorSchedule) and largest < _SMALL:
        raise WorkloadError(
            f"{workload.name}: its schedule's function gives at most {largest:g}, where it gives "
            "what the trial's learning rate is multiplied by, 1 for all of it; divide by its "
            "largest rate, and search learning_rate in its place"
        )


def _refuse_unused(
    workload: Workload,
    size: TrainingSize,
    steps: list[int],
    values: Metaparameters,
    rates: list[float],
) -> None:
    """Rates that are the same at any learning rate."""
    twice = {**values, "learning_rate": 2 * float(values["learning_rate"])}
    if rates == _rates(workload, size, steps, twice) and any(rates):
        raise WorkloadError(
            f"{workload.name}: its schedule makes the same rates of any learning_rate "
            f"({rates[0]:g} at first), and a search draws one; pass it on, as in "
            "def factory(optimizer, *, learning_rate): return CyclicLR(optimizer, "
            "base_lr=learning_rate / 10, max_lr=learning_rate, cycle_momentum=False)"
        )
