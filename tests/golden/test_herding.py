"""Herding against the authors' selection (golden herding.npz), exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from vectors import Vectors, alterations, holds, read, write

from fredbench.objectives.coresets import herding

BUDGETS = (1, 10, 20)
KEYS = {"features", "targets", *(f"selected.ipc{count}" for count in BUDGETS)}


def check_keys(vectors: Vectors) -> None:
    assert set(vectors) == KEYS, f"missing {KEYS - set(vectors)}, unknown {set(vectors) - KEYS}"


def all_checks(vectors: Vectors, dtype: torch.dtype = torch.float64) -> None:
    check_keys(vectors)
    features, targets = torch.from_numpy(vectors["features"]).to(dtype), vectors["targets"]
    for count in BUDGETS:
        wanted = vectors[f"selected.ipc{count}"]
        assert wanted.shape == (len(np.unique(targets)), count)
        for label, row in enumerate(wanted):
            members = np.flatnonzero(targets == label)
            found = members[herding(features[members], count).numpy()]
            assert found.tolist() == row.tolist(), f"class {label}, {count} a class"


@pytest.fixture(scope="module")
def vectors(golden: Path) -> Vectors:
    return read(golden / "methods" / "herding.npz")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_against_the_authors_selection(vectors: Vectors, dtype: torch.dtype) -> None:
    all_checks(vectors, dtype)


def test_a_copy_of_the_file_passes_and_altered_ones_fail(vectors: Vectors, tmp_path: Path) -> None:
    copy = tmp_path / "herding.npz"
    write(copy, vectors)
    all_checks(read(copy))
    unnoticed = {key for key, altered in alterations(vectors) if holds(all_checks, altered)}
    # A feature that moves by 1e-7 chooses the same; one that moves by its own size does not.
    assert unnoticed <= {"features"}
    assert not holds(all_checks, {**vectors, "features": np.roll(vectors["features"], 1, axis=0)})
    for key in vectors:
        assert not holds(all_checks, {name: array for name, array in vectors.items() if name != key})
