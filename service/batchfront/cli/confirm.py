"""`batchfront confirm`"""

from typing import Any

import click

from batchfront.cli import options
from batchfront.cli.commands import telling_how_it_may
from batchfront.cli.completion import stored
from batchfront.cli.help import Command
from batchfront.cli.output.lines import put
from batchfront.errors import UsageError
from batchfront.vocabulary import SCALING_RULES
from batchfront.worker.options import WHEN_TO_END, WorkerOptions


@click.command(
    cls=Command,
    epilog="""\b
Examples:
  batchfront confirm digits/mlp/momentum
  batchfront confirm digits/mlp/momentum --candidates 4 --seeds 10 --batch-sizes 2..32
  batchfront confirm digits/mlp/momentum --recommended --seeds 15
  batchfront confirm digits/mlp/momentum --rule linear --format csv
  batchfront confirm my/data/adamw --rule adam-square-root
""",
)
@click.argument("workload", shell_complete=stored)
@options.storage
@options.option(
    "--rule",
    type=options.OneOf(SCALING_RULES),
    help="Instead of the best trials, run what this rule makes of the winner of the smallest batch "
    "size: its learning rate scaled with the batch size or its square root; learning rate, betas "
    "and eps as Malladi et al. 2022 scale Adam's; beta2 so that its half-life in examples, or "
    "weight decay so that what it forgets in examples, stays the same.",
)
@options.option(
    "--recommended",
    is_flag=True,
    help="Instead of the best trials, run those that `frontier` recommends, and tell whether their "
    "medians are what it expects.",
)
@options.option(
    "--seeds",
    type=click.IntRange(1, 10_000),  # each is a row that is made before any runs
    default=5,
    show_default=True,
    help="Trials of each candidate.",
)
@options.option(
    "--candidates",
    type=click.IntRange(min=1),
    help="How many of the trials that reached the goal, the winner first.  [default: 2]",
)
@options.batch_sizes
@options.option(
    "--plan-only", is_flag=True, help="Leave it to `batchfront work`, on whatever machines."
)
@options.workers
@options.told(WorkerOptions, "worker", without=WHEN_TO_END)
@options.data_dir
@options.format_
def command(
    workload: str,
    storage: str,
    plan_only: bool,
    workers: int | None,
    worker: WorkerOptions,
    format_: str,
    **asked: Any,
) -> int:
    """Run each winner again with fresh seeds.

    WORKLOAD is one with a frontier. A search's winner is the luckiest of its trials: this shows
    the median and the range of its metaparameters, and of the runners-up's, beside the single
    best. Every trial runs to the goal, or as far as the study's rules let it. The same command
    again adds only what is missing.
    """
    from batchfront.ledger.status import load_status
    from batchfront.store.url import open_storage

    _refuse_two(asked["rule"], asked["recommended"], asked["candidates"])
    opened = open_storage(storage)
    if not plan_only:
        from batchfront.launch.local import devices_for
        from batchfront.study.code import spec_here
        from batchfront.study.study import Filter, find_studies, refuse_imported
        from batchfront.workload.trust import Trust

        with opened.read() as conn:
            there = find_studies(conn, Filter((workload,)))
        refuse_imported(opened, there)  # before torch is here
        with telling_how_it_may():
            specs = {spec_here(study, Trust.of(worker.code)) for study in there}
        devices = devices_for(specs, worker, workers)
    planned = _plan(opened, workload, **asked)
    if plan_only:
        for study, added in zip(planned.studies, planned.added, strict=True):
            put(f"{study.name}: {study.trials} trials, {added} new")
        return 0
    finished = load_status(opened, planned.filter).finished
    if not finished:
        from batchfront.cli.local_run import refuse_engine, run_here

        worker = options.with_checkpoints(worker, storage)
        refuse_engine(planned, worker)
        finished = not run_here(opened, planned.filter, worker, devices).undone
    _print(opened, workload, asked["rule"], asked["recommended"], format_)
    return 0 if finished else 130


def _refuse_two(rule: str | None, recommended: bool, candidates: int | None) -> None:
    """Raise UsageError for options that each say what is to be run."""
    if rule is not None and recommended:
        raise UsageError(f"--rule {rule}: a rule runs what it makes; leave out --recommended")
    if candidates is not None and rule is not None:
        raise UsageError(f"--candidates {candidates}: a rule has one, the smallest batch's winner")
    if candidates is not None and recommended:
        raise UsageError(f"--candidates {candidates}: --recommended has one at a batch size")


def _plan(
    opened: Any,
    workload: str,
    rule: str | None,
    recommended: bool,
    seeds: int,
    candidates: int | None,
    batch_sizes: tuple[int, ...] | None,
) -> Any:
    from batchfront.plan.reruns import DEFAULT_CANDIDATES, plan_confirmations, plan_rule

    told: dict[str, Any] = {"seeds": seeds, "batch_sizes": batch_sizes}
    if recommended:
        return plan_confirmations(opened, workload, recommended=True, **told)
    if rule is None:
        told["candidates"] = DEFAULT_CANDIDATES if candidates is None else candidates
        return plan_confirmations(opened, workload, **told)
    return plan_rule(opened, workload, rule, **told)


def _print(opened: Any, workload: str, rule: str | None, recommended: bool, format_: str) -> None:
    from batchfront.cli.output import reruns as tables
    from batchfront.cli.output.tables import warn_of_mixed_code
    from batchfront.frontier.frontier import load_frontier
    from batchfront.frontier.queries import load_reruns
    from batchfront.frontier.reruns import confirmations
    from batchfront.store.snapshot import snapshot

    with snapshot(opened) as moment:
        frontier = load_frontier(moment, workload)
        reruns = load_reruns(moment, workload)
    warn_of_mixed_code(frontier)
    confirmed = confirmations(frontier, reruns)
    if rule is None:
        tables.print_confirmations(frontier, confirmed, format_, recommended=recommended)
    else:
        tables.print_rule(frontier, rule, reruns, confirmed, format_)
