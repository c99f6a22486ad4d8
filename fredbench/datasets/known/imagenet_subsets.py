"""The ten-class ImageNet subsets of the distillation literature at 128 x 128.

Classes and their label order are those of MTT's and FreD's code (WordNet ids below, label 0 first); training
pictures are all ILSVRC-2012 training pictures of the ten classes, test pictures the 500 of its validation
split. Published code forces both sides to 128, squashing the picture, so that is the default;
`?geometry=crop` keeps proportions. ImageNet cannot be fetched: bring a tree by WordNet id,
`train/<wnid>/*.JPEG` and `val/<wnid>/*.JPEG`, a flat `val/` with Kaggle's `LOC_val_solution.csv` or the development
kit (`truth`), fastai's `imagenette2`/`imagewoof2`, or a packed folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from fredbench.datasets.core import Source, Split, StoredTest, hold_out
from fredbench.datasets.family import Family
from fredbench.datasets.image_folder import read_pictures, stored_sizes
from fredbench.datasets.packed import find_packed
from fredbench.datasets.resize import Geometry
from fredbench.datasets.split_names import split_folders
from fredbench.datasets.truth import Truth, flat_truth
from fredbench.datasets.walking import pictures_below
from fredbench.foundation.errors import DataError

__all__ = [
    "IMAGEFRUIT",
    "IMAGEMEOW",
    "IMAGENETTE",
    "IMAGESQUAWK",
    "IMAGEWOOF",
    "IMAGEYELLOW",
    "class_listing",
    "find_tree",
    "training_folder",
    "tree_split",
    "validation_shortfall",
]

_SIDE = 128
# ILSVRC-2012 holds 732 to 1,300 training pictures a class and 50 for validation (Russakovsky et al., IJCV
# 2015, table 2).
_LEAST_TRAIN, _VALIDATION = 732, 50
_VALIDATION_PREFIX, _VALIDATION_ENDING = "ILSVRC2012_val_", ".jpeg"
_TREES = ("imagenet", "ImageNet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC", "imagenet/ILSVRC/Data/CLS-LOC")
_FASTAI = ("{}2", "{}2-320", "{}2-160")
_PROVIDE = (
    "ImageNet cannot be fetched: unpack ILSVRC-2012 as imagenet/train/<wnid>/*.JPEG and "
    "imagenet/val/<wnid>/*.JPEG below the data folder"
)

_Listing = tuple[list[Path], list[int]]


def _bases(family: Family, root: Path) -> Iterator[Path]:
    yield root / family.name
    for name in (*_TREES, *(pattern.format(family.name) for pattern in _FASTAI)):
        yield root / name
    yield root


def class_listing(folder: Path, wnids: Sequence[str]) -> _Listing:
    """Files and labels of the class folders below `folder`; a class without pictures is a `DataError`."""
    files: list[Path] = []
    labels: list[int] = []
    for label, wnid in enumerate(wnids):
        inside = pictures_below(folder / wnid)
        if not inside:
            raise DataError(
                f"{folder} has no pictures of class {wnid}",
                hint=f"bring all {len(wnids)} classes: {', '.join(wnids[:10])}{' ...' if len(wnids) > 10 else ''}",
            )
        files += inside
        labels += [label] * len(inside)
    return files, labels


def _told_listing(folder: Path, truth: Truth, wnids: Sequence[str]) -> _Listing:
    """Pictures lying flat in `folder`, put in classes by what is told of them, by name inside a class."""
    by_class: dict[str, list[Path]] = {wnid: [] for wnid in wnids}
    for path in pictures_below(folder):
        if (wnid := truth.classes.get(path.stem, "")) in by_class:
            by_class[wnid].append(path)
    files = [path for wnid in wnids for path in by_class[wnid]]
    return files, [label for label, wnid in enumerate(wnids) for _ in by_class[wnid]]


def tree_split(base: Path, wnids: Sequence[str]) -> tuple[_Listing | None, list[str]]:
    """The test pictures of a tree, and what is to be said of its test folders.

    Class folders in a folder that is a test split by its name (`split_names`), or pictures lying flat in one with a
    file that tells their classes (`truth`); without such a file they are named as unusable.
    """
    notes: list[str] = []
    for folder in split_folders(base)[1]:
        if any((folder / wnid).is_dir() for wnid in wnids):
            return class_listing(folder, wnids), notes
        flat = pictures_below(folder)
        truth = flat_truth(base, folder) if flat else None
        if truth is not None and not truth.fault:
            files, labels = _told_listing(folder, truth, wnids)
            if len(set(labels)) == len(wnids):
                return (files, labels), notes
            absent = [wnid for label, wnid in enumerate(wnids) if label not in set(labels)]
            fault = f"{truth.file} tells none to be of {', '.join(absent[:5])}"
        else:
            fault = "no file tells their classes" if truth is None else f"{truth.file} does not tell: {truth.fault}"
        if flat:
            notes.append(
                f"{len(flat):,} pictures in {folder.name}/ lie without class folders and are not used: {fault}"
            )
    return None, notes


def training_folder(base: Path, wnids: Sequence[str]) -> Path | None:
    """The folder of `base` that is a training split by its name and holds some of the classes."""
    return next((f for f in split_folders(base)[0] if any((f / wnid).is_dir() for wnid in wnids)), None)


def validation_shortfall(names: Sequence[str] | None, labels: Int64[np.ndarray, " n"], classes: int) -> str:
    """What pictures lack to be exactly ILSVRC-2012's validation pictures of `classes` classes; empty for those.

    names: of the pictures' files, as published; None where they are not known and the counts alone must decide.
    """
    whole = classes * _VALIDATION
    if names is None:
        even = np.array_equal(np.bincount(labels, minlength=classes), [_VALIDATION] * classes)
        return "" if even else f"{len(labels):,} pictures, not the {whole} of ILSVRC-2012's validation split"
    # A picture counts once, and in each class no more of them than it has.
    told = {
        (label, name)
        for label, name in zip(labels.tolist(), names, strict=True)
        if name.startswith(_VALIDATION_PREFIX) and name.lower().endswith(_VALIDATION_ENDING)
    }
    found = sum(min(count, _VALIDATION) for count in Counter(label for label, _ in told).values())
    others = len(names) - found
    if (found, others) == (whole, 0):
        return ""
    return f"{found} of {whole} validation pictures of ILSVRC-2012" + (f"; others: {others:,}" if others else "")


def _tree_notes(train: _Listing, test: _Listing | None, classes: int) -> tuple[dict[str, str], list[str]]:
    """What such a tree lacks against ILSVRC-2012, and what its test split is."""
    partial_, notes = {}, []
    fewest = int(np.bincount(train[1]).min())
    if fewest < _LEAST_TRAIN:
        partial_["train"] = f"{len(train[0])} pictures, {fewest} in the smallest class (ILSVRC-2012: 732 to 1,300)"
    if test is not None:
        names, labels = [path.name for path in test[0]], np.asarray(test[1], dtype=np.int64)
        if validation_shortfall(names, labels, classes):
            notes.append(
                f"the {len(test[0])} test pictures are not the 500 of the ILSVRC-2012 validation split, "
                "on which published numbers stand"
            )
    return partial_, notes


def _stored(family: Family, test: _Listing) -> StoredTest:
    files, labels = test
    return StoredTest(
        sizes=lambda: stored_sizes(files),
        read=lambda geometry: read_pictures(files, labels, geometry, f"{family.name} test"),
        resized=False,
        names=lambda: [path.name for path in files],
    )


def find_tree(family: Family, root: Path, geometry: Geometry | None) -> Source | None:
    """A tree by WordNet id below `root`, in ILSVRC's, Kaggle's or fastai's layout."""
    found = next(((b, f) for b in _bases(family, root) if (f := training_folder(b, family.wnids))), None)
    if found is None:
        return None
    base, folder = found
    train, (test, told) = class_listing(folder, family.wnids), tree_split(base, family.wnids)
    missing, notes = _tree_notes(train, test, len(family.wnids))
    notes += told
    if geometry is not None:
        notes.insert(0, f"pictures stored at varying sizes, {geometry.describe()}")
    if test is not None:
        readers = {
            "train": partial(read_pictures, *train, geometry, f"{family.name} train"),
            "test": partial(read_pictures, *test, geometry, f"{family.name} test"),
        }
        return Source("ImageNet tree", base, readers, missing, tuple(notes), stored_test=_stored(family, test))
    kept, held, note = hold_out(np.asarray(train[1], dtype=np.int64), family.wnids)
    test = [train[0][row] for row in held], [train[1][row] for row in held]

    @cache
    def both() -> Split:
        return read_pictures(*train, geometry, family.name)

    held_out = {"train": lambda: both().take(kept), "test": lambda: both().take(held)}
    return Source("ImageNet tree", base, held_out, missing, (*notes, note), stored_test=_stored(family, test))


