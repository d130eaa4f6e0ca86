"""Marks, lines and words stand out from the paper, in both colour schemes."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from batchfront.report.scripts import asset
from batchfront.report.series import COLORS
from tests.packed import figures_of

MARKS, WORDS = 3.0, 4.5
"""The least contrast that WCAG 2.2 asks for, 1.4.11 and 1.4.3."""

Colour = tuple[float, ...]


def palettes() -> dict[str, dict[str, str]]:
    """The colours of each scheme by their names."""
    light, dark = (
        dict(re.findall(r"(--[\w-]+): (#\w+);", part))
        for part in asset("page.css").partition("main {")[0].split("@media (prefers-color-scheme")
    )
    return {"light": light, "dark": light | dark}


def colour(value: str) -> Colour:
    return tuple(int(value[n : n + 2], 16) for n in (1, 3, 5))


def luminance(of: Colour) -> float:
    linear = [
        v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in of)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Colour, other: Colour) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def seen(of: Colour, paper: Colour, opacity: float) -> Colour:
    return tuple(opacity * a + (1 - opacity) * b for a, b in zip(of, paper, strict=True))


def drawn(trace: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The colours of a trace's marks and lines, each with its opacity."""
    opacity, marker, line = trace.get("opacity", 1), trace.get("marker", {}), trace.get("line", {})
    if "markers" in trace["mode"]:
        colours = marker.get("color", [])
        for name in {colours} if isinstance(colours, str) else set(colours):
            yield name, opacity * marker.get("opacity", 1)
    if "lines" in trace["mode"] and line.get("width"):
        yield line["color"], opacity


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["page", "odd_page"])
def test_every_mark_and_line_of_the_page_does(
    which: str, scheme: str, request: pytest.FixtureRequest
) -> None:
    page: Path = request.getfixturevalue(which)
    colours = palettes()[scheme]
    paper, found = colour(colours["--paper"]), {}
    for figure in figures_of(page.read_text(encoding="utf-8")).values():
        for trace in figure["data"]:
            for name, opacity in drawn(trace):
                of = colour(colours[name.removeprefix("var(").removesuffix(")")])
                found[name, opacity] = contrast(seen(of, paper, opacity), paper)
    assert len(found) > 3
    assert {drawn: ratio for drawn, ratio in found.items() if ratio < MARKS} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["ink", "muted", "accent", "edge"])
def test_words_do_on_all_that_they_stand_on(name: str, scheme: str) -> None:
    colours = palettes()[scheme]
    for below in ("--paper", "--soft"):
        assert contrast(colour(colours[f"--{name}"]), colour(colours[below])) >= WORDS


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_colours_that_tell_lines_apart_do(scheme: str) -> None:
    colours = palettes()[scheme]
    for number in range(COLORS):
        assert contrast(colour(colours[f"--c{number}"]), colour(colours["--paper"])) >= MARKS
