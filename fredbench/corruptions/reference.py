"""The `imagecorruptions` package itself as an engine, for cross-checks of our own.

It knows ImageNet-C's table only, one picture at a time, and draws from NumPy's global legacy generator; that is set
for each picture and put back afterwards, so that nothing else in the process is touched.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import inspect
import io
from collections.abc import Sequence
from types import ModuleType

import numpy as np
from jaxtyping import Int64, UInt8

from fredbench.corruptions.severities import ALL
from fredbench.foundation.errors import CompatibilityError, UsageError
from fredbench.foundation.rng import Stream

__all__ = ["check_request", "corrupt_with_package", "installed_version", "limitations"]

_DISTRIBUTIONS = ("imagecorruptions-imaug", "imagecorruptions")
_OWN_GENERATORS = ("glass_blur", "impulse_noise")


def installed_version() -> str:
    """Distribution and version of the installed package; CompatibilityError where there is none."""
    for name in _DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return f"{name} {importlib.metadata.version(name)}"
    raise CompatibilityError("the imagecorruptions package is not installed", hint="pip install imagecorruptions-imaug")


def _package() -> ModuleType:
    version = installed_version()
    try:
        return importlib.import_module("imagecorruptions")
    except (ImportError, AttributeError) as error:
        raise CompatibilityError(
            f"{version} does not import here: {error}",
            hint="replace it by its maintained drop-in: pip install imagecorruptions-imaug",
        ) from error


def _takes_seed(name: str) -> bool:
    return "seed" in inspect.signature(_package().corruption_dict[name]).parameters


def check_request(profile: str, names: Sequence[str]) -> None:
    """UsageError for what the package never could do."""
    if profile != "imagenet":
        raise UsageError(
            f"the imagecorruptions engine has no profile {profile!r}: it knows ImageNet-C's constants only",
            hint="add --profile imagenet, or use --engine fredbench",
        )
    if unknown := [name for name in names if name not in ALL]:
        raise UsageError(f"the imagecorruptions engine has no {unknown[0]}", hint="use --engine fredbench")


def limitations(names: Sequence[str]) -> list[str]:
    """What the installed version does otherwise than the published generators, one sentence each."""
    version = installed_version()
    said = [
        f"{version}: {name} has a generator of its own that no seed controls; its output will not repeat"
        for name in names
        if name in _OWN_GENERATORS and not _takes_seed(name)
    ]
    if "frost" in names:
        said.append(f"{version}: frost may draw from six textures where the published scripts draw from five")
    return said


def corrupt_with_package(
    pictures: UInt8[np.ndarray, "n h w 3"], name: str, severity: int, *, seed: int, numbers: Int64[np.ndarray, " n"]
) -> UInt8[np.ndarray, "n h w 3"]:
    """The package's own output, each picture under a seed of (seed, corruption, severity, number) where it takes one.

    CompatibilityError naming the corruption where the installed version fails at it.
    """
    package = _package()
    extra = {"seed": 0} if name in _OWN_GENERATORS and _takes_seed(name) else {}
    out = np.empty_like(pictures)
    stream = Stream(seed).child("imagecorruptions", name, severity)
    before = np.random.get_state()  # noqa: NPY002 - the package draws from this generator only
    try:
        for picture, number, target in zip(pictures, numbers, out, strict=True):
            own = stream.child(int(number)).integer() % 2**32
            np.random.seed(own)  # noqa: NPY002
            # It prints complaints about sizes it handles.
            with contextlib.redirect_stdout(io.StringIO()):
                made = package.corrupt(picture, severity=severity, corruption_name=name, **dict.fromkeys(extra, own))
            target[:] = made
    except (AttributeError, TypeError, ValueError) as error:
        raise CompatibilityError(
            f"{installed_version()} cannot do {name} here: {type(error).__name__}: {error}",
            hint="leave that corruption out, or use --engine fredbench",
        ) from error
    finally:
        np.random.set_state(before)  # noqa: NPY002
    return out
