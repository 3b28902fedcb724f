"""Weights to int8, and the activation ranges that static quantisation needs. Pure numpy."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


class Quantised(NamedTuple):
    """int8 values with their scales."""

    values: Array
    scales: Array


class Range(NamedTuple):
    """Scale and zero point of an activation as uint8. ``smooth``, [channels]: what it is divided by before."""

    scale: float
    zero: int
    smooth: Array | None = None


def by_column(weights: Array, bits: int = 8) -> Quantised:
    """[inputs, outputs] weights, one symmetric scale an output. 7 bits keep the sums of older CPUs from saturating."""
    top = float(2 ** (bits - 1) - 1)
    scales = np.abs(weights).max(0) / top
    scales[scales == 0] = 1e-8
    return Quantised(np.clip(np.rint(weights / scales), -top, top).astype(np.int8), scales.astype(np.float32))


def by_row(table: Array) -> Quantised:
    """An embedding table, one symmetric scale a row."""
    scales = (np.abs(table).max(1) / 127.0).astype(np.float32)
    scales[scales == 0] = 1e-8
    return Quantised(np.clip(np.rint(table / scales[:, None]), -127, 127).astype(np.int8), scales)


def activation(low: float, high: float) -> Range:
    """The affine range that covers [low, high] and zero."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / 255.0, 1e-8)
    return Range(scale, int(np.clip(np.rint(-low / scale), 0, 255)))


def smoothing(inputs: Array, weights: Array, strength: float) -> Array:
    """[channels] by which a linear layer's inputs are divided and its weights multiplied, so that the few channels
    with large values do not cost all others their precision (SmoothQuant, Xiao et al. 2023).

    ``inputs``: largest absolute value of each channel; ``weights``, [outputs, channels]; ``strength``: 0 leaves all to
    the inputs, 1 to the weights.
    """
    largest = np.maximum(np.abs(weights).max(0), 1e-5)
    factors: Array = np.maximum(inputs, 1e-5) ** strength / largest ** (1 - strength)
    return factors.astype(np.float32)


SAMPLE = 200_000
"""Values a range is chosen on."""


def least_error(values: Array) -> Range:
    """The range of least squared quantisation error among shrunken ones: few outliers are worth no coarse steps."""
    sample = values[:: max(1, len(values) // SAMPLE)]
    low, high = float(values.min()), float(values.max())
    steps = np.linspace(0.3, 1.0, 15)
    candidates = [activation(low * a, high * b) for a in (steps if low < -1e-3 else (1.0,)) for b in steps]

    def error(span: Range) -> float:
        rounded = (np.clip(np.rint(sample / span.scale) + span.zero, 0, 255) - span.zero) * span.scale
        return float(((rounded - sample) ** 2).mean())

    return min(candidates, key=error)


STRENGTHS = (0.5, 0.65, 0.8, 0.9, 1.0, 1.1)
TOKENS = 1_500
"""Inputs a smoothing is chosen on."""


def least_product_error(values: Array, weights: Array, bits: int = 8) -> Range:
    """The smoothing and range with the least squared error of a linear layer's outputs.

    ``values``, [tokens, channels]: its inputs; ``weights``, [outputs, channels].
    """
    largest, sample = np.abs(values).max(0), values[:: max(1, len(values) // TOKENS)]
    exact = sample @ weights.T
    candidates = []
    for strength in STRENGTHS:
        factors = smoothing(largest, weights, strength)
        scaled = (values / factors).reshape(-1)
        packed = by_column(weights.T * factors[:, None], bits)
        restored = packed.values * packed.scales
        for span in (activation(float(scaled.min()), float(scaled.max())), least_error(scaled)):
            steps = np.clip(np.rint(sample / factors / span.scale) + span.zero, 0, 255) - span.zero
            error = float(((steps * np.float32(span.scale) @ restored - exact) ** 2).mean())
            candidates.append((error, span._replace(smooth=factors)))
    return min(candidates, key=lambda one: one[0])[1]
