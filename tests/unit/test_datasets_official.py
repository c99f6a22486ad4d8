from __future__ import annotations

import gzip
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from dataset_forms import (
    cifar10_batches,
    idx,
    planes,
    python2_batch,
    random_pictures,
    write_archive,
    write_folder,
)
from scipy.io import savemat

from fredbench.datasets import load_dataset
from fredbench.datasets.unpickling import restricted_loads
from fredbench.datasets.verification import verify_dataset
from fredbench.foundation.errors import DataError

TRAIN = (random_pictures(100, seed=1), np.arange(100) % 10)
TEST = (random_pictures(20, seed=2), np.arange(20) % 10)
ARCHIVE, FOLDER = "cifar-10-python.tar.gz", "cifar-10-batches-py"


def check(root: Path, name: str = "cifar10") -> None:
    dataset = load_dataset(name, root=root, offline=True)
    for split, (images, labels) in ((dataset.train, TRAIN), (dataset.test, TEST)):
        np.testing.assert_array_equal(split.images, images)
        np.testing.assert_array_equal(split.labels, labels)
    assert dataset.partial == {"train": "100 of 50000", "test": "20 of 10000"}


@pytest.mark.parametrize("below", ["", "cifar10"])
def test_cifar10_archive_and_folder_give_the_pictures(tmp_path: Path, below: str) -> None:
    files = cifar10_batches(TRAIN, TEST)
    write_archive(tmp_path / "a" / below / ARCHIVE, FOLDER, files)
    write_folder(tmp_path / "b" / below / FOLDER, files)
    check(tmp_path / "a")
    check(tmp_path / "b")


def test_the_batches_own_folder_can_be_the_data_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "batches", cifar10_batches(TRAIN, TEST))
    check(tmp_path / "batches")


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_batches_pickled_anew_by_python3_are_read(tmp_path: Path, protocol: int) -> None:
    files = {
        f"data_batch_{i + 1}": pickle.dumps({"data": planes(x), "labels": y.tolist()}, protocol=protocol)
        for i, (x, y) in enumerate(zip(np.array_split(TRAIN[0], 5), np.array_split(TRAIN[1], 5), strict=True))
    }
    files["test_batch"] = pickle.dumps({b"data": planes(TEST[0]), b"labels": list(TEST[1])}, protocol=protocol)
    write_folder(tmp_path / FOLDER, files)
    check(tmp_path)


def test_cifar100_reads_fine_labels(tmp_path: Path) -> None:
    labels = np.arange(30) * 3
    files = {
        part: python2_batch(planes(random_pictures(30, seed=4)), labels, "fine_labels") for part in ("train", "test")
    }
    write_archive(tmp_path / "cifar-100-python.tar.gz", "cifar-100-python", files)
    dataset = load_dataset("cifar100", root=tmp_path, offline=True)
    np.testing.assert_array_equal(dataset.train.labels, labels)
    np.testing.assert_array_equal(dataset.test.images, random_pictures(30, seed=4))


def test_a_whole_archive_is_preferred_to_a_partial_pack(tmp_path: Path) -> None:
    from fredbench.datasets.packing import pack_dataset

    write_archive(tmp_path / ARCHIVE, FOLDER, cifar10_batches(TRAIN, TEST))
    small = load_dataset("cifar10", root=tmp_path, offline=True)
    pack_dataset(small, tmp_path / "cifar10")
    again = load_dataset("cifar10", root=tmp_path, offline=True)
    assert again.source.form == "official archive"
    (tmp_path / ARCHIVE).unlink()
    packed = load_dataset("cifar10", root=tmp_path, offline=True)
    assert packed.source.form == "packed" and packed.fingerprint == small.fingerprint


@pytest.mark.parametrize("keep", [10, 0.3, 0.9, -9])
def test_a_cut_off_archive_is_refused(tmp_path: Path, keep: float) -> None:
    path = tmp_path / ARCHIVE
    write_archive(path, FOLDER, cifar10_batches(TRAIN, TEST))
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if 0 < keep < 1 else int(keep)])
    with pytest.raises(DataError, match="cut off") as caught:
        _ = load_dataset("cifar10", root=tmp_path, offline=True).train
    assert "data fetch cifar10" in caught.value.hint and "\n" not in str(caught.value)


def test_a_flipped_bit_in_an_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ARCHIVE
    write_archive(path, FOLDER, cifar10_batches(TRAIN, TEST))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)
    dataset = load_dataset("cifar10", root=tmp_path, offline=True)
    for part in ("train", "test"):
        with pytest.raises(DataError, match="damaged"):
            getattr(dataset, part)


