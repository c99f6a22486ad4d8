"""Differentiable Siamese augmentation (DSA) as pure functions of pictures and draws.

One operation of the strategy is drawn for a batch, uniformly; its parameters are drawn once for the whole
batch (Siamese: real and synthetic pictures alike) or once a picture. The draw is a value of its own: applied
twice it gives the same pictures, applied to batches of other lengths the same operation. Every operation can
be differentiated twice with respect to the pictures and computes on their device; what depends on the draws
alone is made where the draws are, on the CPU, so nothing waits for an accelerator.

Source: Zhao & Bilen, "Dataset Condensation with Differentiable Siamese Augmentation" (ICML 2021), with the
constants of the official DSA, DM, MTT, HaBa, CAFE and FreD code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fredbench.foundation.device import sent
from fredbench.foundation.errors import UnknownNameError, UsageError
from fredbench.foundation.rng import Stream
from fredbench.training.affine import affine_sample

__all__ = [
    "CONSTANTS",
    "DSA",
    "FREPO",
    "OPERATIONS",
    "Constants",
    "Draw",
    "apply",
    "apply_by_class",
    "apply_each",
    "brightness",
    "contrast",
    "crop",
    "cutout",
    "flip",
    "parse_strategy",
    "rotate",
    "sample",
    "saturation",
    "scale",
    "shift",
    "strategy_for",
    "zoom",
]

OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
"""The operations of the literature's strategy string, in its order."""


@dataclass(frozen=True)
class Constants:
    """Ratios of the operations, with the values of the official code.

    `align_corners` belongs to scale and rotate: False in DC, DM, CAFE and FreD's DC and DM code, True in MTT,
    HaBa and FreD's TM code. On square pictures the two agree. log_colour: saturation and contrast are multiplied by
    e^u, u uniform within this of 0; at 0 the factors are DSA's. real_shifts: crop moves by any part of a pixel.
    whole_square: cutout lies inside the picture as a whole. isotropic: scale has one factor for both axes,
    log-uniform, about a point that leaves no border in view where it need not be. border: scale, rotate and real
    shifts go on with the outermost pixels where there is no picture, not with zeros.
    """

    brightness: float = 1.0
    saturation: float = 2.0
    contrast: float = 0.5
    crop: float = 0.125
    cutout: float = 0.5
    flip: float = 0.5
    scale: float = 1.2
    rotate_degrees: float = 15.0
    align_corners: bool = False
    log_colour: float = 0.0
    real_shifts: bool = False
    whole_square: bool = False
    isotropic: bool = False
    border: bool = False


DSA = Constants()
FREPO = Constants(
    brightness=0.5,
    cutout=0.25,
    scale=1.25,
    log_colour=0.25,
    real_shifts=True,
    whole_square=True,
    isotropic=True,
    border=True,
)
"""FRePo's (its public code, lib/dataset/augmax): an operation for the batch, and what it does for each picture."""

CONSTANTS = {"dsa": DSA, "frepo-code": FREPO}


@dataclass(frozen=True)
class Draw:
    """One operation with its random numbers, each of shape (1,) for a whole batch or (n,) for n pictures.

    `values`: color (brightness, saturation, contrast) and scale (horizontal, vertical), rotate, flip: uniform
    in [0, 1); crop: shifts of rows and of columns; cutout: offsets of rows and of columns. Empty for "none".
    Under constants with isotropic scale, of that (factor, row, column), and with real shifts, of crop (rows, columns),
    uniform in [0, 1) as well.
    `size` is the height and width that crop and cutout were drawn for.
    """

    operation: str
    values: tuple[Tensor, ...]
    size: tuple[int, int]


def strategy_for(flip: bool) -> tuple[str, ...]:
    """All operations, or all but the mirror image where that changes the class (digits)."""
    return OPERATIONS if flip else tuple(name for name in OPERATIONS if name != "flip")


def parse_strategy(text: str) -> tuple[str, ...]:
    """Read `color_crop_cutout_flip_scale_rotate`, a part of it, or `none` (the empty strategy)."""
    if text == "none":
        return ()
    names = tuple(text.split("_"))
    for name in names:
        if name not in OPERATIONS:
            raise UnknownNameError("augmentation", name, (*OPERATIONS, "none"))
    if len(set(names)) != len(names):
        raise UsageError(f"augmentation strategy {text!r} names an operation twice", hint="name each one once")
    return names


