"""Random calls of all public functions: no crash, no internal error, no NaN from finite numbers.

These tests take minutes and are not run by default: ``pytest -m fuzz tests/attacks/test_fuzz.py``. Each makes
about `CALLS` calls, a number that FASTNN_FUZZ_CALLS sets. FASTNN_FUZZ_SEED, 0 by default, seeds the random
choices, so that a run can be repeated or varied. Hypothesis shrinks and prints its findings.

A call may return, or raise a ValueError, TypeError or MemoryError in this library or in scikit-learn's
validation. Both backends must agree up to rounding: their results may differ by a multiple of the change
that follows when every input moves to an adjacent floating-point number.
"""

import copy
import os
import traceback
import warnings
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

import fastnn
from fastnn.engine.choice import get_backend
from fastnn.losses import LOSSES
from fastnn.network.initialization import INITIALIZERS
from fastnn.optimizers import LBFGS, resolve_optimizer
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
            max_examples=max(1, CALLS // calls_an_example), derandomize=False, database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
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


@st.composite
def optimizers(draw):
    """Return an optimizer, by its name or as an object with any valid settings."""
    share = st.sampled_from([0.0, 0.5, 0.9, 0.999, 1 - 2**-52])
    eps = st.sampled_from([1e-8, 1e-3, 0.0, 1e-320, 10.0])
    decay = st.sampled_from([0.0, 1e-4, 0.1, 10.0])
    kind = draw(st.sampled_from(["name", "sgd", "momentum", "adam", "adamw", "adagrad", "rmsprop"]))
    if kind == "name":
        return draw(st.sampled_from(sorted(fastnn.optimizers.OPTIMIZERS)))
    if kind == "sgd":
        return fastnn.SGD(weight_decay=draw(decay))
    if kind == "momentum":
        return fastnn.Momentum(draw(share), weight_decay=draw(decay))
    if kind in ("adam", "adamw"):
        adam = fastnn.Adam if kind == "adam" else fastnn.AdamW
        return adam(betas=(draw(share), draw(share)), eps=draw(eps), weight_decay=draw(decay))
    if kind == "adagrad":
        return fastnn.Adagrad(lr_decay=draw(decay), eps=draw(eps), weight_decay=draw(decay))
    return fastnn.RMSprop(alpha=draw(share), eps=draw(eps), momentum=draw(share), weight_decay=draw(decay))


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
    optimizer = draw(optimizers())
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


def trained(arguments, X, y, options, backend, moved=None):
    """Train a model with `arguments` of `Model` and `options` of `train`.

    Return the model, its samples, and a dict of the resulting arrays, or the error that was raised.

    A generator `moved` replaces every number of the input by one of its two neighbours, chosen at random.
    """
    model = fastnn.Model(**arguments, backend=backend)
    if moved is not None:
        model._parameters[...] = neighbours(model._parameters, moved)
        X, y = neighbours(X, moved), neighbours(y, moved)
        weights = options.get("sample_weight")
        options = options | {
            "sample_weight": neighbours(np.ones(len(X)) if weights is None else weights, moved)
        }
    result = outcome(lambda: model.train(X, y, **options))
    if isinstance(result, Exception):
        return model, X, result
    found = {"parameters": model._parameters, "loss": result.loss}
    found |= {f"running {k}": part for k, part in enumerate(running(model))}
    found["validation"] = result.validation_loss[np.isfinite(result.validation_loss)]
    found["predictions"] = np.asarray(outcome(lambda: model.predict(X)), float)
    return model, X, found


def running(model):
    """Return the running statistics of a model's normalised layers."""
    return [part for part in model._network.running(model._statistics) if part is not None]


def neighbours(values, random):
    """Return the next floating-point number above or below every value but 0; integers as they are."""
    if values.dtype.kind != "f":
        return values
    directions = np.where(random.random(values.shape) < 0.5, -np.inf, np.inf).astype(values.dtype)
    with np.errstate(over="ignore"):
        moved = np.nextafter(values, directions)
    return np.where((values == 0) | ~np.isfinite(moved), values, moved)


def differences(found, other, dtype):
    """Return every array's largest difference, relative to its largest value; None for unequal shapes."""
    least = float(np.finfo(dtype).tiny / np.finfo(dtype).eps)
    result = {}
    for name, array in found.items():
        if array.shape != other[name].shape:
            return None
        with np.errstate(all="ignore"):
            # Training flushes numbers below the normal range to 0, so numbers near it have no exact digits.
            size = max(np.abs(array).max(initial=0), least)
            result[name] = float(np.abs(array - other[name]).max(initial=0) / size)
    return result


@fuzzed(calls_an_example=12)
@hypothesis.given(trainings(), st.integers(0, 2**32 - 1))
def test_trainings_are_finite_and_both_backends_agree(training, seed):
    arguments, X, y, options = training
    model, _, compiled = trained(arguments, X, y, options, "numba")
    assert np.isfinite(model._parameters).all()
    assert np.isfinite(model._statistics).all()
    again, _, _ = trained(arguments, X, y, {**options, "n_threads": 1}, "numba")
    np.testing.assert_array_equal(again._parameters, model._parameters)
    plain, _, reference = trained(arguments, X, y, options, "numpy")
    assert np.isfinite(plain._parameters).all()
    if isinstance(compiled, dict):
        assert np.isfinite(compiled["loss"]).all() or not np.isfinite(compiled["loss"][:-1]).all()
        assert not np.isnan(compiled["predictions"]).any() or not np.isfinite(scores_of(model, X)).all()
    random = np.random.default_rng(seed)
    moved = [trained(arguments, X, y, options, "numpy", random)[2] for _ in range(3)]
    outcomes = [compiled, reference, *moved]
    if getattr(resolve_optimizer(options["optimizer"]), "eps", 1.0) < 1e-3:
        return  # a step divides by the gradient's size, which magnifies rounding without a limit
    if np.abs(X).max() > np.sqrt(np.finfo(arguments["dtype"]).max) / 1e4 or options["epsilon"] > 1e3:
        return  # squares may overflow on one side alone, or the rate magnifies rounding to any size
    if arguments["batch_norm"] and np.abs(X).max() > 1e6:
        return  # in a constant unit, the rounding error of the mean is as large as the least deviation
    if any(isinstance(one, Exception) for one in outcomes):
        # Rounding may decide whether a training diverges, but then some perturbed runs do and some do not.
        assert not all(isinstance(one, Exception) for one in outcomes[1:]) or isinstance(compiled, Exception)
        assert any(isinstance(one, Exception) for one in outcomes[1:]) or not isinstance(compiled, Exception)
        return
    assert_agree(compiled, reference, moved, arguments, options)


def scores_of(model, X):
    """Return the scores of samples, by the reference."""
    return outcome(
        lambda: get_backend("numpy").outputs(
            model._network, model._predicting, X.astype(model.dtype), "identity"
        )
    )


# Tolerance of the difference between the backends: FACTOR times the effect of a perturbation, plus ULPS ulps.
FACTOR, ULPS = 1000, 1e5


def assert_agree(compiled, reference, moved, arguments, options):
    """Assert that both backends differ by no more than rounding explains, as the perturbed runs show."""
    eps = float(np.finfo(arguments["dtype"]).eps)
    by_rounding = [differences(reference, one, arguments["dtype"]) for one in moved]
    between_backends = differences(reference, compiled, arguments["dtype"])
    if between_backends is None or None in by_rounding:  # shapes differ where one run stopped earlier
        return
    for name, distance in between_backends.items():
        if name == "predictions" and (LOSSES[arguments["loss"]].of_labels or not np.isfinite(distance)):
            continue  # classes may change where two scores are equal, and exp may overflow
        most = max(one[name] for one in by_rounding)
        assert distance <= FACTOR * most + ULPS * eps or most > 1e-3, (name, distance, most)


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
    solver = draw(st.one_of(st.sampled_from(["adam", "sgd", "lbfgs"]), optimizers()))
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


def as_table(X, random):
    """Return X as a valid sparse table with unsorted and duplicate entries and explicit zeros."""
    rows, columns = np.nonzero(X)
    values = X[rows, columns]
    order = random.permutation(len(values))
    rows, columns, values = rows[order], columns[order], values[order]
    if len(values):
        extra = random.integers(0, len(values), 2)
        rows, columns = np.append(rows, rows[extra]), np.append(columns, columns[extra])
        values = np.append(values, np.zeros(2, X.dtype))
    starts = np.zeros(len(X) + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=len(X)), out=starts[1:])
    order = np.argsort(rows, kind="stable")
    table = sp.csr_matrix((values[order], columns[order], starts), shape=X.shape)
    return table if random.random() < 0.5 else sp.csr_array(table)


