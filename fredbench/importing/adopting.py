"""A set that was made elsewhere becomes a run folder like ours: method `imported:NAME`, nothing distilled.

What its file does not say is found out (`spaces`, `judging`), or taken from what was asked; both stand in the synset's
header under `imported`, with the evidence, and are told beside every number. A synset of ours is taken as it is.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped

from fredbench.datasets import Dataset
from fredbench.foundation.config import from_mapping, to_mapping
from fredbench.foundation.errors import ArtefactError, UsageError
from fredbench.foundation.progress import say
from fredbench.importing.asking import Asked
from fredbench.importing.found import Found
from fredbench.importing.judging import Verdict, judge, judgement
from fredbench.importing.keeping import Kept, decoded, keep, keep_run
from fredbench.importing.labels import labels_of
from fredbench.importing.reading import read
from fredbench.importing.values import Values, values_of
from fredbench.importing.values import columns as _columns
from fredbench.networks.names import ARITHMETICS
from fredbench.runs.preprocessing import DataConfig
from fredbench.runs.spec import Spec
from fredbench.runs.store import RunFolder, Store
from fredbench.runs.synset import Synset, load
from fredbench.training.loop import TrainingRecipe

__all__ = ["adopt", "adopted"]

_RATE = 0.01
# Grey levels end at 255, and optimised pixels in any space lie within some tens of deviations.
_LARGEST = 1e4
# Spaces whose values are pixels times a number.
_SCALES = {"unit": 1.0, "levels": 255.0}


def adopted(path: Path) -> bool:
    """Whether `path` is a synset file of ours, which needs no finding out."""
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        load(path)
    except ArtefactError:
        return False
    return True


def adopt(path: Path, dataset: Dataset, store: Store, asked: Asked, *, device: str, threads: int) -> RunFolder:
    """The run of the set at `path`, of `dataset`, made in `store`; the same set asked for alike is the same run.

    Raises `UsageError` for what is not clear or contradicts the pictures, with what was found, `ArtefactError` for
    what cannot be read.
    """
    if adopted(path):
        _refuse_said(asked, path)
        return _taken(path, dataset, store, device=device, threads=threads)
    found = read(path, asked.columns)
    given = _channels_first(found, dataset, path)
    if asked.channels == "bgr":
        given = np.ascontiguousarray(given[:, ::-1])
    images = given.astype(np.float32)
    assumed: list[str] = list(found.notes)
    factor = _factor(found, images, asked, path)
    values = values_of(found, images, dataset, asked, factor, store.root, path)
    assumed += values.told
    hard, soft, form = labels_of(found, images, dataset, asked, path, assumed)
    scale = _SCALES.get(values.space.name, 0.0)
    if scale:
        # Students see normalised pictures; the dataset's statistics are what its real pictures are brought to.
        mean, std = tuple(dataset.mean), tuple(dataset.std)
        stored = (values.pixels - _columns(mean)) / _columns(std)
        assumed.append(f"normalised here by {dataset.title}'s mean and deviation")
    else:
        mean, std, stored = values.space.mean, values.space.std, images
    order = np.argsort(hard, kind="stable")
    kept = Kept(
        images=torch.from_numpy(np.ascontiguousarray(stored[order], dtype=np.float32)),
        hard=torch.from_numpy(hard[order]),
        soft=None if soft is None else _rows(soft[order], found, asked),
        form=form, mean=mean, std=std, factor=factor, data=values.data, split=values.split,
        given=_in_type(given[order], brain=found.brain), scale=scale,
    )  # fmt: skip
    assumed.append(_judged(kept, order, values, dataset, asked, store, threads, path))
    assumed += kept.types_told()
    rate = asked.step_size or found.step_size
    facts = {
        "file": path.name,
        "sha256": found.sha256,
        "form": found.form,
        "space": values.space.name,
        "evidence": [each.told() for each in values.evidence],
        "assumed": assumed,
    }
    return keep(kept, dataset, store, asked, facts, rate, found.student, device=device, threads=threads)


# Synsets of ours


def _refuse_said(asked: Asked, path: Path) -> None:
    """A synset of ours says of itself what others do not: nothing of that can be asked otherwise."""
    plain = Asked()
    said = [
        field.name for field in dataclasses.fields(Asked) if getattr(asked, field.name) != getattr(plain, field.name)
    ]
    if said:
        raise UsageError(
            f"{path} is a synset of ours, which says itself what it is: {', '.join(said)} cannot be given",
            hint="leave that out, or export it (`fredbench export --to npz`) and import the export",
        )


def _taken(path: Path, dataset: Dataset, store: Store, *, device: str, threads: int) -> RunFolder:
    """The run that a synset of ours was made by, as far as its header says it."""
    synset = load(path)
    head = synset.header
    if head["dataset"]["fingerprint"] != dataset.fingerprint:
        raise UsageError(
            f"{path} was distilled from {head['dataset']['name']} ({head['dataset']['fingerprint'][:12]}), and this is "
            f"{dataset.title} ({dataset.fingerprint[:12]})",
            hint="name the dataset that it was distilled from: --dataset NAME, --data DIR",
        )
    student = dict(head["student"])
    spec = Spec(
        dataset=dataset.name, fingerprint=dataset.fingerprint, split=head["dataset"]["split"], method=head["method"],
        objective=head["objective"], parameterization=head["parameterization"]["name"], ipc=head["ipc"],
        budget=head["budget"], preset=head["preset"], seed=head["seed"], iterations=head["iterations"],
        network=head["network"], device=device, threads=threads, objective_settings=head["objective_settings"],
        parameterization_settings=head["parameterization"]["settings"],
        student_network=student.pop("network"), students=student.pop("students"),
        student=TrainingRecipe.stored(student),
        label_settings=head["labels"].get("settings", {}), data_settings=_data(synset, dataset),
    )  # fmt: skip
    # The header says neither the number of threads nor the arithmetic, on which the spec's digest depends.
    for count, arithmetic in itertools.product((threads, *range(1, 129)), ARITHMETICS):
        same = dataclasses.replace(spec, threads=count, arithmetic=arithmetic)
        if same.digest() == head.get("spec_sha256"):
            if count != threads:
                say(f"note: {path.name} was made with {count} threads; its start is made with --threads {count} only")
            return keep_run(synset, same, dataset, store, path)
    raise UsageError(
        f"{path} was made on another device, or by another version: its spec cannot be told from its header",
        hint="take the run's whole folder, or import its npz export",
    )


def _data(synset: Synset, dataset: Dataset) -> dict[str, Any]:
    """The section `data` of a synset of ours, which its normalisation says."""
    said = synset.normalization
    if "imported" in synset.header and not synset.whitened:
        return {}
    whitening = said["recipe"] if synset.whitened else "none"
    borrowed = whitening != "mtt" and (tuple(said["mean"]), tuple(said["std"])) != (dataset.mean, dataset.std)
    settings = {"whitening": whitening, "statistics": "cifar10" if borrowed else "own"}
    config = from_mapping(DataConfig, settings, where="the header's normalization")
    return {} if config == DataConfig() else to_mapping(config)


# Layout, labels, checks


def _channels_first(found: Found, dataset: Dataset, path: Path) -> Shaped[np.ndarray, "n c h w"]:
    """The pictures as (N, C, H, W) of the dataset's shape, in the type that they came in."""
    images, shape = found.images, (dataset.channels, *dataset.size)
    if found.pictures and dataset.channels == 1 and (images == images[..., :1]).all():
        images = images[..., :1]  # pictures are read as RGB, of grey ones thrice the same
    if images.shape[1:] == shape:
        turned = images
    elif images.shape[1:] == (*dataset.size, dataset.channels):
        turned = images.transpose(0, 3, 1, 2)
    else:
        raise UsageError(
            f"{path} holds pictures of shape {tuple(images.shape[1:])}, {dataset.title} has {shape}",
            hint="name the dataset that it is of (--dataset), resized as the set is where that is a folder (?size=)",
        )
    pictures = np.ascontiguousarray(turned)
    largest = float(np.abs(pictures.astype(np.float32)).max())
    if largest > _LARGEST:
        raise UsageError(
            f"{path} has values up to {largest:.3g}, which no picture has in any known space",
            hint="the set diverged, or the file holds something else",
        )
    return pictures


