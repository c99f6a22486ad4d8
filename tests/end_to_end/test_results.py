"""Numbers that are kept: with all that made them, and nothing of the place where they were made."""

from __future__ import annotations

import json
import re
import runpy
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import ROOT, TINY, invoke

KEPT = {file.name: json.loads(file.read_text()) for file in sorted((ROOT / "results").glob("*.json"))}

PAGE = (ROOT / "docs" / "results.md").read_text()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny run and its record."""
    store = tmp_path_factory.mktemp("store")
    distill = ("distill", "digits", "--ipc", "1", "--objective", "dm", "--preset", "quick", *TINY)
    made = invoke(*distill, "--iterations", 2, "--store", store)
    assert made.code == 0, made.err
    out = store / "kept" / "record.json"
    with pytest.MonkeyPatch.context() as patch:
        words = [made.folder.name, "--store", store, "--out", out, "--limit", 20, "--threads", 1]
        patch.setattr(sys, "argv", ["record.py", *map(str, words)])
        runpy.run_path(str(ROOT / "benchmarks" / "record.py"), run_name="__main__")
    return made.folder, out


def test_a_record_says_what_was_run_and_how(recorded: tuple[Path, Path]) -> None:
    folder, out = recorded
    found = json.loads(out.read_text())
    assert found["scored_by"] == f"fredbench evaluate --limit 20 --threads 1 --format json {folder.name}"
    rows = {(row["control"], row["iterations"]): row for row in found["rows"]}
    assert rows.keys() == {(False, 2), (False, 0), (True, 0)} and {row["clean"]["n"] for row in rows.values()} == {2}
    assert {row["run"] for row in rows.values()} == found["runs"].keys()
    run = found["runs"][folder.name]
    assert run["made_by"].startswith("fredbench distill digits --ipc 1 ") and "--iterations 2" in run["made_by"]
    assert run["spec"]["run"]["dataset"] == "digits" and run["result"]["seconds"] > 0
    assert found["scored_in"]["versions"]["torch"] and run["made_in"]["versions"] == found["scored_in"]["versions"]


def test_a_record_holds_no_path_and_no_host(recorded: tuple[Path, Path]) -> None:
    text = recorded[1].read_text()
    assert str(recorded[0].parent) not in text and str(ROOT) not in text and f'"{socket.gethostname()}"' not in text


# Measurements that stand on pages of their own, and what a gate holds runs against.
UNSHOWN = {"fredbench-benchmark", "fredbench-reference"}


@pytest.mark.parametrize("name", KEPT)
def test_kept_numbers_say_with_what_and_against_what_they_were_measured(name: str) -> None:
    found = KEPT[name]
    if found["format"] == "fredbench-benchmark":
        assert found["environment"]["commit"] and found["setting"]
        return
    if found["format"] == "fredbench-reference":
        assert found["made_in"]["commit"] and len(found["seeds"]) >= 3 and "platform" not in found["made_in"]
        return
    if found["format"] == "fredbench-grid":
        _check_grid(found)
        return
    assert found["format"] == "fredbench-result"
    for run in found["runs"].values():
        assert run["made_in"]["commit"] and run["made_by"].startswith("fredbench distill ")
        assert not run["made_by"].endswith("see the run's spec.toml")
    assert {row["run"] for row in found["rows"]} == found["runs"].keys()
    assert any(row["control"] for row in found["rows"]) and any(row["start"] for row in found["rows"])


def _check_grid(found: dict[str, Any]) -> None:
    rows = {row["run"]: row for row in found["rows"]}
    assert not found["failed"] and found["severities"] and found["environment"]["commit"]
    assert sorted(run for made in found["made_in"] for run in made["runs"]) == sorted(rows)
    assert all(made["commit"] and made["versions"]["torch"] and made["threads"] for made in found["made_in"])
    for row in rows.values():
        assert row["clean"]["n"] >= 2 and row["average"]["n"] >= 2 and row["command"].startswith("fredbench distill ")
        assert "not exactly" not in row["command"]
        assert row["seconds"]["distillation"] > 0 and row["params_strict"] >= row["params"] > 0
    for row in rows.values():
        if "cell" in row and not row["control"]:
            others = {role: rows.get(run) for role, run in row["beside"].items()}
            assert others["control"]["control"] and (others["start"] is None or others["start"]["start"])


@pytest.fixture(scope="module")
def maker() -> dict[str, Any]:
    """What `python -m benchmarks.results_page` is made of."""
    return runpy.run_path(str(ROOT / "benchmarks" / "results_page.py"))


def test_the_page_of_results_is_made_of_the_kept_files(maker: dict[str, Any]) -> None:
    assert maker["rewritten"](PAGE) == PAGE, "run `python -m benchmarks.results_page`"
    shown = [block["name"] for block in maker["BLOCK"].finditer(PAGE)]
    assert sorted(shown) == sorted(name for name, found in KEPT.items() if found["format"] not in UNSHOWN)


@pytest.mark.parametrize("name", [name for name in KEPT if KEPT[name]["format"] == "fredbench-grid"])
def test_a_kept_grid_has_a_line_a_cell(name: str, maker: dict[str, Any]) -> None:
    table = [line for line in maker["lines_of"](KEPT[name]) if line.startswith("|")]
    assert len(table) == 2 + {"twelve": 13, "table2": 12}[KEPT[name]["suite"]]


def test_the_gap_of_a_selection_is_the_kept_one() -> None:
    """Footgun 15's table is made of the kept measurement, whose gaps follow from its own accuracies."""
    found = KEPT["selection-gap.json"]
    table = runpy.run_path(str(ROOT / "benchmarks" / "selection.py"))["table"](found)
    assert "\n".join(table) in (ROOT / "docs" / "footguns.md").read_text()
    gaps = []
    for run in found["runs"]:
        choice = run["best-on-test"]
        best = max(each["clean"]["mean"] for each in choice["candidates"])
        assert choice["clean"]["mean"] == best and len(choice["candidates"]) == choice["checkpoints"]
        assert choice["candidates"][-1]["clean"] == choice["last"] == run["last"] == run["best-on-validation"]["last"]
        assert choice["above_last"] == pytest.approx(best - run["last"]["mean"], abs=1e-3)
        assert choice["above_last"] >= max(0, run["best-on-validation"]["above_last"])
        assert f"--checkpoints {choice['checkpoints']}" in run["made_by"] and "not exactly" not in run["made_by"]
        gaps.append(choice["above_last"])
    assert found["gap"]["n"] == len(gaps) and found["gap"]["mean"] == pytest.approx(sum(gaps) / len(gaps), abs=1e-3)


