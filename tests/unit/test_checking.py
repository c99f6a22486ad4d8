"""What the gate and packed predictions read of a store: which runs, under which protocols, in which units."""

from __future__ import annotations

from pathlib import Path

import torch

from fredbench.datasets import load_dataset
from fredbench.execution.checking import finished
from fredbench.execution.inline import GridRun
from fredbench.runs import distillation
from fredbench.runs.store import Store
from fredbench.suites.grids import grid_named

GRID = """
kind = "grid"
name = "two"
title = "one cell by the published script, one as it is"
methods = ["random", "herding"]

[[datasets]]
name = "digits"
scored_on = "digitsc"
ipcs = [1]
preset = "quick"
limit = 20
students = 2

[[changes]]
method = "random"
protocols = ["fred-literal"]
students = 3
why = "its protocol is asked for by a change, not by the dataset"
"""


def test_a_cell_is_read_under_the_protocols_and_students_of_its_change(tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text(GRID)
    grid = grid_named(str(tmp_path / "two.toml"))
    dataset = load_dataset("digits")
    grid_run = GridRun(grid, grid.places[0], dataset, Store(tmp_path / "runs"), torch.device("cpu"), 1)
    assert list(finished(grid_run)) == []
    (random,) = (planned for planned in grid_run.planned() if planned.cell.method == "random")
    assert random.spec is not None and random.folder is not None
    distillation.run(random.spec, dataset, random.folder)
    found = [(label, evaluation.protocol, evaluation.students) for label, _, evaluation in finished(grid_run)]
    assert found == [("random, ipc 1 [fred-literal]", "fred-literal", 3)]
