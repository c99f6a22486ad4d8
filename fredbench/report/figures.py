"""Charts of rows as SVG text: accuracy against severity, and by corruption.

Deterministic (fixed hash salt, no date) and drawn twice, for light and for dark pages. Colours are Okabe and Ito's
(Color Universal Design, 2008), which colour-blind readers can tell apart; markers and dashes say the same again.
"""

from __future__ import annotations

import io
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from fredbench.evaluation.rows import Row

__all__ = ["Theme", "corruption_figure", "distinct_labels", "panel_figure", "severity_figure"]

Theme = Literal["light", "dark"]

_INK: Mapping[Theme, str] = {"light": "#1f2430", "dark": "#e4e7ee"}
_GRID: Mapping[Theme, str] = {"light": "#d9dde5", "dark": "#3a4150"}
# Okabe and Ito; the palette's black becomes the ink, its yellow is too light for lines on white.
_COLOURS: Mapping[Theme, tuple[str, ...]] = {
    "light": ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#B8860B"),
    "dark": ("#56B4E9", "#E69F00", "#2FC79A", "#CC79A7", "#5E9BFF", "#F0E442"),
}
_MARKERS = ("o", "s", "D", "^", "v", "P")
# Columns of the literature's tables fall into four families; only neighbours of one family are drawn as one.
_FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("noise", ("gaussian_noise", "shot_noise", "impulse_noise")),
    ("blur", ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur")),
    ("weather", ("snow", "frost", "fog", "brightness")),
    ("digital", ("contrast", "elastic_transform", "pixelate", "jpeg_compression")),
)


@dataclass(frozen=True)
class _Style:
    """How one row is drawn: colour says which set, dashes whether it is a start or a control."""

    colour: str
    marker: str
    dashes: str


def distinct_labels(rows: Sequence[Row]) -> list[str]:
    """The rows' labels, told apart where two are equal: by IPC, iterations, preset, seed or network, else by run."""
    labels = [row.label for row in rows]
    repeated = {label for label, count in Counter(labels).items() if count > 1}
    traits: tuple[Callable[[Row], str], ...] = (
        lambda row: f"IPC {row.ipc}",
        lambda row: f"{row.params:,} scalars",
        lambda row: f"{row.iterations} iterations",
        lambda row: row.preset,
        lambda row: f"seed {row.seed}",
        lambda row: row.network,
    )
    for label in repeated:
        alike = [number for number, row in enumerate(rows) if row.label == label]
        names = [label] * len(alike)
        for trait in traits:
            longer = [f"{name}, {trait(rows[n])}" for name, n in zip(names, alike, strict=True)]
            if len(set(longer)) > len(set(names)):
                names = longer
        if len(set(names)) < len(names):
            runs = [Path(rows[n].run) for n in alike]
            short = len({run.name for run in runs}) == len(runs)
            names = [f"{name}, {run.name if short else run}" for name, run in zip(names, runs, strict=True)]
        for number, name in zip(alike, names, strict=True):
            labels[number] = name
    return labels


def severity_figure(rows: Sequence[Row], severities: Sequence[int], theme: Theme = "light") -> str:
    """SVG: mean accuracy over all corruptions against severity, a line a row; clean stands at severity 0."""
    shown = _scored(rows)
    with _figure(theme, (6.4, 4.6 + 0.2 * len(shown))) as figure:
        axes = figure.subplots()
        for (label, row), style in zip(shown, _styles([r for _, r in shown], theme), strict=True):
            axes.plot(
                [0, *severities],
                [row.clean.mean, *_mean_by_severity(row)],
                **_line(style, theme),
                label=label,
            )
            if row.clean.std is not None:
                axes.errorbar([0], [row.clean.mean], yerr=[row.clean.std], fmt="none", ecolor=style.colour, capsize=3)
        axes.set_xticks([0, *severities], ["clean", *map(str, severities)])
        axes.set_xlabel("severity")
        axes.set_ylabel("accuracy in %")
        axes.yaxis.set_major_locator(MaxNLocator(6))
        _legend_above(figure, axes, len(shown))
        return _svg(figure, f"severity {theme}")


def corruption_figure(rows: Sequence[Row], theme: Theme = "light") -> str:
    """SVG: accuracy by corruption, mean over severities with the std over students; a mark a row."""
    shown = _scored(rows)
    names = list(shown[0][1].corruptions)
    spread = min(0.6, 0.16 * max(len(shown) - 1, 1))
    with _figure(theme, (6.4, 0.3 * len(names) + 1.4 + 0.2 * len(shown))) as figure:
        axes = figure.subplots()
        for number, ((label, row), style) in enumerate(zip(shown, _styles([r for _, r in shown], theme), strict=True)):
            shift = spread * (number / max(len(shown) - 1, 1) - 0.5)
            scores = [row.corruptions[name].sample for name in names]
            axes.errorbar(
                [score.mean for score in scores],
                [place + shift for place in range(len(names))],
                xerr=[score.std or 0.0 for score in scores],
                **{**_line(style, theme), "linestyle": "none"},
                elinewidth=1,
                label=label,
            )
        _family_lines(axes, names, theme)
        axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel("accuracy in %")
        axes.grid(True, axis="both")
        _legend_above(figure, axes, len(shown))
        return _svg(figure, f"corruptions {theme}")


