"""`python -m tests.golden`: run all searches, and record their results in place of the old ones."""

import os
import sys
import tempfile
from pathlib import Path

import torch

from tests.golden.recorded import RECORD, differences, read, write
from tests.golden.runs import RUNS, carried_out


def main() -> None:
    """Record, and say what has changed since the record before."""
    os.environ.pop("BATCHFRONT_STORAGE", None)
    torch.set_num_threads(1)
    results = {}
    for name, run in RUNS.items():
        print(name, "…", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="bf-golden-") as folder:
            results[name] = carried_out(run, Path(folder))
    for line in differences(read()[1], results) if RECORD.exists() else ():
        print(line)
    write(results)


if __name__ == "__main__":
    main()