def sample(
    strategy: tuple[str, ...],
    count: int,
    size: tuple[int, int],
    generator: torch.Generator,
    *,
    siamese: bool,
    constants: Constants = DSA,
) -> Draw:
    """Draw one operation of `strategy` and its parameters from a CPU `generator`.

    `siamese`: one set of parameters for any batch, `count` is not looked at; otherwise one for each of
    `count` pictures. The empty strategy gives the draw that changes nothing.
    """
    if not strategy:
        return Draw("none", (), size)
    operation = strategy[int(torch.randint(len(strategy), (), generator=generator))]
    number = 1 if siamese else count

    def uniform() -> Tensor:
        # float64, so that float32 and float64 runs see the same numbers.
        return torch.rand(number, dtype=torch.float64, generator=generator)

    def integers(low: int, high: int) -> Tensor:
        return torch.randint(low, high + 1, (number,), generator=generator)

    match operation:
        case "color":
            return Draw(operation, (uniform(), uniform(), uniform()), size)
        case "crop" if constants.real_shifts:
            return Draw(operation, (uniform(), uniform()), size)
        case "scale" if constants.isotropic:
            return Draw(operation, (uniform(), uniform(), uniform()), size)
        case "cutout" if constants.whole_square:
            rooms = [length - _rounded(constants.cutout, length) for length in size]
            return Draw(operation, (integers(0, rooms[0]), integers(0, rooms[1])), size)
        case "crop":
            reach = [_rounded(constants.crop, length) for length in size]
            return Draw(operation, (integers(-reach[0], reach[0]), integers(-reach[1], reach[1])), size)
        case "cutout":
            # An even square has its centre between two pixels, hence one more place for it.
            highest = [length - _rounded(constants.cutout, length) % 2 for length in size]
            return Draw(operation, (integers(0, highest[0]), integers(0, highest[1])), size)
        case "flip" | "rotate":
            return Draw(operation, (uniform(),), size)
        case "scale":
            return Draw(operation, (uniform(), uniform()), size)
    raise UnknownNameError("augmentation", operation, OPERATIONS)


def apply(draw: Draw, images: Float[Tensor, "n c h w"], constants: Constants = DSA) -> Float[Tensor, "n c h w"]:
    """`images` under `draw`: the same pictures each time, differentiable twice with respect to `images`.

    Raises `UsageError` where the draw was made for another number or another size of pictures.
    """
    _check(draw, images)
    match draw.operation:
        case "none":
            return images
        case "color":
            bright, saturated, contrasted = draw.values
            images = brightness(images, bright, constants)
            return contrast(saturation(images, saturated, constants), contrasted, constants)
        case "crop" if constants.real_shifts:
            rows, columns = draw.values
            return shift(images, rows, columns, constants)
        case "scale" if constants.isotropic:
            factor, rows, columns = draw.values
            return zoom(images, factor, rows, columns, constants)
        case "crop":
            rows, columns = draw.values
            return crop(images, rows, columns)
        case "cutout":
            rows, columns = draw.values
            return cutout(images, rows, columns, constants)
        case "flip":
            return flip(images, draw.values[0], constants)
        case "scale":
            horizontal, vertical = draw.values
            return scale(images, horizontal, vertical, constants)
        case "rotate":
            return rotate(images, draw.values[0], constants)
    raise UnknownNameError("augmentation", draw.operation, (*OPERATIONS, "none"))


def apply_each(
    draws: Sequence[Draw], images: Float[Tensor, "n c h w"], counts: Sequence[int], constants: Constants = DSA
) -> Float[Tensor, "n c h w"]:
    """The first `counts[0]` images under `draws[0]`, the next `counts[1]` under `draws[1]`, and so on.

    For distribution matching: each class has a draw of its own, shared by its real and its synthetic
    pictures.
    """
    if len(draws) != len(counts) or sum(counts) != len(images):
        raise UsageError(
            f"{len(draws)} draws for {len(counts)} groups of {sum(counts)} pictures, got {len(images)}",
            hint="one draw a group, and groups that add up to the batch",
        )
    return torch.cat(
        [apply(draw, part, constants) for draw, part in zip(draws, torch.split(images, list(counts)), strict=True)]
    )