def assert_fitted_is_finite(estimator):
    """Assert that the state of a fitted estimator is finite."""
    state = estimator._state
    for array in (state.parameters, state.statistics, state.predicting, state.predicting_statistics):
        assert np.isfinite(array).all()
    if state.memory is not None:
        assert np.isfinite(state.memory.optimizer).all()


@fuzzed(calls_an_example=9)
@hypothesis.given(fits(), st.integers(0, 2**32 - 1))
def test_estimators_stay_finite_and_dense_and_sparse_samples_agree(fit, seed):
    estimator, X, y = fit
    random = np.random.default_rng(seed)
    table = as_table(X, random)
    by_table = copy.deepcopy(estimator)
    result, other = outcome(lambda: estimator.fit(X, y)), outcome(lambda: by_table.fit(table, y))
    if not isinstance(result, Exception):
        assert_fitted_is_finite(estimator)
        assert np.isfinite(estimator.loss_) or estimator.early_stopping
    if isinstance(result, Exception) or isinstance(other, Exception):
        if hasattr(estimator, "_state"):
            assert_fitted_is_finite(estimator)
        return
    P = outcome(lambda: estimator.predict(X))
    Q = outcome(lambda: estimator.predict(table))
    if P.dtype.kind == "f" and np.isfinite(P).all():
        assert np.abs(P - Q).max() <= 1e-3 * np.abs(P).max() + np.finfo(P.dtype).tiny
    again = outcome(lambda: estimator.predict(X))
    np.testing.assert_array_equal(again, P)
    if hasattr(estimator, "predict_proba"):
        probabilities = outcome(lambda: estimator.predict_proba(X))
        finite = np.isfinite(probabilities).all(axis=1)
        assert (np.abs(probabilities[finite] - 0.5) <= 0.5 + 1e-6).all()
        assert finite.all() or not np.isfinite(outcome(lambda: estimator.decision_function(X))).all()
    if hasattr(estimator, "partial_fit"):
        outcome(lambda: estimator.set_params(early_stopping=False).partial_fit(X, y))
        assert_fitted_is_finite(estimator)
    outcome(lambda: estimator.fit(X, y))
    assert_fitted_is_finite(estimator)


