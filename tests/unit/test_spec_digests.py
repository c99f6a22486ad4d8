"""What every published system resolves to, held by stored digests: a recipe changes knowingly or not at all.

`python tests/unit/test_spec_digests.py` writes the file anew, after a change that was meant: its diff names the cells.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from fredbench.datasets import Dataset, Split, load_dataset
from fredbench.foundation.errors import FredbenchError
from fredbench.recipes.methods import METHODS
from fredbench.recipes.presets import PRESETS
from fredbench.recipes.resolution import Request, resolve

STORED = Path(__file__).parent / "stored" / "spec_digests.json"
# Name, classes, side of a picture, and whether a mirrored picture keeps its class.
SHAPES = {
    "cifar10": (10, 32, True),
    "cifar100": (100, 32, True),
    "svhn": (10, 32, False),
    "imagenette": (10, 128, True),
}
BUDGETS = (1, 10, 50)


@functools.cache
def dataset_named(name: str) -> Dataset:
    """A dataset as far as recipes see one: no pixel of it enters a spec, but for the fingerprint, which is left out."""
    if name == "digits":
        return load_dataset("digits")
    classes, side, flip = SHAPES[name]
    labels = np.arange(classes)
    split = Split(np.zeros((classes, side, side, 3), dtype=np.uint8), labels)
    return Dataset.from_splits(name, split, split, [f"class {label}" for label in labels], flip=flip)


def digest_of(method: str, dataset: str, ipc: int, preset: str) -> str:
    """The first half of a spec's digest, or the refusal."""
    request = Request(ipc=ipc, method=method, preset=preset)
    try:
        spec = resolve(request, dataset_named(dataset), device="cpu", threads=1)
    except FredbenchError as error:
        return f"refused: {error}"
    return dataclasses.replace(spec, fingerprint="").digest()[:32]


def digests(method: str) -> dict[str, str]:
    """By dataset, IPC and preset, all cells of one system."""
    return {
        f"{dataset} ipc {ipc} {preset}": digest_of(method, dataset, ipc, preset)
        for dataset in ("digits", *SHAPES)
        for ipc in BUDGETS
        for preset in PRESETS
    }


@pytest.mark.parametrize("method", METHODS)
def test_specs_are_those_that_were_stored(method: str) -> None:
    stored, found = json.loads(STORED.read_text()), digests(method)
    assert method in stored, f"a new system: run {Path(__file__).name} as a script"
    changed = {cell: (stored[method].get(cell), digest) for cell, digest in found.items()
               if stored[method].get(cell) != digest}  # fmt: skip
    assert not changed and found.keys() == stored[method].keys()


def test_every_stored_system_exists() -> None:
    assert json.loads(STORED.read_text()).keys() == set(METHODS)


def test_another_recipe_would_be_seen() -> None:
    request = Request(ipc=1, method="dm", overrides=("parameterization.lr=2",))
    spec = resolve(request, dataset_named("cifar10"), device="cpu", threads=1)
    changed = dataclasses.replace(spec, fingerprint="").digest()[:32]
    assert changed != json.loads(STORED.read_text())["dm"]["cifar10 ipc 1 paper"]


if __name__ == "__main__":
    STORED.parent.mkdir(exist_ok=True)
    STORED.write_text(json.dumps({method: digests(method) for method in METHODS}, indent=1) + "\n")
    sys.stderr.write(f"wrote {STORED}\n")
