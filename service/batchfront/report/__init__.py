"""The report: one self-contained interactive page that shows the frontiers of a database."""

from batchfront.report.page import write_report

__all__ = ["write_report"]
