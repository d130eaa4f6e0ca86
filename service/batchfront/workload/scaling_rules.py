"""The rules by which metaparameters are said to go with the batch size."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from batchfront.phrases import listed
from batchfront.vocabulary import Purpose
from batchfront.workload.search_space import (
    Dimension,
    Integer,
    Metaparameters,
    ReverseLog,
    SearchSpace,
    Value,
)


def effective_rate(params: Mapping[str, Value]) -> float | None:
    """lr / (1 - momentum), if there are both: how far a step goes in the end."""
    if "learning_rate" not in params or "momentum" not in params:
        return None
    remaining = 1 - float(params["momentum"])
    return float(params["learning_rate"]) / remaining if remaining > 0 else None


@dataclass(frozen=True)
class Quantity:
    """What of a metaparameter goes with a power of the batch size.

    text  -- what it is called, with {} for the metaparameter
    of    -- the quantity of a value; it must be above 0
    value -- the value of a quantity
    most  -- beyond it there is no value
    """

    text: str
    of: Callable[[float], float]
    value: Callable[[float], float]
    most: float = math.inf

    def named(self, name: str) -> str:
        """What it is called of a metaparameter: "1 - beta1"."""
        return self.text.format(name)

    def holds(self, value: Value | None) -> bool:
        """Whether a metaparameter's value has such a quantity."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        try:
            quantity = self.of(float(value))
        except (ValueError, OverflowError):
            return False
        return 0 < quantity <= self.most and math.isfinite(quantity)


ITSELF = Quantity("{}", float, float)
GAP = Quantity("1 - {}", lambda value: 1 - value, lambda gap: 1 - gap, most=1.0)
DECAY = Quantity("-log {}", lambda value: -math.log(value), lambda decay: math.exp(-decay))
"""log 2 over it is the half-life, in steps, of a moving average with this metaparameter."""

_GAPS = frozenset({"momentum", "beta1", "beta2", "beta3"})


def natural_quantity(name: str, dimension: Dimension | None = None) -> Quantity:
    """What of a metaparameter is best seen as a power of the batch size: 1 - x of momentum and
    what is searched like it, and x itself of all others."""
    return GAP if isinstance(dimension, ReverseLog) or name in _GAPS else ITSELF


@dataclass(frozen=True)
class Power:
    """A quantity of a metaparameter goes with this power of the batch size."""

    power: float
    quantity: Quantity = ITSELF


@dataclass(frozen=True)
class ScalingRule:
    """What becomes of metaparameters at another batch size, by what somebody has published.

    powers     -- by metaparameter that it scales; all others are kept
    source     -- who says so
    said       -- what it does to a trial, in words: "its learning rate multiplied ..."
    optimizers -- those of torch that it holds for; none: it asks for none
    asks       -- of an optimizer that can't be told, what the rule takes for granted
    """

    name: str
    powers: Mapping[str, Power]
    source: str
    said: str
    optimizers: frozenset[str] = field(default=frozenset())
    asks: str = ""

    def followed(self, params: Metaparameters, ratio: float) -> dict[str, Value]:
        """The metaparameters that the rule makes of others, for a batch size `ratio` times as
        large. A quantity that would go beyond its most is clipped there; all that isn't scaled is
        kept, metaparameters of a schedule too."""
        scaled = {
            name: law.quantity.value(min(self._scaled(name, params, ratio), law.quantity.most))
            for name, law in self.powers.items()
            if ratio != 1
        }
        return {**params, **scaled}

    def clipped(self, params: Metaparameters, ratio: float) -> tuple[str, ...]:
        """The metaparameters whose quantity would go beyond its most."""
        return tuple(
            name
            for name, law in self.powers.items()
            if self._scaled(name, params, ratio) > law.quantity.most
        )

    def _scaled(self, name: str, params: Metaparameters, ratio: float) -> float:
        law = self.powers[name]
        return law.quantity.of(float(params[name])) * math.pow(ratio, law.power)

    def power_of(self, name: str) -> float:
        """The power of the batch size that a metaparameter's natural quantity goes with. It is
        that of 1 - x also where the rule holds -log x, which comes to the same close to 1."""
        return self.powers[name].power if name in self.powers else 0.0

    def speaks_of(self, optimizer: str | None, params: Metaparameters) -> bool:
        """Whether it says something of trials by this optimizer. Of one that can't be told it
        does if they have something that the rule scales beside the learning rate, or it scales
        no more."""
        if optimizer is not None and self.optimizers:
            return optimizer in self.optimizers and any(name in params for name in self.powers)
        own = [name for name in self.powers if name != "learning_rate"]
        return any(name in params for name in own or self.powers)

    def refusal(
        self, optimizer: str | None, space: SearchSpace, params: Metaparameters
    ) -> str | None:
        """Why it can't be followed from these metaparameters, after its name; None if it can.

        optimizer -- as of `optimizer_of`
        """
        if optimizer is not None and self.optimizers and optimizer not in self.optimizers:
            known = listed(sorted(self.optimizers))
            return f"holds for {known} ({self.source}), and the optimizer here is {optimizer}"
        missing = [name for name in self.powers if name not in params]
        if missing:
            return (
                f"scales {listed([*self.powers])}, and the search space has no "
                f"{' and no '.join(missing)}: what only the code fixes can't be scaled, a number "
                "in the search space can"
            )
        for name, law in self.powers.items():
            if isinstance(space.get(name), Integer):
                return f"scales {name}, which takes whole numbers only"
            if not law.quantity.holds(params[name]):
                return (
                    f"scales {law.quantity.named(name)}, and {name} is {params[name]!r} at the "
                    "winner of the smallest batch size, where it starts"
                )
        return None


