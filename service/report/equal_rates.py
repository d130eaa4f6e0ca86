"""Lines of equal effective learning rate, lr / (1 - momentum), over lr and 1 - momentum."""

import math
from collections.abc import Sequence
from typing import Any

_MOST = 5


def equal_rates(across: Sequence[float], up: Sequence[float]) -> list[dict[str, Any]]:
    """One thin line a decade, or every few decades, with its rate at the upper end.

    across, up -- the ends of the axes of lr and of 1 - momentum, as powers of ten
    """
    lowest, highest = across[0] - up[1], across[1] - up[0]
    decades = range(math.ceil(lowest + 0.5), math.floor(highest - 0.5) + 1)
    every = max(1, math.ceil(len(decades) / _MOST))
    return [_line(decade, across, up) for decade in decades if decade % every == 0]


def _line(decade: int, across: Sequence[float], up: Sequence[float]) -> dict[str, Any]:
    """Where lr = 10^decade (1 - momentum), within the figure."""
    left = max(across[0], up[0] + decade)
    right = min(across[1], up[1] + decade)
    return {
        "type": "line",
        "layer": "below",
        "x0": 10**left,
        "y0": 10 ** (left - decade),
        "x1": 10**right,
        "y1": 10 ** (right - decade),
        "line": {"color": "var(--rule)", "width": 1},
        "label": {
            "text": f"{10.0**decade:g}",
            "textposition": "end",
            "textangle": 0,
            "xanchor": "right",
            "yanchor": "top",
            "padding": 4,
            "font": {"size": 11, "color": "var(--muted)"},
        },
    }
