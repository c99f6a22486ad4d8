"""The published arrays' checksums, and telling an array by them."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest

from fredbench.corruptions import ALL, libraries, write_set
from fredbench.corruptions import published as known
from fredbench.corruptions.checking import check_arrays, corrupted_arrays
from fredbench.corruptions.published import PUBLISHED, published_as, published_md5
from fredbench.foundation.errors import DataError, UsageError
from fredbench.foundation.files import checksum_of


def test_every_array_of_both_archives_has_one_sum_of_its_own():
    names = {f"{name}.npy" for name in (*ALL, "labels")}
    assert set(PUBLISHED) == {"CIFAR-10-C", "CIFAR-100-C"}
    assert all(set(sums) == names for sums in PUBLISHED.values())
    every = [md5 for sums in PUBLISHED.values() for md5 in sums.values()]
    assert len(set(every)) == len(every) and all(re.fullmatch("[0-9a-f]{32}", md5) for md5 in every)


def test_sums_are_found_by_set_and_file():
    assert published_md5("CIFAR-10-C", "contrast.npy") == "3c8262171c51307f916c30a3308235a8"
    assert published_md5("CIFAR-10-C", "contrast") is None
    assert published_md5("ImageNet-C", "contrast.npy") is None


def test_a_file_is_told_by_its_bytes_and_not_by_its_name(tmp_path, monkeypatch):
    file = tmp_path / "mine.npy"
    file.write_bytes(b"stands for an array")
    monkeypatch.setattr(known, "_SIZES", frozenset({file.stat().st_size}))
    monkeypatch.setattr(known, "PUBLISHED", {"SET": {"fog.npy": hashlib.md5(file.read_bytes()).hexdigest()}})
    assert published_as(file) == "SET/fog.npy"
    file.write_bytes(b"stands for one array")
    assert published_as(file) is None
    file.write_bytes(b"Stands for an array")
    assert published_as(file) is None
    with pytest.raises(OSError):
        published_as(tmp_path / "absent.npy")


def a_set(folder, names=("fog", "contrast")):
    pictures = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    return write_set(pictures, np.arange(6), folder, corruptions=names, severities=[2], workers=1)


def call_published(monkeypatch, file, name):
    monkeypatch.setattr(known, "_SIZES", frozenset({file.stat().st_size}))
    monkeypatch.setattr(known, "PUBLISHED", {"SET": {name: checksum_of(file, "md5")}})


def test_a_written_set_names_the_published_arrays_in_it(tmp_path, monkeypatch):
    a_set(tmp_path / "once")
    call_published(monkeypatch, tmp_path / "once" / "contrast.npy", "contrast.npy")
    files = a_set(tmp_path / "again")["files"]
    assert files["contrast.npy"]["published"] == "SET/contrast.npy" and "published" not in files["fog.npy"]
    # A finished file that is kept keeps saying so.
    assert a_set(tmp_path / "again")["files"]["contrast.npy"]["published"] == "SET/contrast.npy"


def test_sets_of_other_pixels_are_not_taken_for_these(tmp_path, monkeypatch):
    monkeypatch.setattr(libraries, "PIXELS", "1")
    a_set(tmp_path)
    monkeypatch.undo()
    with pytest.raises(UsageError, match=r"holds fog\.npy of another set"):
        a_set(tmp_path, ["contrast"])
    old = (tmp_path / "fog.npy").stat().st_ino
    a_set(tmp_path)
    assert (tmp_path / "fog.npy").stat().st_ino != old


def test_a_folder_of_arrays_is_checked_file_by_file(tmp_path, monkeypatch):
    a_set(tmp_path)
    call_published(monkeypatch, tmp_path / "contrast.npy", "contrast.npy")
    found = {report.file: report for report in check_arrays(tmp_path)}
    assert list(found) == ["fog.npy", "contrast.npy", "labels.npy"]
    assert found["contrast.npy"].identity == "equals the published array SET/contrast.npy"
    assert found["contrast.npy"].content == "uint8 6 × 32 × 32 × 3"
    assert found["fog.npy"].identity == "no published array"
    assert not any(report.problem for report in found.values())


def test_files_under_a_false_name_altered_or_unreadable_are_problems(tmp_path, monkeypatch):
    a_set(tmp_path)
    call_published(monkeypatch, tmp_path / "contrast.npy", "zoom_blur.npy")
    with open(tmp_path / "fog.npy", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    (tmp_path / "snow.npy").write_bytes(b"no array")
    np.save(tmp_path / "frost.npy", np.array([{}], object), allow_pickle=True)
    found = {report.file: report.problem for report in check_arrays(tmp_path)}
    assert "published SET/zoom_blur.npy" in found["contrast.npy"] and "sha256" in found["fog.npy"]
    assert "cannot be read" in found["snow.npy"] and "cannot be read" in found["frost.npy"]
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(DataError, match="manifest"):
        check_arrays(tmp_path)


def test_a_folder_without_arrays_is_none_of_these(tmp_path):
    np.save(tmp_path / "labels.npy", np.arange(3))
    assert corrupted_arrays(tmp_path) == []
