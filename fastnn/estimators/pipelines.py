"""Derivatives through a pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..system.affine import compose_maps, split_pipeline
from ..system.validation import Array, check_samples, short_repr


def jacobian(model: Any, X: Any, *, of: str = "scores") -> Array:
    """Compute the derivatives of a network's scores or probabilities by the features of its pipeline.

    Parameters
    ----------
    model : Pipeline, Model or estimator
        Fitted network with a method ``jacobian``, or a `Pipeline` of scikit-learn that ends in such a network
        and whose other steps are affine: scalers, PCA, selections of columns.
    X : array-like or data frame (n, n_features)
        Samples, before the steps, without missing values; dense, if there are steps.
    of : {"scores", "probabilities"}, default "scores"
        What is differentiated, as in the method ``jacobian``.

    Returns
    -------
    array (n, n_outputs, n_features)
        Derivative of every output by every feature, for every sample, in the dtype of the network.

    Raises
    ------
    ValueError
        If the model has no such network, a step is not known to be affine, or X is invalid.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_iris(return_X_y=True)
    >>> network = fastnn.MLPClassifier((8,), solver="lbfgs", random_state=0)
    >>> fastnn.jacobian(make_pipeline(StandardScaler(), network).fit(X, y), X, of="probabilities").shape
    (150, 3, 4)
    """
    network, steps = split_pipeline(model)
    if isinstance(network, type) or not hasattr(network, "jacobian"):
        raise ValueError(
            f"model must be a network of fastnn, or a pipeline that ends in one, got {short_repr(network)}"
        )
    if not steps:
        return network.jacobian(X, of=of)
    for step in steps:
        check_is_fitted(step)
    weights = compose_maps(steps).weights
    check_samples(X, None, np.dtype(np.float64))  # an imputed value would have a derivative of 0
    for step in steps:
        X = step.transform(X)
    J = network.jacobian(X, of=of)
    return J @ weights.T.astype(J.dtype)
