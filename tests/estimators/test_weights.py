"""Weights without a fit: estimators made of arrays, and arrays assigned to an estimator."""

import copy
import pickle

import numpy as np
import pytest
from estimator_checks import parameters
from problems import LABELS, NAMES, OURS, PROBLEMS, UNCONVERGED, X, classifier, y
from sklearn.preprocessing import LabelBinarizer

import fastnn

pytestmark = UNCONVERGED


def assign(module, W, b, kind="MLPClassifier", **attributes):
    """Return an estimator of a module with weights, and what a fit of scikit-learn's leaves besides."""
    model = getattr(module, kind)(hidden_layer_sizes=(7,))
    model.coefs_, model.intercepts_ = W, b
    model.n_layers_, model.n_outputs_, model.n_features_in_ = len(W) + 1, W[-1].shape[1], 4
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


@pytest.mark.parametrize("problem", PROBLEMS)
def test_from_weights_makes_a_fitted_estimator(problem):
    make, targets, options = PROBLEMS[problem]
    fitted = make(**options).fit(X, targets)
    known = {"classes": fitted.classes_} if problem in ("binary", "multiclass") else {}
    kind = type(fitted)
    made = kind.from_weights(fitted.coefs_, fitted.intercepts_, random_state=0, **known, **options)
    assert (made.hidden_layer_sizes, made.out_activation_) == ((7,), fitted.out_activation_)
    for model in (made, pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        np.testing.assert_array_equal(model.predict(X), fitted.predict(X))
    assert made.score(X, targets) == fitted.score(X, targets)
    # A further fit begins with the weights, and with a new optimizer.
    made.set_params(learning_rate_init=1e-300).partial_fit(X, targets)
    np.testing.assert_array_equal(parameters(made), parameters(fitted))
    narrow = kind.from_weights(
        *([array.astype("f4") for array in each] for each in (fitted.coefs_, fitted.intercepts_)),
        **known,
        **options,
    )
    assert narrow.coefs_[0].dtype == np.float32


@pytest.mark.parametrize("targets", [LABELS, y == 1], ids=["labels", "two classes"])
def test_assigned_weights_are_used_by_everything_that_needs_a_fit(targets, tmp_path):
    fitted, path = classifier().fit(X, targets), tmp_path / "model.fastnn"
    binarizer, classes = LabelBinarizer().fit(targets), np.array([False, True])
    known = {"_label_binarizer": binarizer} if targets is LABELS else {"classes_": classes}
    attributes = {"out_activation_": "logistic"} | known
    for use in (
        lambda model: model.predict(X),
        lambda model: model.predictor(150)(X),
        lambda model: model.to_sklearn().predict(X),
        lambda model: fastnn.load(model.save(path) or path).predict(X),
        lambda model: model.set_params(random_state=0, max_iter=5).fit(X, targets).predict(X),
    ):
        model = assign(OURS, fitted.coefs_, fitted.intercepts_, **attributes)
        np.testing.assert_array_equal(use(model), fitted.predict(X))
    model = assign(OURS, fitted.coefs_, fitted.intercepts_, **attributes)
    np.testing.assert_array_equal(model.model_.predict_proba(X), fitted.model_.predict_proba(X))


W, B = [np.ones((4, 7)), np.ones((7, 3))], [np.ones(7), np.ones(3)]
CLASSES = {"classes_": NAMES}
WRONG_WEIGHTS = [
    ([W[0]], B[:1], CLASSES | {"n_outputs_": 3}, "n_outputs_ is 7 by the arrays of coefs_, but 3"),
    (W, B, CLASSES | {"n_features_in_": 5}, "n_features_in_ is 4 by the arrays of coefs_, but 5"),
    (W, [B[0]], CLASSES, "2 layers take 2 arrays, got 1"),
    ([W[0], W[0]], B, {"n_outputs_": 7} | CLASSES, r"coefs_\[1\] must have the shape \(7, 7\), got \(4, 7\)"),
    (W, [B[0], B[0]], CLASSES, r"intercepts_\[1\] must have the shape \(3,\), got \(7,\)"),
    ([W[0], W[1] * 1j], B, CLASSES, r"coefs_\[1\]"),
    (W, B, {}, "classes_ is missing"),
    (W, B, {"classes_": NAMES[::-1]}, "classes_ does not hold distinct classes in increasing order"),
    (W, B, {"classes_": NAMES[:2]}, "2 classes do not fit n_outputs_=3"),
    ([W[0], W[1][:, :2]], [B[0], B[1][:2]], {"classes_": NAMES[:2]}, "two classes have one output"),
    (W, B, CLASSES | {"out_activation_": "logistic", "_has_labels": False}, "_activation_ is 'softmax' by"),
    (W, B, CLASSES | {"batch_norm": True}, "cannot be assigned to an estimator with batch_norm=True"),
]


@pytest.mark.parametrize(
    ("coefs", "intercepts", "attributes", "message"), WRONG_WEIGHTS, ids=lambda v: str(v)[:40]
)
def test_wrong_weights_are_refused_by_the_first_prediction(coefs, intercepts, attributes, message):
    model = assign(OURS, coefs, intercepts, **attributes)
    before = dict(vars(model))
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            model.predict(X)
        assert vars(model) == before
    model.set_params(batch_norm=False).fit(X, y)  # a fit discards them
    assert model.predict_proba(X).shape == (150, 3)
