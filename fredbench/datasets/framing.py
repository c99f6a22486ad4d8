"""How the pictures of an ImageNet suite are cut before they are corrupted, and what the suite is then called.

ImageNet-C's order (hendrycks/robustness): shorter side to 256, centre 224, corrupt, store as JPEG of quality 85; the
distillation papers then resize to 128. It needs pictures of at least 256 pixels in their own proportions. Of others
is corrupted what there is, and the suite carries their size in its name: corrupting 128 pixels is another, harder
benchmark than corrupting 224 and shrinking.

How pictures are cut is one question, which pictures they are is another: published numbers stand on the 50 validation
pictures a class of ILSVRC-2012 alone, so other test splits keep the name and lose the published row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import UInt8

from fredbench.datasets import Dataset, Geometry, Split
from fredbench.datasets.catalogue import known_family
from fredbench.datasets.core import StoredTest
from fredbench.datasets.known.imagenet_subsets import validation_shortfall
from fredbench.foundation.errors import DataError

__all__ = ["Framing", "framing_of"]

SHORTER, SIDE = 256, 224
IMAGENET_C = Geometry(SIDE, "crop", shorter=SHORTER)


@dataclass(frozen=True)
class Framing:
    """What is corrupted of a dataset's test pictures.

    cut: how they are cut from the stored ones, None where those are of one size already. stored: the shorter side
    of the stored pictures (the median's where they vary). published: whether the order is ImageNet-C's own.
    """

    dataset: Dataset
    stored_test: StoredTest
    cut: Geometry | None
    stored: int
    published: bool

    @property
    def suffix(self) -> str:
        """What a suite's name gets: nothing under ImageNet-C's own order, else `-from` and the stored side."""
        return "" if self.published else f"-from{self.stored}"

    @cached_property
    def shortfall(self) -> str:
        """What the test split lacks to be ILSVRC-2012's validation pictures of an ImageNet subset; empty for those."""
        family = known_family(self.dataset.title)
        if family is None or not family.wnids:
            return ""  # pictures that are of no published set lack nothing of it
        return validation_shortfall(self.stored_test.names(), self.dataset.test.labels, len(family.wnids))

    def pictures(self) -> Split:
        """The test pictures at the size at which they are corrupted, in the order of the test split."""
        split = self.stored_test.read(self.cut)
        if not np.array_equal(split.labels, self.dataset.test.labels):
            raise DataError(
                f"the stored test pictures of {self.dataset.name} have other labels than its test split",
                hint="restore the dataset from its source",
            )
        return split

    def finished(self, pictures: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "n s s 3"]:
        """Pictures at the dataset's own size."""
        geometry = self.dataset.geometry
        if geometry is None or pictures.shape[1:3] == self.dataset.size:
            return pictures
        return geometry.apply_array(pictures)

    def describe(self, *, official: bool = False) -> str:
        """One line for the notes of a table; `official`: of ImageNet-C's own pictures, which were cut elsewhere."""
        if official:
            steps, side = [f"ImageNet-C's own pictures, {SIDE} pixels"], SIDE
        else:
            cut = f"stored pictures of {self.stored} pixels as they are" if self.cut is None else self.cut.describe()
            steps, side = [cut, "corrupted, stored as JPEG of quality 85"], self.stored
        if self.dataset.geometry is not None and side != self.dataset.geometry.size:
            steps.append(self.dataset.geometry.describe())
        return "; ".join(steps)


def framing_of(dataset: Dataset) -> Framing:
    """The framing that the stored test pictures of `dataset` allow; `DataError` where none are stored."""
    stored = dataset.source.stored_test
    if stored is None:
        raise DataError(
            f"{dataset.name} has no stored test pictures to cut",
            hint="read it from a tree by WordNet id or a packed folder (docs/datasets.md)",
        )
    side = int(np.median(stored.sizes().min(axis=1)))
    if stored.resized:
        return Framing(dataset, stored, None, side, published=False)
    # A few small pictures do not matter: ImageNet-C enlarged those that ILSVRC-2012 has.
    published = side >= SHORTER
    return Framing(dataset, stored, IMAGENET_C if published else Geometry(side, "crop"), side, published)
