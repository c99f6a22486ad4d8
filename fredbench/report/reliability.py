"""Reliability diagrams: accuracy against confidence in bins, the gap between them, and of how many predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64
from matplotlib.ticker import PercentFormatter

from fredbench.evaluation.rows import CLEAN, Calibration, Reliability, Row
from fredbench.report.columns import calibration_columns
from fredbench.report.drawing import GREY, INK, Theme, drawn, palette, svg
from fredbench.report.page_table import plain_heads, plain_line, text_cell

__all__ = ["MOST_SETS", "calibration_lines", "reliability_figure", "with_bins"]

MOST_SETS = 8
"""So many sets a page have a diagram of their own; the numbers of all stand in the table."""
_COLUMNS = 4
_FEW = 20
_WHERE = {CLEAN: "clean", "average": "corrupted"}


def with_bins(rows: Sequence[Row], labels: Sequence[str]) -> dict[str, Mapping[str, Calibration]]:
    """By label, what is said of the confidences of rows whose bins are known."""
    return {
        label: row.calibration
        for label, row in zip(labels, rows, strict=True)
        if CLEAN in row.calibration and row.calibration[CLEAN].reliability is not None
    }


def calibration_lines(rows: Sequence[Row], labels: Sequence[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Heads and lines of the page's table of measures, clean and on average."""
    columns = calibration_columns(rows)
    heads = plain_heads([(head, meaning) for head, meaning, _ in columns])
    lines = [
        plain_line(label, [text_cell(text(row)) for _, _, text in columns], companion=row.control or row.start)
        for row, label in zip(rows, labels, strict=True)
    ]
    return heads, lines


def reliability_figure(sets: Mapping[str, Mapping[str, Calibration]], theme: Theme = "light") -> str:
    """SVG: a diagram a set (see `with_bins`) of clean pictures and, below it, one of the corrupted ones."""
    shown = dict(list(sets.items())[:MOST_SETS])
    where = [key for key in _WHERE if all(key in found for found in shown.values())]
    columns = min(_COLUMNS, len(shown))
    blocks = -(-len(shown) // columns)
    widest = 13.2 / columns if columns > 2 else 3.2
    most = max(_shares(found[key]).max() for found in shown.values() for key in where)
    with drawn(theme, (widest * columns, 3.1 * len(where) * blocks), gap=0.06) as figure:
        parts = figure.subfigures(blocks * len(where), columns, squeeze=False)
        for number, (label, found) in enumerate(shown.items()):
            block, column = divmod(number, columns)
            for line, key in enumerate(where):
                title = f"{_short(label)}\n{_WHERE[key]}, ECE {found[key].ece} %"
                _diagram(parts[block * len(where) + line][column], title, found[key], most, theme)
        return svg(figure, f"reliability {theme}")


def _shares(found: Calibration) -> Float64[np.ndarray, " bins"]:
    """The share of predictions in each bin, in percent."""
    counts = np.array([0.0] if found.reliability is None else found.reliability.pictures, dtype=np.float64)
    shares: np.ndarray = 100 * counts / max(counts.sum(), 1)
    return shares


def _diagram(figure: Any, title: str, found: Calibration, most: float, theme: Theme) -> None:
    """One diagram: bars of accuracy, the gap to the mean confidence, and the share of predictions below, to `most`."""
    if found.reliability is None:
        return
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    _bars(above, found.reliability, theme)
    shares = _shares(found)
    width = 100 / len(shares)
    below.bar(np.arange(len(shares)) * width, shares, width=width, align="edge", color=GREY, linewidth=0)
    below.set_ylim(0, most)
    below.set_xlabel("confidence", fontsize=9)
    below.set_ylabel("share", fontsize=9)
    for axes in (above, below):
        axes.set_xlim(0, 100)
        axes.xaxis.set_major_formatter(PercentFormatter(decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(decimals=0))
        axes.tick_params(labelsize=8)
    above.set_ylabel("accuracy", fontsize=9)
    above.set_title(title, fontsize=9, loc="left")


def _bars(axes: Any, bins: Reliability, theme: Theme) -> None:
    """A bar to the accuracy of each bin, marked by a stroke; hatched from there to the mean confidence."""
    blue, orange = palette(theme)[:2]
    width = 100 / len(bins.pictures)
    axes.plot([0, 100], [0, 100], color=INK[theme], linewidth=0.9, linestyle="--", alpha=0.6)
    for place, (count, confidence, accuracy) in enumerate(
        zip(bins.pictures, bins.confidence, bins.accuracy, strict=True)
    ):
        if confidence is None or accuracy is None:
            continue
        low, high, alpha = min(confidence, accuracy), max(confidence, accuracy), 0.3 if count < _FEW else 1.0
        look = {"width": width, "align": "edge", "alpha": alpha}
        axes.bar(place * width, low, color=blue, linewidth=0, **look)
        sure = orange if confidence > accuracy else blue
        axes.bar(place * width, high - low, bottom=low, facecolor="none", edgecolor=sure, hatch="/////", **look)
        axes.hlines(accuracy, place * width, (place + 1) * width, color=INK[theme], linewidth=1.6, alpha=alpha)
    axes.set_ylim(0, 100)


def _short(label: str) -> str:
    return label if len(label) <= 36 else f"{label[:35]}…"
