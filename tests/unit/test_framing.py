"""ImageNet suites: cut as ImageNet-C does where the pictures allow it, and called by what they were built on."""

from __future__ import annotations

import dataclasses
import io
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from spine import cifar_like

from fredbench.corruptions import corrupt
from fredbench.datasets import Dataset, Geometry, load_dataset
from fredbench.datasets.catalogue import known_family
from fredbench.datasets.framing import framing_of
from fredbench.datasets.known.imagenet_subsets import validation_shortfall
from fredbench.evaluation.domains import TestDomains, domains_of
from fredbench.evaluation.rows import CLEAN, CLEAN_CROP
from fredbench.foundation.errors import DataError, UsageError
from fredbench.suites.corruption import suite_named

SUITE = suite_named("imagewoofc")
WNIDS = known_family("imagewoof").wnids


def photograph(seed: int, height: int, width: int) -> Image.Image:
    """A gradient with a few discs: nothing that a JPEG spoils, everything that a wrong crop shows."""
    draws = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    field = np.stack([y / height, x / width, (x + y) / (height + width)], axis=-1) * 200 + 20
    for _ in range(4):
        at = draws.uniform(0.2, 0.8, 2) * (height, width)
        field[(y - at[0]) ** 2 + (x - at[1]) ** 2 < (height / 8) ** 2] = draws.uniform(0, 255, 3)
    return Image.fromarray(field.astype(np.uint8))


def tree(root: Path, height: int, width: int, *, copies: int = 1) -> Dataset:
    """An ImageNet tree of the subset with two training pictures and one test picture a class, `copies` times."""
    for number, wnid in enumerate(WNIDS):
        for split, name in (("train", "n0"), ("train", "n1"), ("val", "ILSVRC2012_val_")):
            folder = root / "imagenet" / split / wnid
            folder.mkdir(parents=True, exist_ok=True)
            photograph(number, height + number, width).save(folder / f"{name}{number:08}.JPEG", quality=95)
        for copy in range(1, copies):
            shutil.copy(folder / f"{name}{number:08}.JPEG", folder / f"{name}{copy}{number:07}.JPEG")
    return load_dataset("imagewoof", root=root, offline=True)


def domains(dataset: Dataset, **given: object) -> TestDomains:
    return TestDomains(SUITE, dataset, **{"severities": (3,), **given})


def test_a_crop_may_be_cut_from_a_longer_side() -> None:
    """Resize and centre crop by hand, with Pillow and a slice."""
    picture = photograph(1, 300, 401)
    small = picture.resize((int(256 * 401 / 300), 256), Image.Resampling.BILINEAR)
    left = round((small.width - 224) / 2)
    expected = np.asarray(small)[16:240, left : left + 224]
    assert np.array_equal(Geometry(224, "crop", shorter=256).apply(picture), expected)
    assert "256" in Geometry(224, "crop", shorter=256).describe()
    for wrong in ({"mode": "squash", "shorter": 256}, {"mode": "crop", "shorter": 223}):
        with pytest.raises(UsageError) as caught:
            Geometry(224, **wrong)
        assert caught.value.hint


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return tree(tmp_path_factory.mktemp("originals"), 300, 380)


def test_originals_are_cut_corrupted_stored_and_shrunk_in_imagenet_cs_order(originals: Dataset) -> None:
    found = domains(originals)
    assert found.built == SUITE and found.names()[:3] == (CLEAN, CLEAN_CROP, "gaussian_noise")
    # One picture a class in the right framing: the suite's name, but nobody's published numbers.
    assert not found.comparable and found.partial == {"test": "10 of 500 validation pictures of ILSVRC-2012"}
    frame = Geometry(224, "crop", shorter=256)
    files = [next((originals.source.path / "val" / wnid).glob("*.JPEG")) for wnid in WNIDS]
    crops = np.stack([frame.apply(Image.open(file)) for file in files])

    def stored(pixels: np.ndarray) -> Image.Image:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=85, optimize=True)
        return Image.open(file)

    for name in ("contrast", "fog"):
        (made,) = found.pictures(name)
        noisy = corrupt(crops, name, 3, profile="imagenet")
        expected = [stored(pixels).resize((128, 128), Image.Resampling.BILINEAR) for pixels in noisy]
        assert np.array_equal(made, np.stack(expected))
    (framed,) = found.pictures(CLEAN_CROP)
    expected = [Image.fromarray(crop).resize((128, 128), Image.Resampling.BILINEAR) for crop in crops]
    assert np.array_equal(framed, np.stack(expected))
    (clean,) = found.pictures(CLEAN)
    assert np.array_equal(clean, originals.test.images) and not np.array_equal(clean, framed)


