"""The choice between the two sides: compiled kernels, or the numpy reference.

Both give the same operations on a `Network` and its flat parameter vector; nothing else in fastnn
knows which of them runs.
"""

from __future__ import annotations

import functools
import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .network import Network, aligned_empty

__all__ = ["BACKENDS", "Backend", "Trainer", "get_backend"]

Array = NDArray[Any]

# Python gets its turn (interrupts, what is printed) between calls into the kernels, which last
# about so long.
CALL_SECONDS = 0.05
# How long a call may take at the most when nothing is known of a machine yet: 20 MFLOP.
FIRST_CALL_OPERATIONS = 2e7


class Trainer(Protocol):
    """One training, passes over the whole data that change `parameters` in place."""

    @property
    def n_passes(self) -> int:
        """Passes done."""

    def run(self, last_pass: int) -> bool:
        """Train on for some 50 ms, not beyond `last_pass` passes in all.

        Returns False where the next pass would leave a parameter that is not finite; the parameters
        are then those of the last pass that did not, `n_passes` passes in all.
        """


class Backend(Protocol):
    """What a side offers. X (n, inputs) and y (n,) are checked; parameters is the flat vector."""

    def predict_proba(self, network: Network, parameters: Array, X: Array) -> Array:
        """Probabilities (n, outputs)."""

    def predict(self, network: Network, parameters: Array, X: Array) -> Array:
        """Classes (n,)."""

    def loss(self, network: Network, parameters: Array, X: Array, y: Array) -> float:
        """Mean loss over the samples."""

    def trainer(
        self, network: Network, parameters: Array, X: Array, y: Array, epsilon: float, reg_lambda: float
    ) -> Trainer:
        """A training by gradient descent."""

    def grid_classes(
        self, network: Network, parameters: Array, axes: tuple[float, float, float, float],
        begin: int, end: int, classes: Array,
    ) -> None:  # fmt: skip
        """Fill rows of classes (rows, columns) at (x0 + column dx, y0 + row dy); axes x0, dx, y0, dy."""


class NumbaBackend:
    """The compiled kernels. numba is imported when the first of these is made."""

    def __init__(self) -> None:
        from numba.core import config

        import fastnn_kernels.grid as grid
        import fastnn_kernels.predict as predict
        import fastnn_kernels.train as train

        if config.DISABLE_JIT:
            raise RuntimeError(
                "NUMBA_DISABLE_JIT is set, and fastnn's kernels only run compiled: unset it, or use "
                'backend="numpy"'
            )
        self._grid, self._predict, self._train = grid, predict, train

    def predict_proba(self, network: Network, parameters: Array, X: Array) -> Array:
        kernel = self._predict.predict_proba(network.kernel_activations)
        P = np.empty((X.shape[0], network.n_outputs), network.dtype)
        for part, tile, units in _parts(network, X):
            kernel(network.plan, parameters, _read_only(X[part]), tile, units, P[part])
        return P

    def predict(self, network: Network, parameters: Array, X: Array) -> Array:
        kernel = self._predict.predict(network.kernel_activations)
        classes = np.empty(X.shape[0], np.int64)
        for part, tile, units in _parts(network, X):
            kernel(network.plan, parameters, _read_only(X[part]), tile, units, classes[part])
        return classes

    def loss(self, network: Network, parameters: Array, X: Array, y: Array) -> float:
        kernel = self._predict.loss(network.kernel_activations)
        labels = y.astype(network.dtype)
        total = 0.0
        for part, tile, units in _parts(network, X):
            width = tile.shape[0] // network.n_inputs
            label_tile = aligned_empty(width, network.dtype)
            total += kernel(
                network.plan, parameters, _read_only(X[part]), labels[part], 1 / X.shape[0],
                tile, label_tile, units,
            )  # fmt: skip
        return total

    def trainer(
        self, network: Network, parameters: Array, X: Array, y: Array, epsilon: float, reg_lambda: float
    ) -> Trainer:
        kernel = self._train.train_passes(network.kernel_activations)
        return _NumbaTrainer(kernel, network, parameters, X, y, epsilon, reg_lambda)

    def grid_classes(
        self, network: Network, parameters: Array, axes: tuple[float, float, float, float],
        begin: int, end: int, classes: Array,
    ) -> None:  # fmt: skip
        kernel = self._grid.grid_classes(network.kernel_activations)
        width = network.tile_width(classes.shape[1])
        tile = aligned_empty(2 * width, network.dtype)
        units = aligned_empty(network.n_units * width, network.dtype)
        kernel(network.plan, parameters, *axes, begin, end, tile, units, classes)


def _read_only(X: Array) -> Array:
    """A view that is read-only, so that users' read-only arrays need no kernels of their own."""
    X = X.view()
    X.flags.writeable = False
    return X


def _parts(network: Network, X: Array) -> Any:
    """Slices of X for one call each, with the workspaces for them."""
    width = network.tile_width(X.shape[0])
    workspace = aligned_empty((network.n_inputs + network.n_units) * width, network.dtype)
    tile, units = workspace[: network.n_inputs * width], workspace[network.n_inputs * width :]
    step = width * max(1, int(FIRST_CALL_OPERATIONS / (2 * network.n_parameters * width)))
    for first in range(0, X.shape[0], step):
        yield slice(first, first + step), tile, units


