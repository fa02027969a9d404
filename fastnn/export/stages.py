"""Stage: how features become the inputs of networks, by a scaler or by the encoding of a table of numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FLAG", "LINEAR", "MISSING", "SMOOTH", "Stage", "linear"]

Array = NDArray[Any]

# Kinds of outputs. x is the feature, or the fill for NaN. LINEAR: ``u = (x - center) / scale + offset``,
# within `low` and `high`. SMOOTH: ``u / sqrt(1 + (u / limit)^2)``. MISSING: 1 for NaN, else 0. FLAG: 1 if x
# is the center, else -1; the fill for NaN.
LINEAR, SMOOTH, MISSING, FLAG = range(4)


@dataclass(frozen=True)
class Stage:
    """Functions of one feature each.

    Parameters
    ----------
    n_features : int
        Number of features.
    sources : array (n_outputs,) of int
        Feature of every output.
    kinds : array (n_outputs,) of int
        Kinds of the outputs: `LINEAR`, `SMOOTH`, `MISSING` or `FLAG`.
    fill, center, scale, offset, low, high, limit : array (n_outputs,)
        Numbers of the outputs. A fill of NaN leaves NaN as it is.
    """

    n_features: int
    sources: NDArray[np.int64]
    kinds: NDArray[np.int64]
    fill: Array
    center: Array
    scale: Array
    offset: Array
    low: Array
    high: Array
    limit: Array

    @property
    def is_elementwise(self) -> bool:
        """True if every output is one of its own feature."""
        return np.array_equal(self.sources, np.arange(self.n_features))

    @property
    def numbers(self) -> dict[str, Array]:
        """Arrays of numbers by name."""
        names = [field.name for field in fields(self)][3:]
        return {name: getattr(self, name) for name in names}

    def converted(self, dtype: np.dtype) -> Stage:
        """Return the stage with numbers of another dtype; raise ValueError if the dtype cannot hold them."""
        with np.errstate(over="ignore"):
            numbers: dict[str, Any] = {name: array.astype(dtype) for name, array in self.numbers.items()}
        most = np.finfo(dtype).max
        numbers |= {name: np.clip(numbers[name], -most, most) for name in ("center", "low", "high")}
        scale = np.abs(numbers["scale"])
        wrong = ~np.isfinite(scale) | (scale <= np.finfo(dtype).tiny)
        if wrong.any():
            remedy = ": export with dtype float64" if dtype == np.float32 else ""
            raise ValueError(
                f"the scale of feature {self.sources[wrong.argmax()]} is out of range for {dtype}{remedy}"
            )
        return replace(self, **numbers)

    def outputs(self, X: Array) -> Array:
        """Return the outputs (n, n_outputs) for features (n, n_features), in their dtype."""
        numbers = {name: array.astype(X.dtype) for name, array in self.numbers.items()}
        x = X[:, self.sources]
        missing = np.isnan(x)
        filled = np.where(missing & ~np.isnan(numbers["fill"]), numbers["fill"], x)
        with np.errstate(over="ignore", invalid="ignore"):
            u = (filled - numbers["center"]) / numbers["scale"] + numbers["offset"]
            u = np.clip(u, numbers["low"], numbers["high"])
            v = u / numbers["limit"]
            smooth = u / np.sqrt(1 + v * v)
        flags = np.where(missing, numbers["fill"], np.where(x == numbers["center"], 1, -1))
        chosen = np.choose(self.kinds, [u, smooth, missing, flags])
        return chosen.astype(X.dtype)

    def typical(self, Z: Array) -> Array:
        """Return features (n, n_features) from numbers of about -2 to 2, which are scaled back."""
        X = Z.copy()
        for k in reversed(range(len(self.sources))):  # the first output of a feature is its scaled value
            if self.kinds[k] != MISSING and np.isfinite(self.center[k]):
                source = self.sources[k]
                X[:, source] = Z[:, source] * self.scale[k] + self.center[k]
        return X


def linear(n_features: int, **numbers: Any) -> Stage:
    """Return a stage of one linear output for every feature; numbers not given leave the feature as it is."""
    defaults = {
        "fill": np.nan, "center": 0.0, "scale": 1.0, "offset": 0.0, "low": -np.inf, "high": np.inf,
        "limit": 1.0,
    }  # fmt: skip
    arrays = {
        name: np.broadcast_to(np.asarray(value, np.float64), n_features).copy()
        for name, value in (defaults | numbers).items()
    }
    return Stage(n_features, np.arange(n_features), np.full(n_features, LINEAR), **arrays)