# --- pictures --------------------------------------------------------------------------------------


@st.composite
def pictures(draw):
    """Return a network of two inputs and valid arguments of `render_boundary`."""
    n_hidden = draw(st.integers(0, 3))
    dims = [2, *(draw(st.integers(1, 12)) for _ in range(n_hidden)), draw(st.integers(2, 5))]
    activation = st.sampled_from(sorted(ACTIVATIONS))
    model = fastnn.Model(
        dims, activation=[draw(activation) for _ in range(n_hidden)], output_activation=draw(activation),
        dtype=draw(st.sampled_from([np.float64, np.float32])), random_state=draw(st.integers(0, 2**32 - 1)),
    )  # fmt: skip
    factor = draw(st.sampled_from([1.0, 1.0, 3.0, 0.01, 100.0, 1e6]))
    model.W = [W * factor for W in model.W]
    limits = []
    for _ in range(2):
        middle = draw(st.sampled_from([0.0, 0.0, 1.0, -3.0, 1e6, 1e30]))
        span = draw(st.sampled_from([1e-3, 1.0, 4.0, 4.0, 1e3, 1e30]))
        limits.append((middle - span, middle + span))
    options = {
        "xlim": limits[0],
        "ylim": limits[1],
        "size": (draw(st.integers(1, 70)), draw(st.integers(1, 70))),
        "n_threads": draw(st.integers(1, 3)),
    }
    return model, options


