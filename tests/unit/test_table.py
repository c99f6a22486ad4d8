from __future__ import annotations

import csv
import dataclasses
import io
import json
from typing import Any

import pytest
from made_rows import CORRUPTIONS, made_row, made_trio

from fredbench.evaluation.comparison import Comparison
from fredbench.evaluation.rows import Compared
from fredbench.evaluation.statistics import Sample
from fredbench.report.table import corruption_table, network_table, notes, simple_table, verdicts

PUBLISHED: dict[str, Any] = {
    "clean": {"mean": 60.6, "std": 0.8},
    "average": 55.5,
    "corruptions": {"gaussian_noise": 56.7, "snow": 57.3},
    "source": "FreD, NeurIPS 2023",
    "inferred": ["ipc", "severity"],
}


def test_json_is_the_contracts_row() -> None:
    rows = made_trio()
    document = json.loads(corruption_table("cifar10c", (1, 2, 3, 4, 5), rows, "json"))
    assert document["suite"] == "cifar10c" and document["severities"] == [1, 2, 3, 4, 5]
    assert [row["control"] for row in document["rows"]] == [False, False, True]
    first = document["rows"][0]
    assert {
        "run", "dataset", "method", "objective", "parameterization", "iterations", "ipc", "params", "params_strict",
        "students", "network", "scale", "control", "clean", "average", "corruptions", "source", "limit", "partial",
        "published",
    } <= first.keys()  # fmt: skip
    assert list(first["corruptions"]) == list(CORRUPTIONS)
    for name, score in rows[0].corruptions.items():
        found = first["corruptions"][name]
        assert found["mean"] == pytest.approx(score.sample.mean, abs=1e-4)
        assert found["std"] == pytest.approx(score.sample.std, abs=1e-4) and found["n"] == 3
        assert found["by_severity"] == pytest.approx(list(score.by_severity), abs=1e-4)
    assert first["clean"]["mean"] == pytest.approx(rows[0].clean.mean, abs=1e-4)
    assert first["average"]["mean"] == pytest.approx(rows[0].average.mean, abs=1e-4)  # type: ignore[union-attr]


def test_csv_parses_to_one_record_a_row_with_the_same_numbers() -> None:
    rows = made_trio()
    records = list(csv.DictReader(io.StringIO(corruption_table("s", (1,), rows, "csv"))))
    assert len(records) == 3
    for record, row in zip(records, rows, strict=True):
        assert record["method"] == row.method and int(record["params_strict"]) == row.params_strict
        assert float(record["clean_mean"]) == pytest.approx(row.clean.mean)
        assert float(record["clean_std"]) == pytest.approx(row.clean.std)
        for name in CORRUPTIONS:
            assert float(record[f"{name}_mean"]) == pytest.approx(row.corruptions[name].sample.mean)


@pytest.mark.parametrize(("form", "mark"), [("table", "---"), ("markdown", "|:--"), ("latex", r"\toprule")])
def test_text_tables_hold_every_row_and_column(form: str, mark: str) -> None:
    rows = made_trio()
    text = corruption_table("s", (1, 2), rows, form)
    assert mark in text
    for row in rows:
        assert row.label in text and str(row.clean) in text and f"{row.params_strict:,}" in text
        for score in row.corruptions.values():
            assert f"{score.sample.mean:.1f}" in text
    heads = next(line for line in text.splitlines() if "Gauss" in line)
    places = [heads.index(head) for head in ("Gauss", "Defoc", "Snow", "JPEG", "Avg.", "Clean", "#Params", "strict")]
    assert places == sorted(places)


def test_the_published_row_stands_below_ours_and_says_what_is_inferred() -> None:
    text = corruption_table("cifar10c", (1,), [made_row(published=PUBLISHED)], "table")
    lines = text.splitlines()
    place = next(number for number, line in enumerate(lines) if "published" in line)
    assert "fred (dm" in lines[place - 1]
    assert all(value in lines[place] for value in ("56.7", "57.3", "55.5", "60.6 ± 0.8", "–"))
    assert any("inferred" in line for line in lines[place + 1 :])


def test_notes_say_limit_partial_data_severities_and_scale() -> None:
    said = " ".join(notes([made_row(limit=1000, partial={"train": "100 of 500 a class"})], (3,)))
    for needle in ("1000 evenly spaced", "train: 100 of 500 a class", "severity 3", "200 epochs", "convnet-d3-w32-in"):
        assert needle in said