def test_a_limit_keeps_the_pictures_numbers_in_the_seeds(originals: Dataset) -> None:
    whole, part = domains(originals), domains(originals, limit=3)
    indices = part.indices_of("snow")
    assert indices.tolist() == [0, 4, 9]
    for name in (CLEAN, CLEAN_CROP, "snow"):
        (full,), (few,) = whole.pictures(name), part.pictures(name)
        assert np.array_equal(full[indices], few), name


def validation(each: int = 50, classes: int = 2) -> tuple[list[str], np.ndarray]:
    """Names and labels as ILSVRC-2012's validation split has them."""
    labels = np.repeat(np.arange(classes), each)
    return [f"ILSVRC2012_val_{number:08}.JPEG" for number in range(len(labels))], labels


def test_only_the_validation_pictures_themselves_lack_nothing() -> None:
    names, labels = validation()
    assert validation_shortfall(names, labels, 2) == ""
    for changed, expected in (
        (validation(5), "10 of 100 validation pictures of ILSVRC-2012"),
        ((names[1:], labels[1:]), "99 of 100 validation pictures of ILSVRC-2012"),
        # As fastai cuts it anew: some of them, and pictures of the training split.
        (([f"n02096294_{n}.JPEG" for n in range(90)] + names[90:], labels), "10 of 100 validation pictures"),
        ((["n02096294_7.JPEG", *names], np.array([0, *labels])), "100 of 100 .* ILSVRC-2012; others: 1$"),
        # One in the wrong class, one twice.
        ((names, np.array([*labels[1:], 1])), "99 of 100 .* ILSVRC-2012; others: 1$"),
        (([names[1], *names[1:]], labels), "99 of 100 .* ILSVRC-2012; others: 1$"),
        ((names, labels % 1), "50 of 100 .* ILSVRC-2012; others: 50$"),
    ):
        assert re.match(expected, validation_shortfall(*changed, 2)), validation_shortfall(*changed, 2)
    # Without names the counts decide.
    assert validation_shortfall(None, labels, 2) == ""
    assert validation_shortfall(None, labels[1:], 2) == "99 pictures, not the 100 of ILSVRC-2012's validation split"


def test_the_whole_validation_split_is_comparable_until_a_picture_is_another(tmp_path: Path) -> None:
    found = domains(tree(tmp_path, 256, 256, copies=50))
    assert found.built == SUITE and found.comparable and found.partial == {}
    picture = next((tmp_path / "imagenet" / "val" / WNIDS[3]).iterdir())
    picture.rename(picture.with_name(f"{WNIDS[3]}_7.JPEG"))
    found = domains(load_dataset("imagewoof", root=tmp_path, offline=True))
    assert found.built == SUITE and not found.comparable
    assert found.partial == {"test": "499 of 500 validation pictures of ILSVRC-2012; others: 1"}


@pytest.mark.parametrize(("height", "width", "side"), [(160, 213, 164), (200, 180, 180)])
def test_small_trees_are_named_after_their_size(tmp_path: Path, height: int, width: int, side: int) -> None:
    found = domains(tree(tmp_path, height, width), severities=(1,))
    assert found.built.name == f"imagewoofc-from{side}" and found.built.published == ""
    assert not found.comparable and found.names()[1] == CLEAN_CROP and "10 of 500" in found.partial["test"]
    assert found.framing is not None and found.framing.cut == Geometry(side, "crop")
    (made,) = found.pictures("brightness")
    assert made.shape == (10, 128, 128, 3)
    assert found.key("brightness")["suite"] == f"imagewoofc-from{side}" and "suite" not in found.key(CLEAN)


def packed(root: Path, side: int | None) -> Dataset:
    """A packed folder of JPEGs, of one size or, for None, of sizes as originals have them."""
    import json

    folder, splits = root / "imagewoof", {}
    folder.mkdir()
    for split in ("train", "val"):
        with zipfile.ZipFile(folder / f"{split}.zip", "w") as archive:
            # Another class order than ours, and two pictures a class.
            for number, wnid in enumerate(sorted(WNIDS) * 2):
                file = io.BytesIO()
                photograph(number, side or 290 + number, side or 380).save(file, "JPEG", quality=95)
                archive.writestr(f"{wnid}/{number}.JPEG", file.getvalue())
        np.save(folder / f"{split}_labels.npy", np.tile(np.arange(10), 2).astype(np.uint8))
        splits[split] = {"form": "zip-jpeg", "files": [f"{split}.zip"], "count": 20, "labels": f"{split}_labels.npy"}
    names = dict(zip(known_family("imagewoof").wnids, known_family("imagewoof").classes, strict=True))
    description = {
        "format": 1, "name": "imagewoof", "picture": None if side is None else [side, side, 3],
        "classes": [names[wnid] for wnid in sorted(WNIDS)], "wnids": sorted(WNIDS), "splits": splits,
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(description))
    return load_dataset("imagewoof", root=root, offline=True)


