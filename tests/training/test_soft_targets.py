"""Soft targets: rows of fractions of the classes in place of labels, for the softmax cross-entropy."""

import numpy as np
import pytest

import fastnn

RANDOM = np.random.default_rng(0)
X, W = RANDOM.normal(size=(90, 3)), RANDOM.integers(0, 3, 90) / 2
CASES = pytest.mark.parametrize(("n_classes", "smoothing"), [(2, 0.0), (3, 0.0), (3, 0.2), (12, 0.1)])


def draw_rows(count, n_classes):
    rows = RANDOM.dirichlet(np.full(n_classes, 0.4), count)
    rows[:5] = np.eye(n_classes)[0]  # zeros
    return rows


def train(y, n_classes, smoothing, backend="numba", **options):
    loss = fastnn.SoftmaxCrossEntropy(smoothing)
    model = fastnn.Model([3, 8, n_classes], loss=loss, random_state=0, backend=backend)
    given = {"num_passes": 5, "reduction": "mean", "sample_weight": W, "random_state": 1}
    model.train(X, y, **given | options)
    return model


@CASES
def test_trainings_match_the_reference_and_gradients_are_right(n_classes, smoothing):
    y = draw_rows(90, n_classes)
    held_out = X[:20], y[:20]
    for options in ({"batch_size": 16}, {"optimizer": "lbfgs"}, {"batch_size": 1, "optimizer": "adam"}):
        options |= {"validation_data": held_out}
        pair = [train(y, n_classes, smoothing, backend, **options) for backend in ("numba", "numpy")]
        np.testing.assert_allclose(pair[0].W[0], pair[1].W[0], rtol=1e-9, atol=1e-11)
        curves = [model.history_.validation_loss for model in pair]
        np.testing.assert_allclose(*curves, rtol=1e-10)
        assert curves[0][-1] == pytest.approx(pair[0].calculate_loss(*held_out), rel=1e-12)
    assert pair[0].check_gradients(X, y, n_samples=20).max_relative_error < 1e-6


@CASES
def test_whole_rows_are_labels(n_classes, smoothing):
    labels = RANDOM.integers(0, n_classes, 90)
    models = [train(y, n_classes, smoothing) for y in (labels, np.eye(n_classes)[labels])]
    np.testing.assert_allclose(models[0].W[0], models[1].W[0], rtol=1e-10, atol=1e-12)


def test_one_class_takes_rows_of_ones():
    assert fastnn.Model([3, 1]).calculate_loss(X, np.ones((90, 1))) == 0


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifiers_take_fractions(n_classes):
    y = draw_rows(90, n_classes)
    options = {"hidden_layer_sizes": (8,), "max_iter": 300, "random_state": 0}
    one = fastnn.MLPClassifier(early_stopping=True, class_weight={0: 2.0}, **options).fit(X, y)
    assert one.classes_.tolist() == list(range(n_classes))
    student = fastnn.MLPClassifier(**options, solver="lbfgs").fit(X, one.predict_proba(X))
    np.testing.assert_allclose(student.predict_proba(X), one.predict_proba(X), atol=0.02)
    ensemble = fastnn.MLPEnsembleClassifier(fastnn.MLPClassifier(**options), n_estimators=2).fit(X, y)
    assert ensemble.predict_proba(X).shape == (90, n_classes)
    names, partial = np.array(list("abc"))[:n_classes], fastnn.MLPClassifier(**options)
    for rows in (y, y, np.eye(n_classes)[[0] * 90], y):
        partial.partial_fit(X, rows, classes=names)
    assert set(partial.predict(X)) <= set(names)
    assert np.isfinite(partial.loss_curve_).all()
    with pytest.raises(ValueError, match=r"y\[0\] sums to"):
        fastnn.MLPClassifier(**options).fit(X, y + 0.1)
