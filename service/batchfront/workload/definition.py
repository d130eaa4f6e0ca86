"""What may stand in each field of a workload: taken as it is meant, or refused in one line that
says what to write.

Nothing here imports torch, or calls what the user has given.
"""

import json
import re
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, TypeVar

from batchfront.errors import WorkloadError
from batchfront.workload.given import (
    MOST,
    is_torchs,
    name_of,
    needs,
    needs_listed,
    number,
    shown,
    takes,
    whole,
)

T = TypeVar("T")

LONGEST_NAME = 400
"""Characters of a workload's name: a database keeps 512 with batch size and variant."""

_MOST_SIZES = 1024

_SEVERAL = "write (8, 32, 128), or powers_of_two(8, 1024)"


def as_name(given: object) -> str:
    """A workload's name. Raises WorkloadError, with what to write, for what can't be one."""
    wanted = 'must read dataset/model/optimizer, such as "mnist/cnn/momentum"'
    if not isinstance(given, str):
        raise WorkloadError(f"workload name is {shown(given)}: {wanted}")
    parts = given.split("/")
    if len(parts) < 3 or not all(map(str.strip, parts)) or given != given.strip():
        raise WorkloadError(f"workload name {given!r}: {wanted}")
    if not given.isprintable() or len(given) > LONGEST_NAME:
        raise WorkloadError(
            f"workload name {given[:60]!r}: must be one line of at most {LONGEST_NAME} characters"
        )
    return given


def as_text(workload: str, field: str, given: object) -> str:
    """A text. Raises WorkloadError for anything else."""
    if isinstance(given, str):
        return given
    raise WorkloadError(f"{workload}: {field} is {shown(given)}; write a string")


def as_batch_sizes(workload: str, given: Any) -> tuple[int, ...]:
    """Batch sizes, of one whole number or of several in whatever holds them, each once.

    Raises WorkloadError, with what to write, for what holds none.
    """
    where = f"{workload}: batch_sizes"
    if isinstance(given, str | bytes | Mapping) or given is None or callable(given):
        wanted = _sizes_in_words(given) if isinstance(given, str) else None
        raise WorkloadError(f"{where} is {shown(given)}; {wanted or _SEVERAL}")
    try:
        several = list(islice(iter(given), _MOST_SIZES + 1))
    except Exception:  # whatever what is no collection raises
        several = [given]
    if len(several) > _MOST_SIZES:
        raise WorkloadError(f"{where} has more than {_MOST_SIZES:,} numbers; {_SEVERAL}")
    try:
        sizes_ = [whole(f"{where}: one", size, least=1) for size in several]
    except WorkloadError as error:
        raise WorkloadError(f"{error}; {_SEVERAL}") from None
    if not sizes_:
        raise WorkloadError(f"{where} is empty; {_SEVERAL}")
    if max(sizes_) > MOST:
        raise WorkloadError(f"{where}: {max(sizes_):,} is more than examples can be counted")
    return tuple(dict.fromkeys(sizes_))


def _sizes_in_words(given: str) -> str | None:
    """What to write for batch sizes in quotes, as the command line takes them."""
    numbers = re.findall(r"\d+", given)
    if re.fullmatch(r"\s*\d+\s*(\.\.|-)\s*\d+\s*", given):
        return f"write powers_of_two({numbers[0]}, {numbers[1]})"
    if not numbers or not re.fullmatch(r"[\s\d,()\[\]]*", given):
        return None
    return f"write {numbers[0]}" if len(numbers) == 1 else f"write ({', '.join(numbers)})"


def as_step_budget(workload: str, given: Any) -> int | Callable[[int], int]:
    """A number of steps; or a function from the batch size to one, which isn't called here.

    Raises WorkloadError, with what to write, for anything else.
    """
    where = f"{workload}: step_budget"
    if callable(given) and not isinstance(given, type):
        if takes(given, 1):
            return given  # type: ignore[no-any-return]
        raise WorkloadError(
            f"{where} is a function of {needs_listed(given)}; write one of "
            "the batch size: lambda batch_size: 100_000 // batch_size"
        )
    return steps_in(where, given)


