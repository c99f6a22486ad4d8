"""What the commands that make pictures of test pictures share: where to, of which, and what is kept of these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from fredbench.datasets import Dataset
from fredbench.foundation.errors import UsageError

__all__ = ["check_place", "chosen", "described", "one_picture"]


def check_place(out: Path | None, sheet: Path | None) -> None:
    """UsageError unless there is either a folder to write to or a file to draw."""
    if (out is None) == (sheet is None):
        raise UsageError(
            "written or drawn?", hint="give --out DIR to write a set, or --preview FILE.png to draw one picture"
        )


def chosen(dataset: Dataset, part: str, limit: int | None) -> Int64[np.ndarray, " n"]:
    """Numbers of so many evenly spaced pictures of the split `part`; of all without a limit."""
    from fredbench.corruptions import evenly_spaced

    total = len(getattr(dataset, part))
    return evenly_spaced(total, total if limit is None else min(limit, total))


def described(dataset: Dataset, part: str) -> dict[str, Any]:
    """What a manifest says of the split that its pictures were made of."""
    split = getattr(dataset, part)
    return {
        "dataset": dataset.title,
        "split": part,
        "pictures": len(split),
        "fingerprint": split.fingerprint,
        "partial": {key: value for key, value in dataset.partial.items() if key == part},
    }


def one_picture(dataset: Dataset, part: str, number: int) -> UInt8[np.ndarray, "h w c"]:
    """The picture `number` of a split; UsageError where there is none."""
    images: UInt8[np.ndarray, "n h w c"] = getattr(dataset, part).images
    if number >= len(images):
        raise UsageError(
            f"{dataset.name} has no {part} picture {number}", hint=f"choose --picture 0 to {len(images) - 1}"
        )
    picture: UInt8[np.ndarray, "h w c"] = images[number]
    return picture
