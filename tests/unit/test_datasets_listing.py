"""Folders of pictures as people bring them: splits by any name, links, endings, class lists; no file is unmentioned."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from dataset_forms import random_pictures, write_picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fredbench.datasets import Dataset, load_dataset
from fredbench.datasets.census import census, told
from fredbench.datasets.listing import Listing, refuse_unnamed_splits
from fredbench.datasets.split_names import named_split
from fredbench.datasets.walking import endings, printable, walk
from fredbench.foundation.errors import DataError, FredbenchError, UsageError


def tree(base: Path, *folders: str, classes: tuple[str, ...] = ("cat", "dog"), count: int = 2) -> None:
    for folder in folders:
        for label, name in enumerate(classes):
            for number, pixels in enumerate(random_pictures(count, (6, 6), seed=label)):
                write_picture(base / folder / name / f"{number}.png", pixels)


def listed(dataset: Dataset) -> Listing:
    assert dataset.source.listing is not None
    return dataset.source.listing


def opened(base: Path, options: str = "") -> tuple[Dataset, Listing]:
    dataset = load_dataset(f"folder:{base}{options}")
    return dataset, listed(dataset)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train", "Test"), ("TRAIN", "TEST"), ("training", "testing"), ("training_set", "test_set"), ("trn", "tst"),
        ("Training", "Validation"), ("train", "valid"), ("train", "eval"), ("train", "DEV"), ("TrainSet", "TestSet"),
        ("train2017", "val2017"), ("1. train", "2. test"), ("train (1)", "test (1)"), ("trainval", "test"),
        ("seg_train/seg_train", "seg_test/seg_test"), ("flowers_Training", "flowers_Test"),
        ("train-images", "test-images"),
        ("Training Data", "Testing Data"), ("train/Train", "test/test"), ("my train", "my test"),
    ],
)  # fmt: skip
def test_splits_are_known_by_the_names_that_people_use(tmp_path: Path, train: str, test: str) -> None:
    tree(tmp_path, train, count=3)
    tree(tmp_path, test, count=2)
    dataset, listing = opened(tmp_path)
    assert dataset.classes == ("cat", "dog") and listing.folders == {"train": train, "test": test}
    assert (len(dataset.train), len(dataset.test)) == (6, 4)
    assert train == "train" or f"the folder {train}/ is the training split" in dataset.notes


@pytest.mark.parametrize(
    ("folders", "typed"),
    [
        (("lernen", "pruefen"), "?train=lernen&test=pruefen"),
        (("train", "pruefen"), "?train=train&test=pruefen"),
        (("base", "test"), "?train=base&test=test"),
        (("photo_train", "sketch_test"), "?train=photo_train&test=sketch_test"),
        (("train", "Train", "test"), "?train=Train&test=test"),
        (("train", "test", "testing"), "?train=train&test=test"),
        (("query", "gallery"), "?train=gallery&test=query"),
    ],
)
def test_what_only_looks_like_splits_is_asked_for(tmp_path: Path, folders: tuple[str, ...], typed: str) -> None:
    tree(tmp_path, *folders)
    with pytest.raises(UsageError, match=str(tmp_path)) as caught:
        load_dataset(f"folder:{tmp_path}")
    name = next(word for word in caught.value.hint.split("'") if word.startswith("folder:"))
    assert name == f"folder:{tmp_path}{typed}"
    assert load_dataset(name).classes == ("cat", "dog")


def test_named_splits_are_taken_as_named(tmp_path: Path) -> None:
    tree(tmp_path, "a&b", "c d/deep", count=3)
    dataset, listing = opened(tmp_path, "?train=a%26b&test=c d/deep")
    assert listing.folders == {"train": "a&b", "test": "c d/deep"} and len(dataset.test) == 6
    with pytest.raises(UsageError, match="has no folder e"):
        load_dataset(f"folder:{tmp_path}?train=e")
    with pytest.raises(UsageError, match="without train="):
        load_dataset(f"folder:{tmp_path}?test=a%26b")
    with pytest.raises(UsageError, match="same folder"):
        load_dataset(f"folder:{tmp_path}?train=a%26b&test=a%26b")
    whole = load_dataset(f"folder:{tmp_path}?train=.")
    assert whole.classes == ("a&b", "c d")


@pytest.mark.parametrize(
    ("name", "typed"),
    [("train", ""), ("Train", "?train=Train&test=test"), ("seg_train", "?train=seg_train&test=seg_test")],
)
def test_a_run_wants_splits_named_that_only_names_told(tmp_path: Path, name: str, typed: str) -> None:
    tree(tmp_path, name, "seg_test" if "_" in name else "test")
    _, listing = opened(tmp_path)
    if not typed:
        refuse_unnamed_splits(listing, of="mine")
        return
    with pytest.raises(UsageError, match=f"train from {name}/") as caught:
        refuse_unnamed_splits(listing, of="mine")
    assert f"folder:{tmp_path}{typed}" in caught.value.hint
    refuse_unnamed_splits(opened(tmp_path, typed)[1], of="mine")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    tree(tmp_path / "plain", "", classes=("tank", "train", "tractor"), count=4)
    tree(tmp_path / "split", "train", "test", classes=("tank", "train", "tractor"))
    for base in ("plain", "split"):
        assert load_dataset(f"folder:{tmp_path / base}").classes == ("tank", "tractor", "train")


@pytest.mark.parametrize("names", [("Train", "Test"), ("train", "test", "unlabeled"), ("cat", "dog", "val")])
def test_flat_splits_are_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    tree(tmp_path, "", classes=names)
    with pytest.raises(UsageError, match="splits by their names") as caught:
        load_dataset(f"folder:{tmp_path}")
    assert f"folder:{tmp_path}?train=." in caught.value.hint
    assert set(load_dataset(f"folder:{tmp_path}?train=.").classes) == set(names)


def test_splits_inside_classes_and_wrapped_trees_are_refused_by_name(tmp_path: Path) -> None:
    tree(tmp_path / "in", "cat", "dog", classes=("train", "test"))
    with pytest.raises(DataError, match="holds splits"):
        load_dataset(f"folder:{tmp_path / 'in'}")
    tree(tmp_path / "wrapped" / "archive", "train", "test")
    with pytest.raises(UsageError, match="archive") as caught:
        load_dataset(f"folder:{tmp_path / 'wrapped'}")
    assert caught.value.hint.endswith(f"folder:{tmp_path / 'wrapped' / 'archive'}")


def test_a_class_without_test_pictures_is_named(tmp_path: Path) -> None:
    tree(tmp_path, "train", classes=("cat", "dog", "owl"))
    tree(tmp_path, "test", classes=("cat", "dog"))
    assert load_dataset(f"folder:{tmp_path}").partial == {"test": "no pictures of 1 of 3 classes: owl"}


def test_accents_written_in_two_ways_are_one_class(tmp_path: Path) -> None:
    tree(tmp_path, "train", classes=(unicodedata.normalize("NFC", "café"), "dog"))
    tree(tmp_path, "test", classes=(unicodedata.normalize("NFD", "café"), "dog"))
    assert np.bincount(load_dataset(f"folder:{tmp_path}").test.labels).tolist() == [2, 2]


def test_linked_folders_and_files_are_read_and_named_once(tmp_path: Path) -> None:
    tree(tmp_path / "set", "", count=4)
    tree(tmp_path / "more", "", classes=("x",), count=3)
    (tmp_path / "set" / "cat" / "more").symlink_to(tmp_path / "more" / "x")
    (tmp_path / "set" / "dog" / "one.png").symlink_to(tmp_path / "more" / "x" / "0.png")
    dataset, listing = opened(tmp_path / "set")
    assert listing.counts("train") == [7, 5]
    assert any("1 pictures are read twice" in note for note in dataset.notes)


@pytest.mark.parametrize("place", ["cat", "cat/deep", ""])
def test_links_without_target_are_counted_and_named(tmp_path: Path, place: str) -> None:
    tree(tmp_path, "")
    (tmp_path / place).mkdir(exist_ok=True)
    for number in range(3):
        (tmp_path / place / f"annex{number}.png").symlink_to(tmp_path / ".git" / "annex" / str(number))
    with pytest.raises(DataError, match=r"3: a link without target \(.*annex0\.png\)") as caught:
        load_dataset(f"folder:{tmp_path}")
    assert str(tmp_path) in caught.value.message and "git annex get" in caught.value.hint


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    tree(tmp_path, "")
    (tmp_path / "cat" / "again").symlink_to(tmp_path / "cat")
    (tmp_path / "dog" / "other").symlink_to(tmp_path)
    with pytest.raises(
        DataError, match=r"2: a link to a folder above it \(.*again\)|a link to a folder above it"
    ) as caught:
        load_dataset(f"folder:{tmp_path}")
    assert str(tmp_path) in caught.value.message


def test_every_ending_of_pillow_and_none_is_read(tmp_path: Path) -> None:
    tree(tmp_path, "", count=4)
    forms = {"jfif": "JPEG", "jpe": "JPEG", "avif": "AVIF", "jp2": "JPEG2000", "JPG": "JPEG", "webp": "WEBP",
             "tga": "TGA", "qoi": "QOI", "dib": "DIB", "pcx": "PCX", "gif": "GIF", "tif": "TIFF", "ico": "ICO",
             "mpo": "MPO"}  # fmt: skip
    Image.init()
    picture = Image.open(tmp_path / "cat" / "0.png").convert("RGB").resize((16, 16))
    forms = {ending: form for ending, form in forms.items() if form in {*Image.SAVE}}
    for ending, form in forms.items():
        picture.save(tmp_path / "cat" / f"x.{ending}", form)
    (tmp_path / "cat" / "without").write_bytes((tmp_path / "cat" / "0.png").read_bytes())
    (tmp_path / "cat" / "n01_2014.05").write_bytes((tmp_path / "cat" / "0.png").read_bytes())
    (tmp_path / "cat" / "README").write_text("no picture")
    (tmp_path / "cat" / "late.heic").write_bytes(b"\0\0\0\x18ftypheic")
    dataset, listing = opened(tmp_path, "?size=8")
    assert listing.counts("train") == [4 + len(forms) + 2, 4]
    assert len(dataset.train) + len(dataset.test) == 10 + len(forms)
    assert "1 file is not read: its ending .heic is of no picture (cat/late.heic)" in dataset.notes
    assert listing.fates == {"read": 10 + len(forms), "skipped": 2, "refused": 0}
    assert {".jpg", ".jfif", ".jp2", ".mpo"} <= endings() and not endings() & {".pdf", ".h5", ".mpg", ".eps"}


def test_a_class_of_unreadable_endings_says_so(tmp_path: Path) -> None:
    tree(tmp_path, "", count=3)
    (tmp_path / "owl").mkdir()
    for number in range(2):
        (tmp_path / "owl" / f"{number}.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(DataError, match=r"owl holds no pictures \(2 files skipped: its ending \.heic"):
        load_dataset(f"folder:{tmp_path}")


def test_a_class_list_picks_and_orders(tmp_path: Path) -> None:
    tree(tmp_path / "set", "train", "test", classes=("ant", "bee", "cat", "dog"))
    chosen = tmp_path / "ten.txt"
    chosen.write_text("# the two of the paper\ndog\n\nbee # second\n")
    dataset, listing = opened(tmp_path / "set", f"?classes={chosen}")
    assert dataset.classes == ("dog", "bee") and dataset.train.labels.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(dataset.test.images[:2], load_dataset(f"folder:{tmp_path / 'set'}").test.images[6:])
    assert "2 of 4 classes, in the order of ten.txt" in dataset.notes and listing.fates["skipped"] == 8
    chosen.write_text("dog\nemu\n")
    with pytest.raises(DataError, match="no folder for 1 of the 2 classes listed: emu"):
        opened(tmp_path / "set", f"?classes={chosen}")
    chosen.write_text("dog\ndog\n")
    with pytest.raises(DataError, match="names dog twice"):
        opened(tmp_path / "set", f"?classes={chosen}")
    with pytest.raises(DataError, match=r"nowhere\.txt is not there"):
        opened(tmp_path / "set", "?classes=nowhere.txt")


def test_home_is_found_without_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    tree(tmp_path / "flowers", "")
    assert load_dataset("folder:~/flowers").classes == ("cat", "dog")
    with pytest.raises(DataError, match=str(tmp_path / "none")):
        load_dataset("folder:~/none")
    with pytest.raises(DataError, match=str(tmp_path / "none")):
        load_dataset("packed:~/none")
    with pytest.raises(DataError, match="names no home"):
        load_dataset("folder:~nobody-of-this-name/x")


def test_one_picture_a_class_names_the_class(tmp_path: Path) -> None:
    tree(tmp_path, "", count=1)
    with pytest.raises(DataError, match="class cat has one picture"):
        load_dataset(f"folder:{tmp_path}")


def test_the_list_has_a_digest_of_every_fate(tmp_path: Path) -> None:
    tree(tmp_path, "train", "test")
    first = opened(tmp_path)[1].digest
    assert opened(tmp_path)[1].digest == first
    (tmp_path / "train" / "cat" / "notes.txt").write_text("seen")
    assert opened(tmp_path)[1].digest != first


def test_what_is_said_of_a_folder(tmp_path: Path) -> None:
    tree(tmp_path, "train", "valid", count=3)
    inside = tmp_path / "train" / "cat"
    Image.new("RGBA", (6, 6), (1, 2, 3, 4)).save(inside / "alpha.png")
    Image.new("P", (6, 6)).save(inside / "palette.png")
    Image.new("RGB", (6, 6)).save(inside / "film.gif", save_all=True, append_images=[Image.new("RGB", (6, 6), "red")])
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (6, 6)).save(inside / "turned.jpg", exif=turned)
    Image.fromarray(np.zeros((6, 6), np.uint16)).save(inside / "wide.png")
    (inside / "empty.png").touch()
    (inside / "notes.txt").write_text("seen")
    listing = opened(tmp_path)[1]
    lines = told(listing, census(listing))
    for said in ("2 classes, first cat, last dog", "test split from valid/: 6 pictures: cat 3, dog 3",
                 "with transparency (dropped): 1",
                 "mode palette", "animated", "turned by EXIF", "of 16 bits a channel",
                 "refused: 1, first train/cat/empty.png: is empty",
                 "skipped: 1, first train/cat/notes.txt", "19 files: 17 read, 1 skipped, 1 refused"):  # fmt: skip
        assert any(said in line for line in lines), (said, lines)


NAMES = st.sampled_from(["cat", "dog", "Vögel", "two words", "train", "Test", "val", "seg_train", "seg_test", "n01",
                         "写真", "images", "a=b&c", ".hidden", "trn2", "__MACOSX", "lernen"])  # fmt: skip
FILES = st.sampled_from(["0.png", "1.JPG", "2.gif", "3.webp", "4.tif", "5", "6.txt", "7.heic", ".8.png", "9.jfif",
                         "ä ö.png", "wide.png", "empty.png", "cut.png", "text.png", "line\nfeed.png"])  # fmt: skip
SOUND = st.sampled_from(["0.png", "1.JPG", "3.webp", "5", "9.jfif", "6.txt", ".8.png"])
KINDS = st.sampled_from(["file", "file", "file", "file", "link", "folder link", "lost", "loop"])
PATHS = st.lists(NAMES, min_size=0, max_size=4)
SKELETONS = st.sampled_from([("",), ("train", "test"), ("Train", "val"), ("train",),
                             ("seg_train/seg_train", "seg_test"), ("trn2", "Test", "val")])  # fmt: skip


@st.composite
def trees(draw: st.DrawFn) -> list[tuple[list[str], str, str]]:
    """What to plant: splits with class folders of sound pictures, then things that go anywhere; or those alone."""
    things: list[tuple[list[str], str, str]] = []
    folders = draw(SKELETONS) if draw(st.integers(0, 4)) else ()
    classes = draw(st.lists(NAMES, min_size=2, max_size=4, unique=True))
    for folder in folders:
        for name in classes:
            parts = [*filter(None, folder.split("/")), name]
            things += [(parts, "0.png", "file"), (parts, "1.JPG", "file")]
            things += [(parts, file, "file") for file in draw(st.lists(SOUND, max_size=2))]
            if draw(st.booleans()):
                things.append(([*parts, draw(NAMES)], draw(SOUND), draw(st.sampled_from(["file", "folder link"]))))
    wild = st.lists(st.tuples(PATHS, FILES, KINDS), min_size=0 if folders else 1, max_size=3 if folders else 14)
    return things + (draw(wild) if draw(st.booleans()) or not folders else [])


def content(name: str) -> bytes:
    """The bytes of a file by its name: most are pictures, some are wide, empty, cut off or text."""
    form = {"1.JPG": "JPEG", "2.gif": "GIF", "3.webp": "WEBP", "4.tif": "TIFF", "9.jfif": "JPEG"}.get(name, "PNG")
    return _CONTENT[name if name in _CONTENT else form]


def _content() -> dict[str, bytes]:
    import io

    made = {}
    for form in ("PNG", "JPEG", "GIF", "WEBP", "TIFF"):
        buffer = io.BytesIO()
        Image.fromarray(random_pictures(1, (6, 6))[0]).save(buffer, form)
        made[form] = buffer.getvalue()
    wide = io.BytesIO()
    Image.fromarray(np.full((6, 6), 999, np.uint16)).save(wide, "PNG")
    return {**made, "wide.png": wide.getvalue(), "empty.png": b"", "cut.png": made["PNG"][:60], "text.png": b"hello",
            "6.txt": b"text", "7.heic": b"\0\0\0\x18ftypheic"}  # fmt: skip


_CONTENT = _content()


def plant(base: Path, things: list[tuple[list[str], str, str]]) -> int:
    """Files and links below `base`; how many entries that are no folders are there by the house's own count."""
    base.mkdir()
    (base.parent / "outside").mkdir()
    (base.parent / "outside" / "o.png").write_bytes(_CONTENT["PNG"])
    for parts, name, kind in things:
        folder = base.joinpath(*parts)
        path = folder / (name if kind in {"file", "link", "lost"} else f"to {name}")
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or path.exists():
            continue
        if kind == "file":
            path.write_bytes(content(name))
        else:
            targets = {
                "link": base.parent / "outside" / "o.png",
                "folder link": base.parent / "outside",
                "lost": base / "?",
            }
            path.symlink_to(targets.get(kind, base))
    return counted(base)