def steps_in(where: str, found: Any) -> int:
    """A number of steps, a part of one left out.

    Raises WorkloadError, which begins with `where`, for anything else.
    """
    epochs = re.fullmatch(r"\s*(\d+)\s*epochs?\s*", found) if isinstance(found, str) else None
    try:
        steps = number(where, found)
    except WorkloadError as error:
        if epochs is not None:
            raise WorkloadError(
                f"{where} is {shown(found)}; it counts steps: write lambda batch_size: "
                f"{epochs[1]} * EXAMPLES // batch_size, with the training examples for EXAMPLES"
            ) from None
        if "quotes" in str(error):
            raise
        raise WorkloadError(
            f"{where} is {shown(found)}; write a number of steps, or a function of the batch size: "
            "lambda batch_size: 100_000 // batch_size"
        ) from None
    if steps > MOST:
        raise WorkloadError(f"{where} is {shown(found)}; the most steps of a trial are {MOST:,}")
    return int(steps)


def as_one_of(workload: str, field: str, given: Any, kind: type[T], such_as: str) -> T:
    """An object of a class of ours, also where the class itself is given and needs nothing.

    such_as -- how one is written

    Raises WorkloadError, with what to write, for anything else.
    """
    if isinstance(given, kind):
        return given
    where = f"{workload}: {field} is {shown(given)}"
    if isinstance(given, type) and issubclass(given, kind):
        needed = needs(given)
        if not needed and not getattr(given, "__abstractmethods__", None):
            return given()
        raise WorkloadError(f"{where}; write {given.__name__}({', '.join(needed or ['...'])})")
    if isinstance(given, Mapping) and all(isinstance(key, str) for key in given):
        fields = ", ".join(f"{key}={_literal(value)}" for key, value in given.items())
        raise WorkloadError(f"{where}; write {kind.__name__}({fields})")
    if given is None:
        raise WorkloadError(f"{where}; leave it out, or write {such_as}")
    raise WorkloadError(f"{where}; write {such_as}")


def _literal(value: object) -> str:
    return repr(value) if isinstance(value, bool | int | float | str) else "..."


def as_data(workload: str, given: Any) -> Callable[..., Any]:
    """The function that makes the splits. Raises WorkloadError, with what to write, for data that
    are made already."""
    write = "data=lambda: Splits(train=..., validation=...), or the name of a function"
    if not callable(given) or is_torchs(given, "nn.Module"):
        raise WorkloadError(
            f"{workload}: data is {shown(given)}; give a function that makes the Splits when they "
            f"are wanted, uncalled: {write}"
        )
    needed = [name for name in needs(given) or () if name != "data_dir"]
    if needed:
        what = shown(given).removeprefix("the ")
        raise WorkloadError(
            f"{workload}: data is the {what}, which takes {', '.join(needed)}; give a function "
            f"that takes nothing and returns the Splits: {write}"
        )
    return given  # type: ignore[no-any-return]


def as_model(workload: str, given: Any) -> Callable[..., Any]:
    """The function, or class, that makes an untrained model.

    Raises WorkloadError, with what to write, for a model that is made already (each trial draws its
    own from its seed) or a function that needs arguments.
    """
    if is_torchs(given, "nn.Module") or is_torchs(given, "Tensor"):
        compiled = type(given).__name__ == "OptimizedModule"
        more = ", and execution=Execution(compile=True)" if compiled else ""
        raise WorkloadError(
            f"{workload}: model is {shown(given)} that is made already, and each trial draws the "
            "weights of its own from its seed; give the function or class that makes one, "
            f"uncalled: model=lambda: ...{more}"
        )
    if not callable(given):
        raise WorkloadError(
            f"{workload}: model is {shown(given)}; give the function or class that makes a "
            "torch.nn.Module, uncalled: model=lambda: nn.Linear(784, 10), say"
        )
    needed = needs(given)
    if needed:
        name = name_of(given, "make")
        raise WorkloadError(
            f"{workload}: model is {shown(given)}, which needs {', '.join(needed)}; say them: "
            f"model=lambda: {name}({', '.join(f'{n}=...' for n in needed)}), or make those that "
            "are searched keyword-only"
        )
    return given  # type: ignore[no-any-return]