def apply_by_class(
    strategy: tuple[str, ...], images: Float[Tensor, "n c h w"], counts: Sequence[int], rng: Stream, first: int = 0
) -> Float[Tensor, "n c h w"]:
    """Siamese DSA class by class, of pictures in class order, so that a class is one slice: `counts[c]` of class
    `first` + c.

    The draw of a class comes from its child of `rng` alone: real and synthetic pictures of it, however many of each,
    share it where they are given the same stream.
    """
    if not strategy:
        return images
    height, width = images.shape[2:]
    draws = [
        sample(strategy, count, (height, width), rng.child(label).torch(), siamese=True)
        for label, count in enumerate(counts, first)
    ]
    return apply_each(draws, images, counts)


def brightness(
    images: Float[Tensor, "n c h w"], u: Float[Tensor, " m"], constants: Constants = DSA
) -> Float[Tensor, "n c h w"]:
    """x + (u - ½)·1."""
    return images + _per_image((u - 0.5) * constants.brightness, images)


def saturation(
    images: Float[Tensor, "n c h w"], u: Float[Tensor, " m"], constants: Constants = DSA
) -> Float[Tensor, "n c h w"]:
    """(x - m)·2u + m, with m the mean over the channels of a pixel; or the factor log-uniform."""
    factor = _log_uniform(u, constants.log_colour) if constants.log_colour else u * constants.saturation
    return torch.lerp(images.mean(1, keepdim=True), images, _per_image(factor, images))


def contrast(
    images: Float[Tensor, "n c h w"], u: Float[Tensor, " m"], constants: Constants = DSA
) -> Float[Tensor, "n c h w"]:
    """(x - m)·(u + ½) + m, with m the mean over the picture; or the factor log-uniform."""
    factor = _log_uniform(u, constants.log_colour) if constants.log_colour else u + constants.contrast
    return torch.lerp(images.mean((1, 2, 3), keepdim=True), images, _per_image(factor, images))


def crop(
    images: Float[Tensor, "n c h w"], rows: Int[Tensor, " m"], columns: Int[Tensor, " m"]
) -> Float[Tensor, "n c h w"]:
    """out[i, j] = x[i + rows, j + columns], zero outside the picture."""
    n, c, h, w = images.shape
    if len(rows) == 1:
        down, right = int(rows), int(columns)
        return torch.nn.functional.pad(images, (-right, right, -down, down))
    source_row, source_column = torch.arange(h) + rows[:, None], torch.arange(w) + columns[:, None]
    inside = _outer_and((source_row >= 0) & (source_row < h), (source_column >= 0) & (source_column < w))
    # Outside pixels are read from the other side, in bounds, and masked.
    index = (source_row % h)[:, :, None] * w + (source_column % w)[:, None, :]
    index = sent(index, images.device).view(n, 1, h * w).expand(n, c, h * w)
    return images.flatten(2).gather(2, index).view(n, c, h, w) * sent(inside, images)


