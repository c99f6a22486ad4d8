"""Pictures that lie flat: read by the file that tells their classes, named as unusable without one; Tiny ImageNet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_forms import random_pictures, write_picture
from scipy.io import savemat

from fredbench.datasets import DATASETS, load_dataset
from fredbench.datasets.catalogue import absent
from fredbench.foundation.errors import DataError
from fredbench.networks import default_depth

WNIDS = DATASETS.get("imagewoof").wnids
TINY = DATASETS.get("tiny-imagenet").wnids


def pictures(folder: Path, names: list[str], size: int = 16) -> None:
    for name, pixels in zip(names, random_pictures(len(names), (size, size)), strict=True):
        write_picture(folder / name, pixels, format="JPEG")


def imagenet(base: Path, *, validation: str = "val") -> None:
    for wnid in WNIDS:
        pictures(base / "train" / wnid, ["0.JPEG", "1.JPEG"])
    pictures(base / validation, [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 21)])


def write_kit(folder: Path, told: list[int]) -> None:
    """The development kit's two files; class k of the kit is the k-th of the ten counted backwards."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{number}\n" for number in told))
    rows = [(number, WNIDS[10 - number]) for number in range(1, 11)]
    synsets = np.array(rows, dtype=[("ILSVRC2012_ID", object), ("WNID", object)])
    savemat(folder / "meta.mat", {"synsets": synsets.reshape(-1, 1)})


@pytest.mark.parametrize("place", ["ILSVRC2012_devkit_t12/data", "val", ".", "devkit/data"])
def test_flat_validation_is_read_by_the_development_kit(tmp_path: Path, place: str) -> None:
    base, told = tmp_path / "imagenet", [1 + number % 10 for number in range(20)]
    write_kit(base / place, told)
    imagenet(base)
    dataset = load_dataset("imagewoof?size=16", root=tmp_path)
    assert np.bincount(dataset.test.labels).tolist() == [2] * 10
    # Picture 10 has the kit's number 10, which is the first of the ten.
    names = dataset.source.stored_test.names() if dataset.source.stored_test else None
    assert names is not None and names[:2] == ["ILSVRC2012_val_00000010.JPEG", "ILSVRC2012_val_00000020.JPEG"]
    tree = load_dataset(f"folder:{base}?size=16")
    order = [sorted(WNIDS).index(WNIDS[10 - number]) for number in told]
    assert sorted(tree.test.labels.tolist()) == sorted(order) and any("ground_truth" in note for note in tree.notes)


def test_numbers_of_the_kit_are_not_guessed(tmp_path: Path) -> None:
    write_kit(tmp_path / "imagenet" / "devkit" / "data", [1] * 20)
    (tmp_path / "imagenet" / "devkit" / "data" / "meta.mat").unlink()
    imagenet(tmp_path / "imagenet")
    for name in ("imagewoof?size=16", f"folder:{tmp_path / 'imagenet'}?size=16"):
        notes = load_dataset(name, root=tmp_path).notes
        assert any("20 pictures" in note and "val/" in note and "meta.mat is not beside it" in note for note in notes)


def test_a_list_of_wordnet_ids_and_the_later_kits_map_are_read(tmp_path: Path) -> None:
    imagenet(tmp_path / "imagenet")
    truth = tmp_path / "imagenet" / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("".join(f"{WNIDS[number % 10]}\n" for number in range(20)))
    assert len(load_dataset("imagewoof?size=16", root=tmp_path).test) == 20
    truth.write_text("".join(f"{1 + number % 10}\n" for number in range(20)))
    (tmp_path / "imagenet" / "map_clsloc.txt").write_text("".join(f"{w} {n} name\n" for n, w in enumerate(WNIDS, 1)))
    assert np.bincount(load_dataset("imagewoof?size=16", root=tmp_path).test.labels).tolist() == [2] * 10
    (tmp_path / "imagenet" / "map_clsloc.txt").write_text(f"{WNIDS[0]} 1 name\n")
    with pytest.raises(DataError, match="has no class 2"):
        load_dataset("imagewoof", root=tmp_path)


def test_a_damaged_kit_is_named(tmp_path: Path) -> None:
    write_kit(tmp_path / "imagenet" / "devkit" / "data", [1] * 20)
    (tmp_path / "imagenet" / "devkit" / "data" / "meta.mat").write_bytes(b"nothing")
    imagenet(tmp_path / "imagenet")
    with pytest.raises(DataError, match=r"meta\.mat"):
        load_dataset("imagewoof", root=tmp_path)


def test_flat_validation_without_truth_is_named_as_unusable(tmp_path: Path) -> None:
    imagenet(tmp_path / "imagenet", validation="valid")
    for name in ("imagewoof?size=16", f"folder:{tmp_path / 'imagenet'}?size=16"):
        notes = load_dataset(name, root=tmp_path).notes
        assert any("20 pictures" in note and "valid/" in note and "no file tells" in note for note in notes)


