"""Harmed, missing and impossible datasets, through the command line: refused in words, nothing written."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import TINY, invoke, refused
from PIL import Image
from spine import set_of, spec_of

from fredbench.datasets import Dataset, Split, load_dataset
from fredbench.datasets.packing import pack_dataset
from fredbench.foundation.errors import DataError
from fredbench.runs.assembly import real_pictures

IPC = ("--ipc", "1")
ONE_STEP = ("--objective", "dm", "--preset", "quick", "--iterations", "1", *TINY)


def cifar_archive(folder: Path) -> Path:
    """An archive of the official form: forty small pictures a batch."""
    draw = np.random.default_rng(0)
    file = folder / "cifar-10-python.tar.gz"
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    with gzip.open(file, "wb", compresslevel=1) as stream, tarfile.open(fileobj=stream, mode="w|") as archive:
        for name in names:
            rows = draw.integers(0, 256, (40, 3072), dtype=np.uint8)
            data = pickle.dumps({b"data": rows, b"labels": (np.arange(40) % 10).tolist()}, protocol=2)
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file


def distill_cifar(tmp_path: Path, *more: object) -> tuple[object, ...]:
    return (
        "distill",
        "cifar10",
        *IPC,
        "--objective",
        "dm",
        "--preset",
        "quick",
        "--iterations",
        "1",
        *TINY,
        "--data",
        tmp_path,
        *more,
    )


@pytest.mark.parametrize("split", ["train", "train without validation"])
def test_classes_without_training_pictures_are_named(split: str) -> None:
    small = set_of(4, (8, 8), per_class=10)
    spec = spec_of(small, network="convnet-d1-w4-in")
    kept = small.train.take(np.flatnonzero(small.train.labels % 2 == 0))
    lacking = Dataset.from_splits("lacking", kept, small.test, small.classes)
    asked = dataclasses.replace(spec, split=split, fingerprint=lacking.fingerprint)
    with pytest.raises(DataError, match="2 of its 4 classes: 'class 1', 'class 3'") as caught:
        real_pictures(asked, lacking, torch.device("cpu"))
    assert caught.value.hint
    assert len(real_pictures(dataclasses.replace(spec, split=split), small, torch.device("cpu"))) in {36, 40}


def test_a_whole_archive_of_the_official_form_is_distilled(tmp_path: Path) -> None:
    """So that the refusals below are of the damage."""
    cifar_archive(tmp_path)
    made = invoke(*distill_cifar(tmp_path, "--method", "dm"), "--store", tmp_path / "runs")
    assert made.code == 0, made.err


@pytest.mark.parametrize("harm", ["cut in half", "last bytes", "one bit", "empty", "no archive", "a page"])
def test_a_harmed_archive_is_refused(tmp_path: Path, harm: str) -> None:
    file = cifar_archive(tmp_path)
    data = bytearray(file.read_bytes())
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 4
    file.write_bytes(
        {
            "cut in half": data[: len(data) // 2],
            "last bytes": data[:-5],
            "one bit": flipped,
            "empty": b"",
            "no archive": bytes(1000),
            "a page": b"<html>not found</html>",
        }[harm]
    )
    refused(tmp_path, *distill_cifar(tmp_path), say=str(file), hint="data fetch cifar10")


def packed_set(folder: Path) -> Path:
    draw = np.random.default_rng(0)
    split = Split(draw.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8), np.arange(40) % 2)
    return pack_dataset(Dataset.from_splits("mine", split, split, ["a", "b"]), folder / "mine")


@pytest.mark.parametrize("harm", ["sheet cut", "sheet flipped", "no sheet", "labels cut", "manifest", "no manifest"])
def test_a_harmed_packed_set_is_refused(tmp_path: Path, harm: str) -> None:
    folder = packed_set(tmp_path)
    (sheet, *_), manifest, labels = (
        sorted(folder.glob("train_*.webp")),
        folder / "dataset.json",
        folder / "train_labels.npy",
    )
    if harm == "sheet cut":
        sheet.write_bytes(sheet.read_bytes()[:-20])
    elif harm == "sheet flipped":
        data = bytearray(sheet.read_bytes())
        data[len(data) // 2] ^= 1
        sheet.write_bytes(data)
    elif harm == "no sheet":
        sheet.unlink()
    elif harm == "labels cut":
        labels.write_bytes(labels.read_bytes()[:-3])
    elif harm == "manifest":
        manifest.write_text(manifest.read_text()[:-10])
    else:
        manifest.unlink()
    command = (
        "distill",
        f"packed:{folder}",
        *IPC,
        "--objective",
        "dm",
        "--preset",
        "quick",
        "--iterations",
        "1",
        *TINY,
    )
    refused(tmp_path, *command, say=str(folder))


def write_pictures(folder: Path, *, classes: int, count: int = 8, size: int = 16) -> Path:
    draw = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"class{label}").mkdir(parents=True)
        for number in range(count):
            pixels = draw.integers(0, 256, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"class{label}" / f"{number}.png")
    return folder


def distill_folder(folder: Path) -> tuple[object, ...]:
    quick = ("--preset", "quick", "--iterations", "1", "--method", "dm")
    return ("distill", f"folder:{folder}", *IPC, *quick, "--set", "objective.batch_real=2", *TINY[6:])


def test_folders_of_pictures(tmp_path: Path) -> None:
    two = write_pictures(tmp_path / "two", classes=2)
    made = invoke(*distill_folder(two), "--network", "mlp", "--store", tmp_path / "runs")
    assert made.code == 0, made.err
    kept = json.loads((made.folder / "environment.json").read_text())["listing"]
    told = load_dataset(f"folder:{two}").source.listing
    assert told is not None and kept == told.digest
    splits = tmp_path / "splits"
    write_pictures(splits / "Train", classes=2)
    write_pictures(splits / "Test", classes=2, count=2)
    refused(tmp_path, *distill_folder(splits), say="train from Train/", hint=f"{splits}?train=Train&test=Test")
    one = write_pictures(tmp_path / "one", classes=1)
    refused(tmp_path, *distill_folder(one), say="1 class folder", hint="<class>")
    (tmp_path / "empty").mkdir()
    refused(tmp_path, *distill_folder(tmp_path / "empty"), say="holds no pictures")
    broken = write_pictures(tmp_path / "broken", classes=2)
    picture = broken / "class1" / "3.png"
    picture.write_bytes(picture.read_bytes()[:50])
    refused(tmp_path, *distill_folder(broken), say="3.png")
    mixed = write_pictures(tmp_path / "mixed", classes=2)
    Image.fromarray(np.zeros((8, 16, 3), np.uint8)).save(mixed / "class0" / "0.png")
    refused(tmp_path, *distill_folder(mixed), say=str(mixed), hint="size")
    shutil.rmtree(two / "class1")
    (two / "class1").mkdir()
    refused(tmp_path, *distill_folder(two), say="class1")


def test_an_archive_of_one_picture_a_class_cannot_hold_out(tmp_path: Path) -> None:
    few = write_pictures(tmp_path / "few", classes=2, count=1)
    refused(tmp_path, *distill_folder(few), say="one picture")
