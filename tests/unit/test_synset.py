"""The artefact: self-describing, the same bytes for the same set, and no damage goes unnoticed."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch
from spine import cifar_like, distillation_of, set_of
from torch.utils.data import DataLoader

import fredbench
from fredbench.foundation.errors import ArtefactError, FredbenchError
from fredbench.foundation.files import canonical_json
from fredbench.parameterizations import PARAMETERIZATIONS
from fredbench.runs.synset import Synset, header_digest, load

KINDS = sorted(PARAMETERIZATIONS)


def small(parameterization: str = "fred") -> Synset:
    dataset = set_of(2, (8, 8))
    overrides = ("parameterization.k=16",) if parameterization == "fred" else ()
    made = distillation_of(dataset, parameterization=parameterization, overrides=overrides, iterations=1)
    made.step()
    return made.synset(dataset)


@pytest.fixture(scope="module", params=KINDS)
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("synset") / "synset.safetensors"
    small(request.param).save(path)
    return path


def rewritten(file: Path, target: Path, change) -> Path:
    """The file with its header changed, and its checksum made to fit: a forgery, not an accident."""
    synset = load(file)
    tensors, header = dict(synset.tensors), json.loads(json.dumps(synset.header))
    change(header, tensors)
    header["header_sha256"] = header_digest(header)
    target.write_bytes(safetensors.torch.save(tensors, metadata={"fredbench": canonical_json(header)}))
    return target


def test_what_is_loaded_is_what_was_saved(file: Path) -> None:
    synset = load(file)
    again = small(synset.header["parameterization"]["name"])
    assert synset.header == again.header and synset.tensors.keys() == again.tensors.keys()
    assert all(torch.equal(synset.tensors[name], tensor) for name, tensor in again.tensors.items())
    assert torch.equal(synset.images, again.images) and torch.equal(synset.labels, again.labels)
    synset.verify()
    assert fredbench.load(file.parent).header == synset.header
    copy = file.with_name("copy.safetensors")
    synset.save(copy)
    assert copy.read_bytes() == file.read_bytes()


def test_the_header_tells_a_stranger_everything(file: Path) -> None:
    """Decoded with safetensors, json and the header alone."""
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    assert list(metadata) == ["fredbench"]
    head = json.loads(metadata["fredbench"])
    assert head["format"] == "fredbench-synset" and head["format_version"] == 1
    assert head["dataset"]["classes"] == ["class 0", "class 1"] and head["dataset"]["shape"] == [3, 8, 8]
    assert len(head["dataset"]["fingerprint"]) == len(head["tensors_sha256"]) == len(head["spec_sha256"]) == 64
    assert head["normalization"]["kind"] == "mean-std" and len(head["normalization"]["mean"]) == 3
    assert head["pixel_space"] == "normalized" and head["step_size"] is None
    assert head["labels"] == {"kind": "hard", "learned": False, "order": "class"}
    assert head["student"]["lr"] == 0.01 and head["student"]["augmentation"] and head["student"]["epochs"] == 1
    assert head["iterations"] == 1 and head["ipc"] == 1 and head["budget"] == 2 * 3 * 64 and head["seed"] == 0
    assert set(head["versions"]) >= {"fredbench", "torch", "numpy", "python"}
    assert head["ledger"]["params"] <= head["budget"] and head["dataset"]["partial"] == {}
    # Nothing goes uncounted but copies of what the header gives as well: the normalisation (IDC, GSDD) and the size in
    # pixels (DDiF, GSDD), without which a file could be decoded as one of another size.
    counted = {"scalars", "half-scalars", "mask-bits", "decoder"}
    assert {name for name, role in head["tensors"].items() if role not in counted} <= {"statistics", "size"}


def test_pictures_labels_and_loader_in_one_line(file: Path) -> None:
    loader = DataLoader(fredbench.load(file).as_dataset(), 3)
    batches = list(loader)
    synset = load(file)
    assert torch.equal(torch.cat([images for images, _ in batches]), synset.images)
    assert torch.equal(torch.cat([labels for _, labels in batches]), synset.labels)
    assert synset.images.dtype == torch.float32 and synset.images.shape[1:] == (3, 8, 8)
    assert synset.labels.dtype == torch.int64 and synset.labels.shape == (len(synset.images),)
    assert not synset.images.requires_grad
    assert len(synset.images) == synset.ledger.decoded and "class 1" in synset.card()


def test_pixels_undo_the_normalisation() -> None:
    synset, dataset = small("pixels"), set_of(2, (8, 8))
    start = distillation_of(dataset, parameterization="pixels", iterations=0).synset(dataset)
    assert start.pixels().dtype == torch.uint8 and synset.pixels().shape == start.pixels().shape
    # Pictures of the start are real ones, to the grey level.
    real = {picture.tobytes() for picture in dataset.train.images}
    assert all(picture.permute(1, 2, 0).contiguous().numpy().tobytes() in real for picture in start.pixels())


def test_any_changed_byte_is_noticed(file: Path, tmp_path: Path) -> None:
    """Of the tensors, of the header and of the format's own table: at 300 places of the file, 12 at its head."""
    data, draw = file.read_bytes(), random.Random(0)
    (length,) = struct.unpack("<Q", data[:8])
    padding = {8 + length - 1 - i for i in range(len(data[8 : 8 + length]) - len(data[8 : 8 + length].rstrip(b" ")))}
    places = {*range(12), *draw.sample(range(len(data)), 250), *draw.sample(range(8 + length), 100)} - padding
    target = tmp_path / "synset.safetensors"
    for place in sorted(places):
        changed = bytearray(data)
        changed[place] ^= 1 << draw.randrange(8)
        target.write_bytes(changed)
        with pytest.raises(FredbenchError):
            load(target).verify()


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 100, 0.3, 0.5, 0.9, -100, -1])
def test_a_truncated_file_is_refused_whole(file: Path, tmp_path: Path, keep: float) -> None:
    data, target = file.read_bytes(), tmp_path / "synset.safetensors"
    target.write_bytes(data[: int(keep * len(data)) if 0 < keep < 1 else int(keep)])
    with pytest.raises(ArtefactError) as caught:
        load(target)
    assert str(target) in caught.value.message and caught.value.hint


