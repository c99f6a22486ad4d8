from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import safetensors
from commands import invoke, run_in_child
from made_rows import made_synset
from PIL import Image

import fredbench
from fredbench.foundation.errors import CompatibilityError
from fredbench.runs.exporting import class_folders, export, rounding_loss, split_words
from fredbench.runs.synset import Synset


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
    # Nor may it leave compiled modules of that length, which Python would write and later fail to read.
    limit = "import resource, signal, sys; sys.dont_write_bytecode = True\n"
    limit += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
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


# What each reader makes numbers of: names by code points, by numbers and letters without case, and what is a split.
NAMES = [
    *(tuple(str(n) for n in range(11)), ("Zebra", "a10", "a2", "apple"), ("a10", "a2"), ("B", "a"), ("ant", "bee")),
    ("streetcar", "train", "trainer"), ("bullet train", "express", "tram"), ("01_Train", "02.test", "03-val"),
    ("train", "test"), ("dev", "eval", "évaluation"), ("__background__", "cat"), ("10²", "9²"), ("²", "³"),
    ("strain", "testing ground", "valid", "validity"), ("training", "val"), ("(train)", "train"), ("Ä", "z", "ß"),
]  # fmt: skip


@pytest.mark.parametrize("classes", NAMES)
def test_all_readers_of_class_folders_give_the_labels_that_the_set_has(
    tmp_path: Path, classes: tuple[str, ...]
) -> None:
    from timm.data import create_dataset
    from torchvision.datasets import ImageFolder

    folders = class_folders(classes)
    for number, name in enumerate(folders):
        (tmp_path / name).mkdir()
        Image.new("L", (2, 2), number).save(tmp_path / name / f"{number:05d}.png")
    (tmp_path / "NOTE.md").write_text("none of their business")
    wanted = [(number, number) for number in range(len(classes))]
    for read in (ImageFolder(str(tmp_path)), create_dataset("", root=str(tmp_path), split="train")):
        assert sorted((picture.convert("L").getpixel((0, 0)), label) for picture, label in read) == wanted
    # `datasets`: code points, no folder with a split's word between its separators, none that it hides.
    words = "train|training|validation|valid|dev|val|test|testing|eval|evaluation"
    assert folders == sorted(folders) and not any(name.startswith((".", "__")) for name in folders)
    assert not any(re.search(rf"(^|[-._ 0-9])({words})([-._ 0-9]|$)", name, re.IGNORECASE) for name in folders)


def test_names_that_all_readers_take_stay_as_they_are() -> None:
    for classes in (("ant", "bee"), ("strain", "trainer"), tuple("0123456789"), ("a-1", "a-2", "b c")):
        assert class_folders(classes) == list(classes) and not split_words(classes)
    assert class_folders(("bullet train", "express")) == ["bullet (train)", "express"]


def test_a_class_called_like_a_split_is_told_on_stderr_and_in_the_note(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (*(f"class {n}" for n in range(9)), "train")
    monkeypatch.setattr(Synset, "classes", property(lambda self: names))
    done = invoke("export", tiny_run, "--to", "imagefolder", "--out", tmp_path / "out")
    assert done.code == 0 and (tmp_path / "out" / "9_(train)").is_dir()
    for said in (done.err, (tmp_path / "out" / "NOTE.md").read_text()):
        assert "split" in said and 'data_files={"train": "' in said and "/**" in said
