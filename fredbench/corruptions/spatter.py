"""Spatter, one of the archives' four extras: drops of water or mud on the lens."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

from fredbench.corruptions.filters import gaussian_blur
from fredbench.corruptions.severities import Row

__all__ = ["spatter"]

_WATER = np.array([175, 238, 238], np.float32) / np.float32(255)  # pale turquoise, R G B
_MUD = np.array([63, 42, 20]) / 255  # brown, R G B
_RELIEF = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])


def _water_mask(layer: Float64[np.ndarray, "h w"], strength: float) -> Float32[np.ndarray, "h w"]:
    """Lit edges of the drops, at most `strength`; all zero for a layer without drops."""
    # A cast without clipping: values above 1 wrap modulo 256, as published.
    drops = (layer * 255).astype(np.int64).astype(np.uint8)
    distance = cv2.distanceTransform(255 - cv2.Canny(drops, 50, 150), cv2.DIST_L2, 5)
    near = cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8)
    relief = cv2.filter2D(cv2.equalizeHist(near), cv2.CV_8U, _RELIEF)
    mask = drops.astype(np.float32) * cv2.blur(relief, (3, 3)).astype(np.float32)
    peak = mask.max()
    if peak == 0:
        # Upstream divides 0 by 0 here and blackens the picture; nothing fell on it.
        return np.zeros_like(mask)
    return np.asarray(mask / peak * np.float32(strength))


def spatter(
    pictures: UInt8[np.ndarray, "n h w 3"], row: Row, normals: Float[np.ndarray, "n h w"]
) -> UInt8[np.ndarray, "n h w 3"]:
    """Water or mud spatter (corruptions.md §3, extras); `row` is (mean, sd, sigma, cut, strength, is mud)."""
    mean, sd, sigma, cut, strength, mud = (float(value) for value in row)
    layers = gaussian_blur((mean + sd * normals.astype(np.float64))[..., None], sigma)[..., 0]
    layers[layers < cut] = 0
    out = np.empty(pictures.shape, np.uint8)
    unit = pictures.astype(np.float32) / np.float32(255)
    if mud:
        spots = (layers > cut).astype(np.float32)[..., None]
        cover = gaussian_blur(spots.astype(np.float64), strength).astype(np.float32)
        cover[cover < 0.8] = 0
        out[:] = np.clip(unit * (1 - cover) + _MUD * cover, 0, 1) * 255
    else:
        cover = np.stack([_water_mask(layer, strength) for layer in layers])[..., None]
        out[:] = np.clip(unit + cover * _WATER, 0, 1) * 255
    return out
