"""Model: the tutorial's network, with the extensions that the tutorial leaves as exercises."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .engine import BACKENDS, get_backend
from .engine.checks import check_data, explain_overflow
from .engine.derivatives import compute_jacobian
from .engine.predictor import METHODS, Predictor, label_flat, label_positive
from .engine.protocol import Passes
from .export.methods import Exportable
from .losses import Loss, SoftmaxCrossEntropy
from .network.decision import DecisionNetworks, refuse_override
from .network.description import Array, Network
from .network.views import BatchNorm, LiveViews, make_batch_norm_views
from .optimizers import Optimizer
from .saving.files import Savable
from .saving.types import check_type
from .schedules import Schedule
from .system.generators import resolve_random_state
from .system.messages import warn
from .system.notebooks import make_html_table
from .system.validation import check_choice, check_count, check_flag, check_rate, check_samples, check_weights
from .system.words import ForeignMethod, translate_arguments
from .training.callbacks import EarlyStopping
from .training.checkpoint import Checkpoint
from .training.history import History
from .training.loop import finish
from .training.model_training import train_in_chunks
from .training.options import REDUCTIONS, TrainOptions
from .training.state import TrainingState

if TYPE_CHECKING:
    from .export.description import ModelDescription
    from .training.gradcheck import GradientReport


class Model(Exportable, Savable):
    """A multilayer network, trained by gradient descent or one of its variants.

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
        Backend that computes: the compiled kernels, or the plain NumPy reference that the kernels are tested
        against.
    dtype : {numpy.float64, numpy.float32}, default float64
        Data type of the parameters and of all computation. float32 is about twice as fast.
    random_state : None, int or numpy.random.RandomState, default None
        Generator of the initial parameters. None is NumPy's global generator, so that
        ``np.random.seed(0)`` reproduces the tutorial's published run.
    rng : None, int or numpy.random.Generator, default None
        Seed or NumPy's newer generator, instead of `random_state`. A generator moves on by each call.
    loss : str or Loss, default "softmax_cross_entropy"
        "softmax_cross_entropy" or "multiclass_hinge" for labels; "sigmoid_binary_cross_entropy",
        "squared_error", "absolute_error", "huber", "quantile", "hinge" or "poisson" for targets (n, outputs).
        An object such as ``fastnn.Huber(delta=0.5)`` chooses a loss with other parameters than its defaults.
    dropout : float or list of float, default 0.0
        Dropout rate, at least 0 and below 1: the fraction of a layer's inputs that a training step sets to 0.
        One number holds for the outputs of all hidden layers; a list has one rate for the network's inputs
        and one for each hidden layer (Srivastava et al., "Dropout", 2014). The remaining inputs are scaled
        up in training, so that predictions need no scaling.
    batch_norm : bool, default False
        Normalise the sums of the hidden layers over the batch before their activation (Ioffe & Szegedy,
        2015), with PyTorch's eps 1e-5 and momentum 0.1. Predictions use running statistics.
    init : str, default "tutorial"
        Initial weights: "tutorial" (``randn / sqrt(n_in)``, biases ``randn``), "glorot_uniform",
        "glorot_normal", "he_uniform", "he_normal", "lecun_normal" or "orthogonal". All but "tutorial" set
        the biases to 0.

    Attributes
    ----------
    W : list of array (n_in, n_out)
        Weights of the layers, views of the live parameters: writing to a view changes the model. An array
        assigned by ``model.W[0] = ...`` or ``model.W = [...]`` must have the view's shape and hold real
        numbers within the range of the dtype; if one array of a list is refused, none is written. NaN and
        infinity may be assigned, but `train` refuses to start from them with a ValueError. After
        ``model.W[0].setflags(write=False)``, `train` and `Backprop.step` are refused.
    b : list of array (1, n_out)
        Biases of the layers, live views like `W`.
    batch_norm : list of BatchNorm
        Live views of each hidden layer's scale and shift (1, n_out), and running_mean and running_variance
        (n_out,); an empty list without batch normalisation.
    layers_dim : tuple of int
        Number of inputs, of the units of every hidden layer, and of outputs.
    dtype : numpy.dtype
        Data type of the parameters.
    loss : Loss
        Loss that the network is trained with.
    backend : str
        Name of the backend, "numba" or "numpy".
    history_ : History or None
        History of the last training, None before the first. It is set even if Ctrl-C, a `DivergenceError`
        or an error in a callback ended the training, so that `train` returned nothing.

    Raises
    ------
    ValueError
        If an argument is out of range or not one of the accepted names.
    TypeError
        If a layer size is not an integer.

    Notes
    -----
    The tutorial is Denny Britz's "Implementing a Neural Network from Scratch in Python" (WildML, 2015) in a
    multilayer version built from gates and layers. An output layer with tanh is unusual: its scores lie
    between -1 and 1, so that with two classes no probability exceeds ``1 / (1 + exp(-2))``, about 0.88.

    The tutorial's initialisation draws, layer by layer, first ``W = randn(n_in, n_out) / sqrt(n_in)`` and
    then ``b = randn(n_out)``.

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

    # Estimators share `save`, which is in `Savable`, and the exports `to_...`, which are in `Exportable`.

    # A model that has not been trained has these defaults.
    history_: History | None = None
    _training: TrainingState | None = None
    _views: tuple[list[Array], list[Array], Array] | None = None  # W and b that users have, of which array
    _is_flat = False  # True if the targets of the last training had one dimension
    evaluate, fit, score = ForeignMethod(), ForeignMethod(), ForeignMethod()
    forward, backward, step, zero_grad = ForeignMethod(), ForeignMethod(), ForeignMethod(), ForeignMethod()

    @translate_arguments
    def __init__(
        self,
        layers_dim: Iterable[int],
        *,
        activation: str | Sequence[str] = "tanh",
        output_activation: str = "tanh",
        backend: str = "numba",
        dtype: DTypeLike = np.float64,
        random_state: int | np.random.RandomState | None = None,
        rng: int | np.random.Generator | None = None,
        loss: str | Loss = "softmax_cross_entropy",
        dropout: float | Sequence[float] = 0.0,
        batch_norm: bool = False,
        init: str = "tutorial",
    ) -> None:
        self._network = Network.create(
            layers_dim, activation, output_activation, dtype, loss, batch_norm, dropout
        )
        random = resolve_random_state(random_state, rng)
        self.backend = check_choice(backend, "backend", BACKENDS)
        get_backend(backend)  # raises where the backend cannot run
        self._parameters = self._network.draw_parameters(random, init)
        self._statistics = self._network.make_statistics()

    @classmethod
    def _share(cls, network: Network, parameters: Array, statistics: Array) -> Model:
        model = cls.__new__(cls)
        model._network, model.backend = network, "numba"
        model._parameters, model._statistics = parameters, statistics
        return model

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not isinstance(vars(Model).get(name), ForeignMethod)]

    # --- parameters ------------------------------------------------------------------------------

    @property
    def layers_dim(self) -> tuple[int, ...]:
        """Number of inputs, of the units of every hidden layer, and of outputs."""
        return self._network.layers_dim

    @property
    def dtype(self) -> np.dtype:
        """Data type of the parameters and of all computation."""
        return self._network.dtype

    @property
    def loss(self) -> Loss:
        """Loss that a training minimises."""
        return self._network.loss

    @property
    def W(self) -> Sequence[Array]:
        """Weights (n_in, n_out) of the layers."""
        return LiveViews(self._keep_views()[0], "W")

    @W.setter
    def W(self, values: Sequence[ArrayLike]) -> None:
        self._make_writeable()
        LiveViews(self._keep_views()[0], "W")[:] = values

    @property
    def b(self) -> Sequence[Array]:
        """Biases (1, n_out) of the layers."""
        return LiveViews(self._keep_views()[1], "b")

    @b.setter
    def b(self, values: Sequence[ArrayLike]) -> None:
        self._make_writeable()
        LiveViews(self._keep_views()[1], "b")[:] = values

    @property
    def batch_norm(self) -> list[BatchNorm]:
        """Views of the batch normalisation of every hidden layer; empty without batch normalisation."""
        return make_batch_norm_views(self._network, self._parameters, self._statistics)

    def _keep_views(self) -> tuple[list[Array], list[Array], Array]:
        """Return the views W and b, the same until the parameters are another array: users set flags."""
        if self._views is None or self._views[2] is not self._parameters:
            network, parameters = self._network, self._parameters
            self._views = network.weights(parameters), network.biases(parameters), parameters
        return self._views

    @property
    def _predicting(self) -> Array:
        return self._network.fold_batch_norm(self._parameters, self._statistics)

    def _copy_with(self, parameters: Array, statistics: Array) -> Model:
        model = copy.copy(self)
        model._parameters, model._statistics = parameters.copy(), statistics.copy()
        return model

    def _make_writeable(self) -> None:
        """Replace read-only parameters, which a memory-mapped pickle has, by copies."""
        for name in ("_parameters", "_statistics"):
            if not getattr(self, name).flags.writeable:
                setattr(self, name, getattr(self, name).copy())
        self._check_flags()

    def _check_flags(self) -> None:
        """Raise ValueError if a user has made an array of `W` or `b` read-only."""
        if self._views is None or self._views[2] is not self._parameters:
            return
        for name, views in zip("Wb", self._views[:2], strict=True):
            for k, view in enumerate(views):
                if not view.flags.writeable:
                    raise ValueError(f"{name}[{k}] is read-only: {name}[{k}].setflags(write=True) frees it")

    # --- training --------------------------------------------------------------------------------

    @translate_arguments
    def train(
        self,
        X: ArrayLike,
        y: ArrayLike,
        num_passes: int = 20000,
        epsilon: float = 0.01,
        reg_lambda: float = 0.01,
        print_loss: bool | str = False,
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
        n_threads: int | None = 1,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        callbacks: Iterable[Callable[[History], Any] | EarlyStopping | Checkpoint] = (),
        progress: bool = False,
        random_state: int | np.random.RandomState | None = None,
        rng: int | np.random.Generator | None = None,
        resume: bool | str | os.PathLike[str] | Checkpoint | None = None,
    ) -> History:
        """Train the network, starting from its present parameters, or continue with an earlier training.

        A step computes the gradient of the batch's summed or mean loss, adds ``reg_lambda * W +
        l1 * sign(W)`` to the gradient of the weights, and passes the result to the optimizer. The default is
        the tutorial's gradient descent: an epoch is one step on all samples, and the gradient is a sum over
        the samples. The larger the data set, the lower the learning rate must therefore be.

        Parameters
        ----------
        X : array-like (n, layers_dim[0])
            Samples, numbers of any real dtype, which are converted to the model's dtype.
        y : array-like (n,) or (n, layers_dim[-1])
            Labels 0 .. layers_dim[-1] - 1 for "softmax_cross_entropy" and "multiclass_hinge"; the former also
            takes rows of fractions of the classes, of at least 0 which sum to 1. For the other losses one
            target per output. With one output, targets may have one dimension; the model's predictions then
            have one dimension, too.
        num_passes : int, default 20000
            Number of epochs, passes over the data.
        epsilon : float, default 0.01
            Learning rate, which the schedule multiplies by its factor at every step.
        reg_lambda : float, default 0.01
            Strength of the L2 regularisation of the weights. The weight decay of an optimizer, as in
            ``fastnn.SGD(weight_decay=0.01)``, also affects the biases.
        print_loss : bool or "objective", default False
            Print ``Loss after iteration %i: %f`` after epoch 0 and every `print_every` epochs from there:
            the mean loss of the samples, or with "objective" the sum of this loss and of the L2 penalty, as
            `calculate_loss` defines it.
        print_every : int, optional
            Number of epochs from one printed loss to the next, at least 1. A number turns printing on even
            without `print_loss`. By default 1000 if `print_loss` is True.
        batch_size : int, optional
            Number of samples in a step; the last batch of an epoch holds the remaining samples and may be
            smaller. By default all samples.
        optimizer : str or Optimizer, default "sgd"
            "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "lbfgs" or
            "levenberg_marquardt", or an object such as ``fastnn.Adam(betas=(0.9, 0.99))``.
        schedule : str, Schedule or function, default "constant"
            Factor of `epsilon` at every step: "constant", "step_decay", "exponential_decay",
            "inverse_time_decay", "cosine_decay", "cosine_log", "warm_up" or "one_cycle", an object
            such as ``fastnn.WarmUp(fastnn.CosineDecay())``, or a function of the step, counted from 0,
            or of the step and the number of steps: ``lambda step, total: 1 - step / total``.
        reduction : {"sum", "mean"}, default "sum"
            Definition of a batch's loss: the weighted sum of its samples' losses, or their weighted mean.
        shuffle : bool, default True
            Draw a new order of the samples for every epoch. No effect if a batch holds all samples.
        sample_weight : array-like (n,), optional
            Weights of the samples, not below 0; a weight of 2 has the effect of the sample occurring twice.
            By default all weights are 1.
        l1 : float, default 0.0
            Strength of the L1 regularisation of the weights.
        max_norm : float, optional
            Largest Euclidean norm of the weights into a unit. After every step, weights with a larger norm
            are scaled down to it. By default no limit.
        clip_norm : float, optional
            Largest Euclidean norm of a batch's gradient. A longer gradient is scaled down to it. By default
            no limit.
        ema_decay : float, optional
            Decay of a running average of the parameters, at least 0 and below 1. Every step computes
            ``average = ema_decay * average + (1 - ema_decay) * parameters``. At the end the model holds the
            average, which also predicts the validation data (Polyak & Juditsky, 1992). By default no average
            is kept.
        n_threads : int or None, default 1
            Largest number of threads that share a step. Steps shorter than 0.05 to 0.1 ms run on one thread.
            None takes as many threads as are fastest, which is measured during the training. The result is
            the same, bit for bit, for any number of threads.
        validation_data : (X, y), optional
            Data whose loss is computed after every epoch that the history keeps.
        callbacks : iterable, optional
            Functions that are called with the `History` so far about 20 times per second, with validation
            data also after every epoch that the history keeps. A function that returns True ends the
            training. At most one `EarlyStopping` may be among the callbacks. A `Checkpoint` saves the
            training to a file from time to time.
        progress : bool, default False
            Show a progress bar with the loss, the learning rate and the samples per second.
        random_state : None, int or numpy.random.RandomState, default None
            Generator of the sample orders and of the dropout masks. None is NumPy's global generator, which
            is used only if orders or masks are drawn.
        rng : None, int or numpy.random.Generator, default None
            Seed or NumPy's newer generator, instead of `random_state`. A generator moves on by each call.
        resume : bool, str, path or Checkpoint, optional
            Earlier training to continue with, instead of beginning a new one: True for this model's last
            training; the name of a file that a `Checkpoint` or `save` wrote; or a `Checkpoint`, which begins
            a new training if its file does not exist yet. The other arguments describe the whole training:
            `num_passes` counts all its epochs, and an integer `random_state` or `rng` is the earlier
            one. k epochs, resumed with ``num_passes=k + m``, give the same bits as k + m epochs at once,
            history, orders and masks included. With a schedule that depends on the length of the run, and
            for the history and early stopping beyond 1000 epochs (see `History`), this holds only if
            `num_passes` stays the same.

        Returns
        -------
        History
            Losses, learning rates, gradient norms and update ratios of the epochs. The attribute `history_`
            holds the same object, even after an error or an interrupt.

        Warns
        -----
        UserWarning
            If the learning rate seems too high for the gradient summed over the samples: the loss has not
            fallen to a quarter of its first value, and a trial with a lower rate (at most 1000 epochs, about
            0.1 s) lowers the loss far more. The warning names the lower rate. Also if the last loss is more
            than ten times the first, or if the activation of the outputs cannot reach some targets.

        Raises
        ------
        ValueError
            If X holds NaN or infinity, the shapes of X and y do not match the network, a label, target or
            number is out of range, a name is unknown, or options exclude each other; with `resume`, if a
            setting, the data or the seed differ from the earlier training: the message names all that differ.
            The model is then unchanged.
        FileNotFoundError
            If `resume` is the name of a file that does not exist.
        DivergenceError
            If a parameter, a running statistic, the optimizer's state or the last loss becomes infinite or
            NaN. The model then holds the last finite parameters.
        KeyboardInterrupt
            Within a fraction of a second after Ctrl-C. The model then holds the parameters of the last step.
        """
        told = {name: value for name, value in locals().items() if name not in ("self", "X", "y")}
        return finish(train_in_chunks(self, X, y, TrainOptions(**told)))

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
        rng: int | np.random.Generator | None = None,
    ) -> GradientReport:
        """Compare the network's gradient and the loss's slope, each with difference quotients.

        The check runs in float64, at the present parameters and at points reached by a few training steps
        from there. The model is unchanged (CS231n, "Neural Networks Part 3", section on gradient checks).

        Parameters
        ----------
        X : array-like (n, layers_dim[0])
            Samples.
        y : array-like (n,) or (n, layers_dim[-1])
            Labels or targets, as in `train`.
        sample_weight : array-like (n,), optional
            Weights of the samples.
        n_samples : int, default 30
            Largest number of samples to check with, chosen at random. The fewer samples, the fewer kinks of
            piecewise functions are met.
        n_points : int, default 3
            Number of points in the parameter space at which the gradient is checked.
        n_parameters : int, default 100
            Largest number of parameters of one array to check at a point, chosen at random.
        random_state : None, int or numpy.random.RandomState, default 0
            Generator of these choices and of the dropout masks, which are the same in all evaluations at a
            point.
        rng : None, int or numpy.random.Generator, default None
            Seed or NumPy's newer generator, instead of `random_state`.

        Returns
        -------
        GradientReport
            Report whose `max_relative_error` is below 1e-7 if the gradient is correct. Printed, the report
            has one line per parameter array, and one for the slope of the loss by the scores. Parameters and
            scores at a kink, such as relu's at 0, have no derivative to compare: the report gives their
            number and leaves them out of the error.

        Raises
        ------
        ValueError
            If X, y, `sample_weight` or a number is invalid, as for `train`.

        Examples
        --------
        >>> import fastnn
        >>> model = fastnn.Model([2, 3, 2], random_state=0)
        >>> report = model.check_gradients([[0.0, 1.0], [1.0, -1.0]], [0, 1])
        >>> report.max_relative_error < 1e-7
        True
        """
        from .training.gradcheck import check_gradients

        X, y = self._check(X, y)
        random = resolve_random_state(random_state, rng, default=0)
        return check_gradients(
            self,
            X,
            y,
            check_weights(sample_weight, X.shape[0]),
            check_count(n_samples, "n_samples", 1),
            check_count(n_points, "n_points", 1),
            check_count(n_parameters, "n_parameters", 1),
            int(random.randint(0, 2**31)),
        )

    # --- predictions -----------------------------------------------------------------------------

    def calculate_loss(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        reg_lambda: float = 0.0,
        reduction: str = "sum",
    ) -> float:
        """Compute the mean loss of the samples, by default without regularisation terms.

        Parameters
        ----------
        X : array-like (n, layers_dim[0])
            Samples.
        y : array-like (n,) or (n, layers_dim[-1])
            Labels or targets, as in `train`.
        sample_weight : array-like (n,), optional
            Weights of the samples in the mean.
        reg_lambda : float, default 0.0
            Strength of the L2 regularisation whose penalty is added, ``reg_lambda / 2`` times the sum of the
            squared weights.
        reduction : {"sum", "mean"}, default "sum"
            Loss that the penalty regularises, as in `train`. "sum" divides the penalty by the sum of the
            samples' weights, as the loss.

        Returns
        -------
        float
            Mean loss. The formulas give a finite loss for scores of ordinary size, however extreme the
            probabilities; a loss that overflows is accompanied by a RuntimeWarning.

        Raises
        ------
        ValueError
            If an argument is invalid, as for `train`.

        Examples
        --------
        >>> import fastnn
        >>> model = fastnn.Model([2, 3, 2], random_state=0)
        >>> data = [[0.0, 1.0], [1.0, 0.0]], [0, 1]
        >>> penalty = 0.01 / 2 * sum((W**2).sum() for W in model.W)
        >>> total = model.calculate_loss(*data, reg_lambda=0.01, reduction="mean")
        >>> bool(abs(total - model.calculate_loss(*data) - penalty) < 1e-12)
        True
        """
        reg_lambda = check_rate(reg_lambda, "reg_lambda")
        check_choice(reduction, "reduction", REDUCTIONS)
        X, y = self._check(X, y)
        weights = check_weights(sample_weight, X.shape[0])
        network, parameters = self._network, self._predicting
        compute = get_backend(self.backend).loss(network, X, y, weights / weights.sum())
        loss = compute(parameters)
        if not math.isfinite(loss):
            cause = explain_overflow(network, parameters) or (
                f"the network's scores, or the losses computed from them, are too large for {network.dtype}. "
                "Scale X and y as they were in the training"
            )
            warn(f"the loss is {loss}: {cause}", RuntimeWarning)
        return loss + network.compute_penalty(self._parameters, reg_lambda, reduction, float(weights.sum()))

    def predict(self, X: ArrayLike) -> Array:
        """Predict the class, the labels or the outputs of every sample.

        Parameters
        ----------
        X : array-like (n, layers_dim[0])
            Samples.

        Returns
        -------
        array (n,) of int64
            For "softmax_cross_entropy" and "multiclass_hinge": the class with the highest score, the first
            of several equal ones.
        array (n, layers_dim[-1]) of int64
            For "sigmoid_binary_cross_entropy": 1 where the probability is above one half, else 0.
        array (n, layers_dim[-1]) of the model's dtype
            For the other losses: the outputs; for "poisson" the rates, the exponential of the scores. After
            a training with targets of one dimension, predictions have the shape (n,).

        Raises
        ------
        ValueError
            If X holds NaN or infinity, has another number of features or no samples.
        """
        return self._predict(X, "predict")

    def predict_proba(self, X: ArrayLike) -> Array:
        """Predict the probability of every class for every sample.

        Parameters
        ----------
        X : array-like (n, layers_dim[0])
            Samples.

        Returns
        -------
        array (n, layers_dim[-1]) of the model's dtype
            Probabilities. Each row sums to 1, except for "sigmoid_binary_cross_entropy", where every entry
            is an independent probability. After a training with targets of one dimension, the shape is (n,).

        Raises
        ------
        ValueError
            If X holds NaN or infinity, has another number of features or no samples, or if the loss is for
            regression.
        """
        return self._predict(X, "predict_proba")

    def predictor(self, n_rows: int = 1, method: str = "predict") -> Predictor:
        """Return a function that predicts `n_rows` samples within microseconds, for serving.

        Parameters
        ----------
        n_rows : int, default 1
            Number of samples in every call.
        method : {"predict", "predict_proba"}, default "predict"
            Method whose results the function returns.

        Returns
        -------
        Predictor
            Function with a copy of the present parameters, which can be pickled and copied. The function
            does not check X for NaN and infinity.

        Raises
        ------
        TypeError
            If a subclass overrides `predict` or `predict_proba`.
        ValueError
            If `method` is unknown, or "predict_proba" although the loss is for regression, or if `n_rows` is
            below 1.

        Examples
        --------
        >>> import fastnn
        >>> predict = fastnn.Model([2, 3, 2], random_state=0).predictor()
        >>> predict([[0.5, -0.2]]).shape
        (1,)
        """
        refuse_override(self)
        output, finish = self._choose_output(check_choice(method, "method", METHODS))
        return Predictor(self.backend, self._network, self._predicting, n_rows, output, finish or np.copy)

    def jacobian(self, X: ArrayLike, *, of: str = "scores") -> Array:
        """Compute the derivatives of the scores, or of the probabilities, by the inputs.

        Parameters
        ----------
        X : array-like (n, layers_dim[0])
            Samples.
        of : {"scores", "probabilities"}, default "scores"
            What is differentiated: the outputs of the last layer, or what `predict_proba` computes from them.

        Returns
        -------
        array (n, layers_dim[-1], layers_dim[0]) of the model's dtype
            Derivative of every output by every input, for every sample.

        Raises
        ------
        ValueError
            If X is invalid, as for `predict`, or "probabilities" is asked of a network that has none.

        Examples
        --------
        >>> import fastnn
        >>> model = fastnn.Model([3, 5, 2], random_state=0)
        >>> model.jacobian([[0.5, -0.2, 1.0]]).shape
        (1, 2, 3)
        """
        output: str | None = "identity"
        if check_choice(of, "of", ("scores", "probabilities")) == "probabilities":
            output, _ = self._choose_output("predict_proba")
        X = check_samples(X, self._network.n_inputs, self._network.dtype)
        passes = self._take_passes()
        result = compute_jacobian(passes, X, output or "identity")
        self._spare_passes = passes
        return result

    def layer_outputs(self, X: ArrayLike) -> list[Array]:
        """Compute the outputs of every layer, the hidden ones included.

        Parameters
        ----------
        X : array-like (n, layers_dim[0])
            Samples.

        Returns
        -------
        list of array (n, units) of the model's dtype
            Outputs of the layers as `predict` computes them, without dropout and with running statistics; the
            last are the scores.

        Raises
        ------
        ValueError
            If X is invalid, as for `predict`.

        Examples
        --------
        >>> import fastnn
        >>> model = fastnn.Model([2, 3, 2], random_state=0)
        >>> [A.shape for A in model.layer_outputs([[0.5, -0.2]])]
        [(1, 3), (1, 2)]
        """
        X = check_samples(X, self._network.n_inputs, self._network.dtype)
        passes = self._take_passes()
        outputs = passes.layer_outputs(X)
        self._spare_passes = passes
        return outputs

    def _take_passes(self) -> Passes:
        """Return the passes of the network that predicts: the last call's, unless another thread has them."""
        passes: Passes | None = self.__dict__.pop("_spare_passes", None)
        if passes is None or passes.parameters is not self._parameters:
            backend, given = get_backend(self.backend), (self._network, self._parameters, self._statistics)
            passes = backend.passes(*given, frozen=True)
        return passes

    def _choose_output(self, method: str) -> tuple[str | None, Callable[[Any], Any] | None]:
        """Return the name of the output for `method`, None for classes, and what finishes the prediction."""
        loss = self._network.loss
        if loss.of_labels and method == "predict":
            return None, None
        flatten = np.ndarray.flatten if self._is_flat else None
        if method == "predict_proba":
            if loss.output not in ("softmax", "sigmoid"):
                raise ValueError(f"a network with the loss {loss.name!r} has no probabilities: use predict")
            return loss.output, flatten
        if loss.output == "sigmoid":
            return "identity", label_flat if flatten else label_positive
        return loss.output, flatten

    def _predict(self, X: Any, method: str) -> Array:
        network = self._network
        output, finish = self._choose_output(method)
        X = check_samples(X, network.n_inputs, network.dtype)
        outputs = get_backend(self.backend).outputs(network, self._predicting, X, output)
        return outputs if finish is None else finish(outputs)

    def _check(self, X: Any, y: Any) -> tuple[Array, Array]:
        return check_data(self._network, X, y)

    # --- what pictures, exports, files and pickles read ------------------------------------------

    def _decision_networks(self) -> DecisionNetworks:
        network, loss, classes, n_labels = self._network, self.loss, None, 0
        if loss.of_labels:
            classes = np.arange(network.n_outputs)
        elif loss.output == "sigmoid":
            classes, n_labels = np.arange(2), network.n_outputs if network.n_outputs > 1 else 0
        members = [(network, self._predicting)]
        return DecisionNetworks(members, classes, n_labels, backend=self.backend)

    def _description(self) -> ModelDescription:
        from .export.description import FitRecord, describe

        refuse_override(self)
        loss, losses = self.loss, () if self.history_ is None else tuple(self.history_.loss)
        kind = "classes" if loss.of_labels else "labels" if loss.output == "sigmoid" else "numbers"
        classes = np.arange(self._network.n_outputs) if loss.of_labels else None
        member = self._network, self._predicting, FitRecord(losses, len(losses))
        return describe(type(self).__name__, kind, [member], classes=classes)

    def _get_saved_state(self, training: bool) -> dict[str, Any]:
        return {
            "network": self._network,
            "backend": self.backend,
            "parameters": self._parameters,
            "statistics": self._statistics,
            "is_flat": self._is_flat,
            "history": self.history_ if training else None,
            "training": self._training if training else None,
        }

    def _get_networks(self) -> tuple[list[Any], list[Any]]:
        return [self._network], [] if self._training is None else [self._training]

    def __getstate__(self) -> dict[str, Any]:
        return self._get_saved_state(training=True)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._network = network = state["network"]
        self.backend = check_choice(state["backend"], "backend", BACKENDS)
        get_backend(self.backend)  # raises where the backend cannot run
        self._parameters, self._statistics = network.check_vectors(state["parameters"], state["statistics"])
        self._is_flat = check_flag(state["is_flat"], "is_flat")
        check_type(state["history"], History | None, "history")
        if state["history"] is not None:
            self.history_ = state["history"]
        if state["training"] is not None:
            self._training = state["training"]
            self._training.check(network)

    def __repr__(self) -> str:
        """Return the call that describes the network."""
        network = self._network
        hidden, output = network.activations[:-1], network.activations[-1]
        fields = [str(list(network.layers_dim))]
        if hidden:
            named = hidden[0] if len(set(hidden)) == 1 else list(hidden)
            fields.append(f"activation={named!r}")
        fields.append(f"output_activation={output!r}")
        if network.loss != SoftmaxCrossEntropy():
            fields.append(f"loss={network.loss!r}")
        if network.dropout:
            fields.append(f"dropout={list(network.dropout)}")
        if network.batch_norm:
            fields.append("batch_norm=True")
        fields += [f"backend={self.backend!r}", f"dtype={network.dtype}"]
        return f"Model({', '.join(fields)})"

    def _repr_html_(self) -> str:
        activations, sizes = self._network.activations, self._network.shapes
        rows = [
            (k, *shape, name, shape[0] * shape[1] + shape[1])
            for k, (shape, name) in enumerate(zip(sizes, activations, strict=True))
        ]
        names = ("layer", "inputs", "units", "activation", "weights and biases")
        return make_html_table(repr(self), names, rows)
