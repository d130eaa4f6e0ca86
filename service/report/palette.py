"""The page's light colours, for figures that no page draws."""

import re
from typing import Any

from service.report.scripts import asset


def in_light_colours(value: Any) -> Any:
    """Plotly data with its colours by name, `var(--ink)`, as the colours themselves."""
    colours = dict(re.findall(r"(--[\w-]+): ([^;]+);", asset("page.css").partition("}")[0]))
    return _coloured(value, colours)


def _coloured(value: Any, colours: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _coloured(entry, colours) for key, entry in value.items()}
    if isinstance(value, list):
        return [_coloured(entry, colours) for entry in value]
    named = re.fullmatch(r"var\((--[\w-]+)\)", value) if isinstance(value, str) else None
    return colours[named[1]] if named else value