@fuzzed(calls_an_example=6)
@hypothesis.given(pictures(), st.sampled_from(["probability", "confidence", "margin"]))
def test_pictures_of_all_methods_and_backends_agree(picture, response):
    model, options = picture
    dense = outcome(lambda: fastnn.render_boundary(model, method="dense", **options))
    certified = outcome(lambda: fastnn.render_boundary(model, method="certified", **options))
    if isinstance(dense, Exception):
        assert str(dense) == str(certified)
        return
    np.testing.assert_array_equal(dense.data, certified.data)
    assert dense.data.max() < model.layers_dim[-1]
    plain = copy.deepcopy(model)
    plain.backend = "numpy"
    reference = outcome(lambda: fastnn.render_boundary(plain, method="dense", **options))
    assert_same_classes(dense, reference, model)
    which = {"class_of_interest": 0} if response == "probability" else {}
    values = outcome(lambda: fastnn.render_boundary(model, response=response, **which, **options)).data
    assert not np.isnan(values).any() or not np.isfinite(scores_of(model, pixels(dense))).all()
    lines = outcome(
        lambda: fastnn.boundary_lines(model, options["xlim"], options["ylim"], tolerance=tolerance(options))
    )
    if not isinstance(lines, Exception):
        for line in (line for several in lines.values() for line in several):
            assert np.isfinite(line).all()
            assert ((line >= dense.extent[::2]) & (line <= dense.extent[1::2])).all()


def tolerance(options):
    """Return a hundredth of the width and height of a picture."""
    return tuple((high - low) / 100 for low, high in (options["xlim"], options["ylim"]))


def pixels(image):
    """Return the centres (n, 2) of a picture's pixels."""
    height, width = image.data.shape
    left, right, bottom, top = image.extent
    xs = left + (right - left) * (np.arange(width) + 0.5) / width
    ys = bottom + (top - bottom) * (np.arange(height) + 0.5) / height
    return np.column_stack([np.tile(xs, height), np.repeat(ys, width)])


def assert_same_classes(image, reference, model):
    """Assert that the classes of two pictures differ only where two scores are within rounding."""
    flat, other = image.data.ravel(), reference.data.ravel()
    differ = np.flatnonzero(flat != other)
    if not differ.size:
        return
    with np.errstate(all="ignore"):
        S = np.asarray(scores_of(model, pixels(image)[differ]), float)
        rows = np.arange(len(differ))
        gap = np.abs(S[rows, flat[differ]] - S[rows, other[differ]])
        scale = np.maximum(np.abs(S).max(axis=1), 1e-300)
        # Coordinates are rounded to the network's dtype, and large weights magnify the error.
        sensitivity = np.prod([max(1.0, np.abs(W).sum(axis=0).max()) for W in model.W])
        reach = np.abs(image.extent).max() * sensitivity / np.minimum(scale, 1e300)
        eps = np.finfo(model.dtype).eps
        is_close = ~np.isfinite(gap) | (gap <= 1e4 * eps * scale * (1 + reach))
    assert is_close.all(), (pixels(image)[differ[~is_close]][:3], S[~is_close][:3])


# --- odd arguments ---------------------------------------------------------------------------------

