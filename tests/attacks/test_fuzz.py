"""Random calls of all public functions: no crash, no internal error, no NaN from finite numbers.

These tests take minutes and are not run by default: ``pytest -m fuzz tests/attacks/test_fuzz.py``. Each makes
about `CALLS` calls, a number that FASTNN_FUZZ_CALLS sets. FASTNN_FUZZ_SEED, 0 by default, seeds the random
choices, so that a run can be repeated or varied. Hypothesis shrinks and prints its findings.

A call may return, or raise a ValueError, TypeError or MemoryError in this library or in scikit-learn's
validation.
"""

import copy
import inspect
import os
import traceback
import warnings
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import scipy.sparse as sp
from estimator_checks import parameters, state
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

import fastnn
from fastnn.losses import LOSSES
from fastnn.network.initialization import INITIALIZERS
from fastnn.optimizers import LBFGS
from fastnn.reference.layer import ACTIVATIONS
from fastnn.schedules import SCHEDULES

pytestmark = pytest.mark.fuzz

CALLS = int(os.environ.get("FASTNN_FUZZ_CALLS", "1000"))
SEED = int(os.environ.get("FASTNN_FUZZ_SEED", "0"))
# Packages whose code may raise for a user's input.
RAISERS = ("fastnn", "sklearn")


