"""The same bytes on every machine: stored hashes, restricted vector units, and the published arrays.

When pixels move on purpose: raise `PIXELS` in severities.py and write the table anew by
`python tests/corruption_hashes.py > tests/unit/stored/corruption_hashes.json`; its diff names what moved.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import subprocess
import sys

import corruption_hashes as hashes
import cv2
import numpy as np
import pytest
from commands import ROOT, environment

from fredbench.corruptions import ALL, CBAR, CBAR_IMAGENET, PROFILES, corrupt, write_set
from fredbench.corruptions import libraries as floors
from fredbench.corruptions.libraries import check_opencv, library_versions
from fredbench.corruptions.published import PUBLISHED
from fredbench.datasets import load_dataset
from fredbench.evaluation import domains
from fredbench.foundation.environment import environment as run_environment
from fredbench.foundation.environment import instruction_sets
from fredbench.foundation.errors import CompatibilityError
from fredbench.suites.corruption import suite_named


@pytest.fixture(scope="module")
def stored() -> dict[str, list[str]]:
    return json.loads(hashes.STORED.read_text())


def test_the_table_holds_every_corruption_profile_and_size(stored):
    assert set(stored) == {
        f"{name}/{profile}/{size}" for name in (*ALL, "procedural frost") for profile in PROFILES
        for size in ("32x32", "96x96", "224x224", "150x100")
    } | {f"{name}/cifar/{size}" for name in CBAR for size in ("32x32", "96x96", "224x224")} | {
        f"{name}/imagenet/224x224" for name in CBAR_IMAGENET
    }  # fmt: skip
    assert all(len(row) == 5 for row in stored.values())


@pytest.mark.parametrize("size", hashes.SIZES)
@pytest.mark.parametrize("profile", PROFILES)
def test_no_pixel_moved(profile, size, stored):
    assert hashes.moved(hashes.table([profile], [size]), stored) == []


def test_a_moved_pixel_would_be_named(stored):
    row = list(stored["fog/cifar/32x32"])
    row[3] = "0" * 16
    assert hashes.moved({"fog/cifar/32x32": row}, stored) == ["fog/cifar/32x32 severity 4"]


def in_a_child(settings: dict[str, str], *arguments: str) -> dict[str, list[str]]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "corruption_hashes.py"), *arguments],
        capture_output=True, text=True, env=environment(settings), timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def numpys_units() -> list[str]:
    return list(np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", []))


def opencvs_units() -> list[str]:
    # "*" stands before what is chosen at run time.
    return [unit.strip("*?") for unit in cv2.getCPUFeaturesLine().split() if unit.startswith("*")]


@pytest.mark.parametrize("profile,size", [("imagenet", "96x96"), ("imagenet", "224x224"), ("cifar", "32x32")])
def test_vector_units_of_numpy_and_opencv_decide_nothing(profile, size, stored):
    if not numpys_units() or not opencvs_units():
        pytest.skip("this processor's NumPy or OpenCV has no vector units to be switched off")
    settings = {"NPY_DISABLE_CPU_FEATURES": " ".join(numpys_units()), "OPENCV_CPU_DISABLE": ",".join(opencvs_units())}
    if platform.machine() == "x86_64":
        settings["OPENBLAS_CORETYPE"] = "Nehalem"
    assert hashes.moved(in_a_child(settings, profile, size), stored) == []


def test_numpys_widest_units_alone_decide_nothing(stored):
    units = numpys_units()[1:]
    if not units:
        pytest.skip("this processor's NumPy has one kind of vector units at most")
    found = in_a_child({"NPY_DISABLE_CPU_FEATURES": " ".join(units)}, "imagenet", "150x100")
    assert hashes.moved(found, stored) == []


def test_the_compilers_processor_decides_nothing(stored):
    # Loops are compiled anew for it, so a few names, those whose sums are longest, must do.
    names = "contrast,zoom_blur,defocus_blur,motion_blur"
    found = in_a_child({"NUMBA_CPU_NAME": "generic"}, "imagenet", "150x100", names)
    assert len(found) == 4 and hashes.moved(found, stored) == []


def test_the_compilers_processor_decides_nothing_of_c_bar(stored):
    names = "brownish_noise,inverse_sparkles,circular_motion_blur,transverse_chromatic_abberation,ripple"
    found = in_a_child({"NUMBA_CPU_NAME": "generic"}, "cifar", "96x96", names)
    assert len(found) == 5 and hashes.moved(found, stored) == []


@pytest.mark.parametrize("profile", PROFILES)
def test_one_worker_or_two(profile, tmp_path, monkeypatch):
    monkeypatch.setattr("fredbench.corruptions.writer._PIXELS_A_WORKER", 0)
    monkeypatch.setattr("fredbench.corruptions.writer._JOB_BYTES", 50_000)
    many = np.concatenate([hashes.pictures("96x96")] * 3)
    sets = {}
    for workers in (1, 2):
        out = tmp_path / str(workers)
        write_set(many, np.arange(6), out, corruptions=ALL, severities=[2, 5], profile=profile, workers=workers)
        sets[workers] = {file.name: file.read_bytes() for file in out.glob("*.npy")}
    assert len(sets[1]) == 20 and sets[1] == sets[2]


# What comes out of the published arithmetic without a draw. JPEG's needs the libjpeg of Pillow 5.2.
EXACT = ("brightness", "contrast", "defocus_blur", "gaussian_blur", "pixelate", "saturate", "zoom_blur")


class Sums:
    """MD5 of a .npy file that is made a severity at a time."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
        self.md5 = hashlib.md5(head.getvalue())

    def add(self, values: np.ndarray) -> None:
        self.md5.update(np.ascontiguousarray(values, np.uint8).data)


