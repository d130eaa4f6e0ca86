"""How a checkpoint is written: by torch, or without it where nothing of its is there to be kept.

Either way nothing of a file is run when it is read.
"""

import pickle
import sys
from typing import IO, Any

from batchfront.training.run import State

_TORCHS = b"PK"  # as the archives begin that torch writes


def dump(state: State, file: IO[bytes]) -> None:
    """Write a state: dicts, lists, tuples, plain values and tensors."""
    torch = sys.modules.get("torch")
    if torch is None:
        pickle.dump(state, file)
    else:
        torch.save(state, file)


def load(file: IO[bytes]) -> State:
    """Read what `dump` has written, with tensors on the CPU.

    Raises whatever a damaged file makes torch, or pickle, raise.
    """
    begins = file.read(len(_TORCHS))
    file.seek(0)
    if begins != _TORCHS:
        plain: State = _PlainValues(file).load()
        return plain
    import torch  # late: what was written without it is read without it

    state: State = torch.load(file, map_location="cpu", weights_only=True)
    return state


def is_tensor(part: Any) -> bool:
    """Whether it is a tensor of torch's."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(part, torch.Tensor)


class _PlainValues(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "complex"):
            return complex
        raise pickle.UnpicklingError(f"it holds a {module}.{name}")
