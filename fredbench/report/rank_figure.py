"""Mean ranks as a table, and as a critical-difference picture: an axis of ranks, bars over what is not told apart."""

from __future__ import annotations

import io
import json
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from fredbench.evaluation.ranks import Ranks
from fredbench.report.simple import comma_separated, rendered

__all__ = ["draw_ranks", "ranks_table"]

_INK, _BAR = "#1f2430", "#0072B2"
_ROW = 0.26  # inches


def ranks_table(ranks: Ranks, form: str) -> str:
    """A line a system, best first; with it Friedman's p and the critical difference."""
    lines = list(zip(ranks.systems, ranks.means, ranks.wins, strict=True))
    if form == "json":
        systems = [{"system": s, "mean_rank": round(m, 4), "win_rate": round(w, 4)} for s, m, w in lines]
        head = {"columns": list(ranks.columns), "p": ranks.p, "critical_difference": ranks.critical}
        return json.dumps({**head, "systems": systems}, indent=1, allow_nan=False)
    if form == "csv":
        return comma_separated([{"system": s, "mean_rank": m, "win_rate": w} for s, m, w in lines])
    body = rendered(("system", "mean rank", "win rate"), [(s, f"{m:.2f}", f"{w:.0%}") for s, m, w in lines], form)
    return body if form == "latex" else "\n".join([body, "", *_notes(ranks)])


def _notes(ranks: Ranks) -> list[str]:
    said = [f"Ranks over {len(ranks.columns)} columns (1 is best); win rate: share of columns × other systems ahead."]
    if ranks.critical is None or ranks.p is None:
        return [*said, "One column tells no ranks apart."]
    groups = [", ".join(ranks.systems[first : last + 1]) for first, last in ranks.cliques]
    said.append(
        f"Friedman p = {ranks.p:.2g}; mean ranks closer than {ranks.critical:.2f} are not told apart (Nemenyi, 5 %)"
        + (f": {'; '.join(groups)}." if groups else ".")
    )
    said.append(
        "Columns of one table share students and pictures, so they are no independent trials, and p and the critical "
        "difference are optimistic: count datasets and budgets, not columns."
    )
    return said


def draw_ranks(ranks: Ranks, file: Path) -> None:
    """The picture, SVG or PNG by the file's ending; no date and no random names in it."""
    systems, bars = len(ranks.systems), ranks.cliques
    half = (systems + 1) // 2
    rows = half + 1
    height = 0.9 + 0.12 * len(bars) + _ROW * rows
    figure = Figure(figsize=(7.2, height))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    best, worst = 1.0, float(systems)
    left, right = 0.26, 0.74

    def x(rank: float) -> float:
        return left + (right - left) * (rank - best) / max(worst - best, 1.0)

    # From the top in inches: the critical difference, the axis, the bars, then a line a system.
    axis = height - 0.62
    axes.set(xlim=(0, 1), ylim=(0, height))
    axes.axis("off")
    axes.plot([x(best), x(worst)], [axis, axis], color=_INK, lw=1)
    for rank in range(1, systems + 1):
        axes.plot([x(float(rank))] * 2, [axis, axis + 0.06], color=_INK, lw=1)
        axes.text(x(float(rank)), axis + 0.09, str(rank), ha="center", va="bottom", fontsize=8, color=_INK)
    if ranks.critical is not None:
        top, end = height - 0.14, min(x(best + ranks.critical), 0.99)
        axes.plot([x(best), end], [top, top], color=_INK, lw=1.5, marker="|", ms=6)
        axes.text(end + 0.015, top, f"critical difference {ranks.critical:.2f}", va="center", fontsize=8, color=_INK)
    for number, (first, last) in enumerate(bars):
        y = axis - 0.12 * (number + 1)
        ends = [x(ranks.means[first]) - 0.006, x(ranks.means[last]) + 0.006]
        axes.plot(ends, [y, y], color=_BAR, lw=3.5, solid_capstyle="butt")
    start = axis - 0.12 * (len(bars) + 1)
    for place, (name, mean) in enumerate(zip(ranks.systems, ranks.means, strict=True)):
        to_left = place < half
        row = place if to_left else systems - 1 - place
        y = start - _ROW * (row + 0.5)
        edge = left - 0.03 if to_left else right + 0.03
        axes.plot([x(mean), x(mean), edge], [axis, y, y], color=_INK, lw=0.8)
        shown = f"{name}  {mean:.2f}" if to_left else f"{mean:.2f}  {name}"
        gap, side = (-0.008, "right") if to_left else (0.008, "left")
        axes.text(edge + gap, y, shown, ha=side, va="center", fontsize=9, color=_INK)
    _write(figure, file)


def _write(figure: Figure, file: Path) -> None:
    import matplotlib as mpl

    from fredbench.foundation.files import write_bytes

    data = io.BytesIO()
    if file.suffix == ".svg":
        with mpl.rc_context({"svg.hashsalt": "fredbench", "svg.fonttype": "path"}):
            FigureCanvasSVG(figure)
            figure.savefig(data, format="svg", metadata={"Date": None})
    else:
        figure.set_dpi(150)
        FigureCanvasAgg(figure)
        figure.savefig(data, format="png", metadata={"Software": None})
    write_bytes(file, data.getvalue())