def fuzzed(calls_an_example):
    """Return a decorator that runs a test on `CALLS` / `calls_an_example` examples."""

    def decorate(test):
        settings = hypothesis.settings(
            max_examples=max(1, CALLS // calls_an_example),
            derandomize=False,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        return settings(hypothesis.seed(SEED)(test))

    return decorate


def outcome(call):
    """Return the result of a call, or the error that it raised for its input; other errors are raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Only fastnn's own warnings are let through: infinite scores, a high rate, no convergence.
        not_finite = "the network's scores|parameters of the network|the loss is|a score is not"
        warnings.filterwarnings("ignore", not_finite, RuntimeWarning)
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        warnings.filterwarnings("ignore", category=UserWarning)
        warnings.filterwarnings("ignore", "Data type alias", DeprecationWarning)  # NumPy, for odd dtypes
        warnings.filterwarnings("ignore", module="sklearn")
        try:
            return call()
        except (ValueError, TypeError, MemoryError) as raised:
            error = raised
    assert str(error).strip(), f"no message: {error!r}"
    place = Path(traceback.extract_tb(error.__traceback__)[-1].filename).parts
    assert any(raiser in place for raiser in RAISERS), f"raised in {place}: {error!r}"
    return error


# --- trainings -------------------------------------------------------------------------------------

SCALES = [1e-320, 1e-30, 1e-3, 0.3, 1.0, 1.0, 1.0, 30.0, 1e4, 1e19, 1e30, 1e300]


@st.composite
def tables(draw, n_inputs, dtype=np.float64):
    """Return finite samples (n, n_inputs) with columns of wildly different sizes, some of them constant."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.sampled_from([1, 2, 3, 7, 16, 17, 40, 300]))
    X = random.standard_normal((n, n_inputs))
    scales = draw(st.lists(st.sampled_from(SCALES), min_size=n_inputs, max_size=n_inputs))
    scales = [min(scale, float(np.finfo(dtype).max) / 100) for scale in scales]
    X *= scales
    if draw(st.booleans()):
        X[:, draw(st.integers(0, n_inputs - 1))] = draw(st.sampled_from([0.0, -0.0, 1.0]))
    if draw(st.integers(0, 9)) == 0:
        X = X.round()
    return X.astype(dtype)


share = st.sampled_from([0.0, 0.5, 0.9, 0.999, 1 - 2**-52])
decay = st.sampled_from([0.0, 1e-4, 0.1, 10.0])
eps = {"eps": st.sampled_from([1e-8, 1e-3, 0.0, 1e-320, 10.0]), "weight_decay": decay}
# Optimizers, by their names or as objects with any valid settings.
optimizers = st.one_of(
    st.sampled_from(sorted(fastnn.optimizers.OPTIMIZERS)),
    st.builds(fastnn.SGD, weight_decay=decay),
    st.builds(fastnn.Momentum, share, weight_decay=decay),
    st.builds(fastnn.Adam, betas=st.tuples(share, share), **eps),
    st.builds(fastnn.AdamW, betas=st.tuples(share, share), **eps),
    st.builds(fastnn.Adagrad, lr_decay=decay, **eps),
    st.builds(fastnn.RMSprop, alpha=share, momentum=share, **eps),
)


@st.composite
def trainings(draw):
    """Return valid arguments of `Model`, samples, targets, and valid arguments of `Model.train`."""
    dtype = draw(st.sampled_from([np.float64, np.float32]))
    n_hidden = draw(st.integers(0, 3))
    dims = [draw(st.integers(1, 9)) for _ in range(n_hidden + 2)]
    activation = st.sampled_from(sorted(ACTIVATIONS))
    rate = st.sampled_from([0.0, 0.0, 0.3, 0.9, 1 - 2**-40, 1e-320])
    name = draw(st.sampled_from(sorted(LOSSES)))
    arguments = {
        "layers_dim": dims,
        "activation": [draw(activation) for _ in range(n_hidden)],
        "output_activation": draw(activation),
        "dtype": dtype,
        "random_state": draw(st.integers(0, 2**32 - 1)),
        "loss": name,
        "dropout": [draw(rate) for _ in range(n_hidden + 1)],
        "batch_norm": draw(st.booleans()),
        "init": draw(st.sampled_from(sorted(INITIALIZERS))),
    }
    X = draw(tables(dims[0], dtype))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    y = random.integers(0, dims[-1], len(X))
    if not LOSSES[name].of_labels:
        low, high = LOSSES[name].bounds
        y = random.standard_normal((len(X), dims[-1])) * draw(st.sampled_from([1.0, 1.0, 100.0, 1e15]))
        y = np.abs(y) if low is not None else y
        y = y > 0.5 if high is not None else y
    limit = st.sampled_from([None, None, 1e-3, 1.0, 1e6])
    optimizer = draw(optimizers)
    options = {
        "num_passes": draw(st.integers(0, 6)),
        "epsilon": draw(st.sampled_from([0.0, 1e-320, 1e-6, 1e-3, 1e-2, 0.1, 1e3, 1e30])),
        "reg_lambda": draw(st.sampled_from([0.0, 0.0, 1e-320, 1e-4, 0.1, 1e5])),
        "reduction": draw(st.sampled_from(["sum", "mean", "mean"])),
        "optimizer": optimizer,
        "n_threads": draw(st.integers(1, 3)),
        "random_state": draw(st.integers(0, 2**32 - 1)),
    }
    if draw(st.booleans()):
        options["sample_weight"] = random.uniform(0.1, 3, len(X)) * (random.random(len(X)) < 0.8)
    if optimizer != "lbfgs" and not isinstance(optimizer, LBFGS):
        options |= {
            "batch_size": draw(st.sampled_from([None, 1, 3, 16, 1000])),
            "schedule": draw(st.sampled_from(sorted(SCHEDULES))),
            "shuffle": draw(st.booleans()),
            "l1": draw(st.sampled_from([0.0, 0.0, 1e-320, 1e-4, 0.1])),
            "max_norm": draw(limit),
            "clip_norm": draw(limit),
            "ema_decay": draw(st.sampled_from([None, None, 0.0, 0.9, 1 - 2**-52])),
        }
    else:
        arguments["dropout"] = 0.0
    if draw(st.booleans()):
        options["validation_data"] = X[: max(1, len(X) // 2)], y[: max(1, len(X) // 2)]
    return arguments, X, y, options


@fuzzed(calls_an_example=4)
@hypothesis.given(trainings())
def test_trainings_stay_finite_and_threads_change_no_bit(training):
    arguments, X, y, options = training

    def train(backend, **others):
        model = fastnn.Model(**arguments, backend=backend)
        return model, outcome(lambda: model.train(X, y, **{**options, **others}))

    model, history = train("numba")
    np.testing.assert_array_equal(parameters(train("numba", n_threads=1)[0]), parameters(model))
    plain, _ = train("numpy")
    for one in (model, plain):
        assert np.isfinite(state(one)).all()
    if not isinstance(history, Exception):
        assert np.isfinite(history.loss).all() or not np.isfinite(history.loss[:-1]).all()
        predictions = np.asarray(outcome(lambda: model.predict(X)), float)
        with np.errstate(all="ignore"):
            scores = np.asarray(outcome(lambda: plain.predict(X)), float)
        assert not np.isnan(predictions).any() or not np.isfinite(scores).all()


# --- estimators ------------------------------------------------------------------------------------


@st.composite
def fits(draw):
    """Return an estimator, samples with and without zeros, and targets."""
    is_classifier = draw(st.booleans())
    n_inputs = draw(st.integers(1, 30))
    dtype = draw(st.sampled_from([np.float64, np.float32]))
    X = draw(tables(n_inputs, dtype))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        X *= random.random(X.shape) < 0.08
    kind = draw(st.sampled_from(["one", "several", "text"]))
    if is_classifier:
        y = random.integers(0, draw(st.integers(1, 4)), len(X))
        if kind == "several":
            y = random.integers(0, 2, (len(X), 3))
        elif kind == "text":
            y = np.array(["a", "bb", "ccc", "d"])[y]
    else:
        y = random.standard_normal((len(X), 2) if kind == "several" else len(X))
        y *= draw(st.sampled_from([1.0, 1.0, 1e-10, 1e6, 1e20]))
    solver = draw(st.one_of(st.sampled_from(["adam", "sgd", "lbfgs"]), optimizers))
    is_lbfgs = solver == "lbfgs" or isinstance(solver, LBFGS)
    settings = {
        "hidden_layer_sizes": tuple(draw(st.lists(st.integers(1, 20), max_size=3))),
        "activation": draw(st.sampled_from([*ACTIVATIONS, "logistic"])),
        "solver": solver,
        "alpha": draw(st.sampled_from([0.0, 1e-4, 1.0, 1e10])),
        "batch_size": draw(st.sampled_from(["auto", 1, 7, 200])),
        "learning_rate": draw(st.sampled_from(["constant", "invscaling", "adaptive", *SCHEDULES])),
        "learning_rate_init": draw(st.sampled_from([1e-320, 1e-3, 0.1, 1e10])),
        "max_iter": draw(st.integers(1, 6)),
        "random_state": draw(st.integers(0, 2**32 - 1)),
        "warm_start": draw(st.booleans()),
        "tol": draw(st.sampled_from([0.0, 1e-4, 10.0])),
        "early_stopping": draw(st.booleans()),
        "n_iter_no_change": draw(st.integers(1, 3)),
        "batch_norm": draw(st.booleans()),
        "n_threads": draw(st.sampled_from([None, 1, 2])),
    }
    if not is_lbfgs:
        settings |= {
            "dropout": draw(st.sampled_from([0.0, 0.0, 0.4, 1e-320])),
            "max_grad_norm": draw(st.sampled_from([None, None, 1e-3, 1.0])),
            "ema_decay": draw(st.sampled_from([None, None, 0.9])),
        }
    if not is_classifier:
        settings["loss"] = draw(st.sampled_from(["squared_error", "absolute_error", "huber", "quantile"]))
    kind = fastnn.MLPClassifier if is_classifier else fastnn.MLPRegressor
    return kind(**settings), X, y


@fuzzed(calls_an_example=9)
@hypothesis.given(fits())
def test_estimators_stay_finite_and_dense_and_sparse_samples_agree(fit):
    estimator, X, y = fit
    table, by_table = sp.csr_array(X), copy.deepcopy(estimator)
    result, other = outcome(lambda: estimator.fit(X, y)), outcome(lambda: by_table.fit(table, y))
    if hasattr(estimator, "coefs_"):
        assert np.isfinite(parameters(estimator)).all()
    if isinstance(result, Exception) or isinstance(other, Exception):
        return
    assert np.isfinite(estimator.loss_) or estimator.early_stopping
    P, Q, again = (outcome(lambda rows=rows: estimator.predict(rows)) for rows in (X, table, X))
    if P.dtype.kind == "f" and np.isfinite(P).all():
        assert np.abs(P - Q).max() <= 1e-3 * np.abs(P).max() + np.finfo(P.dtype).tiny
    np.testing.assert_array_equal(again, P)
    if hasattr(estimator, "predict_proba"):
        probabilities = outcome(lambda: estimator.predict_proba(X))
        finite = np.isfinite(probabilities).all(axis=1)
        assert (np.abs(probabilities[finite] - 0.5) <= 0.5 + 1e-6).all()
        assert finite.all() or not np.isfinite(outcome(lambda: estimator.decision_function(X))).all()
    if hasattr(estimator, "partial_fit"):
        outcome(lambda: estimator.set_params(early_stopping=False).partial_fit(X, y))
    outcome(lambda: estimator.fit(X, y))
    assert np.isfinite(parameters(estimator)).all()


# --- odd arguments ---------------------------------------------------------------------------------

ODD = [
    *[None, True, False, -1, 0, 1, 3, 0.5, -0.0, 1.5, float("nan"), float("inf"), -float("inf"), 5e-324],
    *[1e-310, 10**400, -(10**400), 2**31, 2**64, 1e308, "", "a", "\0", "adam", b"a", 1j, [], (), {}, set()],
    *[[None], ["a"], [0.5, None], [[1, 2], [3]], (1, 2), (2, 1), [3, "a"], range(3), object(), int, len],
    *[np.float32(0.5), np.int8(10), np.bool_(True), np.array(0.5), np.array(3), np.array([])],
    *[np.zeros((0, 2)), np.zeros((2, 2, 2)), np.ones((4, 2)), np.ones(4), np.array([1j, 2])],
    *[np.array(["a", "b"]), np.array([None, 1], object), np.array(["2020-01-01"], "M8[D]")],
    *[np.ma.masked_array([1.0, 2.0], [True, False]), np.full((6, 2), np.nan), np.full((6, 2), np.inf)],
    *[sp.csr_matrix(np.eye(6, 2)), sp.coo_matrix(np.eye(6)), np.arange(12.0).reshape(6, 2)[::-1]],
]
# Six samples and their classes.
DATA = {
    "X": np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [0.5, 0.5], [-1.0, 2.0], [3.0, -1.0]]),
    "y": np.array([0, 1, 1, 0, 1, 0]),
}
SAMPLES = {"X": DATA["X"]}
VIEW = {"xlim": (0, 1), "ylim": (0, 1)}


def make_model():
    return fastnn.Model([2, 3, 2], random_state=0)


def make_fitted():
    """Return a classifier fitted to a few samples."""
    # A fit with a schedule ends at max_iter by plan: no ConvergenceWarning.
    settings = {"learning_rate": fastnn.Constant(), "max_iter": 2, "random_state": 0}
    return fastnn.MLPClassifier((3,), **settings).fit(**DATA)


def fit(estimator, *names):
    """Return a function of an estimator's parameters and some arguments of `fit`, and its arguments."""

    def call(**options):
        data = {name: options.pop(name) for name in names}
        return type(estimator)(**options).fit(**data)

    return call, {**dict.fromkeys(names), **DATA, **estimator.get_params(deep=False)}


def complete(method, **options):
    """Return a function and its keyword arguments: some, and the defaults of all others."""
    parameters = inspect.signature(method).parameters.values()
    defaults = {one.name: one.default for one in parameters if one.default is not one.empty}
    return method, {**defaults, **options}


SHORT = fastnn.MLPClassifier((3,), max_iter=2, random_state=0)
# Valid calls by name: a function and its keyword arguments.
VALID = {
    "Model": complete(fastnn.Model, layers_dim=[2, 3, 2], random_state=0),
    "train": complete(make_model().train, **DATA, num_passes=2, optimizer="adam"),
    "predict": complete(make_model().predict, **SAMPLES),
    "predict_proba": complete(make_model().predict_proba, **SAMPLES),
    "calculate_loss": complete(make_model().calculate_loss, **DATA),
    "check_gradients": complete(make_model().check_gradients, **DATA, n_points=1, n_parameters=2),
    "predictor": complete(make_model().predictor, n_rows=1),
    "Predictor": (make_model().predictor(6), SAMPLES),
    "MLPClassifier": fit(SHORT, "X", "y", "sample_weight", "X_val", "y_val"),
    "MLPRegressor": fit(fastnn.MLPRegressor("huber", (3,), max_iter=2, random_state=0), "X", "y"),
    "partial_fit": (
        lambda **options: fastnn.MLPClassifier((3,)).partial_fit(**options),
        {**DATA, "sample_weight": None, "classes": [0, 1]},
    ),
    "fitted predict": (make_fitted().predict, SAMPLES),
    "MLPEnsembleClassifier": fit(
        fastnn.MLPEnsembleClassifier(SHORT, 2, n_jobs=1, random_state=0), "X", "y", "sample_weight"
    ),
    "fit_many": complete(fastnn.fit_many, estimators=[SHORT], **DATA, n_jobs=1),
    "render_boundary": complete(fastnn.render_boundary, model=make_fitted(), **VIEW, size=8, n_threads=1),
    "boundary_lines": complete(
        fastnn.boundary_lines, model=make_fitted(), **VIEW, tolerance=0.1, n_threads=1
    ),
}

# Arguments that are numbers of repetitions.
REPEATED = ("num_passes", "max_iter", "n_estimators", "n_points", "max_fun")


@pytest.mark.parametrize("name", sorted(VALID))
def test_the_valid_calls_return(name):
    call, options = VALID[name]
    result = outcome(lambda: call(**options))
    assert not isinstance(result, Exception), result


@fuzzed(calls_an_example=1)
@hypothesis.given(st.sampled_from(sorted(VALID)), st.data())
def test_odd_arguments_are_accepted_or_refused(name, data):
    call, options = VALID[name]
    places = data.draw(st.lists(st.sampled_from(sorted(options)), min_size=1, max_size=2, unique=True))
    odd = {place: ODD[data.draw(st.integers(0, len(ODD) - 1))] for place in places}
    # Huge numbers of repetitions are valid, but would take for ever.
    hypothesis.assume(not any(type(odd.get(place)) is int and odd[place] > 1000 for place in REPEATED))
    outcome(lambda: call(**{**options, **odd}))
