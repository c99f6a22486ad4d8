"""`digits`: scanned handwritten digits that come with scikit-learn, so that no network is needed.

1,797 pictures of 8 x 8 pixels with 17 grey levels (Alpaydin & Kaynak, "Optical Recognition of Handwritten
Digits", UCI repository, its test part). The first 1,297 in file order train, the last 500 test, as in
scikit-learn's order of writers; grey levels are v * 255 / 16 rounded, then bilinear to 32 x 32
(`resize.bilinear`), three equal channels.
"""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from fredbench.datasets.core import Source, Split
from fredbench.datasets.family import Family
from fredbench.datasets.resize import Geometry, bilinear
from fredbench.foundation.errors import DataError

__all__ = ["DIGITS", "digits_arrays", "digits_table", "find_digits"]

TRAIN_COUNT, TEST_COUNT = 1297, 500
_SIDE, _LEVELS, _TARGET = 8, 16, 32


def _table_file() -> Path | None:
    """scikit-learn's own copy of the digits, found without importing it (the import takes seconds)."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    return path if path.is_file() else None


def digits_table() -> Float64[np.ndarray, "1797 65"]:
    """64 grey levels 0..16 in row order and the digit, one row a picture, in scikit-learn's order.

    Read from scikit-learn's data file; where a release keeps it elsewhere, through `load_digits`, which gives
    the same table. Raises `DataError` when scikit-learn is absent or its table has another shape.
    """
    path = _table_file()
    try:
        if path is not None:
            with gzip.open(path, "rt", encoding="ascii") as text:
                table = np.loadtxt(text, delimiter=",", dtype=np.float64)
        else:
            from sklearn.datasets import load_digits

            data, target = load_digits(return_X_y=True)
            table = np.column_stack([data, target]).astype(np.float64)
    except (ImportError, OSError, EOFError, ValueError) as error:
        raise DataError(
            f"the embedded digits cannot be read from scikit-learn: {error}",
            hint="reinstall it: pip install scikit-learn",
        ) from error
    if table.shape != (TRAIN_COUNT + TEST_COUNT, _SIDE * _SIDE + 1):
        raise DataError(
            f"scikit-learn's digits have shape {table.shape}, not (1797, 65)",
            hint="reinstall it: pip install scikit-learn",
        )
    return table


def digits_arrays(
    table: Float64[np.ndarray, "n 65"],
) -> tuple[UInt8[np.ndarray, "n 32 32 3"], Int64[np.ndarray, " n"]]:
    """Pictures, uint8 (n, 32, 32, 3), and labels, int64 (n,), of the rows of `table`."""
    levels = np.floor(table[:, :-1] * (255 / _LEVELS) + 0.5).astype(np.uint8)
    grey = bilinear(levels.reshape(-1, _SIDE, _SIDE, 1), (_TARGET, _TARGET))
    return np.repeat(grey, 3, axis=3), table[:, -1].astype(np.int64)


def _read(rows: slice) -> Split:
    return Split(*digits_arrays(digits_table()[rows]))


def find_digits(family: Family, root: Path, geometry: Geometry | None) -> Source:
    """The embedded digits; they are always there."""
    readers = {
        "train": lambda: _read(slice(0, TRAIN_COUNT)),
        "test": lambda: _read(slice(TRAIN_COUNT, TRAIN_COUNT + TEST_COUNT)),
    }
    return Source(
        "embedded",
        None,
        readers,
        notes=("scikit-learn's 8x8 scans, bilinear to 32x32, three equal channels",),
        stored_size=(_SIDE, _SIDE),
    )


DIGITS = Family(
    name="digits",
    classes=tuple("0123456789"),
    size=(32, 32),
    channels=3,
    # A mirrored digit is another sign, so augmentation leaves flips out.
    flip=False,
    # Mean and standard deviation of all training pixels; a test recomputes them.
    mean=(0.3060, 0.3060, 0.3060),
    std=(0.3229, 0.3229, 0.3229),
    published={"train": TRAIN_COUNT, "test": TEST_COUNT},
    fingerprints={
        "train": "89f9c972a4f7474c45a53138b164ad867a99fbc2e3da0feb5d242708dec75908",
        "test": "d8953a823a268f7969ea3f6e4cbcb3ba544dc9df69025ef0eabbb3aa48d31fde",
    },
    finders=(find_digits,),
)
