"""The published corrupted arrays by their checksums: what an `.npy` file is, told by its bytes and not by its name.

The table is `published.toml`, with its source. The sums are of whole files, header included; `write_set` writes the
same header, so that a generated array with the published pixels has the published sum.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from fredbench.foundation.files import checksum_of

__all__ = ["EQUAL", "PUBLISHED", "published_array", "published_as", "published_md5"]

EQUAL = "equals the published array"
"""What is said of a file whose bytes are those of a published one."""


def _table() -> Mapping[str, Mapping[str, str]]:
    text = (files("fredbench.corruptions") / "published.toml").read_text()
    return MappingProxyType({name: MappingProxyType(entry["md5"]) for name, entry in tomllib.loads(text).items()})


PUBLISHED: Mapping[str, Mapping[str, str]] = _table()
"""MD5 by file name (such as `fog.npy`) by set (`CIFAR-10-C`, `CIFAR-100-C`)."""


_SIZES = frozenset({128 + 50_000 * 32 * 32 * 3, 128 + 50_000})
"""Bytes of the published files, header and values: others need not be read to be told from them."""


def published_md5(set_name: str, file_name: str) -> str | None:
    """MD5 of file `file_name` of the published set `set_name`; None where no such sum is known."""
    return PUBLISHED.get(set_name, {}).get(file_name)


def published_array(md5: str) -> tuple[str, str] | None:
    """Set and file name of the published array with this MD5, or None."""
    return next(((name, file) for name, sums in PUBLISHED.items() for file, own in sums.items() if own == md5), None)


@cache
def _md5_of(file: Path, size: int, changed: int) -> str:
    """MD5 of a file that had this size and this time of change: read once a process, anew when it is replaced."""
    return checksum_of(file, "md5")


def published_as(file: Path) -> str | None:
    """`SET/NAME.npy` of the published array that `file` is byte for byte, whatever its own name, or None.

    Raises OSError where it cannot be read.
    """
    found = file.stat()
    if found.st_size not in _SIZES:
        return None
    known = published_array(_md5_of(file, found.st_size, found.st_mtime_ns))
    return "/".join(known) if known else None
