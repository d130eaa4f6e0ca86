"""What a stack would do in another way than a trial that runs by itself, seen while it does.

A few steps don't show what an attribute that counts them, a buffer that is seldom written to, or a
hook that clips large gradients will do in a later one. That they are there is seen at once.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from batchfront.training.generators import drawn_since, states
from batchfront.training.model_run import ModelRun
from batchfront.training.vectorized.forward import Layered
from batchfront.training.vectorized.holdings import Holdings
from batchfront.training.vectorized.stack import Stack
from batchfront.workload.data import is_in_memory
from batchfront.workload.layers import Dropout
from batchfront.workload.metrics import SplitMetric
from batchfront.workload.nested import Nested
from batchfront.workload.optimizers import Closure, Optimizer


class Watched(Optimizer):
    """A trial's optimizer, in its place: keeps the gradients that it is given, and looks out for
    what a stack would do in another way, in this step or in a later one.

    gradients -- of the last step, by name of the parameter; None where the loss doesn't use it
    calls     -- of torch's functions in its forward pass, in order
    """

    def __init__(self, run: ModelRun) -> None:
        self.optimizer, self._run = run.optimizer, run
        self.gradients: dict[str, Tensor | None] = {}
        self.calls: list[str] = []
        self._why: list[str] = []
        self._forward = run.alone.forward
        self._named = {n: p for n, p in run.model.named_parameters() if p.requires_grad}
        self._kept = Kept(run)
        run.optimizer = self
        run.alone.forward = self._watched  # type: ignore[assignment]

    def trained(self, step: int) -> str | None:
        """Train for one step, up to this one; what was found, in a clause."""
        run = self._run
        run.alone.begin(run.step)
        fresh = states(run.device)
        run.model.train()
        modes = self._modes()
        run.advance(step)
        if self._modes() != modes:  # alone, it is put back after some steps, and in a stack each
            self._why.append("its training changes its modules' modes")
        if drawn_since(fresh, run.device):
            self._why.append("its training draws from generators that all trials share")
        if self._why:
            return self._why[0]
        return self.changed() if step == 1 else None

    def _modes(self) -> list[bool]:
        return [module.training for module in self._run.model.modules()]

    def changed(self) -> str | None:
        """What the steps have changed beside parameters, in a clause."""
        path = self._kept.changed()
        return None if path is None else f"its training changes {path}"

    def _watched(self, *args: Nested, **named: Nested) -> Nested:
        unseen = torch.autograd.graph.disable_saved_tensors_hooks("it packs what it saves")
        with _Seen(self._why) as seen, unseen:
            outputs = self._forward(*args, **named)
        self.calls = seen.calls
        return outputs

    def step(self, learning_rate: float, closure: Closure | None = None) -> None:
        self.gradients = {name: p.grad for name, p in self._named.items()}
        self.optimizer.step(learning_rate, closure)
        if any(g is not None and g.layout is not torch.strided for g in self.gradients.values()):
            self._why.append("its gradients are sparse")
        if any(p.grad is not None for p in self._run.model.parameters()):
            self._why.append("its optimizer keeps gradients from step to step")

    def state(self) -> dict[str, Any]:
        return self.optimizer.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.optimizer.restore(state)


class Kept:
    """What a trial's training and evaluation should leave alone, as it is now."""

    def __init__(self, run: ModelRun) -> None:
        self._run, self._optimizer = run, run.optimizer
        self._before = self._now()

    def changed(self) -> str | None:
        """The path of something that is now another, or has been written to."""
        return self._before.difference(self._now())

    def _now(self) -> Holdings:
        run, workload = self._run, self._run.workload
        frozen = {n: p for n, p in run.model.named_parameters() if not p.requires_grad}
        data = [s for s in (run.splits.train, run.splits.validation) if not is_in_memory(s)]
        metric = workload.goal.computed
        held = vars(self._optimizer).values()
        own = [self._optimizer, *self._optimizer.of_torch()]
        optimizers = [type(o) for o in (*own, *(o for o in held if isinstance(o, Optimizer)))]
        roots = {
            "model": run.model,
            **({} if run.average is None else {"average": run.average.module}),
            "parameters": {name: id(p) for name, p in run.model.named_parameters()},
            "buffers": dict(run.model.named_buffers()),
            "frozen": frozen,
            "loss": workload.loss,
            "metric": metric.of if isinstance(metric, SplitMetric) else metric.per_example,
            "data": data,
            "algorithm": workload.algorithm,
            "optimizer": optimizers,
        }
        return Holdings(roots, shared=True)


