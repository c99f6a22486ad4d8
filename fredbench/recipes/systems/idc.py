"""IDC: pictures stored small in canvases, and gradients of a network that learns from real pictures alongside."""

from __future__ import annotations

from fredbench.recipes.methods import Method
from fredbench.recipes.rules import Case, Rule, at_least, chosen, except_for, inferred, script, where
from fredbench.recipes.systems.common import (
    IMAGENET_SUBSETS,
    LARGE,
    NORMALISED,
    OWN_STATISTICS,
    SMALL_GREY,
    borrowed_statistics,
    pixels_rate,
    quick_rounds,
)

__all__ = ["METHODS", "RULES"]

_AT_128 = (
    "published for ImageNet: ResNetAP-10 at 224 px, under a resized crop, flip, jitter and lighting; here ConvNetD5 at "
    "128 px, under the augmentation of the sets of 32 px"
)
METHODS = (
    Method(
        "idc",
        "idc",
        "idc",
        "Kim et al., Dataset Condensation via Efficient Synthetic-Data Parameterization, ICML 2022",
        "decoding, initialisation, gradient and feature matching against golden idc",
        note="factor 2 stores 4 pictures in one; the table's x5 is --set parameterization.mode=multi",
        departures={**OWN_STATISTICS, **dict.fromkeys(sorted(IMAGENET_SUBSETS), _AT_128)},
    ),
)

_IDC, _CANVASES = where(objective="idc"), where(parameterization="idc", choice=False)
_STUDENTS = {**_IDC, **where(preset="paper")}
# IDC's ImageNet runs are of ten classes, at its own size; these are the nearest to them.
_SUBSETS = (where(dataset=IMAGENET_SUBSETS),)
_MIXED = "IDC, argument.py:139: every batch is mixed for ImageNet"
_RATES = "IDC, argument.py:50-69: CIFAR and SVHN 5e-3, MNIST and Fashion 1e-4, times n / 10"


def _rate(case: Case) -> float:
    """IDC's rates are for 10 pictures a class of 32 px (ImageNet: 224), and multiplied by n / 10 and by the area."""
    if case.side >= LARGE:
        return 3e-3 * case.ipc / 10 * (case.side / 224) ** 2
    grey = case.dataset in SMALL_GREY
    return (1e-4 if grey else 5e-3) * case.ipc / 10 * (1.0 if grey else (case.side / 32) ** 2)


def _plain(case: Case) -> bool:
    """SVHN at IPC 1 and factor 1 is trained on cutout pictures without CutMix, all else the other way round."""
    return case.dataset == "svhn" and case.ipc == 1 and case.storage.get("factor", 1) == 1


def _stages(case: Case) -> str:
    mirrored = ["flip"] if case.flip else []
    return "+".join([*mirrored, "color", "crop_scale_rotate", *(["cutout"] if _plain(case) else [])])


RULES: tuple[Rule, ...] = (
    borrowed_statistics("IDC, data.py", objective="idc", parameterization="idc"),
    # One iteration is a pass over the classes; the network is drawn anew every 100.
    script("run", "IDC, reproduce.py:10: 2000 x 100 for 32 px and below", _IDC, iterations=200_000),
    script(
        "run",
        "IDC, reproduce.py:44: 500 x 100 for ImageNet",
        {**_IDC, **where(side=at_least(LARGE))},
        iterations=50_000,
    ),
    quick_rounds("idc"),
    script(
        "objective",
        "IDC, argument.py: color_crop_cutout, cutout left out beside CutMix",
        _IDC,
        augmentation="color+crop+cutout",
    ),
    script(
        "objective",
        "IDC, reproduce.py:12-33: l1 for MNIST, Fashion and ImageNet",
        {**_IDC, **where(dataset=SMALL_GREY)},
        metric="l1",
    ),
    script(
        "objective",
        "IDC, reproduce.py:12-33: l1 for MNIST, Fashion and ImageNet",
        {**_IDC, **where(side=at_least(LARGE))},
        metric="l1",
    ),
    script(
        "objective",
        "IDC, reproduce.py:14: 2000 real pictures for CIFAR, 500 elsewhere",
        {**_IDC, **where(dataset={"cifar10", "cifar100"})},
        train_pictures=2000,
    ),
    script(
        "objective",
        "IDC, reproduce.py:49: a new network is trained for 10 epochs first (ImageNet-10)",
        {**_IDC, **where(side=at_least(LARGE))},
        pretrain_epochs=10,
    ),
    chosen(
        "objective",
        "as at 32 px; published for ImageNet, and so in the preset paper: 1",
        {**_IDC, **where(side=at_least(LARGE))},
        cutmix=0.5,
    ),
    script(
        "objective",
        _MIXED,
        {**_STUDENTS, **where(side=at_least(LARGE))},
        published=_SUBSETS,
        cutmix=1.0,
    ),
    chosen(
        "objective",
        "quick: 32 real and at most 32 synthetic pictures a class, 128 to train by, no training beforehand",
        {**_IDC, **where(preset="quick")},
        batch_real=32,
        batch_synthetic=32,
        train_pictures=128,
        pretrain_epochs=0,
    ),
    chosen(
        "parameterization",
        "not published: IDC's rate, from [0, 1] to normalised pictures",
        {**_IDC, **where(parameterization="pixels")},
        lr=lambda case: _rate(case) / NORMALISED,
    ),
    script("parameterization", "IDC, README.md and condense.py: 2 at 32 px, 3 for ImageNet", _CANVASES, factor=2),
    script(
        "parameterization",
        "IDC, README.md and condense.py: 2 at 32 px, 3 for ImageNet",
        {**_CANVASES, **where(side=at_least(LARGE))},
        factor=3,
    ),
    chosen(
        "parameterization",
        "not published: the pixels' rate, from normalised pictures to [0, 1]",
        {**_CANVASES, **where(objective=except_for("idc"))},
        lr=lambda case: pixels_rate(case) * NORMALISED,
    ),
    script(
        "parameterization",
        lambda case: _RATES + ("" if case.side <= 32 else ", here times (size / 32)^2"),
        {**_CANVASES, **_IDC},
        published=(where(dataset=SMALL_GREY | {"svhn", "cifar10", "cifar100"}),),
        lr=_rate,
    ),
    inferred(
        "parameterization",
        "IDC, ImageNet-10, scaled by n and area",
        {**_CANVASES, **_IDC, **where(side=at_least(LARGE))},
        lr=_rate,
    ),
    script(
        "student",
        "IDC, test.py: its DiffAug, CutMix in half of the batches (none for SVHN, IPC 1, factor 1), times .2 twice",
        _STUDENTS,
        batch_size=64,
        schedule="steps",
        drop_factor=0.2,
        augmentation=_stages,
        cutmix=lambda case: 0.0 if _plain(case) else 0.5,
    ),
    script("student", _MIXED, {**_STUDENTS, **where(side=at_least(LARGE))}, published=_SUBSETS, cutmix=1.0),
    chosen(
        "student",
        "published: 300 to 3000 epochs by the decoded pictures, of a ResNetAP-10 at 224 px, which is not built",
        {**_STUDENTS, **where(side=at_least(LARGE))},
        epochs=1000,
    ),
    *(
        script(
            "student",
            "IDC, argument.py:22-47: by IPC and factor",
            {**_STUDENTS, **where(side=at_least(LARGE), ipc=ipc, storage=lambda storage: storage.get("factor") == 3)},
            published=_SUBSETS,
            epochs=epochs,
        )
        for ipc, epochs in ((1, 2000), (10, 1000))
    ),
)
