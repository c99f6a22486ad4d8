"""How HaBa's bases and hallucinators are optimised: rates by objective and dataset, the extractor's width."""

from __future__ import annotations

from collections.abc import Mapping

from fredbench.recipes.settings import Setting, Settings, chosen

__all__ = ["hallucination_settings"]

_PUBLISHED = Setting(100.0, "script", "HaBa, CIFAR-10, bases and hallucinators alike (with ZCA there, without here)")
# SGD of momentum m goes 1 / (1 - m) times its rate along a steady gradient: twenty times at .95, twice at .5.
_LESS_FOR_MOMENTUM = 10


def hallucination_settings(
    objective: str, *, dataset: str, pixels_lr: Setting, own: Mapping[str, Setting], width: int
) -> Settings:
    """`pixels_lr`: the rate of pixels under this objective; `own`: an optimiser that the objective brings, if any;
    `width`: that of the run's networks, which the extractor shares.
    """
    settings: dict[str, Setting] = {**own}
    if "lr" not in own:
        settings["lr"] = _rate(objective, dataset, pixels_lr)
    settings["lr_hallucinators"] = _hallucinators_rate(settings["lr"], own)
    if objective == "label-solve":
        settings |= chosen("the pictures stay: nothing may move them beside the objective", contrast=0.0)
    if width != 128:
        settings |= chosen("as wide as the run's networks; published: 128", extractor_width=width)
    return settings


def _rate(objective: str, dataset: str, pixels_lr: Setting) -> Setting:
    if objective == "tm" and dataset == "cifar10":
        return _PUBLISHED
    why = (
        "not published: the pixels' rate for momentum .95 in place of .5, which gives HaBa's own 100 for TM on CIFAR-10"
    )
    return Setting(pixels_lr.value / _LESS_FOR_MOMENTUM, "inferred" if objective == "tm" else "chosen", why)


def _hallucinators_rate(lr: Setting, own: Mapping[str, Setting]) -> Setting:
    return lr
