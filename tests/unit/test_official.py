"""Published test pictures: ImageNet-C's folders and CIFAR-10.1's arrays, in place of pictures made here."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from spine import cifar_like
from test_framing import SUITE, WNIDS, packed, tree

from fredbench.datasets import Dataset, load_dataset, official
from fredbench.datasets.imagenet_c import CATEGORIES, ImageNetC
from fredbench.datasets.shifted import find_shifted
from fredbench.evaluation.domains import TestDomains
from fredbench.evaluation.rows import CLEAN, CLEAN_CROP
from fredbench.foundation.errors import DataError
from fredbench.foundation.files import sha256_of
from fredbench.suites.corruption import CorruptionSuite, suite_named

SHIFT = suite_named("cifar101").shift


def write_archive(root: Path, *, category: str = "", severities: tuple[int, ...] = (1, 3), each: int = 2) -> Path:
    """`root`/ImageNet-C with one corruption; a picture's grey level says its class and severity, and which it is."""
    folder = root / "ImageNet-C"
    for severity in severities:
        for label, wnid in enumerate(WNIDS):
            inside = folder / category / "fog" / str(severity) / wnid
            inside.mkdir(parents=True, exist_ok=True)
            for number in range(each):
                level = 20 * label + 10 * number + severity
                Image.new("RGB", (224, 224), (level,) * 3).save(inside / f"ILSVRC2012_val_{number}.JPEG")
    # A class that the subset does not have.
    (folder / category / "fog" / "1" / "n99999999").mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return packed(tmp_path_factory.mktemp("packed"), 128)


def test_a_folder_that_was_generated_is_not_the_published_set(tmp_path: Path) -> None:
    folder = write_archive(tmp_path)
    (folder / "manifest.json").write_text("{}")
    assert TestDomains.official_folder(SUITE, tmp_path) is None


@pytest.mark.parametrize("category", ["", *CATEGORIES])
def test_folders_are_read_in_place_of_generating(tmp_path: Path, small: Dataset, category: str) -> None:
    folder = write_archive(tmp_path, category=category)
    assert TestDomains.official_folder(SUITE, tmp_path) == folder
    found = TestDomains(SUITE, small, (1, 3), official=folder)
    assert found.source == "official" and found.built == SUITE
    # The subset's own label order, whatever the order of the folders.
    assert found.labels_of("fog").tolist() == np.repeat(np.arange(10), 2).tolist()
    for severity, made in zip((1, 3), found.pictures("fog"), strict=True):
        assert made.shape == (20, 128, 128, 3)
        level = 20 * np.repeat(np.arange(10), 2) + 10 * np.tile([0, 1], 10) + severity
        assert np.abs(made.astype(int).mean(axis=(1, 2, 3)) - level).max() <= 1
    # Squashed training pictures: no published row stands beside these either.
    assert not found.comparable
    assert found.key("fog")["source"] == "official" and len(found.key("fog")["archive"]) == 2


def test_published_pictures_are_held_against_clean_ones_in_their_own_framing(tmp_path: Path) -> None:
    folder = write_archive(tmp_path)
    for side, crop in ((256, True), (200, False)):
        (tmp_path / str(side)).mkdir()
        dataset = tree(tmp_path / str(side), side, side + 20)
        generated, read = (TestDomains(SUITE, dataset, (1,), official=given) for given in (None, folder))
        assert CLEAN_CROP in generated.clean_domains
        # Clean pictures cut to 200 pixels are not those that ImageNet-C was made of.
        assert read.clean_domains == ((CLEAN, CLEAN_CROP) if crop else (CLEAN,)) == read.names()[: 1 + crop]
        assert read.described == "ImageNet-C's own pictures, 224 pixels; " + dataset.geometry.describe()
        assert "corrupted" in generated.described


def test_pictures_read_at_their_own_size_are_not_called_resized(tmp_path: Path, small: Dataset) -> None:
    dataset = load_dataset("imagewoof?size=224", root=small.source.path.parent, offline=True)
    found = TestDomains(SUITE, dataset, (1,), official=write_archive(tmp_path))
    assert found.described == "ImageNet-C's own pictures, 224 pixels" and found.clean_domains == (CLEAN,)


def test_a_limit_is_spread_over_the_archives_own_pictures(tmp_path: Path, small: Dataset) -> None:
    folder = write_archive(tmp_path)
    whole, part = (TestDomains(SUITE, small, (3,), limit, folder) for limit in (None, 5))
    (full,), (few,) = whole.pictures("fog"), part.pictures("fog")
    assert len(few) == 5 and np.array_equal(full[part.indices_of("fog")], few)
    assert np.array_equal(whole.labels_of("fog")[part.indices_of("fog")], part.labels_of("fog"))


