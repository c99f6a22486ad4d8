"""The published ImageNet-C archive: `<corruption>/<severity>/<wnid>/*.JPEG`, every picture 224 x 224.

The five downloads unpack to folders of a category each (noise, blur, weather, digital, extra), which may stand
between the root and the corruption. Of a subset only its classes are read, in the subset's label order; each
corruption and severity holds the 50 ILSVRC-2012 validation pictures of a class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from fredbench.datasets.image_folder import read_pictures, stored_sizes
from fredbench.datasets.known.imagenet_subsets import class_listing, validation_shortfall
from fredbench.datasets.resize import Geometry
from fredbench.foundation.errors import DataError

__all__ = ["ImageNetC", "Listing"]

CATEGORIES = ("noise", "blur", "weather", "digital", "extra")
SIDE = 224
Listing = tuple[list[list[Path]], Int64[np.ndarray, " n"]]
"""The files of a corruption, a list a severity, and the labels that all severities share."""
_MEND = "unpack the ImageNet-C archives again, or move the folder away to have the pictures generated"


@dataclass(frozen=True)
class ImageNetC:
    """The classes `wnids` of the archive at `folder`; a missing corruption, severity or class is a `DataError`."""

    folder: Path
    wnids: tuple[str, ...]

    def cell(self, corruption: str, severity: int) -> Path:
        """The folder of one corruption and severity, directly below the root or in its category's folder."""
        for base in (self.folder, *(self.folder / category for category in CATEGORIES)):
            if (base / corruption / str(severity)).is_dir():
                return base / corruption / str(severity)
        raise DataError(f"{self.folder} has no folder {corruption}/{severity}", hint=_MEND)

    def listing(self, corruption: str, severities: Sequence[int]) -> Listing:
        """Files of each severity, in class order, and their labels, which all severities must share."""
        files: list[list[Path]] = []
        names: list[tuple[str, ...]] = []
        labels: list[int] = []
        for severity in severities:
            inside, labels = class_listing(self.cell(corruption, severity), self.wnids)
            files.append(inside)
            names.append(tuple(f"{path.parent.name}/{path.name}" for path in inside))
        if len(set(names)) > 1:
            counts = ", ".join(f"{len(held)} at {severity}" for severity, held in zip(severities, names, strict=True))
            raise DataError(
                f"{self.cell(corruption, severities[0]).parent} holds other pictures at one severity than at another "
                f"(pictures by severity: {counts})",
                hint=_MEND,
            )
        return files, np.asarray(labels, dtype=np.int64)

    def pictures(
        self, corruption: str, severities: Sequence[int], numbers: Int64[np.ndarray, " k"], geometry: Geometry | None
    ) -> Iterator[UInt8[np.ndarray, "k h w 3"]]:
        """The pictures at positions `numbers` of each severity, brought to size by `geometry`."""
        files, labels = self.listing(corruption, severities)
        for severity, every in zip(severities, files, strict=True):
            chosen = [every[number] for number in numbers]
            for path, size in zip(chosen, stored_sizes(chosen).tolist(), strict=True):
                if size != [SIDE, SIDE]:
                    raise DataError(f"{path} is {size[1]}x{size[0]}, not ImageNet-C's {SIDE}x{SIDE}", hint=_MEND)
            what = f"{corruption} {severity} of {self.folder.name}"
            yield read_pictures(chosen, labels[numbers].tolist(), geometry, what).images

    def shortage(self, listings: Mapping[str, Listing]) -> str:
        """What these corruptions lack against the archive, in words; empty for whole ones. Severities are equal."""
        lacking: dict[str, list[str]] = {}
        for corruption, (files, labels) in listings.items():
            what = validation_shortfall([path.name for path in files[0]], labels, len(self.wnids))
            lacking.setdefault(what, []).append(corruption)
        lacking.pop("", None)
        everywhere = [*listings]
        return "; ".join(
            f"{what} in {'every corruption' if names == everywhere else ', '.join(names)}"
            for what, names in lacking.items()
        )
