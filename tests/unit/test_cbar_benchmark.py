"""`benchmarks/cbar.py`: its bands can be left, and with a checkout of the public generator the two agree.

The checkout is named by FREDBENCH_CBAR; without it the comparisons with it are skipped.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from commands import ROOT

from fredbench.corruptions import CBAR, CBAR_IMAGENET, corrupt


@pytest.fixture(scope="module")
def benchmark() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "cbar.py")))


def pictures_of(count: int, side: int) -> np.ndarray:
    y, x = np.mgrid[0:side, 0:side]
    waves = [128 + 90 * np.sin(x * (1 + i % 5) / 6 + i) * np.cos(y * (1 + i % 3) / 5) for i in range(count)]
    return np.stack([np.stack([wave, 255 - wave, wave[::-1]], axis=-1) for wave in waves]).astype(np.uint8)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return pictures_of(60, 32)


@pytest.fixture
def generator() -> Path:
    folder = os.environ.get("FREDBENCH_CBAR")
    if not folder:
        pytest.skip("FREDBENCH_CBAR names no checkout of facebookresearch/augmentation-corruption")
    pytest.importorskip("skimage")
    return Path(folder)


@pytest.mark.parametrize("name", CBAR)
def test_other_draws_of_the_same_keep_the_band_and_another_severity_leaves_it(benchmark, pictures, name):
    ours, again = corrupt(pictures, name, 1, seed=1), corrupt(pictures, name, 1, seed=2)
    assert benchmark.outside(benchmark.compared(pictures, ours, again)) == []
    assert benchmark.outside(benchmark.compared(pictures, ours, corrupt(pictures, name, 5, seed=2)))


def test_rounding_is_told_from_another_rule(benchmark, pictures):
    rounded = pictures.copy()
    rounded[:, 0, 0] ^= 1
    assert benchmark.rule_differs("circular_motion_blur", pictures, rounded) == (pytest.approx(1 / 1024), 1, False)
    assert benchmark.rule_differs("ripple", pictures, np.where(rounded < 250, rounded + 1, rounded))[2]
    assert benchmark.rule_differs("ripple", pictures, np.roll(pictures, 1, axis=1))[2]
    assert not benchmark.rule_differs("ripple", pictures, pictures)[2]


def test_the_report_names_what_left_its_band(benchmark, pictures):
    told = benchmark.compared(pictures, pictures, pictures // 2)
    one = {"corruption": "lines", "severity": 2, "differing": 0.0, "largest": 0, "rule differs": False,
           "statistics": told, "outside": benchmark.outside(told)}  # fmt: skip
    assert "LEFT: mae" in benchmark.agreement_line(one)
    worst, share = benchmark.furthest(told)
    assert worst in one["outside"] and share > 1


@pytest.mark.parametrize(
    ("profile", "name"), [*(("cifar", name) for name in CBAR), *(("imagenet", name) for name in CBAR_IMAGENET)]
)
def test_the_public_generator_gives_these_pictures_under_its_draws(benchmark, generator, profile, name):
    before, batch = (set(sys.modules), list(sys.path)), pictures_of(2, 32 if profile == "cifar" else 40)
    with benchmark.generator_at(generator) as transforms:
        np.random.seed(0)
        for severity in (1, 5):
            theirs, ours = benchmark.with_both(transforms, profile, name, severity, batch)
            assert not benchmark.rule_differs(name, theirs, ours)[2]
            assert not np.array_equal(theirs, batch)
        if profile == "cifar":
            times = benchmark.speed(transforms, profile, name, np.repeat(batch, 32, axis=0), 1, 1)
            assert 0 < times["ours"] < times["theirs"]
    assert sys.path == before[1] and not {"corrupt", "transform_finder"} & (set(sys.modules) - before[0])
    assert not hasattr(np, "int")


@pytest.mark.parametrize("name", CBAR)
def test_what_is_compared_is_what_the_engine_makes(benchmark, pictures, name):
    assert np.array_equal(benchmark.own("cifar", name, 3, pictures, 5), corrupt(pictures, name, 3, seed=5))
