"""What is installed only on demand, and the command that installs it."""

import json
import sys
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from batchfront.printable import shell_line

_TRAIN = {
    "PIL": "pillow",
    "safetensors": "safetensors",
    "sklearn": "scikit-learn",
    "tokenizers": "tokenizers",
    "torch": "torch",
    "torchvision": "torchvision",
}
"""What `batchfront[train]` adds: module to package."""


def installed(package: str) -> str | None:
    """A package's version, without importing it; None if it isn't installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def has_torch() -> bool:
    """Whether torch is installed."""
    return find_spec("torch") is not None


def missing_for_training(error: BaseException) -> str | None:
    """Say what training needs and is not installed, and how to get it.

    Returns None where `error` was not raised for want of it, and neither was what caused it.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ModuleNotFoundError):
            module = (cause.name or "").partition(".")[0]
            if module in _TRAIN and find_spec(module) is None:
                package = "torch" if find_spec("torch") is None else _TRAIN[module]
                return f"this needs {package}, which is not installed: {installing('train')}"
        cause = cause.__cause__
    return None


def installing(extra: str) -> str:
    """The command, in backticks, that adds an extra to the environment that runs this, from where
    batchfront was installed from; in words where pip, which would do it, isn't there."""
    requirement = _requirement(extra)
    if requirement is None or find_spec("pip") is None:
        return f"install batchfront[{extra}] for {sys.executable}"
    return f"`{shell_line([sys.executable, '-m', 'pip', 'install', *requirement])}`"


def _requirement(extra: str) -> list[str] | None:
    """What pip is told to install, by the origin that it has written down (PEP 610); None if that
    is gone."""
    try:
        text = distribution("batchfront").read_text("direct_url.json")
    except PackageNotFoundError:
        text = None
    origin = json.loads(text or "{}")
    url, vcs = origin.get("url", ""), origin.get("vcs_info")
    if vcs:
        folder = f"#subdirectory={origin['subdirectory']}" if "subdirectory" in origin else ""
        return [f"batchfront[{extra}] @ {vcs['vcs']}+{url}@{vcs['commit_id']}{folder}"]
    if url.startswith("file:"):
        path = Path(url2pathname(urlsplit(url).path))
        if not path.exists():
            return None
        editable = origin.get("dir_info", {}).get("editable", False)
        return [*(["-e"] if editable else []), f"{path}[{extra}]"]
    return [f"batchfront[{extra}] @ {url}" if url else f"batchfront[{extra}]"]
