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

from fredbench.foundation.compiling import Array, compiled, inlined

__all__ = [
    "arctangents", "exponentials", "normalised", "ordered_sum", "powers", "running_sum", "sines_and_cosines",
]  # fmt: skip

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
    degrees: Float64[np.ndarray, "*shape"],
) -> tuple[Float64[np.ndarray, "*shape"], Float64[np.ndarray, "*shape"]]:
    """Sine and cosine of angles in degrees, to about one unit in the last place."""
    sines, cosines = np.empty(degrees.shape), np.empty(degrees.shape)
    flat = np.ascontiguousarray(degrees).reshape(-1)
    _turned(flat, _SINE, _COSINE, sines.reshape(-1), cosines.reshape(-1))
    return sines, cosines


# Up to tan(π/16), to which the argument is brought, the next term is below 1e-19.
_ARCTANGENT = np.array([(-1) ** k / (2 * k + 1) for k in range(12, -1, -1)])
# Tangents of π/16, π/8 and 3π/16.
_EIGHTH, _QUARTER, _THREE_EIGHTHS = 0.1989123673796580, 0.4142135623730950, 0.6681786379192989


@inlined
def _first_octant(t: float, series: Array) -> float:
    # Arctangent of 0 … 1, about the nearest of 0, π/8 and π/4.
    base = 0.0
    if t > _THREE_EIGHTHS:
        base, t = math.pi / 4, (t - 1.0) / (t + 1.0)
    elif t > _EIGHTH:
        base, t = math.pi / 8, (t - _QUARTER) / (1.0 + t * _QUARTER)
    return base + t * _polynomial(series, t * t)


@compiled
def _arctangents(rises: Array, runs: Array, series: Array, out: Array) -> None:
    for i in range(rises.size):
        rise, run = abs(rises[i]), abs(runs[i])
        if rise > run:
            angle = math.pi / 2 - _first_octant(run / rise, series)
        elif run > 0.0:
            angle = _first_octant(rise / run, series)
        else:
            angle = 0.0
        angle = math.pi - angle if runs[i] < 0.0 else angle
        out[i] = -angle if rises[i] < 0.0 else angle


def arctangents(
    rises: Float64[np.ndarray, "*shape"], runs: Float64[np.ndarray, "*shape"]
) -> Float64[np.ndarray, "*shape"]:
    """Angle of each (run, rise) in radians, -π … π, to about two units in the last place; 0 at the origin."""
    out = np.empty(rises.shape)
    flat = np.ascontiguousarray(rises).reshape(-1), np.ascontiguousarray(runs).reshape(-1)
    _arctangents(*flat, _ARCTANGENT, out.reshape(-1))
    return out


# ln m = 2 artanh((m - 1)/(m + 1)) of a mantissa between √½ and √2; e^r of |r| ≤ ½ ln 2. Next terms are below 1e-17.
_LOGARITHM = np.array([2.0 / (2 * k + 1) for k in range(11, -1, -1)])
_EXPONENTIAL = np.array([1.0 / math.factorial(k) for k in range(14, -1, -1)])
_LN_2, _ROOT_HALF = 0.6931471805599453, 0.7071067811865476


@compiled
def _powers(bases: Array, exponent: float, for_log: Array, for_exp: Array, out: Array) -> None:
    for i in range(bases.size):
        if bases[i] == 0.0:
            out[i] = 0.0
            continue
        mantissa, binary = math.frexp(bases[i])
        if mantissa < _ROOT_HALF:
            mantissa, binary = 2.0 * mantissa, binary - 1
        s = (mantissa - 1.0) / (mantissa + 1.0)
        power = exponent * (binary * _LN_2 + s * _polynomial(for_log, s * s))
        whole = np.rint(power / _LN_2)
        out[i] = math.ldexp(_polynomial(for_exp, power - whole * _LN_2), int(whole))


def powers(bases: Float64[np.ndarray, "*shape"], exponent: float) -> Float64[np.ndarray, "*shape"]:
    """Numbers from 0 on to one power, to some units in the last place; 0 stays 0."""
    out = np.empty(bases.shape)
    flat = np.ascontiguousarray(bases).reshape(-1)
    _powers(flat, float(exponent), _LOGARITHM, _EXPONENTIAL, out.reshape(-1))
    return out
