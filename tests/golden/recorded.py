"""What the runs came to when they were recorded, on which kind of processor, and what differs."""

import gzip
import json
import platform
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

RECORD = Path(__file__).parent / "recorded.json.gz"

_LIBRARIES = ("numpy", "optuna", "scipy", "torch")


def kind() -> dict[str, str]:
    """What results hang on, to the bit, beside the program: the kind of processor, and versions.

    The processor's maker counts beside the instructions that torch finds in it: the libraries that
    torch multiplies matrices with tell them apart.
    """
    known = Path("/proc/cpuinfo")
    maker = re.search(r"vendor_id\s*: (\w+)", known.read_text() if known.exists() else "")
    processor = (maker[1] if maker else platform.machine(), torch.backends.cpu.get_cpu_capability())
    return {"processor": " ".join(processor), **{name: version(name) for name in _LIBRARIES}}


def write(results: Mapping[str, Any]) -> None:
    """Record the results of all runs, by name, as those of this kind of processor."""
    text = json.dumps({"kind": kind(), "runs": results}, separators=(",", ":"))
    RECORD.write_bytes(gzip.compress(text.encode(), mtime=0))


def read() -> tuple[dict[str, str], dict[str, Any]]:
    """The kind of processor that the runs were recorded on, and their results by name."""
    found = json.loads(gzip.decompress(RECORD.read_bytes()))
    return found["kind"], found["runs"]


def another_kind() -> str:
    """How this kind of processor differs from that of the record; empty if it is the same."""
    here = kind()
    then = read()[0].items()
    changed = [f"{name} {was} (here {here[name]})" for name, was in then if here[name] != was]
    return f"recorded with {', '.join(changed)}" if changed else ""


def differences(before: Any, now: Any, where: str = "") -> Iterator[str]:
    """One phrase for each value that isn't what it was: "studies/…/b4/13/steps was 96, is 97"."""
    if type(before) is type(now) and isinstance(before, (dict, list)):
        old, new = (of if isinstance(of, dict) else dict(enumerate(of)) for of in (before, now))
        for key in [*old, *(key for key in new if key not in old)]:
            yield from differences(old.get(key), new.get(key), f"{where}/{key}".lstrip("/"))
    elif before != now:
        yield f"{where} was {before!r}, is {now!r}"
