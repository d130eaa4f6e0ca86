"""The outcomes as the report shows them: in this order, with these colours, symbols and words."""

from dataclasses import dataclass

from service.frontier import Trial


@dataclass(frozen=True)
class Look:
    """How one outcome is drawn, and what it means. `color` is one of the page's CSS colours."""

    name: str
    color: str
    symbol: str
    meaning: str


# Written out, because the list in service.training.stopping comes with torch; a test compares.
OUTCOMES = (
    Look("reached", "var(--reached)", "circle", "passed the goal"),
    Look(
        "capped",
        "var(--capped)",
        "square",
        "stopped because as many others of its study as were to finish had already won with no "
        "more steps; it could not have become the winner",
    ),
    Look(
        "dropped",
        "var(--dropped)",
        "triangle-down",
        "stopped by an option of the search, as it was behind others; it might have won",
    ),
    Look("diverged", "var(--diverged)", "triangle-up", "its loss grew out of bounds"),
    Look("stalled", "var(--stalled)", "diamond", "made no progress for a long stretch"),
    Look("exhausted", "var(--exhausted)", "cross", "spent its whole step budget"),
    Look("failed", "var(--failed)", "x", "ended in an error, also when tried again"),
    Look("open", "var(--open)", "circle-open", "not done yet"),
)

WINNER = "var(--accent)"
"""The winners' colour, in every figure."""


def outcome_of(trial: Trial) -> str:
    """A trial's outcome, `open` while it has none."""
    return trial.outcome or "open"


def counted(outcomes: dict[str, int]) -> str:
    """Outcomes in words, in the report's order: "31 capped, 1 open"."""
    known = [look.name for look in OUTCOMES]
    order = [name for name in known if name in outcomes] + sorted(set(outcomes) - set(known))
    return ", ".join(f"{outcomes[name]:,} {name}" for name in order if outcomes[name])