def as_loss(workload: str, given: Any) -> Callable[..., Any] | None:
    """The loss, of two arguments. A class of torch's losses that needs nothing is made one.

    Raises WorkloadError, with what to write, for anything else.
    """
    if given is None:
        return None
    where = f"{workload}: loss is {shown(given)}"
    if isinstance(given, type):
        if _is_module_class(given) and not needs(given):
            given = given()
        else:
            raise WorkloadError(f"{where}; make one of it: {given.__name__}(...)")
    if not callable(given):
        raise WorkloadError(
            f"{where}; write a function of (outputs, targets) to the mean over the batch, such as "
            f"{_LOSSES.get(_plain(given), 'cross_entropy of batchfront, or nn.MSELoss()')}"
        )
    if is_torchs(given, "nn.Module"):
        own = [name for name, p in given.named_parameters() if p.requires_grad]
        if own:
            raise WorkloadError(
                f"{where} with parameters of its own ({', '.join(own[:3])}), which no optimizer "
                "trains; make them the model's, and write loss=lambda model, batch: ...; or where "
                "they are fixed, requires_grad_(False)"
            )
    return as_function(workload, "loss", given, ("outputs", "targets"), ("model", "batch"))


_LOSSES = {
    "cross entropy": "cross_entropy of batchfront",
    "crossentropy": "cross_entropy of batchfront",
    "ce": "cross_entropy of batchfront",
    "mse": "torch.nn.functional.mse_loss",
    "mean squared error": "torch.nn.functional.mse_loss",
    "l1": "torch.nn.functional.l1_loss",
    "mae": "torch.nn.functional.l1_loss",
    "bce": "sigmoid_cross_entropy of batchfront",
    "binary cross entropy": "sigmoid_cross_entropy of batchfront",
}


def _plain(given: object) -> str:
    text = given if isinstance(given, str) else ""
    return " ".join(re.split(r"[\s_-]+", text.lower().removesuffix("loss").strip(" _-")))


def _is_module_class(given: type) -> bool:
    base = ("torch.nn.modules.module", "Module")
    return base in [(kind.__module__, kind.__name__) for kind in given.__mro__]


def as_function(
    workload: str, field: str, given: Any, *takes_: tuple[str, ...]
) -> Callable[..., Any]:
    """A function of the user's that takes these arguments, or those.

    Raises WorkloadError, with what to write, for anything else.
    """
    ways = " or ".join(f"({', '.join(names)})" for names in takes_)
    if not callable(given) or isinstance(given, type):
        raise WorkloadError(f"{workload}: {field} is {shown(given)}; write a function of {ways}")
    if any(takes(given, len(names)) for names in takes_):
        return given  # type: ignore[no-any-return]
    raise WorkloadError(
        f"{workload}: {field} is {shown(given)}, of ({needs_listed(given)}); it is called with "
        f"{ways}: wrap it, as {field}=lambda {', '.join(takes_[0])}: ..., and make what is "
        "searched keyword-only"
    )


def as_metaparameters(workload: str, part: str, found: Any) -> Mapping[str, Any]:
    """What a part of the user's own says that it takes. Raises WorkloadError for no dict."""
    if isinstance(found, Mapping) and all(isinstance(name, str) for name in found):
        return found
    raise WorkloadError(
        f"{workload}: {part}.metaparameters() gives {shown(found)}; return a dict of names to "
        "defaults, {} where it takes none"
    )


def as_plain(where: str, found: Any) -> Any:
    """What a part of the user's own is described by, which is kept as JSON.

    Raises WorkloadError for what JSON hasn't.
    """
    try:
        json.dumps(found)
    except (TypeError, ValueError) as error:
        raise WorkloadError(
            f"{where}: {error}; return numbers, strings and None, in dicts and lists"
        ) from error
    return found


def as_clip_norm(workload: str, given: Any) -> float | None:
    """The norm that gradients are clipped to. Raises WorkloadError for what isn't above 0."""
    if given is None:
        return None
    norm = number(f"{workload}: clip_norm", given)
    if norm > 0:
        return norm
    raise WorkloadError(
        f"{workload}: clip_norm is {norm:g}; it must be above 0, and None where nothing is clipped"
    )
