"""studies/batchfront_studies/outlines.json, made of the workloads themselves:
python -m tests.batchfront_studies.outlines

Of data that aren't here, the number of training examples stays as it is."""

import json
from pathlib import Path
from typing import Any

from batchfront.errors import BatchfrontError
from batchfront.workload.outline import outline
from batchfront.workload.workload import Workload
from batchfront_studies import OUTLINES, workloads

FILE = Path(__file__).parents[2] / "studies" / "batchfront_studies" / "outlines.json"

_THE_SAME_EVERYWHERE = ("digits/", "mnist/", "mnist_subsets/", "solution_quality/mnist/")


def outlined(workload: Workload, examples: int | None) -> dict[str, Any]:
    """A workload's outline, with the number of its training examples where that is known."""
    counted = {} if examples is None else {"train_examples": examples}
    return {**outline(workload), **counted}


def text(outlines: dict[str, Any]) -> str:
    """All of them as a file, a workload a line."""
    lines = (f"{json.dumps(name)}: {json.dumps(one)}" for name, one in sorted(outlines.items()))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def examples(workload: Workload) -> int | None:
    """How many examples it trains on, where everybody has the same; what was known before where
    its data aren't here."""
    if not workload.name.startswith(_THE_SAME_EVERYWHERE):
        return None
    try:
        return len(workload.load_data().train)
    except BatchfrontError:
        return OUTLINES.get(workload.name, {}).get("train_examples")


if __name__ == "__main__":
    made = {name: make() for name, make in workloads().items()}
    FILE.write_text(text({name: outlined(one, examples(one)) for name, one in made.items()}))
