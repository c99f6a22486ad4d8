"""What the corruptions are computed with: the oldest versions that give these bytes, and what is recorded of them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final

import cv2
import numpy as np

from fredbench import __version__
from fredbench.corruptions.severities import PIXELS, EngineName
from fredbench.foundation.environment import FLOORS, below_floor
from fredbench.foundation.errors import CompatibilityError

__all__ = ["check_opencv", "library_versions"]

# What the foreign package computes with beside what our engine uses.
_PACKAGE_USES: Final = ("pillow", "scipy", "scikit-image")


@cache
def check_opencv() -> None:
    """CompatibilityError where OpenCV is older than the oldest one that was compared (and lacks options we need)."""
    found = str(cv2.__version__)
    if below_floor("opencv-python", found):
        raise CompatibilityError(
            f"OpenCV {found} is too old for the corruptions: they need {FLOORS['opencv-python']} or newer",
            hint=f"pip install 'opencv-python>={FLOORS['opencv-python']}'",
        )


def _installed(names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def library_versions(engine: EngineName) -> dict[str, str]:
    """Everything whose version may move a grey level, and the version of the engine's own pixels."""
    found = {"fredbench": __version__, "numpy": np.__version__, "opencv": str(cv2.__version__), **_installed(["numba"])}
    if engine == "fredbench":
        return {**found, "pixels": PIXELS}
    from fredbench.corruptions.reference import installed_version

    return {**found, "imagecorruptions": installed_version(), **_installed(_PACKAGE_USES)}
