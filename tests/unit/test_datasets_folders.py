from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_forms import random_pictures, write_picture
from PIL import Image
from torchvision.datasets import ImageFolder

from fredbench.datasets import DATASETS, load_dataset
from fredbench.foundation.errors import DataError, UsageError


def write_tree(folder: Path, classes: list[str], count: int, size: tuple[int, int] = (12, 10), seed: int = 0) -> None:
    for label, name in enumerate(classes):
        for number, pixels in enumerate(random_pictures(count, size, seed=seed + label)):
            write_picture(folder / name / f"{number:03d}.png", pixels)


def test_a_tree_is_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    write_tree(tmp_path / "train", ["b", "a", "c"], 5)
    write_tree(tmp_path / "val", ["a", "c"], 2, seed=9)
    write_picture(tmp_path / "train" / "a" / "inner" / "x.png", random_pictures(1, (12, 10))[0])
    (tmp_path / "train" / "a" / "notes.txt").write_text("no picture")
    write_picture(tmp_path / "train" / "a" / ".hidden.png", random_pictures(1, (12, 10))[0])
    dataset = load_dataset(f"folder:{tmp_path}")
    theirs = ImageFolder(tmp_path / "train")
    shown = [
        (np.asarray(picture), label)
        for (picture, label), (path, _) in zip(theirs, theirs.samples, strict=True)
        if not Path(path).name.startswith(".")
    ]
    np.testing.assert_array_equal(dataset.train.images, np.stack([picture for picture, _ in shown]))
    assert dataset.train.labels.tolist() == [label for _, label in shown] and len(shown) == 16
    assert dataset.classes == ("a", "b", "c") and dataset.size == (12, 10) and dataset.channels == 3
    assert dataset.test.labels.tolist() == [0, 0, 2, 2] and dataset.notes == ("the folder val/ is the test split",)
    assert dataset.title == tmp_path.name and dataset.flip


def test_test_is_preferred_to_val(tmp_path: Path) -> None:
    write_tree(tmp_path / "train", ["a", "b"], 3)
    write_tree(tmp_path / "test", ["a", "b"], 2)
    write_tree(tmp_path / "val", ["a", "b"], 4)
    dataset = load_dataset(f"folder:{tmp_path}")
    assert len(dataset.test) == 4 and dataset.notes == ("the folder val/ is not used",)


@pytest.mark.parametrize("below", ["", "train"])
def test_without_a_test_folder_the_last_quarter_of_each_class_is_held_out(tmp_path: Path, below: str) -> None:
    write_tree(tmp_path / below, ["a", "b"], 8)
    dataset = load_dataset(f"folder:{tmp_path}?flip=no")
    assert dataset.train.labels.tolist() == [0] * 6 + [1] * 6 and dataset.test.labels.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(dataset.test.images[:2], random_pictures(8, (12, 10))[6:])
    assert "of each class" in dataset.notes[0] and not dataset.flip


def test_grey_and_palette_pictures_become_rgb(tmp_path: Path) -> None:
    grey = random_pictures(1, (6, 6), 1)[0, ..., 0]
    for name in ("a", "b"):
        for number in range(2):
            write_picture(tmp_path / name / f"{number}.png", grey)
    Image.fromarray(grey).convert("P").save(tmp_path / "a" / "1.png")
    images = load_dataset(f"folder:{tmp_path}").train.images
    np.testing.assert_array_equal(images, np.broadcast_to(grey[..., None], images.shape))


def test_resizing_is_never_silent(tmp_path: Path) -> None:
    write_tree(tmp_path, ["a", "b"], 4)
    write_picture(tmp_path / "b" / "001.png", random_pictures(1, (30, 20))[0])
    dataset = load_dataset(f"folder:{tmp_path}")
    with pytest.raises(DataError, match=r"differ in size.*20x30") as caught:
        _ = dataset.train
    assert "?size=64" in caught.value.hint
    resized = load_dataset(f"folder:{tmp_path}?size=8")
    assert resized.train.images.shape == (6, 8, 8, 3) and "squashed" in resized.notes[0]


@pytest.mark.parametrize(
    ("classes", "said"),
    [([], "no pictures in class folders"), (["only"], "has 1 class folder; two are the least")],
)
def test_too_few_classes_are_refused(tmp_path: Path, classes: list[str], said: str) -> None:
    write_tree(tmp_path, classes, 4)
    with pytest.raises(DataError, match=said) as caught:
        load_dataset(f"folder:{tmp_path}")
    assert caught.value.hint


def test_bad_trees_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        load_dataset(f"folder:{tmp_path / 'nowhere'}")
    write_tree(tmp_path / "train", ["a", "b"], 3)
    (tmp_path / "train" / "c").mkdir()
    with pytest.raises(DataError, match=r"class folder .*c holds no pictures"):
        load_dataset(f"folder:{tmp_path}")
    (tmp_path / "train" / "c").rmdir()
    write_tree(tmp_path / "test", ["a", "z"], 3)
    with pytest.raises(DataError, match="z is a class that the training split does not have"):
        load_dataset(f"folder:{tmp_path}")
    with pytest.raises(UsageError, match="flip=perhaps"):
        load_dataset(f"folder:{tmp_path}?flip=perhaps")


