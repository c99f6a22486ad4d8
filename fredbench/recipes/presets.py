"""Presets: how much of the published effort is spent. Every row of a table names its preset."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True)
class Preset:
    """How much of the published effort is spent; every row of a table names its preset."""

    name: str
    width: int
    students: int
    epochs: int
    holds_out_validation: bool


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("paper", width=128, students=5, epochs=1000, holds_out_validation=False),
        Preset("fair", width=128, students=5, epochs=1000, holds_out_validation=True),
        Preset(
            "quick",
            width=32,
            students=3,
            epochs=200,
            holds_out_validation=True,
        ),
    )
}
