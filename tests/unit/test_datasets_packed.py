from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from dataset_forms import random_pictures
from PIL import Image

from fredbench.datasets import Dataset, Split, load_dataset
from fredbench.datasets.packing import pack_dataset, sheet_grid
from fredbench.datasets.verification import verify_dataset
from fredbench.foundation.errors import DataError, UsageError


def small_set(name: str = "mine", count: int = 1400, size: tuple[int, int] = (24, 32), channels: int = 3) -> Dataset:
    train = Split(random_pictures(count, size, channels), np.arange(count) % 3)
    test = Split(random_pictures(7, size, channels, seed=1), np.arange(7) % 3)
    return Dataset.from_splits(name, train, test, ["a", "b", "c"], flip=False)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return pack_dataset(small_set(), tmp_path / "mine")


def rewrite(folder: Path, change) -> None:
    path = folder / "dataset.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(("count", "size", "channels"), [(1400, (24, 32), 3), (5, (28, 28), 1), (3, (810, 650), 3)])
def test_packing_loses_nothing(tmp_path: Path, count: int, size: tuple[int, int], channels: int) -> None:
    before = small_set(count=count, size=size, channels=channels)
    out = pack_dataset(before, tmp_path / "mine")
    after = load_dataset(f"packed:{out}")
    np.testing.assert_array_equal(after.train.images, before.train.images)
    np.testing.assert_array_equal(after.test.labels, before.test.labels)
    assert after.fingerprint == before.fingerprint and after.test_fingerprint == before.test_fingerprint
    assert (after.title, after.classes, after.flip, after.partial) == ("mine", ("a", "b", "c"), False, {})
    assert after.mean == before.mean and after.channels == channels
    assert [report.problem for report in verify_dataset(after)] == ["", ""]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]


def test_sheets_are_about_a_million_pixels() -> None:
    assert sheet_grid((32, 32)) == (25, 40)
    assert sheet_grid((2000, 5000)) == (1, 1)


def test_embedded_digits_pack_and_load_under_their_name(tmp_path: Path) -> None:
    digits = load_dataset("digits")
    out = pack_dataset(digits, tmp_path / "digits")
    again = load_dataset(f"packed:{out}")
    assert again.fingerprint == digits.fingerprint and again.test_fingerprint == digits.test_fingerprint
    assert again.mean == digits.mean and not again.flip


def test_packing_never_writes_over_anything(tmp_path: Path, packed: Path) -> None:
    with pytest.raises(UsageError, match="not empty"):
        pack_dataset(small_set(), packed)


def test_an_interrupted_packing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fredbench.datasets.packing.write_json", stop)
    with pytest.raises(KeyboardInterrupt):
        pack_dataset(small_set(count=9), tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("harm", [flip_bit, cut, Path.unlink])
@pytest.mark.parametrize("file", ["train_00.webp", "train_labels.npy"])
def test_a_harmed_file_is_refused_and_named(packed: Path, harm, file: str) -> None:
    harm(packed / file)
    dataset = load_dataset(f"packed:{packed}")
    with pytest.raises(DataError, match=file) as caught:
        _ = dataset.train
    assert "\n" not in str(caught.value) and caught.value.hint
    assert len(dataset.test) == 7
    assert file in verify_dataset(load_dataset(f"packed:{packed}"))[0].problem


def test_a_sheet_without_checksum_is_still_checked_for_being_whole(packed: Path) -> None:
    def forget(values) -> None:
        values["splits"]["train"]["sha256"] = {}

    rewrite(packed, forget)
    cut(packed / "train_01.webp")
    with pytest.raises(DataError, match=r"train_01.webp as a picture"):
        _ = load_dataset(f"packed:{packed}").train


def swap_in(values, **changes) -> None:
    values["splits"]["train"] |= changes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v.update(format=2), "is of format 2"),
        (lambda v: v.pop("classes"), "lacks the key 'classes'"),
        (lambda v: v.update(picture=[32, 32]), "picture"),
        (lambda v: v.update(picture=None), "no picture size"),
        (lambda v: v["splits"].pop("train"), "no train split"),
        (lambda v: swap_in(v, form="tfrecord"), "tfrecord"),
        (lambda v: swap_in(v, count="many"), "count"),
        (lambda v: swap_in(v, files=["../secret.webp"]), "not a plain file name"),
        (lambda v: swap_in(v, labels="/etc/passwd"), "not a plain file name"),
    ],
)  # fmt: skip
def test_a_description_that_contradicts_the_form_is_refused(packed: Path, change, said: str) -> None:
    rewrite(packed, change)
    with pytest.raises(DataError, match=said):
        load_dataset(f"packed:{packed}")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: swap_in(v, count=1300), "not 1300 whole numbers"),
        (lambda v: swap_in(v, grid=[1, 40]), "do not hold"),
        (lambda v: v.update(picture=[16, 16, 3]), "sheet"),
        (lambda v: v.update(classes=["a", "b"]), r"labels 0\.\.2 for 2 classes"),
    ],
)
def test_a_description_that_contradicts_its_files_is_refused(packed: Path, change, said: str) -> None:
    rewrite(packed, change)
    with pytest.raises(DataError, match=said):
        _ = load_dataset(f"packed:{packed}").train


