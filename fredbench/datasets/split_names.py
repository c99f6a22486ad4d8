"""What names of folders say of splits: `Train`, `testing`, `validation_set`, `seg_train`, `MNIST_Test`, `train2017`.

A name is *sure* when all of its words are one word for a split and words that say nothing (`set`, `images`, numbers).
With other words beside it, as in `seg_train`, it is sure only beside a partner with the same ones (`seg_test`): a
class may be called `electric_train`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SplitName", "named_split", "split_folders"]

_TRAIN = {"train", "training", "trn", "trainset", "trainingset", "traindata", "trainval", "trains"}
# The lower the rank, the more a split is the one on which numbers are given.
_TEST = {
    **dict.fromkeys(("test", "testing", "tst", "testset", "testingset", "testdata", "tests"), 0),
    **dict.fromkeys(("eval", "evaluation", "evalset", "evaluationset"), 1),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating", "valset", "validset", "validationset"), 2),
    **dict.fromkeys(("dev", "devel", "development", "devset"), 3),
}
_EMPTY = {
    "set", "sets", "split", "data", "dataset", "images", "image", "imgs", "img", "pictures", "pics", "folder",
    "folders", "samples", "part", "subset", "fold",
}  # fmt: skip


@dataclass(frozen=True)
class SplitName:
    """What a name says: which split, how plainly (words beside it), and which words remain.

    rank: None for training, else 0 to 3 (test, eval, val, dev). rest: the words beside it, lower case; empty where the
    name is sure. extra: how many words and numbers that say nothing.
    """

    name: str
    rank: int | None
    rest: tuple[str, ...]
    extra: int

    @property
    def training(self) -> bool:
        """Whether it names the training split."""
        return self.rank is None


def words_of(name: str) -> list[str]:
    """The words and numbers of a name in lower case, also of camel case."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return re.findall(r"[^\W\d_]+|\d+", parted.lower())


def named_split(name: str) -> SplitName | None:
    """What `name` says of a split, or None where it says nothing or two things."""
    whole = re.sub(r"[\W\d_]+", "", name.lower())
    words = [whole] if whole in _TRAIN or whole in _TEST else words_of(name)
    if {"train", "val"} <= set(words):
        words = ["trainval", *(word for word in words if word not in {"train", "val"})]
    telling = [word for word in words if word not in _EMPTY and not word.isdigit()]
    found = [place for place, word in enumerate(telling) if word in _TRAIN or word in _TEST]
    if len(found) != 1 or found[0] not in {0, len(telling) - 1}:
        return None
    word = telling.pop(found[0])
    plain = name.lower() == word
    return SplitName(name, _TEST.get(word), tuple(telling), 0 if plain else 1 + len(words) - len(telling) - 1)


def is_filler(name: str) -> bool:
    """Whether a folder's name says nothing of its pictures: `images`, `data`, `01`."""
    words = words_of(name)
    return bool(words) and all(word in _EMPTY or word.isdigit() for word in words)


def split_folders(base: Path) -> tuple[list[Path], list[Path]]:
    """Folders of `base` that are surely training splits, and surely test splits in the order of their rank."""
    folders = (path for path in base.iterdir() if path.is_dir()) if base.is_dir() else ()
    told = sure(path.name for path in folders)
    return (
        [base / each.name for each in told if each.training],
        [base / each.name for each in told if not each.training],
    )


def sure(names: Iterable[str]) -> list[SplitName]:
    """The names that are surely splits, the plainest first, by rank."""
    told = (named_split(name) for name in names)
    return sorted(
        (each for each in told if each is not None and not each.rest),
        key=lambda each: (each.rank or 0, each.extra, each.name.lower(), each.name),
    )
