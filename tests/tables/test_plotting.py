"""Plots of tabular estimators, drawn by functions and by methods."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

import fastnn
from fastnn.boundary.colours import class_colours
from fastnn.boundary.drawing import class_name
from fastnn.tables import presets as tabular_presets
from fastnn.tables.presets import Preset


@pytest.fixture(autouse=True)
def _small_preset(monkeypatch):
    """Replace the preset "fast" by one small network and few epochs."""
    monkeypatch.setitem(tabular_presets.PRESETS, "fast", Preset(1, (16,), 16))


def fitted(kind, load):
    """Return an estimator fitted to a data set of scikit-learn, and the data."""
    X, y = load(return_X_y=True, as_frame=True)
    return kind(preset="fast", random_state=0).fit(X, y), X, y


@pytest.mark.needs("pandas")
def test_importances_are_bars_in_ascending_order():
    model, X, y = fitted(fastnn.TabularClassifier, load_breast_cancer)
    ax = model.plot_importances(n_columns=7)
    widths = [bar.get_width() for bar in ax.patches]
    np.testing.assert_allclose(widths, np.sort(model.importances_)[-7:])
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert names[-1] == X.columns[np.argmax(model.importances_)]
    ax.clear()
    assert fastnn.plot_importances(model, X, y, ax=ax) is ax
    found = model.feature_importances(X, y, random_state=0).importances_mean
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], np.sort(found)[-20:])
    with pytest.raises(ValueError, match="X and y go together"):
        model.plot_importances(X)
    for plot in (model.plot_importances, model.plot_calibration):
        with pytest.raises(TypeError, match=r"^ax must be axes of matplotlib, got \[\]"):
            plot(ax=[])
    named = X.rename(columns={X.columns[0]: r"$\bad$"})
    model = fastnn.TabularClassifier(preset="fast", random_state=0).fit(named, y)
    ax.clear()
    model.plot_importances(n_columns=99, ax=ax).figure.canvas.draw()


@pytest.mark.needs("pandas")
def test_calibration_has_a_curve_for_each_class():
    model = fitted(fastnn.TabularClassifier, load_iris)[0]
    ax = model.plot_calibration(n_bins=4)
    labels = [line.get_label() for line in ax.get_lines()]
    assert {"0", "1", "2"} <= set(labels)
    colours = [line.get_color() for line in ax.get_lines() if line.get_label() in {"0", "1", "2"}]
    np.testing.assert_array_equal(colours, class_colours(3))
    with pytest.raises(ValueError, match="only with classifiers, got TabularRegressor"):
        fastnn.plot_calibration(fitted(fastnn.TabularRegressor, load_diabetes)[0])


def test_calibration_of_two_classes_has_a_curve_for_the_second_one():
    X, y = load_breast_cancer(return_X_y=True)
    names = np.array(["No", r"_$\yes$"])[y]
    model = fastnn.TabularClassifier(preset="fast", random_state=0).fit(X, names)
    ax = model.plot_calibration(X, names)
    labels = {line.get_label() for line in ax.get_lines()}
    assert class_name(r"_$\yes$") in labels
    assert "No" not in labels
    ax.figure.canvas.draw()  # a name is not read as a formula


@pytest.mark.needs("pandas")
def test_residuals_are_points_over_the_predictions():
    model, X, y = fitted(fastnn.TabularRegressor, load_diabetes)
    ax = model.plot_residuals(X, y)
    points = np.vstack([collection.get_offsets() for collection in ax.collections])
    assert 0 < len(points) <= len(y)
    assert set(np.round(points[:, 0], 6)) <= set(np.round(model.predict(X), 6))
    with pytest.raises(ValueError, match="only with regressors, got TabularClassifier"):
        fastnn.plot_residuals(fitted(fastnn.TabularClassifier, load_iris)[0])


def test_other_estimators_have_no_importances_and_need_data_for_calibration():
    X, y = load_iris(return_X_y=True)
    estimator = fastnn.MLPClassifier((3,), solver="lbfgs", tol=1.0, random_state=0).fit(X, y)
    with pytest.raises(
        TypeError, match="must be a TabularClassifier or a TabularRegressor, .* MLPClassifier"
    ):
        fastnn.plot_importances(estimator)
    with pytest.raises(ValueError, match="no out-of-fold predictions .*: pass X and y"):
        fastnn.plot_calibration(estimator)
    assert len(fastnn.plot_calibration(estimator, X, y).get_lines()) >= 3
