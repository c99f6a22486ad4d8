"""Elementary functions whose last bit no library and no processor decides.

The exponentials, sines and sums of NumPy and of C libraries have other last bits with other vector units and in other
versions. Outcomes are truncated to grey levels, where a last bit shows on flat areas: so the few weights that decide
them are made here, of single IEEE operations in a fixed order or of decimal arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal, localcontext

import numpy as np
from jaxtyping import Float64

from fredbench.corruptions.compiling import Array, compiled, inlined

__all__ = ["exponentials", "normalised", "ordered_sum", "running_sum", "sines_and_cosines"]

# Digits enough that a float64 made of them is the nearest one to the true value.
_DIGITS = 40
_BLOCK = 128


def exponentials(exponents: Iterable[float]) -> list[float]:
    """exp of each, correctly rounded."""
    with localcontext() as context:
        context.prec = _DIGITS
        return [float(Decimal(float(exponent)).exp()) for exponent in exponents]


def running_sum(values: Iterable[float]) -> float:
    """The sum, one value after the other (the built-in one compensates its rounding since Python 3.12)."""
    total = 0.0
    for value in values:
        total += value
    return total


def ordered_sum(values: Sequence[float]) -> float:
    """The sum in NumPy's order: eight running sums, combined in pairs, over halves of at most 128 values.

    SciPy's kernels are normalised by it, and the published arrays were made with those.
    """
    if len(values) < 8:
        return running_sum(values)
    if len(values) > _BLOCK:
        half = len(values) // 2
        half -= half % 8
        return ordered_sum(values[:half]) + ordered_sum(values[half:])
    whole = len(values) - len(values) % 8
    a, b, c, d, e, f, g, h = (running_sum(values[i:whole:8]) for i in range(8))
    return running_sum([((a + b) + (c + d)) + ((e + f) + (g + h)), *values[whole:]])


def normalised(weights: Sequence[float]) -> Float64[np.ndarray, " k"]:
    """The weights divided by their sum."""
    total = ordered_sum(weights)
    return np.array([weight / total for weight in weights])


# Coefficients of the Taylor series, the highest first; at an eighth of a turn the next term is below 1e-19.
_SINE = np.array([(-1) ** k / math.factorial(2 * k + 1) for k in range(8, -1, -1)])
_COSINE = np.array([(-1) ** k / math.factorial(2 * k) for k in range(9, -1, -1)])


@inlined
def _polynomial(coefficients: Array, x: float) -> float:
    value = 0.0
    for coefficient in coefficients:
        value = value * x + coefficient
    return value


@compiled
def _turned(degrees: Array, for_sine: Array, for_cosine: Array, sines: Array, cosines: Array) -> None:
    for i in range(degrees.size):
        quarters = np.rint(degrees[i] / 90.0)
        turn = (degrees[i] - 90.0 * quarters) * (math.pi / 180.0)
        sine, cosine = turn * _polynomial(for_sine, turn * turn), _polynomial(for_cosine, turn * turn)
        for _ in range(np.int64(quarters) % 4):
            sine, cosine = cosine, -sine
        sines[i], cosines[i] = sine, cosine


def sines_and_cosines(
    degrees: Float64[np.ndarray, " n"],
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Sine and cosine of angles in degrees, to about one unit in the last place."""
    sines, cosines = np.empty(degrees.shape), np.empty(degrees.shape)
    _turned(degrees, _SINE, _COSINE, sines, cosines)
    return sines, cosines