class Stacked(TorchFunctionMode):
    """Looks out for calls that fail under `torch.vmap`, as all do that take values out of tensors:
    a model may catch the error, and go another way than alone.

    calls -- of torch's functions in the last forward pass, in order
    """

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.failed: str | None = None
        self._in_forward = False
        # Of a model that is called for its loss, that is what training goes through.
        through = stack.forward if stack.own_loss is None else stack.own_loss
        if not isinstance(through, Layered):
            self._one: Callable[..., Nested] = through.one
            through.one = self._watched  # type: ignore[method-assign]

    def otherwise(self, alone: Watched) -> str | None:
        """What the stack's step did otherwise than that of a trial by itself, in a clause."""
        if self.failed is None and self.calls and self.calls != alone.calls:
            return "its forward pass calls other functions when it is stacked"
        return self.failed

    def _watched(self, weights: dict[str, Tensor], inputs: Nested) -> Nested:
        self.calls, self._in_forward = [], True
        outputs = self._one(weights, inputs)
        self._in_forward = False
        return outputs

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if torch._C._functorch.maybe_current_level() is None:
            return func(*args, **named)
        if self._in_forward:
            _note(self.calls, func, args, named)
        try:
            return func(*args, **named)
        except Exception as error:
            self.failed = unstackable(error)
            raise


class _Seen(TorchFunctionMode):
    """Looks out for calls in a forward pass that a stack's wouldn't do to one trial alone."""

    def __init__(self, why: list[str]) -> None:
        super().__init__()
        self.calls: list[str] = []
        self._why = why

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        _note(self.calls, func, args, named)
        if func in (F.embedding, torch.embedding, F.embedding_bag, torch.embedding_bag):
            self._why += _of_embedding(func, args, named)
        elif func in _UNSEEN:
            self._why.append(f"its forward pass {_UNSEEN[func]}")
        return func(*args, **named)


def _note(calls: list[str], func: Any, args: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Take down a call with its plain arguments, but for those of our own layers, which know of
    stacks."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_globals.get("__name__") == Dropout.__module__:
            return
        frame = frame.f_back
    plain = [a for a in (*args, *named.values()) if isinstance(a, int | float | str)]
    calls.append(f"{func} {plain}")


def unstackable(error: Exception) -> str:
    """Whatever `torch.vmap` makes of a model that it can't take, in a clause."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"its model can't be stacked ({lines[0].split('. ')[0][:120]})"


_UNSEEN: dict[Callable[..., Any], str] = {
    Tensor.register_hook: "sets hooks on tensors",
    Tensor.register_post_accumulate_grad_hook: "sets hooks on tensors",
    Tensor.grad_fn.__get__: "reaches into the graph of its gradients",  # type: ignore[union-attr]
    Tensor.__repr__: "writes tensors as text",
    Tensor.__format__: "writes tensors as text",
    Tensor.data.__get__: "takes tensors' `data`",  # type: ignore[attr-defined]
    Tensor.data.__set__: "takes tensors' `data`",  # type: ignore[attr-defined]
    Tensor.requires_grad_: "freezes or unfreezes tensors",
    Tensor.requires_grad.__set__: "freezes or unfreezes tensors",  # type: ignore[attr-defined]
    torch.embedding_renorm_: "changes embeddings",
}


def _of_embedding(func: Any, args: Sequence[Any], named: Mapping[str, Any]) -> list[str]:
    """`torch.vmap` numbers the rows of all trials' embeddings together: the row that is to get no
    gradient is the first trial's alone, and how often one is used is counted in the same way."""
    if func in (F.embedding_bag, torch.embedding_bag):
        return ["it has an embedding bag, whose rules for several models aren't one model's"]
    order = ("padding_idx", "scale_grad_by_freq", "sparse")
    if func is F.embedding:
        order = ("padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse")  # type: ignore[assignment]
    given = {**dict(zip(order, args[2:], strict=False)), **named}
    padding = given.get("padding_idx")
    if padding is not None and (func is F.embedding or padding >= 0):
        return ["it has an embedding with `padding_idx`, which vmap would heed in one trial alone"]
    names = ("max_norm", "scale_grad_by_freq", "sparse")
    return [f"it has an embedding with `{name}`" for name in names if given.get(name)]
