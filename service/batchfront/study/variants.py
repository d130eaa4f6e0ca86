"""A second definition of a workload beside the first, under a name of its own in one database:
`digits/mlp/momentum@wider`."""

import re
from dataclasses import replace
from typing import TypeVar

from sqlalchemy import or_, select

from batchfront.errors import UsageError
from batchfront.store.database import Storage
from batchfront.store.schema import studies
from batchfront.workload.base import VARIANT_SIGN, WorkloadBase

W = TypeVar("W", bound=WorkloadBase)


def as_variant(workload: W, variant: str | None) -> W:
    """The workload under its variant's name; None leaves its own.

    Raises UsageError for a name with other characters than letters, digits, - and _.
    """
    if variant is None:
        return workload
    if not re.fullmatch(r"[A-Za-z0-9_-]+", variant):
        raise UsageError(
            f"--variant {variant!r}: must be a name of letters, digits, - and _, such as wider"
        )
    return replace(workload, name=f"{workload.name}{VARIANT_SIGN}{variant}")


def base_of(workload: str, variant: str | None) -> str:
    """The name of the workload that this one is a variant of; its own if it is none."""
    return workload if variant is None else workload.removesuffix(f"{VARIANT_SIGN}{variant}")


def family(storage: Storage, base: str) -> list[str]:
    """A workload and its variants, as far as they have studies here, by name."""
    name = studies.c.workload
    meant = or_(name == base, name.startswith(f"{base}{VARIANT_SIGN}", autoescape=True))
    with storage.read() as conn:
        return list(conn.execute(select(name).where(meant).distinct().order_by(name)).scalars())


def unused_variant(storage: Storage, base: str) -> str:
    """A variant's name that is free."""
    there = family(storage, base)
    return next(
        f"v{n}" for n in range(2, len(there) + 3) if f"{base}{VARIANT_SIGN}v{n}" not in there
    )
