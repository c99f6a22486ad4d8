"""CAFE: features of every block, aligned; without and with DSA."""

from __future__ import annotations

from fredbench.recipes.methods import Method
from fredbench.recipes.rules import Case, Rule, chosen, except_for, script, where
from fredbench.recipes.systems.common import OWN_STATISTICS, borrowed_statistics, quick_rounds, quick_start

__all__ = ["METHODS", "RULES"]

_PAPER = "Wang et al., CAFE: Learning to Condense Dataset by Aligning Features, CVPR 2022"
METHODS = (
    Method(
        "cafe",
        "cafe",
        "pixels",
        _PAPER,
        "losses and gradients against golden cafe; the loop against its definition",
        note="each accuracy is measured alone: the published code adds a tenth of the one before to it",
        departures=OWN_STATISTICS,
    ),
    Method(
        "cafe-dsa",
        "cafe",
        "pixels",
        _PAPER,
        "as cafe, with the augmentation of golden dsa_aug",
        departures=OWN_STATISTICS,
    ),
)

_PUBLISHED_ITERATIONS = 2000


def _milestones(case: Case) -> tuple[int, ...]:
    """1200, 1600 and 1800 of the published 2000, at the same shares of any other number.

    Rounded up, so that the first iteration of the shortest run still has the whole rate.
    """
    return tuple(max(1, -(-case.iterations * share // 10)) for share in (6, 8, 9))


RULES: tuple[Rule, ...] = (
    borrowed_statistics("CAFE, utils.py", objective="cafe", parameterization="pixels"),
    script("run", "CAFE, distill.py", where(objective="cafe"), iterations=_PUBLISHED_ITERATIONS),
    quick_rounds("cafe"),
    script(
        "objective",
        "CAFE, distill.py",
        where(objective="cafe"),
        published=(where(iterations=_PUBLISHED_ITERATIONS),),
        milestones=_milestones,
    ),
    script(
        "objective",
        "CAFE, distill.py:190-193: without DSA",
        where(objective="cafe", method=except_for("cafe-dsa")),
        augmentation="none",
    ),
    chosen(
        "objective",
        "quick: 64 real pictures a class, 16 to measure by, at most 2 rounds with 2 epochs between them",
        where(objective="cafe", preset="quick"),
        batch_real=64,
        batch_probe=16,
        most_rounds=2,
        most_epochs=2,
    ),
    script(
        "parameterization",
        "CAFE, distill.py",
        where(objective="cafe", parameterization="pixels"),
        published=(where(dataset="cifar10"),),
        lr=0.1,
    ),
    script(
        "parameterization",
        "CAFE, distill.py:43: its default",
        where(objective="cafe", parameterization="pixels"),
        init="noise",
    ),
    quick_start("cafe"),
    script(
        "student",
        "CAFE, distill.py",
        where(objective="cafe", preset="paper", augmented=False),
        epochs=600,
        augmentation="none",
    ),
)
