from __future__ import annotations

import hashlib

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
    gap = np.abs(Geometry(64, mode).apply(picture).astype(int) - np.asarray(theirs))
    # Pillow 13 takes the columns of tall pictures first, where ours goes on as all before it did.
    assert gap.max() <= (1 if size[0] > size[1] else 0) and (gap == 0).mean() > 0.7


def grainy(height: int, width: int) -> np.ndarray:
    """A picture out of whole-number arithmetic, so that no library decides it."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    grain = ((y * width + x) * 1103515245 + 12345) % 2**31 // 2**16 % 256
    return np.stack([grain, (grain * 7 + x) % 256, (grain * 3 + y) % 256], axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    ("size", "target", "digest"),
    [
        ((500, 281), 128, "ea315eae49f15d36"), ((500, 281), 64, "0ff20106ba038491"),
        ((500, 375), 256, "62c7bd77bb4c4a71"), ((500, 333), 224, "87db25bd16f77a8b"),
        ((640, 480), 518, "0e256b5db0e79c2b"), ((281, 500), 128, "dec29ae9f61c411c"),
    ],
)  # fmt: skip
def test_squashed_pictures_are_those_of_pillow_10_to_12(size: tuple[int, int], target: int, digest: str) -> None:
    """Digests made by one call of resize under Pillow 10.3.0 and 12.3.0; 13.0.0 gives others for tall pictures."""
    made = Geometry(target).apply(Image.fromarray(grainy(*size)))
    assert hashlib.sha256(made.tobytes()).hexdigest().startswith(digest)


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
