"""What an examination found, for a person or as JSON."""

from collections.abc import Sequence

from batchfront.cli.output.tables import print_json, print_tables
from batchfront.doctor.finding import Finding, Level
from batchfront.phrases import several
from batchfront.table import Column, Table


def print_findings(findings: Sequence[Finding], format_: str) -> None:
    """Print each, those with which nothing has to be done too; the worst stand in a summary."""
    if format_ == "json":
        print_json(list(findings))
        return
    what = Column("what", words=True, names=True)
    columns = (Column("", words=True), what, Column("found", words=True))
    rows = [(one.level, one.about, one.says) for one in findings]
    mending = [f"For the {one.about}: {one.command}" for one in findings if one.command is not None]
    print_tables([Table(columns, rows, keys=2), Table(notes=["", *mending, _summary(findings)])])


def _summary(findings: Sequence[Finding]) -> str:
    levels = [one.level for one in findings]
    bad, odd = levels.count(Level.FAILURE), levels.count(Level.WARNING)
    if not bad and not odd:
        return "Nothing to mend."
    return f"{several(bad, 'failure')}, {several(odd, 'warning')}."
