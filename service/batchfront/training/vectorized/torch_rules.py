"""What torch's optimizers do with a gradient, written out for K trials at once.

Every rule makes the operations of the `_single_tensor_...` function of its module in `torch.optim`,
in that order; where torch multiplies by a number, it multiplies by the numbers of all trials. On a
CPU that comes to the same bits.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

import torch
from torch import Tensor

Options = Mapping[str, Any]
"""A parameter group's."""

Tensors = list[Tensor]
"""One a weight: [K, ...], or a number a trial in a shape that the weight is multiplied by it in."""

Lists = Tensors | tuple[Tensor, ...]
"""What torch's functions over several tensors take, and return."""

Kept = Mapping[str, Any]
"""The numbers that are kept of a parameter, by torch's names for them."""


class Columns(NamedTuple):
    """A trial's numbers of several steps, and what is kept of a parameter after each of them."""

    numbers: Sequence[Sequence[float]]
    kept: Mapping[str, Sequence[float]]


class Step(NamedTuple):
    """What a step is made of.

    options   -- one trial's: a rule may ask for those that all have in common
    states    -- by torch's names, what is kept of the weights; is updated in place
    constants -- the numbers that are the same in every step
    numbers   -- those of this step
    """

    options: Options
    weights: Tensors
    gradients: Tensors
    states: Mapping[str, Tensors]
    constants: Sequence[Tensors]
    numbers: Sequence[Tensors]


class Rule(ABC):
    """An optimizer of torch's, but for weight decay, which comes before and is the same in all.

    same  -- options by which it makes other operations: all trials must have the same of them
    begin -- the numbers that it keeps of a parameter, by name, as they are before the first step
    """

    same: Sequence[str] = ()
    begin: Mapping[str, float] = {"step": 0.0}

    def takes(self, options: Options) -> bool:
        """Whether such options are provided for."""
        return True

    def decouples(self, options: Options) -> bool:
        """Whether weight decay takes from the weights themselves, and not by the gradient."""
        return bool(options.get("decoupled_weight_decay"))

    @abstractmethod
    def states(self, options: Options) -> dict[str, float]:
        """The tensors that it keeps of a parameter, by name: what they are filled with."""

    def constants(self, options: Options) -> Sequence[float]:
        """A trial's numbers that are the same in every step."""
        return ()

    @abstractmethod
    def columns(self, options: Options, rates: Sequence[float], kept: Kept) -> Columns:
        """A trial's numbers of the steps at these learning rates, the first of which finds `kept`
        as it is."""

    @abstractmethod
    def apply(self, step: Step) -> None:
        """Update the weights and the states in place."""


class Adam(Rule):
    """`torch.optim.Adam`."""

    same = ("amsgrad",)

    def states(self, options: Options) -> dict[str, float]:
        own = {"exp_avg": 0.0, "exp_avg_sq": 0.0}
        return {**own, "max_exp_avg_sq": 0.0} if options["amsgrad"] else own

    def constants(self, options: Options) -> Sequence[float]:
        return _of_moments(options)

    def columns(self, options: Options, rates: Sequence[float], kept: Kept) -> Columns:
        beta1, beta2 = options["betas"]
        steps = _steps(rates, kept)
        down = [-(rate / (1 - beta1**step)) for rate, step in zip(rates, steps, strict=True)]
        return Columns([down, [(1 - beta2**step) ** 0.5 for step in steps]], {"step": steps})

    def apply(self, step: Step) -> None:
        eps, (down, correction) = step.constants[-1], step.numbers
        averages, squares = _moments(step)
        if step.options["amsgrad"]:
            torch._foreach_maximum_(step.states["max_exp_avg_sq"], squares)
            squares = step.states["max_exp_avg_sq"]
        below = torch._foreach_sqrt(squares)
        torch._foreach_div_(below, correction)
        torch._foreach_add_(below, eps)
        _add_quotient(step.weights, averages, below, down)


