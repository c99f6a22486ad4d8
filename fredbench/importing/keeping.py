"""A set that was understood, kept as a run folder like ours: its storage, spec, header and record."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from fredbench import networks
from fredbench.datasets import Dataset
from fredbench.foundation.config import from_mapping, to_mapping
from fredbench.foundation.environment import environment
from fredbench.foundation.errors import ArtefactError, UsageError
from fredbench.foundation.files import write_bytes, write_json
from fredbench.importing.asking import Asked
from fredbench.parameterizations import PARAMETERIZATIONS, LabelConfig, Parameterization, State, labelled
from fredbench.recipes.presets import PRESETS, Preset
from fredbench.runs.records import description, record
from fredbench.runs.sources import place_of
from fredbench.runs.spec import Spec
from fredbench.runs.store import RunFolder, Store
from fredbench.runs.synset import Synset, tensors_digest
from fredbench.training import augmentation
from fredbench.training.loop import TrainingRecipe

__all__ = ["Kept", "decoded", "keep", "keep_run"]

_RATE = 0.01


@dataclass(frozen=True)
class Kept:
    """Pictures in class order, normalised, with hard labels and, where the set has them, soft ones of a `form`.

    given: the same pictures as the file has them, in its type; `scale` says that these are pixels times a number.
    """

    images: torch.Tensor
    hard: torch.Tensor
    soft: torch.Tensor | None
    form: Literal["hard", "probability", "centred"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    factor: int
    data: Mapping[str, Any]
    split: Literal["train", "train without validation"]
    given: torch.Tensor
    scale: float = 0.0

    @property
    def own_type(self) -> bool:
        """Whether pictures are kept as the file has them: float32 ones are kept normalised, as sets of ours are."""
        return self.factor == 1 and self.given.dtype != torch.float32

    def types_told(self) -> list[str]:
        """What a user should know of how pictures are kept and counted in bytes; nothing of float32."""
        kind = str(self.given.dtype).removeprefix("torch.")
        if self.own_type:
            half = ", half precision" if kind in {"float16", "bfloat16"} else ""
            return [f"pictures are kept, and counted in bytes, as the file has them: {kind}{half}"]
        return [f"canvases of {kind} are kept, and counted in bytes, as float32"] if kind != "float32" else []

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
        said: dict[str, Any] = {} if len(set(counts)) == 1 else {"counts": tuple(counts)}
        tensors = {"pixels": self.given if self.own_type else self.images}
        if self.own_type and self.scale:
            said["scale"] = self.scale
            tensors["statistics"] = torch.tensor([self.mean, self.std], dtype=torch.float64)
        config = from_mapping(kind.Config, said, where="pixels")
        labels = LabelConfig() if self.soft is None else LabelConfig(form=self.form, learned=True)
        tensors |= {} if self.soft is None else {"labels": self.soft}
        state = labelled(kind(config), labels).from_tensors(tensors, classes=classes, shape=shape)
        return "pixels", to_mapping(config), {} if self.soft is None else to_mapping(labels), state


def decoded(kept: Kept, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(pictures as students see them, their labels): of canvases more than are stored."""
    name, settings, _, state = kept.parts(classes)
    kind = PARAMETERIZATIONS.get(name)
    with torch.no_grad():
        images, labels = kind(from_mapping(kind.Config, settings, where=name)).decode(state)[:2]
    return images, labels