_ADAM_LIKE = frozenset({"Adam", "AdamW", "NAdam", "RAdam"})
_DECAYING = frozenset({"SGD", "AdamW", "Adafactor", "Muon"})  # by learning rate times weight decay

_RULES = (
    ScalingRule(
        Purpose.LINEAR,
        {"learning_rate": Power(1.0)},
        "Goyal et al. 2017",
        "its learning rate multiplied as the batch size is",
    ),
    ScalingRule(
        Purpose.SQUARE_ROOT,
        {"learning_rate": Power(0.5)},
        "Krizhevsky 2014, Hoffer et al. 2017",
        "its learning rate multiplied by the square root of what the batch size is",
    ),
    ScalingRule(
        Purpose.ADAM_SQUARE_ROOT,
        {
            "learning_rate": Power(0.5),
            "beta1": Power(1.0, GAP),
            "beta2": Power(1.0, GAP),
            "eps": Power(-0.5),
        },
        "Malladi et al. 2022",
        "its learning rate multiplied by the square root of what the batch size is, 1 - beta1 and "
        "1 - beta2 as the batch size is, and eps divided by that square root",
        _ADAM_LIKE,
        "an optimizer like Adam",
    ),
    ScalingRule(
        Purpose.BETA2_HALF_LIFE,
        {"beta2": Power(1.0, DECAY)},
        "Marek et al. 2025",
        "its beta2 raised to the power of what the batch size is multiplied by, so that the "
        "half-life of the second moment stays the same in examples",
        _ADAM_LIKE,
        "an optimizer like Adam",
    ),
    ScalingRule(
        Purpose.WEIGHT_DECAY,
        {"weight_decay": Power(1.0)},
        "Wang and Aitchison 2024, Bergsma et al. 2025",
        "its weight decay multiplied as the batch size is, so that weights forget as many examples "
        "back, where a step decays them by learning rate times weight decay",
        _DECAYING,
        "an optimizer, such as AdamW, whose step decays weights by learning rate times weight "
        "decay",
    ),
)

RULES: Mapping[str, ScalingRule] = MappingProxyType({rule.name: rule for rule in _RULES})
"""Rules, by the purpose of the studies that follow them."""

_OWN = {"sgd", "momentum", "nesterov_momentum"}
_TORCH = _ADAM_LIKE | _DECAYING | {
    "ASGD", "Adadelta", "Adagrad", "Adamax", "LBFGS", "RMSprop", "Rprop", "SparseAdam"
}  # fmt: skip


def optimizer_of(identity: Mapping[str, Any], params: Metaparameters) -> str | None:
    """The name of torch's optimizer that trains a study, as far as its identity tells it: None
    where a function of the user's makes it, in loops and in programs.

    Adam whose weight decay is told to be decoupled is AdamW.
    """
    algorithm = identity.get("algorithm", {})
    factory = algorithm.get("factory")
    if factory is None:
        return "SGD" if algorithm.get("name") in _OWN else None
    named = re.match(r"(?:partial\()*(\w+)(?:[,)]|\Z)", str(factory))
    name = named[1] if named else None
    if name not in _TORCH:
        return None
    written = re.findall(r"decoupled_weight_decay=(\w+)", str(factory))[-1:]
    decoupled = params.get("decoupled_weight_decay", written == ["True"])
    return "AdamW" if name in _ADAM_LIKE and decoupled else name
