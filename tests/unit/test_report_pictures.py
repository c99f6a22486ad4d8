from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from made_rows import made_synset
from PIL import Image

from fredbench.report.pictures import (
    class_pictures,
    frequency_masks,
    mask_png,
    picture_sheet,
    pictures_per_class,
    strip_png,
)


def _opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_a_strip_holds_exactly_the_decoded_pictures_of_its_class() -> None:
    synset = made_synset()
    pixels, labels = synset.pixels(), synset.labels
    for label, group in enumerate(class_pictures(synset)):
        wanted = pixels[labels == label].permute(0, 2, 3, 1).numpy()
        strip = _opened(strip_png(group))
        assert strip.shape == (8, len(group) * 10 - 2, 4)
        for number, picture in enumerate(wanted):
            np.testing.assert_array_equal(strip[:, number * 10 : number * 10 + 8, :3], picture)
        assert (strip[:, 8:10, 3] == 0).all() and (strip[:, :8, 3] == 255).all()


def test_masks_are_the_stored_positions_and_zero_frequency_is_at_the_top_left() -> None:
    synset = made_synset()
    masks = frequency_masks(synset)
    assert masks is not None and masks.shape == (2, 8, 8) and (masks.sum(axis=(1, 2)) == 16).all()
    bits = np.unpackbits(synset.tensors["mask"].numpy(), axis=1)[:, :64].astype(bool)
    np.testing.assert_array_equal(masks.reshape(2, 64), bits)
    shown = _opened(mask_png(masks[1]))
    np.testing.assert_array_equal(shown[..., 3] == 255, masks[1])


def test_a_set_of_pixels_has_no_masks() -> None:
    assert frequency_masks(made_synset("pixels")) is None


def test_soft_labels_are_shown_under_their_likeliest_class() -> None:
    synset = made_synset("pixels")
    soft = torch.tensor([[0.2, 0.8], [0.9, 0.1]])
    synset._decoder[1].labels = soft
    first, second = class_pictures(synset)
    np.testing.assert_array_equal(first[0], synset.pixels()[1].permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(second[0], synset.pixels()[0].permute(1, 2, 0).numpy())


@pytest.mark.parametrize(("pixels", "expected"), [(10**9, 16), (1, 1), (2 * 64 * 5, 5), (2 * 64 * 6 - 1, 5)])
def test_how_many_are_shown_is_bounded_by_pixels_and_sixteen(pixels: int, expected: int) -> None:
    assert pictures_per_class(made_synset(), pixels=pixels) == expected


def test_the_sheet_draws_each_class_at_whole_scale_and_is_the_same_twice() -> None:
    synset = made_synset()
    sheet = picture_sheet(synset, scale=3)
    assert picture_sheet(synset, scale=3) == sheet
    drawn = _opened(sheet)
    first = np.repeat(np.repeat(class_pictures(synset)[0][0], 3, axis=0), 3, axis=1)
    found = [left for left in range(drawn.shape[1] - 24) if np.array_equal(drawn[34:58, left : left + 24], first)]
    assert len(found) == 1


def test_the_sheet_shows_no_more_than_asked() -> None:
    wide, narrow = (Image.open(io.BytesIO(picture_sheet(made_synset(), per_class=n, scale=30))) for n in (4, 2))
    assert wide.width - narrow.width == 2 * 30 * 10


def test_what_is_written_above_the_pictures_is_not_cut() -> None:
    drawn = _opened(picture_sheet(made_synset(), per_class=1, scale=1))
    ink = (drawn[:30] < 255).any(axis=(0, 2))
    assert ink.sum() > 100 and not ink[-8:].any()