def test_a_cut_off_or_missing_batch_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / FOLDER, cifar10_batches(TRAIN, TEST))
    batch = tmp_path / FOLDER / "data_batch_3"
    batch.write_bytes(batch.read_bytes()[:-5000])
    with pytest.raises(DataError, match="data_batch_3 is cut off"):
        _ = load_dataset("cifar10", root=tmp_path, offline=True).train
    batch.unlink()
    with pytest.raises(DataError, match="data_batch_3: No such file"):
        _ = load_dataset("cifar10", root=tmp_path, offline=True).train


@pytest.mark.parametrize(
    "batch",
    [
        {"data": TRAIN[0], "labels": [0] * 100},
        {"data": planes(TRAIN[0]), "labels": [0] * 99},
        {"data": planes(TRAIN[0]).astype(np.int16), "labels": [0] * 100},
        {"data": planes(TRAIN[0]), "labels": ["cat"] * 100},
        {"data": planes(TRAIN[0])},
        [1, 2, 3],
    ],
)
def test_a_batch_of_another_shape_is_refused(tmp_path: Path, batch: object) -> None:
    write_folder(tmp_path / FOLDER, {"test_batch": pickle.dumps(batch)})
    with pytest.raises(DataError, match="test_batch"):
        _ = load_dataset("cifar10", root=tmp_path, offline=True).test


class _Evil:
    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_a_pickle_that_names_anything_else_is_refused_and_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    for evil in (
        _Evil(os.system, f"touch {trace}"),
        _Evil(eval, f"open({str(trace)!r}, 'w')"),
        _Evil(np.load, str(trace)),
        _Evil(getattr, {}, "clear"),
    ):
        with pytest.raises(DataError, match="does not need"):
            restricted_loads(pickle.dumps({"data": evil}), "a batch")
    assert not trace.exists()


def test_arrays_of_objects_are_refused() -> None:
    with pytest.raises(DataError, match="not expected here"):
        restricted_loads(pickle.dumps({"data": np.array([{}, []], dtype=object)}), "a batch")


@pytest.mark.parametrize("data", [b"", b"\x80\x05", b"not a pickle", pickle.dumps({"a": 1})[:-3]])
def test_what_is_no_pickle_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="a batch is cut off or no batch"):
        restricted_loads(data, "a batch")


def test_the_official_form_of_real_cifar10_is_the_packed_one(real_data: Path, tmp_path: Path) -> None:
    packed = load_dataset("cifar10", root=real_data, offline=True)
    files = cifar10_batches((packed.train.images, packed.train.labels), (packed.test.images, packed.test.labels))
    write_archive(tmp_path / ARCHIVE, FOLDER, files, level=0)
    archive = load_dataset("cifar10", root=tmp_path, offline=True)
    np.testing.assert_array_equal(archive.train.images, packed.train.images)
    np.testing.assert_array_equal(archive.test.labels, packed.test.labels)
    assert archive.fingerprint == packed.fingerprint and archive.test_fingerprint == packed.test_fingerprint
    assert archive.partial == {} and archive.source.form == "official archive"
    # Its bytes are not the published archive's, but what it holds was compared with the published set.
    assert [report.problem for report in verify_dataset(archive)] == ["", ""]

    files["data_batch_2"] = files["data_batch_1"]
    write_folder(tmp_path / "b" / FOLDER, files)
    with pytest.raises(DataError, match=r"train split of cifar10 .* is altered"):
        _ = load_dataset("cifar10", root=tmp_path / "b", offline=True).train


def write_svhn(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    images, digits = random_pictures(40, seed=5), np.arange(40) % 10
    official = np.where(digits == 0, 10, digits).astype(np.uint8)[:, None]
    for part in ("train", "test"):
        values = {"X": images.transpose(1, 2, 3, 0), "y": official}
        savemat(folder / f"{part}_32x32.mat", values, do_compression=True)
    return images, digits


@pytest.mark.parametrize("below", ["", "svhn", "SVHN"])
def test_svhn_matlab_files_write_ten_for_zero(tmp_path: Path, below: str) -> None:
    images, digits = write_svhn(tmp_path / below)
    dataset = load_dataset("svhn", root=tmp_path, offline=True)
    np.testing.assert_array_equal(dataset.train.images, images)
    np.testing.assert_array_equal(dataset.test.labels, digits)
    assert dataset.test is dataset.test and dataset.partial["test"] == "40 of 26032"
    problems = [report.problem for report in verify_dataset(dataset)]
    assert "md5 is not the recorded one" in problems[0]


@pytest.mark.parametrize("keep", [0, 100, 0.5, -1])
def test_a_cut_off_matlab_file_is_refused(tmp_path: Path, keep: float) -> None:
    write_svhn(tmp_path)
    path = tmp_path / "train_32x32.mat"
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if 0 < keep < 1 else int(keep)])
    with pytest.raises(DataError, match=r"train_32x32.mat"):
        _ = load_dataset("svhn", root=tmp_path, offline=True).train
    (tmp_path / "test_32x32.mat").unlink()
    with pytest.raises(DataError, match="missing beside its twin"):
        load_dataset("svhn", root=tmp_path, offline=True)