def test_no_json_and_no_folder_are_refused(tmp_path: Path, packed: Path) -> None:
    (packed / "dataset.json").write_text("{")
    with pytest.raises(DataError, match="cannot read"):
        load_dataset(f"packed:{packed}")
    with pytest.raises(DataError, match="is no packed dataset"):
        load_dataset(f"packed:{tmp_path / 'nowhere'}")


def test_without_a_test_split_the_last_quarter_is_held_out(packed: Path) -> None:
    whole = load_dataset(f"packed:{packed}").train
    rewrite(packed, lambda values: values["splits"].pop("test"))
    dataset = load_dataset(f"packed:{packed}")
    assert len(dataset.train) == 1050 and len(dataset.test) == 350
    np.testing.assert_array_equal(dataset.test.images, whole.images[1050:])
    assert any("last 25 % in file order" in note for note in dataset.notes) and "absent" in dataset.partial["test"]


def test_a_known_name_must_tell_the_truth(tmp_path: Path) -> None:
    train = Split(random_pictures(20), np.arange(20) % 10)
    fake = Dataset.from_splits("cifar10", train, train, [str(c) for c in range(10)])
    pack_dataset(fake, tmp_path / "cifar10")
    with pytest.raises(DataError, match="its classes are not that set's"):
        load_dataset("cifar10", root=tmp_path)
    other = pack_dataset(small_set("svhn"), tmp_path / "svhn")
    rewrite(other, lambda values: values.update(classes=list("0123456789")))
    with pytest.raises(DataError, match=r"not \(32, 32, 3\)"):
        load_dataset("svhn", root=tmp_path)


def test_a_small_copy_of_a_known_set_says_that_it_is_partial(tmp_path: Path) -> None:
    split = Split(random_pictures(40), np.arange(40) % 10)
    pack_dataset(Dataset.from_splits("svhn", split, split, list("0123456789")), tmp_path / "svhn")
    assert load_dataset("svhn", root=tmp_path).partial == {"train": "40 of 73257", "test": "40 of 26032"}


def jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def write_zip_set(folder: Path, pictures: list[np.ndarray], picture: list[int] | None) -> list[bytes]:
    folder.mkdir()
    files = [jpeg(pixels) for pixels in pictures]
    with zipfile.ZipFile(folder / "train.zip", "w") as archive:
        for number, data in enumerate(files):
            archive.writestr(f"c{number % 2}/{number}.jpg", data)
    np.save(folder / "train_labels.npy", np.arange(len(files), dtype=np.uint8) % 2)
    digest = hashlib.sha256((folder / "train.zip").read_bytes()).hexdigest()
    record = {"form": "zip-jpeg", "files": ["train.zip"], "count": len(files), "labels": "train_labels.npy"}
    values = {"format": 1, "name": "photos", "picture": picture, "classes": ["x", "y"]}
    values["splits"] = {"train": record | {"sha256": {"train.zip": digest}}}
    (folder / "dataset.json").write_text(json.dumps(values))
    return files


def test_zips_of_jpegs_are_read_in_their_order_grey_ones_as_rgb(tmp_path: Path) -> None:
    pictures = [random_pictures(1, (40, 30), seed=seed)[0] for seed in range(8)]
    pictures[3] = pictures[3][..., 0]
    files = write_zip_set(tmp_path / "photos", pictures, [40, 30, 3])
    dataset = load_dataset(f"packed:{tmp_path / 'photos'}")
    theirs = np.stack([np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in files])
    np.testing.assert_array_equal(np.concatenate([dataset.train.images, dataset.test.images]), theirs)
    assert dataset.size == (40, 30) and dataset.classes == ("x", "y")


def test_jpegs_of_varying_size_ask_how_to_resize(tmp_path: Path) -> None:
    pictures = [random_pictures(1, (40, 30 + seed), seed=seed)[0] for seed in range(8)]
    write_zip_set(tmp_path / "photos", pictures, None)
    name = f"packed:{tmp_path / 'photos'}"
    with pytest.raises(DataError, match=r"\?size=64"):
        load_dataset(name)
    dataset = load_dataset(f"{name}?size=16&geometry=crop")
    assert dataset.train.images.shape == (6, 16, 16, 3) and "centre crop" in dataset.notes[0]


