"""FRePo: ridge regression on the features of a pool of networks."""

from __future__ import annotations

import math

from fredbench.recipes.methods import Method
from fredbench.recipes.rules import Case, Rule, at_most, between, chosen, except_for, paper, script, where
from fredbench.recipes.systems.common import LARGE, SMALL_GREY, WHITENABLE

__all__ = ["METHODS", "RULES"]

METHODS = (
    Method(
        "frepo",
        "frepo",
        "pixels",
        "Zhou, Nezhadarya and Ba, Dataset Distillation using Neural Feature Regression, NeurIPS 2022",
        "regression, label loss and gradients against golden frepo",
        note="ZCA-whitened with the preset paper, colour pictures below 128 px: the paper's whitening by blocks of "
        "larger ones is not built",
        departures={
            "cifar10": "before it is whitened CIFAR-10 is normalised by the deviation of all other systems "
            "(.2023 .1994 .2010), not FRePo's own (.2470 .2435 .2616)",
        },
    ),
)

_FREPO = where(objective="frepo")
_QUICK = {**_FREPO, **where(preset="quick")}
_STUDENTS = {**_FREPO, **where(preset="paper")}
# LAMB moves a tensor by its rate's share of its norm a step: 300 steps of 3e-4 would leave real pictures as they are.
_SHORT = {**_FREPO, **where(iterations=between(1, 10_000))}
_SHORT_SOURCE = "ten times the published rate for runs of under 10,000 iterations"
_RATE, _SHORT_RATE = 3e-4, 3e-3
_CODE = "FRePo, README.md:84 and script/distill.py:62-66"

# Students are trained for a number of steps by the number of pictures (FRePo's evaluation script).
_STEPS = {10: 1000, 100: 2000, 200: 20_000, 400: 5000, 500: 5000, 1000: 10_000, 2000: 40_000, 5000: 40_000}
_WARMUP, _BATCH = 500, 500


def _nearest(case: Case) -> int:
    return min(_STEPS, key=lambda listed: abs(math.log(listed / case.pictures)))


def _batches(case: Case) -> int:
    return math.ceil(case.pictures / _BATCH)


def _mirrored(case: Case) -> bool:
    few = case.dataset not in {"cifar100", "tiny-imagenet"} or case.ipc == 1
    return case.flip and few and case.side < LARGE


RULES: tuple[Rule, ...] = (
    script(
        "data",
        "FRePo, lib/dataset/dataloader.py:75-78: ZCA of standardised pictures, eps .1 of the mean eigenvalue; none for "
        "MNIST and Fashion",
        {**_FREPO, **WHITENABLE, **where(parameterization="pixels", dataset=except_for("digits", *SMALL_GREY))},
        published=(where(dataset={"cifar10", "cifar100", "tiny-imagenet"}),),
        whitening="frepo",
    ),
    script("run", "FRePo, README.md:84", _FREPO, iterations=500_000),
    script(
        "run",
        "FRePo, networks.py:185-232: the objective's own network",
        _FREPO,
        network=lambda case: f"frepo-w{case.width}-bn",
    ),
    chosen(
        "run",
        "the objective's own network, as wide as the preset says",
        {**_FREPO, **where(width=except_for(128))},
        network=lambda case: f"frepo-w{case.width}-bn",
    ),
    script(
        "objective",
        "FRePo, script/distill.py:147-180: off for digits, 100 classes above IPC 1, and ImageNet-1K at 64 px, whose "
        "setting other pictures of 128 px have here",
        _FREPO,
        published=(where(side=at_most(LARGE - 1)),),
        flip=_mirrored,
    ),
    chosen(
        "objective",
        "a mirror changes the class",
        {**_FREPO, **where(flip=False, dataset=except_for("mnist"))},
        flip=False,
    ),
    chosen(
        "objective",
        "not published; a mirrored digit is none of its class",
        {**_FREPO, **where(dataset="svhn")},
        flip=lambda case: case.flip,
    ),
    script(
        "objective",
        "FRePo, script/distill.py:147-152: on for ImageNette and ImageWoof",
        {**_STUDENTS, **where(dataset={"imagenette", "imagewoof"})},
        flip=lambda case: case.flip,
    ),
    chosen("objective", "quick: a quarter of the real pictures", _QUICK, batch_real=256),
    script("parameterization", _CODE, _FREPO, lr=_RATE, optimiser="lamb"),
    script("parameterization", "FRePo, script/distill.py:198-199: half a cosine down to a tenth", _FREPO, final=0.1),
    # LAMB's rate is a share of a tensor's norm, whatever the tensor is.
    chosen("parameterization", "not published", {**_FREPO, **where(parameterization="haba")}, lr_hallucinators=_RATE),
    chosen("parameterization", _SHORT_SOURCE, _SHORT, lr=_SHORT_RATE),
    chosen(
        "parameterization", "not published", {**_SHORT, **where(parameterization="haba")}, lr_hallucinators=_SHORT_RATE
    ),
    paper("labels", "FRePo: one-hot rows minus 1 / C, learned", _FREPO, form="centred", learned=True),
    script(
        "labels",
        "FRePo, lib/datadistillation/frepo.py:73-87: targets are divided by the root of a tenth of the classes",
        _FREPO,
        divisor=lambda case: math.sqrt(case.classes / 10),
    ),
    script("labels", _CODE, _FREPO, lr=_RATE, optimiser="lamb"),
    script("labels", "FRePo, script/distill.py:198-199: half a cosine down to a tenth", _FREPO, final=0.1),
    chosen("labels", _SHORT_SOURCE, _SHORT, lr=_SHORT_RATE),
    script(
        "student",
        "FRePo, script/eval.py:207-231",
        _STUDENTS,
        network="frepo-w128-none",
        warmup=lambda case: _WARMUP // _batches(case),
        batch_size=_BATCH,
        lr=3e-4,
        optimiser="adam",
        weight_decay=0.0,
        schedule="cosine",
        final=0.01,
    ),
    chosen(
        "student",
        "nearest listed number",
        _STUDENTS,
        epochs=lambda case: _STEPS[_nearest(case)] // _batches(case),
    ),
    script(
        "student",
        "FRePo, script/eval.py:207-231",
        {**_STUDENTS, **where(pictures=frozenset(_STEPS))},
        epochs=lambda case: _STEPS[case.pictures] // _batches(case),
    ),
    script(
        "student",
        "FRePo, lib/dataset/augmax/export.py:7-18 and imagelevel.py:190-260",
        _STUDENTS,
        strength="frepo-code",
    ),
    # Rate and weight decay are those of a squared error, so hard labels do not make students classify by cross-entropy.
    script(
        "student",
        "FRePo, script/eval.py:207-231: the loss, of hard labels too: rate and weight decay are of its curvature",
        _STUDENTS,
        loss="mse",
    ),
)
