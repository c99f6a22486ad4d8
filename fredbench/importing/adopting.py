"""A set that was made elsewhere becomes a run folder like ours: method `imported:NAME`, nothing distilled.

What its file does not say is found out (`spaces`, `judging`), or taken from what was asked; both stand in the synset's
header under `imported`, with the evidence, and are told beside every number. A synset of ours is taken as it is.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped

from fredbench import networks
from fredbench.datasets import Dataset
from fredbench.foundation.config import from_mapping, to_mapping
from fredbench.foundation.environment import environment, library_versions
from fredbench.foundation.errors import ArtefactError, UsageError
from fredbench.foundation.files import sha256_of, write_bytes, write_json
from fredbench.foundation.progress import say
from fredbench.importing.asking import Asked
from fredbench.importing.judging import Verdict, judge, judgement
from fredbench.importing.labels import labels_of
from fredbench.importing.reading import Found, read
from fredbench.importing.values import columns as _columns
from fredbench.importing.values import values_of
from fredbench.parameterizations import PARAMETERIZATIONS, LabelConfig, State, labelled
from fredbench.recipes.presets import PRESETS
from fredbench.runs.preprocessing import DataConfig, described
from fredbench.runs.sources import place_of
from fredbench.runs.spec import Spec
from fredbench.runs.store import RunFolder, Store
from fredbench.runs.synset import Synset, load, tensors_digest
from fredbench.training import augmentation
from fredbench.training.loop import TrainingRecipe

__all__ = ["adopt", "adopted"]

_RATE = 0.01
# Grey levels end at 255, and optimised pixels in any space lie within some tens of deviations.
_LARGEST = 1e4


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
    found = read(path)
    images = _channels_first(found, dataset, path)
    if asked.channels == "bgr":
        images = np.ascontiguousarray(images[:, ::-1])
    assumed: list[str] = list(found.notes)
    factor = _factor(found, images, asked, path)
    values = values_of(found, images, dataset, asked, factor, store.root, path)
    assumed += values.told
    hard, soft, form = labels_of(found, images, dataset, asked, path, assumed)
    verdict = None if factor > 1 else _checked(values.pixels, hard, dataset, asked, store, threads, path)
    if verdict is not None:
        assumed.append(f"labels: {'confirmed' if verdict.agrees else 'not confirmed'}: {verdict.told()}")
    if values.space.name in {"unit", "levels"}:
        # Students see normalised pictures; the dataset's statistics are what its real pictures are brought to.
        mean, std = tuple(dataset.mean), tuple(dataset.std)
        stored = (values.pixels - _columns(mean)) / _columns(std)
        assumed.append(f"normalised here by {dataset.title}'s mean and deviation")
    else:
        mean, std, stored = values.space.mean, values.space.std, images
    order = np.argsort(hard, kind="stable")
    kept = _Kept(
        images=torch.from_numpy(np.ascontiguousarray(stored[order], dtype=np.float32)),
        hard=torch.from_numpy(hard[order]),
        soft=None if soft is None else torch.from_numpy(np.ascontiguousarray(soft[order], dtype=np.float32)),
        form=form, mean=mean, std=std, factor=factor, data=values.data, split=values.split,
    )  # fmt: skip
    rate = asked.step_size or found.step_size
    facts = {
        "file": path.name,
        "sha256": found.sha256,
        "form": found.form,
        "space": values.space.name,
        "evidence": [each.told() for each in values.evidence],
        "assumed": assumed,
    }
    return _made(kept, dataset, store, asked, facts, rate, found.student, device=device, threads=threads)


# What is stored


@dataclass(frozen=True)
class _Kept:
    """Pictures in class order, normalised, with hard labels and, where the set has them, soft ones of a `form`."""

    images: torch.Tensor
    hard: torch.Tensor
    soft: torch.Tensor | None
    form: Literal["hard", "probability", "centred"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    factor: int
    data: Mapping[str, Any]
    split: Literal["train", "train without validation"]

    def parts(self, classes: int) -> tuple[str, Mapping[str, Any], Mapping[str, Any], State]:
        """(parameterization, its settings, label settings, state)."""
        counts = torch.bincount(self.hard, minlength=classes).tolist()
        shape = (int(self.images.shape[1]), int(self.images.shape[2]), int(self.images.shape[3]))
        if self.factor > 1:
            canvases = self.images * torch.tensor(self.std)[:, None, None] + torch.tensor(self.mean)[:, None, None]
            if len(set(counts)) != 1 or self.soft is not None:
                raise UsageError(
                    f"{min(counts)} to {max(counts)} canvases a class"
                    + (" with soft labels" if self.soft is not None else "")
                    + " cannot be decoded by a factor: IDC and NCFM store equally many of each, with class numbers",
                    hint="leave out --factor, or say --labels hard",
                )
            statistics = torch.tensor([self.mean, self.std], dtype=torch.float32)
            kind = PARAMETERIZATIONS.get("idc")
            settings = to_mapping(from_mapping(kind.Config, {"factor": self.factor}, where="factor"))
            tensors = {"canvases": canvases.reshape(classes, -1, *shape).clamp(0, 1), "statistics": statistics}
            state = kind(from_mapping(kind.Config, settings, where="idc")).from_tensors(
                tensors, classes=classes, shape=shape
            )
            return "idc", settings, {}, state
        kind = PARAMETERIZATIONS.get("pixels")
        uneven = {} if len(set(counts)) == 1 else {"counts": tuple(counts)}
        config = from_mapping(kind.Config, uneven, where="pixels")
        labels = LabelConfig() if self.soft is None else LabelConfig(form=self.form, learned=True)
        tensors = {"pixels": self.images} if self.soft is None else {"pixels": self.images, "labels": self.soft}
        state = labelled(kind(config), labels).from_tensors(tensors, classes=classes, shape=shape)
        return "pixels", to_mapping(config), {} if self.soft is None else to_mapping(labels), state


def _made(
    kept: _Kept, dataset: Dataset, store: Store, asked: Asked, facts: dict[str, Any], rate: float | None,
    said: Mapping[str, Any], *, device: str, threads: int,
) -> RunFolder:  # fmt: skip
    classes, preset = len(dataset.classes), PRESETS[_preset(asked, said)]
    name, settings, label_settings, state = kept.parts(classes)
    kind = PARAMETERIZATIONS.get(name)
    labels = from_mapping(LabelConfig, label_settings, where="labels")
    parameterization = labelled(kind(from_mapping(kind.Config, settings, where=name)), labels)
    budget = parameterization.ledger(state).params
    usual = networks.canonical_name(
        f"convnet-d{networks.default_depth(dataset.size)}-w{preset.width}-in",
        channels=dataset.channels, classes=classes, size=dataset.size,
    )  # fmt: skip
    student, students, recipe = _students(said) if said and asked.preset is None else (usual, preset.students, None)
    if recipe is not None and rate is not None and (asked.step_size or preset.name == "paper"):
        # As runs of ours: the learned rate is the published preset's.
        recipe = dataclasses.replace(recipe, lr=rate)
    recipe = recipe or TrainingRecipe(
        epochs=preset.epochs,
        lr=rate or _RATE,
        augmentation="_".join(augmentation.strategy_for(dataset.flip)),
        loss="mse" if kept.form == "centred" else "cross-entropy",
    )
    if rate is None and recipe.lr == _RATE:
        facts["assumed"].append(f"students train at {_RATE}: no learned rate lies beside the pictures")
    spec = Spec(
        dataset=dataset.name,
        fingerprint=dataset.fingerprint,
        split=kept.split,
        method=f"imported:{_word(asked.name or Path(facts['file']).stem)}",
        objective=Spec.IMPORTED,
        parameterization=name,
        ipc=max(1, len(kept.images) // classes),
        budget=budget,
        preset=preset.name,
        seed=0,
        iterations=0,
        network=usual,
        device=device,
        threads=threads,
        objective_settings={
            "sha256": facts["sha256"],
            # What came of it: labels may lie in another file, and depend on what was asked.
            "content": tensors_digest({key: tensor for key, (tensor, _) in parameterization.to_tensors(state).items()}),
            "space": facts["space"],
            "channels": asked.channels,
        },
        parameterization_settings=settings,
        student_network=student,
        students=students,
        student=recipe,
        label_settings=label_settings,
        data_settings=kept.data,
    )
    synset = Synset.pack(
        parameterization,
        state,
        {
            "dataset": {
                "name": dataset.title,
                "fingerprint": spec.fingerprint,
                "classes": list(dataset.classes),
                "shape": [dataset.channels, *dataset.size],
                "partial": dict(dataset.partial),
                "split": spec.split,
            },
            "method": spec.method,
            "objective": spec.objective,
            "objective_settings": dict(spec.objective_settings),
            "parameterization": {"name": name, "settings": dict(settings)},
            "network": usual,
            "ipc": spec.ipc,
            "budget": budget,
            "iterations": 0,
            "preset": spec.preset,
            "seed": 0,
            "normalization": described(kept.data, dataset, kept.split)
            if kept.data
            else {"kind": "mean-std", "mean": list(kept.mean), "std": list(kept.std)},
            "pixel_space": "normalized",
            "labels": _header_labels(labels),
            "step_size": None,
            "student": spec.to_mapping()["student"],
            "spec_sha256": spec.digest(),
            "imported": facts,
            "versions": library_versions(("torch", "numpy", "safetensors")),
        },
    )
    return _kept_as_run(synset, spec, dataset, store, None)


def _preset(asked: Asked, said: Mapping[str, Any]) -> str:
    """The preset that is asked for, that of an export of ours, or the published protocol."""
    named = asked.preset or said.get("preset")
    return named if named in PRESETS else "paper"


def _students(said: Mapping[str, Any]) -> tuple[str, int, TrainingRecipe]:
    """Network, number and recipe of students, as an export of ours has them."""
    rest = {key: value for key, value in said.items() if key != "preset"}
    try:
        return str(rest.pop("network")), int(rest.pop("students")), TrainingRecipe(**rest)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"the description of students cannot be read: {error}", hint="say --preset") from error


def _header_labels(labels: LabelConfig) -> dict[str, Any]:
    if labels.form == "hard":
        return {"kind": "hard", "learned": False, "order": "class"}
    return {"kind": labels.form, "learned": True, "order": "class", "settings": to_mapping(labels)}


def _kept_as_run(synset: Synset, spec: Spec, dataset: Dataset, store: Store, source: Path | None) -> RunFolder:
    """The run's folder, written unless it is there; `source`: a synset file whose very bytes are kept."""
    synset.verify()
    folder = store.folder_for(spec)
    if folder.finished:
        return folder
    with folder.lock():
        folder.write_spec(spec)
        made_in = environment(spec.device, spec.threads)
        write_json(
            folder.environment_file, {**made_in, "data": {dataset.name: dataset.fingerprint}, **place_of(dataset)}
        )
        if source is None:
            synset.save(folder.synset_file)
        else:
            write_bytes(folder.synset_file, source.read_bytes())
        folder.write_result(
            {
                "method": spec.method,
                "dataset": spec.dataset,
                "iterations": spec.iterations,
                "ledger": synset.ledger.to_mapping(),
                "budget": spec.budget,
                "synset_sha256": sha256_of(folder.synset_file),
                "seconds": 0.0,
                "device": spec.device,
            }
        )
    return folder


