"""Charts of rows as SVG text: accuracy against severity, and by corruption (see `drawing` for how)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.ticker import MaxNLocator

from fredbench.evaluation.profile import FAMILIES
from fredbench.evaluation.rows import Row
from fredbench.report.drawing import INK, Theme, dots, drawn, legend_above, line, styles, svg

__all__ = ["corruption_figure", "distinct_labels", "panel_figure", "severity_figure"]


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
    with drawn(theme, (6.4, 4.6 + 0.2 * len(shown))) as figure:
        axes = figure.subplots()
        for (label, row), style in zip(shown, styles([r for _, r in shown], theme), strict=True):
            axes.plot(
                [0, *severities],
                [row.clean.mean, *_mean_by_severity(row)],
                **line(style),
                label=label,
            )
            if row.clean.std is not None:
                axes.errorbar([0], [row.clean.mean], yerr=[row.clean.std], fmt="none", ecolor=style.colour, capsize=3)
        axes.set_xticks([0, *severities], ["clean", *map(str, severities)])
        axes.set_xlabel("severity")
        axes.set_ylabel("accuracy in %")
        axes.yaxis.set_major_locator(MaxNLocator(6))
        legend_above(figure, axes, len(shown))
        return svg(figure, f"severity {theme}")


def corruption_figure(rows: Sequence[Row], theme: Theme = "light") -> str:
    """SVG: accuracy by corruption, mean over severities with the std over students; a mark a row."""
    shown = _scored(rows)
    names = list(shown[0][1].corruptions)
    with drawn(theme, (6.4, 0.3 * len(names) + 1.4 + 0.2 * len(shown))) as figure:
        axes = figure.subplots()
        samples = {label: [row.corruptions[name].sample for name in names] for label, row in shown}
        dots(axes, samples, styles([row for _, row in shown], theme))
        _family_lines(axes, names, theme)
        axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel("accuracy in %")
        legend_above(figure, axes, len(shown))
        return svg(figure, f"corruptions {theme}")


def panel_figure(rows: Sequence[Row], severities: Sequence[int], theme: Theme = "light") -> str:
    """SVG: accuracy against severity in a panel of its own for each corruption, all on one scale."""
    shown = _scored(rows)
    names = list(shown[0][1].corruptions)
    columns = min(5, len(names))
    lines = -(-len(names) // columns)
    with drawn(theme, (13.2, 2.15 * lines + 0.9), gap=0.1) as figure:
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        looks = styles([row for _, row in shown], theme)
        for number, axes in enumerate(grid.flat):
            if number >= len(names):
                axes.set_visible(False)
                continue
            for (label, row), style in zip(shown, looks, strict=True):
                values = [row.clean.mean, *row.corruptions[names[number]].by_severity]
                axes.plot([0, *severities], values, **{**line(style), "markersize": 3.5}, label=label)
            axes.set_title(names[number].replace("_", " "), fontsize=10)
            axes.set_xticks([0, *severities], ["clean", *map(str, severities)])
        figure.supylabel("accuracy in %", fontsize=10)
        figure.supxlabel("severity", fontsize=10)
        return svg(figure, f"panels {theme}")


def _scored(rows: Sequence[Row]) -> list[tuple[str, Row]]:
    return [(label, row) for label, row in zip(distinct_labels(rows), rows, strict=True) if row.corruptions]


def _mean_by_severity(row: Row) -> list[float]:
    columns = zip(*(score.by_severity for score in row.corruptions.values()), strict=True)
    return [sum(column) / len(column) for column in columns]


def _family_lines(axes: Any, names: Sequence[str], theme: Theme) -> None:
    family = {name: title for title, members in FAMILIES.items() for name in members}
    for place in range(1, len(names)):
        if family.get(names[place]) != family.get(names[place - 1]):
            axes.axhline(place - 0.5, color=INK[theme], linewidth=0.8, alpha=0.5)
