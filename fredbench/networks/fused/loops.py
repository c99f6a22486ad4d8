"""Compiled loops of a fused block, over pictures whose channels lie side by side: arrays (n, h, w, c), float32.

Every loop's innermost axis is the channels', where each lane is a number of its own: vector units of any width give
the same sums, and no order is changed to use them. A picture's results depend on that picture alone.

Maps of `block_forward` and `block_backward` may be bfloat16 too, as uint16: read as the float32 that they are the upper
half of, written rounded to the nearest, of two as near to the even one. Everything in between is float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from fredbench.foundation.compiling import Array, compiled_apart

__all__ = ["block_backward", "block_forward", "block_second", "picture_taps"]

_0, _1, _2 = np.float32(0), np.float32(1), np.float32(2)
_QUARTER = np.float32(0.25)


@intrinsic
def _widened(_: Any, half: Any) -> Any:
    """The float32 whose upper half this is, a uint16."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        whole = context.get_value_type(types.uint32)
        bits = builder.shl(builder.zext(given[0], whole), context.get_constant(types.uint32, 16))
        return builder.bitcast(bits, context.get_value_type(types.float32))

    return types.float32(types.uint16), code


@intrinsic
def _rounded(_: Any, value: Any) -> Any:
    """The upper half of a float32, rounded to the nearest, of two as near to the even one; of no number, none if its
    bits are those that processors give.
    """

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        bits = builder.bitcast(given[0], context.get_value_type(types.uint32))
        sixteen = context.get_constant(types.uint32, 16)
        odd = builder.and_(builder.lshr(bits, sixteen), context.get_constant(types.uint32, 1))
        up = builder.add(context.get_constant(types.uint32, 0x7FFF), odd)
        return builder.trunc(builder.lshr(builder.add(bits, up), sixteen), context.get_value_type(types.uint16))

    return types.uint16(types.float32), code


def _read(stored: Any) -> Any:
    """The float32 that a map's number is, or is the upper half of; in compiled loops."""
    raise NotImplementedError


def _stored(maps: Any, value: Any) -> Any:
    """A float32 as `maps` hold it; in compiled loops."""
    raise NotImplementedError


def _is_half(kind: Any) -> bool:
    return isinstance(kind, types.Integer)


# Without names, as a run-time type checker wraps functions that have one, and the compiler cannot read its wrappers.
overload(_read, inline="always")(
    lambda stored: (lambda stored: _widened(stored)) if _is_half(stored) else (lambda stored: stored)  # type: ignore[call-arg]
)
overload(_stored, inline="always")(
    lambda maps, value: (lambda maps, value: _rounded(value)) if _is_half(maps.dtype) else (lambda maps, value: value)  # type: ignore[call-arg]
)


