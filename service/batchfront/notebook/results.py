"""What a search has found, as objects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from batchfront.displayed import Displayed
from batchfront.frontier.frontier import Frontier, load_frontier
from batchfront.ledger.status import Status, load_status
from batchfront.outcomes import in_words
from batchfront.table import Table

if TYPE_CHECKING:
    from pandas import DataFrame
    from plotly.graph_objs._figure import Figure

    from batchfront.frontier.curve.curve import Curve
    from batchfront.frontier.recommendation import Recommendation


@dataclass(frozen=True)
class Results(Displayed):
    """What a workload's search has found so far, read from a database when it is first asked for.

    url      -- of the database
    workload -- its name there
    undone   -- what a run left undone, in words; empty where all is done
    """

    url: str
    workload: str
    undone: str = ""

    def __repr__(self) -> str:
        return f"<Results of {self.workload}: {self.undone or 'all is done'}>"

    @cached_property
    def frontier(self) -> Frontier:
        """The fewest steps to target at each batch size."""
        return load_frontier(self.url, self.workload)

    @cached_property
    def curve(self) -> "Curve":
        """The curve through the frontier: how far a larger batch helps."""
        from batchfront.frontier.curve.answers import fit_curve

        return fit_curve(self.frontier)

    @cached_property
    def answers(self) -> tuple[str, ...]:
        """What the curve says, in sentences."""
        from batchfront.frontier.curve.text import answers
        from batchfront.frontier.expected_table import fitted_to

        if not self.frontier.reached:
            return ()
        through = None if self.curve.refusal else fitted_to(self.frontier)
        return tuple(filter(None, (*answers(self.frontier, self.curve), through)))

    @cached_property
    def recommendation(self) -> "Recommendation | None":
        """Which batch size to train with; None where fewer than two have reached the goal."""
        from batchfront.frontier.recommendation import recommendation

        return recommendation(self.frontier, self.curve)

    @property
    def status(self) -> Status:
        """How far the search is now, and who works on it."""
        return load_status(self.url, self.workload)

    @property
    def trials(self) -> "DataFrame":
        """A row for each trial; see `batchfront.load_trials_frame`."""
        from batchfront.frontier.dataframes import load_trials_frame

        return load_trials_frame(self.url, self.workload)

    @property
    def measurements(self) -> "DataFrame":
        """A row for each kept measurement; see `batchfront.load_measurements_frame`."""
        from batchfront.frontier.dataframes import load_measurements_frame

        return load_measurements_frame(self.url, self.workload)

    @cached_property
    def figures(self) -> "Mapping[str, Figure]":
        """The figures, by name; see `batchfront.figures`."""
        from batchfront.report.figures import figures

        return figures(self.frontier)

    def write_report(self, path: str | Path = "report.html") -> Path:
        """Write the interactive page. Returns its path."""
        from batchfront.report.files import write_report

        return write_report(self.url, [self.workload], Path(path))

    def as_tables(self) -> Sequence[Table]:
        first, *others = self.frontier.as_tables()
        return [first, *others, Table(notes=self._notes())]

    def _notes(self) -> list[str]:
        from batchfront.report.hours import load_hours

        by_steps = "" if self.recommendation is None else self.recommendation.text
        said = load_hours(self.url, self.frontier).recommended(by_steps)
        notes = [*([said] if said else []), *self.answers]
        if not self.frontier.reached:
            ended = in_words(self.frontier.outcomes)
            yet = "" if self.status.finished else " yet"
            notes.append(f"No trial has passed the goal{yet}, {self.frontier.goal_text}: {ended}.")
            notes += [
                f"{one.study} trial {one.trial}: {one.reason}" for one in self.status.failures
            ]
        if self.undone:
            notes.append(f"Not all is done: {self.undone}. The same call continues.")
        return notes