class AdamW(Adam):
    """`torch.optim.AdamW`, whose groups haven't always said that it decouples weight decay."""

    def decouples(self, options: Options) -> bool:
        return True


class NAdam(Rule):
    """`torch.optim.NAdam`."""

    begin: Mapping[str, float] = {"step": 0.0, "mu_product": 1.0}

    def states(self, options: Options) -> dict[str, float]:
        return {"exp_avg": 0.0, "exp_avg_sq": 0.0}

    def constants(self, options: Options) -> Sequence[float]:
        return _of_moments(options)

    def columns(self, options: Options, rates: Sequence[float], kept: Kept) -> Columns:
        (beta1, beta2), decay = options["betas"], options["momentum_decay"]
        steps, product = _steps(rates, kept), kept["mu_product"]
        of_gradients, of_averages, products = [], [], []
        for rate, step in zip(rates, steps, strict=True):
            mu = beta1 * (1.0 - 0.5 * (0.96 ** (step * decay)))
            following = beta1 * (1.0 - 0.5 * (0.96 ** ((step + 1) * decay)))
            product = product * type(product)(mu)  # in the precision that it is kept in
            whole = float(product)
            of_gradients.append(-rate * (1.0 - mu) / (1.0 - whole))
            of_averages.append((-rate * following) / (1.0 - whole * following))
            products.append(whole)
        corrections = [1 - beta2**step for step in steps]
        numbers = [of_gradients, of_averages, corrections]
        return Columns(numbers, {"step": steps, "mu_product": products})

    def apply(self, step: Step) -> None:
        eps, (of_gradient, of_average, correction) = step.constants[-1], step.numbers
        averages, squares = _moments(step)
        below = list(torch._foreach_div(squares, correction))
        torch._foreach_sqrt_(below)
        torch._foreach_add_(below, eps)
        _add_quotient(step.weights, step.gradients, below, of_gradient)
        _add_quotient(step.weights, averages, below, of_average)


class RAdam(Rule):
    """`torch.optim.RAdam`."""

    def states(self, options: Options) -> dict[str, float]:
        return {"exp_avg": 0.0, "exp_avg_sq": 0.0}

    def constants(self, options: Options) -> Sequence[float]:
        return _of_moments(options)

    def columns(self, options: Options, rates: Sequence[float], kept: Kept) -> Columns:
        beta1, beta2 = options["betas"]
        steps = _steps(rates, kept)
        longest = 2 / (1 - beta2) - 1
        corrections = [1 - beta2**step for step in steps]
        lengths = [
            longest - 2 * step * (beta2**step) / correction
            for step, correction in zip(steps, corrections, strict=True)
        ]
        rectified = [
            ((rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho)) ** 0.5
            if rho > 5.0
            else 0.0
            for rho in lengths
        ]
        roots = [correction**0.5 for correction in corrections]
        numbers = [[1 - beta1**step for step in steps], rates, roots, rectified]
        return Columns(numbers, {"step": steps})

    def apply(self, step: Step) -> None:
        eps, (correction, rate, root, rectified) = step.constants[-1], step.numbers
        averages, squares = _moments(step)
        moved = list(torch._foreach_div(averages, correction))
        torch._foreach_mul_(moved, rate)
        own = list(torch._foreach_sqrt(squares))
        torch._foreach_add_(own, eps)
        torch._foreach_reciprocal_(own)
        torch._foreach_mul_(own, root)
        # Of a trial that isn't rectified yet, the rate is that of all weights.
        mine = zip(moved, own, rectified, strict=True)
        moved = [torch.where(r > 0.0, m * o * r, m) for m, o, r in mine]
        torch._foreach_sub_(step.weights, moved)


