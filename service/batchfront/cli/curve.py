"""`batchfront curve`"""

import click

from batchfront.cli import options
from batchfront.cli.completion import stored
from batchfront.frontier.curve import EXTRA, SHARE


@click.command(
    epilog="""\b
Examples:
  batchfront curve
  batchfront curve digits/mlp/momentum --share 0.05
  batchfront curve --format json
"""
)
@click.argument("workloads", nargs=-1, shell_complete=stored)
@options.storage
@options.option(
    "--share",
    type=float,
    default=SHARE,
    show_default=True,
    help="Of the steps, which doubling a useful batch size saves at least.",
)
@options.option(
    "--extra",
    type=float,
    default=EXTRA,
    show_default=True,
    help="More examples than at the smallest batch size, as a share, that near-perfect scaling "
    "takes at most.",
)
@options.format_
def command(
    workloads: tuple[str, ...], storage: str, share: float, extra: float, format_: str
) -> None:
    """Fit the curve of steps against batch size, and say how far a larger batch helps.

    For these WORKLOADS, or all that the database holds: up to which batch size scaling is
    near-perfect, up to which a larger batch is useful, and the steps that none gets below, each
    with its 90 % interval, or a bound, or the reason why the points don't tell; then the forms of
    the curve that were tried.
    """
    from batchfront.cli.output.curves import Fitted, print_curves
    from batchfront.frontier.curve.answers import fit_curve
    from batchfront.frontier.frontier import load_frontiers
    from batchfront.frontier.queries import require
    from batchfront.store.snapshot import snapshot

    with snapshot(storage) as moment:
        require(moment, workloads)
        frontiers = load_frontiers(moment, workloads)
    fitted = [Fitted(f, fit_curve(f, extra, share), extra, share) for f in frontiers]
    print_curves(fitted, format_)
