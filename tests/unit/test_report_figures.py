from __future__ import annotations

import dataclasses
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest
from made_rows import made_row, made_trio

from fredbench.evaluation.rows import Row
from fredbench.report import drawing
from fredbench.report.figures import corruption_figure, distinct_labels, panel_figure, severity_figure

SEVERITIES = (1, 2, 3, 4, 5)
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