def _in_type(given: Shaped[np.ndarray, "n c h w"], *, brain: bool) -> torch.Tensor:
    """Pictures as a tensor in the type that they came in; one that torch lacks becomes float32."""
    try:
        tensor = torch.from_numpy(given.astype(given.dtype.newbyteorder("=")))
    except TypeError:
        tensor = torch.from_numpy(given.astype(np.float32))
    return tensor.bfloat16() if brain else tensor


def _rows(soft: Float[np.ndarray, "n k"], found: Found, asked: Asked) -> torch.Tensor:
    """Soft labels in the type that they came in; probabilities that were made of logits as float32."""
    given = None if found.labels is None else found.labels.dtype
    own = asked.labels != "logits" and given in {np.dtype("float16"), np.dtype("float64")}
    return torch.from_numpy(np.ascontiguousarray(soft, dtype=given if own else np.float32))


def _factor(found: Found, images: Shaped[np.ndarray, "n c h w"], asked: Asked, path: Path) -> int:
    """By what stored canvases are cut: IDC and NCFM save pictures of [0, 1] undecoded, and no factor with them."""
    if asked.factor is not None:
        if not 1 <= asked.factor <= 8:
            raise UsageError(f"--factor {asked.factor} decodes nothing", hint="IDC's is 2 at 32 px, 3 on ImageNet")
        return asked.factor
    if found.paired and float(images.min()) > -0.2 and float(images.max()) < 1.2:
        raise UsageError(
            f"{path} is a pair of tensors in 0..1, as IDC and NCFM save pictures that are still to be cut and "
            "enlarged, and no file says by what factor",
            hint="say --factor 2 (IDC at 32 px), --factor 3 (on ImageNet), or --factor 1 for pictures as they are",
        )
    return 1


