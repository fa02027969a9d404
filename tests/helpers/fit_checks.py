"""Comparisons of fits: with each other, and with scikit-learn's."""

import numpy as np
from estimator_checks import parameters
from sklearn.base import is_classifier

CURVES = ("loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_", "t_")
CURVES += ("validation_loss_curve_",)


def assert_same_fit(one, other):
    """Assert that two fits left bitwise equal parameters, losses and classes."""
    np.testing.assert_array_equal(parameters(one), parameters(other))
    for name in CURVES:
        assert getattr(one, name, None) == getattr(other, name, None), name
    if is_classifier(one):
        np.testing.assert_array_equal(one.classes_, other.classes_)
        assert one.classes_.dtype == other.classes_.dtype


def assert_same_fits(some, others):
    """Assert that estimators, such as the members of two ensembles, have the same fits."""
    for one, other in zip(some, others, strict=True):
        assert_same_fit(one, other)


def assert_equal_to_theirs(theirs, ours, atol=1e-11, with_losses=True):
    """Assert that two fits agree: scikit-learn's, `theirs`, and fastnn's, `ours`."""
    for one, other in zip(theirs.coefs_ + theirs.intercepts_, ours.coefs_ + ours.intercepts_, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        np.testing.assert_allclose(other, one, rtol=0, atol=atol)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(theirs, name) == getattr(ours, name), name
    if is_classifier(ours):
        np.testing.assert_array_equal(theirs.classes_, ours.classes_)
        assert theirs.classes_.dtype == ours.classes_.dtype
    losses = ("loss_", "best_loss_", "loss_curve_") if with_losses else ()
    for name in (*losses, "validation_scores_", "best_validation_score_"):
        assert hasattr(theirs, name) == hasattr(ours, name), name
        expected, value = getattr(theirs, name, None), getattr(ours, name, None)
        assert (expected is None) == (value is None), name
        if expected is not None:
            assert type(value) in (list, float, np.float64), name
            np.testing.assert_allclose(value, expected, rtol=1e-9, atol=atol)
