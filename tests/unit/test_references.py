"""Reference files: the rules' tolerances against scipy, their false alarms, and files that are none."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from commands import ROOT
from scipy import stats

from fredbench.evaluation.references import Finding, Line, Reference, judged, read, written
from fredbench.evaluation.statistics import Sample, summarise
from fredbench.execution.checking import pooled
from fredbench.foundation.errors import ArtefactError
from fredbench.report.check_table import check_table


def reference(*lines: Line, false_alarm: float = 0.01) -> Reference:
    return Reference("smoke", "smoke", "digits", (0, 1, 2), false_alarm, lines, {"commit": "none"})


def one(line: Line, found: float | str | Sample | None, false_alarm: float = 0.01) -> Finding:
    known = {} if found is None else {(line.row, line.quantity): found}
    return judged(reference(line, false_alarm=false_alarm), known)[0]


def test_a_new_seed_may_lie_in_the_prediction_interval() -> None:
    line = Line("dm", "clean", "statistical", 50.0, std=2.0, n=10)
    finding = one(line, 55.0)
    assert finding.tolerance == pytest.approx(stats.t.ppf(0.995, 9) * 2 * math.sqrt(1 + 1 / 10))
    assert finding.holds and finding.outside is None
    outside = one(line, 57.5)
    assert not outside.holds and outside.tolerance is not None
    assert outside.outside == pytest.approx(7.5 - outside.tolerance) and "outside by" in str(outside)
    # Three seeds of the check are known better than one.
    three = one(line, Sample(55.0, 1.0, 3))
    assert three.tolerance == pytest.approx(stats.t.ppf(0.995, 9) * 2 * math.sqrt(1 / 3 + 1 / 10))


def test_the_share_of_a_line_is_of_the_lines_that_have_chance() -> None:
    lines = [Line("dm", f"q{number}", "statistical", 50.0, std=2.0, n=10) for number in range(4)]
    exact, tight = Line("dm", "recipe", "exact", "a"), Line("dm", "change", "tight", 1.0, tolerance=0.1)
    whole = reference(*lines, exact, tight)
    assert whole.shares == {"statistical": pytest.approx(0.01 / 4)}
    # Two rules with chance have half of the bound each.
    more = reference(*lines, Line("dm", "clean", "pooled", 50.0, std=2.0, n=10, df=18), exact)
    assert more.shares == {"statistical": pytest.approx(0.01 / 8), "pooled": pytest.approx(0.01 / 2)}
    found = {("dm", line.quantity): line.value for line in whole.lines}
    assert all(finding.holds for finding in judged(whole, found))
    tolerance = judged(whole, found)[0].tolerance
    assert tolerance == pytest.approx(stats.t.ppf(1 - 0.01 / 8, 9) * 2 * math.sqrt(1 + 1 / 10))


def test_false_alarms_of_a_whole_check_stay_below_their_bound() -> None:
    """500 honest checks of 8 lines by 6 seeds: 5 % are promised, 25; two deviations of the count more are 35."""
    draws, alarms = np.random.default_rng(0), 0
    for _ in range(500):
        kept, new = draws.normal(size=(8, 6)), draws.normal(size=8)
        lines = [
            Line("dm", str(number), "statistical", float(row.mean()), std=float(row.std(ddof=1)), n=6)
            for number, row in enumerate(kept)
        ]
        found = {("dm", str(number)): float(value) for number, value in enumerate(new)}
        alarms += not all(finding.holds for finding in judged(reference(*lines, false_alarm=0.05), found))
    assert 8 < alarms < 36


def test_accuracies_of_several_rows_share_a_deviation_and_keep_the_bound() -> None:
    """4 cells with starts that share their draws: honest checks are refused as seldom as is promised."""
    draws, alarms = np.random.default_rng(1), 0
    for _ in range(500):
        kept, new = draws.normal(50, 5, (4, 5)), draws.normal(50, 5, 4)
        lines = [
            Line(f"{row}{role}", "clean", "statistical", float(v.mean()), std=float(v.std(ddof=1)), n=5)
            for row, v in enumerate(kept)
            for role in ("", " start")
        ]
        found = {(f"{row}{role}", "clean"): float(v) for row, v in enumerate(new) for role in ("", " start")}
        several = pooled(lines, cells=4)
        assert {line.df for line in several} == {16} and min(line.std or 0 for line in several) > 0
        alarms += not all(finding.holds for finding in judged(reference(*several, false_alarm=0.05), found))
    assert alarms <= 25
    finding = one(Line("dm", "clean", "pooled", 50.0, std=2.0, n=5, df=16), 55.0)
    assert finding.tolerance == pytest.approx(stats.t.ppf(0.995, 16) * 2 * math.sqrt(1 + 1 / 5))


def test_a_fall_to_chance_is_outside_the_kept_reference_where_the_docs_say_so() -> None:
    """Tolerances of rows that learn do not reach chance, 10 %; those of rows at chance do, and nothing else is said."""
    kept = read(ROOT / "results" / "reference-smoke.json")
    accuracies = [line for line in kept.lines if line.rule == "pooled"]
    assert len(accuracies) == 16 and {line.quantity for line in accuracies} == {"clean", "average"}
    found = judged(kept, {(line.row, line.quantity): 10.0 for line in accuracies})
    caught = {(f.line.row, f.line.quantity) for f in found if f.line.rule == "pooled" and not f.holds}
    rows = ("random, ipc 1", "fred, ipc 1", "fred, ipc 1 start")
    always = {(row, quantity) for row in rows for quantity in ("clean", "average")}
    assert caught == always | {("dm, ipc 1 start", "clean")}


def test_other_students_and_printed_numbers_have_rules_of_their_own() -> None:
    line = Line("dm", "clean", "students", 50.0, std=2.0, n=5)
    finding = one(line, summarise([50.0, 53.0, 56.0]))
    assert finding.tolerance == pytest.approx(stats.t.ppf(0.995, 2) * math.sqrt(4 / 5 + 9 / 3))
    printed = Line("dm", "clean", "published", 50.0, std=1.0, source="a paper")
    assert one(printed, summarise([50.0, 53.0, 56.0])).tolerance == pytest.approx(
        stats.t.ppf(0.995, 2) * math.sqrt(1 + 3)
    )
    alone = one(printed, Sample(50.0, None, 1))
    assert not alone.holds and "one student has no spread" in str(alone)


def test_what_is_missing_or_no_number_never_holds() -> None:
    line = Line("dm", "clean", "statistical", 50.0, std=2.0, n=10)
    assert not one(line, None).holds and str(one(line, None)) == "dm: clean is missing"
    assert not one(line, math.nan).holds
    assert not one(Line("dm", "change", "tight", 1.0, tolerance=1.0), math.nan).holds
    text = one(Line("dm", "recipe", "exact", "a"), "b")
    assert not text.holds and "'b', not 'a'" in str(text) and one(text.line, "a").holds


def test_a_reference_without_spread_believes_its_floor() -> None:
    line = Line("dm", "clean", "statistical", 50.0, std=0.0, n=3, floor=1.0)
    assert one(line, 51.0).holds and not one(dataclasses.replace(line, floor=0.0), 51.0).holds


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    whole = reference(
        Line("dm", "clean", "statistical", 50.0, std=2.0, n=3, floor=1.0), Line("suite", "data", "exact", "abc"),
        Line("suite", "change", "tight", 3.5, tolerance=0.05),
        Line("dm", "clean", "students", 50.0, std=2.0, n=3, seeds=(0, 1)),
    )  # fmt: skip
    written(whole, tmp_path / "r.json")
    assert read(tmp_path / "r.json") == whole


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"}, {"format_version": 9}, {"lines": []}, {"tier": "none"}, {"false_alarm": 0.0},
        {"lines": [{"row": "a"}]}, {"lines": [{"row": "a", "quantity": "b", "rule": "none", "value": 1.0}]},
        {"lines": [{"row": "a", "quantity": "b", "rule": "tight", "value": 1.0}]},
        {"lines": [{"row": "a", "quantity": "b", "rule": "exact", "value": 1.0}]},
        {"lines": [{"row": "a", "quantity": "b", "rule": "statistical", "value": float("nan")}]},
        {"lines": [{"row": "a", "quantity": "b", "rule": "pooled", "value": 1.0, "std": 1.0, "n": 3}]},
        {"lines": [{"row": "a", "quantity": "b", "rule": "published", "value": 1.0}]},
        {"lines": "x"}, {"seeds": 3}, {"unknown": 1},
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    file = tmp_path / "r.json"
    written(reference(Line("suite", "data", "exact", "abc")), file)
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(ArtefactError, match=r"reference|whole|compares nothing"):
        read(file)
    file.write_text("{")
    with pytest.raises(ArtefactError, match="cannot be read"):
        read(file)


def test_the_table_shows_what_does_not_hold_and_parses() -> None:
    whole = reference(
        Line("dm", "clean", "statistical", 50.0, std=2.0, n=10),
        Line("dm", "average", "statistical", 40.0, std=2.0, n=10),
    )
    findings = judged(whole, {("dm", "clean"): 50.5, ("dm", "average"): math.nan})
    text = check_table(whole, findings, "table")
    assert "clean (" in text and "OUTSIDE" in text and "1 of 2 lines" in text and "at most 0.01" in text
    document = json.loads(check_table(whole, findings, "json"))
    assert [line["holds"] for line in document["lines"]] == [True, False] and document["lines"][1]["found"] == "nan"
    assert check_table(whole, findings, "csv").splitlines()[0].startswith("row,quantity,rule,reference")
    assert "ok" in check_table(whole, findings, "markdown", every=True)
