"""Checking a dataset as it lies: files against checksums, splits against counts and fingerprints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fredbench.datasets.core import Dataset, FileRecord
from fredbench.foundation.errors import DataError
from fredbench.foundation.files import checksum_of

__all__ = ["SplitReport", "verify_dataset"]


@dataclass(frozen=True)
class SplitReport:
    """What was found of one split; `problem` is empty when all of it holds."""

    split: str
    form: str
    path: str
    pictures: int
    published: int | None
    partial: str
    fingerprint: str
    problem: str


def _file_problem(record: FileRecord) -> str:
    """What is wrong with a file, or nothing."""
    try:
        found = checksum_of(record.path, record.algorithm)
    except OSError as error:
        return f"{record.path.name}: {error.strerror}"
    return "" if found == record.digest else f"{record.path.name}: {record.algorithm} is not the recorded one"


def _excused(dataset: Dataset) -> bool:
    """Whether pixels and labels of every split were compared with the published ones on reading.

    Then an official file that was packed anew (another gzip, another pickle) is right all the same.
    """
    return dataset.source.form != "packed" and all(
        dataset.compared(part) and len(getattr(dataset, part)) == dataset.published.get(part)
        for part in ("train", "test")
    )


def verify_dataset(dataset: Dataset) -> list[SplitReport]:
    """Read both splits and every file with a known checksum; one report a split, files in the first."""
    problems = dict.fromkeys(("train", "test"), "")
    for part in problems:
        try:
            getattr(dataset, part)
        except DataError as error:
            problems[part] = error.message
    files = [problem for record in dataset.source.files if (problem := _file_problem(record))]
    if files and (any(problems.values()) or not _excused(dataset)):
        problems["train"] = "; ".join([*filter(None, [problems["train"]]), *files])
    return [_report(dataset, part, problem) for part, problem in problems.items()]


def _report(dataset: Dataset, part: str, problem: str) -> SplitReport:
    split = dataset.__dict__.get(part)
    path: Path | None = dataset.source.path
    return SplitReport(
        split=part,
        form=dataset.source.form,
        path=str(path) if path else "embedded",
        pictures=len(split) if split is not None else 0,
        published=dataset.published.get(part),
        partial=dataset.partial.get(part, ""),
        fingerprint=split.fingerprint if split is not None else "",
        problem=problem,
    )
