"""Corruption suites: the shipped ones, and files of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest
from spine import cifar_like

from fredbench.corruptions import NAMES
from fredbench.datasets import DATASETS
from fredbench.domains import CLEAN, TestDomains
from fredbench.errors import FredbenchError, UnknownNameError, UsageError
from fredbench.suites import CorruptionSuite, suite_named, suite_names

# corruptions.md 2: the literature's order of columns.
ORDER = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
MINE = """
name = "mine"
title = "mine"
dataset = "cifar-like"
profile = "cifar"
corruptions = ["fog", "snow"]
severities = [2, 4]
seed = 5
"""


@pytest.mark.parametrize("name", suite_names())
def test_shipped_suites_are_whole(name: str) -> None:
    suite = suite_named(name)
    assert suite.name == name and suite.title and suite.dataset in DATASETS
    assert suite.corruptions == ORDER == tuple(NAMES) and suite.severities == (1, 2, 3, 4, 5)
    assert suite.profile == "cifar" and suite.seed == 0 and suite.source


def test_the_suites_of_the_issue_are_there() -> None:
    assert {"digitsc", "cifar10c", "cifar100c", "svhnc"} <= set(suite_names())
    # Only a set that has been published carries its name.
    assert {name for name in suite_names() if suite_named(name).published} <= {"cifar10c", "cifar100c"}
    assert suite_named("cifar10c").published == "CIFAR-10-C"


def test_a_file_of_the_users(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(MINE)
    suite = suite_named(str(file))
    assert suite == CorruptionSuite("mine", "mine", "cifar-like", "cifar", ("fog", "snow"), (2, 4), 5)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "mine"', ""), ('profile = "cifar"', 'profile = "cifer"'), ('"fog"', '"smog"'), ("[2, 4]", "[0, 4]"),
        ("[2, 4]", "[]"), ("[2, 4]", "[2.5]"), ("[2, 4]", "3"), ("seed = 5", 'seed = "x"'), ("seed", "sead"),
        ('["fog", "snow"]', "[1, 2]"), ('["fog", "snow"]', "7"), ('title = "mine"', "title = 3"), ('"mine"', '"mine'),
        ('dataset = "cifar-like"', "dataset = []"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_meant_is_refused(tmp_path: Path, old: str, new: str) -> None:
    file = tmp_path / "mine.toml"
    assert old in MINE
    file.write_text(MINE.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        suite_named(str(file))
    assert "mine.toml" in caught.value.message and caught.value.hint


def test_missing_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no suite file"):
        suite_named(str(tmp_path / "none.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="no text"):
        suite_named(str(tmp_path / "binary.toml"))
    with pytest.raises(UnknownNameError) as caught:
        suite_named("cifar10-c")
    assert "cifar10c" in caught.value.hint


def domains(**given: object) -> TestDomains:
    suite = CorruptionSuite("mine", "mine", "cifar-like", "cifar", ("brightness", "contrast"), (1, 3))
    return TestDomains(suite, cifar_like(), **{"severities": (1, 3), **given})


def test_domains_are_clean_then_the_corruptions_a_severity_at_a_time() -> None:
    found = domains()
    assert found.names() == (CLEAN, "brightness", "contrast") and found.source == "generated"
    (clean,) = found.pictures(CLEAN)
    assert (clean == cifar_like().test.images).all()
    mild, strong = found.pictures("brightness")
    assert mild.shape == strong.shape == clean.shape and mild.dtype == clean.dtype
    assert clean.mean() < mild.mean() < strong.mean()


def test_a_limit_takes_evenly_spaced_pictures_that_keep_their_numbers() -> None:
    whole, part = domains(), domains(limit=7)
    assert len(part.indices) == len(set(part.indices.tolist())) == 7
    gaps = part.indices[1:] - part.indices[:-1]
    assert gaps.max() - gaps.min() <= 1 and (part.labels == cifar_like().test.labels[part.indices]).all()
    for name in whole.names():
        for full, few in zip(whole.pictures(name), part.pictures(name), strict=True):
            assert (full[part.indices] == few).all()
    assert len(domains(limit=10**6).indices) == len(cifar_like().test)


@pytest.mark.parametrize(
    "given", [{"limit": 0}, {"limit": -1}, {"severities": ()}, {"severities": (0,)}, {"severities": (6,)}]
)
def test_domains_that_cannot_be_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(FredbenchError):
        domains(**given)


def test_official_arrays_are_read_in_place_of_generating(tmp_path: Path) -> None:
    import numpy as np

    from fredbench.errors import DataError

    count = len(cifar_like().test)
    arrays = np.random.default_rng(0).integers(0, 256, (5 * count, 32, 32, 3), dtype=np.uint8)
    np.save(tmp_path / "brightness.npy", arrays)
    found = domains(official=tmp_path, limit=5)
    assert found.source == "official"
    first, third = found.pictures("brightness")
    assert (first == arrays[found.indices]).all() and (third == arrays[2 * count + found.indices]).all()
    with pytest.raises(DataError, match=r"contrast\.npy"):
        list(found.pictures("contrast"))
    np.save(tmp_path / "contrast.npy", arrays[:-1])
    with pytest.raises(DataError, match="not uint8"):
        list(found.pictures("contrast"))