def test_bytes_behind_the_end_are_noticed(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "synset.safetensors"
    target.write_bytes(file.read_bytes() + b"more")
    with pytest.raises(ArtefactError):
        load(target).verify()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80\x02}q\x00.", b"\x00" * 64, b"{}"])
def test_other_files_are_no_synsets(tmp_path: Path, data: bytes) -> None:
    target = tmp_path / "synset.safetensors"
    target.write_bytes(data)
    with pytest.raises(ArtefactError):
        load(target)


def test_missing_files_and_foreign_safetensors(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="no synset at"):
        load(tmp_path)
    target = tmp_path / "synset.safetensors"
    for metadata in (None, {"other": "x"}, {"fredbench": "no json"}, {"fredbench": "[1]"}, {"fredbench": "{}"}):
        target.write_bytes(safetensors.torch.save({"x": torch.zeros(2)}, metadata=metadata))
        with pytest.raises(ArtefactError):
            load(target)


def set_at(*path: str, value: object = None):
    def change(header: dict, tensors: dict) -> None:
        for name in path[:-1]:
            header = header[name]
        if value is None:
            del header[path[-1]]
        else:
            header[path[-1]] = value

    return change


FORGERIES = {
    "ledger": set_at("ledger", "params", value=1),
    "decoded": set_at("ledger", "decoded", value=10**6),
    "budget": set_at("budget", value=5),
    "budget's type": set_at("budget", value="much"),
    "classes": set_at("dataset", "classes", value=["one", "two", "three"]),
    "classes' type": set_at("dataset", "classes", value=3),
    "shape": set_at("dataset", "shape", value=[3, 8, 9]),
    "shape's length": set_at("dataset", "shape", value=[8, 8]),
    "shape's type": set_at("dataset", "shape", value="3x8x8"),
    "no shape": set_at("dataset", "shape"),
    "no dataset": set_at("dataset"),
    "dataset's type": set_at("dataset", value=[]),
    "mean": set_at("normalization", "mean", value=[0.5]),
    "no std": set_at("normalization", "std"),
    "checksum": set_at("tensors_sha256", value="0" * 64),
    "version": set_at("format_version", value=99),
    "format": set_at("format", value="another"),
    "parameterization": set_at("parameterization", "name", value="unheard-of"),
    "settings": set_at("parameterization", "settings", value={"unheard": 1}),
    "settings' type": set_at("parameterization", "settings", value=7),
    "tensor list": set_at("tensors", value={}),
    "step size": set_at("step_size", value="fast"),
    "roles": lambda header, tensors: header.update(tensors=dict.fromkeys(header["tensors"], "free")),
    "a tensor more": lambda header, tensors: tensors.update(extra=torch.zeros(3)),
    "a listed tensor more": lambda header, tensors: (
        tensors.update(extra=torch.zeros(3)), header["tensors"].update(extra="free")),
    "a tensor less": lambda header, tensors: tensors.pop(next(iter(tensors))),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_a_header_that_contradicts_the_file_is_refused(file: Path, tmp_path: Path, name: str) -> None:
    forged = rewritten(file, tmp_path / "synset.safetensors", FORGERIES[name])
    with pytest.raises(FredbenchError):
        load(forged).verify()
    if name not in {"ledger", "decoded", "budget", "checksum", "roles"}:
        return
    # These load, so that `verify` can say what is wrong.
    with pytest.raises(ArtefactError):
        load(forged).verify()


def test_a_forgery_without_a_lie_passes(file: Path, tmp_path: Path) -> None:
    """So that the refusals above are of what was forged."""
    load(rewritten(file, tmp_path / "synset.safetensors", lambda header, tensors: None)).verify()


def test_values_that_are_not_finite_are_refused() -> None:
    synset = small("pixels")
    synset.tensors["pixels"][0, 0, 0, 0] = float("nan")
    header = {**synset.header, "tensors_sha256": fredbench.runs.synset.tensors_digest(synset.tensors)}
    with pytest.raises(ArtefactError, match="not finite"):
        Synset(synset.tensors, {**header, "header_sha256": header_digest(header)}).verify()


def test_a_folder_of_pictures_is_named_without_its_path() -> None:
    import dataclasses

    dataset = dataclasses.replace(cifar_like(), name="folder:/home/someone/flowers", title="flowers")
    synset = distillation_of(dataset, iterations=0).synset(dataset)
    assert synset.header["dataset"]["name"] == "flowers" and "someone" not in json.dumps(synset.header)