def _word(name: str) -> str:
    """`name` as part of a method's and a folder's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] or "set"


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
        student_network=student.pop("network"), students=student.pop("students"), student=TrainingRecipe(**student),
        label_settings=head["labels"].get("settings", {}), data_settings=_data(synset, dataset),
    )  # fmt: skip
    # The header does not say the number of threads, on which the spec's digest depends.
    for count in (threads, *range(1, 129)):
        same = dataclasses.replace(spec, threads=count)
        if same.digest() == head.get("spec_sha256"):
            if count != threads:
                say(f"note: {path.name} was made with {count} threads; its start is made with --threads {count} only")
            return _kept_as_run(synset, same, dataset, store, path)
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


def _channels_first(found: Found, dataset: Dataset, path: Path) -> Float[np.ndarray, "n c h w"]:
    """The pictures as float32 (N, C, H, W) of the dataset's shape."""
    images, shape = found.images, (dataset.channels, *dataset.size)
    if found.folders and dataset.channels == 1 and (images == images[..., :1]).all():
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
    pictures = np.ascontiguousarray(turned, dtype=np.float32)
    if float(np.abs(pictures).max()) > _LARGEST:
        raise UsageError(
            f"{path} has values up to {float(np.abs(pictures).max()):.3g}, which no picture has in any known space",
            hint="the set diverged, or the file holds something else",
        )
    return pictures


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


def _checked(
    pixels: Float[np.ndarray, "n c h w"], hard: Int64[np.ndarray, " n"], dataset: Dataset, asked: Asked,
    store: Store, threads: int, path: Path,
) -> Verdict | None:  # fmt: skip
    """What a network trained on real pictures says of the labels; raises where it contradicts them."""
    network, accuracy = judge(dataset, store.root, threads=threads)
    normalised = (pixels - _columns(tuple(dataset.mean))) / _columns(tuple(dataset.std))
    verdict = judgement(network, normalised, hard, accuracy)
    if asked.labels == "as-given":
        return verdict
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
    if verdict.reversed and dataset.channels == 3 and asked.channels == "rgb":
        raise UsageError(
            f"the channels of {path} look reversed (blue first): the network likes the pictures so by "
            f"{verdict.reversed_gain:.2f} a picture (t = {verdict.reversed_t:.1f})",
            hint="say --channels bgr, or --labels as-given to take them as they are",
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
