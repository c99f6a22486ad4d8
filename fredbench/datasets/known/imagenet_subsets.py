"""The ten-class ImageNet subsets of the distillation literature at 128 x 128.

Classes and their label order are those of MTT's and FreD's code (WordNet ids below, label 0 first); training
pictures are all ILSVRC-2012 training pictures of the ten classes, test pictures the 500 of its validation
split. Published code forces both sides to 128, squashing the picture, so that is the default;
`?geometry=crop` keeps proportions. ImageNet cannot be fetched: bring a tree by WordNet id,
`train/<wnid>/*.JPEG` and `val/<wnid>/*.JPEG`, Kaggle's `ILSVRC/Data/CLS-LOC` with `LOC_val_solution.csv`,
fastai's `imagenette2`/`imagewoof2`, or a packed folder.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from fredbench.datasets.core import Source, Split, StoredTest, hold_out
from fredbench.datasets.family import Family
from fredbench.datasets.image_folder import TEST_FOLDERS, pictures_below, read_pictures, stored_sizes
from fredbench.datasets.packed import find_packed
from fredbench.datasets.resize import Geometry
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
                hint=f"bring all ten classes of the subset: {', '.join(wnids)}",
            )
        files += inside
        labels += [label] * len(inside)
    return files, labels


def _solution_file(base: Path) -> Path | None:
    """Kaggle's list of validation labels, in the folder of the tree or one of the four above it."""
    places = [base, *base.parents[:4]]
    return next((p / "LOC_val_solution.csv" for p in places if (p / "LOC_val_solution.csv").is_file()), None)


def _flat_validation(folder: Path, solution: Path, wnids: Sequence[str]) -> _Listing:
    """Validation pictures in one folder, put in classes by Kaggle's list (`ImageId,PredictionString`)."""
    by_class: dict[str, list[Path]] = {wnid: [] for wnid in wnids}
    try:
        with open(solution, newline="", encoding="ascii") as text:
            for row in csv.DictReader(text):
                wnid = (row["PredictionString"] or "").partition(" ")[0]
                if wnid in by_class:
                    by_class[wnid].append(folder / f"{row['ImageId']}.JPEG")
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise DataError(
            f"cannot read {solution}: {error!r}",
            hint="bring Kaggle's file, whose header is ImageId,PredictionString",
        ) from error
    files = [path for wnid in wnids for path in sorted(by_class[wnid])]
    return files, [label for label, wnid in enumerate(wnids) for _ in by_class[wnid]]


def _test_listing(base: Path, wnids: Sequence[str]) -> _Listing | None:
    """The test pictures of a tree: class folders in `test`, `val` or `validation`, or Kaggle's flat `val`."""
    for name in TEST_FOLDERS:
        if any((base / name / wnid).is_dir() for wnid in wnids):
            return class_listing(base / name, wnids)
    solution = _solution_file(base)
    if (base / "val").is_dir() and solution is not None:
        files, labels = _flat_validation(base / "val", solution, wnids)
        if len(set(labels)) == len(wnids):
            return files, labels
    return None


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
    base = next((b for b in _bases(family, root) if any((b / "train" / w).is_dir() for w in family.wnids)), None)
    if base is None:
        return None
    train, test = class_listing(base / "train", family.wnids), _test_listing(base, family.wnids)
    missing, notes = _tree_notes(train, test, len(family.wnids))
    if geometry is not None:
        notes.insert(0, f"pictures stored at varying sizes, {geometry.describe()}")
    if test is not None:
        readers = {
            "train": partial(read_pictures, *train, geometry, f"{family.name} train"),
            "test": partial(read_pictures, *test, geometry, f"{family.name} test"),
        }
        return Source("ImageNet tree", base, readers, missing, tuple(notes), stored_test=_stored(family, test))
    kept, held, note = hold_out(np.asarray(train[1], dtype=np.int64))
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
