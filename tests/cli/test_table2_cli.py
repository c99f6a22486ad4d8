"""The shipped grid of table 2, run from end to end on digits: its own file, with every cell made a moment's work."""

from __future__ import annotations

import itertools
import json
import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from commands import ROOT, Outcome, invoke

# Two pictures a class of 3 x 32 x 32 for ten classes: what the grid's IPC 2 pays.
BUDGET = 2 * 10 * 3 * 32 * 32
# Less of everything; the file's own changes stand before these, and later ones win.
SMALLER = {
    "dc": ("objective.batch_real=2", "objective.epochs=1"),
    "dm": ("objective.batch_real=4",),
    "tm": (
        *("objective.experts=1", "objective.start_epochs=1", "objective.expert_epochs=1", "objective.steps=2"),
        "objective.expert_batch=1000",
    ),
}


def smaller(suite: Path) -> dict[str, Any]:
    """The shipped file, on digits alone, at one iteration a cell and two corruptions at one severity."""
    grid = tomllib.loads((ROOT / "suites" / "table2.toml").read_text())
    (place,) = (place for place in grid["datasets"] if place["name"] == "digits")
    place |= {
        "scored_on": str(suite), "iterations": 1, "network": "convnet-d3-w4-in", "limit": 20, "severities": [5],
        "students": 2, "set": {"student": {"epochs": 1}},
    }  # fmt: skip
    changes = [{"objective": name, "why": "to be quick", "set": list(less)} for name, less in SMALLER.items()]
    changes.append({"parameterization": "haba", "why": "as above", "set": ["parameterization.extractor_width=4"]})
    return {**grid, "datasets": [place], "changes": [*grid["changes"], *changes]}


def run(file: Path, store: Path) -> Outcome:
    return invoke("suite", "run", file, "--store", store, "--threads", 1, "--offline", "--format", "json")


def test_the_grid_of_table_2_runs_whole_and_is_made_once(small_suite: Path, tmp_path: Path) -> None:
    asked, store = smaller(small_suite), tmp_path / "runs"
    file = tmp_path / "table2.toml"
    file.write_text(tomli_w.dumps(asked))
    made = run(file, store)
    assert made.code == 0, made.err
    document = json.loads(made.out)
    assert not document.get("failed")
    pairs = set(itertools.product(asked["objectives"], asked["parameterizations"]))
    found = [
        (row["objective"], row["parameterization"])
        for row in document["rows"]
        if not row["control"] and not row["start"]
    ]
    assert len(found) == len(pairs) == 12 and set(found) == pairs
    for row in document["rows"]:
        assert 0 < row["params"] <= row["spec"]["run"]["budget"] == BUDGET, row["run"]
        assert row["clean"]["n"] == 2 and set(row["corruptions"]) == {"brightness", "contrast"}
        # The table's rule: hallucinators are paid for, not only told.
        counted = '"count_hallucinators": true' in json.dumps(row["spec"])
        assert counted == (row["parameterization"] == "haba"), row["run"]
        if not row["control"] and not row["start"]:
            assert row["iterations"] == 1 and set(row["beside"]) == {"start", "control"}

    before = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.suffix == ".safetensors"}
    again = run(file, store)
    assert again.code == 0 and json.loads(again.out) == document
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.suffix == ".safetensors"} == before