ODD = [
    None, True, False, -1, 0, 1, 3, 0.5, -0.0, 1.5, float("nan"), float("inf"), -float("inf"), 5e-324,
    1e-310, 10**400, -(10**400), 2**31, 2**64, 1e308, "", "a", "\0", "adam", b"a", 1j, [], (), {}, set(),
    [None], ["a"], [0.5, None], [[1, 2], [3]], (1, 2), (2, 1), [3, "a"], range(3), object(), int, len,
    np.float32(0.5),
    np.int8(10), np.bool_(True), np.array(0.5), np.array(3), np.array([]), np.zeros((0, 2)),
    np.zeros((2, 2, 2)), np.ones((4, 2)), np.ones(4), np.array([1j, 2]), np.array(["a", "b"]),
    np.array([None, 1], object), np.array(["2020-01-01"], "M8[D]"),
    np.ma.masked_array([1.0, 2.0], [True, False]),
    np.full((6, 2), np.nan), np.full((6, 2), np.inf), sp.csr_matrix(np.eye(6, 2)), sp.coo_matrix(np.eye(6)),
    np.arange(12.0).reshape(6, 2)[::-1],
]  # fmt: skip
# Six samples and their classes.
X6 = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [0.5, 0.5], [-1.0, 2.0], [3.0, -1.0]])
Y6 = np.array([0, 1, 1, 0, 1, 0])


def fitted():
    """Return a classifier fitted to a few samples."""
    # A fit with a schedule ends at max_iter by plan: no ConvergenceWarning.
    settings = {"learning_rate": fastnn.Constant(), "max_iter": 2, "random_state": 0}
    return fastnn.MLPClassifier((3,), **settings).fit(X6, Y6)


