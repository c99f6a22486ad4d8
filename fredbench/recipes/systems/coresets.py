"""Random, Herding and k-centre: real pictures, chosen."""

from __future__ import annotations

from fredbench.recipes.methods import Method
from fredbench.recipes.rules import Rule, chosen, except_for, inferred, paper, where

__all__ = ["METHODS", "RULES"]

METHODS = (
    Method(
        "random",
        "none",
        "pixels",
        "the control of the whole literature",
        "equals its definition; student j trains on its own j-th draw",
    ),
    Method(
        "herding",
        "none",
        "pixels",
        "Welling, Herding Dynamical Weights to Learn, ICML 2009; as a baseline in DC and DSA",
        "selection against golden herding, exactly",
        note="features: this run's network trained on the real pictures (the literature does not say which)",
    ),
    Method(
        "k-centre",
        "none",
        "pixels",
        "Sener and Savarese, Active Learning for Convolutional Neural Networks, ICLR 2018",
        "greedy cover radius against its definition; no published vectors",
        note="greedy, class by class, from the picture nearest to the class mean; features as herding",
    ),
)

_BY_FEATURES = where(choice=True, method={"herding", "k-centre"})
_PUBLISHED = where(choice=True, method={"random", "herding", "k-centre"}, preset="paper")
_AS_DC = "the published rows match DC's protocol in level; how they were trained was not sourced"

RULES: tuple[Rule, ...] = (
    paper("run", "nothing is distilled", where(choice=True), iterations=0),
    chosen(
        "objective",
        "the features' network of the published rows and its training were not sourced",
        {**_BY_FEATURES, **where(preset=except_for("quick"))},
        epochs=20,
        lr=0.01,
        momentum=0.9,
        weight_decay=5e-4,
        batch_size=256,
    ),
    chosen(
        "objective",
        "quick: the features need no more than a rough network",
        {**_BY_FEATURES, **where(preset="quick")},
        epochs=5,
    ),
    inferred("student", _AS_DC, _PUBLISHED, epochs=300, augmentation="none"),
    inferred("student", _AS_DC, {**_PUBLISHED, **where(dataset="mnist")}, epochs=1000),
)
