"""What every published system resolves to, held by stored digests: a recipe changes knowingly or not at all.

Held of eager arithmetic, which is what all specs had before there was another: asked for, it gives their very names.

`python tests/unit/test_spec_digests.py` writes the file anew, after a change that was meant: its diff names the cells.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from fredbench.datasets import Dataset, Split, load_dataset
from fredbench.foundation.errors import FredbenchError
from fredbench.objectives import OBJECTIVES
from fredbench.parameterizations import PARAMETERIZATIONS
from fredbench.recipes import METHODS, RULES, script, where
from fredbench.recipes.presets import PRESETS
from fredbench.recipes.resolution import Request, resolve
from fredbench.runs.spec import Spec

STORED = Path(__file__).parent / "stored" / "spec_digests.json"
# Name, classes, side of a picture, and whether a mirrored picture keeps its class.
SHAPES = {
    "cifar10": (10, 32, True),
    "cifar100": (100, 32, True),
    "svhn": (10, 32, False),
    "imagenette": (10, 128, True),
    "mnist": (10, 28, False),
    "tiny-imagenet": (200, 64, True),
}
TABLES = ("digits", "cifar10", "cifar100", "svhn", "imagenette")
BUDGETS = (1, 10, 50)
EAGER = ("run.arithmetic=eager", "student.arithmetic=eager")
# Every pair of parts too, where rows meet: at budgets that are listed, and at two that FreD's tables add.
PAIRS = tuple(itertools.product(OBJECTIVES, PARAMETERIZATIONS))
PAIRED = {"cifar10": (1, 2, 11), "imagenette": (2,), "tiny-imagenet": (1,), "mnist": (1,)}


@functools.cache
def dataset_named(name: str) -> Dataset:
    """A dataset as far as recipes see one: no pixel of it enters a spec, but for the fingerprint, which is left out."""
    if name == "digits":
        return load_dataset("digits")
    classes, side, flip = SHAPES[name]
    labels = np.arange(classes)
    split = Split(np.zeros((classes, side, side, 3), dtype=np.uint8), labels)
    return Dataset.from_splits(name, split, split, [f"class {label}" for label in labels], flip=flip)


def digest_of(dataset: str, ipc: int, preset: str, **system: str) -> str:
    """The first half of a spec's digest, or the refusal; `system` is a method, or an objective and parameterization."""
    request = Request(ipc=ipc, preset=preset, overrides=EAGER, **system)
    try:
        spec = resolve(request, dataset_named(dataset), device="cpu", threads=1)
    except FredbenchError as error:
        return f"refused: {error}"
    return dataclasses.replace(spec, fingerprint="").digest()[:32]


def digests(method: str) -> dict[str, str]:
    """By dataset, IPC and preset, all cells of one system."""
    return {
        f"{dataset} ipc {ipc} {preset}": digest_of(dataset, ipc, preset, method=method)
        for dataset in TABLES
        for ipc in BUDGETS
        for preset in PRESETS
    }


def pair_digests(objective: str, parameterization: str) -> dict[str, str]:
    """The same of two parts, at fewer places."""
    return {
        f"{dataset} ipc {ipc} {preset}": digest_of(
            dataset, ipc, preset, objective=objective, parameterization=parameterization
        )
        for dataset, budgets in PAIRED.items()
        for ipc in budgets
        for preset in ("paper", "quick")
    }


@pytest.mark.parametrize(("objective", "parameterization"), PAIRS)
def test_specs_of_pairs_are_those_that_were_stored(objective: str, parameterization: str) -> None:
    stored = json.loads(STORED.read_text())[f"{objective} x {parameterization}"]
    assert pair_digests(objective, parameterization) == stored


@pytest.mark.parametrize("method", METHODS)
def test_specs_are_those_that_were_stored(method: str) -> None:
    stored, found = json.loads(STORED.read_text()), digests(method)
    assert method in stored, f"a new system: run {Path(__file__).name} as a script"
    changed = {cell: (stored[method].get(cell), digest) for cell, digest in found.items()
               if stored[method].get(cell) != digest}  # fmt: skip
    assert not changed and found.keys() == stored[method].keys()


@pytest.mark.parametrize("method", ["dm", "tm", "herding"])
def test_a_spec_says_its_arithmetic_unless_it_is_eager(method: str) -> None:
    fused, eager = (
        resolve(Request(ipc=1, method=method, overrides=asked), dataset_named("cifar10"), device="cpu", threads=1)
        for asked in ((), EAGER)
    )
    assert (fused.arithmetic, fused.student.arithmetic) == ("fused", "fused")
    assert fused.to_mapping()["run"].pop("arithmetic") == fused.to_mapping()["student"].pop("arithmetic") == "fused"
    assert "arithmetic" not in {**eager.to_mapping()["run"], **eager.to_mapping()["student"]}
    for spec in (fused, eager):
        assert Spec.from_toml(spec.to_toml(), where="here") == spec
    changed = dataclasses.replace(fused.student, arithmetic="eager")
    assert dataclasses.replace(fused, arithmetic="eager", student=changed).digest() == eager.digest()


def test_a_random_choice_has_no_arithmetic_and_accelerators_no_blocks() -> None:
    data = dataset_named("cifar10")
    assert resolve(Request(ipc=1, method="random"), data, device="cpu", threads=1).arithmetic == "eager"
    far = resolve(Request(ipc=1, method="dm"), data, device="cuda", threads=1)
    assert (far.arithmetic, far.student.arithmetic) == ("eager", "eager")
    for wrong in ("run.arithmetic=quick", "run.threads=2", "student.arithmetic=1"):
        with pytest.raises(FredbenchError, match=r"arithmetic|run"):
            resolve(Request(ipc=1, method="dm", overrides=(wrong,)), data, device="cpu", threads=1)


def test_every_stored_system_exists() -> None:
    assert json.loads(STORED.read_text()).keys() == {*METHODS, *(" x ".join(pair) for pair in PAIRS)}


def test_another_row_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe's value, an iteration count and a condition, each changed by itself."""
    stored = json.loads(STORED.read_text())["dm"]
    for row in (
        script("parameterization", "another", where(objective="dm", parameterization="pixels"), lr=2.0),
        script("run", "another", where(objective="dm"), iterations=20_001),
    ):
        monkeypatch.setattr("fredbench.recipes.rules.RULES", [*RULES, row])
        assert digest_of("cifar10", 1, "paper", method="dm") != stored["cifar10 ipc 1 paper"]
    monkeypatch.undo()
    assert digest_of("cifar10", 1, "paper", method="dm") == stored["cifar10 ipc 1 paper"]


if __name__ == "__main__":
    STORED.parent.mkdir(exist_ok=True)
    found = {method: digests(method) for method in METHODS}
    found |= {" x ".join(pair): pair_digests(*pair) for pair in PAIRS}
    STORED.write_text(json.dumps(found, indent=1) + "\n")
    sys.stderr.write(f"wrote {STORED}\n")