@pytest.mark.parametrize("side", [96, 224, 256])
def test_packed_pictures_of_one_size_are_corrupted_as_they_are(tmp_path: Path, side: int) -> None:
    dataset = packed(tmp_path, side)
    found = domains(dataset)
    # However large: who brought them to one size has changed the framing.
    assert found.built.name == f"imagewoofc-from{side}" and found.names()[:2] == (CLEAN, "gaussian_noise")
    assert found.framing is not None
    base = found.framing.pictures()
    assert base.images.shape == (20, side, side, 3) and np.array_equal(base.labels, dataset.test.labels)
    (made,) = found.pictures("pixelate")
    noisy = corrupt(base.images, "pixelate", 3, profile="imagenet", archive_jpeg=True)
    assert np.array_equal(made, Geometry(128).apply_array(noisy))


def test_packed_originals_are_originals(tmp_path: Path) -> None:
    found = domains(packed(tmp_path, None))
    assert found.built == SUITE and not found.comparable
    # Names inside an archive are known too; these are no validation pictures'.
    assert found.partial == {"test": "0 of 500 validation pictures of ILSVRC-2012; others: 20"}
    assert found.framing is not None and found.framing.pictures().images.shape == (20, 224, 224, 3)


def test_held_out_pictures_are_read_in_the_test_splits_order(tmp_path: Path) -> None:
    tree(tmp_path, 290, 300)
    base = tmp_path / "imagenet"
    for number, wnid in enumerate(WNIDS):
        for copy in range(2):
            photograph(100 + 10 * copy + number, 300, 310).save(base / "train" / wnid / f"more{copy}.JPEG", quality=95)
        (next((base / "val" / wnid).glob("*"))).unlink()
        (base / "val" / wnid).rmdir()
    dataset = load_dataset("imagewoof", root=tmp_path, offline=True)
    framing = framing_of(dataset)
    assert framing.published and len(framing.pictures()) == len(dataset.test) == 10
    # Training pictures are no validation pictures, however they are cut.
    assert framing.shortfall == "0 of 500 validation pictures of ILSVRC-2012; others: 10"
    assert not domains(dataset).comparable
    small = Geometry(128).apply_array(framing.stored_test.read(Geometry(300)).images)
    assert np.abs(small.astype(int) - dataset.test.images).mean() < 3


def test_pictures_in_memory_cannot_be_cut() -> None:
    with pytest.raises(DataError) as caught:
        framing_of(cifar_like())
    assert caught.value.hint


def test_labels_that_do_not_belong_are_refused(originals: Dataset) -> None:
    framing = framing_of(originals)
    stored = dataclasses.replace(framing.stored_test, read=lambda _: originals.test.take(np.arange(9, -1, -1)))
    with pytest.raises(DataError, match="other labels"):
        dataclasses.replace(framing, stored_test=stored).pictures()


def test_real_packed_sets_are_named_after_their_size(real_data: Path) -> None:
    for name, suffix in (("imagenette", "-from224"), ("imagewoof", "-from128")):
        dataset = load_dataset(name, root=real_data, offline=True)
        framing = framing_of(dataset)
        assert framing.suffix == suffix
        # fastai's cut of train and test, of which the packed set says how much it holds.
        assert re.fullmatch(r"\d+ of 500 validation pictures of ILSVRC-2012; others: \d+", framing.shortfall)


def test_c_bar_is_of_pictures_of_224_pixels_and_refused_before_anything_is_trained(
    originals: Dataset, tmp_path: Path
) -> None:
    suite = suite_named("imagewoofcbar")
    found = domains_of(suite, originals, None, severities=(3,))
    (made,) = found.pictures("plasma_noise")
    assert made.shape == (10, 128, 128, 3) and found.names()[:2] == (CLEAN, CLEAN_CROP)
    assert found.constants("plasma_noise") == [[8.5]]
    with pytest.raises(UsageError, match="C-bar") as caught:
        domains_of(suite, tree(tmp_path, 140, 150), None)
    assert "224" in caught.value.hint
