"""DC and DSA: gradients of a network, matched class by class."""

from __future__ import annotations

from fredbench.recipes.methods import Method
from fredbench.recipes.rules import AtMost, Rule, by_budget, chosen, script, where
from fredbench.recipes.systems.common import SMALL_GREY, quick_rounds, quick_start

__all__ = ["METHODS", "RULES"]

METHODS = (
    Method(
        "dc",
        "dc",
        "pixels",
        "Zhao, Mopuri and Bilen, Dataset Condensation with Gradient Matching, ICLR 2021",
        "gradients, distances (ours, mse, cos) and losses against golden dc_loss",
    ),
    Method(
        "dsa",
        "dsa",
        "pixels",
        "Zhao and Bilen, Dataset Condensation with Differentiable Siamese Augmentation, ICML 2021",
        "DC's loss against golden dc_loss, the augmentation against dsa_aug",
    ),
)

_BOTH = {"dc", "dsa"}
_PUBLISHED_FOR = (where(dataset=SMALL_GREY | {"svhn", "cifar10", "cifar100"}),)
# (rounds, epochs of network training between them) by IPC: the loops of the public code, and FreD's at 2, 11 and 51.
_LOOPS = {
    budget: {"rounds": rounds, "epochs": epochs}
    for budget, (rounds, epochs) in {
        1: (1, 1), 2: (1, 1), 10: (10, 50), 11: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15),
        50: (50, 10), 51: (50, 10),
    }.items()
}  # fmt: skip

RULES: tuple[Rule, ...] = (
    script("run", "DC, main.py:22-32; FreD, DC/main_DC_FreD.py:138-139", where(objective="dc"), iterations=1000),
    script("run", "DSA, main.py:22-32, as DC", where(objective="dsa"), iterations=1000),
    quick_rounds(*_BOTH),
    *by_budget(
        "objective",
        _LOOPS,
        "script",
        "DC, utils.py:275-293; FreD, DC/main_DC_FreD.py:138-139",
        where(objective=_BOTH),
        what="loops",
    ),
    chosen(
        "objective",
        "quick: at most 2 rounds with 2 epochs between them, 32 real pictures a class",
        where(objective=_BOTH, preset="quick"),
        rounds=AtMost(2),
        epochs=AtMost(2),
        batch_real=32,
    ),
    script(
        "parameterization",
        "DC, main.py:22-32",
        where(objective="dc", parameterization="pixels"),
        published=_PUBLISHED_FOR,
        lr=0.1,
    ),
    script(
        "parameterization",
        "DSA, main.py:22-32, as DC",
        where(objective="dsa", parameterization="pixels"),
        published=_PUBLISHED_FOR,
        lr=0.1,
    ),
    script(
        "parameterization",
        "DC, main.py:22-32: its default",
        where(objective="dc", parameterization="pixels"),
        init="noise",
    ),
    quick_start("dc"),
    script(
        "student",
        "DC, main.py:120-123; FreD, DC/main_DC_FreD.py:163-165: 300 epochs, no augmentation",
        where(objective="dc", preset="paper"),
        epochs=300,
        augmentation="none",
    ),
    chosen(
        "student",
        "DC's own MNIST augmentation is not built; its 1000 epochs",
        where(objective="dc", preset="paper", dataset="mnist"),
        epochs=1000,
        augmentation="none",
    ),
)
