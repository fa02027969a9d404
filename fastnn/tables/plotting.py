"""Plots of tabular estimators: importances of columns, calibration, residuals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import PredictionErrorDisplay
from sklearn.utils.validation import check_is_fitted

from ..boundary.colours import class_colours
from ..boundary.drawing import check_axes, escape_dollars, format_class
from ..model import Model
from ..plotting.boundary import is_regressor
from ..system.validation import Array, check_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..system.frames import TableLike
    from .base import Tabular
    from .estimators import TabularClassifier


def plot_importances(
    estimator: Tabular,
    X: TableLike | None = None,
    y: ArrayLike | None = None,
    *,
    n_columns: int = 20,
    ax: Axes | None = None,
) -> Axes:
    """Draw the importances of the columns as bars, the most important first.

    Parameters
    ----------
    estimator : TabularClassifier or TabularRegressor
        Fitted estimator.
    X, y : dataframe or array-like, optional
        Rows and targets for `feature_importances`; by default the estimator's `importances_` are drawn.
    n_columns : int, default 20
        Largest number of columns to draw.
    ax : matplotlib Axes, optional
        Axes to draw on; by default the current ones.

    Returns
    -------
    matplotlib Axes
        Axes with the bars.

    Raises
    ------
    ValueError
        If only one of X and y is given, or `n_columns` is below 1.
    TypeError
        If the estimator is of another class, or `ax` is anything but rectilinear axes.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> model = fastnn.TabularClassifier(preset="fast", random_state=0).fit(X, y)
    >>> fastnn.plot_importances(model, X, y).get_xlabel()
    'fall of the score'
    """
    check_is_fitted(estimator)
    if not hasattr(estimator, "importances_"):
        raise TypeError(
            "estimator must be a TabularClassifier or a TabularRegressor, whose columns have importances, "
            f"got {type(estimator).__name__}"
        )
    check_count(n_columns, "n_columns", 1)
    check_axes(ax)
    _check_pair(X, y)
    names = [escape_dollars(record["name"]) for record in estimator.columns_]
    if X is None or y is None:
        values, errors, label = estimator.importances_, None, "increase of the loss"
    else:
        found = estimator.feature_importances(X, y, random_state=0)
        values, errors, label = found.importances_mean, found.importances_std, "fall of the score"
    order = np.argsort(values)[-n_columns:]
    ax = _make_axes(ax)
    ax.barh([names[k] for k in order], values[order], xerr=None if errors is None else errors[order])
    ax.set_xlabel(label)
    return ax


def plot_calibration(
    estimator: TabularClassifier,
    X: TableLike | None = None,
    y: ArrayLike | None = None,
    *,
    n_bins: int = 10,
    ax: Axes | None = None,
) -> Axes:
    """Draw the fraction of rows of a class against the probability that is predicted for the class.

    Parameters
    ----------
    estimator : TabularClassifier
        Fitted classifier. Of two classes, the curve of the second is drawn; of several, the curve of each.
    X, y : dataframe or array-like, optional
        Rows and classes; by default the out-of-fold predictions of the fit.
    n_bins : int, default 10
        Number of bins of about equally many rows.
    ax : matplotlib Axes, optional
        Axes to draw on; by default the current ones.

    Returns
    -------
    matplotlib Axes
        Axes with the curves.

    Raises
    ------
    ValueError
        If the estimator is not a classifier, only one of X and y is given, or `n_bins` is below 1.
    TypeError
        If `ax` is anything but rectilinear axes.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_breast_cancer
    >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    >>> model = fastnn.TabularClassifier(preset="fast", random_state=0).fit(X, y)
    >>> len(fastnn.plot_calibration(model).get_lines()) >= 2
    True
    """
    check_is_fitted(estimator)
    if not hasattr(estimator, "predict_proba"):
        raise ValueError(f"plot_calibration works only with classifiers, got {type(estimator).__name__}")
    check_count(n_bins, "n_bins", 1)
    check_axes(ax)
    P, truth = _collect_predictions(estimator, X, y, "predict_proba")
    return draw_calibration(truth, P, estimator.classes_, n_bins, _make_axes(ax))


def draw_calibration(truth: Array, P: Array, classes: Array, n_bins: int, ax: Axes) -> Axes:
    """Draw the calibration curves of probabilities (n, n_classes) on axes, and return the axes."""
    colours = class_colours(len(classes))
    for k in range(1 if len(classes) == 2 else 0, len(classes)):
        CalibrationDisplay.from_predictions(
            truth == classes[k],
            P[:, k],
            n_bins=n_bins,
            strategy="quantile",
            ax=ax,
            name=format_class(str(classes[k])),
            color=colours[k],
        )
    ax.set(xlabel="predicted probability", ylabel="fraction of the class")
    return ax


def plot_residuals(
    estimator: Any, X: TableLike | None = None, y: ArrayLike | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw the differences of true and predicted numbers against the predictions.

    Parameters
    ----------
    estimator : TabularRegressor, or any other regressor or Model
        Fitted regressor.
    X, y : dataframe or array-like, optional
        Rows and targets; by default the out-of-fold predictions of a `TabularRegressor`.
    ax : matplotlib Axes, optional
        Axes to draw on; by default the current ones.

    Returns
    -------
    matplotlib Axes
        Axes with the points.

    Raises
    ------
    ValueError
        If the estimator is not a regressor, or only one of X and y is given.
    TypeError
        If `ax` is anything but rectilinear axes.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = fastnn.TabularRegressor(preset="fast", random_state=0).fit(X, y)
    >>> fastnn.plot_residuals(model).get_ylabel()
    'true minus predicted'
    """
    if not isinstance(estimator, Model):
        check_is_fitted(estimator)
    if not is_regressor(estimator):
        raise ValueError(f"plot_residuals works only with regressors, got {type(estimator).__name__}")
    check_axes(ax)
    values, truth = _collect_predictions(estimator, X, y, "predict")
    return draw_residuals(np.ravel(truth), np.ravel(values), _make_axes(ax))


def draw_residuals(truth: Array, values: Array, ax: Axes) -> Axes:
    """Draw true minus predicted numbers of at most a thousand rows on axes, and return the axes."""
    PredictionErrorDisplay.from_predictions(truth, values, ax=ax, random_state=0)
    ax.set(xlabel="predicted", ylabel="true minus predicted")
    return ax


def _check_pair(X: object, y: object) -> None:
    if (X is None) != (y is None):
        raise ValueError("X and y go together: pass both, or neither")


def _collect_predictions(
    estimator: Any, X: TableLike | None, y: ArrayLike | None, method: str
) -> tuple[Array, Array]:
    """Return predictions and true targets: of the given rows, or out of fold if X is None."""
    _check_pair(X, y)
    if X is None:
        if not hasattr(estimator, "oof_prediction_"):
            raise ValueError(
                "the estimator holds no out-of-fold predictions (saved with training=False?): pass X and y"
            )
        return estimator.oof_prediction_, estimator._decode_y(estimator._oof_targets)
    return getattr(estimator, method)(X), np.asarray(y)


def _make_axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.gca()
