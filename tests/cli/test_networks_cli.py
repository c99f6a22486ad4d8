"""Several test networks over corrupted domains: a row each, their mean, and the same students as each alone."""

from __future__ import annotations

import csv
import io
import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest
from commands import invoke

import fredbench

A, B = "convnet-d3-w8-in", "mlp"
FEW = ("--limit", 20, "--students", 2, "--threads", 1, "--offline")


@pytest.fixture(scope="module")
def store(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(tiny_run.parent, tmp_path_factory.mktemp("networks") / "store"))


@pytest.fixture(scope="module")
def scored(store: Path, small_suite: Path) -> Any:
    def of(*more: object) -> str:
        done = invoke("corrupt-eval", "tiny", "--suite", small_suite, *FEW, "--store", store, *more)
        assert done.code == 0, done.err
        return done.out

    return of


@pytest.fixture(scope="module")
def rows(scored: Any) -> list[dict[str, Any]]:
    return list(json.loads(scored("--network", A, "--network", B, "--network", A, "--format", "json"))["rows"])


def test_every_network_fills_every_column_and_the_first_keeps_the_rows_own_keys(
    rows: list[dict[str, Any]], scored: Any, store: Path
) -> None:
    cells = set(store.rglob("cells/*"))
    for number, name in enumerate((A, B)):
        alone = json.loads(scored("--network", name, "--format", "json"))["rows"]
        for row, own in zip(rows, alone, strict=True):
            assert "by_network" not in own and "over_networks" not in own
            for key, value in row["by_network"][name].items():
                assert own[key] == value
            assert row["by_network"][name].keys() >= {"clean", "average", "corruptions", "mce", "drop"}
            assert list(row["by_network"]) == list(row["networks"]) == [A, B]
            assert number or {key: row[key] for key in own if key != "networks"} == {
                key: value for key, value in own.items() if key != "networks"
            }
    assert set(store.rglob("cells/*")) == cells  # the same students, trained and scored once


def test_the_mean_row_counts_networks_and_not_students(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        mean, each = row["over_networks"], list(row["by_network"].values())
        assert (mean["unit"], mean["n"]) == ("network", 2)
        for found in (lambda s: s["clean"], lambda s: s["average"], lambda s: s["corruptions"]["contrast"]):
            values = [found(scores)["mean"] for scores in each]
            assert found(mean)["mean"] == pytest.approx(statistics.mean(values), abs=1e-3)
            assert found(mean)["std"] == pytest.approx(statistics.stdev(values), abs=1e-3) and found(mean)["n"] == 2
        by_severity = mean["corruptions"]["contrast"]["by_severity"]
        assert by_severity[1] == pytest.approx(
            statistics.mean(scores["corruptions"]["contrast"]["by_severity"][1] for scores in each), abs=1e-3
        )


def test_tables_show_a_line_a_network_and_what_the_spread_is_of(scored: Any, rows: list[dict[str, Any]]) -> None:
    asked = ("--network", A, "--network", B)
    text = scored(*asked)
    for name in (A, B, "2 networks"):
        assert text.count(f"fred (dm × fred) on {name}  ") == 1 and text.count(f"random control on {name}  ") == 1
    assert "± and n are of networks" in text
    # Each network's set stands against its own start and control, never against another network's.
    verdicts = [line for line in text.splitlines() if " against " in line]
    assert len(verdicts) == 4
    for line in verdicts:
        ours, _, theirs = line.partition(" against ")
        assert ours.rpartition(" on ")[2] == theirs.partition(":")[0].rpartition(" on ")[2]
    records = list(csv.DictReader(io.StringIO(scored(*asked, "--format", "csv"))))
    assert [(record["network"], record["unit"]) for record in records[:3]] == [
        (A, "student"), (B, "student"), ("2 networks", "network"),
    ]  # fmt: skip
    assert float(records[2]["clean_mean"]) == pytest.approx(rows[0]["over_networks"]["clean"]["mean"], abs=1e-3)


def test_clean_tables_and_the_library_have_the_mean_too(store: Path, rows: list[dict[str, Any]]) -> None:
    asked = ("--network", A, "--network", B)
    text = invoke("evaluate", "tiny", *asked, *FEW, "--store", store).out
    mean = rows[0]["over_networks"]["clean"]
    assert "over networks" in text and f"{mean['mean']:.1f} ± {mean['std']:.1f}" in text
    found = fredbench.evaluate(["tiny"], networks=[A, B], students=2, limit=20, store=store, threads=1, offline=True)
    assert found[0].over_networks is not None
    assert round(found[0].over_networks.clean.mean, 4) == mean["mean"] and found[0].over_networks.clean.n == 2


def test_score_takes_networks_and_an_unknown_one_is_refused_before_anything_is_trained(
    store: Path, small_suite: Path, tmp_path: Path
) -> None:
    before = set(store.rglob("cells/*"))
    asked = ("corrupt-eval", "tiny", "--suite", small_suite, "--network", A, "--network", "convnett")
    assert "unknown network" in invoke(*asked, *FEW, "--store", store).problem()[0]
    assert set(store.rglob("cells/*")) == before
    target = tmp_path / "mine.npz"
    assert invoke("export", store / "tiny", "--to", "npz", "--out", target).code == 0
    few = (*FEW, "--suite", small_suite, "--severity", 1, "--store", tmp_path / "store")
    done = invoke("score", target, "--as", "digits", "--network", B, "--network", A, *few, "--format", "json")
    assert done.code == 0, done.err
    assert [list(row["by_network"]) for row in json.loads(done.out)["rows"]] == [[B, A]] * 2
