"""Plots of the histories of trainings, and of residuals."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsClassifier
from views import X, y

import fastnn

LABELS = ["loss", "learning rate", "gradient norm", "update / weights"]


def curves(ax):
    return [line for line in ax.get_lines() if len(line.get_xdata()) > 2]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_history_has_four_plots_which_a_model_draws_too():
    model = fastnn.Model([2, 3, 2], random_state=0)
    options = {"epsilon": 0.001, "schedule": "cosine_decay", "validation_data": (X, y)}
    history = model.train(X, y, num_passes=30, **options)
    losses = [history.loss, history.validation_loss]
    expected = [losses, [history.learning_rate], [history.gradient_norm], list(history.update_ratio.T)]
    for given in (history, model):
        axes = Figure().subplots(2, 2)
        drawn = fastnn.plot_history(given, axes)
        assert (list(drawn), [ax.get_ylabel() for ax in drawn]) == (list(axes.ravel()), LABELS)
        for ax, arrays in zip(drawn, expected, strict=True):
            for line, values in zip(curves(ax), arrays, strict=True):
                np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 31))
                np.testing.assert_array_equal(line.get_ydata(), values)
        assert legend(drawn[0]) == ["training", "validation"]
        assert legend(drawn[3]) == ["layer 0", "layer 1"]
        assert [ax.get_yscale() for ax in drawn] == ["log", "linear", "log", "log"]
        axes[0, 0].figure.canvas.draw()


def test_a_history_may_have_a_single_epoch_and_no_validation():
    model = fastnn.Model([2, 3, 2], random_state=0, backend="numpy")
    drawn = fastnn.plot_history(model.train(X, y, num_passes=1))
    assert plt.gcf().axes == list(drawn), "a new figure by default"
    assert (drawn[0].get_legend(), len(drawn[0].get_lines())) == (None, 1)
    plt.gcf().canvas.draw()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_estimator_has_a_plot_of_losses_and_one_of_validation_scores():
    for options, data, names in (
        ({}, {}, ["loss_curve_"]),
        ({"early_stopping": True, "validation_fraction": 0.2}, {}, ["loss_curve_", "validation_scores_"]),
        ({}, {"X_val": X[:50], "y_val": y[:50]}, ["loss_curve_"]),
    ):
        classifier = fastnn.MLPClassifier((4,), random_state=0, max_iter=12, **options).fit(X, y, **data)
        drawn = fastnn.plot_history(classifier)
        assert plt.gcf().axes == list(drawn)
        assert [ax.get_ylabel() for ax in drawn] == ["loss", "validation score"][: len(names)]
        for ax, name in zip(drawn, names, strict=True):
            values = getattr(classifier, name)
            np.testing.assert_array_equal(ax.get_lines()[0].get_xydata(), list(enumerate(values, 1)))
            assert ax.get_xlabel() == "epochs"
        if data:
            assert legend(drawn[0]) == ["training", "validation"]
            np.testing.assert_array_equal(curves(drawn[0])[1].get_ydata(), classifier.validation_loss_curve_)
        plt.gcf().canvas.draw()
        plt.close("all")


@pytest.mark.parametrize("loss", ["poisson", "squared_error"])
def test_only_losses_above_0_have_a_logarithmic_scale(loss):
    options = {"output_activation": "identity", "backend": "numpy", "random_state": 0}
    model = fastnn.Model([2, 3, 1], loss=loss, **options)
    history = model.train(X, 3.0 * np.ones(200), num_passes=20, epsilon=0.05, reduction="mean")
    assert (history.loss < 0).any() == (loss == "poisson")
    drawn = fastnn.plot_history(history, Figure().subplots(2, 2))
    assert drawn[0].get_yscale() == ("linear" if loss == "poisson" else "log")
    drawn[0].figure.canvas.draw()


def test_what_has_no_history_and_other_axes_are_refused():
    model = fastnn.Model([2, 3, 2], backend="numpy")
    for given in (model, fastnn.MLPClassifier(), None, [1.0, 0.5]):
        with pytest.raises(TypeError, match=r"^history must be what Model\.train returned, a trained Model"):
            fastnn.plot_history(given)
    with pytest.raises(ValueError, match="history has no epochs: train for at least one"):
        fastnn.plot_history(model.train(X, y, num_passes=0))
    history = model.train(X, y, num_passes=1)
    with pytest.raises(ValueError, match="axes must be four, got 2"):
        fastnn.plot_history(history, Figure().subplots(1, 2))
    with pytest.raises(TypeError, match="axes must be four axes of matplotlib"):
        fastnn.plot_history(history, [1, 2, 3, 4])
    assert not plt.get_fignums()


def test_residuals_of_a_model_and_of_any_regressor_are_drawn():
    targets = X[:, 0]
    options = {"output_activation": "identity", "backend": "numpy", "random_state": 0}
    model = fastnn.Model([2, 3, 1], loss="squared_error", **options)
    model.train(X, targets, num_passes=5, epsilon=0.001)
    for one in (model, LinearRegression().fit(X, y)):
        ax = fastnn.plot_residuals(one, X, targets, ax=Figure().add_subplot())
        points = np.vstack([collection.get_offsets() for collection in ax.collections])
        predicted = np.ravel(one.predict(X))
        expected = np.column_stack([predicted, targets - predicted])
        np.testing.assert_allclose(points[np.argsort(points[:, 0])], expected[np.argsort(predicted)])
        with pytest.raises(ValueError, match="pass X and y"):
            fastnn.plot_residuals(one)
    for one in (fastnn.Model([2, 3, 2]), KNeighborsClassifier().fit(X, y)):
        with pytest.raises(ValueError, match="plot_residuals works only with regressors, got"):
            fastnn.plot_residuals(one, X, y)
