"""How the published evaluation of each objective trains its students."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fredbench.recipes.settings import Setting, Settings, chosen, inferred, script

__all__ = ["student_settings"]

_LARGE = 128


def student_settings(
    objective: str,
    *,
    dataset: str,
    flip: bool,
    ipc: int,
    side: int,
    augmented: bool,
    storage: Mapping[str, Any],
    pictures: int,
    classes: int,
) -> Settings:
    """What the published evaluation of `objective` sets differently from §0.5 of the shared protocol.

    `flip`: whether a mirrored picture keeps its class; `side`: the longer side of a picture; `augmented`: whether the
    objective matched under an augmentation; `storage`: settings of the parameterization; `pictures`: how many a
    student sees in one epoch.
    `network` among the settings is the students' network.
    """
    if objective == "none":
        why = "the published rows match DC's protocol in level; how they were trained was not sourced"
        return inferred(why, epochs=_dc_epochs(dataset), augmentation="none")
    if objective == "dc":
        if dataset == "mnist":
            return chosen(
                "DC's own MNIST augmentation is not built; its 1000 epochs",
                epochs=_dc_epochs(dataset),
                augmentation="none",
            )
        return script("DC and FreD-DC: 300 epochs, no augmentation", epochs=_dc_epochs(dataset), augmentation="none")
    if objective == "cafe" and not augmented:
        return script("CAFE, distill.py", epochs=600, augmentation="none")
    if objective == "idc":
        return _idc_students(dataset, flip, ipc, side, storage)
    if objective == "frepo":
        return _frepo_students(pictures)
    if objective in {"kip", "label-solve"}:
        return _kip_students(pictures, classes)
    return {}


def _dc_epochs(dataset: str) -> int:
    return 1000 if dataset == "mnist" else 300


# KIP and FRePo regress on one-hot rows minus 1 / C where labels are not learned, and their rates and weight decay are
# those of a squared error, so hard labels do not make their students classify by cross-entropy.
_HARD_LABELS = "the published loss, of hard labels too: rate and weight decay are of its curvature"


# FRePo trains its students for a number of steps by the number of its pictures (its evaluation script).
_FREPO_STEPS = {10: 1000, 100: 2000, 200: 20_000, 400: 5000, 500: 5000, 1000: 10_000, 2000: 40_000, 5000: 40_000}
_FREPO_WARMUP, _FREPO_BATCH = 500, 500


def _frepo_students(pictures: int) -> Settings:
    nearest = min(_FREPO_STEPS, key=lambda listed: abs(math.log(listed / pictures)))
    batches = math.ceil(pictures / _FREPO_BATCH)
    epochs = _FREPO_STEPS[nearest] // batches
    listed = Setting(epochs, "script") if nearest == pictures else Setting(epochs, "chosen", "nearest listed number")
    listed_script = script(
        "FRePo, its evaluation script",
        network="frepo-w128-none",
        warmup=_FREPO_WARMUP // batches,
        batch_size=_FREPO_BATCH,
        lr=3e-4,
        optimiser="adam",
        weight_decay=0.0,
        schedule="cosine",
        final=0.01,
    )
    strength = Setting("frepo", "inferred", "the same operations; ours draw parameters for each picture")
    loss = Setting("mse", "script", _HARD_LABELS)
    return {**listed_script, "epochs": listed, "strength": strength, "loss": loss}


def _kip_students(pictures: int, classes: int) -> Settings:
    paper = {
        "network": "kip-w1024",
        "epochs": 5000 // math.ceil(pictures / 100),
        "batch_size": 100,
        "lr_unit": "stable",
        "schedule": "cosine",
        "augmentation": "none",
    }
    return {
        **{name: Setting(value, "paper", "KIP, NeurIPS 2021, transfer to networks") for name, value in paper.items()},
        "loss": Setting("mse", "paper", _HARD_LABELS),
        "lr": Setting(0.5, "chosen", "the factor was searched on validation pictures; winners are not published"),
        "weight_decay": Setting(
            0.001 * classes, "inferred", "theirs is the mean over classes too: a C-th of our loss, so C times theirs"
        ),
    }


def _idc_students(dataset: str, flip: bool, ipc: int, side: int, storage: Mapping[str, Any]) -> Settings:
    plain = dataset == "svhn" and ipc == 1 and storage.get("factor", 1) == 1
    stages = [*(["flip"] if flip else []), "color", "crop_scale_rotate", *(["cutout"] if plain else [])]
    settings = script(
        "IDC, test.py: its DiffAug, CutMix in half of the batches (none for SVHN, IPC 1, factor 1), times .2 twice",
        batch_size=64,
        schedule="steps",
        drop_factor=0.2,
        augmentation="+".join(stages),
        cutmix=0.0 if plain else 0.5,
    )
    if side >= _LARGE:
        why = "published: 300 to 3000 epochs by the decoded pictures, of a ResNetAP-10 at 224 px, which is not built"
        settings |= chosen(why, epochs=1000)
    return settings
