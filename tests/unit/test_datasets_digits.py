from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from fredbench.datasets import channel_statistics, load_dataset
from fredbench.datasets.known import digits as module
from fredbench.foundation.errors import DataError


def test_digits_are_scikit_learns_in_its_order() -> None:
    digits, theirs = load_dataset("digits"), load_digits()
    labels = np.concatenate([digits.train.labels, digits.test.labels])
    np.testing.assert_array_equal(labels, theirs.target)
    assert len(digits.train) == 1297 and len(digits.test) == 500
    assert digits.classes == tuple("0123456789") and not digits.flip and digits.partial == {}
    assert digits.size == (32, 32) and digits.channels == 3 and digits.source.form == "embedded"


def test_pixels_are_scaled_to_bytes_then_bilinear() -> None:
    digits, theirs = load_dataset("digits"), load_digits()
    images = np.concatenate([digits.train.images, digits.test.images])
    assert (images == images[..., :1]).all()
    for row in range(0, 1797, 97):
        scan = np.round(theirs.images[row] * 255 / 16).astype(np.uint8)
        pillow = np.asarray(Image.fromarray(scan).resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
        # Pillow rounds after each axis, we once.
        assert np.abs(images[row, ..., 0] - pillow).max() <= 1
        # Where the grids' centres share a corner region, bilinear keeps the corner's value.
        assert images[row, 0, 0, 0] == scan[0, 0] and images[row, 31, 31, 0] == scan[7, 7]


def test_the_recorded_statistics_are_those_of_the_training_pixels() -> None:
    digits = load_dataset("digits")
    mean, std = channel_statistics(digits.train.images)
    np.testing.assert_allclose(digits.mean, mean, atol=5e-5)
    np.testing.assert_allclose(digits.std, std, atol=5e-5)


def test_statistics_are_those_of_all_pictures_however_they_are_counted() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (150, 3, 5, 2), dtype=np.uint8)
    mean, std = channel_statistics(pictures)
    np.testing.assert_allclose(mean, (pictures / 255).mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, (pictures / 255).std((0, 1, 2)), rtol=1e-12)


def test_the_public_loader_gives_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    direct = module.digits_table()
    monkeypatch.setattr(module, "_table_file", lambda: None)
    np.testing.assert_array_equal(module.digits_table(), direct)


def test_altered_digits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    table = module.digits_table()
    table[5, 9] += 1
    monkeypatch.setattr(module, "digits_table", lambda: table)
    with pytest.raises(DataError, match="train split of digits is altered"):
        _ = load_dataset("digits").train
    # Each split is read by itself.
    assert len(load_dataset("digits").test) == 500


def test_a_cut_off_table_is_refused(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = module._table_file().read_bytes()
    broken = tmp_path / "digits.csv.gz"
    broken.write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(module, "_table_file", lambda: broken)
    with pytest.raises(DataError, match="embedded digits cannot be read"):
        _ = load_dataset("digits").train
