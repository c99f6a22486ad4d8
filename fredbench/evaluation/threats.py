"""Adversarial attacks by name: norm, radii, steps. What they do stands in `attacks`; this takes no time to load."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from fredbench.foundation.errors import UnknownNameError, UsageError

__all__ = ["ATTACKS", "LEVELS", "Attack", "Norm", "attack_named", "parse_epsilon"]

Norm: TypeAlias = Literal["linf", "l2"]
LEVELS = 255.0
"""Grey levels of the range of a picture's values."""


@dataclass(frozen=True)
class Attack:
    """How adversarial pictures are looked for.

    step: of `PGD`, as a share of the radius; of APGD (`adaptive`) the first one is twice the radius. restarts: each
    begins at a point of its own, where `drawn` says so, and takes on what is not broken yet. transfer: the pictures are
    made on another student of the same set.
    """

    name: str
    title: str
    norm: Norm = "linf"
    steps: int = 20
    step: float = 0.25
    loss: Literal["ce", "dlr"] = "ce"
    drawn: bool = True
    restarts: int = 1
    adaptive: bool = False
    transfer: bool = False

    @property
    def epsilons(self) -> tuple[float, ...]:
        """Radii that are tried where none are asked for, as shares of the range of a picture's values.

        Up to 8/255 and .5, the usual ones of networks trained on all data; distilled sets tell apart below them.
        """
        largest = 8 / LEVELS if self.norm == "linf" else 0.5
        return tuple(largest * share for share in (1 / 8, 1 / 4, 1 / 2, 1))

    def to_mapping(self) -> dict[str, Any]:
        """What determines it, for names of files."""
        return {key: value for key, value in vars(self).items() if key != "title"}


ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        Attack("fgsm", "FGSM", steps=1, step=1.0, drawn=False),
        Attack("pgd20", "PGD, 20 steps"),
        Attack("pgd50", "PGD, 50 steps", steps=50),
        Attack("pgd20-r5", "PGD, 20 steps, 5 restarts", restarts=5),
        Attack("pgd20-l2", "PGD, 20 steps", norm="l2"),
        Attack("pgd50-l2", "PGD, 50 steps", norm="l2", steps=50),
        Attack("apgd-ce", "APGD, cross-entropy", steps=100, adaptive=True),
        Attack("apgd-dlr", "APGD, difference of logits ratio", steps=100, adaptive=True, loss="dlr"),
        Attack("transfer", "PGD, 20 steps, on another student", transfer=True),
    )
}
"""By name. FGSM: Goodfellow et al., ICLR 2015; PGD: Madry et al., ICLR 2018; APGD: Croce and Hein, ICML 2020."""


def attack_named(name: str) -> Attack:
    """The attack called `name`; `UnknownNameError` for another one."""
    if name not in ATTACKS:
        raise UnknownNameError("attack", name, list(ATTACKS))
    return ATTACKS[name]


def parse_epsilon(text: str) -> float:
    """`8/255` or `.5` as a share of the range of a picture's values; `UsageError` for what is none from 0 on."""
    above, slash, below = text.partition("/")
    try:
        value = float(above) / (float(below) if slash else 1.0)
    except (ValueError, ZeroDivisionError):
        value = -1.0
    if not 0 <= value < math.inf:
        raise UsageError(f"--epsilon {text!r} is no radius", hint="give it as 8/255, or .5")
    return value
