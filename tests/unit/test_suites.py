"""Corruption suites: the shipped ones, and files of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import ROOT
from spine import cifar_like

from fredbench.corruptions import NAMES
from fredbench.datasets import DATASETS
from fredbench.evaluation.domains import CLEAN, TestDomains
from fredbench.foundation.errors import FredbenchError, UnknownNameError, UsageError
from fredbench.suites.corruption import CorruptionSuite, suite_named, suite_names

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


SUBSETS = ("imagefruitc", "imagemeowc", "imagenettec", "imagesquawkc", "imagewoofc", "imageyellowc")
BAR = ("cifar100cbar", "cifar10cbar", "svhncbar", *(f"{name}bar" for name in SUBSETS))


@pytest.mark.parametrize("name", sorted({*suite_names()} - {"cifar101", *BAR}))
def test_shipped_suites_are_whole(name: str) -> None:
    suite = suite_named(name)
    assert suite.name == name and suite.title and suite.dataset in DATASETS
    assert suite.corruptions == ORDER == tuple(NAMES) and suite.severities == (1, 2, 3, 4, 5)
    assert suite.seed == 0 and suite.source and suite.shift is None
    imagenet = name in SUBSETS
    assert suite.profile == ("imagenet" if imagenet else "cifar")
    assert suite.framing == ("imagenet-c" if imagenet else "dataset")
    if suite.baseline is not None:
        assert tuple(suite.baseline.errors) == ORDER and suite.baseline.network and suite.baseline.provenance
        assert (suite.baseline.source, suite.baseline.suite) == ("generated", name)


def test_the_suites_of_the_issue_are_there() -> None:
    assert {"digitsc", "cifar10c", "cifar100c", "svhnc", "cifar101", "tinyimagenetc", *SUBSETS, *BAR} == set(
        suite_names()
    )
    # Only a set that has been published carries its name.
    published = {name: suite_named(name).published for name in suite_names()}
    assert {name for name, found in published.items() if found} == {"cifar10c", "cifar100c", *SUBSETS}
    assert published["cifar10c"] == "CIFAR-10-C" and published["imagenettec"] == "ImgNette-C"


def test_cifar101_tests_other_photographs_and_no_corruptions() -> None:
    suite = suite_named("cifar101")
    assert suite.dataset == "cifar10" and suite.corruptions == () and suite.shift is not None
    assert dict(zip(suite.shift.versions, suite.shift.pictures, strict=True)) == {"v6": 2000, "v4": 2021}


def shipped(name: str) -> str:
    return (ROOT / "suites" / f"{name}.toml").read_text()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("cifar10c", 'profile = "cifar"', 'profile = "imagenet"'),
        ("cifar10c", 'dataset = "cifar10"', 'dataset = "digits"'),
        ("cifar10c", '"gaussian_noise", ', ""),
        ("imagenettec", 'framing = "imagenet-c"', ""),
        ("imagenettec", 'dataset = "imagenette"', 'dataset = "imagewoof"'),
        ("imagewoofc", 'profile = "imagenet"', 'profile = "cifar"'),
        ("cifar10c", "severities = [1, 2, 3, 4, 5]", "severities = [1, 2]"),
        # Names that no table in the literature has stand for their pictures too.
        ("digitsc", 'dataset = "digits"', 'dataset = "mnist"'),
        ("svhnc", '"gaussian_noise", ', ""),
        ("cifar101", 'dataset = "cifar10"', 'dataset = "cifar100"'),
        ("cifar101", "pictures = [2000, 2021]", "pictures = [20, 21]"),
        ("cifar101", "corruptions = []", 'corruptions = ["fog"]'),
    ],
)
def test_other_constants_never_carry_a_shipped_name(tmp_path: Path, name: str, old: str, new: str) -> None:
    file, text = tmp_path / "mine.toml", shipped(name)
    assert old in text
    file.write_text(text)
    assert suite_named(str(file)) == suite_named(name)
    changed = text.replace(old, new, 1)
    file.write_text(changed)
    with pytest.raises(UsageError, match="is not that set's") as caught:
        suite_named(str(file))
    assert name in caught.value.hint
    # Not by its title or its name in tables either, but under names of its own.
    suite = suite_named(name)
    own = changed.replace(f'name = "{name}"', 'name = "mine"')
    file.write_text(own)
    with pytest.raises(UsageError, match="is not that set's"):
        suite_named(str(file))
    file.write_text(own.replace(f'title = "{suite.title}"', 'title = "mine"').replace(suite.published, ""))
    assert suite_named(str(file)).published == ""


def test_a_published_set_must_be_known(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(MINE + 'published = "CIFAR-11-C"')
    with pytest.raises(UnknownNameError, match="CIFAR-11-C"):
        suite_named(str(file))


def test_a_suite_on_other_pictures_is_named_after_them() -> None:
    suite = suite_named("imagewoofc")
    assert suite.named_from("") is suite
    built = suite.named_from("-from128")
    assert (built.name, built.title, built.published) == ("imagewoofc-from128", "ImageWoof-C-from128", "")


BASELINE = """
[baseline]
name = "n"
network = "convnet-d3-w32-in"
training = "t"
provenance = "p"
test = "abc"
clean = 10.0