def test_what_an_archive_lacks_is_said(tmp_path: Path, small: Dataset) -> None:
    archive = ImageNetC(write_archive(tmp_path), WNIDS)
    for wanted, needle in ((("snow", (1,)), "snow/1"), (("fog", (1, 2)), "fog/2")):
        with pytest.raises(DataError, match=needle) as caught:
            archive.listing(*wanted)
        assert caught.value.hint
    (archive.folder / "fog" / "3" / WNIDS[4] / "ILSVRC2012_val_1.JPEG").unlink()
    with pytest.raises(DataError, match=r"other pictures .*\(pictures by severity: 20 at 1, 19 at 3\)"):
        archive.listing("fog", (1, 3))
    Image.new("RGB", (128, 128)).save(archive.folder / "fog" / "1" / WNIDS[4] / "ILSVRC2012_val_1.JPEG")
    with pytest.raises(DataError, match="128x128, not ImageNet-C's 224x224"):
        list(archive.pictures("fog", (1,), np.arange(20), small.geometry))


def write_corruption(folder: Path, name: str, severities: tuple[int, ...], *, each: int = 50) -> None:
    """One more corruption of the archive, by its file names alone."""
    for severity in severities:
        for label, wnid in enumerate(WNIDS):
            inside = folder / name / str(severity) / wnid
            inside.mkdir(parents=True)
            for number in range(each):
                (inside / f"ILSVRC2012_val_{50 * label + number:08}.JPEG").touch()


def test_each_corruption_that_lacks_pictures_is_named(tmp_path: Path, small: Dataset) -> None:
    folder, names = tmp_path / "ImageNet-C", ("fog", "snow", "frost", "contrast")
    suite = dataclasses.replace(SUITE, corruptions=names)

    def lacking(severities: tuple[int, ...] = (1, 2), suite: CorruptionSuite = suite) -> str | None:
        return TestDomains(suite, small, severities, official=folder).partial.get("official")

    for name in names:
        write_corruption(folder, name, (1, 2))
    assert lacking() is None
    for name in ("snow", "contrast"):
        for severity in ("1", "2"):
            (folder / name / severity / WNIDS[9] / "ILSVRC2012_val_00000499.JPEG").unlink()
    # The first corruption is whole, others are not.
    assert lacking() == "499 of 500 validation pictures of ILSVRC-2012 in snow, contrast"
    assert lacking(suite=dataclasses.replace(suite, corruptions=("fog", "frost"))) is None
    write_corruption(folder, "brightness", (1, 2), each=7)
    few = dataclasses.replace(suite, corruptions=("snow", "brightness"))
    expected = "499 of 500 validation pictures of ILSVRC-2012 in snow; 70 of 500 validation pictures of ILSVRC-2012"
    assert lacking(suite=few) == f"{expected} in brightness"
    alone = dataclasses.replace(suite, corruptions=("brightness",))
    assert lacking(suite=alone) == "70 of 500 validation pictures of ILSVRC-2012 in every corruption"
    # A severity that lacks pictures, or is missing, is refused where it is asked for.
    next((folder / "frost" / "2" / WNIDS[0]).iterdir()).unlink()
    with pytest.raises(DataError, match=r"frost holds other pictures .*500 at 1, 499 at 2"):
        lacking()
    assert "in snow, contrast" in str(lacking((1,)))
    with pytest.raises(DataError, match="fog/3"):
        lacking((1, 3))


def test_published_numbers_need_the_whole_archive(tmp_path: Path) -> None:
    dataset, folder = tree(tmp_path, 256, 256, copies=50), tmp_path / "ImageNet-C"
    write_corruption(folder, "fog", (1,))
    write_corruption(folder, "snow", (1,))
    suite = dataclasses.replace(SUITE, corruptions=("fog", "snow"))
    assert TestDomains(suite, dataset, (1,), official=folder).comparable
    next((folder / "snow" / "1" / WNIDS[0]).iterdir()).unlink()
    assert not TestDomains(suite, dataset, (1,), official=folder).comparable


def test_a_changed_archive_has_other_cells(tmp_path: Path, small: Dataset) -> None:
    folder = write_archive(tmp_path)
    before = TestDomains(SUITE, small, (1,), official=folder).key("fog")
    assert TestDomains(SUITE, small, (1,), official=folder).key("fog") == before
    for wnid in WNIDS:
        Image.new("RGB", (224, 224)).save(folder / "fog" / "1" / wnid / "ILSVRC2012_val_7.JPEG")
    assert TestDomains(SUITE, small, (1,), official=folder).key("fog") != before