# Valid calls by name: a function and its keyword arguments.
VALID = {
    "Model": (fastnn.Model, {
        "layers_dim": [2, 3, 2], "activation": "tanh", "output_activation": "tanh", "backend": "numba",
        "dtype": np.float64, "random_state": 0, "rng": None, "loss": "softmax_cross_entropy", "dropout": 0.0,
        "batch_norm": False, "init": "tutorial",
    }),
    "train": (lambda **options: fastnn.Model([2, 3, 2], random_state=0).train(**options), {
        "X": X6, "y": Y6, "num_passes": 2, "epsilon": 0.01, "reg_lambda": 0.0, "print_loss": False,
        "batch_size": 2, "optimizer": "adam", "schedule": "constant", "reduction": "mean", "shuffle": True,
        "sample_weight": None, "l1": 0.0, "max_norm": None, "clip_norm": None, "ema_decay": None,
        "n_threads": 1, "validation_data": None, "callbacks": (), "progress": False, "random_state": 0,
    }),
    "predict": (fastnn.Model([2, 3, 2], random_state=0).predict, {"X": X6}),
    "predict_proba": (fastnn.Model([2, 3, 2], random_state=0).predict_proba, {"X": X6}),
    "calculate_loss": (
        fastnn.Model([2, 3, 2], random_state=0).calculate_loss, {"X": X6, "y": Y6, "sample_weight": None}
    ),
    "check_gradients": (fastnn.Model([2, 3, 2], random_state=0).check_gradients, {
        "X": X6, "y": Y6, "sample_weight": None, "n_samples": 2, "n_points": 1, "n_parameters": 2,
        "random_state": 0,
    }),
    "predictor": (fastnn.Model([2, 3, 2], random_state=0).predictor, {"n_rows": 1, "method": "predict"}),
    "Predictor": (lambda X: fastnn.Model([2, 3, 2], random_state=0).predictor(6)(X), {"X": X6}),
    "MLPClassifier": (
        lambda X, y, sample_weight, X_val, y_val, **settings: fastnn.MLPClassifier(**settings).fit(
            X, y, sample_weight, X_val, y_val
        ),
        {
            "X": X6, "y": Y6, "sample_weight": None, "X_val": None, "y_val": None,
            **fastnn.MLPClassifier((3,), max_iter=2, random_state=0).get_params(),
        },
    ),
    "MLPRegressor": (
        lambda X, y, **settings: fastnn.MLPRegressor(**settings).fit(X, y),
        {"X": X6, "y": Y6, **fastnn.MLPRegressor("huber", (3,), max_iter=2, random_state=0).get_params()},
    ),
    "partial_fit": (lambda **options: fastnn.MLPClassifier((3,)).partial_fit(**options), {
        "X": X6, "y": Y6, "sample_weight": None, "classes": [0, 1],
    }),
    "fitted predict": (lambda X: fitted().predict(X), {"X": X6}),
    "MLPEnsembleClassifier": (
        lambda X, y, sample_weight, **settings: fastnn.MLPEnsembleClassifier(**settings).fit(
            X, y, sample_weight
        ),
        {
            "X": X6, "y": Y6, "sample_weight": None, "estimator": fastnn.MLPClassifier((2,), max_iter=2),
            "n_estimators": 2, "method": "seeds", "n_jobs": 1, "random_state": 0,
        },
    ),
    "fit_many": (fastnn.fit_many, {
        "estimators": [fastnn.MLPClassifier((2,), max_iter=2)], "X": X6, "y": Y6, "n_jobs": 1,
    }),
    "render_boundary": (fastnn.render_boundary, {
        "model": fitted(), "xlim": (0, 1), "ylim": (0, 1), "size": 8, "response": "class", "method": "auto",
        "class_of_interest": None, "features": None, "fill": None, "classes": None, "n_threads": 1,
        "progress": False, "out": None,
    }),
    "boundary_lines": (fastnn.boundary_lines, {
        "model": fitted(), "xlim": (0, 1), "ylim": (0, 1), "tolerance": 0.1, "class_of_interest": None,
        "features": None, "fill": None, "classes": None, "n_threads": 1, "progress": False,
    }),
    "LBFGS": (fastnn.LBFGS, {"maxcor": 10, "ftol": 1e-9, "gtol": 1e-5, "maxls": 20}),
    "Adam": (fastnn.Adam, {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}),
    "RMSprop": (fastnn.RMSprop, {"alpha": 0.9, "eps": 1e-8, "momentum": 0.0, "weight_decay": 0.0}),
    "Adagrad": (fastnn.Adagrad, {"lr_decay": 0.0, "eps": 1e-8, "weight_decay": 0.0}),
    "Momentum": (fastnn.Momentum, {"momentum": 0.9, "weight_decay": 0.0}),
    "Huber": (fastnn.Huber, {"delta": 1.0}),
    "Quantile": (fastnn.Quantile, {"quantile": 0.5}),
    "EarlyStopping": (fastnn.EarlyStopping, {"patience": 10, "min_delta": 0.0, "scorer": None}),
    "StepDecay": (fastnn.StepDecay, {}),
    "CosineDecay": (fastnn.CosineDecay, {}),
    "OneCycle": (fastnn.OneCycle, {}),
}  # fmt: skip

# Arguments that are numbers of repetitions.
REPEATED = ("num_passes", "max_iter", "n_estimators", "n_points", "max_fun")


@pytest.mark.parametrize("name", sorted(VALID))
def test_the_valid_calls_return(name):
    call, options = VALID[name]
    result = outcome(lambda: call(**options))
    assert not isinstance(result, Exception), result


@fuzzed(calls_an_example=1)
@hypothesis.given(st.sampled_from(sorted(name for name, (_, options) in VALID.items() if options)), st.data())
def test_odd_arguments_are_accepted_or_refused(name, data):
    call, options = VALID[name]
    places = data.draw(st.lists(st.sampled_from(sorted(options)), min_size=1, max_size=2, unique=True))
    odd = {place: ODD[data.draw(st.integers(0, len(ODD) - 1))] for place in places}
    # Huge numbers of repetitions are valid, but would take for ever.
    hypothesis.assume(not any(type(odd.get(place)) is int and odd[place] > 1000 for place in REPEATED))
    outcome(lambda: call(**{**options, **odd}))
