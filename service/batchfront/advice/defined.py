"""What a study's definition says that hours depend on.

Definitions are read as they stand in a database, which anybody may have written: what isn't as
batchfront writes it counts as unknown.
"""

import re
from collections.abc import Mapping
from math import lcm, prod
from typing import Any

from batchfront.errors import WorkloadError
from batchfront.study.study import Study
from batchfront.workload.evaluation_grid import EvaluationGrid


def precision(study: Study) -> str:
    """What its models are computed in."""
    return str(study.identity.get("precision", "float32"))


def whole(study: Study) -> str | None:
    """Why its batches are computed at once; None: they may be cut."""
    found = _object(study.identity, "preflight").get("whole")
    return None if found is None else str(found)


def group(study: Study) -> int:
    """The examples that ghost batch normalization keeps together; 1 without any."""
    layers = str(_object(study.identity, "model").get("layers", ""))
    sizes = map(int, re.findall(r"\bghost_size=([1-9]\d{0,8})\b", layers))
    return lcm(*sizes)


def gradient_bytes(study: Study) -> int | None:
    """Of its model's parameters, whose gradients are float32 whatever it is computed in; None:
    unknown."""
    shapes = _object(_object(study.identity, "model"), "parameters").values()
    if not all(isinstance(s, list) and all(type(n) is int and n >= 0 for n in s) for s in shapes):
        return None
    return 4 * sum(prod(shape) for shape in shapes) or None


def evaluation_grid(study: Study) -> EvaluationGrid | None:
    """The steps at which its trials are evaluated; None: they evaluate when they like, or it isn't
    known when."""
    told = _object(study.identity, "grid")
    try:
        return EvaluationGrid(**told) if told else None
    except (TypeError, WorkloadError):
        return None


def _object(within: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = within.get(name)
    return found if isinstance(found, dict) else {}
