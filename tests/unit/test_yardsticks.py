"""Every yardstick of `benchmarks/yardsticks` computes what ours computes: same weights, same pictures, same draws.

At tiny sizes in float32, every tensor that either learns: after one iteration within 3e-4 of its length, after two
within 2e-3 (published rates carry rounding on) and within a twentieth of what the second one moved it by.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable

import pytest
import torch
from commands import ROOT
from torch import Tensor

from fredbench.networks.kernels import dense_kernels
from fredbench.objectives.feature_regression import margin_loss
from fredbench.training import augmentation

sys.path.insert(0, str(ROOT))

from benchmarks.pairs import (
    Canvases,
    Factorised,
    Kernels,
    Matching,
    Pair,
    Regression,
    Scoring,
    Students,
    Trajectories,
)  # fmt: skip
from benchmarks.subjects import Setting
from benchmarks.yardsticks import dsa, regression

ROUNDING, CARRIED_ON, OF_THE_MOVE = 3e-4, 2e-3, 0.05
TINY = Setting(network="convnet-d2-w8-in", held=40, pictures=48)
LARGER = Setting(network="convnet-d3-w4-in", held=12, side=64, dataset="imagenette", real=8, k=2048, steps=2)


def at(setting: Setting = TINY, **changed: object) -> Setting:
    return dataclasses.replace(setting, **changed)


PAIRS: dict[str, Callable[[], Pair]] = {
    "students": lambda: Students(at(students=2), 1),
    "scoring": lambda: Scoring(at(pictures=300), 1),
    "dm": lambda: Matching(at(ipc=2, real=16), 1, objective="dm", storage="fred"),
    "dm of pixels": lambda: Matching(at(real=16), 1, objective="dm", storage="pixels"),
    "dm, larger": lambda: Matching(LARGER, 1, objective="dm", storage="fred"),
    "dc": lambda: Matching(at(ipc=2, held=70, real=16), 1, objective="dc", storage="fred"),
    "dc of pixels": lambda: Matching(at(real=16), 1, objective="dc", storage="pixels"),
    "tm": lambda: Trajectories(at(k=512, steps=3), 1),
    "tm, larger": lambda: Trajectories(LARGER, 1),
    "idc": lambda: Canvases(at(real=8, trained=200), 1),
    "haba": lambda: Factorised(at(steps=3), 1),
    "frepo": lambda: Regression(at(network="frepo-d2-w4-bn", real=40), 1),
    "kip": lambda: Kernels(at(real=100), 1),
}


def apart(first: Tensor, second: Tensor) -> float:
    return float((first.double() - second.double()).norm())


def check_equal(pair: Pair, rounding: float) -> None:
    for key, (mine, theirs) in pair.compared().items():
        assert mine.shape == theirs.shape and torch.isfinite(mine).all(), key
        assert apart(mine, theirs) <= rounding * float(theirs.double().norm()), key


@pytest.mark.parametrize("name", PAIRS)
def test_a_yardstick_makes_what_ours_makes(name: str) -> None:
    pair = PAIRS[name]()
    ours, plain = pair.ours(), pair.plain()
    ours(), plain()
    check_equal(pair, ROUNDING)
    before = {key: mine.clone() for key, (mine, _) in pair.compared().items()}
    ours(), plain()
    check_equal(pair, CARRIED_ON)
    learned = {key: found for key, found in pair.compared().items() if key not in {"loss", "classes"}}
    moved = {key: apart(mine, before[key]) for key, (mine, _) in learned.items()}
    assert any(moved.values()) or name == "scoring"
    for key, (mine, theirs) in learned.items():
        # Before a norm a bias has no gradient but rounding: there is no move that both could have made.
        still = moved[key] <= torch.finfo(torch.float32).eps * float(theirs.double().norm())
        assert still or apart(mine, theirs) <= OF_THE_MOVE * moved[key], key


def test_scores_are_not_all_of_one_class() -> None:
    pair = PAIRS["scoring"]()
    ours, plain = pair.ours(), pair.plain()
    ours(), plain()
    mine, _ = pair.compared()["classes"]
    assert len(mine) == 300 and len(mine.unique()) > 1


def test_the_kernel_of_the_yardstick_is_ours() -> None:
    # Beside the whole iteration, in which Adam's first steps hide the size of a gradient.
    first, second = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for depth in (0, 1, 3):
        assert torch.allclose(
            regression.dense_kernel(first, second, depth), dense_kernels(first, second, depth=depth).ntk
        )
        own = regression.dense_kernel(first, first, depth, same=True)
        assert torch.allclose(own, dense_kernels(first, depth=depth).ntk)


def test_the_margin_of_the_yardstick_is_ours() -> None:
    # At the start of a run all margins are wide, and the term has no gradient.
    rows = torch.randn(50, 10, generator=torch.Generator().manual_seed(0)) * 0.1
    assert float(regression.margin(rows)) == pytest.approx(float(margin_loss(rows)))


def test_a_network_past_its_age_is_drawn_anew() -> None:
    pair = PAIRS["frepo"]()
    plain = pair.plain()
    for member in pair._pool:
        member.age = 101
    before = [member.network for member in pair._pool]
    plain()
    (number,) = [n for n, member in enumerate(pair._pool) if member.network is not before[n]]
    assert pair._pool[number].age == 0 and pair._pool[number].optimiser.defaults["lr"] == pair.settings["lr_network"]


@pytest.mark.parametrize("siamese", [True, False])
@pytest.mark.parametrize("operation", dsa.OPERATIONS)
def test_the_usual_augmentation_is_ours(operation: str, siamese: bool) -> None:
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for seed in range(5):
        ours = augmentation.sample((operation,), 6, (32, 32), torch.Generator().manual_seed(seed), siamese=siamese)
        usual = dsa.draw((operation,), 1 if siamese else 6, 32, torch.Generator().manual_seed(seed))
        assert torch.allclose(augmentation.apply(ours, images), dsa.show(usual, images), atol=2e-5)
    assert dsa.OPERATIONS == augmentation.OPERATIONS


def test_a_yardstick_imports_nothing_of_ours() -> None:
    files = sorted((ROOT / "benchmarks" / "yardsticks").glob("*.py"))
    assert len(files) > 8
    own = re.compile(r"^\s*(from|import) fredbench\b", re.MULTILINE)
    assert own.search("import fredbench") and not [file.name for file in files if own.search(file.read_text())]