[baseline.errors]
fog = [1, 2, 3, 4, 5]
snow = [2.5, 3, 4, 5, 6]
"""


def test_a_baseline_stands_in_the_suites_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(MINE + BASELINE)
    baseline = suite_named(str(file)).baseline
    assert baseline is not None and baseline.errors == {"fog": (1, 2, 3, 4, 5), "snow": (2.5, 3, 4, 5, 6)}
    assert baseline.clean == 10.0 and baseline.students == 1 and baseline.identity()["provenance"] == "p"
    # What files say that are older than these keys.
    assert (baseline.source, baseline.suite) == ("generated", "")
    file.write_text(MINE + BASELINE.replace("clean =", 'source = "official"\nsuite = "mine-from64"\nclean ='))
    baseline = suite_named(str(file)).baseline
    assert baseline is not None and (baseline.source, baseline.suite) == ("official", "mine-from64")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "n"', ""), ("clean = 10.0", "clean = 101"), ("clean = 10.0", 'clean = "low"'), ("fog =", "smog ="),
        ("[1, 2, 3, 4, 5]", "[1, 2, 3]"), ("[1, 2, 3, 4, 5]", "[1, 2, 3, 4, -5]"), ("network", "net"),
        ("[baseline.errors]", "[baseline.error]"), ("fog = [1, 2, 3, 4, 5]", "fog = 3"),
        ("[baseline]", "baseline = 3\n[more]"), ("clean =", 'source = "guessed"\nclean ='),
    ],
)  # fmt: skip
def test_a_baseline_that_cannot_be_meant_is_refused(tmp_path: Path, old: str, new: str) -> None:
    file = tmp_path / "mine.toml"
    assert old in BASELINE
    file.write_text(MINE + BASELINE.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        suite_named(str(file))
    assert "mine.toml" in caught.value.message and caught.value.hint


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
    indices = part.indices
    assert len(indices) == len(set(indices.tolist())) == 7
    gaps = indices[1:] - indices[:-1]
    assert gaps.max() - gaps.min() <= 1 and (part.labels == cifar_like().test.labels[indices]).all()
    for name in whole.names():
        for full, few in zip(whole.pictures(name), part.pictures(name), strict=True):
            assert (full[indices] == few).all()
    assert len(domains(limit=10**6).indices) == len(cifar_like().test)


@pytest.mark.parametrize(
    "given", [{"limit": 0}, {"limit": -1}, {"severities": ()}, {"severities": (0,)}, {"severities": (6,)}]
)
def test_domains_that_cannot_be_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(FredbenchError):
        domains(**given)


def test_a_users_arrays_are_read_in_place_of_generating(tmp_path: Path) -> None:
    import numpy as np

    from fredbench.corruptions import corrupt
    from fredbench.foundation.errors import DataError

    count = len(cifar_like().test)
    arrays = np.concatenate([corrupt(cifar_like().test.images, "brightness", level, seed=9) for level in range(1, 6)])
    np.save(tmp_path / "brightness.npy", arrays)
    found = domains(official=tmp_path, limit=5)
    assert found.source == "user" and "the user's arrays" in found.described and not found.comparable
    indices = found.indices
    first, third = found.pictures("brightness")
    assert (first == arrays[indices]).all() and (third == arrays[2 * count + indices]).all()
    with pytest.raises(DataError, match=r"contrast\.npy"):
        list(found.pictures("contrast"))
    np.save(tmp_path / "contrast.npy", arrays[:-1])
    with pytest.raises(DataError, match="not uint8"):
        list(found.pictures("contrast"))
    np.save(tmp_path / "labels.npy", np.tile(cifar_like().test.labels, 5).astype(np.uint8))
    assert len(list(found.pictures("brightness"))) == 2
    np.save(tmp_path / "labels.npy", np.tile(cifar_like().test.labels[::-1], 5))
    with pytest.raises(DataError, match=r"labels\.npy holds other labels"):
        list(found.pictures("brightness"))


def test_a_limit_of_corruptions_beyond_what_is_scored_is_none() -> None:
    """Else a table would tell of corruptions on 500 of 271 pictures."""
    total = len(domains().indices)
    assert domains().fewer_corrupted is None and domains(corrupted_limit=total).fewer_corrupted is None
    assert domains(corrupted_limit=total - 1).fewer_corrupted == total - 1
    assert domains(limit=5, corrupted_limit=6).fewer_corrupted is None
