"""Quantised networks: int8 weights, int16 units and int32 sums, computed exactly as the exported C code does.

A number x of a layer's inputs is an int16 q with ``x = scale * q``. The scale of an input, and of the units
of a layer, follows from the largest magnitude on calibration samples. The weights of a unit share a
scale, so that the unit's largest weight is 127. The unit's sum, ``bias + sum of weight * input``, is exact in
int32: scales are chosen so that no inputs can make it overflow. A factor and a shift turn the sum into the
units of the next int16 scale. Identity and relu act on these integers; other activations are tables of 257
entries, interpolated linearly.

Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
2018, describe the scales, factors and shifts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...reference.layer import activation_forward
from ..description import LayerDescription, ModelDescription

__all__ = ["MAX_VALUE", "QuantizedLayer", "QuantizedNetwork", "quantize"]

Array = NDArray[Any]

# Largest magnitudes of an int16 unit, of a weight and of a sum. -32768 is not used.
MAX_VALUE, MAX_WEIGHT, MAX_SUM = 32767, 127, 2**31 - 1
# Ranges exceed those of the calibration samples by this factor: other samples may have larger numbers.
HEADROOM = 1.25
# The largest magnitudes of a feature and of the scores lie between SMALLEST and 1 / SMALLEST.
SMALLEST = 1e-30
# Activations that act on integers without a table.
DIRECT = ("identity", "relu")
# An activation is flat at an end of a range if its values there differ by at most FLAT times the largest.
# Flat ends are left out of the range, which makes the steps within it finer.
FLAT = 2.0**-13


@dataclass(frozen=True)
class QuantizedLayer:
    """One layer of a quantised network.

    Parameters
    ----------
    weights : array (n_out, n_in) of int8
        Weights, a row per unit.
    biases, factors : array (n_out,) of int32
        Biases in units of the sums, and factors of the sums.
    shift : int
        Binary places by which products of sums and factors are shifted, from 1 to 62.
    activation : str
        Name of the activation.
    table : array (257,) of int16 or None
        Values of the activation at -32768, -32512 .. 32768, None for an activation without a table.
    scale : float
        Number that an int16 unit of 1 stands for.
    """

    weights: NDArray[np.int8]
    biases: NDArray[np.int32]
    factors: NDArray[np.int32]
    shift: int
    activation: str
    table: NDArray[np.int16] | None
    scale: float

    @property
    def largest_sum(self) -> int:
        """Largest magnitude of a sum for any inputs."""
        rows = np.abs(self.weights.astype(np.int64)).sum(axis=1)
        return int((MAX_VALUE * rows + np.abs(self.biases.astype(np.int64))).max())

    def units(self, X: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return the units (n, n_out) for inputs (n, n_in)."""
        sums = X.astype(np.int64) @ self.weights.T.astype(np.int64) + self.biases
        Z = (sums * self.factors + (1 << (self.shift - 1))) >> self.shift
        Z = np.clip(Z, -MAX_VALUE, MAX_VALUE)
        if self.activation == "relu":
            Z = np.maximum(Z, 0)
        if self.table is not None:
            place, table = Z + 32768, self.table.astype(np.int64)
            left = table[place >> 8]
            product = (table[(place >> 8) + 1] - left) * (place & 255)
            Z = left + np.sign(product) * (np.abs(product) // 256)  # C rounds quotients towards 0
        return Z.astype(np.int16)


@dataclass(frozen=True)
class QuantizedNetwork:
    """A quantised network.

    Parameters
    ----------
    input_factors : array (n_inputs,) of float32
        Factors that turn features into int16 inputs.
    layers : tuple of QuantizedLayer
        Layers.
    """

    input_factors: NDArray[np.float32]
    layers: tuple[QuantizedLayer, ...]

    def inputs(self, X: Array) -> NDArray[np.int16]:
        """Return samples (n, n_inputs) as int16, rounded, and cut off at the calibrated range."""
        with np.errstate(over="ignore"):
            scaled = X.astype(np.float32) * self.input_factors
        rounded = np.trunc(np.clip(scaled, -MAX_VALUE, MAX_VALUE) + np.copysign(np.float32(0.5), scaled))
        return np.clip(rounded, -MAX_VALUE, MAX_VALUE).astype(np.int16)

    def scores(self, X: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return the scores (n, n_outputs) of int16 samples."""
        for layer in self.layers:
            X = layer.units(X)
        return X


def quantize(description: ModelDescription, X: Array) -> QuantizedNetwork:
    """Quantise a network of one member.

    Parameters
    ----------
    description : ModelDescription
        Model.
    X : array (n, n_inputs) of float64
        Calibration samples.
    """
    layers = description.converted(np.float64).members[0].layers
    inputs = [X]
    sums = []
    for layer in layers:
        sums.append(inputs[-1] @ layer.weights + layer.biases)
        inputs.append(activation_forward(layer.activation, sums[-1]))
    largest = np.abs(X).max(axis=0)
    # A feature that is always 0 in the calibration samples gets the range of the largest feature.
    largest[largest == 0] = largest.max() or 1.0
    if not ((largest > SMALLEST) & (largest < 1 / SMALLEST)).all():
        raise ValueError(
            f"the largest magnitudes of X's features, {largest.min():.3g} to {largest.max():.3g}, are too "
            "small or too large for float32: scale X, in the training as well"
        )
    scales = (largest * HEADROOM / MAX_VALUE).astype(np.float32).astype(np.float64)
    input_factors = (1 / scales).astype(np.float32)
    scales = 1 / input_factors.astype(np.float64)
    # Layers with the same table share one range, so that the table is stored once.
    ranges = [_needed_range(layer.activation, Z) for layer, Z in zip(layers, sums, strict=True)]
    shared = {
        name: max(size for size, layer in zip(ranges, layers, strict=True) if layer.activation == name)
        for name in {layer.activation for layer in layers} - set(DIRECT)
    }
    quantized = []
    for layer, size in zip(layers, ranges, strict=True):
        one = _quantized_layer(layer, scales, shared.get(layer.activation, size))
        quantized.append(one)
        scales = np.full(layer.biases.size, one.scale)
    most = MAX_VALUE * quantized[-1].scale
    if not SMALLEST < most < 1 / SMALLEST:
        raise ValueError(
            f"the scores of the samples in X reach {most:.3g}, which is too small or too large for float32: "
            "export with dtype='float64'"
        )
    return QuantizedNetwork(input_factors, tuple(quantized))


def _needed_range(activation: str, Z: Array) -> float:
    """Return the largest magnitude, within that of the sums Z, at which an activation is not flat."""
    needed = 0.0
    for sign in (-1.0, 1.0):
        most = HEADROOM * float((sign * Z).max(initial=0.0))
        places = np.linspace(0.0, most, 2049)
        values = activation_forward(activation, sign * places)
        differs = np.abs(values - values[-1]) > FLAT * np.abs(values).max()
        last = np.flatnonzero(differs)
        needed = max(needed, float(places[last[-1] + 1]) if last.size else 0.0)
    return needed or 1.0


def _quantized_layer(layer: LayerDescription, input_scales: Array, size: float) -> QuantizedLayer:
    """Quantise a layer whose sums lie between -size and size."""
    W, b = (layer.weights * input_scales[:, None]).T, layer.biases
    # The scale of a unit's sum is as fine as int8 weights and int32 sums allow.
    scales = np.maximum(np.abs(W).max(axis=1) / MAX_WEIGHT, np.abs(b) / 2**30)
    scales[scales == 0] = 1.0
    while True:
        weights, biases = np.rint(W / scales[:, None]), np.rint(b / scales)
        reach = MAX_VALUE * np.abs(weights).sum(axis=1) + np.abs(biases)
        if (reach <= MAX_SUM).all():
            break
        scales = np.where(reach > MAX_SUM, scales * np.maximum(reach / MAX_SUM, 1.001), scales)
    unit = size / MAX_VALUE
    ratios = scales / unit
    # Factors have up to 31 bits.
    shift = int(np.clip(30 - np.ceil(np.log2(ratios.max())), 1, 62))
    factors = np.rint(ratios * 2.0**shift)
    if factors.max() > MAX_SUM:
        raise ValueError(
            f"a layer's weights are too large for int8: sums of {size:.3g} and steps of {scales.max():.3g}. "
            "Give more calibration samples in X, or export with dtype='float32'"
        )
    table, scale = None, unit
    if layer.activation not in DIRECT:
        values = activation_forward(layer.activation, unit * np.arange(-32768.0, 32769.0, 256.0))
        scale = float(np.abs(values).max()) / MAX_VALUE or 1.0
        table = np.rint(values / scale).astype(np.int16)
    return QuantizedLayer(
        weights.astype(np.int8), biases.astype(np.int32), factors.astype(np.int32), shift,
        layer.activation, table, scale,
    )  # fmt: skip
