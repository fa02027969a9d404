"""TabularClassifier and TabularRegressor: predictions from tables as they are, with sensible defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from ..estimators.classifier import MLPClassifier
from ..estimators.regressor import MLPRegressor
from ..estimators.targets import check_class_weights, check_column, check_numbers, check_texts
from ..losses import Quantile
from ..system.sklearn_internals import StrOptions
from ..system.validation import Array, check_weights
from .base import Tabular
from .calibration import (
    check_quantiles,
    compute_probabilities,
    compute_shifts,
    fit_temperature,
    log_loss,
    predict_held_out,
)

if TYPE_CHECKING:
    from ..system.frames import TableLike
    from .members import Member

# Least range of targets: squares of smaller differences lose digits, or vanish.
MIN_RANGE = 1e-150

_PARAMETERS = """
    n_estimators : int, optional
        Number of networks; by default as the preset says.
    preset : {"fast", "good", "best"}, default "good"
        Size and number of the networks, one, five or ten large ones, and length of their training.
    scoring : str or callable, optional
        Score by which every network's epoch is chosen: a scorer of scikit-learn; by default, or with "loss",
        the loss of the validation rows. Both are weighted by row weights times class weights, where a scorer
        takes `sample_weight`.
    time_limit : float, optional
        Longest time of `fit` in seconds. A network that runs out of time keeps its best epoch, and results
        then depend on the machine. An epoch that has begun is finished."""

_MORE_PARAMETERS = """
    n_jobs : int, optional
        Number of threads that fit the networks, by default the number of cores; with a backend of joblib,
        chosen by ``joblib.parallel_config``, its number of jobs, as for `fit_many`.
    random_state : None, int or RandomState, default None
        Generator of the validation parts, the networks and their training.

    Attributes
    ----------
    columns_ : list of dict
        Record of every column, as in `TableEncoder`.
    encoder_ : TableEncoder
        Encoding of the table.
    estimators_ : list
        Fitted networks.
    importances_ : array (n_columns,)
        Mean increase of the networks' losses when the values of a column are shuffled, estimated on some of
        the rows that the networks were not trained on.
    oof_rows_ : array of int
        Rows of the training table or files, or of X_val, with out-of-fold predictions: predictions by
        networks that were not trained on them. Since the rows chose the networks' epochs, scores of small
        tables are slightly too good; `cross_val_score` of scikit-learn has no such advantage.
    fit_seconds_, fit_cpu_seconds_ : float
        Duration of the fit, and processor time of all cores.
    target_name_ : str or None
        Name of y, where y is a named column such as a pandas Series.
    groups_name_ : str or None
        Name of the groups, where they are a named column.
    reading_ : dict
        How ``fastnn train`` has read its CSV file: defaults of ``fastnn predict``. Other fits have none.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : array (n_features_in_,)
        Names of the columns, where X has names and all of them are text."""


class TabularClassifier(ClassifierMixin, Tabular):
    __doc__ = (
        """Classifier for tables of numbers, categories, dates, text and missing values.

    `TableEncoder` encodes the columns. Several networks are fitted side by side, each on other rows; the
    rows it is not trained on choose its best epoch. Probabilities are means over the networks, with a
    temperature fitted to out-of-fold predictions.

    Parameters
    ----------"""
        + _PARAMETERS
        + """
    class_weight : dict or "balanced", optional
        Weights of the classes, by which the sample weights are multiplied; "balanced" gives all classes the
        same sum of weights. By default all classes have the weight 1."""
        + _MORE_PARAMETERS
        + """
    classes_ : array (n_classes,)
        Classes, sorted.
    oof_prediction_ : array (len(oof_rows_), n_classes)
        Out-of-fold probabilities, each by a temperature fitted to other rows.
    temperature_ : float
        Number by which the networks' scores are divided.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> classifier = fastnn.TabularClassifier(preset="fast", random_state=0).fit(X, y)
    >>> bool(classifier.score(X, y) > 0.9)
    True
    """
    )

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        **Tabular._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    temperature_: float
    _SAVED: ClassVar = {
        "_majority": float,
        "classes_": np.ndarray,
        "oof_accuracy_": float,
        "oof_log_loss_": float,
        "temperature_": float,
    }
    _HAS_CLASSES: ClassVar[bool] = True

    def __init__(
        self,
        n_estimators=None,
        preset="good",
        *,
        scoring=None,
        time_limit=None,
        class_weight=None,
        n_jobs=None,
        random_state=None,
    ):
        self._store_arguments(locals())

    # --- fitting -----------------------------------------------------------------------------------

    def _check_y(self, y: ArrayLike, begins: bool) -> Array:
        y = check_column(self, y, begins)
        check_texts(y)
        check_classification_targets(y)
        if begins:
            self.classes_ = np.unique(y)
            if self.classes_.size < 2:
                only = self.classes_.tolist()[0]
                raise ValueError(f"y holds only one class, {only!r}: two classes are needed")
        elif len(new := np.setdiff1d(y, self.classes_)):
            raise ValueError(f"y_val holds classes that y does not hold: {new[:5].tolist()}")
        return y

    def _begin(self, y: Array, weights: Array) -> None:
        self.temperature_ = 1.0

    def _encode_y(self, y: Array) -> Array:
        return np.searchsorted(self.classes_, y)

    def _decode_y(self, y: Array) -> Array:
        return self.classes_[y]

    def _weigh_rows(self, y: Array, weights: Array) -> Array:
        if self.class_weight is None:
            return weights
        if self.class_weight == "balanced":
            factors = compute_sample_weight("balanced", y)
        else:
            factors = check_class_weights(self.class_weight, self.classes_)[np.searchsorted(self.classes_, y)]
        return check_weights(weights * factors, len(y))

    def _make_members(self, settings: dict[str, Any], seeds: Sequence[int]) -> list[Member]:
        members = []
        for seed in seeds:
            member = MLPClassifier(random_state=seed, **settings)
            # A network's rows may lack a class, but all networks have the outputs of all classes.
            member.classes_, member._has_labels = np.arange(len(self.classes_)), False
            members.append(member)
        return members

    def _calibrate(self, scores: Array, y: Array, weights: Array) -> None:
        self.temperature_ = fit_temperature(scores[0], y, weights)
        self.oof_prediction_ = predict_held_out(scores[0], y, weights, self.temperature_)

    def _score_held_out(self, weights: Array) -> None:
        P, y = self.oof_prediction_, self._oof_targets
        self.oof_accuracy_ = float(accuracy_score(y, P.argmax(axis=1), sample_weight=weights))
        self.oof_log_loss_ = log_loss(P, y, weights)
        counts = np.bincount(y, weights, minlength=len(self.classes_))
        self._majority = float(counts.max() / counts.sum())

    def _compute_losses(self, scores: Array, y: Array) -> Array:
        P = compute_probabilities(scores, self.temperature_)
        return -np.log(np.maximum(P[np.arange(len(y)), y], np.finfo(P.dtype).smallest_normal))

    # --- predicting --------------------------------------------------------------------------------

    def predict_proba(self, X: TableLike) -> Array:
        """Compute the probability of every class, in the order of `classes_`.

        Parameters
        ----------
        X : dataframe or array-like (n_samples, n_columns)
            Table with the columns of the fit.

        Returns
        -------
        array (n_samples, n_classes)
            Probabilities.
        """
        check_is_fitted(self)
        scores = self._compute_scores(X, self.estimators_)
        return np.mean([compute_probabilities(one, self.temperature_) for one in scores], axis=0)

    def predict(self, X: TableLike) -> Array:
        """Predict the class with the highest probability.

        Parameters
        ----------
        X : dataframe or array-like (n_samples, n_columns)
            Table with the columns of the fit.

        Returns
        -------
        array (n_samples,)
            Classes.
        """
        P = self.predict_proba(X)
        return self.classes_[P.argmax(axis=1)]


class TabularRegressor(RegressorMixin, Tabular):
    __doc__ = (
        """Regressor for tables of numbers, categories, dates, text and missing values.

    `TableEncoder` encodes the columns. Several networks are fitted side by side, each on other rows; the
    rows it is not trained on choose its best epoch. The prediction is the mean over the networks, each of
    them within the range of the targets seen.

    Parameters
    ----------"""
        + _PARAMETERS
        + """
    quantiles : sequence of float, optional
        Quantiles that ``predict(X, quantiles=True)`` returns, increasing, above 0 and below 1. Each is
        predicted by further networks, corrected on out-of-fold predictions, and sorted: they never cross."""
        + _MORE_PARAMETERS
        + """
    oof_prediction_ : array (len(oof_rows_),)
        Out-of-fold predictions.
    oof_quantiles_ : array (len(oof_rows_), n_quantiles)
        Out-of-fold quantiles, with `quantiles`.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> regressor = fastnn.TabularRegressor(preset="fast", random_state=0).fit(X, y)
    >>> bool(regressor.score(X, y) > 0.4)
    True
    """
    )

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        **Tabular._parameter_constraints,
        "quantiles": ["array-like", None],
    }
    _SAVED: ClassVar = {
        "_center": float,
        "_quantiles": list[float],
        "_range": tuple[float, float],
        "_scale": float,
        "_shifts": np.ndarray,
        "oof_quantiles_": np.ndarray,
        "oof_r2_": float,
        "oof_rmse_": float,
    }
    _HAS_CLASSES: ClassVar[bool] = False

    def __init__(
        self,
        n_estimators=None,
        preset="good",
        *,
        scoring=None,
        time_limit=None,
        quantiles=None,
        n_jobs=None,
        random_state=None,
    ):
        self._store_arguments(locals())

    # --- fitting -----------------------------------------------------------------------------------

    def _validate_params(self) -> None:
        super()._validate_params()
        check_quantiles(self.quantiles)  # before files are read

    def _check_y(self, y: ArrayLike, begins: bool) -> Array:
        y = check_numbers(check_column(self, y, begins))
        if begins and y.min() == y.max():
            raise ValueError(f"y holds only one value, {y[0]:g}: there is nothing to learn")
        return y

    def _begin(self, y: Array, weights: Array) -> None:
        self._quantiles = check_quantiles(self.quantiles)
        low, high = self._range = float(y.min()), float(y.max())
        with np.errstate(over="ignore", invalid="ignore"):
            self._center = float(np.average(y, weights=weights))
            deviation = float(np.sqrt(np.average((y - self._center) ** 2, weights=weights)))
        if not (np.isfinite(self._center) and np.isfinite(deviation)):
            raise ValueError(
                f"y holds numbers from {low:g} to {high:g}, whose standard deviation is too large for a "
                "float: scale y down"
            )
        if high - low < MIN_RANGE:
            raise ValueError(
                f"y holds numbers from {low:g} to {high:g}, the squares of whose differences vanish: scale "
                "y up"
            )
        self._scale = deviation or 1.0  # 0 if all numbers of a weight above 0 are equal

    def _encode_y(self, y: Array) -> Array:
        return (y - self._center) / self._scale

    def _decode_y(self, y: Array) -> Array:
        return y * self._scale + self._center

    @property
    def _limits(self) -> tuple[float, float]:
        """Least and largest score of a network: the range of the targets seen, encoded."""
        low, high = ((bound - self._center) / self._scale for bound in self._range)
        # The scores are float32, whose rounding would keep predictions from the ends of the range.
        margin = 1e-6 * (high - low)
        return low - margin, high + margin

    def _score_rows_by(self, member: Member, Z: Array) -> Array:
        # A network may extrapolate far beyond all targets on a few rows, and the mean must not follow it.
        return np.clip(super()._score_rows_by(member, Z), *self._limits)

    def _make_members(self, settings: dict[str, Any], seeds: Sequence[int]) -> list[Member]:
        losses: list[str | Quantile] = ["squared_error", *map(Quantile, self._quantiles)]
        members: list[Member] = []
        for loss in losses:
            if loss != "squared_error":  # the user's score is one of the mean
                settings = settings | {"scoring": "loss"}
            members += [MLPRegressor(loss, random_state=seed, **settings) for seed in seeds]
        return members

    def _list_heads(self) -> list[list[Member]]:
        n = len(self.estimators_) // (1 + len(self._quantiles))
        return [self.estimators_[k : k + n] for k in range(0, len(self.estimators_), n)]

    def _calibrate(self, scores: Array, y: Array, weights: Array) -> None:
        values = self._decode_y(scores[:, :, 0])
        y = self._decode_y(y)
        self.oof_prediction_ = np.clip(values[0], *self._range)
        self._shifts = compute_shifts(values[1:].T, y, self._quantiles, weights)
        self.oof_quantiles_ = self._order_quantiles(values[1:].T)

    def _score_held_out(self, weights: Array) -> None:
        found, y = self.oof_prediction_, self._decode_y(self._oof_targets)
        self.oof_r2_ = float(r2_score(y, found, sample_weight=weights)) if len(y) > 1 else np.nan
        self.oof_rmse_ = float(np.sqrt(np.average((y - found) ** 2, weights=weights)))

    def _compute_losses(self, scores: Array, y: Array) -> Array:
        return (scores[:, 0] - y) ** 2

    # --- predicting --------------------------------------------------------------------------------

    def predict(self, X: TableLike, quantiles: bool = False) -> Array:
        """Predict a number for every row, or its quantiles.

        Parameters
        ----------
        X : dataframe or array-like (n_samples, n_columns)
            Table with the columns of the fit.
        quantiles : bool, default False
            Return the estimator's `quantiles` instead.

        Returns
        -------
        array (n_samples,), or (n_samples, n_quantiles) for quantiles
            Predictions, within the range of the targets seen. Quantiles increase along each row.

        Raises
        ------
        ValueError
            If the columns differ from the fit's, or `quantiles` is True and the estimator has none.
        """
        check_is_fitted(self)
        if quantiles and not len(self._quantiles):
            raise ValueError("the estimator has no quantiles: create it with quantiles=(0.05, 0.5, 0.95)")
        heads = self._list_heads()[1:] if quantiles else self._list_heads()[:1]
        scores = self._compute_scores(X, [member for head in heads for member in head])
        # Heads have equal numbers of networks: (n_heads, n_networks, n).
        outputs = np.reshape(scores, (len(heads), -1, len(scores[0])))
        values = self._decode_y(np.asarray(outputs.mean(axis=1, dtype=np.float64)))
        return self._order_quantiles(values.T) if quantiles else np.clip(values[0], *self._range)

    def _order_quantiles(self, values: Array) -> Array:
        """Return quantiles (n, Q), shifted, within the range seen, and increasing along each row."""
        return np.sort(np.clip(values + self._shifts, *self._range), axis=1)
