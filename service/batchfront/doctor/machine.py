"""What this machine has for a worker: packages, devices, memory, and folders with room in them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from uuid import uuid4

import fsspec
import psutil

from batchfront.doctor.finding import Finding, failure, ok, warning
from batchfront.extras import has_torch, installed, installing
from batchfront.training.device_names import cores, visible_gpus

_GIB = 1 << 30

_LITTLE, _TOO_LITTLE = _GIB, _GIB // 10  # bytes of free space

_FEW_FILES = 1_000  # that a file system may still take

_OPEN_FILES = 1_024  # which a process should be allowed

_TORCH_SECONDS = 120.0  # that torch may take to be imported on a busy machine

_COUNTED = "import torch; print(torch.cuda.device_count())"


def examine_machine(folders: Mapping[str, str]) -> Iterator[Finding]:
    """Look at this machine.

    folders -- what a folder is for, to the folder or fsspec URL
    """
    yield _packages()
    yield from _devices()
    yield _memory()
    yield _open_files()
    for about, where in {**folders, "temporary files": gettempdir()}.items():
        yield _elsewhere(about, where) if "://" in where else _folder(about, Path(where))


def _packages() -> Finding:
    named = ("batchfront", "optuna", "sqlalchemy", "torch")
    found = {package: installed(package) for package in named}
    python = ".".join(map(str, sys.version_info[:3]))
    there = [f"{package} {found_}" for package, found_ in found.items() if found_]
    says = f"Python {python}, {', '.join(there)}"
    if has_torch():
        return ok("packages", says)
    return ok("packages", f"{says}; without torch, programs alone: {installing('train')}")


def _devices() -> Iterator[Finding]:
    gpus = visible_gpus()
    if not gpus:
        yield ok("devices", f"{cores()} CPU cores, and no GPU that a worker would see")
        return
    names = ", ".join(sorted({gpu.name for gpu in gpus}))
    yield ok("devices", f"{len(gpus)} GPUs ({names}) and {cores()} CPU cores")
    if has_torch():
        seen = _seen_by_torch()
        if seen != len(gpus):
            yield failure(
                "devices",
                f"torch {installed('torch')} sees {seen} of these {len(gpus)} GPUs: it is built "
                "for no GPU, or for a newer driver than is installed here",
            )


def _seen_by_torch() -> int:
    """How many GPUs torch sees, in a process of its own: a driver that hangs hangs that one."""
    with suppress(subprocess.TimeoutExpired):
        counted = subprocess.run(
            [sys.executable, "-c", _COUNTED], capture_output=True, text=True, timeout=_TORCH_SECONDS
        )
        last = counted.stdout.split()[-1:]
        return int(last[0]) if last and last[0].isdigit() else 0
    return 0


def _memory() -> Finding:
    there = psutil.virtual_memory()  # type: ignore[no-untyped-call]
    says = f"{there.available / _GIB:.1f} of {there.total / _GIB:.1f} GiB are free"
    return (ok if there.available > _LITTLE else warning)("memory", says)


def _open_files() -> Finding:
    import resource

    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most >= _OPEN_FILES:
        return ok("open files", f"a process may have {most:,} files open")
    return warning(
        "open files", f"a process may have {most:,} files open, which loaders run short of"
    )


def _folder(about: str, path: Path) -> Finding:
    """Whether a folder, or the one that it will be made in, can be written and has room."""
    there = next(one for one in (path, *path.absolute().parents) if one.exists())
    if not there.is_dir():
        return failure(about, f"{there} is a file; it should be a folder")
    try:
        with TemporaryFile(dir=there) as file:
            file.write(b"batchfront")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return failure(about, f"{there} can't be written: {error.strerror}")
    return room(about, there)


def room(about: str, there: Path) -> Finding:
    """How much a folder's file system can still take."""
    free = shutil.disk_usage(there).free
    files = os.statvfs(there)
    says = f"{there} can be written, {free / _GIB:,.1f} GiB free"
    if free < _TOO_LITTLE:
        return failure(about, f"{there} has {free / (1 << 20):,.0f} MiB free: make room")
    if files.f_files and files.f_favail < _FEW_FILES:
        return failure(about, f"{there} can take {files.f_favail:,} more files: make room")
    return (ok if free > _LITTLE else warning)(about, says)


def _elsewhere(about: str, where: str) -> Finding:
    """The same of an object store: whether what is written there can be read back."""
    name = f"doctor-{uuid4().hex}"
    try:
        files, root = fsspec.url_to_fs(where)  # type: ignore[no-untyped-call]
        path = f"{root.rstrip('/')}/{name}"
        files.pipe_file(path, b"batchfront")
        read = files.cat_file(path)
        files.rm_file(path)
    except Exception as error:  # whatever a store's own library raises
        words = " ".join(str(error).split()) or type(error).__name__
        return failure(about, f"{where} can't be written: {words}")
    if read != b"batchfront":
        return failure(about, f"{where} gives back other bytes than were written there")
    return ok(about, f"{where} can be written and read")
