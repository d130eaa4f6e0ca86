"""Updates by those of torch's optimizers whose rules are written out, of K trials at once.

What an optimizer keeps of a parameter becomes a row of a tensor of all trials', and stays where it
is looked for: checkpoints are what they would be, and a trial may go on by itself.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from operator import is_not
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from batchfront.training.engines import Failed
from batchfront.training.model_run import ModelRun
from batchfront.training.vectorized.torch_rules import RULES, Options, Rule, Step, Tensors
from batchfront.training.vectorized.updates import Update, stacked
from batchfront.workload.optimizers import ScheduledOptimizer

_OTHERWISE = ("maximize", "foreach", "capturable", "differentiable", "fused")
"""Options by which torch makes other operations than those that are written out."""

_CACHED = 1 << 20
"""Bytes of weights that are updated together, about: what an update goes over again and again is
then still in a CPU's cache, with what is kept of it. Of 8 trials of 200,000 weights each, a step of
AdamW took 1.8 times as long in one go."""

Home = tuple[int, int]
"""Where a parameter is: the number of the optimizer, and that of its group."""

State = dict[str, Any]
"""What an optimizer keeps of a parameter."""


def is_written_out(runs: Sequence[ModelRun]) -> bool:
    """Whether runs are updated by optimizers of torch's whose rules are written out, all with the
    same parameters in the same groups."""
    if not all(type(run.optimizer) is ScheduledOptimizer for run in runs):
        return False
    own = [cast(ScheduledOptimizer, run.optimizer).optimizers for run in runs]
    kinds = {tuple(map(type, optimizers)) for optimizers in own}
    homes = [_homes(run) for run in runs]
    if len(kinds) > 1 or any(one != homes[0] for one in homes):
        return False
    weights = _trained(runs[0])
    if any(p.dtype not in (torch.float32, torch.float64) for p in weights):
        return False
    return all(
        _is_known(alike, group)
        for alike in zip(*own, strict=True)
        for group in range(len(alike[0].param_groups))
    )


def torch_update(weights: Sequence[Tensor], runs: Sequence[ModelRun]) -> Update:
    """What updates weights [K, ...] of runs that `is_written_out` says yes to."""
    size = max(_CACHED // max(sum(w[0].nbytes for w in weights), 1), 1)
    return TorchUpdate(weights, runs) if size >= len(runs) else InBlocks(weights, runs, size)


def _is_known(optimizers: Sequence[torch.optim.Optimizer], group: int) -> bool:
    """Whether one group of these optimizers of one class, each of another trial, is updated by a
    rule, and by the same operations."""
    rule = RULES.get(type(optimizers[0]))
    if rule is None or any("step" in vars(one) for one in optimizers):
        return False
    options = [one.param_groups[group] for one in optimizers]
    plain = [
        rule.takes(own)
        and not any(own.get(name) for name in _OTHERWISE)
        and not any(isinstance(number, Tensor) for number in _flat(own))
        for own in options
    ]
    operations = {
        (rule.decouples(own), *(own.get(name) for name in rule.same), *rule.states(own))
        for own in options
    }
    return all(plain) and len(operations) == 1


def _flat(options: Options) -> list[Any]:
    """The options beside parameters, those in tuples too."""
    found: list[Any] = []
    for name, value in options.items():
        if name != "params":
            found += value if isinstance(value, tuple) else [value]
    return found


def _trained(run: ModelRun) -> list[Tensor]:
    return [p for p in run.model.parameters() if p.requires_grad]


def _homes(run: ModelRun) -> dict[int, Home]:
    """Of each trained weight that an optimizer has, by its place among them, where it is; in the
    order in which torch goes through them."""
    places = {id(p): place for place, p in enumerate(_trained(run))}
    optimizers = cast(ScheduledOptimizer, run.optimizer).optimizers
    return {
        places[id(p)]: (number, group)
        for number, optimizer in enumerate(optimizers)
        for group, options in enumerate(optimizer.param_groups)
        for p in options["params"]
        if id(p) in places
    }


class TorchUpdate:
    """Updates all trials' weights as each trial's own optimizers would, each by options of its
    own."""

    def __init__(self, weights: Sequence[Tensor], runs: Sequence[ModelRun]) -> None:
        self._weights = list(weights)
        self._optimizers = [cast(ScheduledOptimizer, run.optimizer) for run in runs]
        self._parameters = list(zip(*map(_trained, runs), strict=True))
        self._homes = _homes(runs[0])
        self._rates: Sequence[Sequence[float]] = ()
        self._parts: list[_Part] | None = None
        self._used: Sequence[int] = ()  # weights that had a gradient in the last step
        self._rows: dict[tuple[str, int], tuple[Tensor, Sequence[Tensor]]] = {}
        self._held: list[Any] = []  # the optimizers' states, as they were found last
        self._last: int | None = None  # place of the last step among the rates
        self._told: Sequence[float] = ()  # the rates that the optimizers' groups have

    def plan(self, rates: Sequence[Sequence[float]]) -> None:
        """The learning rates of the next steps, [steps, K]."""
        self._rates, self._parts = rates, None

    def begin(self) -> None:
        """Steps are about to be made. Raises WorkloadError if somebody else has set a rate."""
        for optimizer in self._optimizers:
            optimizer.refuse_changed()
        held = [one.state for own in self._optimizers for one in own.optimizers]
        if any(one is not other for one, other in zip(held, self._held, strict=False)):
            self._parts, self._told = None, ()  # a trial has been given the state of a checkpoint
        self._held = held

    def end(self) -> None:
        """Steps have been made: the rates of the optimizers' groups are those of the last one."""
        if self._last is None:
            return
        rates, self._last = self._rates[self._last], None
        if len(self._told) != len(rates) or any(map(is_not, rates, self._told)):
            for optimizer, rate in zip(self._optimizers, rates, strict=True):
                optimizer.set_rates(rate)
        self._told = rates

    @torch.no_grad()
    def __call__(self, gradients: Sequence[Tensor | None], place: int) -> dict[int, Failed]:
        """Update the weights, but for those without a gradient."""
        for part in self.arrange(gradients, place):
            part.update([cast(Tensor, gradients[i]) for i in part.members], place)
        self._last = place
        return {}

    def arrange(self, gradients: Sequence[Tensor | None], place: int) -> "list[_Part]":
        """The parts that weights with such gradients are updated in."""
        used = [i for i in self._homes if gradients[i] is not None]
        if self._parts is None or used != self._used:
            with torch.no_grad():
                self._used, self._parts = used, self._arranged(used, place)
        return self._parts

    def _arranged(self, used: Sequence[int], place: int) -> "list[_Part]":
        """The parts that these weights are updated in, from this place on."""
        alike: dict[Hashable, list[int]] = defaultdict(list)
        for i in used:
            rule, states = self._rule(i), self._states(i)
            kept = tuple(tuple(_numbers(rule, own).values()) for own in states)
            alike[self._homes[i], kept].append(i)
        return [self._part(members, place) for members in alike.values()]

    def _part(self, members: Sequence[int], place: int) -> "_Part":
        number, group = self._homes[members[0]]
        rule = self._rule(members[0])
        options = [own.optimizers[number].param_groups[group] for own in self._optimizers]
        states = [self._states(i) for i in members]
        by_trial = zip(*self._rates[place:], strict=True)
        rates = [
            _of_group(own, steps, number, group)
            for own, steps in zip(self._optimizers, by_trial, strict=True)
        ]
        numbers = [_numbers(rule, own) for own in states[0]]
        weights = [self._weights[i] for i in members]
        part = _Part(rule, members, weights, options)
        part.plan(rates, numbers, place)
        part.kept = {name: _as_one(name, numbers, states) for name in rule.begin}
        first = [rule.states(own) for own in options]
        part.states = {
            name: [
                self._whole(name, i, [own[name] for own in first], of_weight)
                for i, of_weight in zip(members, states, strict=True)
            ]
            for name in first[0]
        }
        return part

    def _whole(self, name: str, i: int, first: Sequence[float], states: Sequence[State]) -> Tensor:
        """What the trials' optimizers keep of a weight by this name, as one tensor."""
        whole, rows = self._rows.get((name, i), (None, ()))
        there = [state.get(name) for state in states]
        if whole is not None and all(a is b for a, b in zip(rows, there, strict=True)):
            return whole
        found = [
            torch.full_like(parameter, value) if row is None else row
            for parameter, value, row in zip(self._parameters[i], first, there, strict=True)
        ]
        whole = stacked(found)
        rows = whole.unbind()
        for state, row in zip(states, rows, strict=True):
            state[name] = row
        self._rows[name, i] = whole, rows
        return whole

    def _rule(self, i: int) -> Rule:
        number, _ = self._homes[i]
        return RULES[type(self._optimizers[0].optimizers[number])]

    def _states(self, i: int) -> list[State]:
        """What each trial's optimizer keeps of a weight that it is about to update."""
        (number, group), rule = self._homes[i], self._rule(i)
        found: list[State] = []
        for own, parameter in zip(self._optimizers, self._parameters[i], strict=True):
            one = own.optimizers[number]
            keeps = rule.begin or rule.states(one.param_groups[group])
            found.append(one.state[parameter] if keeps else {})
        return found


