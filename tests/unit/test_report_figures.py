from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest
from made_rows import made_calibration, made_row, made_synset, made_trio

from fredbench.evaluation.rows import Row
from fredbench.evaluation.spectra import Spectrum
from fredbench.report import drawing
from fredbench.report.figures import corruption_figure, distinct_labels, panel_figure, severity_figure
from fredbench.report.profile_figure import profile_caption, profile_figure, profiled
from fredbench.report.reliability import MOST_SETS, reliability_figure
from fredbench.report.spectra_figure import spectra_figure, spectra_lines, spectrum_of

SEVERITIES = (1, 2, 3, 4, 5)
PICTURES = np.random.default_rng(3).uniform(0, 1, (6, 3, 16, 16))
REAL = Spectrum.of(PICTURES)
DRAWINGS: dict[str, Callable[[list[Row]], str]] = {
    "severity": lambda rows: severity_figure(rows, SEVERITIES),
    "corruption": lambda rows: corruption_figure(rows),
    "panels": lambda rows: panel_figure(rows, SEVERITIES),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_chart_is_svg_without_date_or_reference_and_the_same_twice(name: str) -> None:
    rows = made_trio()
    text = DRAWINGS[name](rows)
    root = ElementTree.fromstring(text)
    assert root.tag.endswith("svg")
    links = [
        value for node in root.iter() for key, value in node.attrib.items() if key.endswith("href") and value[0] != "#"
    ]
    assert links == [] and "<dc:date" not in text
    assert DRAWINGS[name](rows) == text
    assert DRAWINGS[name]([rows[0]]) != text


def test_a_diagram_shows_accuracy_and_the_gap_to_confidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars of both kinds together reach the larger of the two; an empty bin has none; few predictions are pale."""
    from matplotlib.axes import Axes

    bars, strokes = [], []
    bar, hlines = Axes.bar, Axes.hlines

    def spy(self: Axes, x: object, height: object, **look: object) -> object:
        bars.append((x, height, look))
        return bar(self, x, height, **look)

    def other(self: Axes, y: object, *ends: object, **look: object) -> object:
        strokes.append(y)
        return hlines(self, y, *ends, **look)

    monkeypatch.setattr(Axes, "bar", spy)
    monkeypatch.setattr(Axes, "hlines", other)
    found = made_calibration()
    reliability_figure({"x": found})
    clean, average = found["clean"].reliability, found["average"].reliability
    assert clean is not None and average is not None
    assert strokes == [*clean.accuracy[1:], *average.accuracy[1:]]
    solid, hatched = bars[:28:2], bars[1:28:2]
    for place, ((x, low, look), (_, gap, over)) in enumerate(zip(solid, hatched, strict=True), start=1):
        assert x == pytest.approx(100 * place / 15) and over["bottom"] == low
        assert low == min(clean.accuracy[place], clean.confidence[place])
        assert low + gap == pytest.approx(max(clean.accuracy[place], clean.confidence[place]))
        assert (over["edgecolor"] == look["color"]) == (clean.accuracy[place] >= clean.confidence[place])
        assert look["alpha"] == (0.3 if place == 1 else 1.0)
    np.testing.assert_allclose(bars[28][1], 100 * np.array(clean.pictures) / sum(clean.pictures))


def unnamed(svg: str) -> str:
    """Without the names of clipping paths, which follow from where objects lie in memory."""
    return re.sub(r"\bp[0-9a-f]{10}\b", "path", svg)


def test_many_sets_have_a_diagram_each_up_to_a_limit() -> None:
    sets = {f"set {number}": made_calibration(number) for number in range(MOST_SETS + 3)}
    whole, first = reliability_figure(sets), dict(list(sets.items())[:MOST_SETS])
    assert unnamed(whole) == unnamed(reliability_figure(first)) != unnamed(reliability_figure({"set 0": sets["set 0"]}))
    assert ElementTree.fromstring(reliability_figure({"x": {"clean": made_calibration()["clean"]}})).tag.endswith("svg")


def test_power_is_drawn_as_it_is_and_as_a_multiple_of_the_real(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    drawn = []
    plot = Axes.plot

    def spy(self: Axes, x: object, y: object, **look: object) -> object:
        drawn.append((x, y))
        return plot(self, x, y, **look)

    monkeypatch.setattr(Axes, "plot", spy)
    real = REAL
    sets = {row.label: Spectrum(factor * real.power, 1) for row, factor in zip(made_trio(), (4, 1, 9), strict=True)}
    text = spectra_figure(real, sets, made_trio())
    assert ElementTree.fromstring(text).tag.endswith("svg") and unnamed(text) == unnamed(
        spectra_figure(real, sets, made_trio())
    )
    assert list(drawn[0][0]) == list(range(1, 9)) and len(drawn[0][1]) == 8
    for (_, power), (_, ratio), factor in zip(drawn[1:7:2], drawn[2:7:2], (4, 1, 9), strict=True):
        np.testing.assert_allclose(power, factor * drawn[0][1])
        np.testing.assert_allclose(ratio, factor)


def test_the_table_of_bands_says_where_energy_lies() -> None:
    heads, lines = spectra_lines(REAL, {"flat": Spectrum(np.zeros((16, 16)), 3)})
    assert [head["text"] for head in heads] == ["low %", "middle %", "high %", "corners %", "contrast", "pictures"]
    assert heads[1]["title"] == "2.67 to 5.33 cycles a picture"
    texts = {line["label"]: [cell["text"] for cell in line["cells"]] for line in lines}
    assert list(texts) == ["real training pictures", "flat", "white noise, for comparison"]
    assert sum(map(float, texts["real training pictures"][:4])) == pytest.approx(100, abs=0.03)
    assert texts["flat"][:5] == ["–", "–", "–", "–", "0.000"] and texts["flat"][5] == "3"
    deviation = np.sqrt(np.mean(PICTURES.var(axis=(2, 3))))
    assert float(texts["real training pictures"][4]) == pytest.approx(deviation, abs=5e-4)


def test_a_sets_spectrum_is_of_its_exact_pictures() -> None:
    """Not of those that are rounded and clipped for the screen."""
    synset = made_synset("fred")
    levels = synset.levels(synset.images).numpy()
    found = spectrum_of(synset)
    assert found.pictures == len(levels) and found.power.sum() == pytest.approx((levels**2).mean(), rel=1e-5)
    assert levels.min() < 0 or levels.max() > 1


def test_the_profile_draws_what_there_is_of_each_set() -> None:
    rows = [dataclasses.replace(row, calibration=made_calibration()) for row in made_trio()]
    sets = profiled([*rows, made_row(4, method="dm", parameterization="pixels")])
    assert [len(each) for each in sets] == [1, 1, 1, 1]
    text, caption = profile_figure(sets), profile_caption(sets)
    assert ElementTree.fromstring(text).tag.endswith("svg") and text == profile_figure(sets)
    assert "Not measured here: C-bar (takes a C-bar suite" in caption and "adversarial (takes --attack)" in caption
    assert "100 − ECE was not measured of dm (dm × pixels)." in caption
    assert "weather is snow alone." in caption and "digital is jpeg compression alone." in caption


def test_dark_and_light_differ_in_ink() -> None:
    rows = made_trio()
    light, dark = severity_figure(rows, SEVERITIES, "light"), severity_figure(rows, SEVERITIES, "dark")
    assert light != dark and "#1f2430" in light and "#1f2430" not in dark


def test_the_curve_is_the_mean_over_corruptions_at_each_severity(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    drawn = []
    plot = Axes.plot

    def spy(self: Axes, x: object, y: object, **style: object) -> object:
        drawn.append((x, y, style["label"]))
        return plot(self, x, y, **style)

    monkeypatch.setattr(Axes, "plot", spy)
    rows = made_trio()
    severity_figure(rows, SEVERITIES)
    assert [label for *_, label in drawn] == [row.label for row in rows]
    for (x, y, _), row in zip(drawn, rows, strict=True):
        expected = np.mean([score.by_severity for score in row.corruptions.values()], axis=0)
        assert x == [0, 1, 2, 3, 4, 5]
        np.testing.assert_allclose(y, [row.clean.mean, *expected])


def test_a_start_shares_the_colour_of_its_set_and_a_control_has_none() -> None:
    ours, start, control = drawing.styles(made_trio(), "light")
    other = drawing.styles([*made_trio(), made_row(4, method="dm", parameterization="pixels")], "light")[-1]
    assert start.colour == ours.colour and start.dashes != ours.dashes
    assert control.colour not in {ours.colour, other.colour} and other.colour != ours.colour


def test_single_students_and_a_single_severity_can_be_drawn() -> None:
    rows = [
        dataclasses.replace(row, clean=dataclasses.replace(row.clean, std=None, n=1))
        for row in made_trio(severities=1, corruptions=("snow",))
    ]
    for text in (severity_figure(rows, (3,)), corruption_figure(rows), panel_figure(rows, (3,))):
        assert ElementTree.fromstring(text).tag.endswith("svg")


def test_labels_are_told_apart_by_what_differs_and_by_nothing_else() -> None:
    assert distinct_labels(made_trio()) == [row.label for row in made_trio()]
    by_ipc = distinct_labels([made_row(1), made_row(2, ipc=10, params=307200)])
    assert all("IPC" in label and "seed" not in label for label in by_ipc) and len(set(by_ipc)) == 2
    by_seed = distinct_labels([made_row(1), made_row(2, seed=7)])
    assert by_seed[1].endswith("seed 7") and "IPC" not in by_seed[1]


def test_rows_alike_in_every_trait_are_told_apart_by_their_run() -> None:
    labels = distinct_labels([made_row(1), made_row(2), made_row(3, seed=4)])
    assert len(set(labels)) == 3 and labels[0].endswith("run-1") and "runs" not in labels[0]
    elsewhere = distinct_labels([made_row(1, run="here/x"), made_row(2, run="there/x")])
    assert elsewhere[0].endswith("here/x") and elsewhere[1].endswith("there/x")
