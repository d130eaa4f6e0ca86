"""How the Optuna dashboard keeps notes and figures: in pieces, as system attributes of a study.

Written here rather than through its own functions, so that they can stand in a transaction of
ours and cost no second connection; tests/batchfront/store/test_optuna_dashboard.py reads them back
through those functions.
"""

from collections.abc import Mapping

NOTE = "dashboard:note_"
"""What the keys of a note's attributes begin with."""

_PIECE = 2045  # characters, of what older databases take in one value


def note_attributes(body: str) -> dict[str, str | int]:
    """A study's note, in Markdown."""
    return {f"{NOTE}ver": 1, **_pieces(f"{NOTE}str:", body)}


def figure_attributes(name: str, json: str) -> dict[str, str]:
    """A figure as Plotly's JSON. The name may hold letters, digits and hyphens."""
    return _pieces(figure_prefix(name), json)


def figure_prefix(name: str) -> str:
    """What the keys of a figure's pieces begin with."""
    return f"dashboard:plot_data:{name}:"


def without_figure(attributes: Mapping[str, object], name: str) -> dict[str, object]:
    """A study's system attributes but for the figure of this name."""
    prefix = figure_prefix(name)
    return {key: value for key, value in attributes.items() if not key.startswith(prefix)}


def _pieces(prefix: str, text: str) -> dict[str, str]:
    starts = range(0, len(text), _PIECE)
    return {f"{prefix}{n}": text[at : at + _PIECE] for n, at in enumerate(starts)}
