"""KIP and its solved labels: kernel ridge regression on an infinitely wide network."""

from __future__ import annotations

import math

from fredbench.recipes.methods import Method
from fredbench.recipes.rules import Case, Rule, at_least, chosen, except_for, inferred, paper, script, where
from fredbench.recipes.systems.common import MANY, NORMALISED, SMALL_GREY, WHITENABLE

__all__ = ["METHODS", "RULES"]

METHODS = (
    Method(
        "kip",
        "kip",
        "pixels",
        "Nguyen, Chen and Lee, Dataset Meta-Learning from Kernel Ridge-Regression, ICLR 2021; "
        "Nguyen, Novak, Xiao and Lee, Dataset Distillation with Infinitely Wide Convolutional Networks, "
        "NeurIPS 2021",
        "FC and pooled convolutional kernels, predictions, loss and gradients against golden kip",
        # The kernel of the published rows is `conv3-pre`; what it costs is measured, see docs/kernels.md.
        note="kernel fc1, the authors' notebook, by the preset paper with its fixed labels; conv3-nopool by the preset "
        "quick; the published rows are of "
        "conv3-pre (ConvNet with pooling, a large cluster), which --set objective.kernel=conv3-pre computes "
        "exactly, but at 32 px one pair of pictures takes 2 s of a core (measured; projected: 28 hours a step at "
        "IPC 1 with 5,000 targets), so these numbers do not reproduce those; with the preset paper ZCA-whitened, "
        "colour pictures below 128 px",
    ),
    Method(
        "label-solve",
        "label-solve",
        "pixels",
        "Nguyen, Chen and Lee, Dataset Meta-Learning from Kernel Ridge-Regression, ICLR 2021",
        "the solved labels minimise the regression loss; kernels against golden kip",
        note="random real pictures with the best labels for the kernel fc1; see kip for other kernels",
    ),
)

_KIP, _SOLVED = where(objective="kip"), where(objective="label-solve")
_RATE = 0.04
_CENTRED = "KIP: one-hot rows minus 1 / C"
_TRANSFER = "KIP, NeurIPS 2021, transfer to networks"
_STUDENTS = where(objective={"kip", "label-solve"}, preset="paper")
# Adam moves everything by its rate: a pixel's deviation is 1, a weight's about a tenth.
_WEIGHTS_SHARE = 0.1


def _coefficients(case: Case) -> float:
    """Adam moves every number by its rate, and an unnormalised coefficient is 2 sqrt(HW) orthonormal ones."""
    return _RATE * (2 * math.sqrt(case.area))


def _epochs(case: Case) -> int:
    return 5000 // math.ceil(case.pictures / 100)


RULES: tuple[Rule, ...] = (
    script(
        "data",
        "KIP, nn_training.ipynb (zca_normalize): each picture's mean and norm first, eps .1 of the mean eigenvalue",
        {**_KIP, **WHITENABLE, **where(parameterization="pixels", dataset=except_for("digits", *SMALL_GREY))},
        published=(where(dataset="cifar10"),),
        whitening="kip",
    ),
    script("run", "KIP.ipynb runs 300 to 1,000 steps, the released grid up to 50,000", _KIP, iterations=1000),
    paper("run", "a closed form", _SOLVED, iterations=1),
    # A step grows with the square of the pictures: 0.4 s of a core at 10, 7 s at 100.
    chosen("run", "quick: the loss has come to rest", {**_KIP, **where(preset="quick")}, iterations=100),
    chosen(
        "run",
        "quick: five minutes of two cores at IPC 10",
        {**_KIP, **where(preset="quick", ipc=at_least(MANY))},
        iterations=40,
    ),
    # fc1 takes milliseconds, but what it asks of pictures makes convolutional students worse (docs/kernels.md).
    chosen(
        "objective",
        "quick: the convolutional kernel that minutes allow, 100 targets a step",
        {**_KIP, **where(preset="quick")},
        kernel="conv3-nopool",
        batch_real=100,
        precision="float32",
    ),
    script("parameterization", "KIP, KIP.ipynb", {**_KIP, **where(choice=False)}, lr=_RATE, optimiser="adam"),
    chosen(
        "parameterization",
        "the pixels' rate on coefficients",
        {**_KIP, **where(parameterization="fred")},
        lr=_coefficients,
    ),
    # A canvas's numbers are a deviation s of a normalised picture's.
    chosen(
        "parameterization",
        "the pixels' rate, from normalised pictures to [0, 1]",
        {**_KIP, **where(parameterization="idc")},
        lr=_RATE * math.sqrt(NORMALISED),
    ),
    chosen(
        "parameterization",
        "not published",
        {**_KIP, **where(parameterization="haba")},
        lr_hallucinators=_WEIGHTS_SHARE * _RATE,
    ),
    paper("labels", _CENTRED, where(objective={"kip", "label-solve"}), form="centred", learned=True),
    chosen("labels", "fixed in the preset paper, as in both notebooks; learned in the paper", _KIP, learned=True),
    script(
        "labels",
        "KIP, KIP.ipynb has LEARN_LABELS False, nn_training.ipynb a checkpoint of fixed labels",
        {**_KIP, **where(preset="paper")},
        learned=False,
    ),
    script("labels", "KIP, KIP.ipynb", _KIP, lr=_RATE, optimiser="adam"),
    chosen("labels", "one step lands on the solution", _SOLVED, lr=1.0, optimiser="sgd"),
    paper(
        "student",
        _TRANSFER,
        _STUDENTS,
        network="kip-w1024",
        epochs=_epochs,
        batch_size=100,
        lr_unit="stable",
        schedule="cosine",
        augmentation="none",
    ),
    # Rate and weight decay are those of a squared error, so hard labels do not make students classify by cross-entropy.
    paper(
        "student",
        "the published loss, of hard labels too: rate and weight decay are of its curvature",
        _STUDENTS,
        loss="mse",
    ),
    chosen(
        "student",
        "the factor was searched on validation pictures; winners are not published",
        _STUDENTS,
        lr=0.5,
    ),
    inferred(
        "student",
        "theirs is the mean over classes too: a C-th of our loss, so C times theirs",
        _STUDENTS,
        weight_decay=lambda case: 0.001 * case.classes,
    ),
)
