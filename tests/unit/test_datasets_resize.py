from __future__ import annotations

import numpy as np
import pytest
import torch
from dataset_forms import random_pictures
from PIL import Image
from torchvision.transforms.v2 import functional as reference

from fredbench.datasets.resize import Geometry, bilinear, geometry_from
from fredbench.foundation.errors import UsageError


@pytest.mark.parametrize(
    ("source", "target"), [((8, 8), (32, 32)), ((50, 37), (16, 20)), ((5, 9), (9, 5)), ((1, 1), (3, 3))]
)
def test_bilinear_agrees_with_torch_without_antialiasing(source: tuple[int, int], target: tuple[int, int]) -> None:
    images = random_pictures(3, source, seed=1)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).double()
    theirs = torch.nn.functional.interpolate(pixels, size=target, mode="bilinear", align_corners=False, antialias=False)
    ours = bilinear(images, target)
    assert ours.dtype == np.uint8 and ours.shape == (3, *target, 3)
    # Rounding to the nearest grey level is all that may differ.
    assert np.abs(ours - theirs.permute(0, 2, 3, 1).numpy()).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (64, 64), (131, 128)])
@pytest.mark.parametrize("mode", ["squash", "crop"])
def test_geometry_is_that_of_torchvision_on_pictures(size: tuple[int, int], mode: str) -> None:
    picture = Image.fromarray(random_pictures(1, size, seed=2)[0])
    if mode == "squash":
        theirs = reference.resize(picture, [64, 64])
    else:
        theirs = reference.center_crop(reference.resize(picture, [64]), [64])
    np.testing.assert_array_equal(Geometry(64, mode).apply(picture), np.asarray(theirs))


def test_antialiasing_is_not_harmless_and_can_be_left_out() -> None:
    picture = Image.fromarray(random_pictures(1, (256, 256))[0])
    smooth, rough = Geometry(64).apply(picture), Geometry(64, antialias=False).apply(picture)
    assert rough.std() > 1.5 * smooth.std()
    np.testing.assert_array_equal(rough, bilinear(np.asarray(picture)[None], (64, 64))[0])


def test_arrays_of_one_channel_stay_so() -> None:
    grey = random_pictures(2, (28, 28), channels=1)
    small = Geometry(14).apply_array(grey)
    assert small.shape == (2, 14, 14, 1)
    whole = Geometry(14).apply_array(np.repeat(grey, 3, axis=3))
    np.testing.assert_array_equal(small[..., 0], whole[..., 1])


def test_options_change_the_default() -> None:
    default = Geometry(128)
    assert geometry_from({}, default, where="x") is default
    assert geometry_from({"geometry": "crop", "antialias": "no"}, default, where="x") == Geometry(128, "crop", False)
    assert geometry_from({"size": "64"}, None, where="x") == Geometry(64)
    assert geometry_from({}, None, where="x") is None


@pytest.mark.parametrize(
    "options", [{"size": "0"}, {"size": "big"}, {"geometry": "fit"}, {"antialias": "maybe"}, {"colour": "no"}]
)
def test_bad_options_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="imagenette does not understand"):
        geometry_from(options, Geometry(128), where="imagenette")


def test_a_geometry_needs_a_size() -> None:
    with pytest.raises(UsageError, match="needs a size"):
        geometry_from({"geometry": "crop"}, None, where="folder:x")
