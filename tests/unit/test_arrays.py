"""Arrays as people hold them: read as what they are, or refused in words before anything is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fredbench.corruptions import corrupt
from fredbench.datasets import Dataset, Split
from fredbench.foundation.errors import DataError, FredbenchError, UsageError

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (12, 16, 20, 3), dtype=np.uint8)
GREY = X[..., :1].copy()
Y = np.arange(12) % 3
WIDE = np.repeat(np.repeat(X, 2, axis=1), 2, axis=2)


def read_only(array: np.ndarray) -> np.ndarray:
    locked = array.copy()
    locked.flags.writeable = False
    return locked


TAKEN: dict[str, tuple[Any, np.ndarray]] = {
    "bytes": (X, X),
    "float64 of 0..1": (X / 255, X),
    "float32 of 0..1": ((X / 255).astype(np.float32), X),
    "float16 of 0..1": ((X / 255).astype(np.float16), X),
    "float of whole grey levels": (X.astype(np.float32), X),
    "int64": (X.astype(np.int64), X),
    "uint16 of 8 bits": (X.astype(np.uint16), X),
    "uint16 of 16 bits that hold 8": (X.astype(np.uint16) * 257, X),
    "bool": (X > 99, np.where(X > 99, 255, 0).astype(np.uint8)),
    "big-endian": (X.astype(">u2") * 257, X),
    "big-endian floats": ((X / 255).astype(">f4"), X),
    "every other row of more": (np.repeat(X, 2, axis=0)[::2], X),
    "upside down twice": (X[:, ::-1].copy()[:, ::-1], X),
    "column-major": (np.asfortranarray(X), X),
    "read-only": (read_only(X), X),
    "channels first": (X.transpose(0, 3, 1, 2), X),
    "tensor": (torch.from_numpy(X), X),
    "float tensor, channels first": (torch.from_numpy(X).permute(0, 3, 1, 2) / 255, X),
    "tensor with a gradient": ((torch.from_numpy(X) / 255).requires_grad_(), X),
    "list of arrays": (list(X), X),
    "list of tensors, channels first": (list(torch.from_numpy(X).permute(0, 3, 1, 2)), X),
    "list of Pillow's": ([Image.fromarray(picture) for picture in X], X),
    "grey": (GREY, GREY),
    "grey, channels first": (GREY.transpose(0, 3, 1, 2), GREY),
    "list of Pillow's grey": ([Image.fromarray(picture[..., 0]) for picture in GREY], GREY),
}


@pytest.mark.parametrize("form", TAKEN)
def test_pictures_are_read_as_what_they_are(form: str) -> None:
    given, wanted = TAKEN[form]
    split = Split(given, Y)
    assert split.images.dtype == np.uint8 and split.images.flags.c_contiguous
    assert np.array_equal(split.images, wanted)
    assert split.fingerprint == Split(wanted, Y).fingerprint


REFUSED: dict[str, tuple[Any, str]] = {
    "normalised": ((X / 255 - 0.5) / 0.25, "normalised"),
    "signed floats": (X / 127.5 - 1, "below 0"),
    "floats beyond 1": (X / 255 * 1.02, "neither 0..1 nor whole"),
    "fractions of grey levels": (X + 0.25, "neither 0..1 nor whole"),
    "not a number": (np.where(X[0, 0, 0, 0] == X, np.nan, X / 255), "not finite"),
    "twelve bits": (X.astype(np.uint16) * 16, "more than 8 bits"),
    "0 and 1 as numbers": ((X > 99).astype(np.int64), "black and white"),
    "no channel axis": (X[..., 0], "grey ones"),
    "one picture": (X[0], "one picture"),
    "alpha": (np.concatenate([X, X[..., :1]], axis=-1), "neither one nor three channels"),
    "flat rows": (X.reshape(12, -1), "no batch"),
    "text": (np.full((12, 16, 20, 3), "a"), "hold no grey levels"),
    "Pillow's palettes": ([Image.fromarray(picture).convert("P") for picture in X], "mode P"),
    "Pillow's alpha": ([Image.fromarray(picture).convert("RGBA") for picture in X], "mode RGBA"),
    "sizes that differ": ([*X[:11], X[11, :8]], "picture 11"),
    "types that differ": ([*X[:11], X[11] / 255], "picture 11"),
    "grey among coloured": ([*map(Image.fromarray, X[:11]), Image.fromarray(X[11]).convert("L")], "picture 11"),
    "masked": (np.ma.masked_equal(X, X[0, 0, 0, 0]), "masked"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_pictures_that_may_be_meant_otherwise_are_refused(form: str) -> None:
    given, words = REFUSED[form]
    with pytest.raises(FredbenchError, match=words) as caught:
        Split(given, Y if len(given) == 12 else Y[: len(given)])
    assert caught.value.hint


LABELS: dict[str, Any] = {
    "uint8": Y.astype(np.uint8),
    "big-endian": Y.astype(">i4"),
    "(n, 1)": Y[:, None],
    "(1, n)": Y[None],
    "float": Y * 1.0,
    "list": Y.tolist(),
    "objects": Y.astype(object),
    "tensor": torch.from_numpy(Y),
    "one-hot": np.eye(3)[Y],
    "one-hot tensor": torch.eye(3)[torch.from_numpy(Y)],
    "names": np.array(["a", "b", "c"])[Y],
    "list of names": [["a", "b", "c"][label] for label in Y],
    "bytes": np.array([b"a", b"b", b"c"])[Y],
    "read-only": read_only(Y),
}


@pytest.mark.parametrize("form", LABELS)
def test_labels_are_read_as_what_they_are(form: str) -> None:
    split = Split(X, LABELS[form])
    dataset = Dataset.from_splits("mine", split, split, ["a", "b", "c"])
    assert dataset.train.labels.dtype == np.int64 and dataset.train.labels.flags.writeable
    assert np.array_equal(dataset.train.labels, Y) and np.array_equal(dataset.test.labels, Y)


BAD_LABELS: dict[str, tuple[Any, str]] = {
    "fractions": (Y + 0.5, "not whole"),
    "not a number": (np.where(Y, Y, np.nan), "not whole"),
    "soft": (np.full((12, 3), 1 / 3), "no one-hot rows"),
    "several a picture": (np.ones((12, 3)), "no one-hot rows"),
    "(n, 2, 1)": (np.zeros((12, 2, 1)), "not one a picture"),
    "too few": (Y[:5], "12 pictures and 5 labels"),
    "another name": (np.array(["a", "b", "z"])[Y], "'z'"),
    "from 1": (Y + 1, "labels 1..3 for 3 classes"),
    "unlabelled": (Y - 1, "labels -1..1 for 3 classes"),
    "ragged": ([[0], [1, 2], *Y[2:].tolist()], "labels are no"),
    "nothing": ([None] * 12, "no whole numbers"),
}


@pytest.mark.parametrize("form", BAD_LABELS)
def test_labels_that_are_none_are_refused(form: str) -> None:
    given, words = BAD_LABELS[form]
    with pytest.raises(FredbenchError, match=words) as caught:
        Dataset.from_splits("mine", Split(X, given), Split(X, Y), ["a", "b", "c"])
    assert caught.value.hint


@pytest.mark.parametrize("names", [[0, 1, 2], np.arange(3), (b"0", b"1", b"2"), ["0", "1", "2"]])
def test_class_names_become_text(names: Any) -> None:
    dataset = Dataset.from_splits("mine", Split(X, Y), Split(X, Y), names)
    assert dataset.classes == ("0", "1", "2") and all(type(name) is str for name in dataset.classes)


def test_two_classes_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="two classes are called '1'"):
        Dataset.from_splits("mine", Split(X, Y), Split(X, Y), [0, 1, "1"])


def test_splits_of_two_sizes_are_refused_at_once() -> None:
    with pytest.raises(DataError, match="the test split of mine has pictures of shape"):
        Dataset.from_splits("mine", Split(X, Y), Split(GREY, Y), ["a", "b", "c"])


@pytest.mark.parametrize(
    "given",
    [torch.from_numpy(WIDE), list(WIDE), [Image.fromarray(picture) for picture in WIDE], np.asfortranarray(WIDE),
     read_only(WIDE)],
    ids=["tensor", "list", "Pillow", "column-major", "read-only"],
)  # fmt: skip
def test_corrupt_takes_bytes_in_every_holder(given: Any) -> None:
    assert np.array_equal(corrupt(given, "fog", 2), corrupt(WIDE, "fog", 2))


@pytest.mark.parametrize(
    "given,words",
    [
        (WIDE / 255, "must be uint8"),
        (torch.from_numpy(WIDE).permute(0, 3, 1, 2), "channels first"),
        (WIDE[0].transpose(2, 0, 1), "channels first"),
        (WIDE[0], "one picture"),
        ([Image.fromarray(WIDE[0]).convert("RGBA")], "mode RGBA"),
    ],
)
def test_corrupt_refuses_what_may_be_meant_otherwise(given: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        corrupt(given, "fog", 2)
    assert caught.value.hint
