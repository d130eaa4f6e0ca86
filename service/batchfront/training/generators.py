"""The process's random generators, which a model, a loss or a metric may draw from: torch's,
NumPy's and Python's, seeded anew for each computation of a trial.

Seeding NumPy's and Python's takes up to a tenth of a small model's step, and few workloads draw
from them. So they are watched instead, for a hundredth of the time: a computation that turns out
to have drawn from them is done again, seeded, and so is everything that the trial computes from
then on.
"""

import _random
import ctypes
import pickle
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from batchfront.errors import WorkloadError

_numpys = np.random.get_bit_generator  # type: ignore[attr-defined]

_WORDS = 624  # of the state of a Mersenne Twister, which both are


def generator_of(device: torch.device) -> torch.Generator:
    """What torch's own layers draw from."""
    if device.type != "cuda":
        return torch.default_generator
    index = torch.cuda.current_device() if device.index is None else device.index
    return torch.cuda.default_generators[index]


def seed_generators(device: torch.device, seed: int) -> None:
    """Seed all that a computation on `device` may draw from."""
    for generator in _of_torch(device):
        generator.manual_seed(seed)
    _seed_others(seed)


def _of_torch(device: torch.device) -> list[torch.Generator]:
    """The device's own, and the CPU's, which a model on a GPU may draw from too."""
    own = generator_of(device)
    return [own] if own is torch.default_generator else [own, torch.default_generator]


@contextmanager
def drawing_aside(device: torch.device) -> Iterator[None]:
    """What is drawn from torch within leaves no trace: its generators are then where they were."""
    before = [(generator, generator.get_state()) for generator in _of_torch(device)]
    try:
        yield
    finally:
        for generator, state in before:
            generator.set_state(state)


def states(device: torch.device) -> dict[str, Any]:
    """Where the generators are that a computation on `device` may draw from, by whose they are:
    torch's, NumPy's and Python's."""
    return {
        "torch": _torch_states(_of_torch(device)),
        "NumPy": pickle.dumps(np.random.get_state(legacy=False)),
        "Python": random.getstate(),
    }


def drawn_since(before: Mapping[str, Any], device: torch.device) -> list[str]:
    """Whose generators have drawn, or were seeded, since they were at these states."""
    return [name for name, state in states(device).items() if state != before[name]]


def _torch_states(generators: Sequence[torch.Generator]) -> list[bytes]:
    return [generator.get_state().numpy().tobytes() for generator in generators]


def _seed_others(seed: int) -> None:
    random.seed(seed)
    generator = _numpys()
    if isinstance(generator, np.random.MT19937):
        np.random.seed(seed % 2**32)
    else:  # which somebody has put in its place
        generator.state = type(generator)(seed).state
    if _WATCH is not None:
        _WATCH.note()


class Streams:
    """What a trial's computations of one kind draw from: `begin`, then for each of them `seed`,
    `strayed` when it is done, and `settle` when nothing more of it is to come.

    watching -- leave NumPy's and Python's generators unseeded until one of them draws from those
    more     -- something may still draw between `strayed` and `settle`
    """

    def __init__(self, device: torch.device, *, watching: bool = True, more: bool = False) -> None:
        self._reseed = [generator.manual_seed for generator in _of_torch(device)]
        self._watching, self.more = watching and _WATCH is not None, more
        self._seeding = True  # the first, whatever comes

    def leave_nothing_out(self) -> None:
        """Seed them all each time: nothing can be computed again."""
        self._watching, self._seeding = False, True

    def begin(self) -> None:
        """Forget what others have drawn or seeded meanwhile."""
        if not self._seeding and _moved():
            _seed_others(0)

    def seed(self, seed: int) -> None:
        """Have what is computed next draw what belongs to this seed."""
        for reseed in self._reseed:
            reseed(seed)
        if self._seeding:
            _seed_others(seed)

    def strayed(self) -> bool:
        """Whether what was computed since `seed` has drawn from what that left unseeded. It has to
        be computed again, and `seed` won't leave anything out any more."""
        if self._seeding or not _moved():
            return False
        self._seeding = True
        return True

    def settle(self) -> None:
        """Take note that what was computed since `seed` is over.

        Raises WorkloadError if it has drawn from what was left unseeded after `strayed` was asked.
        """
        if self._seeding:
            self._seeding = not self._watching or _moved()
        elif self.more and self.strayed():
            raise WorkloadError(
                "an optimizer's step has drawn from NumPy's or Python's random numbers, and its "
                "first one had not; let it draw from torch's"
            )


class Silence:
    """Sees to it that nothing is drawn where several trials are computed as one, and would share
    it."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._generators = device, _of_torch(device)
        self._drawn = self._states()

    def begin(self) -> None:
        """Nothing may be drawn from now on."""
        if _moved():
            _seed_others(0)
        self._drawn = self._states()

    def check(self) -> None:
        """Raise WorkloadError if something has been drawn since."""
        if self._states() != self._drawn or (_WATCH is not None and _WATCH.moved()):
            raise WorkloadError("it draws random numbers, which trials computed as one would share")

    def _states(self) -> Any:
        return states(self._device) if _WATCH is None else _torch_states(self._generators)


class _Watch:
    """Tells whether NumPy's or Python's generator has moved since it was last seeded here, by a
    look at their memory: to be told their states takes 20 and 60 microseconds."""

    def __init__(self) -> None:
        self._numpy = generator = _numpys()
        assert isinstance(generator, np.random.MT19937)
        self._word, self._place = _of_numpy(generator)
        self._both = ctypes.c_uint64.from_address(_address(random._inst))
        self.note()

    def note(self) -> None:
        """They have just been seeded."""
        self._noted = self._both.value, self._word.value, self._place.value

    def moved(self) -> bool:
        """Whether one has drawn or been seeded since, or is another than it was."""
        now = self._both.value, self._word.value, self._place.value
        return now != self._noted or _numpys() is not self._numpy


def _of_numpy(generator: np.random.MT19937) -> list[ctypes.c_uint32]:
    """A word of its state, and which one it is at: both are the same again only by accident."""
    address = generator.ctypes.state_address
    return [ctypes.c_uint32.from_address(address + 4 * k) for k in (0, _WORDS)]


def _address(generator: random.Random) -> int:
    """Where CPython keeps which word it is at, followed by its state."""
    return id(generator) + object.__basicsize__


def _can_watch() -> bool:
    """Whether memory is laid out as it is expected, and says what the generators say themselves."""
    known = sys.implementation.name == "cpython"
    room = _random.Random.__basicsize__ >= object.__basicsize__ + 4 * (_WORDS + 1)
    if not (known and room and isinstance(_numpys(), np.random.MT19937)):
        return False
    theirs, ours = np.random.MT19937(3), random.Random(3)
    for draws in (0, 1, 5, _WORDS, 2):
        theirs.random_raw(draws)
        for _ in range(draws):
            ours.getrandbits(32)
        state = theirs.state["state"]
        if [found.value for found in _of_numpy(theirs)] != [state["key"][0], state["pos"]]:
            return False
        *words, place = ours.getstate()[1]
        if list((ctypes.c_uint32 * 2).from_address(_address(ours))) != [place, words[0]]:
            return False
    return True


_WATCH = _Watch() if _can_watch() else None


def _moved() -> bool:
    return _WATCH is None or _WATCH.moved()
