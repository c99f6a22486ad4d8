"""Corrupted arrays that a user brings: whose they are, and whether their rows are the test pictures in their order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from spine import cifar_like

from fredbench.corruptions import ALL, corrupt, published
from fredbench.datasets.arrangement import disorder
from fredbench.evaluation.domains import domains_of
from fredbench.foundation.errors import DataError
from fredbench.suites.corruption import CorruptionSuite

CLEAN = cifar_like().test.images
COUNT = len(CLEAN)


def rows_of(name: str) -> np.ndarray:
    return np.concatenate([corrupt(CLEAN, name, severity) for severity in range(1, 6)])


@pytest.mark.parametrize("name", ALL)
def test_rows_in_order_pass_under_every_corruption(name: str) -> None:
    assert disorder(name, rows_of(name), CLEAN) == ""


def blocks(rows: np.ndarray) -> np.ndarray:
    return rows.reshape(5, COUNT, *rows.shape[1:])


def one_block_shuffled(rows: np.ndarray) -> np.ndarray:
    found = blocks(rows).copy()
    found[2] = found[2][np.random.default_rng(0).permutation(COUNT)]
    return found.reshape(rows.shape)


WRONG: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "shuffled": (
        lambda rows: blocks(rows)[:, np.random.default_rng(0).permutation(COUNT)].reshape(rows.shape), "in their order",
    ),
    "moved by one": (lambda rows: np.roll(blocks(rows), 1, axis=1).reshape(rows.shape), "in their order"),
    "backwards": (lambda rows: blocks(rows)[:, ::-1].reshape(rows.shape), "in their order"),
    "half sorted otherwise": (
        lambda rows: blocks(rows)[:, [*range(COUNT // 2), *range(COUNT - 1, COUNT // 2 - 1, -1)]].reshape(rows.shape),
        "in their order",
    ),
    "one block shuffled": (one_block_shuffled, "at severity 3"),
    "pictures side by side": (lambda rows: blocks(rows).swapaxes(0, 1).reshape(rows.shape), "side by side"),
    "transposed": (lambda rows: rows.swapaxes(1, 2), "in their order"),
    "BGR": (lambda rows: rows[..., ::-1], "BGR"),
    "GBR": (lambda rows: rows[..., [1, 2, 0]], "GBR"),
    "severest first": (lambda rows: blocks(rows)[::-1].reshape(rows.shape), "falling order"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["fog", "gaussian_noise", "contrast"])
@pytest.mark.parametrize("form", WRONG)
def test_a_wrong_order_is_told_from_the_pixels(name: str, form: str) -> None:
    change, words = WRONG[form]
    assert words in disorder(name, np.ascontiguousarray(change(rows_of(name))), CLEAN)


def test_grey_pictures_have_no_order_of_channels() -> None:
    grey = CLEAN[..., :1]
    rows = np.concatenate([corrupt(grey, "fog", severity) for severity in range(1, 6)])
    assert disorder("fog", rows, grey) == ""
    assert "in their order" in disorder("fog", np.roll(rows, 1, axis=0), grey)


def suite(official: str = "CIFAR-10-C") -> CorruptionSuite:
    return CorruptionSuite("mine", "mine", "cifar-like", "cifar", ("fog",), (1,), official=(official,))


def arrays_in(root: Path, rows: np.ndarray) -> Path:
    file = root / "CIFAR-10-C" / "fog.npy"
    file.parent.mkdir(exist_ok=True)
    np.save(file, rows)
    return file


def test_arrays_are_official_by_their_bytes_and_not_by_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = arrays_in(tmp_path, rows_of("fog"))
    assert domains_of(suite(), cifar_like(), tmp_path).source == "user"
    known = {**published.PUBLISHED, "CIFAR-10-C": {"fog.npy": published.checksum_of(file, "md5")}}
    monkeypatch.setattr(published, "PUBLISHED", known)
    monkeypatch.setattr(published, "_SIZES", {file.stat().st_size})  # of this small stand-in
    assert domains_of(suite(), cifar_like(), tmp_path).source == "official"
    # The published array of another corruption, or of another set, is none of this one.
    monkeypatch.setitem(known, "CIFAR-10-C", {"snow.npy": known["CIFAR-10-C"]["fog.npy"]})
    assert domains_of(suite(), cifar_like(), tmp_path).source == "user"


def test_a_users_arrays_in_another_order_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    arrays_in(tmp_path, rows_of("fog")[..., ::-1])
    with pytest.raises(DataError, match=r"fog\.npy has its channels in the order BGR") as caught:
        domains_of(suite(), cifar_like(), tmp_path)
    assert caught.value.hint
