"""Real pictures in: every dataset, in whatever form it lies, as the same uint8 arrays with a fingerprint.

>>> from fredbench.datasets import load_dataset
>>> digits = load_dataset("digits")
>>> digits.train.images.shape, str(digits.train.images.dtype)
((1297, 32, 32, 3), 'uint8')
"""

from __future__ import annotations

from fredbench.datasets.catalogue import (
    DATASETS,
    PREFIXES,
    data_root,
    fetch_dataset,
    is_offline,
    load_dataset,
)
from fredbench.datasets.core import Dataset, Source, Split, carve_validation, channel_statistics
from fredbench.datasets.family import Family, RemoteFile
from fredbench.datasets.resize import Geometry

__all__ = [
    "DATASETS",
    "PREFIXES",
    "Dataset",
    "Family",
    "Geometry",
    "RemoteFile",
    "Source",
    "Split",
    "carve_validation",
    "channel_statistics",
    "data_root",
    "fetch_dataset",
    "is_offline",
    "load_dataset",
]
