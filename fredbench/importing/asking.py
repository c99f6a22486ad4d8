"""What a user may say of a set whose file does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Asked", "LabelKind"]

LabelKind = Literal["auto", "as-given", "hard", "probability", "logits", "centred"]


@dataclass(frozen=True)
class Asked:
    """What the user says of a set; None and `auto`: find out.

    space: a name of `spaces.spaces_of`, or MEAN/STD. labels: what float labels are; `as-given` also takes them as they
    stand where a network trained on real pictures contradicts them. classes: names in the set's label order. channels:
    order of colours. factor: IDC's and NCFM's, by which stored canvases are decoded. temperature: logits are divided by
    it. step_size: the students' rate, where a method releases its learned one apart. name: what to call the set.
    preset: of the students; by default an export's own, else `paper`. columns: names of the pictures' column and of the
    labels', of tables (CSV, Parquet) that call them otherwise than usual.
    """

    space: str | None = None
    labels: LabelKind = "auto"
    classes: tuple[str, ...] = ()
    channels: Literal["rgb", "bgr"] = "rgb"
    factor: int | None = None
    temperature: float = 1.0
    step_size: float | None = None
    name: str | None = None
    preset: str | None = None
    columns: tuple[str, ...] = ()