@pytest.mark.parametrize("dataset,archive", [("cifar10", "CIFAR-10-C"), ("cifar100", "CIFAR-100-C")])
def test_the_published_arrays_come_out_bit_for_bit(dataset, archive, real_data):
    test = load_dataset(dataset, root=real_data, offline=True).test
    if len(test) != 10_000:
        pytest.skip(f"{real_data} has {len(test)} of the 10,000 test pictures of {dataset}")
    for name in EXACT:
        sums = Sums((50_000, 32, 32, 3))
        for severity in range(1, 6):
            sums.add(corrupt(test.images, name, severity))
        assert sums.md5.hexdigest() == PUBLISHED[archive][f"{name}.npy"], name
    labels = Sums((50_000,))
    for _ in range(5):
        labels.add(test.labels)
    assert labels.md5.hexdigest() == PUBLISHED[archive]["labels.npy"]


def test_an_opencv_below_the_floor_is_refused_in_words(monkeypatch):
    check_opencv.cache_clear()
    monkeypatch.setattr(floors.cv2, "__version__", "4.6.0")
    try:
        with pytest.raises(CompatibilityError, match=r"OpenCV 4\.6\.0") as caught:
            corrupt(hashes.pictures("32x32"), "jpeg_compression", 1)
        assert "opencv-python>=4.7" in caught.value.hint
    finally:
        check_opencv.cache_clear()


def test_the_manifest_says_what_it_was_made_with(tmp_path):
    manifest = write_set(hashes.pictures("32x32"), np.arange(4), tmp_path / "set", corruptions=["fog"], workers=1)
    assert manifest["versions"]["pixels"] and manifest["files"]["fog.npy"]["processor"] == instruction_sets()
    package = library_versions("imagecorruptions")
    assert {"pillow", "scipy", "scikit-image", "imagecorruptions"} <= package.keys() and "pixels" not in package


def test_predictions_on_other_pixels_have_other_names(monkeypatch):
    made = domains.domains_of(suite_named("digitsc"), load_dataset("digits"), None)
    before, clean = made.key("fog"), made.key("clean")
    monkeypatch.setattr(domains, "PIXELS", "another")
    assert made.key("fog") != before and made.key("clean") == clean


def test_limits_on_vector_units_are_recorded(monkeypatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.delenv("NUMBA_CPU_NAME", raising=False)
    found = instruction_sets()
    assert found["ONEDNN_MAX_CPU_ISA"] == "AVX2" and "NUMBA_CPU_NAME" not in found
    assert found["machine"] == platform.machine() and isinstance(found["numpy"], list)
    assert os.environ.get("NPY_DISABLE_CPU_FEATURES") == found.get("NPY_DISABLE_CPU_FEATURES")
    in_runs = run_environment("cpu", 1)["instruction_sets"]
    assert in_runs["torch"] and in_runs["ONEDNN_MAX_CPU_ISA"] == "AVX2"
