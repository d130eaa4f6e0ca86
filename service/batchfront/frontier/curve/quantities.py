"""What a curve is asked for, by name."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from batchfront.frontier.curve.text import number, size
from batchfront.table import Column, Table

if TYPE_CHECKING:
    from batchfront.frontier.curve.curve import Curve

QUANTITIES: Mapping[str, str] = {
    "perfect_until": "near-perfect up to batch size",
    "useful_until": "useful up to batch size",
    "half_efficiency": "half-efficiency batch size, B_c",
    "s_min": "steps of large batches, S_min",
    "e_min": "examples, E_min",
}
"""What a curve is asked for: the field of `Curve` to its name for a person."""

BATCH_SIZES = ("perfect_until", "useful_until", "half_efficiency")
"""Of these, the ones that are batch sizes."""


def quantities(curve: "Curve") -> dict[str, str]:
    """QUANTITIES, and where near-perfect scaling is measured from if somebody asked for that."""
    start = curve.asked.perfect_from
    more = {} if start is None else {"perfect_until": f"near-perfect from {start:,} up to"}
    return {**QUANTITIES, **more}


def curve_tables(curve: "Curve") -> Sequence[Table]:
    """What a curve says, as a notebook shows it: an answer to each question, or why there is
    none."""
    sizes = [one.batch_size for one in curve.observations]
    title = f"Curve through {len({*sizes})} batch sizes"
    title += f", {min(sizes):,} to {max(sizes):,}" if sizes else ""
    if curve.refusal:
        return [Table(title=title, notes=[f"No curve: {curve.refusal}.", *curve.warnings])]
    columns = (
        Column("", words=True),
        Column("value"),
        Column("at least (90 %)"),
        Column("at most (90 %)"),
        Column("why an end is open", words=True),
    )
    rows = []
    for name, asked in quantities(curve).items():
        shown, one = size if name in BATCH_SIZES else number, getattr(curve, name)
        ends = [None if end is None else shown(end) for end in (one.value, one.low, one.high)]
        rows.append((asked, *ends, one.reason or None))
    return [Table(columns, rows, title, curve.warnings).filled()]