def panel_figure(rows: Sequence[Row], severities: Sequence[int], theme: Theme = "light") -> str:
    """SVG: accuracy against severity in a panel of its own for each corruption, all on one scale."""
    shown = _scored(rows)
    names = list(shown[0][1].corruptions)
    columns = min(5, len(names))
    lines = -(-len(names) // columns)
    with _figure(theme, (13.2, 2.15 * lines + 0.9), gap=0.1) as figure:
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        styles = _styles([row for _, row in shown], theme)
        for number, axes in enumerate(grid.flat):
            if number >= len(names):
                axes.set_visible(False)
                continue
            for (label, row), style in zip(shown, styles, strict=True):
                values = [row.clean.mean, *row.corruptions[names[number]].by_severity]
                axes.plot([0, *severities], values, **{**_line(style, theme), "markersize": 3.5}, label=label)
            axes.set_title(names[number].replace("_", " "), fontsize=10)
            axes.set_xticks([0, *severities], ["clean", *map(str, severities)])
        figure.supylabel("accuracy in %", fontsize=10)
        figure.supxlabel("severity", fontsize=10)
        return _svg(figure, f"panels {theme}")


def _scored(rows: Sequence[Row]) -> list[tuple[str, Row]]:
    return [(label, row) for label, row in zip(distinct_labels(rows), rows, strict=True) if row.corruptions]


def _mean_by_severity(row: Row) -> list[float]:
    columns = zip(*(score.by_severity for score in row.corruptions.values()), strict=True)
    return [sum(column) / len(column) for column in columns]


def _styles(rows: Sequence[Row], theme: Theme) -> list[_Style]:
    """A colour and marker for each distilled set, shared with its start; grey for controls."""
    fresh = zip(itertools.cycle(_COLOURS[theme]), itertools.cycle(_MARKERS), strict=False)
    styles: dict[int, _Style] = {}
    family: dict[Any, _Style] = {}
    for number, row in enumerate(rows):
        if not row.control and not row.start:
            styles[number] = _Style(*next(fresh), "-")
            family.setdefault(_kin(row), styles[number])
    for number, row in enumerate(rows):
        if row.control:
            styles[number] = _Style("#8a8f99", "X", ":")
        elif row.start:
            own = family.get(_kin(row))
            styles[number] = _Style(*(own.colour, own.marker) if own else next(fresh), "--")
    return [styles[number] for number in range(len(rows))]


def _kin(row: Row) -> tuple[Any, ...]:
    """What a distilled row and its start have in common."""
    return (row.method, row.objective, row.parameterization, row.ipc, row.seed, row.preset, row.network, row.protocol)


def _line(style: _Style, theme: Theme) -> dict[str, Any]:
    hollow = style.dashes == "--"
    return {
        "color": style.colour,
        "marker": style.marker,
        "linestyle": style.dashes,
        "linewidth": 1.8,
        "markersize": 6,
        "markerfacecolor": "none" if hollow else style.colour,
    }


def _family_lines(axes: Any, names: Sequence[str], theme: Theme) -> None:
    family = {name: title for title, members in _FAMILIES for name in members}
    for place in range(1, len(names)):
        if family.get(names[place]) != family.get(names[place - 1]):
            axes.axhline(place - 0.5, color=_INK[theme], linewidth=0.8, alpha=0.5)


def _legend_above(figure: Figure, axes: Any, count: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    longest = max(map(len, labels))
    figure.legend(
        handles, labels, loc="outside upper left", ncols=1 if longest > 30 else min(count, 3), frameon=False, fontsize=9
    )


@contextmanager
def _figure(theme: Theme, size: tuple[float, float], gap: float = 0.04) -> Iterator[Figure]:
    ink, grid = _INK[theme], _GRID[theme]
    settings: dict[Any, Any] = {
        "text.color": ink, "axes.labelcolor": ink, "axes.edgecolor": grid, "xtick.color": ink, "ytick.color": ink,
        "grid.color": grid, "grid.linewidth": 0.7, "axes.grid": True, "axes.axisbelow": True,
        "axes.spines.top": False, "axes.spines.right": False, "figure.facecolor": "none", "axes.facecolor": "none",
        "font.family": "DejaVu Sans", "font.size": 10, "svg.fonttype": "path",
    }  # fmt: skip
    with mpl.rc_context(settings):
        yield Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=gap))


def _svg(figure: Figure, salt: str) -> str:
    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": f"fredbench {salt}"}):
        FigureCanvasSVG(figure)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()