def test_class_folders_in_valid_are_the_test_split(tmp_path: Path) -> None:
    imagenet(tmp_path / "imagenet", validation="unused")
    for wnid in WNIDS:
        pictures(tmp_path / "imagenet" / "valid" / wnid, ["0.JPEG"])
    dataset = load_dataset("imagewoof?size=16", root=tmp_path)
    assert len(dataset.test) == 10 and not any("no test split" in note for note in dataset.notes)


def test_kaggles_list_is_read_for_a_folder(tmp_path: Path) -> None:
    imagenet(tmp_path)
    rows = [f"ILSVRC2012_val_{number:08d},{WNIDS[number % 10]} 1 2 3 4" for number in range(1, 16)]
    (tmp_path / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *rows]) + "\n")
    dataset = load_dataset(f"folder:{tmp_path}")
    assert len(dataset.test) == 15 and any(
        "5 pictures in val/ are not in LOC_val_solution.csv" in n for n in dataset.notes
    )
    (tmp_path / "LOC_val_solution.csv").write_text("Id,Nothing\n1,2\n")
    with pytest.raises(DataError, match="LOC_val_solution"):
        load_dataset(f"folder:{tmp_path}")


def tiny(base: Path, wnids: tuple[str, ...], each: int = 2) -> None:
    for wnid in wnids:
        pictures(base / "train" / wnid / "images", [f"{wnid}_{number}.JPEG" for number in range(each)], 64)
        (base / "train" / wnid / f"{wnid}_boxes.txt").write_text("0 0 9 9")
    names = [f"val_{number}.JPEG" for number in range(len(wnids))]
    pictures(base / "val" / "images", names, 64)
    rows = [f"{name}\t{wnid}\t0\t0\t9\t9\n" for name, wnid in zip(names, reversed(wnids), strict=True)]
    (base / "val" / "val_annotations.txt").write_text("".join(rows))
    pictures(base / "test" / "images", ["test_0.JPEG"], 64)
    (base / "wnids.txt").write_text("\n".join(wnids))


def test_tiny_imagenets_layout_is_read_as_a_folder(tmp_path: Path) -> None:
    wnids = ("n01443537", "n01629819", "n02124075")
    tiny(tmp_path / "t", wnids)
    dataset = load_dataset(f"folder:{tmp_path / 't'}")
    assert dataset.classes == wnids and len(dataset.train) == 6 and dataset.test.labels.tolist() == [0, 1, 2]
    listing = dataset.source.listing
    assert listing is not None and listing.pictures("test")[0][0].name == "val_2.JPEG"
    assert any("test/ is not used: its 1 pictures lie without class folders" in note for note in dataset.notes)
    (tmp_path / "t" / "val" / "val_annotations.txt").unlink()
    notes = load_dataset(f"folder:{tmp_path / 't'}").notes
    assert any("val/ is not used: its 3 pictures" in note for note in notes) and "no test split" in notes[0]


@pytest.mark.parametrize("below", ["tiny-imagenet-200", "tiny-imagenet/tiny-imagenet-200", "."])
def test_tiny_imagenet_is_known_by_name(tmp_path: Path, below: str) -> None:
    tiny(tmp_path / below, TINY, each=1)
    for name in ("tiny-imagenet", "tinyimagenet", "tiny-imagenet-200"):
        dataset = load_dataset(name, root=tmp_path)
        assert dataset.name == "tiny-imagenet" and dataset.size == (64, 64) and len(dataset.classes) == 200
    assert dataset.train.labels.tolist() == dataset.test.labels.tolist() == [*range(200)]
    assert dataset.partial == {"train": "200 of 100000", "test": "200 of 10000"}
    assert default_depth(dataset.size) == 4 and dataset.classes[0] == "goldfish"
    assert absent("tinyimagenet", root=tmp_path) is None


def test_tiny_imagenet_without_its_truth_is_refused_by_name(tmp_path: Path) -> None:
    tiny(tmp_path / "tiny-imagenet-200", TINY, each=1)
    (tmp_path / "tiny-imagenet-200" / "val" / "val_annotations.txt").unlink()
    with pytest.raises(DataError, match=r"200 pictures in val/ lie without class folders"):
        load_dataset("tiny-imagenet", root=tmp_path)


def test_imagenet_itself_is_not_taken_for_tiny_imagenet(tmp_path: Path) -> None:
    for wnid in TINY[:3]:
        pictures(tmp_path / "train" / wnid, ["0.JPEG"])
    with pytest.raises(DataError, match="is not below"):
        load_dataset("tiny-imagenet", root=tmp_path)
    told = absent("tiny-imagenet", root=tmp_path)
    assert told is not None and "tiny-imagenet-200.zip" in told.provide and absent("cifar10", root=tmp_path) is None


def test_the_classes_of_tiny_imagenet_are_two_hundred_of_imagenet() -> None:
    assert (
        len(set(TINY)) == 200 and list(TINY) == sorted(TINY) and len(set(DATASETS.get("tiny-imagenet").classes)) == 200
    )
