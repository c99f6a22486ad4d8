from __future__ import annotations

import hashlib

import numpy as np
import pytest
from dataset_forms import random_pictures
from hypothesis import given, settings
from hypothesis import strategies as st

from fredbench.datasets import (
    DATASETS,
    PREFIXES,
    Dataset,
    Split,
    carve_validation,
    channel_statistics,
    load_dataset,
)
from fredbench.datasets.catalogue import split_name
from fredbench.datasets.core import hold_out
from fredbench.foundation.errors import DataError, UnknownNameError, UsageError


def split_of(labels: list[int], seed: int = 0) -> Split:
    return Split(random_pictures(len(labels), (4, 6), seed=seed), np.array(labels, dtype=np.int64))


def test_fingerprint_is_the_sha256_of_shape_pixels_and_labels() -> None:
    split = split_of([0, 1, 1])
    said = b"[3,4,6,3]" + split.images.tobytes() + split.labels.tobytes()
    assert split.fingerprint == hashlib.sha256(said).hexdigest()


def test_fingerprint_sees_a_pixel_a_label_a_shape_and_an_order() -> None:
    split = split_of([0, 1, 1, 0])
    pixel = split.images.copy()
    pixel[2, 1, 1, 1] ^= 1
    others = [
        Split(pixel, split.labels),
        Split(split.images, np.array([0, 1, 1, 1])),
        Split(split.images.reshape(4, 6, 4, 3), split.labels),
        split.take(np.array([1, 0, 2, 3])),
    ]
    assert len({split.fingerprint, *(other.fingerprint for other in others)}) == 5
    # Memory layout is no content.
    assert Split(np.asfortranarray(split.images), split.labels).fingerprint == split.fingerprint


def test_a_split_needs_a_label_for_every_picture() -> None:
    with pytest.raises(DataError, match="0 pictures and 0 labels"):
        Split(np.zeros((0, 4, 4, 3), np.uint8), np.zeros(0, np.int64))


def test_class_indices_are_in_file_order() -> None:
    assert split_of([1, 0, 1, 2, 1]).class_indices(1).tolist() == [0, 2, 4]
    assert split_of([1, 0]).class_indices(7).tolist() == []


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(2, 30), min_size=1, max_size=6),
    fraction=st.sampled_from([0.1, 0.25, 0.5]),
    seed=st.integers(0, 99),
)
def test_validation_is_the_last_share_of_each_class(counts: list[int], fraction: float, seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    np.random.default_rng(seed).shuffle(labels)
    # Pictures that carry their own position, so that order can be read off.
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    train, validation = carve_validation(Split(images, labels), fraction)
    for label, count in enumerate(counts):
        members = np.flatnonzero(labels == label)
        wanted = min(max(int(count * fraction + 0.5), 1), count - 1)
        kept, carved = (
            train.images[train.labels == label].ravel(),
            validation.images[validation.labels == label].ravel(),
        )
        assert carved.tolist() == members[-wanted:].tolist()
        assert kept.tolist() == members[:-wanted].tolist()
    assert (np.diff(train.images.ravel().astype(int)) > 0).all()


def test_validation_refuses_what_cannot_be() -> None:
    with pytest.raises(UsageError, match=r"1.5"):
        carve_validation(split_of([0, 0]), 1.5)
    with pytest.raises(DataError, match="class 1 has one picture"):
        carve_validation(split_of([0, 0, 1]))


def test_holding_out_takes_the_last_quarter_in_file_order_where_classes_are_mixed() -> None:
    labels = np.arange(100) % 3
    kept, held, note = hold_out(labels)
    assert kept.tolist() == list(range(75)) and held.tolist() == list(range(75, 100))
    assert "25 of 100" in note and "each class" not in note


def test_holding_out_goes_class_by_class_where_files_are_sorted_by_class() -> None:
    kept, held, note = hold_out(np.repeat([0, 1], [8, 4]))
    assert held.tolist() == [6, 7, 11] and kept.tolist() == [0, 1, 2, 3, 4, 5, 8, 9, 10]
    assert "of each class" in note and "3 of 12" in note


def test_channel_statistics_are_those_of_all_pixels() -> None:
    images = random_pictures(50, (7, 5), seed=3)
    images[..., 1] //= 3
    mean, std = channel_statistics(images)
    pixels = images.reshape(-1, 3) / 255
    np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, pixels.std(axis=0), rtol=1e-12)


def test_an_unknown_set_is_normalised_by_its_training_pixels_and_read_once() -> None:
    train, test = split_of([0, 1, 0, 1]), split_of([1, 0], seed=1)
    dataset = Dataset.from_splits("mine", train, test, ["a", "b"])
    mean, std = channel_statistics(train.images)
    assert dataset.mean == tuple(mean) and dataset.std == tuple(std)
    assert dataset.train is dataset.train and dataset.partial == {} and dataset.size == (4, 6)
    assert dataset.fingerprint != dataset.test_fingerprint
    renamed = Dataset.from_splits("mine", train, test, ["a", "c"])
    assert renamed.fingerprint != dataset.fingerprint


def test_a_channel_without_contrast_does_not_divide_by_nothing() -> None:
    flat = Split(np.full((4, 2, 2, 3), 9, np.uint8), np.array([0, 1, 0, 1]))
    assert min(Dataset.from_splits("flat", flat, flat, ["a", "b"]).std) > 0


def test_labels_outside_the_classes_are_refused() -> None:
    with pytest.raises(DataError, match=r"train split of mine has labels 0\.\.2 for 2 classes") as caught:
        Dataset.from_splits("mine", split_of([0, 2]), split_of([0, 1]), ["a", "b"])
    assert "fetch" not in caught.value.hint, "arrays in memory are fetched from nowhere"


def test_every_registered_set_is_complete_and_said_in_one_line() -> None:
    assert list(DATASETS) == [
        "digits", "cifar10", "cifar100", "svhn", "imagenette", "imagewoof", "imagefruit", "imageyellow",
        "imagemeow", "imagesquawk", "tiny-imagenet", "mnist", "fashion-mnist",
    ]  # fmt: skip
    assert list(PREFIXES) == ["folder", "packed"]
    for name in DATASETS:
        family = DATASETS.get(name)
        assert family.name == name and DATASETS.summary(name) and "\n" not in DATASETS.summary(name)
        assert len(family.mean) == len(family.std) == family.channels
        assert len(set(family.classes)) == len(family.classes) >= 10
        assert all(file.md5 or file.sha256 for file in family.remote)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="cifar10"):
        load_dataset("cifar-10")
    with pytest.raises(UnknownNameError, match="dataset prefix 'folders'"):
        load_dataset("folders:here")
    with pytest.raises(UsageError, match="names no folder"):
        load_dataset("packed:")
    with pytest.raises(UsageError, match="one size only"):
        load_dataset("digits?size=64")
    with pytest.raises(UsageError, match="colour=blue"):
        load_dataset("imagenette?colour=blue")


def test_options_follow_the_last_question_mark() -> None:
    assert split_name("folder:/a?b/c?size=64&geometry=crop") == (
        "folder:/a?b/c",
        {"size": "64", "geometry": "crop"},
    )
    assert split_name("folder:/what?") == ("folder:/what?", {})
    assert split_name("folder:/what?ever") == ("folder:/what?ever", {})
