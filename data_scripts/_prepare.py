"""What the scripts of this folder share: fetch a set, check it, pack it if asked."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fredbench.datasets import DATASETS, fetch_dataset, load_dataset
from fredbench.datasets.packing import pack_dataset
from fredbench.datasets.verification import verify_dataset
from fredbench.foundation.errors import FredbenchError


def _prepare(name: str, data: Path | None, offline: bool, pack: Path | None) -> bool:
    """Bring, check and perhaps pack one set; whether all of it holds."""
    if DATASETS.get(name).remote and not offline:
        fetch_dataset(name, root=data)
    dataset = load_dataset(name, root=data, offline=True)
    reports = verify_dataset(dataset)
    for report in reports:
        size = f"{report.pictures} pictures" + (f" ({report.partial})" if report.partial else "")
        print(f"{name} {report.split}: {size}, {report.form}, {report.path}: {report.problem or 'ok'}")
        print(f"  fingerprint {report.fingerprint}")
    for note in dataset.notes:
        print(f"  note: {note}")
    whole = not any(report.problem for report in reports)
    if pack is not None and whole:
        print(f"  packed: {pack_dataset(dataset, pack / name)}")
    return whole


def prepare(names: Sequence[str], description: str | None) -> int:
    """Run for the sets in `names`; 0 when all hold, 1 when one does not, 2 when one cannot be had."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(names), help=f"which sets (default: {' '.join(names)})")
    parser.add_argument("--data", type=Path, help="folder of datasets (default: FREDBENCH_DATA or the cache folder)")
    parser.add_argument("--offline", action="store_true", help="check what is there, fetch nothing")
    parser.add_argument("--pack", type=Path, metavar="DIR", help="also write packed sheets to DIR/<name>")
    chosen = parser.parse_args()
    code = 0
    for name in chosen.names:
        try:
            if not _prepare(name, chosen.data, chosen.offline, chosen.pack):
                code = max(code, 1)
        except FredbenchError as error:
            print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
            code = 2
    return code
