"""Augmentation in stages: each stage draws one operation of its own strategy, and all stages are applied in turn.

DSA is the case of one stage. IDC always applies its mirror image, colour and cutout where they are listed, and one
operation of the rest: `flip+color+crop_scale_rotate` in the text form, `+` between stages and `_` between choices.

Source: Kim et al., "Dataset Condensation via Efficient Synthetic-Data Parameterization" (ICML 2022), official code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from fredbench.foundation.errors import UsageError
from fredbench.training import augmentation
from fredbench.training.augmentation import DSA, Constants, Draw

__all__ = ["Stages", "apply_stages", "parse_stages", "sample_stages"]

Stages: TypeAlias = tuple[tuple[str, ...], ...]


def parse_stages(text: str) -> Stages:
    """Read `none`, a DSA strategy (one stage), or strategies joined by `+`; an operation stands in one stage only."""
    if text == "none":
        return ()
    stages = tuple(augmentation.parse_strategy(part) for part in text.split("+"))
    names = [name for stage in stages for name in stage]
    if len(set(names)) != len(names) or not all(stages):
        raise UsageError(
            f"augmentation {text!r} names an operation twice, or an empty stage",
            hint="for example flip+color+crop_scale_rotate, or none",
        )
    return stages


def sample_stages(
    stages: Stages,
    count: int,
    size: tuple[int, int],
    generator: torch.Generator,
    *,
    siamese: bool,
    constants: Constants = DSA,
) -> tuple[Draw, ...]:
    """One draw a stage from a CPU `generator`, in order; `siamese` and `count` as in `augmentation.sample`."""
    return tuple(
        augmentation.sample(stage, count, size, generator, siamese=siamese, constants=constants) for stage in stages
    )


def apply_stages(
    draws: Sequence[Draw], images: Float[Tensor, "n c h w"], constants: Constants = DSA
) -> Float[Tensor, "n c h w"]:
    """`images` under every draw in turn; none leaves them as they are."""
    for draw in draws:
        images = augmentation.apply(draw, images, constants)
    return images