class Adamax(Rule):
    """`torch.optim.Adamax`."""

    def states(self, options: Options) -> dict[str, float]:
        return {"exp_avg": 0.0, "exp_inf": 0.0}

    def constants(self, options: Options) -> Sequence[float]:
        beta1, beta2 = options["betas"]
        return 1 - beta1, beta2, options["eps"]

    def columns(self, options: Options, rates: Sequence[float], kept: Kept) -> Columns:
        beta1, steps = options["betas"][0], _steps(rates, kept)
        down = [-(rate / (1 - beta1**step)) for rate, step in zip(rates, steps, strict=True)]
        return Columns([down], {"step": steps})

    def apply(self, step: Step) -> None:
        share, beta2, eps = step.constants
        averages, largest = step.states["exp_avg"], step.states["exp_inf"]
        torch._foreach_lerp_(averages, step.gradients, share)
        torch._foreach_mul_(largest, beta2)
        here = torch._foreach_abs(step.gradients)
        torch._foreach_add_(here, eps)
        torch._foreach_maximum_(largest, here)
        _add_quotient(step.weights, averages, largest, step.numbers[0])


class RMSprop(Rule):
    """`torch.optim.RMSprop`."""

    same = ("centered",)

    def states(self, options: Options) -> dict[str, float]:
        own = {"square_avg": 0.0}
        if options["momentum"] > 0:
            own["momentum_buffer"] = 0.0
        return {**own, "grad_avg": 0.0} if options["centered"] else own

    def constants(self, options: Options) -> Sequence[float]:
        alpha = options["alpha"]
        return alpha, 1 - alpha, options["momentum"], options["eps"]

    def columns(self, options: Options, rates: Sequence[float], kept: Kept) -> Columns:
        return Columns([[-rate for rate in rates]], {"step": _steps(rates, kept)})

    def apply(self, step: Step) -> None:
        alpha, share, momentum, eps = step.constants
        (down,), weights, gradients = step.numbers, step.weights, step.gradients
        squares = step.states["square_avg"]
        _take_in_squares(squares, gradients, alpha, share)
        if step.options["centered"]:
            averages = step.states["grad_avg"]
            torch._foreach_lerp_(averages, gradients, share)
            squares = list(torch._foreach_addcmul(squares, averages, averages, -1.0))
        below = torch._foreach_sqrt(squares)
        torch._foreach_add_(below, eps)
        if step.options["momentum"] > 0:
            velocities = step.states["momentum_buffer"]
            torch._foreach_mul_(velocities, momentum)
            torch._foreach_addcdiv_(velocities, gradients, below)
            torch._foreach_addcmul_(weights, velocities, down)
        else:
            _add_quotient(weights, gradients, below, down)


class Adagrad(Rule):
    """`torch.optim.Adagrad`."""

    def states(self, options: Options) -> dict[str, float]:
        return {"sum": options["initial_accumulator_value"]}

    def constants(self, options: Options) -> Sequence[float]:
        return (options["eps"],)

    def columns(self, options: Options, rates: Sequence[float], kept: Kept) -> Columns:
        decay, steps = options["lr_decay"], _steps(rates, kept)
        down = [-(rate / (1 + (step - 1) * decay)) for rate, step in zip(rates, steps, strict=True)]
        return Columns([down], {"step": steps})

    def apply(self, step: Step) -> None:
        sums = step.states["sum"]
        torch._foreach_addcmul_(sums, step.gradients, step.gradients)
        below = torch._foreach_sqrt(sums)
        torch._foreach_add_(below, step.constants[0])
        _add_quotient(step.weights, step.gradients, below, step.numbers[0])