def test_a_harmed_zip_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    write_zip_set(folder, [random_pictures(1, seed=seed)[0] for seed in range(8)], [32, 32, 3])
    flip_bit(folder / "train.zip")
    with pytest.raises(DataError, match=r"train.zip is altered"):
        _ = load_dataset(f"packed:{folder}").train
    rewrite(folder, lambda values: values["splits"]["train"].update(sha256={}))
    cut(folder / "train.zip")
    with pytest.raises(DataError, match="train archives"):
        _ = load_dataset(f"packed:{folder}").train


def test_real_cifar_is_the_published_one(real_data: Path) -> None:
    cifar = load_dataset("cifar10", root=real_data, offline=True)
    # SHA-256 of the pixels, as stated beside the data.
    assert (
        hashlib.sha256(cifar.test.images.tobytes()).hexdigest()
        == "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04"
    )
    assert np.bincount(cifar.test.labels).tolist() == [1000] * 10
    assert cifar.partial == {} and cifar.mean == (0.4914, 0.4822, 0.4465) and cifar.flip


def test_real_partial_sets_say_so(real_data: Path) -> None:
    cifar = load_dataset("cifar100", root=real_data, offline=True)
    assert cifar.partial == {"train": "first 100 of 500 a class, 10000 of 50000"}
    assert len(cifar.classes) == 100 and np.bincount(cifar.train.labels).tolist() == [100] * 100
    svhn = load_dataset("svhn", root=real_data, offline=True)
    assert svhn.partial["train"] == "first 1083 of 73257" and len(svhn.train) + len(svhn.test) == 1083
    assert svhn.partial["test"].startswith("absent") and not svhn.flip


def test_real_imagewoof_is_mapped_to_the_literatures_label_order(real_data: Path) -> None:
    woof = load_dataset("imagewoof", root=real_data, offline=True)
    assert woof.classes[0] == "Australian terrier" and woof.classes[7] == "dingo"
    described = json.loads((real_data / "imagewoof" / "dataset.json").read_text())
    stored = np.load(real_data / "imagewoof" / "val_labels.npy")
    with zipfile.ZipFile(real_data / "imagewoof" / "val.zip") as archive:
        names = archive.namelist()
        terriers = [n for n, label in zip(names, stored, strict=True) if described["wnids"][label] == "n02096294"]
        first = np.asarray(Image.open(io.BytesIO(archive.read(terriers[0]))).convert("RGB"))
    assert described["classes"][0] != "Australian terrier" and terriers[0].startswith("n02096294/")
    np.testing.assert_array_equal(woof.test.images[0], first)
    assert np.bincount(woof.test.labels).tolist() == [40] * 10 and (np.diff(woof.test.labels) >= 0).all()
    assert woof.notes == ("pictures stored at 128x128 pixels",) and woof.stored_size == (128, 128)


def test_real_imagenette_is_resized_as_said(real_data: Path) -> None:
    nette = load_dataset("imagenette", root=real_data, offline=True)
    with zipfile.ZipFile(real_data / "imagenette" / "val.zip") as archive:
        data = archive.read(archive.namelist()[0])
    theirs = Image.open(io.BytesIO(data)).convert("RGB").resize((128, 128), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(nette.test.images[0], np.asarray(theirs))
    assert "224x224" in nette.notes[0] and "squashed" in nette.notes[0] and "anti-aliased" in nette.notes[0]
    rough = load_dataset("imagenette?antialias=no", root=real_data, offline=True)
    assert rough.name == "imagenette?antialias=no" and rough.test.fingerprint != nette.test.fingerprint


def test_a_packed_copy_of_a_subset_keeps_its_provenance(real_data: Path, tmp_path: Path) -> None:
    woof = load_dataset("imagewoof?size=64", root=real_data, offline=True)
    pack_dataset(woof, tmp_path / "imagewoof")
    again = load_dataset("imagewoof?size=64", root=tmp_path)
    assert again.fingerprint == woof.fingerprint and again.stored_size == (128, 128)
    assert again.partial == woof.partial and any("stored at 128x128" in note for note in again.notes)


def test_a_corrupt_copy_of_real_sheets_is_refused(real_data: Path, tmp_path: Path) -> None:
    shutil.copytree(real_data / "svhn", tmp_path / "svhn", copy_function=shutil.copyfile)
    (tmp_path / "svhn").chmod(0o755)
    cut(tmp_path / "svhn" / "train_00.webp")
    with pytest.raises(DataError, match="altered or cut off"):
        _ = load_dataset("svhn", root=tmp_path, offline=True).train