def _subset(name: str, *classes: tuple[str, str]) -> Family:
    return Family(
        name=name,
        classes=tuple(title for _, title in classes),
        size=(_SIDE, _SIDE),
        channels=3,
        flip=True,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        published={},
        finders=(find_packed, find_tree),
        places=(
            f"{name}/dataset.json",
            *(f"{base}/train/<wnid>/" for base in (name, "imagenet", f"{name}2")),
        ),
        provide=_PROVIDE,
        wnids=tuple(wnid for wnid, _ in classes),
        geometry=Geometry(_SIDE),
    )


IMAGENETTE = _subset(
    "imagenette",
    ("n01440764", "tench"),
    ("n02102040", "English springer"),
    ("n02979186", "cassette player"),
    ("n03000684", "chain saw"),
    ("n03028079", "church"),
    ("n03394916", "French horn"),
    ("n03417042", "garbage truck"),
    ("n03425413", "gas pump"),
    ("n03445777", "golf ball"),
    ("n03888257", "parachute"),
)
IMAGEWOOF = _subset(
    "imagewoof",
    ("n02096294", "Australian terrier"),
    ("n02093754", "Border terrier"),
    ("n02111889", "Samoyed"),
    ("n02088364", "beagle"),
    ("n02086240", "Shih-Tzu"),
    ("n02089973", "English foxhound"),
    ("n02087394", "Rhodesian ridgeback"),
    ("n02115641", "dingo"),
    ("n02099601", "golden retriever"),
    ("n02105641", "Old English sheepdog"),
)
IMAGEFRUIT = _subset(
    "imagefruit",
    ("n07753275", "pineapple"),
    ("n07753592", "banana"),
    ("n07745940", "strawberry"),
    ("n07747607", "orange"),
    ("n07749582", "lemon"),
    ("n07768694", "pomegranate"),
    ("n07753113", "fig"),
    ("n07720875", "bell pepper"),
    ("n07718472", "cucumber"),
    ("n07742313", "Granny Smith"),
)
IMAGEYELLOW = _subset(
    "imageyellow",
    ("n02206856", "bee"),
    ("n12057211", "yellow lady's slipper"),
    ("n07753592", "banana"),
    ("n07749582", "lemon"),
    ("n12144580", "corn"),
    ("n04146614", "school bus"),
    ("n03530642", "honeycomb"),
    ("n02129165", "lion"),
    ("n01773157", "black and gold garden spider"),
    ("n01531178", "goldfinch"),
)
IMAGEMEOW = _subset(
    "imagemeow",
    ("n02123045", "tabby"),
    ("n02123159", "tiger cat"),
    ("n02123394", "Persian cat"),
    ("n02123597", "Siamese cat"),
    ("n02124075", "Egyptian cat"),
    ("n02129165", "lion"),
    ("n02129604", "tiger"),
    ("n02128925", "jaguar"),
    ("n02128757", "snow leopard"),
    ("n02127052", "lynx"),
)
IMAGESQUAWK = _subset(
    "imagesquawk",
    ("n01806143", "peacock"),
    ("n02007558", "flamingo"),
    ("n01818515", "macaw"),
    ("n02051845", "pelican"),
    ("n02056570", "king penguin"),
    ("n01614925", "bald eagle"),
    ("n01843383", "toucan"),
    ("n01518878", "ostrich"),
    ("n01860187", "black swan"),
    ("n01819313", "sulphur-crested cockatoo"),
)