def test_verdicts_compare_with_start_and_control_after_correction() -> None:
    ours, start, control = made_trio(corruptions=())
    ours = dataclasses.replace(ours, clean=Sample(60.0, 1.0, 4))
    # t = 1.8 / sqrt(1/4 + 1/4) = 2.546 at 5.5 degrees of freedom: p = .047, and .094 where it must be doubled.
    start = dataclasses.replace(start, clean=Sample(58.2, 1.0, 4))
    control = dataclasses.replace(control, clean=Sample(40.0, 1.0, 4))
    against_start, against_control, *said = verdicts([ours, start, control])
    assert "clean +1.8* (95 % 0.0 to 3.6, p = 0.047, g = 1.6)" in against_start and "start" in against_start
    assert "clean +20.0* (" in against_control and "control" in against_control
    assert "2 comparisons" in said[0] and "Welch" in said[0] and "docs/statistics.md" not in said[0]
    assert "several seeds" in said[1] and verdicts([start, control]) == []
    level = dataclasses.replace(control, clean=Sample(59.5, 1.0, 4))
    assert "clean +1.8 (" in verdicts([ours, start, level])[0], "two comparisons: .047 is doubled"
    few = [dataclasses.replace(row, clean=Sample(row.clean.mean, 1.0, 2)) for row in (ours, start, control)]
    assert "clean +20.0 (n too small for a claim)" in verdicts(few)[1]
    assert verdicts(few)[2:] == ["No claim for 2 of 2 comparisons: n too small (fewer than 3 students)."]


def test_a_set_is_judged_against_its_own_control_where_it_names_it() -> None:
    """Two sets and two controls that nothing tells apart but the comparisons that were made."""
    ours, _, control = made_trio(corruptions=())
    found = Comparison(20.0, "paired", (3, 3), 100, 1.0, 40.0, 1e-9, 3.0)
    group = []
    for name in ("a", "b"):
        compared = (Compared(f"control-{name}", ours.network, "clean", found),)
        group += [
            dataclasses.replace(ours, run=f"store/{name}", compared=compared),
            dataclasses.replace(control, run=f"store/control-{name}"),
        ]
    said = [line for line in verdicts(group) if " against " in line]
    assert len(said) == 2 and all("clean +20.0*" in line for line in said)
    assert len([line for line in verdicts([group[0], group[3]]) if " against " in line]) == 0
    unsaid = [dataclasses.replace(row, compared=()) for row in group]
    assert len([line for line in verdicts(unsaid) if " against " in line]) == 4


def test_rows_of_another_budget_or_seed_are_not_compared() -> None:
    ours, _, control = made_trio()
    assert verdicts([ours, dataclasses.replace(control, ipc=10)]) == []
    assert verdicts([ours, dataclasses.replace(control, seed=1)]) == []


def test_a_drop_of_nothing_is_absent_and_not_a_division_by_zero() -> None:
    row = made_row(clean=Sample(0.0, 0.0, 3))
    assert row.drop is None and json.loads(corruption_table("s", (1,), [row], "json"))["rows"][0]["drop"] is None
    full = made_row(clean=Sample(80.0, 0.0, 3), average=Sample(60.0, 0.0, 3))
    assert full.drop == pytest.approx(25.0)


def test_networks_stand_side_by_side() -> None:
    sample = {"convnet-d3-w32-in": Sample(50.0, 1.0, 3), "resnet18": Sample(40.0, None, 1)}
    rows = [made_row(corruptions=(), networks=sample)]
    found = json.loads(network_table(rows, "json"))["rows"][0]
    assert (
        found["networks"]["resnet18"]
        == {
            "mean": 40.0,
            "std": None,
            "n": 1,
            "ci95": None,
        }
        and "corruptions" not in found
    )
    text = network_table(rows, "markdown")
    assert "resnet18" in text and "50.0 ± 1.0" in text
    records = list(csv.DictReader(io.StringIO(network_table(rows, "csv"))))
    assert records and any("40.0" in record.values() for record in records)


@pytest.mark.parametrize("form", ["table", "markdown", "latex"])
def test_small_tables_keep_text_and_its_order(form: str) -> None:
    text = simple_table(("name", "count"), [("a_b", 1), ("c", 20)], form)
    assert text.index("name") < text.index("count") and "20" in text
    assert simple_table(("name", "count"), [], form).count("name") == 1


def test_small_tables_parse() -> None:
    lines = [("x, y", 1), ('say "z"', None)]
    assert json.loads(simple_table(("a", "b"), lines, "json")) == [{"a": "x, y", "b": 1}, {"a": 'say "z"', "b": None}]
    assert [tuple(line) for line in csv.reader(io.StringIO(simple_table(("a", "b"), lines, "csv")))] == [
        ("a", "b"), ("x, y", "1"), ('say "z"', ""),
    ]  # fmt: skip
    assert json.loads(simple_table(("a",), [], "json")) == []
    assert simple_table(("a", "b"), [], "csv") == "a,b"


def test_whole_numbers_stay_whole_in_csv_beside_absent_ones() -> None:
    rows = [made_row(1, limit=1000), made_row(2)]
    records = list(csv.DictReader(io.StringIO(corruption_table("s", (1,), rows, "csv"))))
    assert [record["limit"] for record in records] == ["1000", ""]
