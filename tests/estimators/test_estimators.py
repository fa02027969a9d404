"""Estimators as objects: parameters, copies, fitted attributes, pipelines and searches, wrong parameters."""

import copy
import pickle

import joblib
import numpy as np
import pytest
import sklearn
import sklearn.neural_network
from estimator_checks import parameters
from estimator_problems import COUNTS, NAMES, TARGETS, WEIGHTS, X, assert_same_fit, classifier, regressor, y
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_multilabel_classification
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils._param_validation import InvalidParameterError

import fastnn
from fastnn import MLPClassifier

# Most fits here end at max_iter.
pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:Stochastic Optimizer. Maximum iterations:sklearn.exceptions.ConvergenceWarning"
    ),
    pytest.mark.filterwarnings("ignore:lbfgs failed to converge:sklearn.exceptions.ConvergenceWarning"),
]


def test_parameters_can_be_read_and_set_and_cloned():
    options = {
        "solver": fastnn.RMSprop(alpha=0.9), "learning_rate": fastnn.CosineDecay(), "dropout": [0.1, 0.2],
        "activation": ["elu"],
    }  # fmt: skip
    model = classifier(**options)
    assert model.get_params().items() >= options.items()
    assert clone(model).get_params() == model.get_params()
    assert not hasattr(clone(classifier().fit(X, y)), "coefs_")
    assert "RMSprop(alpha=0.9" in repr(model)
    assert "MLPClassifier" in model._repr_html_()
    assert model.set_params(alpha=0.5).alpha == 0.5
    with pytest.raises(ValueError, match="Invalid parameter 'alfa'"):
        model.set_params(alfa=1)


@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.5}, {"early_stopping": True}, {"batch_norm": True}])
def test_copies_are_independent(options):
    model = classifier(batch_size=40, **options).fit(X, y)
    before, predicted = parameters(model), model.predict_proba(X)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(copied.predict_proba(X), predicted)
        for array in (*copied.model_.W, *copied.model_.b):
            array[...] = 7
        copied.set_params(early_stopping=False).partial_fit(X, y)
    if "batch_norm" in options:  # coefs_ and intercepts_ are read-only
        return
    copied = copy.copy(model)
    copied.coefs_ = [0 * coef for coef in copied.coefs_]
    copied.intercepts_ = [np.arange(len(intercept)) for intercept in copied.intercepts_]
    assert copied.predict(X).tolist() == [2] * 150
    np.testing.assert_array_equal(parameters(model), before)
    np.testing.assert_array_equal(model.predict_proba(X), predicted)


@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.5}, {"early_stopping": True}])
def test_coefs_are_views_of_the_parameters(options):
    model = classifier(batch_size=40, **options).fit(X, y)
    np.testing.assert_array_equal(model.model_.predict_proba(X), model.predict_proba(X))
    before = model.predict_proba(X)
    model.coefs_[-1][...] *= 2
    assert not np.array_equal(model.predict_proba(X), before)
    np.testing.assert_array_equal(model.model_.predict_proba(X), model.predict_proba(X))
    for name in ("coefs_", "intercepts_", "model_", "loss_", "n_iter_"):
        assert not hasattr(classifier(), name)
    for wrong in ([np.ones((2, 2))] * 2, [1.0, 2.0]):
        with pytest.raises(ValueError, match=r"coefs_\[0\] must have the shape"):
            model.coefs_ = wrong
    # A partial fit starts from the assigned arrays.
    model.coefs_ = [0 * W for W in model.coefs_]
    model.intercepts_ = [0 * b for b in model.intercepts_]
    np.testing.assert_allclose(model.predict_proba(X), 1 / 3, rtol=1e-6)
    if "early_stopping" not in options:
        model.set_params(learning_rate_init=1e-12).partial_fit(X, y)
        np.testing.assert_allclose(model.predict_proba(X), 1 / 3, rtol=1e-3)


def test_a_subclass_may_have_other_parameters():
    class Mine(MLPClassifier):
        def __init__(self, depth=2, alpha=1e-4):
            super().__init__(hidden_layer_sizes=(5,) * depth, alpha=alpha, random_state=0, max_iter=5)
            self.depth = depth

    assert Mine(depth=3).fit(X, y).n_layers_ == 5
    assert clone(Mine(depth=1)).fit(X, y).n_layers_ == 3
    with pytest.raises(InvalidParameterError, match="'alpha'"):
        Mine(alpha=-1).fit(X, y)


@pytest.mark.needs("pandas")
def test_a_pipeline_encodes_columns_for_a_classifier():
    import pandas as pd

    frame = pd.DataFrame(X, columns=list("abcd")).assign(kind=np.array(["p", "q", "r"])[y])
    columns = make_column_transformer((StandardScaler(), list("ab")), (OneHotEncoder(), ["kind"]))
    pipeline = make_pipeline(columns, classifier(max_iter=60, learning_rate_init=0.05)).fit(frame, NAMES[y])
    assert pipeline.score(frame, NAMES[y]) > 0.95


def test_searches_on_threads_and_in_one_process_are_equal():
    grid = {"alpha": [0.0, 100.0], "solver": ["adam", "lbfgs"], "hidden_layer_sizes": [(3,), (4, 4)]}
    searches = []
    for backend in ("loky", "threading"):
        with joblib.parallel_config(backend=backend, n_jobs=1 if backend == "loky" else 2):
            search = GridSearchCV(classifier(max_iter=20, learning_rate_init=0.05), grid, cv=3)
            searches.append(search.fit(X, y))
    assert searches[0].best_params_ == searches[1].best_params_
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_array_equal(searches[0].cv_results_[name], searches[1].cv_results_[name])
    assert searches[0].best_score_ > 0.8
    np.testing.assert_array_equal(
        parameters(searches[0].best_estimator_), parameters(searches[1].best_estimator_)
    )


