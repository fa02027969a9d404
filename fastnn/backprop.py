"""Backprop: forward pass, backward pass and step, one call each, around a loss that the caller computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .engine import get_backend
from .engine.job import make_optimizer_state
from .network.description import Array
from .network.views import LiveViews
from .optimizers import Minimiser, Optimizer, resolve_optimizer
from .system.generators import draw_seed, resolve_random_state
from .system.memory import check_memory
from .system.validation import check_flag, check_rate, check_samples, short_repr
from .training.divergence import StepDivergenceError

if TYPE_CHECKING:
    from .model import Model


class Backprop:
    """Forward pass, backward pass and step of a model, one call each, at the speed of its training.

    Between the calls, NumPy computes what the network is trained for: a loss of your own, a policy gradient,
    the residual of an equation. `Model.train` runs the same passes without Python between them.

    Parameters
    ----------
    model : Model
        The network. `step` changes its parameters in place.
    optimizer : str or Optimizer, default "sgd"
        Optimizer of `step`, as in `Model.train`; those that choose their own steps, such as "lbfgs",
        are refused.
    frozen : bool, default False
        Use the network that predicts: no dropout, and running statistics in place of the batch's. `step` is
        refused. With batch normalisation, a frozen network has derivatives by the samples alone.
    random_state : None, int or numpy.random.RandomState, default None
        Generator of the dropout masks, used if the model has dropout. Every forward pass draws new masks.

    Attributes
    ----------
    model : Model
    optimizer : Optimizer
    parameters : array (P,)
        Live vector of all parameters, weights first, in the order of `gradient`. It has zeros as padding.
    gradient : array (P,)
        Derivatives by the parameters after `backward`, a live array: `step` uses what it holds, for instance
        after you clip it, and the next `backward` overwrites it. Padding is 0.
    dW, db : list of array
        Live views of the gradient, shaped as ``model.W`` and ``model.b``.
    n_steps : int
        Number of steps done.

    Raises
    ------
    ValueError
        If an argument is out of range or not one of the accepted names.

    Notes
    -----
    Scores are what the last layer computes: with the default ``output_activation="tanh"`` they lie between -1
    and 1. An object is for one thread at a time.

    Examples
    --------
    The tutorial's training, with softmax in NumPy:

    >>> import numpy as np
    >>> import fastnn
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(200, noise=0.20, random_state=0)
    >>> model = fastnn.Model([2, 3, 2], random_state=0)
    >>> net = fastnn.Backprop(model)
    >>> for _ in range(500):
    ...     E = np.exp(net.forward(X))
    ...     dS = E / E.sum(axis=1, keepdims=True)
    ...     dS[np.arange(200), y] -= 1
    ...     net.backward(dS, inputs=False)
    ...     net.step(0.01, reg_lambda=0.01)
    >>> other = fastnn.Model([2, 3, 2], random_state=0)
    >>> history = other.train(X, y, num_passes=500, epsilon=0.01, reg_lambda=0.01)
    >>> bool(np.allclose(model.W[0], other.W[0], rtol=0, atol=1e-12))
    True
    """

    def __init__(
        self,
        model: Model,
        optimizer: str | Optimizer = "sgd",
        *,
        frozen: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        from .model import Model

        if not isinstance(model, Model):
            raise ValueError(
                f"model must be a fastnn.Model, got {short_repr(model)}. The model of a fitted estimator is "
                "its attribute model_"
            )
        self.model = model
        self.optimizer = resolve_optimizer(optimizer)
        if isinstance(self.optimizer, Minimiser):
            raise ValueError(
                f"optimizer {self.optimizer.name!r} chooses its own steps: train with Model.train, or pass "
                "forward and backward to scipy.optimize.minimize"
            )
        self._frozen = check_flag(frozen, "frozen")
        random = resolve_random_state(random_state, None)
        drops = model._network.dropout and not frozen
        if not frozen:
            model._make_writeable()
        backend, network = get_backend(model.backend), model._network
        self._passes = backend.passes(
            network,
            model._parameters,
            model._statistics,
            self._frozen,
            draw_seed(random) if drops else 0,
            checks=True,
        )
        self.gradient = self._passes.gradient
        state = make_optimizer_state(network, self.optimizer)
        self._update = backend.update(network, self.optimizer, self.parameters, self.gradient, state)
        self._network, self._dtype, self._n_inputs = network, network.dtype, network.n_inputs
        self._X_shape: tuple[int, ...] = ()  # of the last samples
        self._shape: tuple[int, ...] | None = None  # of the scores that `backward` belongs to
        self._has_gradient = False
        self._rates = (-1.0, -1.0)

    # --- views -----------------------------------------------------------------------------------

    @property
    def parameters(self) -> Array:
        """Live vector (P,) of all parameters."""
        return self._passes.parameters

    @property
    def n_steps(self) -> int:
        """Number of steps done."""
        return self._update.n_steps

    @property
    def dW(self) -> Sequence[Array]:
        """Derivatives (n_in, n_out) by the weights of the layers."""
        return LiveViews(self._network.weights(self.gradient), "dW")

    @property
    def db(self) -> Sequence[Array]:
        """Derivatives (1, n_out) by the biases of the layers."""
        return LiveViews(self._network.biases(self.gradient), "db")

    # --- passes ----------------------------------------------------------------------------------

    def forward(self, X: ArrayLike, *, out: Array | None = None) -> Array:
        """Return the scores of the samples, and keep what `backward` needs.

        Parameters
        ----------
        X : array-like or sparse matrix (n, layers_dim[0])
            Samples; n may change from call to call. A sparse matrix is made dense.
        out : array (n, layers_dim[-1]) of the model's dtype, optional
            Array for the scores, by default a new one.

        Returns
        -------
        array (n, layers_dim[-1]) of the model's dtype
            Scores, the outputs of the last layer.

        Raises
        ------
        ValueError
            If X holds NaN or infinity, has another number of features or no samples.
        """
        if not (type(X) is np.ndarray and X.shape == self._X_shape and X.dtype == self._dtype):
            X = X.toarray() if hasattr(X, "toarray") else X
            X = check_samples(X, self._n_inputs, self._dtype, finite=False)  # the pass finds NaN and infinity
            self._X_shape = X.shape
        if self._passes.parameters is not self.model._parameters:
            raise ValueError("the model has a new array of parameters: make a new Backprop of the model")
        self._shape = None
        S = self._passes.forward(X)
        self._shape = S.shape
        return S.copy() if out is None else self._fill(out, S)

    def backward(
        self,
        dS: ArrayLike,
        *,
        adds: bool = False,
        inputs: bool = True,
        parameters: bool = True,
        out: Array | None = None,
    ) -> Array | None:
        """Propagate the derivatives of a loss by the scores of the last `forward` back through the network.

        Parameters
        ----------
        dS : array-like (n, layers_dim[-1])
            Derivatives of the loss by the scores. Scale them by 1 / n for the mean of a batch.
        adds : bool, default False
            Add the derivatives by the parameters to `gradient` instead of overwriting it.
        inputs : bool, default True
            Compute the derivatives by the samples. False saves their time.
        parameters : bool, default True
            Compute the derivatives by the parameters, into `gradient`.
        out : array (n, layers_dim[0]) of the model's dtype, optional
            Array for the derivatives by the samples, by default a new one.

        Returns
        -------
        array (n, layers_dim[0]) of the model's dtype, or None
            Derivatives by the samples; None if `inputs` is False.

        Raises
        ------
        ValueError
            If dS has another shape than the scores or holds NaN or infinity, or if the last call was not a
            forward or backward pass: after a step, the derivatives would belong to other weights.
        """
        dS = self._check_derivatives(dS)
        if parameters and self._frozen and self._network.batch_norm:
            raise ValueError(
                "a frozen network with batch normalisation has no gradient by its parameters: pass "
                "parameters=False, or make a Backprop without frozen=True"
            )
        dX = self._passes.backward(dS, adds, inputs, parameters)
        self._has_gradient |= parameters
        if dX is None:
            return None
        return dX.copy() if out is None else self._fill(out, dX)

    def sample_gradients(self, dS: ArrayLike) -> Array:
        """Return the derivatives by the parameters for every sample by itself.

        Parameters
        ----------
        dS : array-like (n, layers_dim[-1])
            Derivatives by the scores of the last `forward`, as in `backward`.

        Returns
        -------
        array (n, P) of the model's dtype
            A row like `gradient` for every sample. Their sum is the gradient of `backward`.

        Raises
        ------
        ValueError
            As `backward`, and with batch normalisation, where a sample has no gradient by itself.
        MemoryError
            If the result exceeds the free memory.
        """
        if self._network.batch_norm:
            raise ValueError(
                "a sample has no gradient of its own with batch normalisation, which mixes the samples of a "
                "batch: train a model without batch_norm"
            )
        dS = self._check_derivatives(dS)
        n_bytes = dS.shape[0] * self.gradient.nbytes
        check_memory(n_bytes, "the gradients of all samples take", "pass fewer samples at a time")
        result, first = np.empty((len(dS), self.gradient.size), self._dtype), 0
        for tile in self._passes.sample_gradients(dS):
            result[first : first + len(tile)] = tile
            first += len(tile)
        return result

    def step(self, epsilon: float, reg_lambda: float = 0.0) -> None:
        """Let the optimizer change the model's parameters, given `gradient`.

        Parameters
        ----------
        epsilon : float
            Learning rate of this step.
        reg_lambda : float, default 0.0
            Strength of the L2 regularisation of the weights.

        Raises
        ------
        ValueError
            If a number is out of range, if no `backward` has computed a gradient since the last step, if an
            array of ``model.W`` or ``model.b`` has been made read-only, or if the network is frozen.
        DivergenceError
            If a parameter or the optimizer's state would become infinite or NaN. Both keep their values.
        """
        if self._frozen:
            raise ValueError(
                "a frozen network is not trained: make a Backprop of the model without frozen=True"
            )
        if not self._has_gradient:
            raise ValueError("step needs a gradient: call forward and backward first")
        self.model._check_flags()
        if type(epsilon) is not float or (epsilon, reg_lambda) != self._rates:
            self._rates = check_rate(epsilon, "epsilon"), check_rate(reg_lambda, "reg_lambda")
        self._shape, self._has_gradient = None, False
        if non_finite := self._update(*self._rates):
            raise StepDivergenceError(self.n_steps, *self._rates, non_finite)

    # --- checks ----------------------------------------------------------------------------------

    def _check_derivatives(self, dS: Any) -> Array:
        if self._shape is None:
            raise ValueError(
                "backward needs the scores of the present parameters: call forward first, also after a step"
            )
        if not (type(dS) is np.ndarray and dS.dtype == self._dtype):
            dS = check_samples(dS, None, self._dtype, "dS") if np.ndim(dS) == 2 else np.asarray(dS)
        if dS.shape != self._shape:
            raise ValueError(f"dS must have the shape {self._shape} of the scores, got {dS.shape}")
        return dS

    def _fill(self, out: Any, result: Array) -> Array:
        if not (isinstance(out, np.ndarray) and out.shape == result.shape and out.dtype == self._dtype):
            given = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else short_repr(out)
            raise ValueError(f"out must be an array {result.shape} of {self._dtype}, got {given}")
        out[...] = result
        return out

    def __repr__(self) -> str:
        frozen = ", frozen=True" if self._frozen else ""
        return f"Backprop({self.model!r}, {self.optimizer!r}{frozen})"