class _NumbaTrainer:
    def __init__(
        self, kernel: Any, network: Network, parameters: Array, X: Array, y: Array,
        epsilon: float, reg_lambda: float,
    ) -> None:  # fmt: skip
        self._kernel, self._parameters = kernel, parameters
        n_samples = X.shape[0]
        width = network.tile_width(n_samples)
        self._n_tiles = n_tiles = -(-n_samples // width)
        self._gradient = aligned_empty(network.n_parameters, network.dtype)
        # Tiles as the kernels read them: units x samples, one tile after the other, zeros at the end.
        tiles = aligned_empty(n_tiles * network.n_inputs * width, network.dtype)
        labels = aligned_empty(n_tiles * width, network.dtype)
        for k in range(n_tiles):
            part = slice(k * width, (k + 1) * width)
            tile = tiles[k * network.n_inputs * width :][: network.n_inputs * width]
            tile = tile.reshape(network.n_inputs, width)
            n_real = X[part].shape[0]
            tile[:, :n_real] = X[part].T
            tile[:, n_real:] = 0
            labels[part][:n_real] = y[part]
            labels[part][n_real:] = 0
        self._progress = np.zeros(2, np.int64)
        self._arguments = (
            tiles,
            labels,
            width,
            n_samples,
            aligned_empty(network.n_units * width, network.dtype),
            aligned_empty(network.n_dunits * width, network.dtype),
            self._progress,
        )
        self._update = (network.n_weights, epsilon, reg_lambda)
        self._plan = network.plan
        operations = 6 * network.n_parameters * width
        self._tiles_a_call = max(1, int(FIRST_CALL_OPERATIONS / operations))

    @property
    def n_passes(self) -> int:
        return int(self._progress[0])

    def run(self, last_pass: int) -> bool:
        before = [array.copy() for array in self._state]
        tiles_before = self._tiles_done
        started = time.perf_counter()
        finite = False
        try:
            finite = self._call(last_pass)
            seconds = time.perf_counter() - started
            tiles_a_second = (self._tiles_done - tiles_before) / max(seconds, 1e-6)
            # Twice as many at the most: the measure of a short call is rough.
            self._tiles_a_call = max(1, min(int(CALL_SECONDS * tiles_a_second), 2 * self._tiles_a_call))
        finally:
            # Also where an interrupt came through, as it does when the kernel returns.
            if not (finite or np.isfinite(self._parameters).all()):
                self._go_back(before)
        return finite

    @property
    def _tiles_done(self) -> int:
        return int(self._progress[0]) * self._n_tiles + int(self._progress[1])

    @property
    def _state(self) -> tuple[Array, ...]:
        return self._parameters, self._gradient, self._progress

    def _go_back(self, before: list[Array]) -> None:
        """To the last pass that left all parameters finite.

        The kernel keeps no copy of the parameters; what it did up to the pass before is simply done
        again from a copy made before the call, and comes out the same to the last bit.
        """
        broken = self.n_passes
        for array, saved in zip(self._state, before, strict=True):
            array[...] = saved
        while self.n_passes < broken - 1:
            self._call(broken - 1)

    def _call(self, last_pass: int) -> bool:
        return self._kernel(
            self._plan, self._parameters, self._gradient, *self._arguments, last_pass,
            self._tiles_a_call, *self._update,
        )  # fmt: skip


# Kernels run through infinities without a word; what comes of them is checked afterwards.
_quiet = np.errstate(over="ignore", invalid="ignore")


class NumpyBackend:
    """The reference."""

    def __init__(self) -> None:
        from .reference import grid, predict, train

        self._grid, self._predict, self._train = grid, predict, train

    @_quiet
    def predict_proba(self, network: Network, parameters: Array, X: Array) -> Array:
        return self._predict.predict_proba(*_lists(network, parameters), X)

    @_quiet
    def predict(self, network: Network, parameters: Array, X: Array) -> Array:
        return self._predict.predict(*_lists(network, parameters), X)

    @_quiet
    def loss(self, network: Network, parameters: Array, X: Array, y: Array) -> float:
        return float(self._predict.loss(*_lists(network, parameters), X, y, 1 / X.shape[0]))

    def trainer(
        self, network: Network, parameters: Array, X: Array, y: Array, epsilon: float, reg_lambda: float
    ) -> Trainer:
        arguments = network, parameters, X, y, 1, epsilon, reg_lambda  # a pass a call
        return _NumpyTrainer(self._train.train_passes, arguments)

    @_quiet
    def grid_classes(
        self, network: Network, parameters: Array, axes: tuple[float, float, float, float],
        begin: int, end: int, classes: Array,
    ) -> None:  # fmt: skip
        self._grid.grid_classes(*_lists(network, parameters), *axes, begin, end, classes)


def _lists(network: Network, parameters: Array) -> tuple[Any, list[Array], list[Array]]:
    return network.activations, network.weights(parameters), network.biases(parameters)


class _NumpyTrainer:
    def __init__(self, train: Any, arguments: tuple) -> None:
        self._train, self._arguments = train, arguments
        self.n_passes = 0

    @_quiet
    def run(self, last_pass: int) -> bool:
        parameters = self._arguments[1]
        finished = time.perf_counter() + CALL_SECONDS
        while self.n_passes < last_pass and time.perf_counter() < finished:
            before, n_passes = parameters.copy(), self.n_passes
            try:
                self.n_passes += self._train(*self._arguments)
            finally:
                if self.n_passes == n_passes:  # the training diverged, or an interrupt came through
                    parameters[...] = before
            if self.n_passes == n_passes:
                return False
        return True


BACKENDS: dict[str, type[NumbaBackend] | type[NumpyBackend]] = {
    "numba": NumbaBackend,
    "numpy": NumpyBackend,
}


@functools.cache
def get_backend(name: str) -> Backend:
    """The side called `name`, one of `BACKENDS`, made when it is first asked for."""
    return BACKENDS[name]()
