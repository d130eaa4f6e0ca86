"""Findings as tests compare them."""

from collections.abc import Iterable

from batchfront.doctor.finding import Finding, Level


def about(findings: Iterable[Finding], subject: str) -> list[Finding]:
    """Those of one subject."""
    return [one for one in findings if one.about == subject]


def bad(findings: Iterable[Finding]) -> list[Finding]:
    """Those that somebody should look at."""
    return [one for one in findings if one.level is not Level.OK]
