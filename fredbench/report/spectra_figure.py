"""How the energy of distilled pictures is spread over frequencies, beside the real ones: a chart and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from fredbench.evaluation.rows import Row
from fredbench.evaluation.spectra import BANDS, Spectrum, band_shares, flat_shares, radial_mean
from fredbench.report.drawing import INK, Theme, drawn, legend_above, line, styles, svg
from fredbench.report.page_table import cell, plain_heads, plain_line
from fredbench.runs.synset import Synset

__all__ = ["spectra_figure", "spectra_lines", "spectrum_of"]


def spectrum_of(synset: Synset) -> Spectrum:
    """That of a set's decoded pictures, normalisation and whitening undone, neither rounded nor clipped."""
    return Spectrum.of(synset.levels(synset.images).numpy())


def spectra_lines(real: Spectrum, sets: Mapping[str, Spectrum]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Heads and lines of a table: the share of energy in each band, of sets by label, real pictures and white noise."""
    height, width = real.power.shape
    nyquist = min(height, width) / 2
    ends = [0.0, nyquist / 3, 2 * nyquist / 3, nyquist]
    spans = [f"{low:.3g} to {high:.3g} cycles a picture" for low, high in pairwise(ends)]
    heads = plain_heads(
        [
            *zip((f"{band} %" for band in BANDS), [*spans, f"beyond {nyquist:.3g} cycles a picture"], strict=True),
            ("contrast", "root of the mean square about each picture's own mean, of a range of 1"),
            ("pictures", "pictures that the mean is over"),
        ]
    )
    found = {"real training pictures": real, **sets}
    lines = [
        _line(name, band_shares(each.power), f"{_contrast(each):.3f}", f"{each.pictures:,}")
        for name, each in found.items()
    ]
    return heads, [*lines, _line("white noise, for comparison", flat_shares(height, width), "–", "–")]


def spectra_figure(real: Spectrum, sets: Mapping[str, Spectrum], rows: Sequence[Row], theme: Theme = "light") -> str:
    """SVG: mean power against radius, and the same as a multiple of the real pictures'; `rows` are those of `sets`."""
    rings = radial_mean(real.power)
    radius = np.arange(1, len(rings) + 1)
    with drawn(theme, (13.2, 4.3 + 0.2 * len(sets)), gap=0.06) as figure:
        power, ratio = figure.subplots(1, 2)
        # Wide and pale, so that a set which lies upon it is seen, and so is it.
        look = {"color": INK[theme], "linewidth": 6, "alpha": 0.35}
        power.plot(radius, rings, **look, label="real training pictures")
        ratio.axhline(1, **look)
        for (label, found), style in zip(sets.items(), styles(rows, theme), strict=True):
            own = radial_mean(found.power)
            mark = {**line(style), "markersize": 4}
            power.plot(radius, own, **mark, label=label)
            ratio.plot(radius, own / rings, **mark)
        for axes in (power, ratio):
            _axes(axes, len(rings), min(real.power.shape) / 2, theme)
        power.set_ylabel("mean power")
        ratio.set_ylabel("power, real pictures = 1")
        legend_above(figure, power, len(sets) + 1, columns=4)
        return svg(figure, f"spectra {theme}")


def _axes(axes: Any, last: int, nyquist: float, theme: Theme) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = [2**power for power in range(12) if 2**power <= last]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlabel("cycles a picture")
    for share in (1 / 3, 2 / 3):
        axes.axvline(share * nyquist, color=INK[theme], linewidth=0.8, linestyle=":", alpha=0.7)
    edges = (1.0, nyquist / 3, 2 * nyquist / 3, nyquist)
    for band, (low, high) in zip(BANDS[:3], pairwise(edges), strict=True):
        middle, above = (low * high) ** 0.5, axes.get_xaxis_transform()
        axes.text(middle, 1.01, band, transform=above, ha="center", va="bottom", fontsize=8)


def _contrast(found: Spectrum) -> float:
    return float(np.sqrt(found.power.sum() - found.power[0, 0]))


def _line(label: str, shares: Sequence[float] | None, *further: str) -> dict[str, Any]:
    texts = ["–"] * len(BANDS) if shares is None else [f"{share:.2f}" for share in shares]
    return plain_line(label, [cell(text) for text in (*texts, *further)])
