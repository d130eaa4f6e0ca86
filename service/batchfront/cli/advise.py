"""`batchfront advise`"""

import click

from batchfront.advice.options import AdviceOptions
from batchfront.cli import options
from batchfront.cli.completion import stored


@click.command(
    epilog="""\b
Examples:
  batchfront advise digits/mlp/momentum
  batchfront advise digits/mlp/momentum --devices 1..64 --price 2.5
  batchfront advise digits/mlp/momentum --machines machines.toml --deadline 12h
  batchfront advise digits/mlp/momentum --price 0.8 --spot 0.1 --budget 500 --format json
"""
)
@click.argument("workload", shell_complete=stored)
@options.storage
@options.told(AdviceOptions, "asked", not_from_environment=("devices", "device"))
@options.format_
def command(workload: str, storage: str, asked: AdviceOptions, format_: str) -> None:
    """Say on how many devices to train, at which batch size, how long it takes and what it costs.

    Steps are those of the curve, seconds a step what `time` measured, or `import timings`
    brought. The answer comes first: the cheapest under a deadline, the fastest
    within a budget, or else as many devices as pay. Beside it the fastest and the cheapest, each
    with hours and cost, their 90 % intervals, and its metaparameters; the best batch size for each
    number of devices; and how to train as recommended. What is extrapolated is said; past twice
    what was measured nothing is.
    """
    from batchfront.advice.advise import load_advice
    from batchfront.cli.output.advice import print_advice
    from batchfront.frontier.queries import load_reruns
    from batchfront.frontier.reruns import confirmations
    from batchfront.store.snapshot import snapshot

    with snapshot(storage) as moment:
        advice = load_advice(moment, workload, asked)
        reruns = confirmations(advice.frontier, load_reruns(moment, workload))
    print_advice(advice, reruns, format_)
