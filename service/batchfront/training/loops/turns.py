"""What all code in a process shares, put in place for each turn of a loop and taken back after it.

Random generators: torch's, CUDA's, NumPy's and Python's global ones. Settings: whether gradients
are recorded, which type and device tensors have by default, how products are computed, how many
threads compute them, the current GPU, the working directory, the environment; and context
variables, among them NumPy's handling of floating-point errors.

What can't be taken back is refused: a loop that yields inside of `torch.inference_mode`,
`torch.autocast` or another mode of torch's. What a user's own modules hold, and generators of other
libraries, all trials share: for that there is the preflight.
"""

import os
import random
import sys
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from batchfront.errors import WorkloadError
from batchfront.training.run import State
from batchfront.workload.seeds import mix

T = TypeVar("T")

_GENERATORS = 0  # the random stream that a trial's global generators are seeded from


class Turns:
    """One loop's own state of what is shared.

    seed       -- the trial's
    device     -- what it computes on
    generators -- the states that its last turn has left the random generators in, and that the
                  next one begins with
    """

    def __init__(self, seed: int, device: str) -> None:
        self.generators: State = {}
        self._seed, self._device = mix(seed, _GENERATORS), device
        self._context = copy_context()
        self._settings: dict[str, Any] = {}

    def take(self, turn: Callable[[], T]) -> T:
        """Do what `turn` does, with the loop's own state in place. Returns what it returns."""
        if self._device.startswith("cuda"):
            _use_cuda(self._device)
        generators, settings = generator_states(), _settings()
        try:
            _put_settings(self._settings, settings)
            self.put_generators()
            return self._context.run(turn)
        finally:
            self.generators, self._settings = generator_states(), _settings()
            _put_settings(settings, self._settings)
            _put_generators(generators, 0)

    def refusing_remains(self, turn: Callable[[], T]) -> T:
        """The same of a turn that ends at a yield.

        Raises WorkloadError if something is left on that can't be taken back.
        """
        before, torch_before = _modes(), "torch" in sys.modules
        found = self.take(turn)
        if not torch_before and "torch" in sys.modules:
            raise WorkloadError(
                "it imports torch on its way, too late for its random numbers to be seeded; "
                "import it at the top of the file"
            )
        for name, state in _modes().items():
            if state != before[name]:
                raise WorkloadError(
                    f"it yields inside of {name}; evaluate inside of it, and yield after it"
                )
        return found

    def put_generators(self) -> None:
        """Put the process's generators to this loop's states, or seed those that it has none of."""
        _put_generators(self.generators, self._seed)


def generator_states() -> State:
    """The states of the process's random generators, by whose they are."""
    found: State = {"NumPy": np.random.get_state(legacy=False), "Python": random.getstate()}
    torch = sys.modules.get("torch")
    if torch is not None:
        found["torch"] = torch.get_rng_state()
        if torch.cuda.is_initialized():  # the current GPU's: a trial may go on on another
            found["CUDA"] = torch.cuda.get_rng_state()
    return found


def _put_generators(states: State, seed: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        missing = "torch" not in states or (torch.cuda.is_initialized() and "CUDA" not in states)
        if missing:
            torch.manual_seed(seed)
        if "torch" in states:
            torch.set_rng_state(states["torch"])
        if "CUDA" in states:
            torch.cuda.set_rng_state(states["CUDA"])
    if "NumPy" not in states:
        np.random.seed(seed % 2**32)
        random.seed(seed)
    else:
        np.random.set_state(states["NumPy"])
        random.setstate(states["Python"])


class _Setting(NamedTuple):
    name: str
    get: Callable[[], Any]
    put: Callable[[Any], Any]


_OF_THE_PROCESS = (
    _Setting("directory", os.getcwd, os.chdir),
    _Setting("environment", os.environ.copy, lambda variables: _put_environment(variables)),
)


def _of_torch(torch: Any) -> list[_Setting]:
    cudnn = torch.backends.cudnn
    found = [
        _Setting("gradients", torch.is_grad_enabled, torch.set_grad_enabled),
        _Setting("type", torch.get_default_dtype, torch.set_default_dtype),
        _Setting("device", _default_device, torch.set_default_device),
        _Setting("threads", torch.get_num_threads, torch.set_num_threads),
        _Setting(
            "products", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
        ),
        _Setting(
            "deterministic",
            torch.get_deterministic_debug_mode,
            torch.set_deterministic_debug_mode,
        ),
        *(
            _Setting(f"cudnn.{name}", partial(getattr, cudnn, name), partial(setattr, cudnn, name))
            for name in ("enabled", "benchmark", "deterministic", "allow_tf32")
        ),
    ]
    if torch.cuda.is_initialized():
        found.append(_Setting("GPU", torch.cuda.current_device, torch.cuda.set_device))
    return found


def _default_device() -> Any:
    """As it was set, which `torch.get_default_device` doesn't tell from what it is without."""
    return getattr(sys.modules.get("torch.utils._device"), "CURRENT_DEVICE", None)


def _all_settings() -> list[_Setting]:
    torch = sys.modules.get("torch")
    return [*_OF_THE_PROCESS, *(_of_torch(torch) if torch is not None else ())]


def _settings() -> dict[str, Any]:
    return {one.name: one.get() for one in _all_settings()}


def _put_settings(wanted: dict[str, Any], now: dict[str, Any]) -> None:
    for one in _all_settings():
        if one.name in wanted and now.get(one.name) != wanted[one.name]:
            one.put(wanted[one.name])


def _put_environment(variables: dict[str, str]) -> None:
    for name in set(os.environ) - set(variables):
        del os.environ[name]
    os.environ.update(variables)


def _modes() -> dict[str, Any]:
    """What no function of torch's can put back."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    return {
        "torch.inference_mode": torch.is_inference_mode_enabled(),
        "torch.autocast": [torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")],
        "`with torch.device(...)` or another mode of torch's": (
            torch._C._len_torch_function_stack() - (_default_device() is not None),
            torch._C._len_torch_dispatch_stack(),
        ),
    }


def _use_cuda(device: str) -> None:
    """Have the GPU be the current one, so that what says `.cuda()` means it too."""
    import torch

    torch.cuda.init()  # type: ignore[no-untyped-call]
    torch.cuda.set_device(torch.device(device))
