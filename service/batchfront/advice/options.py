"""What is asked of an advice: the options of `batchfront advise` and of the page."""

import re
from dataclasses import dataclass
from math import isfinite

from batchfront.options import DURATION, SOME_TIME, Kind, Must, check, option

_SHARE: Must = (lambda share: 0 < share < 1, "must lie between 0 and 1, such as 0.1")

MOST_PRICE = 1e12
"""Of any currency, for an hour of a device: what is more is a slip."""

_PRICE: Must = (
    lambda price: 0 <= price <= MOST_PRICE,
    "must be at least 0 and at most 1e12, such as 2.5",
)

_BUDGET: Must = (lambda money: money > 0 and isfinite(money), "must be more than 0, such as 500")

_CHANCE: Must = (
    lambda chance: 0 <= chance < 1,
    "must be the probability, below 1, that a device is taken away within an hour, such as 0.1",
)

_FILE: Must = (lambda text: bool(text.strip()), "must name a file, such as machines.toml")

_NAMED: Must = (lambda text: bool(text.strip()), "must be a name, such as 'NVIDIA H100'")

_MORE: Must = (lambda share: share > 0 and isfinite(share), "must be more than 0, such as 0.5")


def _devices(text: str) -> tuple[int, ...]:
    """`1,2,6`, or `1..64` for the powers of two between, or both."""
    numbers: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"(-?\d{1,9})(?:\.\.(\d{1,9}))?", part.strip())
        if not found:
            raise ValueError(f"{part.strip()!r} is no number of devices; write 1,2,4 or 1..64")
        low, high = int(found[1]), int(found[2] or found[1])
        if low < 1:
            raise ValueError(f"{low} is no number of devices; the smallest is 1")
        powers = {1 << n for n in range(high.bit_length()) if 1 << n >= low}
        if found[2] and not powers:
            raise ValueError(f"{part.strip()} holds no power of two; write 1..64, low end first")
        numbers |= powers if found[2] else {low}
    return tuple(sorted(numbers))


DEVICES = Kind("DEVICES", _devices, lambda numbers: ",".join(map(str, numbers)))


@dataclass(frozen=True)
class AdviceOptions:
    """What is asked of an advice.

    Raises UsageError, with all that is wrong, for values that an option doesn't have.
    """

    devices: tuple[int, ...] | None = option(
        DEVICES,
        "The numbers of devices to compare, such as 1,2,6 or 1..64 (the powers of two).",
        otherwise="those that were timed; with --machines, up to one machine of each kind",
    )
    price: float | None = option(
        float,
        "What a device costs for an hour, in any currency. Of machines in --machines, it is that "
        "of those without a price.",
        must=_PRICE,
        metavar="PRICE",
    )
    machines: str | None = option(
        str,
        "A TOML file of the machines that can be had: a [[machine]] each, with name, devices, and "
        "price, device, bandwidth_within, latency_within, bandwidth_between, latency_between "
        "(bytes and seconds) and memory as far as they are known.",
        must=_FILE,
        metavar="FILE",
    )
    device: str | None = option(
        str,
        "The kind of device, as its timings name it, where several were timed.",
        otherwise="the one that was timed",
        must=_NAMED,
        metavar="KIND",
    )
    deadline: float | None = option(
        DURATION,
        "When training is to be over. It counts as kept where the upper end of the 90 % interval "
        "lies within it: with 95 % probability.",
        must=SOME_TIME,
    )
    budget: float | None = option(
        float,
        "What training may cost, in the currency of the price. It counts as kept where the upper "
        "end of the 90 % interval lies within it: with 95 % probability.",
        must=_BUDGET,
        metavar="MONEY",
    )
    spot: float | None = option(
        float,
        "The probability that a spot device is taken away within an hour. Each loss stops all "
        "devices, and training goes on from its last checkpoint: hours and cost gain what is "
        "repeated, with a checkpoint every 10 minutes and 5 minutes until there is another device. "
        "The price is then to be that of spot devices.",
        must=_CHANCE,
        metavar="CHANCE",
    )
    saves: float = option(
        float,
        "More devices have stopped paying where a doubling saves less than this share of the time.",
        default=0.10,
        must=_SHARE,
        metavar="SHARE",
    )
    costs_more: float = option(
        float,
        "The same, where it costs more than this share more.",
        default=0.50,
        must=_MORE,
        metavar="SHARE",
    )

    def __post_init__(self) -> None:
        check(self)
