"""Model: the tutorial's network, and everything it leaves as exercises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .engine.choice import BACKENDS, get_backend
from .engine.job import Job
from .engine.predictions import PredictingNetwork
from .losses import Loss, SoftmaxCrossEntropy
from .network.decision import DecisionNetworks
from .network.description import Network
from .network.views import BatchNorm as BatchNorm
from .network.views import LiveViews as LiveViews
from .optimizers import LBFGS, Optimizer, resolve_optimizer
from .schedules import Schedule, resolve_schedule
from .system.generators import generator_state, resolve_random_state, seeded
from .system.validation import (
    all_finite,
    check_choice,
    check_count,
    check_flag,
    check_limit,
    check_rate,
    check_weights,
)
from .training.callbacks import PRINT_EVERY, EarlyStopping, sort_callbacks
from .training.gradcheck import GradientReport, check_gradients
from .training.history import History, record_every
from .training.model_training import Samples, check_decay, check_lbfgs, train_model

__all__ = ["Model"]


class Model(PredictingNetwork):
    """A multilayer network, trained by gradient descent and its relatives.

    Every layer computes ``activation(X W + b)``. The outputs of the last layer are the scores of a sample,
    which the loss compares with its target. The defaults are the tutorial's network (see Notes): tanh in
    every layer, the output layer included, and softmax over the scores.

    Parameters
    ----------
    layers_dim : sequence of int
        Number of inputs, of the units of every hidden layer, and of outputs, as ``[2, 3, 2]``.
    activation : str or list of str, default "tanh"
        Activation of the hidden layers, one for all or one for each: "identity", "sigmoid", "tanh", "relu",
        "leaky_relu", "elu", "selu", "gelu" (the approximation by tanh), "silu", "mish" or "softplus".
    output_activation : str, default "tanh"
        Activation of the output layer. "identity" makes the textbook's network, which has none before
        softmax, and suits regression.
    backend : {"numba", "numpy"}, default "numba"
        Compiled kernels, or the plain NumPy reference that they are tested against.
    dtype : {numpy.float64, numpy.float32}, default float64
        Data type of the parameters and of all computation. float32 is about twice as fast.
    random_state : None, int or numpy.random.RandomState, default None
        Generator of the initial parameters. None is NumPy's global generator, with which
        ``np.random.seed(0)`` reproduces a published run.
    loss : str or Loss, default "softmax_cross_entropy"
        "softmax_cross_entropy" or "multiclass_hinge" for labels; "sigmoid_binary_cross_entropy",
        "squared_error", "absolute_error", "huber", "quantile" or "poisson" for targets (n, outputs). An
        object, as ``fastnn.Huber(delta=0.5)``, sets its parameters.
    dropout : float or list of float, default 0.0
        Share of a layer's inputs that a training step leaves out, from 0 up to 1: one number for all
        hidden layers' outputs, or a list with one for the inputs and one for each hidden layer
        (Srivastava et al., "Dropout", 2014; inverted, so that predictions need no scaling).
    batch_norm : bool, default False
        Normalise the sums of the hidden layers over the batch before their activation (Ioffe & Szegedy,
        2015), with PyTorch's eps 1e-5 and momentum 0.1. Predictions use running statistics.
    init : str, default "tutorial"
        Initial weights: "tutorial" (``randn / sqrt(n_in)``, biases ``randn``), "glorot_uniform",
        "glorot_normal", "he_uniform", "he_normal", "lecun_normal" or "orthogonal", these with biases 0.

    Attributes
    ----------
    W : list of array (n_in, n_out)
        Weights of the layers, views of the live parameters: writing to them changes the model. Arrays that
        are assigned, ``model.W[0] = ...`` or ``model.W = [...]``, must have the same shape and hold real
        numbers that the dtype can hold; if one does not, none is written. NaN and infinity may be set, but
        `train` raises ValueError where there are any.
    b : list of array (1, n_out)
        Biases, live views as well.
    batch_norm : list of BatchNorm
        Live views for every hidden layer, if `batch_norm`: scale and shift (1, n_out), running_mean and
        running_variance (n_out,).
    layers_dim : tuple of int
    dtype : numpy.dtype
    loss : Loss
    backend : str
    history_ : History or None
        History of the last training up to its end, also where Ctrl-C, a `DivergenceError` or an error in a
        callback ended it and `train` returned nothing. None before the first training.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    TypeError
        If layer sizes are no integers.

    Notes
    -----
    The tutorial is Denny Britz's "Implementing a Neural Network from Scratch in Python" (WildML, 2015) in a
    multilayer version that is built of gates and layers. An output layer with tanh is unusual: it keeps the
    scores between -1 and 1, so that no probability of two classes exceeds ``1 / (1 + exp(-2))``, about 0.88.

    The tutorial's initialisation, layer by layer: ``W = randn(n_in, n_out) / sqrt(n_in)``, then
    ``b = randn(n_out)``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(200, noise=0.20, random_state=0)
    >>> model = fastnn.Model([2, 3, 2], random_state=0)
    >>> history = model.train(X, y, num_passes=2000)
    >>> bool((model.predict(X) == y).mean() > 0.95)
    True

    Minibatches, Adam, and a regression:

    >>> x = np.linspace(-3, 3, 400)[:, None]
    >>> model = fastnn.Model([1, 32, 1], activation="gelu", output_activation="identity",
    ...                      loss="squared_error", init="he_normal", random_state=0)
    >>> history = model.train(x, np.sin(x), num_passes=200, epsilon=0.01, reg_lambda=0.0, batch_size=16,
    ...                       optimizer="adam", schedule="cosine_decay", reduction="mean", random_state=0)
    >>> bool(np.abs(model.predict(x) - np.sin(x)).max() < 0.1)
    True
    """

    # A class attribute: models that were pickled without a history have it, too.
    history_: History | None = None

    def __init__(
        self,
        layers_dim: Iterable[int],
        *,
        activation: str | Sequence[str] = "tanh",
        output_activation: str = "tanh",
        backend: str = "numba",
        dtype: Any = np.float64,
        random_state: int | np.random.RandomState | None = None,
        loss: str | Loss = "softmax_cross_entropy",
        dropout: float | Sequence[float] = 0.0,
        batch_norm: bool = False,
        init: str = "tutorial",
    ) -> None:
        self._network = Network.create(
            layers_dim, activation, output_activation, dtype, loss, batch_norm, dropout
        )
        random = resolve_random_state(random_state)
        self.backend = check_choice(backend, "backend", BACKENDS)
        get_backend(backend)  # raises where the backend cannot run
        self._parameters = self._network.draw_parameters(random, init)
        self._statistics = self._network.initial_statistics()

    @classmethod
    def _sharing(cls, network: Network, parameters: NDArray[Any], statistics: NDArray[Any]) -> Model:
        """Return a model that shares its arrays with others."""
        model = cls.__new__(cls)
        model._network, model.backend = network, "numba"
        model._parameters, model._statistics = parameters, statistics
        return model

    def train(
        self,
        X: ArrayLike,
        y: ArrayLike,
        num_passes: int = 20000,
        epsilon: float = 0.01,
        reg_lambda: float = 0.01,
        print_loss: bool = False,
        *,
        print_every: int | None = None,
        batch_size: int | None = None,
        optimizer: str | Optimizer = "sgd",
        schedule: str | Schedule | Callable[[int], float] = "constant",
        reduction: str = "sum",
        shuffle: bool = True,
        sample_weight: ArrayLike | None = None,
        l1: float = 0.0,
        max_norm: float | None = None,
        clip_norm: float | None = None,
        ema_decay: float | None = None,
        n_threads: int = 1,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        callbacks: Iterable[Callable[[History], Any] | EarlyStopping] = (),
        progress: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> History:
        """Train the network, from the present parameters.

        A step computes the gradient of the batch's summed or mean loss, adds ``reg_lambda * W`` and
        ``l1 * sign(W)`` to that of the weights, and hands the result to the optimizer. By default it is
        the tutorial's gradient descent: every pass is one step on all samples, and since the gradient is
        a sum, the rate that suits a data set falls with its size.

        Parameters
        ----------
        X : array-like (n, layers_dim[0])
            Samples: numbers of any real dtype, converted to the model's.
        y : array-like (n,) or (n, layers_dim[-1])
            For the losses of labels, integers 0 .. layers_dim[-1] - 1; for the others a target for every
            output, in one dimension if there is one output.
        num_passes : int, default 20000
            Number of passes over the data.
        epsilon : float, default 0.01
            Learning rate.
        reg_lambda : float, default 0.01
            Strength of the L2 regularisation of the weights.
        print_loss : bool, default False
            Print ``Loss after iteration %i: %f`` after pass 0 and every `print_every` passes from there.
        print_every : int, optional
            Passes from one printed loss to the next, at least 1. A number turns printing on by itself; 1000
            with `print_loss` alone.
        batch_size : int, optional
            Samples of a step; the last batch of a pass has what is left. By default all samples.
        optimizer : str or Optimizer, default "sgd"
            "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw" or "lbfgs", or an object
            as ``fastnn.Adam(betas=(0.9, 0.99))``.
        schedule : str, Schedule or function, default "constant"
            Factor of `epsilon` at every step: "constant", "step_decay", "exponential_decay",
            "inverse_time_decay", "cosine_decay", "warm_up" or "one_cycle", an object as
            ``fastnn.WarmUp(fastnn.CosineDecay())``, or a function of the step's number.
        reduction : {"sum", "mean"}, default "sum"
            Make a batch's loss the weighted sum of its samples' losses, or their weighted mean.
        shuffle : bool, default True
            Take the samples in a new order in every pass, where batches are not the whole data.
        sample_weight : array-like (n,), optional
            Weights of the samples, not below 0; a weight of 2 is as good as the sample twice. By default 1.
        l1 : float, default 0.0
            Strength of the L1 regularisation of the weights.
        max_norm : float, optional
            Largest norm of the weights into a unit; they are scaled down to it after every step.
        clip_norm : float, optional
            Largest norm of a batch's gradient, which is scaled down to it.
        ema_decay : float, optional
            Keep an average of the parameters, ``average = ema_decay * average + (1 - ema_decay) *
            parameters`` after every step, and leave it in the model at the end (Polyak & Juditsky, 1992).
            Validation data are judged by it too.
        n_threads : int, default 1
            Threads that share a step where it has work for them, from about 0.1 ms on. The result has the
            same bits for any number.
        validation_data : (X, y), optional
            Data whose loss is computed after every pass that the history keeps.
        callbacks : iterable, optional
            Functions of the `History` so far, called about 20 times a second, and with validation data after
            every pass that is kept; one that returns True ends the training. And at most one
            `EarlyStopping`.
        progress : bool, default False
            Show a bar with loss, rate and samples a second.
        random_state : None, int or numpy.random.RandomState, default None
            Generator of the orders of the samples and of the masks of dropout. None is NumPy's global
            generator, which is only used if there is something to draw.

        Returns
        -------
        History
            Losses, rates, norms of gradients, and ratios of updates; also in `history_`, even where an error
            or an interrupt ends the training.

        Warns
        -----
        UserWarning
            If gradient descent on the sum over many samples has not lowered the loss to a quarter, and a
            trial of at most 1000 passes, some 0.1 s, lowers it far more with a lower rate, which the warning
            names.

        Raises
        ------
        ValueError
            If X holds NaN or infinity, shapes do not fit, labels, targets or numbers are out of range, names
            are not known, or options exclude each other. The model is then unchanged.
        DivergenceError
            If a parameter, a running statistic, the optimizer's state or the last loss is no longer finite.
            The model holds the last finite parameters.
        KeyboardInterrupt
            Within a fraction of a second of Ctrl-C. The model holds the parameters of the last step.
        """
        network = self._network
        X, y = self._check(X, y)
        weights = check_weights(sample_weight, X.shape[0])
        chosen = resolve_optimizer(optimizer)
        n_samples = X.shape[0]
        size = n_samples if batch_size is None else min(check_count(batch_size, "batch_size", 1), n_samples)
        job = Job(
            X, y, weights,
            num_passes=check_count(num_passes, "num_passes"),
            batch_size=size,
            averaged=check_choice(reduction, "reduction", ("sum", "mean")) == "mean",
            shuffled=check_flag(shuffle, "shuffle") and size < n_samples,
            optimizer=chosen,
            schedule=resolve_schedule(schedule),
            epsilon=check_rate(epsilon, "epsilon"),
            reg_lambda=check_rate(reg_lambda, "reg_lambda"),
            l1=check_rate(l1, "l1"),
            max_norm=check_limit(max_norm, "max_norm"),
            clip_norm=check_limit(clip_norm, "clip_norm"),
            average_share=check_decay(ema_decay),
            record_every=record_every(check_count(num_passes, "num_passes")),
            n_threads=check_count(n_threads, "n_threads", 1),
        )  # fmt: skip
        if isinstance(chosen, LBFGS):
            check_lbfgs(network, job)
        validation = self._check_validation(validation_data)
        functions, hooks, stopping = sort_callbacks(callbacks, validation is not None)
        print_loss, progress = check_flag(print_loss, "print_loss"), check_flag(progress, "progress")
        if print_every is not None:
            print_every = check_count(print_every, "print_every", 1)
        elif print_loss:
            print_every = PRINT_EVERY
        # Refuse a schedule that gives no rate before anything changes.
        job.rates(np.zeros(1, np.int64))
        self._make_writeable()
        if not all_finite(self._parameters):
            raise ValueError("W or b holds NaN or infinity: set finite values before training")
        if not all_finite(self._statistics):
            raise ValueError("batch_norm holds NaN or infinity: set finite values before training")
        random = resolve_random_state(random_state)
        generator = None
        if job.shuffled or network.dropout:
            high, low = random.randint(0, 2**32, 2, np.uint64).tolist()
            job = replace(job, seed=(high << 32) | low)
            generator = generator_state(seeded([high, low]))
        return train_model(
            self, job, generator, validation, stopping, functions, hooks, print_every, progress
        )

    def check_gradients(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        n_samples: int = 30,
        n_points: int = 3,
        n_parameters: int = 100,
        random_state: int | np.random.RandomState | None = 0,
    ) -> GradientReport:
        """Compare the gradient that the training uses with difference quotients of the loss.

        The check runs in float64, at the present parameters and at points that a few steps of training lead
        to, and leaves the model unchanged (CS231n, "Neural Networks Part 3", section on gradient checks).

        Parameters
        ----------
        X : array-like (n, layers_dim[0])
            Samples.
        y : array-like (n,) or (n, layers_dim[-1])
            Labels or targets, as in `train`.
        sample_weight : array-like (n,), optional
            Weights of the samples.
        n_samples : int, default 30
            Most samples to check with, chosen at random. Few samples have few kinks.
        n_points : int, default 3
            Number of points.
        n_parameters : int, default 100
            Most parameters of an array to check at a point, chosen at random.
        random_state : None, int or numpy.random.RandomState, default 0
            Generator of these choices and of dropout's masks, which stay fixed.

        Returns
        -------
        GradientReport
            `max_relative_error` is below 1e-7 for a right gradient. Printed, the report has a line for each
            array of parameters. Parameters at kinks, as of relu, are reported and not counted.

        Raises
        ------
        ValueError
            As `train` does.

        Examples
        --------
        >>> import fastnn
        >>> model = fastnn.Model([2, 3, 2], random_state=0)
        >>> report = model.check_gradients([[0.0, 1.0], [1.0, -1.0]], [0, 1])
        >>> report.max_relative_error < 1e-7
        True
        """
        X, y = self._check(X, y)
        random = resolve_random_state(random_state)
        return check_gradients(
            get_backend(self.backend), self._network, self._parameters, self._statistics, X, y,
            check_weights(sample_weight, X.shape[0]), check_count(n_samples, "n_samples", 1),
            check_count(n_points, "n_points", 1), check_count(n_parameters, "n_parameters", 1),
            int(random.randint(0, 2**31)),
        )  # fmt: skip

    def _decision_networks(self) -> DecisionNetworks:
        """Return the network, and the classes that its scores decide between."""
        network, loss, classes, n_labels = self._network, self.loss, None, 0
        if loss.of_labels:
            classes = np.arange(network.n_outputs)
        elif loss.output == "sigmoid":
            classes, n_labels = np.arange(2), network.n_outputs if network.n_outputs > 1 else 0
        members = [(network, self._predicting)]
        return DecisionNetworks(members, classes, n_labels, backend=self.backend)

    def _check_validation(self, data: Any) -> Samples | None:
        if data is None:
            return None
        if not (isinstance(data, tuple | list) and len(data) == 2):
            raise ValueError(f"validation_data must be the two of (X, y), got {type(data).__name__}")
        X, y = self._check(data[0], data[1], suffix=" of validation_data")
        return Samples(X, y, np.ones(X.shape[0]))

    def __repr__(self) -> str:
        """Return the call that describes the network."""
        network = self._network
        hidden, output = network.activations[:-1], network.activations[-1]
        parts = [str(list(network.layers_dim))]
        if hidden:
            named = hidden[0] if len(set(hidden)) == 1 else list(hidden)
            parts.append(f"activation={named!r}")
        parts.append(f"output_activation={output!r}")
        if network.loss != SoftmaxCrossEntropy():
            parts.append(f"loss={network.loss!r}")
        if network.dropout:
            parts.append(f"dropout={list(network.dropout)}")
        if network.batch_norm:
            parts.append("batch_norm=True")
        parts += [f"backend={self.backend!r}", f"dtype={network.dtype}"]
        return f"Model({', '.join(parts)})"
