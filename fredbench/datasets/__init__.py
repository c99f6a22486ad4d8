"""Real pictures in: every dataset, in whatever form it lies, as the same uint8 arrays with a fingerprint.

>>> from fredbench.datasets import load_dataset
>>> digits = load_dataset("digits")
>>> digits.train.images.shape, str(digits.train.images.dtype)
((1297, 32, 32, 3), 'uint8')
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fredbench.datasets.catalogue import DATASETS as DATASETS
    from fredbench.datasets.catalogue import PREFIXES as PREFIXES
    from fredbench.datasets.catalogue import data_root as data_root
    from fredbench.datasets.catalogue import fetch_dataset as fetch_dataset
    from fredbench.datasets.catalogue import is_offline as is_offline
    from fredbench.datasets.catalogue import load_dataset as load_dataset
    from fredbench.datasets.core import Dataset as Dataset
    from fredbench.datasets.core import Source as Source
    from fredbench.datasets.core import Split as Split
    from fredbench.datasets.core import carve_validation as carve_validation
    from fredbench.datasets.core import channel_statistics as channel_statistics
    from fredbench.datasets.family import Family as Family
    from fredbench.datasets.family import RemoteFile as RemoteFile
    from fredbench.datasets.resize import Geometry as Geometry

# Imported on first use: what suites say of a dataset is read without the libraries that decode pictures.
_LAZY = {
    "DATASETS": "catalogue",
    "PREFIXES": "catalogue",
    "Dataset": "core",
    "Family": "family",
    "Geometry": "resize",
    "RemoteFile": "family",
    "Source": "core",
    "Split": "core",
    "carve_validation": "core",
    "channel_statistics": "core",
    "data_root": "catalogue",
    "fetch_dataset": "catalogue",
    "is_offline": "catalogue",
    "load_dataset": "catalogue",
}

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


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