def test_the_cells_at_the_published_scale_are_the_kept_ones() -> None:
    """The page's table is made of the kept cells, whose means follow from the values of their students."""
    found = KEPT["reproduced.json"]
    table = runpy.run_path(str(ROOT / "benchmarks" / "reproduced.py"))["table"](found)
    assert "\n".join(table) in (ROOT / "docs" / "reproduced.md").read_text()
    for row in found["cells"]:
        assert row["preset"] == "paper" and row["clean"]["n"] == len(row["clean"]["values"]) >= 2
        assert row["clean"]["mean"] == pytest.approx(np.mean(row["clean"]["values"]), abs=1e-3)
        if row["published"]:
            low, high = row["clean"]["ci95"]
            assert (row["published_is"] == "inside") == (low <= row["published"]["clean"]["mean"] <= high)


def test_table_3s_gap_is_the_kept_one() -> None:
    """The page's table and the numbers in its text are made of the kept sets; the gaps follow seed by seed."""
    found, page = KEPT["table3-gap.json"], (ROOT / "docs" / "table3.md").read_text()
    assert "\n".join(runpy.run_path(str(ROOT / "benchmarks" / "gap.py"))["table"](found)) in page
    averages = {
        (run["system"], run["seed"], way): run[way]["average"]["mean"]
        for run in found["runs"]
        for way in ("own", "script's training", "script")
    }
    for name, ways in found["behind_fred"].items():
        for way, gap in ways.items():
            each = [averages["FreD", seed, way] - averages[name, seed, way] for seed in range(gap["n"])]
            assert gap["mean"] == pytest.approx(np.mean(each), abs=1e-3) and gap["n"] == 3
        for way, change in found["widened"][name].items():
            each = [
                averages["FreD", seed, way] - averages[name, seed, way]
                - averages["FreD", seed, "own"] + averages[name, seed, "own"]
                for seed in range(3)
            ]  # fmt: skip
            assert change["mean"] == pytest.approx(np.mean(each), abs=1e-3) and change["n"] == 3
    low, high = found["widened"]["TM, whitened"]["script"]["ci95"]
    assert [round(low), round(high)] == [1, 9] and "about five points, 1 to 9" in page


def test_the_kept_cells_of_the_published_scale_are_those_of_todays_recipes(real_data: Path, tmp_path: Path) -> None:
    """`suite show reproduced` prints them on a fresh checkout: a recipe that moves leaves its cell behind."""
    asked = ("--store", tmp_path / "runs", "--data", real_data, "--offline", "--format", "json")
    found = invoke("suite", "show", "reproduced", *asked)
    assert found.code == 0, found.err
    shown = [row for row in json.loads(found.out)["rows"] if row["kept"]]
    there = {row["dataset"] for row in json.loads(found.out)["rows"]}
    kept = [row for row in KEPT["reproduced.json"]["cells"] if row["dataset"] in there]
    assert [row["clean"] for row in shown] == [row["clean"] for row in kept] and kept
    assert all(row["clean"]["ci95"] and row["published"] for row in shown)