def cutout(
    images: Float[Tensor, "n c h w"],
    rows: Int[Tensor, " m"],
    columns: Int[Tensor, " m"],
    constants: Constants = DSA,
) -> Float[Tensor, "n c h w"]:
    """A square of half the picture's side around (rows, columns) set to zero, clipped at the border.

    Under `whole_square` rows and columns are those of its first corner.
    """
    hit = []
    for length, centre in zip(images.shape[2:], (rows, columns), strict=True):
        side = _rounded(constants.cutout, length)
        distance = torch.arange(length) - centre[:, None] + (0 if constants.whole_square else side // 2)
        hit.append((distance >= 0) & (distance < side))
    return images * sent(~_outer_and(*hit), images)


def flip(
    images: Float[Tensor, "n c h w"], u: Float[Tensor, " m"], constants: Constants = DSA
) -> Float[Tensor, "n c h w"]:
    """Mirrored left to right where u < ½."""
    mirrored = u < constants.flip
    if len(u) == 1:
        return images.flip(3) if bool(mirrored) else images
    columns = torch.arange(images.shape[3])
    index = torch.where(mirrored[:, None], columns.flip(0), columns)
    index = sent(index, images.device)
    return images.gather(3, index[:, None, None, :].expand(images.shape))


def scale(
    images: Float[Tensor, "n c h w"],
    u_horizontal: Float[Tensor, " m"],
    u_vertical: Float[Tensor, " m"],
    constants: Constants = DSA,
) -> Float[Tensor, "n c h w"]:
    """Sampled bilinearly from a grid stretched by u·(r - 1/r) + 1/r in each axis, r = 1.2; zero outside."""
    smallest = 1.0 / constants.scale
    horizontal, vertical = (u * (constants.scale - smallest) + smallest for u in (u_horizontal, u_vertical))
    zero = torch.zeros_like(horizontal)
    return affine_sample(
        images, torch.stack([horizontal, zero, zero, vertical], 1), constants.align_corners, border=constants.border
    )


def rotate(
    images: Float[Tensor, "n c h w"], u: Float[Tensor, " m"], constants: Constants = DSA
) -> Float[Tensor, "n c h w"]:
    """Sampled bilinearly from a grid turned by (u - ½)·2·15°; zero outside."""
    angle = (u - 0.5) * 2.0 * math.radians(constants.rotate_degrees)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    return affine_sample(
        images, torch.stack([cosine, -sine, sine, cosine], 1), constants.align_corners, border=constants.border
    )


def shift(
    images: Float[Tensor, "n c h w"],
    u_rows: Float[Tensor, " m"],
    u_columns: Float[Tensor, " m"],
    constants: Constants = FREPO,
) -> Float[Tensor, "n c h w"]:
    """Read bilinearly from (2u - 1)·⅛ of the side further in each axis, any part of a pixel."""
    # A side is 2 in the sampler's coordinates, from edge to edge.
    moved = torch.stack([(2 * u - 1) * 2 * constants.crop for u in (u_columns, u_rows)], 1)
    same = torch.tensor([[1.0, 0.0, 0.0, 1.0]], dtype=moved.dtype)
    return affine_sample(images, same, False, moved, border=constants.border)


def zoom(
    images: Float[Tensor, "n c h w"],
    u_factor: Float[Tensor, " m"],
    u_rows: Float[Tensor, " m"],
    u_columns: Float[Tensor, " m"],
    constants: Constants = FREPO,
) -> Float[Tensor, "n c h w"]:
    """Enlarged by r^(2u - 1), r = 1.25, about a uniform point: (p + c) / z with c within half of |z - 1| of a side."""
    factor = torch.exp((2 * u_factor - 1) * math.log(constants.scale))
    reach = (factor - 1).abs()
    centre = torch.stack([(2 * u - 1) * reach for u in (u_columns, u_rows)], 1)
    zero = torch.zeros_like(factor)
    matrix = torch.stack([1 / factor, zero, zero, 1 / factor], 1)
    return affine_sample(images, matrix, False, centre / factor[:, None], border=constants.border)


def _log_uniform(u: Float[Tensor, " m"], most: float) -> Float[Tensor, " m"]:
    return torch.exp((2 * u - 1) * most)


def _rounded(ratio: float, length: int) -> int:
    return int(ratio * length + 0.5)


def _per_image(values: Float[Tensor, " m"], images: Tensor) -> Float[Tensor, "m 1 1 1"]:
    return sent(values, images).view(-1, 1, 1, 1)


def _outer_and(rows: Tensor, columns: Tensor) -> Tensor:
    """Masks (m, 1, h, w) of the pixels whose row and column both hold."""
    return rows[:, None, :, None] & columns[:, None, None, :]


def _check(draw: Draw, images: Tensor) -> None:
    numbers = {len(value) for value in draw.values} - {1, len(images)}
    if numbers:
        raise UsageError(
            f"augmentation draw for {numbers.pop()} pictures applied to {len(images)}",
            hint="draw with siamese=True to share one draw among batches of different lengths",
        )
    if draw.operation in ("crop", "cutout") and draw.size != tuple(images.shape[2:]):
        raise UsageError(
            f"{draw.operation} drawn for pictures of {draw.size[0]}×{draw.size[1]} applied to "
            f"{images.shape[2]}×{images.shape[3]}",
            hint="sample the draw with the size of the pictures",
        )
