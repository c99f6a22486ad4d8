"""The engine's own draws against the distribution statistics of the published generators (stats.json).

The rule is the golden README's: |m - mean| ≤ 3.3 · (half band / 1.645) + pad. The means of one corruption move
together, so what fails is drawn twice more with other fixed seeds, and counts only if most draws fail.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from fredbench.corruptions import ALL, STOCHASTIC, corrupt

PROFILES = {"cifar10c": "cifar", "imagecorruptions32": "imagenet"}
SEEDS = (0, 1, 2)
FLOORS = {
    "mae": 0.06, "err_mean": 0.06, "err_std": 0.06, "shift_r": 0.06, "shift_g": 0.06, "shift_b": 0.06,
    "ssim": 0.002, "frac_0": 0.002, "frac_255": 0.002, "frac_unchanged": 0.005, "acf_x1": 0.005, "acf_y1": 0.005,
}  # fmt: skip


def similarity(clean: np.ndarray, made: np.ndarray) -> np.ndarray:
    """SSIM of each picture: 7×7 uniform window, sample covariance, range 255, 3 pixels of border dropped."""

    def mean(values: np.ndarray) -> np.ndarray:
        return uniform_filter(values, size=(1, 7, 7, 1), mode="nearest")[:, 3:-3, 3:-3]

    x, y = clean.astype(float), made.astype(float)
    mx, my, unbiased = mean(x), mean(y), 49 / 48
    vx, vy = unbiased * (mean(x * x) - mx * mx), unbiased * (mean(y * y) - my * my)
    cov = unbiased * (mean(x * y) - mx * my)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ratio = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return ratio.mean(axis=(1, 2, 3))


def statistics_of(clean: np.ndarray, made: np.ndarray) -> dict[str, float]:
    """The README's twelve statistics, averaged over pictures."""
    error = made.astype(float) - clean
    centred = error - error.mean(axis=(1, 2), keepdims=True)
    power = (centred**2).mean(axis=(1, 2, 3)) + 1e-6
    along = (centred[:, :, 1:] * centred[:, :, :-1]).mean(axis=(1, 2, 3)) / power
    down = (centred[:, 1:] * centred[:, :-1]).mean(axis=(1, 2, 3)) / power
    shift = error.mean(axis=(0, 1, 2))
    return {
        "mae": np.abs(error).mean(), "err_mean": error.mean(), "err_std": error.std(axis=(1, 2, 3)).mean(),
        "shift_r": shift[0], "shift_g": shift[1], "shift_b": shift[2],
        "ssim": similarity(clean, made).mean(), "frac_unchanged": (error == 0).mean(),
        "frac_0": (made == 0).mean(), "frac_255": (made == 255).mean(),
        "acf_x1": along.mean(), "acf_y1": down.mean(),
    }  # fmt: skip


def outside(found: dict[str, float], wanted: dict[str, dict]) -> dict[str, str]:
    """Statistics that break the acceptance rule, with what was found."""
    broken = {}
    for name, floor in FLOORS.items():
        mean, (low, high) = wanted[name]["mean"], wanted[name]["band90"]
        allowed = 3.3 * ((high - low) / 2 / 1.645) + max(0.01 * abs(mean), floor)
        if abs(found[name] - mean) > allowed:
            broken[name] = f"{found[name]:.5g} instead of {mean:.5g} ± {allowed:.2g}"
    return broken


@pytest.fixture(scope="module")
def pictures(golden: Path) -> np.ndarray:
    with np.load(golden / "corruptions" / "stats_inputs.npz") as file:
        return file["cifar32"]


@pytest.fixture(scope="module")
def wanted(golden: Path) -> dict:
    return json.loads((golden / "corruptions" / "stats.json").read_text())["stats"]


@pytest.mark.parametrize("folder_profile", PROFILES)
@pytest.mark.parametrize("name", ALL)
def test_statistics(name, folder_profile, pictures, wanted):
    for severity in range(1, 6):
        reference = wanted[folder_profile][name][str(severity)]
        votes: list[dict[str, str]] = []
        for seed in SEEDS:
            made = corrupt(pictures, name, severity, profile=PROFILES[folder_profile], seed=seed)
            votes.append(outside(statistics_of(pictures, made), reference))
            if not votes[0] or name not in STOCHASTIC:
                break
        needed = 2 if len(votes) > 1 else 1
        failed = {key: said for vote in votes for key, said in vote.items() if sum(key in v for v in votes) >= needed}
        assert not failed, f"{folder_profile}/{name}/{severity}: {failed}"


@pytest.mark.parametrize("severity", range(1, 6))
def test_procedural_frost_is_within_ten_percent(severity, pictures, wanted):
    draws = [corrupt(pictures, "frost", severity, seed=seed, frost="procedural") for seed in SEEDS]
    found = [statistics_of(pictures, made) for made in draws]
    for name in ("mae", "err_mean", "err_std", "acf_x1", "acf_y1"):
        reference = wanted["cifar10c"]["frost"][str(severity)][name]["mean"]
        assert np.mean([one[name] for one in found]) == pytest.approx(reference, rel=0.1), name


def test_the_rule_can_fail(pictures, wanted):
    reference = wanted["cifar10c"]["gaussian_noise"]["3"]
    made = corrupt(pictures, "gaussian_noise", 4, profile="cifar")
    assert {"mae", "err_std", "ssim"} <= set(outside(statistics_of(pictures, made), reference))
