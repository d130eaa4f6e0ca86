"""The outlines that are kept are those of the workloads, and bring no torch."""

import json
import subprocess
import sys

from batchfront.workload.outline import Outlined
from batchfront_studies import OUTLINES, workloads
from tests.batchfront_studies.outlines import FILE, outlined, text


def test_the_outlines_are_those_of_the_workloads() -> None:
    made = {name: make() for name, make in workloads().items()}
    known = {name: OUTLINES.get(name, {}).get("train_examples") for name in made}
    written = text({name: outlined(one, known[name]) for name, one in made.items()})
    assert FILE.read_text() == written, "python -m tests.batchfront_studies.outlines writes them"


def test_an_outline_says_what_its_workload_does_of_goal_space_and_batch_sizes() -> None:
    for name, make in workloads().items():
        whole, told = make(), Outlined.of(OUTLINES[name])
        assert (told.goal.metric.low, told.goal.metric.high) == (
            whole.goal.metric.low,
            whole.goal.metric.high,
        )
        assert (told.goal.value, told.goal.best) == (whole.goal.value, whole.goal.best)
        assert list(told.batch_sizes) == list(whole.batch_sizes)
        assert [told.space(b) for b in told.batch_sizes] == [
            whole.space(b) for b in whole.batch_sizes
        ]


def test_the_digits_are_as_many_as_the_outline_says() -> None:
    name = "digits/mlp/momentum"
    assert OUTLINES[name]["train_examples"] == len(workloads()[name]().load_data().train)


def test_nobody_who_lists_the_catalog_waits_for_torch() -> None:
    code = (
        "import sys\n"
        "from batchfront.cli.main import main\n"
        "try:\n    main(['workloads', '--format', 'json'])\n"
        "finally:\n    assert 'torch' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [one["name"] for one in json.loads(run.stdout)] == sorted(OUTLINES)
