"""Where benchmarks that score runs find store and data, asked the same way by all of them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

__all__ = ["add_places"]


def add_places(parser: argparse.ArgumentParser) -> None:
    """Add --store and --data, by default where `FREDBENCH_STORE` and `FREDBENCH_DATA` say."""
    store = Path(os.environ.get("FREDBENCH_STORE") or "runs")
    parser.add_argument("--store", type=Path, default=store, help="folder of runs")
    parser.add_argument("--data", type=Path, help="folder of datasets")
