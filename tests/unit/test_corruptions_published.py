"""The published arrays' checksums, and telling an array by them."""

from __future__ import annotations

import hashlib
import re

import pytest

from fredbench.corruptions import ALL
from fredbench.corruptions import published as known
from fredbench.corruptions.published import PUBLISHED, published_as, published_md5


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
    monkeypatch.setattr(known, "PUBLISHED", {"SET": {"fog.npy": hashlib.md5(file.read_bytes()).hexdigest()}})
    assert published_as(file) == "SET/fog.npy"
    file.write_bytes(b"stands for another array")
    assert published_as(file) is None
    with pytest.raises(OSError):
        published_as(tmp_path / "absent.npy")
