from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors
from commands import invoke, run_in_child
from made_rows import made_synset
from PIL import Image

import fredbench
from fredbench.foundation.errors import CompatibilityError
from fredbench.runs.exporting import class_folders, export, rounding_loss


def test_npz_holds_the_exact_values_and_opens_without_pickle(tiny_run: Path, tmp_path: Path) -> None:
    target = tmp_path / "set.npz"
    done = invoke("export", tiny_run, "--to", "npz", "--out", target)
    assert done.code == 0 and done.out == f"{target}\n"
    synset = fredbench.load(tiny_run)
    with np.load(target, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["images"], synset.images.numpy())
        np.testing.assert_array_equal(arrays["labels"], synset.labels.numpy())
        assert arrays["images"].dtype == np.float32 and arrays["labels"].dtype == np.int64
        assert arrays["mean"].tolist() == synset.normalization["mean"]
        assert arrays["std"].tolist() == synset.normalization["std"]
        assert tuple(arrays["classes"]) == synset.classes and "fred on digits" in str(arrays["card"])


def test_safetensors_hold_the_exact_values_and_say_what_they_are(tiny_run: Path, tmp_path: Path) -> None:
    target = tmp_path / "set.safetensors"
    assert invoke("export", "tiny", "--store", tiny_run.parent, "--to", "safetensors", "--out", target).code == 0
    synset = fredbench.load(tiny_run)
    with safetensors.safe_open(target, framework="np") as opened:
        np.testing.assert_array_equal(opened.get_tensor("images"), synset.images.numpy())
        np.testing.assert_array_equal(opened.get_tensor("labels"), synset.labels.numpy())
        described = json.loads(opened.metadata()["fredbench"])
    assert described["normalization"] == synset.normalization and described["dataset"]["classes"] == list(
        synset.classes
    )
    assert described["decoded_from"] == synset.header["tensors_sha256"]


def test_an_image_folder_holds_the_8_bit_pictures_by_class(tiny_run: Path, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    target = tmp_path / "pictures"
    done = invoke("export", tiny_run, "--to", "imagefolder", "--out", target)
    assert done.code == 0 and "lossy" in done.err
    synset = fredbench.load(tiny_run)
    read = ImageFolder(str(target))
    assert read.classes == list(synset.classes) and len(read) == 40
    for number, (file, label) in enumerate(read.samples):
        assert label == int(synset.labels[number])
        np.testing.assert_array_equal(np.asarray(Image.open(file)), synset.pixels()[number].permute(1, 2, 0).numpy())
    assert "lossy" in (target / "NOTE.md").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_the_rounding_loss_is_what_8_bits_lose() -> None:
    synset = made_synset()
    mean, std = (np.array(synset.normalization[key])[:, None, None] for key in ("mean", "std"))
    exact = 255 * (synset.images.numpy().astype(float) * std + mean)
    rounded = np.clip(np.rint(exact), 0, 255)
    rms, clipped = rounding_loss(synset)
    assert rms == pytest.approx(np.sqrt(((exact - rounded) ** 2).mean()), rel=1e-3)
    assert clipped == pytest.approx(((exact < -0.5) | (exact > 255.5)).mean(), abs=1e-9)


@pytest.mark.parametrize("form", ["imagefolder", "npz", "safetensors"])
def test_an_existing_target_is_refused_and_left_alone(tiny_run: Path, tmp_path: Path, form: str) -> None:
    target = tmp_path / "there"
    target.write_text("mine")
    error, _ = invoke("export", tiny_run, "--to", form, "--out", target).problem()
    assert "exists already" in error and target.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize("form", ["imagefolder", "npz", "safetensors"])
def test_a_full_disk_leaves_nothing_behind(tiny_run: Path, tmp_path: Path, form: str) -> None:
    target = tmp_path / "out" / "set"
    # No file of the child may grow beyond 1,000 bytes, less than a picture of noise takes.
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"
    done = run_in_child(tmp_path / "scratch", "export", tiny_run, "--to", form, "--out", target, prelude=limit)
    error, hint = done.problem()
    assert "no space left" in error and "--out" in hint
    assert not target.exists() and list(target.parent.iterdir()) == []


def test_a_read_only_place_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    for form in ("imagefolder", "npz"):
        invoke("export", tiny_run, "--to", form, "--out", blocked / "set").problem()


def test_bad_input_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    assert "jpeg" in invoke("export", tiny_run, "--to", "jpeg", "--out", tmp_path / "x").problem()[0]
    invoke("export", tiny_run, "--to", "npz").problem()
    invoke("export", "nothing", "--to", "npz", "--out", tmp_path / "x", "--store", tmp_path).problem()
    assert os.listdir(tmp_path) == []


def test_what_a_form_cannot_hold_is_refused(tmp_path: Path) -> None:
    synset = made_synset("pixels")
    synset._decoder[1].labels = synset.images.mean(dim=(2, 3))
    with pytest.raises(CompatibilityError, match="soft labels"):
        export(synset, "imagefolder", tmp_path / "x")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("classes", "folders"),
    [
        (("0", "1", "2"), ["0", "1", "2"]),
        (("cat", "ant"), ["0_cat", "1_ant"]),
        (("a/b", "c"), ["0_a-b", "1_c"]),
        (("..", "x"), ["0_class", "1_x"]),
        (("A", "a"), ["0_A", "1_a"]),
        (tuple(str(n) for n in range(11)), [f"{n:02d}_{n}" for n in range(11)]),
    ],
)
def test_class_folders_sort_as_labels_do_and_stay_inside(classes: tuple[str, ...], folders: list[str]) -> None:
    assert class_folders(classes) == folders == sorted(folders)
