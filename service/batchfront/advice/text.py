"""An advice in sentences, for a terminal and for the page alike."""

from collections.abc import Callable

from batchfront.advice.advise import Advice
from batchfront.advice.choices import Choice
from batchfront.advice.intervals import Interval
from batchfront.advice.units import Unit, spread, unit_of
from batchfront.frontier.curve.text import SPACE
from batchfront.options import DURATION
from batchfront.phrases import several

TITLES = {
    "fastest": "fastest",
    "cheapest": "cheapest",
    "knee": "as many as pay",
    "by_deadline": "by the deadline",
    "within_budget": "within the budget",
}
"""What a person calls the answers."""

_CLOSEST = {"by_deadline": "fastest", "within_budget": "cheapest"}
"""What comes closest to keeping a limit."""


def unit_for(advice: Advice) -> Unit:
    """The unit in which the times of all its choices are written."""
    return unit_of(one.hours.median for one in advice.choices)


def recommended(advice: Advice) -> str:
    """The name of the answer to act on.

    The cheapest that keeps the deadline, or the fastest that keeps the budget, as far as they were
    given; where neither can be kept what comes closest, the fastest or the cheapest; and if nothing
    was given as many devices as pay, or the fastest where that can't be told.
    """
    given = limits(advice)
    wanted = [*given, _CLOSEST[given[0]]] if given else ["knee", "fastest"]
    return next(name for name in wanted if advice.answers[name] is not None)


def limits(advice: Advice) -> list[str]:
    """The names of the answers that keep what was given: a deadline, a budget."""
    given = {"by_deadline": advice.options.deadline, "within_budget": advice.options.budget}
    return [name for name, limit in given.items() if limit is not None]


def headline(advice: Advice) -> str:
    """What to train on, in a sentence; before it, what was asked and can't be kept."""
    name = recommended(advice)
    choice = advice.answers[name]
    assert choice is not None
    unit = unit_for(advice)
    share = f" ({choice.layout.per_device:,} on each)" if choice.devices > 1 else ""
    hours = f"{unit.text(choice.hours.median)} {unit.name}"
    interval = f"90{SPACE}% interval {ends(choice.hours, unit.text)}"
    return (
        f"{_not_kept(advice)}Train on {where(choice, advice.device)} with batch size "
        f"{choice.batch_size:,}{share}: {hours} ({interval}){_money(choice, unit)}; "
        f"{_why(advice, name, choice)}."
    )


def where(choice: Choice, device: str) -> str:
    """The devices of a choice: "one NVIDIA H200", "4 x NVIDIA H200", "16 devices (2 x p5)".

    device -- their kind
    """
    if choice.machine is not None:
        return f"{several(choice.devices, 'device')} ({choice.nodes:,} x {choice.machine})"
    return f"one {device}" if choice.devices == 1 else f"{choice.devices:,} x {device}"


def ends(interval: Interval, shown: Callable[[float], str]) -> str:
    """The 90 % interval of a number: "1.6 to 2.3"."""
    return f"{shown(interval.low)} to {shown(interval.high)}"


def _money(choice: Choice, unit: Unit) -> str:
    if choice.cost is not None:
        return f" at a cost of {spread(choice.cost)}"
    alone = choice.devices == 1
    return "" if alone else f", {unit.text(choice.device_hours.median)} device-{unit.name} in all"


def _not_kept(advice: Advice) -> str:
    return "".join(
        f"Nothing keeps {kept(advice, name)}: {advice.why_not[name]}. "
        for name in limits(advice)
        if advice.answers[name] is None
    )


def kept(advice: Advice, name: str) -> str:
    """What was asked: "the deadline of 12h", "the budget of 500"."""
    if name == "by_deadline":
        return f"the deadline of {DURATION.text(advice.options.deadline)}"
    return f"the budget of {advice.options.budget:,g}"


def _why(advice: Advice, name: str, choice: Choice) -> str:
    if name == "by_deadline":
        keeps = f"the cheapest to keep {kept(advice, name)} with 95{SPACE}% probability"
        budget = advice.options.budget
        if budget is None or choice.cost is None or advice.within_budget is None:
            return keeps
        also = "and" if choice.cost.high <= budget else "which does not keep"
        return f"{keeps}, {also} {kept(advice, 'within_budget')}"
    if name == "within_budget":
        return f"the fastest to keep {kept(advice, name)} with 95{SPACE}% probability"
    if name == "knee":
        more = [c for c in advice.choices if c.machine == choice.machine]
        more = sorted((c for c in more if c.devices > choice.devices), key=lambda c: c.devices)
        if not more:
            return "every doubling up to here pays, and more devices were not compared"
        doubled = more[0].devices == 2 * choice.devices
        devices = "twice as many" if doubled else f"{more[0].devices:,}"
        return f"{devices} devices would take {compared(choice, more[0])}"
    if len(advice.choices) == 1:
        return "no other number of devices was compared"
    return f"it is the {TITLES[name]}"


def of_so_many(advice: Advice, machine: str | None, devices: int) -> Choice | None:
    """The choice of so many devices of a machine, if there is one."""
    same = (one for one in advice.choices if (one.machine, one.devices) == (machine, devices))
    return next(same, None)


def compared(one: Choice, other: Choice) -> str:
    """What another choice takes, by what one does: "6 % less time for 88 % more money"."""
    time = _change(other.hours.median, one.hours.median)
    if one.cost is None or other.cost is None:
        devices = _change(other.device_hours.median, one.device_hours.median)
        return f"{time} time for {devices} device-hours"
    return f"{time} time for {_change(other.cost.median, one.cost.median)} money"


def _change(value: float, before: float) -> str:
    if before == 0 or round(100 * value / before) == 100:
        return "as much"
    change = 100 * (value / before - 1)
    return f"{abs(change):.0f}{SPACE}% {'less' if change < 0 else 'more'}"


def shared_out(choice: Choice) -> str:
    """How a batch is shared out: "256 = 4 devices x 32 examples at once x 2 accumulated"."""
    layout = choice.layout
    at_once = f"{layout.micro_batch:,} examples at once x {layout.accumulation:,} accumulated"
    return f"{choice.batch_size:,} = {several(choice.devices, 'device')} x {at_once}"


def launched(choice: Choice) -> str:
    """The processes of it, one on each device, as a launcher is told them."""
    if choice.devices == 1:
        return "one process"
    nodes = f"--nnodes {choice.nodes} " if choice.nodes > 1 else ""
    each = choice.devices // choice.nodes
    return f"a process on each device: torchrun {nodes}--nproc-per-node {each}"


def set_for(choice: Choice) -> str:
    """The same as trainers are told it, of which each process has a share of the batch."""
    layout = choice.layout
    return (
        f"per-device batch size {layout.micro_batch}, gradient accumulation steps "
        f"{layout.accumulation}"
    )
