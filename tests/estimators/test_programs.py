"""Programs written for scikit-learn's networks, with the import changed; and weights without a fit."""

import copy
import pickle

import numpy as np
import pytest
from estimator_checks import parameters
from estimator_problems import (
    LABELS,
    NAMES,
    OURS,
    PROBLEMS,
    THEIRS,
    UNCONVERGED,
    X,
    classifier,
    regressor,
    y,
)
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelBinarizer, StandardScaler

import fastnn

pytestmark = UNCONVERGED


class WithoutScores(fastnn.MLPClassifier):
    """fastnn's classifier as scikit-learn's other classes use scikit-learn's: by its probabilities."""

    decision_function = property()


def search_grid(make):
    pipeline = make_pipeline(StandardScaler(), make(max_iter=30))
    grid = {"mlp__alpha": [1e-4, 10.0], "mlp__hidden_layer_sizes": [(3,), (5, 5)]}
    pipeline.steps[-1] = ("mlp", pipeline[-1])
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
    return np.append(search.cv_results_["mean_test_score"], search.best_index_)


def stack(make):
    members = [("one", make(max_iter=30)), ("two", make(alpha=1.0, max_iter=30))]
    return StackingClassifier(members, LogisticRegression(), cv=3).fit(X, y).predict_proba(X)


def calibrate(make):
    return CalibratedClassifierCV(make(max_iter=30), method="isotonic", cv=3).fit(X, y).predict_proba(X)


def predict_out_of_fold(make):
    return cross_val_predict(make(solver="lbfgs", alpha=1.0), X, NAMES[y], cv=3, method="predict_proba")


PROGRAMS = (search_grid, stack, calibrate, predict_out_of_fold)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_programs_give_the_same_numbers(program):
    def make_ours(**options):
        return WithoutScores(**{"hidden_layer_sizes": (7,), "random_state": 0, "max_iter": 5} | options)

    theirs = program(lambda **options: classifier(THEIRS, **options))
    np.testing.assert_allclose(program(make_ours), theirs, atol=1e-7)


# --- weights without a fit ----------------------------------------------------------------------------


def assign(module, W, b, kind="MLPClassifier", **attributes):
    """Return an estimator of a module with weights, and what a fit of scikit-learn's leaves besides."""
    model = getattr(module, kind)(hidden_layer_sizes=(7,))
    model.coefs_, model.intercepts_ = W, b
    model.n_layers_, model.n_outputs_, model.n_features_in_ = len(W) + 1, W[-1].shape[1], 4
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


def average_federated(module):
    """Return the weights of rounds in which clients train further from the mean of their weights."""
    clients = [module.MLPClassifier((7,), random_state=k, shuffle=False) for k in range(3)]
    for k, client in enumerate(clients):
        client.partial_fit(X[k::3], y[k::3], classes=[0, 1, 2])
    for _ in range(3):
        means = [
            [np.mean(arrays, axis=0) for arrays in zip(*each, strict=True)]
            for each in ([c.coefs_ for c in clients], [c.intercepts_ for c in clients])
        ]
        for k, client in enumerate(clients):
            client.coefs_, client.intercepts_ = ([array.copy() for array in each] for each in means)
            client.partial_fit(X[k::3], y[k::3])
    server = assign(module, *means, out_activation_="softmax", _label_binarizer=clients[0]._label_binarizer)
    return np.append(server.predict_proba(X).ravel(), parameters(clients[1])), server.predict(X)


def test_programs_that_assign_weights_give_the_same_numbers():
    for theirs, ours in zip(average_federated(THEIRS), average_federated(OURS), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_from_weights_makes_a_fitted_estimator(problem):
    name, targets, options = PROBLEMS[problem]
    make, known = (classifier, {}) if name == "MLPClassifier" else (regressor, {})
    fitted = make(**options).fit(X, targets)
    if problem in ("binary", "multiclass"):
        known = {"classes": fitted.classes_}
    kind = type(fitted)
    made = kind.from_weights(fitted.coefs_, fitted.intercepts_, random_state=0, **known, **options)
    assert made.hidden_layer_sizes == (7,)
    assert made.out_activation_ == fitted.out_activation_
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


@pytest.mark.parametrize(
    ("targets", "known"),
    [
        (LABELS, {"_label_binarizer": LabelBinarizer().fit(LABELS)}),
        (y == 1, {"classes_": np.array([False, True])}),
    ],
    ids=["labels", "two classes"],
)
def test_assigned_weights_are_used_by_everything_that_needs_a_fit(targets, known, tmp_path):
    fitted, path = classifier().fit(X, targets), tmp_path / "model.fastnn"
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
    (
        W,
        B,
        CLASSES | {"out_activation_": "logistic", "_has_labels": False},
        "out_activation_ is 'softmax' by",
    ),
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


def test_half_of_the_weights_is_no_fit(tmp_path):
    model = classifier()
    model.coefs_ = W
    assert model.coefs_[0] is W[0]
    with pytest.raises(NotFittedError):
        model.predict(X)
    model.save(tmp_path / "model.fastnn")
    assert not hasattr(fastnn.load(tmp_path / "model.fastnn"), "coefs_")
