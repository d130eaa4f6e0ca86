"""What a program's metaparameters may be called."""

import re
from pathlib import Path

import batchfront
from batchfront.workload.placeholders import PLACEHOLDERS
from batchfront.workload.program import TAKEN


def test_no_metaparameter_can_take_the_place_of_a_variable_that_batchfront_reads() -> None:
    sources = "".join(p.read_text() for p in Path(batchfront.__file__).parent.rglob("*.py"))
    read = {name.lower() for name in re.findall(r'"BATCHFRONT_([A-Z_]+)"', sources)}
    assert len(read) >= len(TAKEN)
    assert read <= {*TAKEN, *PLACEHOLDERS}
