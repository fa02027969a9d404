"""Model: the tutorial's network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .backends import BACKENDS, get_backend
from .network import Network
from .training import run_training
from .validation import (
    check_choice,
    check_count,
    check_labels,
    check_rate,
    check_samples,
    resolve_random_state,
)

__all__ = ["Model"]


class Model:
    """A multilayer network that classifies samples, trained by gradient descent on the whole batch.

    Every layer, the last one too by default, computes ``tanh(X W + b)``; softmax turns the last
    layer's outputs into probabilities.

    Parameters
    ----------
    layers_dim : sequence of int
        Number of inputs, of the units of every hidden layer, and of classes, as ``[2, 3, 2]``.
    activation : {"tanh", "sigmoid", "identity"}, default "tanh"
        Of the hidden layers.
    output_activation : {"tanh", "sigmoid", "identity"}, default "tanh"
        Of the last layer, before the softmax. The tutorial's network has "tanh" there; "identity"
        is the textbook one, whose probabilities can come as close to 0 and 1 as they like.
    backend : {"numba", "numpy"}, default "numba"
        Compiled kernels, or the plain NumPy they are checked against.
    dtype : {numpy.float64, numpy.float32}, default float64
        Of the parameters and of all computation. float32 is about twice as fast.
    random_state : None, int or numpy.random.RandomState, default None
        Where the initial parameters are drawn from. None is NumPy's global generator, so that
        ``np.random.seed(0)`` reproduces a published run.

    Attributes
    ----------
    W : list of array (n_in, n_out)
        Weights of the layers, views of the live parameters: writing to them changes the model.
    b : list of array (1, n_out)
        Biases, likewise.
    layers_dim : tuple of int
    dtype : numpy.dtype
    backend : str

    Raises
    ------
    ValueError
        For arguments outside of what stands above.
    TypeError
        For layer sizes that are no integers.

    Notes
    -----
    Initialisation, layer by layer: ``W = randn(n_in, n_out) / sqrt(n_in)``, then ``b = randn(n_out)``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(200, noise=0.20, random_state=0)
    >>> model = fastnn.Model([2, 3, 2], random_state=0)
    >>> model.train(X, y, num_passes=2000)
    >>> bool((model.predict(X) == y).mean() > 0.95)
    True
    """

    def __init__(
        self,
        layers_dim: Iterable[int],
        *,
        activation: str = "tanh",
        output_activation: str = "tanh",
        backend: str = "numba",
        dtype: Any = np.float64,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self._network = Network.create(layers_dim, activation, output_activation, dtype)
        random = resolve_random_state(random_state)
        self.backend = check_choice(backend, "backend", BACKENDS)
        get_backend(backend)  # what it cannot run on is told here
        self._parameters = self._network.draw_parameters(random)

    @property
    def layers_dim(self) -> tuple[int, ...]:
        return self._network.layers_dim

    @property
    def dtype(self) -> np.dtype:
        return self._network.dtype

    @property
    def W(self) -> Sequence[NDArray[Any]]:
        return _LiveViews(self._network.weights(self._parameters))

    @W.setter
    def W(self, values: Sequence[ArrayLike]) -> None:
        _LiveViews(self._network.weights(self._parameters))[:] = values

    @property
    def b(self) -> Sequence[NDArray[Any]]:
        return _LiveViews(self._network.biases(self._parameters))

    @b.setter
    def b(self, values: Sequence[ArrayLike]) -> None:
        _LiveViews(self._network.biases(self._parameters))[:] = values

    def train(
        self,
        X: ArrayLike,
        y: ArrayLike,
        num_passes: int = 20000,
        epsilon: float = 0.01,
        reg_lambda: float = 0.01,
        print_loss: bool = False,
    ) -> None:
        """Train by gradient descent, every pass a step on all samples, from the present parameters.

        A pass computes the gradient of the summed cross entropy, adds ``reg_lambda * W`` to that of
        the weights, and subtracts ``epsilon`` times the result. Since the gradient is a sum, the
        rate that suits a data set falls with its size.

        Parameters
        ----------
        X : array-like (n, layers_dim[0])
            Samples: numbers of any real dtype, converted to the model's.
        y : array-like (n,)
            Labels, integers 0 .. layers_dim[-1] - 1.
        num_passes : int, default 20000
            Number of passes.
        epsilon : float, default 0.01
            Learning rate.
        reg_lambda : float, default 0.01
            Strength of the L2 regularisation of the weights.
        print_loss : bool, default False
            Print ``Loss after iteration %i: %f`` after pass 0 and every 1000 passes from there.

        Raises
        ------
        ValueError
            For NaN or infinity in X, shapes that do not fit, labels that are no integers or out of
            range, rates below 0. Nothing has changed then.
        DivergenceError
            Where a parameter is no longer finite. The model holds the last finite parameters.
        KeyboardInterrupt
            Within a fraction of a second of Ctrl-C. The model holds the parameters of the last
            whole pass.
        """
        X, y = self._check(X, y)
        num_passes = check_count(num_passes, "num_passes")
        epsilon = check_rate(epsilon, "epsilon")
        reg_lambda = check_rate(reg_lambda, "reg_lambda")
        if not self._parameters.flags.writeable:  # as a memory-mapped pickle's are
            self._parameters = self._parameters.copy()
        if not np.isfinite(self._parameters).all():
            raise ValueError("W or b holds NaN or infinity: set finite values before training")
        backend = get_backend(self.backend)

        def report(iteration: int) -> None:
            loss = backend.loss(self._network, self._parameters, X, y)
            print(f"Loss after iteration {iteration}: {loss:f}")

        trainer = backend.trainer(self._network, self._parameters, X, y, epsilon, reg_lambda)
        run_training(trainer, num_passes, epsilon, reg_lambda, report if print_loss else None)

    def calculate_loss(self, X: ArrayLike, y: ArrayLike) -> float:
        """Mean over the samples of -log p[label], without the regularisation term.

        Parameters
        ----------
        X : array-like (n, layers_dim[0])
        y : array-like (n,)
            Labels, integers 0 .. layers_dim[-1] - 1.

        Returns
        -------
        float
            Computed by log-sum-exp on the scores: finite for any finite scores.

        Raises
        ------
        ValueError
            As `train` does.
        """
        X, y = self._check(X, y)
        return get_backend(self.backend).loss(self._network, self._parameters, X, y)

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """The class of every sample.

        Parameters
        ----------
        X : array-like (n, layers_dim[0])

        Returns
        -------
        array (n,) of int64
            0 .. layers_dim[-1] - 1: the class with the highest score, the first where several have it.

        Raises
        ------
        ValueError
            For NaN or infinity in X, another number of features, no samples.
        """
        network = self._network
        X = check_samples(X, network.n_inputs, network.dtype)
        return get_backend(self.backend).predict(network, self._parameters, X)

    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """The probability of every class for every sample.

        Parameters
        ----------
        X : array-like (n, layers_dim[0])

        Returns
        -------
        array (n, layers_dim[-1]) of the model's dtype
            Each row sums to 1.

        Raises
        ------
        ValueError
            For NaN or infinity in X, another number of features, no samples.
        """
        network = self._network
        X = check_samples(X, network.n_inputs, network.dtype)
        return get_backend(self.backend).predict_proba(network, self._parameters, X)

    def _check(self, X: Any, y: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
        network = self._network
        X = check_samples(X, network.n_inputs, network.dtype)
        return X, check_labels(y, X.shape[0], network.n_outputs)

    def __repr__(self) -> str:
        network = self._network
        hidden, output = network.activations[0], network.activations[-1]
        parts = [str(list(network.layers_dim))]
        if len(network.activations) > 1:
            parts.append(f"activation={hidden!r}")
        parts += [f"output_activation={output!r}", f"backend={self.backend!r}", f"dtype={network.dtype}"]
        return f"Model({', '.join(parts)})"


class _LiveViews(list):
    """Views of the parameters; assigning to an item writes into the model instead of cutting it off."""

    def __setitem__(self, index: Any, value: Any) -> None:
        views = self[index] if isinstance(index, slice) else [self[index]]
        values = [np.array(v) for v in (value if isinstance(index, slice) else [value])]
        if len(values) != len(views):
            raise ValueError(f"{len(views)} layers take {len(views)} arrays, got {len(values)}")
        # Copies, which may come from the model itself, and all looked at before the first is written.
        for view, new in zip(views, values, strict=True):
            if new.shape != view.shape:
                raise ValueError(f"this layer's array has the shape {view.shape}, got {new.shape}")
        for view, new in zip(views, values, strict=True):
            view[...] = new