def keep(
    kept: Kept, dataset: Dataset, store: Store, asked: Asked, facts: dict[str, Any], rate: float | None,
    said: Mapping[str, Any], *, device: str, threads: int,
) -> RunFolder:  # fmt: skip
    """The run of `kept` in `store`, made unless it is there.

    facts: what the header says under `imported`. rate: a learned one. said: how students of an export of ours train.
    """
    parameterization, state, parts = _storage(kept, len(dataset.classes))
    network, students, recipe = _students(kept, dataset, asked, rate, said)
    if not device.startswith("cpu"):  # where there are no fused blocks
        recipe = dataclasses.replace(recipe, arithmetic="eager")
    if rate is None and recipe.lr == _RATE:
        facts["assumed"].append(f"students train at {_RATE}: no learned rate lies beside the pictures")
    stored = {name: tensor for name, (tensor, _) in parameterization.to_tensors(state).items()}
    spec = Spec(
        dataset=dataset.name,
        fingerprint=dataset.fingerprint,
        split=kept.split,
        method=f"imported:{_word(asked.name or Path(facts['file']).stem)}",
        objective=Spec.IMPORTED,
        ipc=max(1, len(kept.images) // len(dataset.classes)),
        budget=parameterization.ledger(state).params,
        preset=_preset(asked, said).name,
        seed=0,
        iterations=0,
        network=network,
        device=device,
        threads=threads,
        # `content` is what came of it: labels may lie in another file, and depend on what was asked.
        objective_settings={
            "sha256": facts["sha256"],
            "content": tensors_digest(stored),
            "space": facts["space"],
            "channels": asked.channels,
        },
        student_network=network,
        students=students,
        student=recipe,
        data_settings=kept.data,
        **parts,
    )
    plain = None if kept.data else {"kind": "mean-std", "mean": list(kept.mean), "std": list(kept.std)}
    head = description(spec, dataset, iterations=0, normalization=plain)
    return keep_run(Synset.pack(parameterization, state, {**head, "imported": facts}), spec, dataset, store)


def _storage(kept: Kept, classes: int) -> tuple[Parameterization, State, dict[str, Any]]:
    """(parameterization, state, their fields of the spec)."""
    name, settings, label_settings, state = kept.parts(classes)
    kind = PARAMETERIZATIONS.get(name)
    labels = from_mapping(LabelConfig, label_settings, where="labels")
    parts = {
        "parameterization": name,
        "parameterization_settings": settings,
        "label_settings": label_settings,
    }
    return labelled(kind(from_mapping(kind.Config, settings, where=name)), labels), state, parts


def _students(
    kept: Kept, dataset: Dataset, asked: Asked, rate: float | None, said: Mapping[str, Any]
) -> tuple[str, int, TrainingRecipe]:
    """Network, number and recipe of the students: as an export of ours says, else the published protocol's."""
    preset = _preset(asked, said)
    if said and asked.preset is None:
        network, students, recipe = _students_said(said)
        # As runs of ours: the learned rate is the published preset's.
        if rate is not None and (asked.step_size is not None or preset.name == "paper"):
            recipe = dataclasses.replace(recipe, lr=rate)
        return network, students, recipe
    usual = networks.canonical_name(
        f"convnet-d{networks.default_depth(dataset.size)}-w{preset.width}-in",
        channels=dataset.channels, classes=len(dataset.classes), size=dataset.size,
    )  # fmt: skip
    recipe = TrainingRecipe(
        epochs=preset.epochs,
        lr=rate or _RATE,
        augmentation="_".join(augmentation.strategy_for(dataset.flip)),
        loss="mse" if kept.form == "centred" else "cross-entropy",
    )
    return usual, preset.students, recipe


def _preset(asked: Asked, said: Mapping[str, Any]) -> Preset:
    """The preset that is asked for, that of an export of ours, or the published protocol."""
    named = asked.preset or said.get("preset")
    return PRESETS[named if named in PRESETS else "paper"]


def _students_said(said: Mapping[str, Any]) -> tuple[str, int, TrainingRecipe]:
    """Network, number and recipe of students, as an export of ours has them."""
    rest = {key: value for key, value in said.items() if key != "preset"}
    try:
        return str(rest.pop("network")), int(rest.pop("students")), TrainingRecipe.stored(rest)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"the description of students cannot be read: {error}", hint="say --preset") from error


def keep_run(synset: Synset, spec: Spec, dataset: Dataset, store: Store, source: Path | None = None) -> RunFolder:
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
        ledger, iterations = synset.ledger, spec.iterations
        folder.write_result(record(spec, folder, ledger, iterations=iterations, seconds=0.0))
    return folder


def _word(name: str) -> str:
    """`name` as part of a method's and a folder's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] or "set"