def counted(base: Path, above: tuple[str, ...] = ()) -> int:
    """Files below, through links to folders outside; a link that leads nowhere or back counts as one."""
    total = 0
    hidden = any(
        part.startswith(".") or part == "__MACOSX" for part in base.relative_to(above[0] if above else base).parts
    )
    for entry in base.iterdir():
        real = os.path.realpath(entry)
        back = real in (*map(os.path.realpath, above), os.path.realpath(base))
        if entry.is_dir() and not back and not (entry.is_symlink() and hidden):
            total += counted(entry, (*above, str(base)))
        else:
            total += 1
    return total


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(things=trees())
def test_no_tree_is_misread(tmp_path_factory: pytest.TempPathFactory, things: list[tuple[list[str], str, str]]) -> None:
    base = tmp_path_factory.mktemp("tree") / "set"
    present = plant(base, things)
    assert sum(1 for _ in walk(base).below()) == present
    try:
        dataset, listing = opened(base, "?size=4")
    except FredbenchError as error:
        assert str(base) in error.message and error.hint and "\n" not in error.message
        return
    found = census(listing)
    read = listing.fates["read"] - found.refused
    assert read + listing.fates["skipped"] + listing.fates["refused"] + found.refused == present
    assert listing.fates["read"] == sum(map(len, (listing.pictures(part)[0] for part in ("train", "test"))))
    for name in dataset.classes:
        split = named_split(name)
        # Hidden folders are skipped, so that they make no class look like a split.
        inside = (path for folder in listing.folders.values() for path in (base / folder / name).glob("*/"))
        nested = any(path.is_dir() and not path.name.startswith((".", "__MACOSX")) for path in inside)
        assert split is None or split.rest or (split.training and not nested) or "." not in listing.folders.values()
    try:
        shown = len(dataset.train) + len(dataset.test)
    except FredbenchError as error:
        assert printable(base) in error.message and error.hint and "\n" not in error.message
        assert found.refused or any("of 16 bits" in trait for trait in found.traits)
    else:
        assert shown == listing.fates["read"]
