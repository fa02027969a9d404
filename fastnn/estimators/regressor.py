"""MLPRegressor: a network that predicts one or several numbers per sample."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if

from ..losses import LOSSES, REGRESSION_LOSSES, Loss, Quantile
from ..system.sklearn_internals import Interval, StrOptions, fit_context
from ..system.validation import Array, short_repr
from ..system.words import translate_arguments
from .base import BaseMLP
from .fitting import FitOptions, fit_network
from .online import try_online_steps
from .parameters import ATTRIBUTES_DOC, CONSTRAINTS, PARAMETERS_DOC
from .samples import Samples
from .scores import Score, make_r2
from .solvers import is_stochastic
from .targets import NumberTargets, Weights
from .weights import make_from_weights


class MLPRegressor(NumberTargets, RegressorMixin, BaseMLP):
    __doc__ = (
        """A multilayer network for numbers: scikit-learn's MLPRegressor with additions.

    Parameters
    ----------
    loss : str or Loss, default "squared_error"
        "squared_error", "absolute_error", "huber", "quantile", "poisson", or an object such as
        ``fastnn.Huber(delta=0.5)``. "poisson" is for targets of at least 0; predictions are then the
        exponential of the score."""
        + PARAMETERS_DOC.rstrip()
        + """
    quantile : float, default 0.5
        Quantile that a network with the loss "quantile" predicts, above 0 and below 1. With 0.9, nine of ten
        targets lie below the prediction.

    Attributes
    ----------"""
        + ATTRIBUTES_DOC.rstrip()
        + """

    Notes
    -----
    The notes of `MLPClassifier` apply, except for `decision_function`. The solver "lbfgs" has no
    `partial_fit`.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> regressor = fastnn.MLPRegressor(learning_rate_init=0.05, max_iter=400, random_state=0).fit(X, y)
    >>> bool(regressor.score(X, y) > 0.5)
    True
    """
    )

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **CONSTRAINTS,
        "loss": [StrOptions(set(REGRESSION_LOSSES)), Loss],
        "quantile": [Interval(numbers.Real, 0, 1, closed="neither")],
    }

    @translate_arguments
    def __init__(
        self,
        loss="squared_error",
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        dropout=0.0,
        batch_norm=False,
        weight_decay=None,
        max_grad_norm=None,
        ema_decay=None,
        scoring=None,
        n_threads=None,
        init=None,
        ties="earliest",
        quantile=0.5,
    ):
        self._store_arguments(locals())

    @classmethod
    def from_weights(
        cls, coefs: Iterable[ArrayLike], intercepts: Iterable[ArrayLike], **parameters: Any
    ) -> Self:
        """Create a fitted regressor from weights, such as another library's or the mean of several fits.

        Parameters
        ----------
        coefs : list of array (n_in, n_out)
            Weights of the layers.
        intercepts : list of array (n_out,)
            Biases of the layers.
        **parameters
            Parameters of the regressor, such as `activation`; by default `hidden_layer_sizes` is what the
            arrays say.

        Returns
        -------
        MLPRegressor
            Regressor that predicts; `partial_fit`, and `fit` with ``warm_start=True``, train it further.

        Raises
        ------
        ValueError
            If the arrays do not fit each other, or hold anything but numbers.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> fastnn.MLPRegressor.from_weights([np.array([[2.0]])], [np.ones(1)]).predict([[3.0]])
        array([7.])
        """
        return make_from_weights(cls, coefs, intercepts, parameters, {})

    def _validate_params(self) -> None:
        if isinstance(self.loss, list | tuple | numbers.Integral):
            raise ValueError(
                f"the first argument is the loss, as in scikit-learn, got {short_repr(self.loss)}: write "
                f"hidden_layer_sizes={short_repr(self.loss)}"
            )
        super()._validate_params()

    # --- fitting -----------------------------------------------------------------------------------

    @available_if(is_stochastic)
    @try_online_steps
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: object, y: object, sample_weight: Weights = None) -> MLPRegressor:
        """Train for one more epoch on X and y.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            Samples.
        y : array-like (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like (n_samples,), optional
            Weights of the samples.

        Returns
        -------
        MLPRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            For the reasons of `fit`, or if `early_stopping` is True.
        """
        fit_network(self, X, y, sample_weight, options=FitOptions(n_passes=1))
        return self

    def _encode(self, y: Array, dtype: np.dtype) -> Array:
        return self._make_loss().check(y, y.shape[0], self.n_outputs_, dtype)

    def _make_loss(self) -> Loss:
        if isinstance(self.loss, Loss):
            if self.loss.of_labels:
                raise ValueError(f"loss={self.loss!r} is for classes: use MLPClassifier")
            return self.loss
        return Quantile(float(self.quantile)) if self.loss == "quantile" else LOSSES[self.loss]()

    def _make_score(self, data: Samples) -> Score:
        return make_r2(data.given_y, data.given_weights, self._state.network.dtype)

    # --- predicting --------------------------------------------------------------------------------

    def predict(self, X: object) -> Array:
        """Predict one or several numbers per sample.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            Samples.

        Returns
        -------
        array (n_samples,) or (n_samples, n_outputs)
            Predictions.
        """
        return self._compute_predictions(self._check_input(X), "predict")

    def _choose_output(self, method: str) -> tuple[str | None, Callable[[Array], Array]]:
        output = self._state.network.loss.output
        return output, _take_column if self.n_outputs_ == 1 else np.copy


def _take_column(S: Array) -> Array:
    return S[:, 0].copy()
