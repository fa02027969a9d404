"""Model: the tutorial's network, and everything it leaves as exercises."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .engine.backends import BACKENDS, Job, Memory, Trainer, get_backend
from .engine.predictor import Predictor, check_method, positive
from .losses import Loss, SoftmaxCrossEntropy
from .network.description import Network
from .optimizers import LBFGS, Optimizer, resolve_optimizer
from .schedules import Constant, Schedule, resolve_schedule
from .system.generators import generator_state, resolve_random_state, seeded
from .system.messages import warn
from .system.validation import (
    all_finite,
    check_choice,
    check_count,
    check_flag,
    check_limit,
    check_number,
    check_parameters,
    check_rate,
    check_samples,
    check_weights,
    shown,
)
from .training.gradcheck import GradientReport, check_gradients
from .training.hints import may_be_too_high, rate_hint
from .training.loop import PRINT_EVERY, EarlyStopping, History, Watch, record_every, run_training

__all__ = ["LiveViews", "Model"]


class BatchNorm(NamedTuple):
    """The batch normalisation of a layer: views of what it has learned."""

    scale: NDArray[Any]
    shift: NDArray[Any]
    running_mean: NDArray[Any]
    running_variance: NDArray[Any]


class Model:
    """A multilayer network, trained by gradient descent and its relatives.

    Every layer computes ``activation(X W + b)``. The outputs of the last layer are the scores of a sample,
    which the loss compares with its target. The defaults are the tutorial's network (see Notes): tanh in
    every layer, the output layer included, and softmax over the scores.

    Parameters
    ----------
    layers_dim : sequence of int
        Number of inputs, of the units of every hidden layer, and of outputs, as ``[2, 3, 2]``.
    activation : str or list of str, default "tanh"
        Of the hidden layers, one for all or one for each: "identity", "sigmoid", "tanh", "relu",
        "leaky_relu", "elu", "selu", "gelu" (the approximation by tanh), "silu", "mish" or "softplus".
    output_activation : str, default "tanh"
        Of the output layer. The tutorial's network has "tanh" there. "identity" makes the textbook's
        network, which has no activation before softmax, and is the choice for regression.
    backend : {"numba", "numpy"}, default "numba"
        Compiled kernels, or the plain NumPy they are checked against.
    dtype : {numpy.float64, numpy.float32}, default float64
        Of the parameters and of all computation. float32 is about twice as fast.
    random_state : None, int or numpy.random.RandomState, default None
        Where the initial parameters are drawn from. None is NumPy's global generator, so that
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
        Whether the sums of the hidden layers are normalised over the batch before their activation (Ioffe
        & Szegedy, 2015), with PyTorch's eps 1e-5 and momentum 0.1. Predictions use running statistics.
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
        Biases, likewise.
    batch_norm : list of BatchNorm
        Of every hidden layer, if `batch_norm`: scale and shift (1, n_out), running_mean and
        running_variance (n_out,), likewise.
    layers_dim : tuple of int
    dtype : numpy.dtype
    loss : Loss
    backend : str
    history_ : History or None
        What `train` measured when it was last called, up to where it ended: also after Ctrl-C, a
        `DivergenceError`, or an error in a callback, when `train` returns nothing. None before the first
        training.

    Raises
    ------
    ValueError
        For arguments outside of what stands above.
    TypeError
        For layer sizes that are no integers.

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

    # In the class, so that models pickled without one have it too.
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
        get_backend(backend)  # what it cannot run on is told here
        self._parameters = self._network.draw_parameters(random, init)
        self._statistics = self._network.initial_statistics()

    @classmethod
    def _sharing(cls, network: Network, parameters: NDArray[Any], statistics: NDArray[Any]) -> Model:
        """A model on arrays that are somebody else's too."""
        model = cls.__new__(cls)
        model._network, model.backend = network, "numba"
        model._parameters, model._statistics = parameters, statistics
        return model

    @property
    def layers_dim(self) -> tuple[int, ...]:
        return self._network.layers_dim

    @property
    def dtype(self) -> np.dtype:
        return self._network.dtype

    @property
    def loss(self) -> Loss:
        return self._network.loss

    @property
    def batch_norm(self) -> list[BatchNorm]:
        return [
            BatchNorm(scale, shift, running[0], running[1])
            for scale, shift, running in zip(
                self._network.scales(self._parameters), self._network.shifts(self._parameters),
                self._network.running(self._statistics), strict=True,
            )
            if scale is not None and shift is not None and running is not None
        ]  # fmt: skip

    @property
    def W(self) -> Sequence[NDArray[Any]]:
        return LiveViews(self._network.weights(self._parameters), "W")

    @W.setter
    def W(self, values: Sequence[ArrayLike]) -> None:
        self._make_writeable()
        LiveViews(self._network.weights(self._parameters), "W")[:] = values

    @property
    def b(self) -> Sequence[NDArray[Any]]:
        return LiveViews(self._network.biases(self._parameters), "b")

    @b.setter
    def b(self, values: Sequence[ArrayLike]) -> None:
        self._make_writeable()
        LiveViews(self._network.biases(self._parameters), "b")[:] = values

    def _make_writeable(self) -> None:
        """Replace parameters that are read-only, as those of a memory-mapped pickle, by a copy."""
        for name in ("_parameters", "_statistics"):
            if not getattr(self, name).flags.writeable:
                setattr(self, name, getattr(self, name).copy())

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
        """Train from the present parameters.

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
            What times `epsilon` is the rate of a step: "constant", "step_decay", "exponential_decay",
            "inverse_time_decay", "cosine_decay", "warm_up" or "one_cycle", an object as
            ``fastnn.WarmUp(fastnn.CosineDecay())``, or a function of the step's number.
        reduction : {"sum", "mean"}, default "sum"
            Whether a batch's loss is the weighted sum of its samples' losses, or that divided by the sum
            of their weights.
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
            Where the orders of the samples and the masks of dropout come from. None is NumPy's global
            generator, which is asked only if there is something to draw.

        Returns
        -------
        History
            Losses, rates, norms of gradients, and ratios of updates. `history_` is the same, and has what was
            measured where a training ends by an error or an interrupt.

        Warns
        -----
        UserWarning
            Where gradient descent on the sum over many samples has not lowered the loss to a quarter, and a
            trial of at most 1000 passes with a lower rate, some 0.1 s, lowers it far more; with that rate.

        Raises
        ------
        ValueError
            For NaN or infinity in X, shapes that do not fit, labels or targets out of range, numbers out
            of range, names not known, options that do not go together. Nothing has changed then.
        DivergenceError
            Where a parameter, a running statistic or the optimizer's state is no longer finite, or the last
            loss is not. The model holds the last finite parameters.
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
            average_share=_check_decay(ema_decay),
            record_every=record_every(check_count(num_passes, "num_passes")),
            n_threads=check_count(n_threads, "n_threads", 1),
        )  # fmt: skip
        if isinstance(chosen, LBFGS):
            _check_lbfgs(network, job)
        validation = self._check_validation(validation_data)
        functions, stopping = _sort_callbacks(callbacks, validation is not None)
        print_loss, progress = check_flag(print_loss, "print_loss"), check_flag(progress, "progress")
        if print_every is not None:
            print_every = check_count(print_every, "print_every", 1)
        elif print_loss:
            print_every = PRINT_EVERY
        # A schedule that gives no rate is refused before anything changes.
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
        memory = Memory.fresh(network, self._parameters, job, generator)
        return self._run(job, memory, validation, functions, stopping, print_every, progress)

    def _run(
        self, job: Job, memory: Memory, validation: tuple[Any, Any, Any] | None,
        functions: list[Callable[[History], Any]], stopping: EarlyStopping | None,
        print_every: int | None, progress: bool,
    ) -> History:  # fmt: skip
        network, backend = self._network, get_backend(self.backend)
        optimizer = job.optimizer
        trainer = (
            None if isinstance(optimizer, LBFGS)
            else self._trainer(job, memory)
        )  # fmt: skip

        # What the model would hold if the training ended now.
        current = memory.average if job.average_share > 0 else self._parameters

        def loss_of(X: Any, y: Any, weights: Any) -> float:
            parameters = network.folded(current, self._statistics)
            return backend.loss(network, parameters, X, y, weights / weights.sum())

        # What a trial with a lower rate begins with, if the training turns out to have needed one.
        start = (self._parameters.copy(), self._statistics.copy()) if may_be_too_high(job) else None

        def remember(history: History) -> None:
            self.history_ = history

        best: list[NDArray[Any]] = []

        def keep() -> None:
            best[:] = current.copy(), self._statistics.copy()

        def score() -> float:
            assert stopping is not None
            assert validation is not None
            if stopping.scorer is None:
                return loss_of(*validation)
            looked_at = copy.copy(self)
            looked_at._parameters, looked_at._statistics = current.copy(), self._statistics.copy()
            X, y, _ = validation
            return -float(stopping.scorer(looked_at, X, _as_given(network, y)))

        watch = Watch(
            print_loss=(lambda: loss_of(job.X, job.y, job.weights)) if print_every else None,
            print_every=print_every or PRINT_EVERY,
            validate=(lambda: loss_of(*validation)) if validation else None,
            callbacks=functions,
            stopping=stopping,
            score=score if stopping else None,
            keep=keep,
            progress=progress,
            ended=remember,
        )
        if isinstance(optimizer, LBFGS):
            from .training.lbfgs import run_lbfgs

            history = run_lbfgs(backend, network, self._parameters, self._statistics, job, optimizer, watch)
        else:
            assert trainer is not None
            history = run_training(trainer, job, watch)
            if job.average_share > 0:
                self._parameters[...] = memory.average
        if best:
            self._parameters[...], self._statistics[...] = best
        if start is not None:
            hint = rate_hint(backend, network, *start, job, history)
            if hint is not None:
                warn(hint)
        return history

    def _trainer(self, job: Job, memory: Memory) -> Trainer:
        """What runs the steps of a training."""
        return get_backend(self.backend).trainer(
            self._network, self._parameters, self._statistics, job, memory
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

        It is done in float64 whatever the model's dtype, at the present parameters and at points that a
        few steps of training lead to; the model itself is not changed. (CS231n, "Neural Networks Part 3",
        section on gradient checks.)

        Parameters
        ----------
        X : array-like (n, layers_dim[0])
            Samples.
        y : array-like (n,) or (n, layers_dim[-1])
            Labels or targets, as in `train`.
        sample_weight : array-like (n,), optional
            Weights of the samples.
        n_samples : int, default 30
            Samples that are looked at: all if there are no more, else so many at random. With few of them
            few kinks come in the way.
        n_points : int, default 3
            Points that are looked at.
        n_parameters : int, default 100
            Parameters of an array that are looked at at a point: all if there are no more, else so many
            at random.
        random_state : None, int or numpy.random.RandomState, default 0
            Of that choice and of dropout's masks, which are held fixed.

        Returns
        -------
        GradientReport
            `max_relative_error` is below 1e-7 where all is well; shown, the report has a line for each
            array of parameters. Parameters at kinks of relu and its like are told apart and not counted.

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

    def calculate_loss(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Mean loss of the samples, without regularisation terms.

        Parameters
        ----------
        X : array-like (n, layers_dim[0])
        y : array-like (n,) or (n, layers_dim[-1])
            Labels or targets, as in `train`.
        sample_weight : array-like (n,), optional
            Weights of the samples in the mean.

        Returns
        -------
        float
            Computed so that it is finite for any finite scores. A loss that is not finite comes with a
            RuntimeWarning.

        Raises
        ------
        ValueError
            As `train` does.
        """
        X, y = self._check(X, y)
        weights = check_weights(sample_weight, X.shape[0])
        backend = get_backend(self.backend)
        loss = backend.loss(self._network, self._predicting, X, y, weights / weights.sum())
        if not math.isfinite(loss):
            warn(
                f"the loss is {loss}: the network's scores, or what the loss makes of them, are too large "
                f"for {self.dtype}. Scale X and y as they were in the training",
                RuntimeWarning,
            )
        return loss

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """What the network says of every sample.

        Parameters
        ----------
        X : array-like (n, layers_dim[0])

        Returns
        -------
        array (n,) of int64
            For the losses of labels: the class with the highest score, the first where several have it.
        array (n, layers_dim[-1]) of int64
            For sigmoid_binary_cross_entropy: 1 where the probability is above one half, else 0.
        array (n, layers_dim[-1]) of the model's dtype
            For the others: the outputs; for poisson the rates, exp of the scores.

        Raises
        ------
        ValueError
            For NaN or infinity in X, another number of features, no samples.
        """
        network = self._network
        X = check_samples(X, network.n_inputs, network.dtype)
        backend = get_backend(self.backend)
        if network.loss.of_labels:
            return backend.predict(network, self._predicting, X)
        if network.loss.output == "sigmoid":
            return positive(backend.outputs(network, self._predicting, X, "identity"))
        return backend.outputs(network, self._predicting, X, network.loss.output)

    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """The probability of every class for every sample.

        Parameters
        ----------
        X : array-like (n, layers_dim[0])

        Returns
        -------
        array (n, layers_dim[-1]) of the model's dtype
            Each row sums to 1; for sigmoid_binary_cross_entropy every entry is a probability by itself.

        Raises
        ------
        ValueError
            For NaN or infinity in X, another number of features, no samples; where the loss is one of
            regression.
        """
        network = self._network
        self._check_probabilistic()
        X = check_samples(X, network.n_inputs, network.dtype)
        return get_backend(self.backend).outputs(network, self._predicting, X, network.loss.output)

    def predictor(self, n_rows: int = 1, method: str = "predict") -> Predictor:
        """A function that predicts for so many samples in microseconds, for serving.

        Parameters
        ----------
        n_rows : int, default 1
            Samples of a call.
        method : {"predict", "predict_proba"}, default "predict"
            What it gives for them.

        Returns
        -------
        Predictor
            Of the parameters as they are now. It does not look for NaN and infinity in what it is given.
            It can be pickled and copied.

        Raises
        ------
        ValueError
            For another method, for "predict_proba" with a loss of regression, for n_rows below 1.

        Examples
        --------
        >>> import fastnn
        >>> predict = fastnn.Model([2, 3, 2], random_state=0).predictor()
        >>> predict([[0.5, -0.2]]).shape
        (1,)
        """
        network = self._network
        finish: Callable[[Any], Any] = np.copy
        output: str | None = network.loss.output
        if check_method(method) == "predict_proba":
            self._check_probabilistic()
        elif network.loss.of_labels:
            output = None
        elif output == "sigmoid":
            output, finish = "identity", positive
        return Predictor(self.backend, network, self._predicting, n_rows, output, finish)

    @property
    def _predicting(self) -> NDArray[Any]:
        """The parameters with batch normalisation folded in."""
        return self._network.folded(self._parameters, self._statistics)

    def _check_probabilistic(self) -> None:
        loss = self._network.loss
        if loss.output not in ("softmax", "sigmoid"):
            raise ValueError(f"a network with the loss {loss.name!r} has no probabilities: use predict")

    def _check(self, X: Any, y: Any, suffix: str = "") -> tuple[NDArray[Any], NDArray[Any]]:
        network = self._network
        X = check_samples(X, network.n_inputs, network.dtype, f"X{suffix}")
        return X, network.loss.check(y, X.shape[0], network.n_outputs, network.dtype, f"y{suffix}")

    def _check_validation(self, data: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None:
        if data is None:
            return None
        if not (isinstance(data, tuple | list) and len(data) == 2):
            raise ValueError(f"validation_data must be the two of (X, y), got {type(data).__name__}")
        X, y = self._check(data[0], data[1], suffix=" of validation_data")
        return X, y, np.ones(X.shape[0])

    def __repr__(self) -> str:
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


def _check_decay(value: Any) -> float:
    """The share of the parameters in their new average, 0 for no average."""
    return 0.0 if value is None else 1.0 - check_number(value, "ema_decay", 0.0, 1.0, exclusive_end=True)


def _check_lbfgs(network: Network, job: Job) -> None:
    """What L-BFGS cannot do, which is more than it can."""
    for name, value in (
        ("batch_size", job.batch_size < job.X.shape[0]),
        ("schedule", not isinstance(job.schedule, Constant)),
        ("l1", job.l1),
        ("max_norm", job.max_norm),
        ("clip_norm", job.clip_norm),
        ("ema_decay", job.average_share),
        ("dropout", network.dropout),
    ):
        if value:
            raise ValueError(
                f"optimizer 'lbfgs' works on all samples and a smooth function that stays the same, which "
                f"{name} is not made for: leave {name} out or choose another optimizer"
            )


def _sort_callbacks(callbacks: Any, has_validation: bool) -> tuple[list[Any], EarlyStopping | None]:
    """The functions among the callbacks, and the EarlyStopping."""
    try:
        given = list(callbacks)
    except TypeError:
        raise ValueError(f"callbacks must be a list, got {shown(callbacks)}: pass one in brackets") from None
    stoppings = [callback for callback in given if isinstance(callback, EarlyStopping)]
    functions = [callback for callback in given if not isinstance(callback, EarlyStopping)]
    for callback in functions:
        if not callable(callback) or isinstance(callback, type):
            raise ValueError(f"callbacks must be functions or an EarlyStopping(), got {shown(callback)}")
    if len(stoppings) > 1:
        raise ValueError("callbacks holds more than one EarlyStopping: leave one")
    if stoppings and not has_validation:
        raise ValueError("EarlyStopping watches validation data: pass validation_data=(X, y)")
    return functions, stoppings[0] if stoppings else None


def _as_given(network: Network, y: NDArray[Any]) -> NDArray[Any]:
    """Checked targets as a user would write them: labels as integers in one dimension."""
    return y[:, 0].astype(np.int64) if network.loss.of_labels else y


class LiveViews(list):
    """Views of the parameters; assigning to an item writes into the model instead of cutting it off.

    Parameters
    ----------
    views : iterable of array
        One a layer.
    name : str
        What the messages call the list.
    """

    def __init__(self, views: Iterable[NDArray[Any]], name: str) -> None:
        super().__init__(views)
        self._name = name

    def __setitem__(self, index: Any, value: Any) -> None:
        places = range(len(self))[index]
        if isinstance(places, int):
            places, values = range(places, places + 1), [value]
        else:
            try:
                values = list(value)
            except TypeError:
                raise ValueError(
                    f"{self._name} must be a list of {len(places)} arrays, one a layer, got {shown(value)}"
                ) from None
        if len(values) != len(places):
            raise ValueError(
                f"{self._name}: {len(places)} layers take {len(places)} arrays, got {len(values)}"
            )
        # Copies, which may come from the model itself, and all looked at before the first is written.
        checked = [
            check_parameters(new, self[k].shape, self[k].dtype, f"{self._name}[{k}]")
            for k, new in zip(places, values, strict=True)
        ]
        for k, new in zip(places, checked, strict=True):
            self[k][...] = new
