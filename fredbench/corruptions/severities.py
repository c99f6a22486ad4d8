"""The severity table: names, order and parameters of every corruption, as data.

Sources: the CIFAR-10-C and ImageNet-C generators of hendrycks/robustness (Hendrycks & Dietterich, ICLR 2019) and the
`imagecorruptions` package, whose table is ImageNet-C's except for the elastic transform; for C-bar the generator in
`imagenet_c_bar` of facebookresearch/augmentation-corruption (Mintun, Kirillov & Xie, NeurIPS 2021). Each entry holds
five rows, severities 1 to 5; the meaning of a row's fields stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, TypeAlias

from fredbench.foundation.errors import UnknownNameError, UsageError

__all__ = [
    "ALL", "CBAR", "CBAR_ALL", "CBAR_IMAGENET", "ELASTIC_UNIT", "EXTRAS", "KNOWN", "NAMES", "PIXELS", "PROFILES",
    "STOCHASTIC", "EngineName", "Family", "check_shape", "family_of", "own_constants", "parameters",
]  # fmt: skip

Family: TypeAlias = Literal["cifar", "imagenet", "imagecorruptions"]
"""Which public generator's arithmetic applies; see `family_of`."""

EngineName: TypeAlias = Literal["fredbench", "imagecorruptions"]
"""Who computes: this project, or the `imagecorruptions` package."""

PROFILES: Final = ("cifar", "imagenet")

_MADE_FOR: Final = 32

PIXELS: Final = "2"
"""Which pixels the engine makes: another number wherever one of them moves, so that old sets are not taken for new.

1: the first sets, which do not name it. 2: contrast and zoom_blur as published, weights that no library decides.
"""