def test_a_replaced_array_has_other_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = CorruptionSuite("mine", "mine", "cifar-like", "cifar", ("fog", "snow"), (1,))
    count, read = len(cifar_like().test), []
    monkeypatch.setattr(official, "sha256_of", lambda file: read.append(file.name) or sha256_of(file))

    def written(name: str, seed: int) -> None:
        pixels = np.random.default_rng(seed).integers(0, 256, (5 * count, 32, 32, 3), dtype=np.uint8)
        np.save(tmp_path / f"{name}.npy", pixels)
        # Two writes of a test may fall into one tick of the disk's clock.
        os.utime(tmp_path / f"{name}.npy", ns=(0, 10**18 + seed))

    def key(name: str) -> dict[str, object]:
        return TestDomains(suite, cifar_like(), (1,), official=tmp_path).key(name)

    written("fog", 0)
    key(CLEAN)
    assert read == []
    first = key("fog")
    # Read once for all cells, and no other corruption's file; that of `snow` is not even there.
    assert key("fog") == first and read == ["fog.npy"]
    with pytest.raises(DataError, match=r"snow\.npy cannot be read") as caught:
        key("snow")
    assert caught.value.hint
    written("snow", 0)
    written("fog", 1)
    assert key("fog") != first
    written("fog", 0)
    assert key("fog") == first


def write_shifted(folder: Path, version: str, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    draws = np.random.default_rng(seed)
    images = draws.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    labels = draws.integers(0, 10, count).astype(np.int32)
    np.save(folder / f"cifar10.1_{version}_data.npy", images)
    np.save(folder / f"cifar10.1_{version}_labels.npy", labels)
    return images, labels


@pytest.mark.parametrize("place", ["", "cifar101", "CIFAR-10.1/datasets"])
@pytest.mark.parametrize(("version", "count"), [("v6", 2000), ("v4", 2021)])
def test_cifar101_is_found_whole(tmp_path: Path, place: str, version: str, count: int) -> None:
    images, labels = write_shifted(tmp_path / place, version, count)
    found = find_shifted(SHIFT, cifar_like(), tmp_path)
    assert found.name == f"cifar10.1-{version}" and found.partial == ""
    assert np.array_equal(found.split.images, images) and np.array_equal(found.split.labels, labels)


def test_v6_is_preferred_and_a_part_says_so(tmp_path: Path) -> None:
    write_shifted(tmp_path, "v4", 30)
    write_shifted(tmp_path, "v6", 20)
    found = find_shifted(SHIFT, cifar_like(), tmp_path)
    assert found.name == "cifar10.1-v6" and found.partial == "20 of 2000"
    domains = TestDomains(suite_named("cifar101"), cifar_like(), (1,), limit=7, shifted=found)
    assert domains.names() == (CLEAN, "cifar10.1-v6") and domains.source == "official"
    (pictures,) = domains.pictures("cifar10.1-v6")
    assert np.array_equal(pictures, found.split.images[domains.indices_of("cifar10.1-v6")])
    assert np.array_equal(domains.labels_of("cifar10.1-v6"), found.split.labels[domains.indices_of("cifar10.1-v6")])
    assert domains.partial == {"cifar10.1-v6": "20 of 2000"}
    write_shifted(tmp_path, "v6", 20, seed=1)
    other = TestDomains(
        suite_named("cifar101"), cifar_like(), (1,), shifted=find_shifted(SHIFT, cifar_like(), tmp_path)
    )
    assert other.key("cifar10.1-v6") != domains.key("cifar10.1-v6")


def test_missing_and_wrong_arrays_are_refused_with_how_to_get_them(tmp_path: Path) -> None:
    def refused(match: str) -> None:
        with pytest.raises(DataError, match=match) as caught:
            find_shifted(SHIFT, cifar_like(), tmp_path)
        assert "modestyachts/CIFAR-10.1" in caught.value.hint

    refused("no cifar10.1_v6_data.npy or cifar10.1_v4_data.npy")
    images, labels = write_shifted(tmp_path, "v6", 20)
    file, names = tmp_path / "cifar10.1_v6_data.npy", tmp_path / "cifar10.1_v6_labels.npy"
    for wrong in (images.astype(np.float32), images[:, :, :31], images[0]):
        np.save(file, wrong)
        refused("not uint8")
    np.save(file, images)
    for wrong in (labels[:-1], labels.astype(float)):
        np.save(names, wrong)
        refused("not 20 labels")
    np.save(names, labels + 5)
    refused("of 10 classes")
    names.unlink()
    refused("labels.npy cannot be read")
    np.save(names, labels)
    file.write_bytes(b"\x93NUMPY")
    refused("data.npy cannot be read")