def write_mnist(folder: Path, packed: bool) -> tuple[np.ndarray, np.ndarray]:
    folder.mkdir(parents=True)
    images, labels = random_pictures(30, (28, 28), 1, seed=6), np.arange(30) % 10
    for part in ("train", "t10k"):
        for name, data in (("images-idx3", idx(images[..., 0])), ("labels-idx1", idx(labels))):
            path = folder / f"{part}-{name}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(data) if packed else data)
    return images, labels


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("name", "below"), [("mnist", "mnist"), ("mnist", "MNIST/raw"), ("fashion-mnist", "FashionMNIST/raw")]
)
def test_idx_files_are_read_where_torchvision_leaves_them(tmp_path: Path, packed: bool, name: str, below: str) -> None:
    images, labels = write_mnist(tmp_path / below, packed)
    dataset = load_dataset(name, root=tmp_path, offline=True)
    np.testing.assert_array_equal(dataset.train.images, images)
    np.testing.assert_array_equal(dataset.test.labels, labels)
    assert dataset.channels == 1 and dataset.size == (28, 28) and dataset.flip == (name != "mnist")


@pytest.mark.parametrize("packed", [True, False])
def test_a_cut_off_idx_file_is_refused(tmp_path: Path, packed: bool) -> None:
    write_mnist(tmp_path / "mnist", packed)
    path = tmp_path / "mnist" / f"train-images-idx3-ubyte{'.gz' if packed else ''}"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.* cut off"):
        _ = load_dataset("mnist", root=tmp_path, offline=True).train
    path.unlink()
    with pytest.raises(DataError, match="lacks train-images"):
        load_dataset("mnist", root=tmp_path, offline=True)


def test_torchvision_reads_the_same_pictures_from_the_same_files(tmp_path: Path) -> None:
    from torchvision.datasets import MNIST

    write_mnist(tmp_path / "MNIST" / "raw", packed=False)
    theirs = MNIST(tmp_path, train=False, download=False)
    ours = load_dataset("mnist", root=tmp_path, offline=True).test
    np.testing.assert_array_equal(ours.images[..., 0], theirs.data.numpy())
    np.testing.assert_array_equal(ours.labels, theirs.targets.numpy())


def test_a_missing_set_names_the_places_and_the_mending(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cifar-10-batches-py") as caught:
        load_dataset("cifar10", root=tmp_path, offline=True)
    assert str(tmp_path) in caught.value.message
    assert "fredbench data fetch cifar10" in caught.value.hint and "--data" in caught.value.hint


def test_the_environment_names_the_root_and_forbids_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_svhn(tmp_path)
    monkeypatch.setenv("FREDBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("FREDBENCH_OFFLINE", "1")

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("the network was tried")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    assert len(load_dataset("svhn").test) == 40
    with pytest.raises(DataError):
        load_dataset("mnist")


@pytest.mark.parametrize("shape", [(-1, 1), (1, -1), (-1, 5)])
def test_labels_of_another_shape_are_named_by_it(tmp_path: Path, shape: tuple[int, int]) -> None:
    """Keras hands out (n, 1); saved as such, the number of pictures is right and the labels are not."""
    images, labels = TRAIN[0][:20], TRAIN[1][:20].reshape(shape)
    batch = pickle.dumps({"data": planes(images), "labels": labels}, protocol=2)
    write_folder(tmp_path / FOLDER, {**cifar10_batches(TRAIN, TEST), "data_batch_1": batch})
    with pytest.raises(DataError, match=r"data_batch_1 has labels of shape \(") as caught:
        _ = load_dataset("cifar10", root=tmp_path, offline=True).train
    assert str(labels.shape) in caught.value.message and "reshape(-1)" in caught.value.hint


@pytest.mark.parametrize("strange", [11, 200])
def test_svhn_labels_that_are_no_digits_are_named(tmp_path: Path, strange: int) -> None:
    for part in ("train", "test"):
        values = {"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.array([[1], [strange], [10], [0]])}
        savemat(tmp_path / f"{part}_32x32.mat", values)
    with pytest.raises(DataError, match=rf"train_32x32\.mat has labels in y that are none of 0 to 10: {strange}"):
        _ = load_dataset("svhn", root=tmp_path, offline=True).train


@pytest.mark.parametrize("head", [b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n"])
def test_matlab_files_of_the_newer_form_are_called_so(tmp_path: Path, head: bytes) -> None:
    for part in ("train", "test"):
        (tmp_path / f"{part}_32x32.mat").write_bytes(head + bytes(2000))
    with pytest.raises(DataError, match=r"MATLAB 7\.3 file") as caught:
        _ = load_dataset("svhn", root=tmp_path, offline=True).train
    assert "-v7" in caught.value.hint and "fetch" not in caught.value.hint