NAMES: Final = (
    "gaussian_noise", "shot_noise", "impulse_noise",
    "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
    "snow", "frost", "fog", "brightness",
    "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
"""The 15 common corruptions, in the literature's order of table columns."""

EXTRAS: Final = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""The 4 held-out corruptions of the same archives."""

ALL: Final = NAMES + EXTRAS
"""The 19 of CIFAR-10-C and ImageNet-C."""

CBAR: Final = (
    "blue_noise_sample", "brownish_noise", "checkerboard_cutout", "inverse_sparkles", "sparkles",
    "circular_motion_blur", "lines", "pinch_and_twirl", "ripple", "transverse_chromatic_abberation",
)  # fmt: skip
"""The ten of CIFAR-10-C-bar under their published names, chosen to be unlike the 15; no mean is over both."""

CBAR_IMAGENET: Final = (
    "blue_noise_sample", "brownish_noise", "caustic_refraction", "checkerboard_cutout", "cocentric_sine_waves",
    "inverse_sparkles", "perlin_noise", "plasma_noise", "single_frequency_greyscale", "sparkles",
)  # fmt: skip
"""The ten of ImageNet-C-bar, five of them others."""

CBAR_ALL: Final = (*CBAR, *(name for name in CBAR_IMAGENET if name not in CBAR))

KNOWN: Final = ALL + CBAR_ALL
"""Every corruption that can be asked for."""

STOCHASTIC: Final = frozenset(
    {
        "gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "snow", "frost", "fog",
        "elastic_transform", "speckle_noise", "spatter", *CBAR_ALL,
    }
    - {"circular_motion_blur"}
)  # fmt: skip
"""Those that draw; the others are functions of the picture alone."""

Row: TypeAlias = tuple[float, ...]
Rows: TypeAlias = tuple[Row, Row, Row, Row, Row]

_CIFAR: Final[dict[str, Rows]] = {
    "gaussian_noise": ((0.04,), (0.06,), (0.08,), (0.09,), (0.10,)),  # standard deviation in [0, 1]
    "shot_noise": ((500,), (250,), (100,), (75,), (50,)),  # photons at full white
    "impulse_noise": ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,)),  # share of values hit
    "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),  # disc radius, alias sigma
    "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),  # sigma, reach, passes
    "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),  # radius, sigma
    "zoom_blur": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),  # end, step
    "snow": (  # mean, sd, zoom, cut, blur radius, blur sigma, share of the picture
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    "frost": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),  # weights of picture, texture
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),  # strength, decay of the roughness
    "brightness": ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,)),  # added to V of HSV
    "contrast": ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,)),  # factor around the channel's mean
    "elastic_transform": (  # field's amplitude and sigma, anchors' jitter; in units of ELASTIC_UNIT or the side
        (0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03),
    ),
    "pixelate": ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,)),  # side's factor
    "jpeg_compression": ((80,), (65,), (58,), (50,), (40,)),  # quality
    "speckle_noise": ((0.06,), (0.1,), (0.12,), (0.16,), (0.2,)),  # standard deviation relative to the value
    "gaussian_blur": ((0.4,), (0.6,), (0.7,), (0.8,), (1,)),  # sigma
    "saturate": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),  # factor and offset of S of HSV
    "spatter": (  # mean, sd, sigma, cut, strength (water) or sigma (mud), is mud
        (0.62, 0.1, 0.7, 0.7, 0.5, 0),
        (0.65, 0.1, 0.8, 0.7, 0.5, 0),
        (0.65, 0.3, 1, 0.69, 0.5, 0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1),
    ),
}  # fmt: skip

_IMAGENET: Final[dict[str, Rows]] = {
    "gaussian_noise": ((0.08,), (0.12,), (0.18,), (0.26,), (0.38,)),
    "shot_noise": ((60,), (25,), (12,), (5,), (3,)),
    "impulse_noise": ((0.03,), (0.06,), (0.09,), (0.17,), (0.27,)),
    "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    "zoom_blur": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    "snow": (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    "frost": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    "brightness": ((0.1,), (0.2,), (0.3,), (0.4,), (0.5,)),
    "contrast": ((0.4,), (0.3,), (0.2,), (0.1,), (0.05,)),
    "elastic_transform": (
        (2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02),
    ),
    "pixelate": ((0.6,), (0.5,), (0.4,), (0.3,), (0.25,)),
    "jpeg_compression": ((25,), (18,), (15,), (10,), (7,)),
    "speckle_noise": ((0.15,), (0.2,), (0.35,), (0.45,), (0.6,)),
    "gaussian_blur": ((1,), (2,), (3,), (4,), (6,)),
    "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    "spatter": (
        (0.65, 0.3, 4, 0.69, 0.6, 0),
        (0.65, 0.3, 3, 0.68, 0.6, 0),
        (0.65, 0.3, 2, 0.68, 0.5, 0),
        (0.65, 0.3, 1, 0.65, 1.5, 1),
        (0.67, 0.4, 1, 0.65, 1.5, 1),
    ),
}  # fmt: skip

# No affine step there: fields of +-0.5 % of the height, smoothed over 1 % of each side, times an amplitude.
_IMAGECORRUPTIONS: Final[dict[str, Rows]] = {
    **_IMAGENET,
    "elastic_transform": (
        (12.5, 0.01, 0.005), (16.25, 0.01, 0.005), (21.25, 0.01, 0.005), (25, 0.01, 0.005), (30, 0.01, 0.005),
    ),
}  # fmt: skip

# C-bar's own severity; all constants are multiples of it (cifar10_c_bar.csv).
_CBAR_CIFAR: Final[dict[str, Rows]] = {
    "blue_noise_sample": ((0.7,), (1.4,), (2.1,), (3.5,), (4.2,)),
    "brownish_noise": ((2.5,), (4,), (5.5,), (6.5,), (7,)),
    "checkerboard_cutout": ((1,), (2,), (3,), (4,), (5,)),
    "inverse_sparkles": ((1,), (1.5,), (2.5,), (4.5,), (5,)),
    "sparkles": ((0.7,), (3.5,), (5.6,), (6.3,), (7,)),
    "circular_motion_blur": ((2.8,), (3.6,), (4.4,), (5.2,), (6,)),
    "lines": ((0.5,), (1,), (1.5,), (2,), (2.5,)),
    "pinch_and_twirl": ((5.5,), (6,), (6.5,), (8.5,), (10,)),
    "ripple": ((5.5,), (6,), (6.5,), (7.5,), (8,)),
    "transverse_chromatic_abberation": ((1,), (2,), (5,), (9,), (10,)),
}

# imagenet_c_bar.csv.
_CBAR_IMAGENET: Final[dict[str, Rows]] = {
    "blue_noise_sample": ((0.8,), (1.6,), (2.4,), (4,), (5.6,)),
    "brownish_noise": ((1,), (2,), (3,), (4,), (5,)),
    "caustic_refraction": ((2.35,), (3.2,), (4.9,), (6.6,), (9.15,)),
    "checkerboard_cutout": ((2,), (3,), (4,), (5,), (6,)),
    "cocentric_sine_waves": ((3,), (5,), (8,), (9,), (10,)),
    "inverse_sparkles": ((1,), (2,), (4,), (9,), (10,)),
    "perlin_noise": ((4.6,), (5.2,), (5.8,), (7.6,), (8.8,)),
    "plasma_noise": ((4.75,), (7,), (8.5,), (9.25,), (10,)),
    "single_frequency_greyscale": ((1,), (1.5,), (2,), (4.5,), (5,)),
    "sparkles": ((1,), (2,), (3,), (5,), (6,)),
}

# Nobody has constants of C-bar's for another size than these.
_CBAR_PLACES: Final[dict[Family, str]] = {"cifar": "the profile cifar", "imagenet": "the profile imagenet at 224×224"}

_TABLES: Final[dict[Family, Mapping[str, Rows]]] = {
    "cifar": {**_CIFAR, **_CBAR_CIFAR},
    "imagenet": {**_IMAGENET, **_CBAR_IMAGENET},
    "imagecorruptions": _IMAGECORRUPTIONS,
}  # fmt: skip

ELASTIC_UNIT: Final = 244.0
"""ImageNet-C multiplies its elastic constants by 244 (sic), although its pictures have 224 pixels a side."""


def own_constants(size: tuple[int, int], names: Iterable[str] = ()) -> str:
    """What must be said of the profile cifar's constants at (H, W) pixels: nothing from 32 on, what they were made for.

    `names` are the corruptions they are of; without any they are CIFAR-10-C's.
    """
    if min(size) >= _MADE_FOR:
        return ""
    height, width = size
    archive = "CIFAR-10-C-bar" if set(names) & set(CBAR_ALL) else "CIFAR-10-C"
    return f"{archive}'s constants, made for {_MADE_FOR} pixels, at {height}×{width}: a set of fredbench's own"


def family_of(profile: str, height: int, width: int) -> Family:
    """The generator whose arithmetic `profile` means at this size.

    `cifar` is CIFAR-10-C's at every size (beyond 32 pixels it is ours and carries no published name). `imagenet` is
    ImageNet-C's at 224×224, the only size for which that is defined, and the imagecorruptions package's elsewhere.
    """
    if profile not in PROFILES:
        raise UnknownNameError("corruption profile", profile, PROFILES)
    if profile == "cifar":
        return "cifar"
    return "imagenet" if (height, width) == (224, 224) else "imagecorruptions"


def check_shape(names: Iterable[str], height: int, width: int) -> None:
    """UsageError where one of `names` is of C-bar, whose rules are for square pictures, and these are not."""
    found = [name for name in names if name in CBAR_ALL]
    if found and height != width:
        raise UsageError(
            f"{found[0]} is defined on square pictures, not on {height}×{width}", hint="cut or pad them to squares"
        )


def parameters(family: Family, name: str, severity: int) -> Row:
    """The row of constants of corruption `name` at `severity` (1 to 5); UnknownNameError, UsageError."""
    if name not in KNOWN:
        raise UnknownNameError("corruption", name, KNOWN)
    if name not in _TABLES[family]:
        places = [place for known, place in _CBAR_PLACES.items() if name in _TABLES[known]]
        raise UsageError(f"{name} has no constants of C-bar's here", hint=f"it is defined under {' and '.join(places)}")
    if isinstance(severity, bool) or severity not in (1, 2, 3, 4, 5):
        raise UsageError(f"severity {severity!r} of {name} does not exist", hint="choose one of 1, 2, 3, 4, 5")
    return tuple(float(value) for value in _TABLES[family][name][int(severity) - 1])