class InBlocks:
    """The same, of a few trials at a time."""

    def __init__(self, weights: Sequence[Tensor], runs: Sequence[ModelRun], size: int) -> None:
        self._rows = [slice(first, first + size) for first in range(0, len(runs), size)]
        whole = [w.detach() for w in weights]
        self._updates = [TorchUpdate([w[rows] for w in whole], runs[rows]) for rows in self._rows]

    def plan(self, rates: Sequence[Sequence[float]]) -> None:
        """The learning rates of the next steps, [steps, K]."""
        for rows, update in zip(self._rows, self._updates, strict=True):
            update.plan([step[rows] for step in rates])

    def begin(self) -> None:
        """Steps are about to be made. Raises WorkloadError if somebody else has set a rate."""
        for update in self._updates:
            update.begin()

    def end(self) -> None:
        """Steps have been made: the rates of the optimizers' groups are those of the last one."""
        for update in self._updates:
            update.end()

    def __call__(self, gradients: Sequence[Tensor | None], place: int) -> dict[int, Failed]:
        """Update the weights, but for those without a gradient."""
        own = [[None if g is None else g[rows] for g in gradients] for rows in self._rows]
        pairs = list(zip(self._updates, own, strict=True))
        for update, some in pairs:  # before any is updated, as this may raise
            update.arrange(some, place)
        for update, some in pairs:
            update(some, place)
        return {}