class Adadelta(Rule):
    """`torch.optim.Adadelta`."""

    def states(self, options: Options) -> dict[str, float]:
        return {"square_avg": 0.0, "acc_delta": 0.0}

    def constants(self, options: Options) -> Sequence[float]:
        return options["rho"], 1 - options["rho"], options["eps"]

    def columns(self, options: Options, rates: Sequence[float], kept: Kept) -> Columns:
        return Columns([[-rate for rate in rates]], {"step": _steps(rates, kept)})

    def apply(self, step: Step) -> None:
        rho, share, eps = step.constants
        squares, moves = step.states["square_avg"], step.states["acc_delta"]
        _take_in_squares(squares, step.gradients, rho, share)
        below, moved = (list(torch._foreach_add(of, eps)) for of in (squares, moves))
        torch._foreach_sqrt_(below)
        torch._foreach_sqrt_(moved)
        torch._foreach_div_(moved, below)
        torch._foreach_mul_(moved, step.gradients)
        _take_in_squares(moves, moved, rho, share)
        torch._foreach_addcmul_(step.weights, moved, step.numbers[0])


class SGD(Rule):
    """`torch.optim.SGD`, whose velocities are none before the first step: with dampening, that is
    not as if they were 0."""

    same = ("nesterov",)
    begin: Mapping[str, float] = {}

    def takes(self, options: Options) -> bool:
        return bool(options["dampening"] == 0)

    def states(self, options: Options) -> dict[str, float]:
        return {"momentum_buffer": 0.0} if options["momentum"] != 0 else {}

    def constants(self, options: Options) -> Sequence[float]:
        return (options["momentum"],)

    def columns(self, options: Options, rates: Sequence[float], kept: Kept) -> Columns:
        return Columns([[-rate for rate in rates]], {})

    def apply(self, step: Step) -> None:
        (momentum,), moved = step.constants, step.gradients
        if step.options["momentum"] != 0:
            velocities = step.states["momentum_buffer"]
            torch._foreach_mul_(velocities, momentum)
            torch._foreach_add_(velocities, moved)
            nesterov = step.options["nesterov"]
            moved = _sum_of(moved, velocities, momentum) if nesterov else velocities
        torch._foreach_addcmul_(step.weights, moved, step.numbers[0])


RULES: Mapping[type[torch.optim.Optimizer], Rule] = {
    torch.optim.Adadelta: Adadelta(),
    torch.optim.Adagrad: Adagrad(),
    torch.optim.Adam: Adam(),
    torch.optim.AdamW: AdamW(),
    torch.optim.Adamax: Adamax(),
    torch.optim.NAdam: NAdam(),
    torch.optim.RAdam: RAdam(),
    torch.optim.RMSprop: RMSprop(),
    torch.optim.SGD: SGD(),
}


def _steps(rates: Sequence[float], kept: Kept) -> list[float]:
    """The numbers of the next steps."""
    return [step for _, step in zip(rates, count(float(kept["step"]) + 1), strict=False)]


def _of_moments(options: Options) -> Sequence[float]:
    beta1, beta2 = options["betas"]
    return 1 - beta1, beta2, 1 - beta2, options["eps"]


def _moments(step: Step) -> tuple[Tensors, Tensors]:
    """The moving averages of the gradients and of their squares, once they have taken them in."""
    share, beta2, of_squares, _ = step.constants
    averages, squares = step.states["exp_avg"], step.states["exp_avg_sq"]
    torch._foreach_lerp_(averages, step.gradients, share)
    _take_in_squares(squares, step.gradients, beta2, of_squares)
    return averages, squares


def _take_in_squares(squares: Tensors, of: Tensors, left: Tensors, share: Tensors) -> None:
    """squares <- left squares + (share of) of"""
    torch._foreach_mul_(squares, left)
    torch._foreach_addcmul_(squares, torch._foreach_mul(of, share), of)


def _add_quotient(weights: Tensors, above: Tensors, below: Lists, by: Tensors) -> None:
    """weights <- weights + (by above) / below"""
    torch._foreach_addcdiv_(weights, torch._foreach_mul(above, by), below)


def _sum_of(one: Tensors, other: Tensors, by: Tensors) -> Tensors:
    """one + by other"""
    return list(torch._foreach_addcmul(one, other, by))
