"""How charts are drawn: themes, colours, marks, and SVG text that is the same for the same input.

Deterministic (fixed hash salt, no date) and drawn twice, for light and for dark pages. Colours are Okabe and Ito's
(Color Universal Design, 2008), which colour-blind readers can tell apart; markers and dashes say the same again.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from fredbench.evaluation.rows import Row
from fredbench.evaluation.statistics import Sample

__all__ = ["GREY", "GRID", "INK", "Style", "Theme", "dots", "drawn", "legend_above", "line", "palette", "styles", "svg"]

Theme = Literal["light", "dark"]

INK: Mapping[Theme, str] = {"light": "#1f2430", "dark": "#e4e7ee"}
GRID: Mapping[Theme, str] = {"light": "#d9dde5", "dark": "#3a4150"}
# Okabe and Ito; the palette's black becomes the ink, its yellow is too light for lines on white.
_COLOURS: Mapping[Theme, tuple[str, ...]] = {
    "light": ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#B8860B"),
    "dark": ("#56B4E9", "#E69F00", "#2FC79A", "#CC79A7", "#5E9BFF", "#F0E442"),
}
GREY = "#8a8f99"
"""Of what is only there to be compared with, in either theme."""

_MARKERS = ("o", "s", "D", "^", "v", "P")


@dataclass(frozen=True)
class Style:
    """How one row is drawn: colour says which set, dashes whether it is a start or a control."""

    colour: str
    marker: str
    dashes: str


def styles(rows: Sequence[Row], theme: Theme) -> list[Style]:
    """A colour and marker for each distilled set, shared with its start; grey for controls."""
    fresh = zip(itertools.cycle(_COLOURS[theme]), itertools.cycle(_MARKERS), strict=False)
    found: dict[int, Style] = {}
    family: dict[Any, Style] = {}
    for number, row in enumerate(rows):
        if not row.control and not row.start:
            found[number] = Style(*next(fresh), "-")
            family.setdefault(_kin(row), found[number])
    for number, row in enumerate(rows):
        if row.control:
            found[number] = Style(GREY, "X", ":")
        elif row.start:
            own = family.get(_kin(row))
            found[number] = Style(*(own.colour, own.marker) if own else next(fresh), "--")
    return [found[number] for number in range(len(rows))]


def _kin(row: Row) -> tuple[Any, ...]:
    """What a distilled row and its start have in common."""
    return (row.method, row.objective, row.parameterization, row.ipc, row.seed, row.preset, row.network, row.protocol)


def palette(theme: Theme) -> tuple[str, ...]:
    """The colours in which sets are drawn, in order."""
    return _COLOURS[theme]


def line(style: Style) -> dict[str, Any]:
    """How matplotlib draws a row's line and marks; those of a start are hollow."""
    hollow = style.dashes == "--"
    return {
        "color": style.colour,
        "marker": style.marker,
        "linestyle": style.dashes,
        "linewidth": 1.8,
        "markersize": 6,
        "markerfacecolor": "none" if hollow else style.colour,
    }


def dots(axes: Any, samples: Mapping[str, Sequence[Sample | None]], looks: Sequence[Style]) -> None:
    """A mark a set and line of the chart with the deviation, the sets of a line below each other; by label."""
    spread = min(0.6, 0.16 * max(len(samples) - 1, 1))
    for number, ((label, found), style) in enumerate(zip(samples.items(), looks, strict=True)):
        shift = spread * (number / max(len(samples) - 1, 1) - 0.5)
        there = [(place + shift, sample) for place, sample in enumerate(found) if sample is not None]
        axes.errorbar(
            [sample.mean for _, sample in there],
            [place for place, _ in there],
            xerr=[sample.std or 0.0 for _, sample in there],
            **{**line(style), "linestyle": "none"},
            elinewidth=1,
            label=label,
        )
    axes.grid(True, axis="both")


def legend_above(figure: Figure, axes: Any, count: int, *, columns: int = 3) -> None:
    """The legend of `count` entries of `axes`, above the chart, in so many columns; long ones below each other."""
    handles, labels = axes.get_legend_handles_labels()
    longest = max(map(len, labels))
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=1 if longest > 30 else min(count, columns),
        frameon=False,
        fontsize=9,
    )


@contextmanager
def drawn(theme: Theme, size: tuple[float, float], gap: float = 0.04) -> Iterator[Figure]:
    """An empty figure of `size` inches; what is drawn inside the block has the theme's colours. gap: between panels."""
    ink, grid = INK[theme], GRID[theme]
    settings: dict[Any, Any] = {
        "text.color": ink, "axes.labelcolor": ink, "axes.edgecolor": grid, "xtick.color": ink, "ytick.color": ink,
        "grid.color": grid, "grid.linewidth": 0.7, "axes.grid": True, "axes.axisbelow": True,
        "axes.spines.top": False, "axes.spines.right": False, "figure.facecolor": "none", "axes.facecolor": "none",
        "font.family": "DejaVu Sans", "font.size": 10, "svg.fonttype": "path",
    }  # fmt: skip
    with mpl.rc_context(settings):
        yield Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=gap))


def svg(figure: Figure, salt: str) -> str:
    """The figure as text; `salt` makes the names inside it this chart's own on a page of several."""
    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": f"fredbench {salt}"}):
        FigureCanvasSVG(figure)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()
