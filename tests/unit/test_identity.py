"""Known sets are what their content says, not what their files or folders are called."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dataset_forms import idx, random_pictures

from fredbench.datasets import Dataset, Split, load_dataset
from fredbench.datasets.core import FileRecord, Source
from fredbench.datasets.known import mnist
from fredbench.datasets.known.mnist import FASHION_MNIST, MNIST, find_idx
from fredbench.datasets.packing import pack_dataset
from fredbench.datasets.verification import verify_dataset
from fredbench.foundation.errors import DataError

COUNTS = {"train": 40, "test": 20}
SMALL = {
    name: replace(family, published=COUNTS) for name, family in (("mnist", MNIST), ("fashion-mnist", FASHION_MNIST))
}


def split_of(part: str, seed: int) -> Split:
    count = COUNTS[part]
    return Split(random_pictures(count, (28, 28), 1, seed), np.arange(count) % 10)


def write_idx(folder: Path, seed: int, *, packed: bool, counts: dict[str, int] | None = None) -> None:
    folder.mkdir(parents=True)
    for part, stem in (("train", "train"), ("test", "t10k")):
        split, count = split_of(part, seed), (counts or COUNTS)[part]
        for name, array in (("images-idx3", split.images[:count, ..., 0]), ("labels-idx1", split.labels[:count])):
            data = idx(array)
            file = folder / f"{stem}-{name}-ubyte{'.gz' if packed else ''}"
            file.write_bytes(gzip.compress(data, 1) if packed else data)


@pytest.fixture(autouse=True)
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small sets stand for the published ones: MNIST of seed 1, Fashion-MNIST of seed 2."""
    known = {
        f"{name} {part}": (
            mnist._idx_md5(split_of(part, seed).images[..., 0]),
            mnist._idx_md5(split_of(part, seed).labels.astype(np.uint8)),
        )
        for name, seed in (("mnist", 1), ("fashion-mnist", 2))
        for part in COUNTS
    }
    monkeypatch.setattr(mnist, "_CONTENT", known)


def found(name: str, root: Path) -> Dataset:
    source = find_idx(SMALL[name], root, None)
    assert source is not None
    return SMALL[name].dataset(source)


@pytest.mark.parametrize("packed", [False, True])
def test_the_published_content_has_its_name_in_every_container(tmp_path: Path, packed: bool) -> None:
    write_idx(tmp_path / "mnist", 1, packed=packed)
    dataset = found("mnist", tmp_path)
    assert (dataset.title, len(dataset.train), len(dataset.test)) == ("mnist", 40, 20)
    # Compressed by another program is the same content.
    assert [report.problem for report in verify_dataset(dataset)] == ["", ""]


@pytest.mark.parametrize("packed", [False, True])
def test_fashion_in_the_folder_of_mnist_is_told_apart(tmp_path: Path, packed: bool) -> None:
    write_idx(tmp_path / "mnist", 2, packed=packed)
    dataset = found("mnist", tmp_path)
    with pytest.raises(DataError, match="it is the train split of fashion-mnist") as caught:
        _ = dataset.train
    assert "mnist-like" in caught.value.hint
    assert all(report.problem for report in verify_dataset(dataset))


def test_unknown_content_is_refused_under_the_name_and_taken_under_another(tmp_path: Path) -> None:
    write_idx(tmp_path / "mnist", 3, packed=False)
    with pytest.raises(DataError, match="another MD5 than the published"):
        _ = found("mnist", tmp_path).test
    dataset = load_dataset("mnist-like", root=tmp_path, offline=True)
    assert (dataset.name, dataset.title, len(dataset.train)) == ("mnist-like", "mnist-like", 40)
    assert dataset.mean != MNIST.mean and any("not compared" in note for note in dataset.notes)
    assert [report.problem for report in verify_dataset(dataset)] == ["", ""]


@pytest.mark.parametrize("packed", [False, True])
def test_another_count_is_another_set(tmp_path: Path, packed: bool, capsys: pytest.CaptureFixture[str]) -> None:
    write_idx(tmp_path / "mnist", 1, packed=packed, counts={"train": 30, "test": 20})
    dataset = load_dataset("mnist", root=tmp_path, offline=True)
    assert dataset.name == dataset.title == "mnist-like" and len(dataset.train) == 30
    said = capsys.readouterr().err
    assert "holds 30 pictures, not 60,000" in said and "mnist-like" in said
    # The name under which a run is kept finds the same pictures again.
    assert load_dataset(dataset.name, root=tmp_path, offline=True).fingerprint == dataset.fingerprint


def test_a_packed_folder_called_mnist_is_compared_too(tmp_path: Path) -> None:
    from fredbench.datasets.packed import find_packed

    for seed in (1, 3):
        splits = [split_of(part, seed) for part in COUNTS]
        pack_dataset(Dataset.from_splits("mnist", *splits, MNIST.classes), tmp_path / str(seed) / "mnist")
    for seed in (1, 3):
        source = find_packed(SMALL["mnist"], tmp_path / str(seed), None)
        assert source is not None
        dataset = SMALL["mnist"].dataset(source)
        if seed == 1:
            assert len(dataset.train) == 40
        else:
            with pytest.raises(DataError, match="altered or another set"):
                _ = dataset.train


def test_where_only_files_are_known_their_checksums_decide(tmp_path: Path) -> None:
    """SVHN, and CIFAR-100's training split: a whole count under another MD5 is no published set."""
    file = tmp_path / "train_32x32.mat"
    file.write_bytes(b"other bytes")
    split = split_of("train", 1)
    for digest, fine in (("d41d8cd98f00b204e9800998ecf8427e", False), (None, True)):
        import hashlib

        known = digest or hashlib.md5(b"other bytes", usedforsecurity=False).hexdigest()
        source = Source("MATLAB files", tmp_path, {"train": lambda: split}, files=(FileRecord(file, "md5", known),))
        dataset = Dataset("svhn", "svhn", MNIST.classes, 1, (28, 28), False, source, published={"train": 40})
        if fine:
            assert len(dataset.train) == 40
        else:
            with pytest.raises(DataError, match=r"train_32x32\.mat has another MD5") as caught:
                _ = dataset.train
            assert "svhn-like" in caught.value.hint
