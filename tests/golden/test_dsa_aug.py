"""Differentiable augmentation against the official outputs and gradients (golden/methods/dsa_aug.npz)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fredbench.training import augmentation
from fredbench.training.augmentation import Constants, Draw, apply

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
DTYPES = sorted(TOLERANCE, key=str)

# What README.md promises: operations with the number of their draws, and the two modes.
DRAWS = {
    "brightness": 1,
    "saturation": 1,
    "contrast": 1,
    "crop": 2,
    "cutout": 2,
    "flip": 1,
    "scale": 2,
    "rotate": 1,
}
CASES = [("dc", name, mode) for name in DRAWS for mode in ("per_image", "siamese")]
CASES += [("tm", name, "per_image") for name in ("scale", "rotate")]
# Our name of a constant, with theirs.
OFFICIAL = {
    **{name: name for name in ("brightness", "saturation", "contrast")},
    "crop": "ratio_crop_pad",
    "cutout": "ratio_cutout",
    "flip": "prob_flip",
    "scale": "ratio_scale",
    "rotate_degrees": "ratio_rotate",
}
FUNCTIONS: dict[str, Callable[..., Tensor]] = {name: getattr(augmentation, name) for name in DRAWS}
WHOLE = {"color": 3, "crop": 2, "cutout": 2, "flip": 1, "scale": 2, "rotate": 1}


@pytest.fixture(scope="module")
def vectors(golden: Path) -> dict[str, np.ndarray]:
    with np.load(golden / "methods" / "dsa_aug.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def relative_error(got: Tensor, expected: np.ndarray) -> float:
    want = torch.from_numpy(expected)
    assert got.shape == want.shape
    return float((got.detach().double() - want).abs().max() / want.abs().max())


def constants_of(vectors: dict[str, np.ndarray], *, align_corners: bool) -> Constants:
    """The file's constants; all that it states is read, but for the noise, which no strategy has."""
    stated = json.loads(str(vectors["ratios_json"]))
    assert set(stated) == {*OFFICIAL.values(), "aug_mode", "ratio_noise"}
    return Constants(**{ours: stated[theirs] for ours, theirs in OFFICIAL.items()}, align_corners=align_corners)


def test_constants_are_the_official_ones() -> None:
    """README.md's formulas, in numbers."""
    assert Constants() == Constants(1.0, 2.0, 0.5, 4 / 32, 16 / 32, 0.5, 1.2, 15.0)


def test_no_case_is_left_out(vectors: dict[str, np.ndarray]) -> None:
    found = {tuple(key.split(".")[:3]) for key in vectors if key.startswith(("dc.", "tm."))}
    assert found == set(CASES)
    assert {key.split(".")[1] for key in vectors if key.startswith("siamese.")} == set(WHOLE)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("code", "name", "mode"), CASES)
def test_each_operation_and_its_gradient(
    vectors: dict[str, np.ndarray], code: str, name: str, mode: str, dtype: torch.dtype
) -> None:
    key = f"{code}.{name}.{mode}"
    draws = [torch.from_numpy(vectors[f"{key}.draw{index}"]) for index in range(DRAWS[name])]
    if mode == "siamese":
        draws = [draw[:1] for draw in draws]
    images = torch.from_numpy(vectors["x"]).to(dtype).requires_grad_()
    constants = () if name == "crop" else (constants_of(vectors, align_corners=code == "tm"),)

    out = FUNCTIONS[name](images, *draws, *constants)
    (gradient,) = torch.autograd.grad((out * torch.from_numpy(vectors["cotangent"]).to(dtype)).sum(), images)

    assert out.dtype == dtype
    assert relative_error(out, vectors[f"{key}.out"]) <= TOLERANCE[dtype]
    assert relative_error(gradient, vectors[f"{key}.grad_x"]) <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("name", WHOLE)
def test_one_draw_shared_by_two_batches(
    vectors: dict[str, np.ndarray], name: str, align_corners: bool, dtype: torch.dtype
) -> None:
    values = torch.from_numpy(vectors[f"siamese.{name}.draws"])
    assert len(values) == WHOLE[name]
    if name in ("crop", "cutout"):
        values = values.long()
    draw = Draw(name, tuple(values.split(1)), (32, 32))
    for batch in ("x", "y"):
        images = torch.from_numpy(vectors[batch]).to(dtype)
        out = apply(draw, images, constants_of(vectors, align_corners=align_corners))
        assert relative_error(out, vectors[f"siamese.{name}.{batch}_out"]) <= TOLERANCE[dtype]
