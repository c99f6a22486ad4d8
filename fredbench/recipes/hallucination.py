"""How HaBa's bases and hallucinators are optimised: rates by objective and dataset, the extractor's width."""

from __future__ import annotations

from collections.abc import Mapping

from fredbench.recipes.settings import Setting, Settings, chosen, script

__all__ = ["hallucination_settings"]

_PUBLISHED_RATE = 100.0
# A run below so many iterations is none of the published ones, of 15,000.
_SHORT = 10_000
_WHY_BASES = "not published: the rate of pixels"
# A weight moves every picture: at the rate of the bases, 24 iterations of TM on CIFAR-10 made the weights 199 times as
# large (loss .98 to .89 at width 16); at 1000 for the bases and .1 for them the loss came to .71, the weights to 1.1.
_HALLUCINATORS_SHARE = 1e-4
_WHY_HALLUCINATORS = "not published: a ten-thousandth of the bases' rate, at which the weights keep their size"
_DIGITS_TM = chosen(
    "falls from 2 to .43 in 36 iterations at width 32; .001 to .8; .1 and more swell the weights", lr_hallucinators=0.01
)
# Adam moves everything by its rate: a pixel's deviation is 1, a weight's about a tenth.
_ADAM_SHARE = 0.1


def hallucination_settings(
    objective: str, *, dataset: str, iterations: int, pixels_lr: Setting, own: Mapping[str, Setting], width: int
) -> Settings:
    """Rates, optimiser and the extractor's width.

    `pixels_lr`: the rate of pixels under this objective; `own`: an optimiser that the objective brings, if any;
    `width`: that of the run's networks, which the extractor shares.
    """
    settings = {**own, **_rates(objective, dataset, iterations, pixels_lr, own)}
    if objective == "label-solve":
        settings |= chosen("the pictures stay: nothing may move them beside the objective", contrast=0.0)
    if width != 128:
        settings |= chosen("as wide as the run's networks; published: 128", extractor_width=width)
    return settings


def _rates(
    objective: str, dataset: str, iterations: int, pixels_lr: Setting, own: Mapping[str, Setting]
) -> dict[str, Setting]:
    if "lr" in own:
        lr, adam = own["lr"].value, own["optimiser"].value == "adam"
        share = _ADAM_SHARE if adam else 1.0  # LAMB's rate is a share of a tensor's norm already
        return {"lr": own["lr"], **chosen("not published", lr_hallucinators=share * lr)}
    if (objective, dataset) == ("tm", "cifar10") and not 0 < iterations < _SHORT:
        why = "HaBa, CIFAR-10: bases and hallucinators alike (with ZCA there, without here)"
        return script(why, lr=_PUBLISHED_RATE, lr_hallucinators=_PUBLISHED_RATE)
    bases = chosen(_WHY_BASES, lr=pixels_lr.value)
    if (objective, dataset) == ("tm", "digits"):
        return {**bases, **_DIGITS_TM}
    return {**bases, **chosen(_WHY_HALLUCINATORS, lr_hallucinators=_HALLUCINATORS_SHARE * pixels_lr.value)}