class _Part:
    """Weights of one group, of which the same numbers are kept.

    members -- their places among all weights
    options -- of the group, each trial's
    kept    -- the numbers that are kept of them, by name, [weights, K] each
    states  -- the tensors, by name, each weight's
    """

    def __init__(
        self, rule: Rule, members: Sequence[int], weights: Tensors, options: Sequence[Options]
    ) -> None:
        self.members = members
        self.kept: dict[str, Tensor] = {}
        self.states: dict[str, Tensors] = {}
        self._rule, self._weights, self._options = rule, weights, options
        self._decays = any(own.get("weight_decay") for own in options)
        self._decouples = rule.decouples(options[0])
        constants = [[own.get("weight_decay", 0.0), *rule.constants(own)] for own in options]
        (self._constants,) = self._spread(torch.tensor(constants, dtype=torch.float64).T[:, None])
        self._numbers: list[list[Tensors]] = []
        self._after: dict[str, Sequence[Tensor]] = {}
        self._first = 0

    def plan(
        self, rates: Sequence[Sequence[float]], kept: Sequence[Mapping[str, Any]], first: int
    ) -> None:
        """The steps from this place on are at these rates, [K, steps]."""
        columns = [
            self._rule.columns(own, steps, now)
            for own, steps, now in zip(self._options, rates, kept, strict=True)
        ]
        numbers = [
            [[1 - rate * own.get("weight_decay", 0.0) for rate in steps], *found.numbers]
            for own, steps, found in zip(self._options, rates, columns, strict=True)
        ]
        by_trial = torch.tensor(numbers, dtype=torch.float64)  # [K, numbers, steps]
        self._numbers = self._spread(by_trial.permute(1, 2, 0))
        for name in self._rule.begin:
            values = torch.tensor([found.kept[name] for found in columns], dtype=torch.float64)
            self._after[name] = values.T.unbind()
        self._first = first

    def _spread(self, numbers: Tensor) -> list[list[Tensors]]:
        """Numbers [n, steps, K], by step: of each number, and each weight, in a shape that it is
        multiplied by it in."""
        like = self._weights[0]
        own = numbers.to(like.device, like.dtype)
        shaped = {
            ndim: own.view(*own.shape, *[1] * (ndim - 1)).transpose(0, 1)
            for ndim in {w.ndim for w in self._weights}
        }
        steps = {ndim: [one.unbind() for one in whole.unbind()] for ndim, whole in shaped.items()}
        by_weight = [steps[w.ndim] for w in self._weights]
        return [
            [list(of_number) for of_number in zip(*of_step, strict=True)]
            for of_step in zip(*by_weight, strict=True)
        ]

    def update(self, gradients: Tensors, place: int) -> None:
        """Update the weights by the numbers of the step at this place."""
        (decays, *constants), weights = self._constants, self._weights
        factors, *numbers = self._numbers[place - self._first]
        if self._decays and self._decouples:
            torch._foreach_mul_(weights, factors)
        elif self._decays:
            gradients = list(torch._foreach_addcmul(gradients, weights, decays))
        self._rule.apply(
            Step(self._options[0], weights, gradients, self.states, constants, numbers)
        )
        for name, whole in self.kept.items():
            whole.copy_(self._after[name][place - self._first])


def _of_group(
    optimizer: ScheduledOptimizer, rates: Sequence[float], number: int, group: int
) -> list[float]:
    """A group's own rates of several steps, which are often all the same."""
    found: dict[int, float] = {}
    for rate in rates:
        if id(rate) not in found:
            found[id(rate)] = optimizer.rates(rate)[number][group]
    return [found[id(rate)] for rate in rates]


def _numbers(rule: Rule, state: State) -> dict[str, Any]:
    """The numbers that are kept of a parameter as they are now, in the precision that they have."""
    usual = torch.zeros((), dtype=_precision())
    kept = {name: state.get(name, usual + first) for name, first in rule.begin.items()}
    return {name: number.cpu().numpy()[()] for name, number in kept.items()}


def _precision() -> torch.dtype:
    """Of the numbers that torch's optimizers keep."""
    wide = torch.get_default_dtype() == torch.float64
    return torch.float64 if wide else torch.float32


def _as_one(
    name: str, numbers: Sequence[Mapping[str, Any]], states: Sequence[Sequence[State]]
) -> Tensor:
    """What is kept of each weight, and by each trial, as one tensor, [weights, K]."""
    own = torch.from_numpy(np.asarray([trial[name] for trial in numbers]))
    whole = own.repeat(len(states), 1)
    for of_weight, rows in zip(states, whole.unbind(), strict=True):
        for state, row in zip(of_weight, rows.unbind(), strict=True):
            state[name] = row
    return whole