def test_estimators_can_be_calibrated_and_cross_validated():
    model = classifier(max_iter=60, learning_rate_init=0.02)
    calibrated = CalibratedClassifierCV(model, cv=3).fit(X, NAMES[y], sample_weight=WEIGHTS + 1.0)
    assert calibrated.score(X, NAMES[y]) > 0.9
    for method in ("predict_proba", "decision_function", "predict_log_proba"):
        assert cross_val_predict(model, X, NAMES[y], cv=3, method=method).shape == (150, 3)
    assert cross_val_predict(regressor(), X, TARGETS, cv=3).shape == (150, 3)


@pytest.fixture
def _routing():
    """Enable scikit-learn's metadata routing, which hands validation data through pipelines."""
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("_routing")
def test_a_pipeline_transforms_the_validation_data():
    table = 100 * X + 7
    requested = classifier(early_stopping=True).set_fit_request(X_val=True, y_val=True, sample_weight=True)
    unweighted = StandardScaler().set_fit_request(sample_weight=False)
    pipeline = Pipeline([("scaler", unweighted), ("mlp", requested)], transform_input=["X_val"])
    pipeline.fit(table[:120], y[:120], X_val=table[100:], y_val=y[100:], sample_weight=WEIGHTS[:120])
    scaler = StandardScaler().fit(table[:120])
    assert_same_fit(
        pipeline["mlp"],
        classifier(early_stopping=True).fit(
            scaler.transform(table[:120]), y[:120], WEIGHTS[:120], scaler.transform(table[100:]), y[100:]
        ),
    )
    requested = classifier().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    search = GridSearchCV(requested, {"alpha": [0, 1]}, cv=2)
    assert search.fit(X, y, sample_weight=WEIGHTS + 1.0).best_score_ > 0
    classifier().set_partial_fit_request(sample_weight=True, classes=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_layer_sizes", None), ("hidden_layer_sizes", 0), ("activation", "square"), ("activation", 1),
        ("solver", "newton"), ("solver", fastnn.Adam), ("alpha", -1), ("alpha", "much"), ("batch_size", 0),
        ("batch_size", 1.5), ("learning_rate", "fast"), ("learning_rate", 3), ("learning_rate_init", 0),
        ("learning_rate_init", np.nan), ("power_t", -1), ("max_iter", 0), ("max_iter", 1.0),
        ("shuffle", "no"), ("random_state", "zero"), ("random_state", np.random.default_rng(0)), ("tol", -1),
        ("verbose", "loud"), ("warm_start", None), ("momentum", 1.1), ("nesterovs_momentum", None),
        ("early_stopping", None), ("validation_fraction", 1.0), ("beta_1", 1.0), ("beta_2", -0.1),
        ("epsilon", 0), ("n_iter_no_change", 0), ("n_iter_no_change", 1.5), ("max_fun", 0), ("dropout", 1),
        ("dropout", "some"), ("batch_norm", 1), ("weight_decay", -1), ("max_grad_norm", 0), ("ema_decay", 1),
        ("scoring", "nothing"), ("n_threads", 0), ("label_smoothing", 1.1), ("label_smoothing", None),
        ("class_weight", "equal"), ("class_weight", [1, 2]),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_parameters_of_both_estimators_are_refused(name, value):
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of MLPClassifier must be"):
        classifier(**{name: value}).fit(X, y)
    if name not in ("label_smoothing", "class_weight"):
        with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of MLPRegressor must be"):
            regressor(**{name: value}).partial_fit(X, COUNTS)


@pytest.mark.parametrize(
    ("name", "value"),
    [("loss", "hinge"), ("loss", None), ("quantile", 0), ("quantile", 1), ("quantile", None)],
)
def test_wrong_parameters_of_regressors_are_refused(name, value):
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of MLPRegressor must be"):
        regressor(**{name: value}).fit(X, COUNTS)


def test_wrong_items_and_objects_in_parameters_are_refused():
    for options, message in (
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes must be > 0, got"),
        ({"hidden_layer_sizes": (2.5,)}, "hidden_layer_sizes must be an integer or a list"),
        ({"dropout": [0.1]}, "a list of 2"),
        ({"dropout": [1.0, 0.0]}, r"dropout\[0\] must be"),
        ({"learning_rate": fastnn.CosineDecay}, "call it, as in"),
        ({"learning_rate": lambda step: -1.0}, "must be a finite number not below 0"),
        ({"solver": fastnn.optimizers.Optimizer()}, "optimizer must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier(**options).fit(X, y)
    with pytest.raises(ValueError, match="is for classes: use MLPClassifier"):
        regressor(loss=fastnn.SoftmaxCrossEntropy()).fit(X, COUNTS)


def test_multilabel_targets_of_scikit_learn_are_learned():
    table, labels = make_multilabel_classification(n_samples=100, random_state=0)
    model = classifier(max_iter=300, learning_rate_init=0.01, hidden_layer_sizes=(30,)).fit(table, labels)
    assert model.score(table, labels) > 0.9
    assert model.predict(table).dtype == np.int64
