"""Plots of tabular estimators, and other estimators that are refused."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

import fastnn
from fastnn.boundary.colours import class_colours

pytestmark = [pytest.mark.needs("pandas"), pytest.mark.usefixtures("small_presets")]

KINDS = fastnn.TabularRegressor, fastnn.TabularClassifier


def fit(kind, load):
    X, y = load(return_X_y=True, as_frame=True)
    return kind(preset="fast", random_state=0).fit(X, y), X, y


def test_importances_are_bars_in_ascending_order():
    model, X, y = fit(fastnn.TabularClassifier, load_breast_cancer)
    ax = fastnn.plot_importances(model, n_columns=7)
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], np.sort(model.importances_)[-7:])
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert names[-1] == X.columns[np.argmax(model.importances_)]
    ax.clear()
    assert fastnn.plot_importances(model, X, y, ax=ax) is ax
    found = model.feature_importances(X, y, random_state=0).importances_mean
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], np.sort(found)[-20:])
    with pytest.raises(ValueError, match="X and y go together"):
        fastnn.plot_importances(model, X)
    for plot in (fastnn.plot_importances, fastnn.plot_calibration):
        with pytest.raises(TypeError, match=r"^ax must be axes of matplotlib, got \[\]"):
            plot(model, ax=[])


def test_names_are_not_read_as_formulas():
    X, y = load_iris(return_X_y=True, as_frame=True)
    names = np.array(["No", r"_$\yes$"])[(y > 0) * 1]
    model = fastnn.TabularClassifier(preset="fast", random_state=0)
    model.fit(X.rename(columns={X.columns[0]: r"$\bad$"}), names)
    fastnn.plot_importances(model, n_columns=99).figure.canvas.draw()
    model.fit(X, names)
    ax = fastnn.plot_calibration(model, X, names)
    assert [text for text in (line.get_label() for line in ax.get_lines()) if "yes" in text]
    assert "No" not in [line.get_label() for line in ax.get_lines()]  # a curve for the second of two classes
    ax.figure.canvas.draw()


def test_calibration_has_a_curve_for_each_class():
    ax = fastnn.plot_calibration(fit(fastnn.TabularClassifier, load_iris)[0], n_bins=4)
    colours = {line.get_label(): line.get_color() for line in ax.get_lines()}
    np.testing.assert_array_equal([colours[name] for name in "012"], class_colours(3))


def test_residuals_are_points_over_the_predictions():
    model, X, y = fit(fastnn.TabularRegressor, load_diabetes)
    points = np.vstack([drawn.get_offsets() for drawn in fastnn.plot_residuals(model, X, y).collections])
    assert 0 < len(points) <= len(y)
    assert set(np.round(points[:, 0], 6)) <= set(np.round(model.predict(X), 6))


def test_other_estimators_are_refused_and_need_data_for_calibration():
    X, y = load_iris(return_X_y=True)
    estimator = fastnn.MLPClassifier((3,), solver="lbfgs", tol=1.0, random_state=0).fit(X, y)
    regressor, classifier = (one(1, "fast").fit(X, y, passes=1) for one in KINDS)
    for plot, model, error, message in (
        (fastnn.plot_importances, estimator, TypeError, "must be a TabularClassifier or .* MLPClassifier"),
        (fastnn.plot_calibration, estimator, ValueError, "no out-of-fold predictions .*: pass X and y"),
        (fastnn.plot_calibration, regressor, ValueError, "only with classifiers, got TabularRegressor"),
        (fastnn.plot_residuals, classifier, ValueError, "only with regressors, got TabularClassifier"),
    ):
        with pytest.raises(error, match=message):
            plot(model)
    assert len(fastnn.plot_calibration(estimator, X, y).get_lines()) >= 3