@compiled_apart
def block_forward(
    z: Array,
    gain: Array,
    shift: Array,
    epsilon: float,
    out: Array,
    mean: Array,
    scale: Array,
) -> None:
    """Instance norm, ReLU and 2×2 mean of the maps z; mean and 1/σ of each map go to `mean` and `scale`, (n, c)."""
    h, w, c = z.shape[1:]
    inverse = _1 / np.float32(h * w)
    total, row = np.empty(c, np.float32), np.empty(c, np.float32)
    factor, offset = np.empty(c, np.float32), np.empty(c, np.float32)
    for i in range(len(z)):
        total[:] = _0
        for a in range(h):
            row[:] = _0
            for b in range(w):
                for k in range(c):
                    row[k] += _read(z[i, a, b, k])
            for k in range(c):
                total[k] += row[k]
        for k in range(c):
            mean[i, k] = total[k] * inverse
            total[k] = _0
        for a in range(h):
            row[:] = _0
            for b in range(w):
                for k in range(c):
                    away = _read(z[i, a, b, k]) - mean[i, k]
                    row[k] += away * away
            for k in range(c):
                total[k] += row[k]
        for k in range(c):
            scale[i, k] = _1 / np.sqrt(total[k] * inverse + np.float32(epsilon))
            factor[k] = scale[i, k] * gain[k]
            offset[k] = shift[k] - mean[i, k] * factor[k]
        for a in range(h // 2):
            for b in range(w // 2):
                for k in range(c):
                    f, o = factor[k], offset[k]
                    z0, z1 = _read(z[i, 2 * a, 2 * b, k]), _read(z[i, 2 * a, 2 * b + 1, k])
                    z2, z3 = _read(z[i, 2 * a + 1, 2 * b, k]), _read(z[i, 2 * a + 1, 2 * b + 1, k])
                    upper = max(z0 * f + o, _0) + max(z1 * f + o, _0)
                    lower = max(z2 * f + o, _0) + max(z3 * f + o, _0)
                    out[i, a, b, k] = _stored(out, (upper + lower) * _QUARTER)


@compiled_apart
def block_backward(
    z: Array,
    gain: Array,
    shift: Array,
    mean: Array,
    scale: Array,
    above: Array,
    below: Array,
    by_gain: Array,
    by_shift: Array,
) -> None:
    """The adjoint of `block_forward`: from the gradient `above` of its outcome to `below`, that of z.

    by_gain, by_shift: (n, c), a picture's share of the gradients of gain and shift.
    """
    h, w, c = z.shape[1:]
    inverse = _1 / np.float32(h * w)
    sums, products = np.empty(c, np.float32), np.empty(c, np.float32)
    row, row_products = np.empty(c, np.float32), np.empty(c, np.float32)
    factor, offset = np.empty(c, np.float32), np.empty(c, np.float32)
    for i in range(len(z)):
        for k in range(c):
            factor[k] = scale[i, k] * gain[k]
            offset[k] = shift[k] - mean[i, k] * factor[k]
        sums[:] = _0
        products[:] = _0
        for a in range(h):
            row[:] = _0
            row_products[:] = _0
            for b in range(w):
                for k in range(c):
                    v = _read(z[i, a, b, k])
                    g = _read(above[i, a // 2, b // 2, k]) if v * factor[k] + offset[k] > _0 else _0
                    row[k] += g
                    row_products[k] += g * (v - mean[i, k])
            for k in range(c):
                sums[k] += row[k]
                products[k] += row_products[k]
        for k in range(c):
            by_shift[i, k] = sums[k] * _QUARTER
            by_gain[i, k] = products[k] * _QUARTER * scale[i, k]
            # d/dz = factor (g/4 - by_shift/N - ẑ by_gain/N), with ẑ = (z - mean) scale, as a g + b z + c.
            row[k] = -factor[k] * by_gain[i, k] * inverse * scale[i, k]
            row_products[k] = -factor[k] * by_shift[i, k] * inverse - row[k] * mean[i, k]
            sums[k] = factor[k] * _QUARTER
        for a in range(h):
            for b in range(w):
                for k in range(c):
                    v = _read(z[i, a, b, k])
                    g = _read(above[i, a // 2, b // 2, k]) if v * factor[k] + offset[k] > _0 else _0
                    below[i, a, b, k] = _stored(below, g * sums[k] + v * row[k] + row_products[k])


@compiled_apart
def block_second(
    z: Array,
    gain: Array,
    shift: Array,
    mean: Array,
    scale: Array,
    above: Array,
    on_z: Array,
    on_gain: Array,
    on_shift: Array,
    by_above: Array,
    by_z: Array,
    by_gain: Array,
) -> None:
    """The adjoint of `block_backward`: from what its outcomes are weighted by to the gradients by what it was given.

    on_z (n, h, w, c), on_gain and on_shift (c,): weights of `below`, and of `by_gain` and `by_shift` summed over
    pictures. by_gain: (n, c), a picture's share. With x the normalised map, u the gradient of the normalised map, a =
    on_z, r = 1/σ and means over the map, the weighted sum is N r gain (⟨a u⟩ - ⟨a⟩⟨u⟩ - ⟨a x⟩⟨u x⟩) + N on_gain ⟨u x⟩
    + N on_shift ⟨u⟩; where the ReLU is open does not change.
    """
    h, w, c = z.shape[1:]
    count = np.float32(h * w)
    inverse = _1 / count
    sums, row = np.empty((5, c), np.float32), np.empty((5, c), np.float32)
    factor, offset = np.empty(c, np.float32), np.empty(c, np.float32)
    of_a, of_u, of_x, constant = (
        np.empty(c, np.float32), np.empty(c, np.float32), np.empty(c, np.float32), np.empty(c, np.float32),
    )  # fmt: skip
    turned, level = np.empty(c, np.float32), np.empty(c, np.float32)
    for i in range(len(z)):
        for k in range(c):
            factor[k] = scale[i, k] * gain[k]
            offset[k] = shift[k] - mean[i, k] * factor[k]
        sums[:] = _0
        for y in range(h):
            row[:] = _0
            for b in range(w):
                for k in range(c):
                    v = z[i, y, b, k]
                    x, a = (v - mean[i, k]) * scale[i, k], on_z[i, y, b, k]
                    u = above[i, y // 2, b // 2, k] * _QUARTER if v * factor[k] + offset[k] > _0 else _0
                    row[0, k] += u
                    row[1, k] += u * x
                    row[2, k] += a
                    row[3, k] += a * x
                    row[4, k] += a * u
            for k in range(c):
                for s in range(5):
                    sums[s, k] += row[s, k]
        for k in range(c):
            u, p, a = sums[0, k] * inverse, sums[1, k] * inverse, sums[2, k] * inverse
            q, r = sums[3, k] * inverse, scale[i, k]
            inner = sums[4, k] * inverse - a * u - q * p
            by_gain[i, k] = count * r * inner
            of_a[k] = -r * factor[k] * p
            of_u[k] = r * (on_gain[k] - factor[k] * q)
            of_x[k] = -r * p * (on_gain[k] - _2 * factor[k] * q) - r * factor[k] * inner
            constant[k] = r * factor[k] * (a * p + u * q) - r * on_gain[k] * u
            turned[k] = on_gain[k] - factor[k] * q
            level[k] = on_shift[k] - factor[k] * a
        for y in range(h // 2):
            for b in range(w // 2):
                for k in range(c):
                    by_above[i, y, b, k] = _0
        for y in range(h):
            for b in range(w):
                for k in range(c):
                    v = z[i, y, b, k]
                    x, a = (v - mean[i, k]) * scale[i, k], on_z[i, y, b, k]
                    is_open = v * factor[k] + offset[k] > _0
                    u = above[i, y // 2, b // 2, k] * _QUARTER if is_open else _0
                    by_z[i, y, b, k] = a * of_a[k] + u * of_u[k] + x * of_x[k] + constant[k]
                    weight = a * factor[k] + x * turned[k] + level[k]
                    by_above[i, y // 2, b // 2, k] += weight * _QUARTER if is_open else _0


@compiled_apart
def picture_taps(pictures: Array, below: Array, by_weights: Array) -> None:
    """Gradient of a 3×3 convolution of few channels by its weights, from that of its outcome, (n, h, w, c).

    pictures: (n, h + 2, w + 2, channels), with their border. by_weights: (n, 9 channels, c), each picture's share,
    taps row by row with the channels innermost.
    """
    h, w, c = below.shape[1:]
    channels = pictures.shape[3]
    for i in range(len(below)):
        by_weights[i] = _0
        for a in range(h):
            for down in range(3):
                for channel in range(channels):
                    # Four pixels and three taps at once: twelve products for four reads of the gradient.
                    tap = 3 * down * channels + channel
                    for b in range(0, w - 3, 4):
                        line = pictures[i, a + down, b : b + 6, channel]
                        p0, p1, p2, p3, p4, p5 = line[0], line[1], line[2], line[3], line[4], line[5]
                        for k in range(c):
                            g0, g1 = below[i, a, b, k], below[i, a, b + 1, k]
                            g2, g3 = below[i, a, b + 2, k], below[i, a, b + 3, k]
                            by_weights[i, tap, k] += (p0 * g0 + p1 * g1) + (p2 * g2 + p3 * g3)
                            by_weights[i, tap + channels, k] += (p1 * g0 + p2 * g1) + (p3 * g2 + p4 * g3)
                            by_weights[i, tap + 2 * channels, k] += (p2 * g0 + p3 * g1) + (p4 * g2 + p5 * g3)
                    for b in range(w - w % 4, w):
                        for across in range(3):
                            p = pictures[i, a + down, b + across, channel]
                            for k in range(c):
                                by_weights[i, tap + across * channels, k] += p * below[i, a, b, k]