def _judged(
    kept: Kept, order: Int64[np.ndarray, " n"], values: Values, dataset: Dataset, asked: Asked, store: Store,
    threads: int, path: Path,
) -> str:  # fmt: skip
    """What is told of the check of the labels; canvases are decoded for it."""
    if kept.factor > 1 and kept.data:
        return "labels: not checked, because these are canvases of whitened pictures"
    pixels, hard = values.pixels[order], kept.hard.numpy()
    if kept.factor > 1:
        images, labels = decoded(kept, len(dataset.classes))
        hard = labels.numpy()
        pixels = images.double().numpy() * _columns(kept.std) + _columns(kept.mean)
    verdict = _checked(pixels, hard, dataset, asked, store, threads, path)
    doubt = verdict.doubt(tuple(dataset.classes))
    return f"labels: {'confirmed' if verdict.agrees else 'not confirmed'}: {verdict.told()}{doubt}"


def _checked(
    pixels: Float[np.ndarray, "n c h w"], hard: Int64[np.ndarray, " n"], dataset: Dataset, asked: Asked,
    store: Store, threads: int, path: Path,
) -> Verdict:  # fmt: skip
    """What a network trained on real pictures says of the labels; raises where it contradicts them."""
    network, accuracy = judge(dataset, store.root, threads=threads)
    normalised = (pixels - _columns(tuple(dataset.mean))) / _columns(tuple(dataset.std))
    verdict = judgement(network, normalised, hard, accuracy)
    if asked.labels == "as-given":
        return verdict
    # First, since blue first also makes some classes look like others.
    if verdict.reversed and dataset.channels == 3 and asked.channels == "rgb":
        raise UsageError(
            f"the channels of {path} look reversed (blue first): the network likes the pictures so by "
            f"{verdict.reversed_gain:.2f} a picture (t = {verdict.reversed_t:.1f})",
            hint="say --channels bgr, or --labels as-given to take them as they are",
        )
    if verdict.permuted:
        moved = [
            f"{dataset.classes[given]} is {dataset.classes[meant]}"
            for given, meant in enumerate(verdict.order)
            if given != meant
        ]
        shift = _shift(verdict.order)
        raise UsageError(
            f"the labels of {path} look permuted{shift}: {verdict.told()}, and {100 * verdict.order_accuracy:.0f} % "
            f"where {'; '.join(moved[:5])}{'; …' if len(moved) > 5 else ''}",
            hint="give the class names in the set's order (--classes FILE), or --labels as-given to take them so",
        )
    if not verdict.agrees:
        message = f"nothing says that {path} is a set of {dataset.title}: {verdict.told()}"
        if len(hard) >= 3 * len(dataset.classes):
            raise UsageError(message, hint="name the dataset that it is of, or --labels as-given to score it so")
        say(f"note: {message}")
    return verdict


def _shift(order: tuple[int, ...]) -> str:
    shifts = {(meant - given) % len(order) for given, meant in enumerate(order)}
    return " (off by one)" if shifts in ({1}, {len(order) - 1}) else ""
