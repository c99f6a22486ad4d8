from __future__ import annotations

import dataclasses
import itertools
import math

from hypothesis import given
from hypothesis import strategies as st
from made_rows import CORRUPTIONS, made_row, made_trio

from fredbench.evaluation.statistics import Sample
from fredbench.report.page_table import accuracy_lines, heads, leaders

samples = st.builds(Sample, st.floats(0, 100), st.one_of(st.none(), st.floats(0, 20)), st.just(5))


@given(st.lists(samples, min_size=1, max_size=6))
def test_leaders_are_those_that_the_best_does_not_beat_by_more_than_the_spread(given_samples: list[Sample]) -> None:
    best = max(sample.mean for sample in given_samples)
    top = next(sample for sample in given_samples if sample.mean == best)
    behind = set()
    for place, sample in enumerate(given_samples):
        known = top.std is not None and sample.std is not None
        spread = 2 * math.sqrt((top.std or 0) ** 2 / 5 + (sample.std or 0) ** 2 / 5) if known else 0.0
        if best - sample.mean > spread:
            behind.add(place)
    expected = set(range(len(given_samples))) - behind if behind else set()
    assert leaders(given_samples) == expected


def test_nobody_leads_alone_or_level() -> None:
    assert leaders([]) == frozenset()
    assert leaders([Sample(50.0, 1.0, 3)]) == frozenset()
    assert leaders([Sample(50.0, 5.0, 3), Sample(51.0, 5.0, 3)]) == frozenset()


def _column(lines: list[dict], place: int) -> list[bool]:  # type: ignore[type-arg]
    return [line["cells"][place]["best"] for line in lines]


def test_the_best_of_a_column_is_sought_among_equal_budgets_only() -> None:
    high, low = Sample(90.0, 0.5, 3), Sample(20.0, 0.5, 3)
    rows = [
        made_row(1, corruptions=(), clean=low),
        made_row(2, corruptions=(), clean=Sample(10.0, 0.5, 3)),
        made_row(3, corruptions=(), clean=high, ipc=10),
    ]
    lines = accuracy_lines(rows, ["a", "b", "c"], ())
    assert _column(lines, 0) == [True, False, False]


def test_cells_stand_under_their_heads_and_hold_the_rows_numbers() -> None:
    rows = made_trio()
    titles = [head["text"] for head in heads(CORRUPTIONS)]
    lines = accuracy_lines(rows, [row.label for row in rows], CORRUPTIONS)
    assert [line["kind"] for line in lines] == ["", "companion", "companion"]
    for line, row in zip(lines, rows, strict=True):
        assert len(line["cells"]) == len(titles)
        cells = dict(zip(titles, line["cells"], strict=True))
        assert cells["Clean"]["text"] == f"{row.clean.mean:.1f}" and cells["Clean"]["small"] == f"± {row.clean.std:.1f}"
        assert cells["JPEG"]["text"] == f"{row.corruptions['jpeg_compression'].sample.mean:.1f}"
        assert all(f"{value:.1f}" in cells["Snow"]["title"] for value in row.corruptions["snow"].by_severity)
        assert cells["strict"]["text"] == f"{row.params_strict:,}" and cells["n"]["text"] == "3"


def test_every_column_has_its_best_marked_where_the_gap_is_wide() -> None:
    base = made_row(1)
    worse = dataclasses.replace(
        base,
        clean=Sample(base.clean.mean - 50, base.clean.std, 3),
        average=Sample(0.0, 0.1, 3),
        corruptions={
            name: dataclasses.replace(score, sample=Sample(score.sample.mean - 90, 0.0, 3))
            for name, score in base.corruptions.items()
        },
    )
    exact = dataclasses.replace(
        base,
        clean=dataclasses.replace(base.clean, std=0.1),
        average=Sample(50.0, 0.1, 3),
        corruptions={
            name: dataclasses.replace(score, sample=Sample(score.sample.mean, 0.1, 3))
            for name, score in base.corruptions.items()
        },
    )
    first, second = accuracy_lines([exact, worse], ["a", "b"], CORRUPTIONS)
    accuracies = len(CORRUPTIONS) + 2
    assert all(cell["best"] for cell in first["cells"][:accuracies])
    assert not any(cell["best"] for cell in itertools.chain(second["cells"], first["cells"][accuracies:]))


def test_a_published_row_follows_ours_and_says_what_it_lacks() -> None:
    published = {
        "clean": {"mean": 60.6, "std": 0.8},
        "average": None,
        "corruptions": {"snow": 57.3},
        "source": "FreD, NeurIPS 2023",
        "inferred": ["ipc"],
    }
    ours, theirs = accuracy_lines([made_row(published=published)], ["a"], CORRUPTIONS)
    assert ours["kind"] == "" and theirs["kind"] == "published" and "FreD, NeurIPS 2023" in theirs["label"]
    cells = dict(zip([head["text"] for head in heads(CORRUPTIONS)], theirs["cells"], strict=True))
    assert cells["Snow"]["text"] == "57.3" and cells["Gauss"]["text"] == "–" and cells["Avg."]["text"] == "–"
    assert cells["Clean"]["text"] == "60.6" and cells["Clean"]["small"] == "± 0.8"
    assert not any(cell["best"] for cell in theirs["cells"])
    assert len(ours["cells"]) == len(theirs["cells"])
