"""Test domains: the clean test split and its corruptions, generated here or read from official arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from fredbench.corruptions import corrupt, evenly_spaced
from fredbench.datasets import Dataset
from fredbench.errors import DataError, UsageError
from fredbench.suites import CorruptionSuite

__all__ = ["CLEAN", "TestDomains"]

CLEAN = "clean"


@dataclass(frozen=True)
class TestDomains:
    """The pictures of a suite's domains, made when asked for; at most one domain is held at a time.

    limit: that many evenly spaced test pictures, which keep their numbers for the corruption seeds.
    """

    __test__ = False  # the name is no test of pytest's

    suite: CorruptionSuite
    dataset: Dataset
    severities: tuple[int, ...]
    limit: int | None = None
    official: Path | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit must be at least 1, not {self.limit}", hint="leave it out for all pictures")
        if not self.severities or not set(self.severities) <= set(range(1, 6)):
            raise UsageError(f"severities {self.severities} are not among 1 to 5", hint="give --severity 1 .. 5")

    @property
    def indices(self) -> Int64[np.ndarray, " n"]:
        """Numbers, in the test split, of the pictures that are scored."""
        total = len(self.dataset.test.images)
        return evenly_spaced(total, total if self.limit is None else min(self.limit, total))

    @property
    def labels(self) -> Int64[np.ndarray, " n"]:
        """Their labels."""
        labels: np.ndarray = self.dataset.test.labels[self.indices]
        return labels

    @property
    def source(self) -> str:
        """`official` when published arrays are read, else `generated`."""
        return "generated" if self.official is None else "official"

    def names(self) -> tuple[str, ...]:
        """`clean`, then the suite's corruptions in order."""
        return (CLEAN, *self.suite.corruptions)

    def pictures(self, name: str) -> Iterator[UInt8[np.ndarray, "n h w c"]]:
        """The pictures of one domain: once for `clean`, else one array a severity, in rising order."""
        clean = self.dataset.test.images[self.indices]
        if name == CLEAN:
            yield clean
            return
        if self.official is not None:
            yield from self._read_official(name)
            return
        for severity in self.severities:
            yield corrupt(clean, name, severity, profile=self.suite.profile, seed=self.suite.seed, indices=self.indices)

    def _read_official(self, name: str) -> Iterator[UInt8[np.ndarray, "n h w c"]]:
        total = len(self.dataset.test.images)
        file = Path(str(self.official)) / f"{name}.npy"
        try:
            rows = np.load(file, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise DataError(f"{file} cannot be read: {error}", hint="complete the folder or move it away") from error
        expected = (5 * total, *self.dataset.test.images.shape[1:])
        if rows.shape != expected or rows.dtype != np.uint8:
            raise DataError(
                f"{file} holds {rows.dtype} {rows.shape}, not uint8 {expected}", hint="fetch the archive again"
            )
        for severity in self.severities:
            yield np.ascontiguousarray(rows[(severity - 1) * total + self.indices])

    @staticmethod
    def official_folder(suite: CorruptionSuite, root: Path | None) -> Path | None:
        """The folder of published arrays for `suite` under `root`, where a user has one."""
        for name in suite.official if root is not None else ():
            folder = Path(str(root)) / name
            if folder.is_dir():
                return folder
        return None