@pytest.mark.parametrize("harm", ["cut", "text", "wide"])
def test_an_unreadable_picture_is_named(tmp_path: Path, harm: str) -> None:
    write_tree(tmp_path, ["a", "b"], 4, size=(40, 40))
    path = tmp_path / "b" / "002.png"
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:2000])
    elif harm == "text":
        path.write_text("not a picture")
    else:
        Image.fromarray(np.zeros((40, 40), np.uint16)).save(path)
    with pytest.raises(DataError, match=r"b/002\.png") as caught:
        _ = load_dataset(f"folder:{tmp_path}").train
    assert "\n" not in str(caught.value)


def write_subset(folder: Path, name: str, part: str, count: int, pattern: str = "{wnid}_{number}.JPEG") -> None:
    for label, wnid in enumerate(DATASETS.get(name).wnids):
        for number, pixels in enumerate(random_pictures(count, (20, 30), seed=label)):
            file = pattern.format(wnid=wnid, number=number, picture=label * count + number)
            write_picture(folder / part / wnid / file, pixels, format="JPEG")


@pytest.mark.parametrize("below", ["imagenet", "imagewoof", "imagewoof2-320", "ILSVRC/Data/CLS-LOC", "."])
def test_an_imagenet_tree_is_read_in_the_literatures_class_order(tmp_path: Path, below: str) -> None:
    base = tmp_path / below
    write_subset(base, "imagewoof", "train", 3)
    write_subset(base, "imagewoof", "val", 2, "ILSVRC2012_val_{picture:08d}.JPEG")
    write_picture(base / "train" / "n99999999" / "other.JPEG", random_pictures(1)[0])
    dataset = load_dataset("imagewoof", root=tmp_path)
    assert dataset.train.images.shape == (30, 128, 128, 3) and dataset.test.labels.tolist() == sorted([*range(10)] * 2)
    first = Image.open(base / "train" / "n02096294" / "n02096294_0.JPEG").convert("RGB")
    squashed = first.resize((128, 128), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(dataset.train.images[0], np.asarray(squashed))
    assert "3 in the smallest class" in dataset.partial["train"] and dataset.stored_size is None
    assert "squashed" in dataset.notes[0] and any("not the 500" in note for note in dataset.notes)
    cropped = load_dataset("imagewoof?geometry=crop", root=tmp_path)
    assert cropped.train.fingerprint != dataset.train.fingerprint and "centre crop" in cropped.notes[0]


def test_the_official_validation_split_needs_no_note(tmp_path: Path) -> None:
    write_subset(tmp_path / "imagenet", "imagemeow", "train", 1)
    write_subset(tmp_path / "imagenet", "imagemeow", "val", 50, "ILSVRC2012_val_{picture:08d}.JPEG")
    dataset = load_dataset("imagemeow", root=tmp_path)
    assert len(dataset.notes) == 1 and "varying sizes" in dataset.notes[0]


def test_kaggles_flat_validation_folder_is_sorted_by_its_list(tmp_path: Path) -> None:
    base = tmp_path / "ILSVRC" / "Data" / "CLS-LOC"
    wnids = DATASETS.get("imagefruit").wnids
    write_subset(base, "imagefruit", "train", 1)
    rows, pictures = ["ImageId,PredictionString"], random_pictures(20, (20, 30), seed=7)
    for number, pixels in enumerate(pictures):
        name = f"ILSVRC2012_val_{number:08d}"
        write_picture(base / "val" / f"{name}.JPEG", pixels, format="JPEG")
        rows.append(f"{name},{wnids[number % 10]} 1 2 3 4 {wnids[number % 10]} 5 6 7 8")
    rows.append("ILSVRC2012_val_00000099,n00000000 1 2 3 4")
    (tmp_path / "LOC_val_solution.csv").write_text("\n".join(rows) + "\n")
    dataset = load_dataset("imagefruit", root=tmp_path)
    assert dataset.test.labels.tolist() == sorted([*range(10)] * 2)
    second = Image.open(base / "val" / "ILSVRC2012_val_00000010.JPEG").resize((128, 128), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(dataset.test.images[1], np.asarray(second))


def test_an_imagenet_tree_without_validation_holds_out_and_says_so(tmp_path: Path) -> None:
    write_subset(tmp_path / "imagenet", "imagesquawk", "train", 4)
    dataset = load_dataset("imagesquawk", root=tmp_path)
    assert (
        np.bincount(dataset.test.labels).tolist() == [1] * 10 and np.bincount(dataset.train.labels).tolist() == [3] * 10
    )
    assert "of each class" in dataset.notes[-1]


def test_a_tree_that_lacks_a_class_is_refused(tmp_path: Path) -> None:
    write_tree(tmp_path / "imagenet" / "train", list(DATASETS.get("imageyellow").wnids[:9]), 2)
    with pytest.raises(DataError, match="no pictures of class n01531178"):
        load_dataset("imageyellow", root=tmp_path)


def test_imagenet_cannot_be_fetched_and_the_error_says_what_to_bring(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"imagenette/dataset.json") as caught:
        load_dataset("imagenette", root=tmp_path)
    assert "imagenet/train/<wnid>" in caught.value.hint and "--data" in caught.value.hint