def test_a_changed_number_of_any_block_would_be_seen(maker: dict[str, Any]) -> None:
    for block in maker["BLOCK"].finditer(PAGE):
        place = block.start("body") + re.search(r"\d(?= ±)", block["body"]).start()
        changed = PAGE[:place] + str((int(PAGE[place]) + 1) % 10) + PAGE[place + 1 :]
        assert changed != PAGE and maker["rewritten"](changed) == PAGE


def test_accuracies_stand_in_the_made_tables_only(maker: dict[str, Any]) -> None:
    assert not re.findall(r"\d ± \d", maker["BLOCK"].sub("", PAGE))


def test_a_lead_of_a_record_is_over_what_was_trained_alike(maker: dict[str, Any]) -> None:
    """FRePo's pictures under two recipes: each line is held against the control and the start of its own recipe."""
    lines = maker["lines_of"](KEPT["looked-into-cifar10-ipc1.json"])
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:] if line.startswith("|")]
    for place, (label, students, clean, over_random, over_start, *_) in enumerate(cells):
        if "iterations" in label:
            start, control = cells[place + 1], cells[place + 2]
            assert start[0] == "start of " + label.partition(",")[0] and control[0] == "random control"
            assert start[1] == control[1] == students
            for lead, other in ((over_start, start), (over_random, control)):
                gap = float(clean.partition(" ")[0]) - float(other[2].partition(" ")[0])
                assert abs(float(lead.removesuffix("\\*")) - gap) < 0.11


def test_the_readmes_table_is_the_kept_run() -> None:
    """The main job's rows, in their order: clean, average of the corruptions, both counts, students."""
    lines = re.findall(
        r"^\| (?:FreD × DM|its start|random control).*\|$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    shown = [[cell.strip() for cell in line.strip("|").split("|")][1:] for line in lines]
    kept = [
        [f"{row[what]['mean']:.1f} ± {row[what]['std']:.1f}" for what in ("clean", "average")]
        + [f"{row['params']:,}", f"{row['params_strict']:,}", str(row["clean"]["n"])]
        for row in KEPT["main-cifar10-ipc1-quick.json"]["rows"]
    ]
    assert shown == kept and {row["limit"] for row in KEPT["main-cifar10-ipc1-quick.json"]["rows"]} == {1000}


def test_the_study_of_robustness_is_the_kept_one() -> None:
    """Its page's tables are made of the kept file, whose means and comparisons follow from its sets."""
    study, found = runpy.run_path(str(ROOT / "benchmarks" / "robustness.py")), KEPT["robustness-study.json"]
    page = (ROOT / "docs" / "robustness.md").read_text()
    assert all(table in page for table in study["tables"](found)) and list(found["columns"]) == list(study["COLUMNS"])
    systems = list(study["SYSTEMS"])
    assert found["pooled"] == {name: study["pooled"](found["runs"], name) for name in systems}
    assert found["against_base"] == study["against"](found["runs"], systems)
    assert found["singly"] == {name: study["singly"](found["runs"], name) for name in systems}
    assert all({other["dataset"] for other in run["others"]} == set(study["OTHERS"]) for run in found["runs"])
    for name in systems:
        mine = [run for run in found["runs"] if run["system"] == name]
        assert len({run["seed"] for run in mine}) == len(mine) >= 3 and {run["students"] for run in mine} == {3}
        assert all(column["n"] == len(mine) and column["ci95"] for column in found["pooled"][name].values())
    held = [run["storage"]["bytes"] for run in found["runs"]]
    assert max(held) < 1.04 * min(held), "sets of one budget take about as many bytes"


def test_the_control_of_attacks_is_the_kept_one() -> None:
    """Its page's table is made of the kept file, of several networks that showed all that they must."""
    control, found = runpy.run_path(str(ROOT / "benchmarks" / "undefended.py")), KEPT["undefended.json"]
    assert "\n".join(control["table"](found)) in (ROOT / "docs" / "adversarial.md").read_text()
    assert len(found["networks"]) >= 2 and len({network["seed"] for network in found["networks"]}) >= 2
    for network in found["networks"]:
        assert network["failed"] == network["linf"]["signs_of_masking"] == network["l2"]["signs_of_masking"] == []
        several = [
            score for score in network["linf"]["scores"] if score["attack"] != "fgsm" and score["epsilon"] > 0.03
        ]
        assert len(several) >= 5 and all(score["accuracy"]["mean"] < control["FALLEN"] for score in several)
