"""`Model` from its user's side: arguments, parameters, training, interrupts and threads."""

import copy
import inspect
import pickle
import signal
import threading

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from estimator_checks import parameters
from sklearn.datasets import make_moons
from strategies import name_of

import fastnn
from fastnn.engine.choice import get_backend
from fastnn.engine.job import Job, Memory
from fastnn.losses import LOSSES
from fastnn.network.description import Network
from fastnn.network.initialization import INITIALIZERS
from fastnn.optimizers import OPTIMIZERS
from fastnn.training.history import record_every
from fastnn.training.loop import run_training

X, y = make_moons(200, noise=0.20, random_state=0)
BACKENDS = ("numba", "numpy")


def trained(X=X, y=y, **options):
    """Return the tutorial's model after 50 passes."""
    model = fastnn.Model([2, 3, 2], random_state=1, **options)
    model.train(X, y, num_passes=50)
    return model


def everything(model):
    """Return all numbers that a training may change, the state of NumPy's global generator included."""
    return np.concatenate([model._parameters, model._statistics, np.random.get_state()[1]])


# --- arguments -----------------------------------------------------------------------------------

strided = np.zeros((400, 5))
strided[::2, 1::2] = X
read_only = X.copy()
read_only.flags.writeable = False
unaligned = np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float64).reshape(X.shape)
INPUTS = {
    "fortran": np.asfortranarray(X),
    "strided": strided[::2, 1::2],
    "reversed": X[::-1][::-1],
    "read-only": read_only,
    "unaligned": unaligned,
    "big-endian": X.astype(">f8"),
    "list": X.tolist(),
    "object": X.astype(object),
    "frame": pd.DataFrame(X, columns=["a", "b"]),
    "masked": np.ma.array(X),
    "matrix of a subclass": X.view(type("Sub", (np.ndarray,), {})),
}
LABELS = {
    "int8": y.astype(np.int8),
    "uint64": y.astype(np.uint64),
    "bool": y.astype(bool),
    "whole floats": y.astype(np.float32),
    "list": y.tolist(),
    "series": pd.Series(y, index=np.arange(200, 400)),
    "strided": np.repeat(y, 2)[::2],
    "object": y.astype(object),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("given", INPUTS.values(), ids=INPUTS)
def test_any_table_of_samples(given, backend):
    expected = trained(backend=backend)
    model = trained(given, backend=backend)
    np.testing.assert_array_equal(parameters(model), parameters(expected))
    np.testing.assert_array_equal(model.predict(given), expected.predict(X))
    np.testing.assert_array_equal(model.predict_proba(given), expected.predict_proba(X))
    assert model.calculate_loss(given, y) == expected.calculate_loss(X, y)


@pytest.mark.parametrize("given", LABELS.values(), ids=LABELS)
def test_any_list_of_labels(given):
    model = trained(y=given)
    np.testing.assert_array_equal(parameters(model), parameters(trained()))


@pytest.mark.parametrize("integer", [np.int8, np.uint16, np.int64, bool])
def test_integer_samples(integer):
    table = np.round(X * 20).astype(integer)
    np.testing.assert_array_equal(parameters(trained(table)), parameters(trained(table.astype(np.float64))))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("given", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_models_dtype_is_kept(given, dtype, backend):
    model = trained(X.astype(given), dtype=dtype, backend=backend)
    assert model.dtype == dtype
    assert {a.dtype for a in (*model.W, *model.b)} == {np.dtype(dtype)}
    assert model.predict_proba(X.astype(given)).dtype == dtype


def test_inputs_stay_as_they_are():
    before = X.copy(), y.copy()
    trained()
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])


nan, infinite = X.copy(), X.copy()
nan[3, 1], infinite[5, 0] = np.nan, -np.inf
wrong = y.copy()
wrong[7] = 2
BAD_DATA = {
    "NaN": ((nan, y), "X contains NaN or infinity, first at row 3, column 1"),
    "infinity": ((infinite, y), "X contains NaN or infinity, first at row 5, column 0"),
    "features": ((X[:, :1], y), "X has 1 features, but the network has 2 inputs"),
    "length": ((X, y[:-1]), "X has 200 samples, but y has 199 labels"),
    "empty": ((X[:0], y[:0]), "X has no samples"),
    "one sample": ((X[0], y[:1]), r"X must have two dimensions .* X.reshape\(1, -1\)"),
    "three dimensions": ((X[None], y), "X must have two dimensions"),
    "text": (([["a", "b"]] * 200, y), "X must hold numbers"),
    "digits as text": (([["1", "2"]] * 200, y), "X must hold numbers"),
    "dates": ((X.astype("datetime64[D]"), y), "X must hold numbers, got dtype datetime64"),
    "masked": ((np.ma.masked_less(X, 0), y), "X has masked values"),
    "ragged": (([[1, 2], [3]], y[:2]), "X is no rectangular table"),
    "complex": ((X + 1j, y), "X is complex"),
    "sparse": ((scipy.sparse.csr_array(X), y), r"X.toarray\(\)"),
    "none": ((None, y), "X must have two dimensions"),
    "label too large": (
        (X, wrong),
        r"y\[7\] is 2, but a network with 2 outputs takes the labels 0 .. 1: .*3 outputs",
    ),
    "label negative": ((X, -wrong), r"y\[\d+\] is -1, .* labels count from 0"),
    "label fractional": ((X, y + 0.5), r"y must hold integer labels, but y\[0\] is"),
    "label NaN": ((X, np.where(y, np.nan, 0)), r"y must hold integer labels, but y\[\d+\] is nan"),
    "labels in a column": ((X, y[:, None]), r"y must have one dimension.*y.ravel\(\)"),
    "labels one-hot": ((X, np.eye(2)[y]), "y must have one dimension"),
    "labels text": ((X, np.array(["no", "yes"])[y]), "number the classes first"),
    "labels digits": ((X, y.astype(str)), "number the classes first"),
    "labels sparse": ((X, scipy.sparse.csr_array(y[None])), r"y.toarray\(\)"),
    "labels masked": ((X, np.ma.masked_less(y, 1)), "y has masked values"),
    "labels dates": ((X, y.astype("datetime64[D]")), "y must hold integer labels .*got dtype datetime64"),
    "labels huge": ((X, np.full(200, 1e300)), "number the classes from 0, as numpy.unique"),
    "beyond all floats": (([[10**400, 0]] * 200, y), "X holds numbers too large for float64"),
    "labels ragged": ((X, [[0], [0, 1]]), "y is no list of labels"),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("data", "message"), BAD_DATA.values(), ids=BAD_DATA)
def test_bad_data_is_refused_and_nothing_changes(data, message, backend):
    model = fastnn.Model([2, 3, 2], random_state=0, backend=backend)
    before = everything(model)
    with pytest.raises(ValueError, match=message):
        model.train(*data)
    with pytest.raises(ValueError, match=message):
        model.calculate_loss(*data)
    with pytest.raises(ValueError, match=message):
        model.check_gradients(*data)
    with pytest.raises(ValueError, match="[Xy] of validation_data"):
        model.train(X, y, validation_data=data)
    np.testing.assert_array_equal(everything(model), before)
    if message.startswith("X") and "labels" not in message:
        with pytest.raises(ValueError, match=message):
            model.predict(data[0])
        with pytest.raises(ValueError, match=message):
            model.predict_proba(data[0])


def test_values_beyond_float32_are_told_before_they_become_infinite():
    model = fastnn.Model([2, 3, 2], dtype=np.float32, random_state=0)
    with pytest.raises(ValueError, match="first at row 0, column 1, as float32"):
        model.predict([[0.0, 1e300]])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([2, 0, 2],), ValueError, r"layers_dim\[1\] is 0"),
        (([2, -3, 2],), ValueError, r"layers_dim\[1\] is -3"),
        (([2],), ValueError, "at least the inputs and the outputs"),
        (([],), ValueError, "at least the inputs and the outputs"),
        (([2, 3.5, 2],), TypeError, "sequence of integers"),
        ((3,), TypeError, "sequence of integers"),
        (("232",), TypeError, "sequence of integers"),
    ],
)
def test_bad_layers(arguments, error, message):
    with pytest.raises(error, match=message):
        fastnn.Model(*arguments)


BAD_OPTIONS = [
    ({"activation": "rellu"}, "activation must be one of .*'tanh'.*got 'rellu'"),
    (
        {"activation": ["tanh", "tanh"]},
        r"activation must be one name or a list .*1 hidden.*got \['tanh', 'tanh'\]",
    ),
    ({"activation": []}, r"activation must be one name or a list .*got \[\]"),
    ({"activation": ["rellu"]}, "activation must be one of .*got 'rellu'"),
    ({"activation": [None]}, "activation must be one of .*got None"),
    ({"activation": None}, "activation must be one name or a list .*got None"),
    ({"activation": {"tanh": 1}}, "activation must be one name or a list"),
    ({"output_activation": None}, "output_activation must be one of .*got None"),
    ({"output_activation": "softmax"}, "output_activation must be one of .*got 'softmax'"),
    ({"output_activation": ["tanh"]}, r"output_activation must be one of .*got \['tanh'\]"),
    ({"backend": "torch"}, r"backend must be one of \['numba', 'numpy'\], got 'torch'"),
    ({"backend": ["numba"]}, r"backend must be one of .*got \['numba'\]"),
    ({"dtype": np.float16}, "dtype must be float32 or float64, got float16"),
    ({"dtype": "no such"}, "dtype must be float32 or float64, got 'no such'"),
    ({"dtype": int}, "dtype must be float32 or float64, got int64"),
    ({"dtype": ">f8"}, "dtype must be float32 or float64, got >f8"),
    ({"random_state": -1}, "random_state must be None, an integer .*got -1"),
    ({"random_state": 2**32}, "random_state must be None, an integer .*got 4294967296"),
    ({"random_state": "zero"}, "random_state must be None, an integer .*got 'zero'"),
    ({"random_state": np.random.default_rng(0)}, "random_state must be None, an integer .*got Generator"),
    ({"loss": "cross_entropy"}, "loss must be one of .*'softmax_cross_entropy'.*got 'cross_entropy'"),
    ({"loss": fastnn.Huber}, r"loss must be an object, got the class Huber: call it, as in Huber\(\)"),
    ({"loss": None}, "loss must be one of .*got None"),
    ({"loss": fastnn.Adam()}, r"loss must be one of .*got Adam\("),
    ({"dropout": 1.0}, "dropout must be a finite number not below 0 and below 1, got 1.0"),
    ({"dropout": -0.1}, "dropout must be .*got -0.1"),
    ({"dropout": np.nan}, "dropout must be .*got nan"),
    ({"dropout": "some"}, "dropout must be .*got 'some'"),
    ({"dropout": None}, "dropout must be .*got None"),
    ({"dropout": True}, "dropout must be .*got True"),
    ({"dropout": 10**400}, "dropout must be .*got 1000"),
    ({"dropout": [0.5]}, r"dropout must be one rate, .*or a list of 2: .*got \[0.5\]"),
    ({"dropout": [0.5, 2.0]}, r"dropout\[1\] must be .*got 2.0"),
    ({"batch_norm": 1}, "batch_norm must be True or False, got 1"),
    ({"batch_norm": "yes"}, "batch_norm must be True or False, got 'yes'"),
    ({"init": "xavier"}, "init must be one of .*'glorot_uniform'.*got 'xavier'"),
    ({"init": None}, "init must be one of .*got None"),
]


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS, ids=[name_of(case[0]) for case in BAD_OPTIONS])
def test_bad_options(options, message):
    before = np.random.get_state()[1].copy()
    with pytest.raises(ValueError, match=message):
        fastnn.Model([2, 3, 2], **options)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


BAD_TRAINING_OPTIONS = [
    ({"num_passes": -1}, "num_passes must be an integer not below 0 .*, got -1"),
    ({"num_passes": 1.5}, "num_passes must be an integer not below 0 .*, got 1.5"),
    ({"num_passes": 2**63}, "num_passes must be .*got 9223372036854775808"),
    ({"num_passes": None}, "num_passes must be .*got None"),
    ({"epsilon": -0.1}, "epsilon must be a finite number not below 0, got -0.1"),
    ({"epsilon": np.nan}, "epsilon must be a finite number not below 0, got nan"),
    ({"epsilon": "fast"}, "epsilon must be a finite number not below 0, got 'fast'"),
    ({"epsilon": 10**400}, "epsilon must be a finite number not below 0, got 1000"),
    ({"epsilon": None}, "epsilon must be .*got None"),
    ({"reg_lambda": np.inf}, "reg_lambda must be a finite number not below 0, got inf"),
    ({"reg_lambda": [0.1]}, r"reg_lambda must be .*got \[0.1\]"),
    ({"print_loss": "no"}, "print_loss must be True or False, got 'no'"),
    ({"print_every": 0}, "print_every must be an integer not below 1 .*got 0"),
    ({"batch_size": 0}, "batch_size must be an integer not below 1 .*got 0"),
    ({"batch_size": 16.0}, "batch_size must be an integer not below 1 .*got 16.0"),
    ({"batch_size": "all"}, "batch_size must be an integer not below 1 .*got 'all'"),
    ({"optimizer": "adamax"}, "optimizer must be one of .*'adamw'.*got 'adamax'"),
    ({"optimizer": fastnn.Adam}, r"optimizer must be an object, got the class Adam: .*Adam\(\)"),
    ({"optimizer": None}, "optimizer must be one of .*got None"),
    ({"schedule": "cosine"}, "schedule must be one of .*'cosine_decay'.*got 'cosine'"),
    ({"schedule": fastnn.CosineDecay}, r"schedule must be an object, got the class CosineDecay"),
    ({"schedule": 0.9}, "schedule must be one of .*got 0.9"),
    ({"schedule": lambda step: -1.0}, "the schedule's factor at step 0 must be .*got -1.0"),
    ({"schedule": lambda step: "fast"}, "the schedule's factor at step 0 must be .*got 'fast'"),
    ({"reduction": "average"}, r"reduction must be one of \['mean', 'sum'\], got 'average'"),
    ({"reduction": None}, "reduction must be one of .*got None"),
    ({"shuffle": 1}, "shuffle must be True or False, got 1"),
    ({"shuffle": None}, "shuffle must be True or False, got None"),
    ({"sample_weight": 2.0}, r"sample_weight must hold a number for each of 200 samples, got shape \(\)"),
    ({"sample_weight": np.ones(199)}, r"sample_weight must hold .* of 200 samples, got shape \(199,\)"),
    ({"sample_weight": np.ones((200, 1))}, r"sample_weight must hold .*got shape \(200, 1\)"),
    ({"sample_weight": -np.ones(200)}, r"sample_weight\[0\] is -1, but weights are finite and not below 0"),
    ({"sample_weight": np.full(200, np.nan)}, r"sample_weight\[0\] is nan"),
    ({"sample_weight": np.full(200, np.inf)}, r"sample_weight\[0\] is inf"),
    ({"sample_weight": np.zeros(200)}, "sample_weight is zero for every sample"),
    ({"sample_weight": ["1"] * 200}, "sample_weight must hold numbers, got dtype <U1"),
    ({"sample_weight": [[1], [1, 2]]}, "sample_weight is no list of numbers"),
    ({"sample_weight": np.ma.masked_less(np.arange(200), 3)}, "sample_weight has masked values"),
    ({"l1": -1}, "l1 must be a finite number not below 0, got -1"),
    ({"l1": "some"}, "l1 must be .*got 'some'"),
    ({"max_norm": 0}, "max_norm must be a finite number above 0, got 0"),
    ({"max_norm": np.inf}, "max_norm must be a finite number above 0, got inf"),
    ({"max_norm": 10**400}, "max_norm must be a finite number above 0, got 1000"),
    ({"clip_norm": -2.0}, "clip_norm must be a finite number above 0, got -2.0"),
    ({"clip_norm": "1"}, "clip_norm must be a finite number above 0, got '1'"),
    ({"ema_decay": 1.0}, "ema_decay must be a finite number not below 0 and below 1, got 1.0"),
    ({"ema_decay": -0.5}, "ema_decay must be .*got -0.5"),
    ({"ema_decay": True}, "ema_decay must be .*got True"),
    ({"n_threads": 0}, "n_threads must be an integer not below 1 .*got 0"),
    ({"n_threads": None}, "n_threads must be an integer not below 1 .*got None"),
    ({"n_threads": 2.0}, "n_threads must be an integer not below 1 .*got 2.0"),
    ({"validation_data": X}, r"validation_data must be the two of \(X, y\), got ndarray"),
    ({"validation_data": (X,)}, r"validation_data must be the two of \(X, y\), got"),
    ({"validation_data": (X, y, y)}, r"validation_data must be the two of \(X, y\), got"),
    ({"validation_data": (X[:, :1], y)}, "X of validation_data has 1 features"),
    ({"validation_data": (X, y[:-1])}, "X has 200 samples, but y of validation_data has 199 labels"),
    ({"validation_data": (X, y + 1)}, r"y of validation_data\[\d+\] is 2"),
    ({"validation_data": (X * np.nan, y)}, "X of validation_data contains NaN or infinity"),
    ({"callbacks": print}, "callbacks must be a list, got <built-in function print>"),
    ({"callbacks": ["print"]}, "callbacks must be functions .*got 'print'"),
    ({"progress": "bar"}, "progress must be True or False, got 'bar'"),
    ({"random_state": 1.5}, "random_state must be None, an integer .*got 1.5"),
]


@pytest.mark.parametrize(
    ("options", "message"), BAD_TRAINING_OPTIONS, ids=[name_of(case[0]) for case in BAD_TRAINING_OPTIONS]
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_bad_training_options(options, message, backend):
    model = fastnn.Model([2, 3, 2], random_state=0, backend=backend, batch_norm=True)
    before = everything(model)
    with pytest.raises(ValueError, match=message):
        model.train(X, y, **options)
    np.testing.assert_array_equal(everything(model), before)


def test_every_argument_has_a_value_that_is_refused():
    for function, cases, apart in (
        (fastnn.Model, BAD_OPTIONS, {"layers_dim"}),
        (fastnn.Model.train, BAD_TRAINING_OPTIONS, {"self", "X", "y"}),
    ):
        refused = {name for options, _ in cases for name in options}
        assert refused == set(inspect.signature(function).parameters) - apart


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fastnn.SGD(weight_decay=-1), "weight_decay must be .*got -1"),
        (
            lambda: fastnn.Momentum(1.01),
            "momentum must be a finite number not below 0 and not above 1, got 1.01",
        ),
        (lambda: fastnn.Momentum(-0.1), "momentum must be .*got -0.1"),
        (lambda: fastnn.Momentum(dampening=1.5), "dampening must be .*got 1.5"),
        (lambda: fastnn.Momentum(dampening=1.0), "dampening must be .* below 1, got 1.0"),
        (lambda: fastnn.Momentum(rate_in_velocity=1), "rate_in_velocity must be True or False, got 1"),
        (lambda: fastnn.Nesterov(1.01), "momentum must be .*not above 1, got 1.01"),
        (
            lambda: fastnn.Nesterov(rate_in_velocity="yes"),
            "rate_in_velocity must be True or False, got 'yes'",
        ),
        (lambda: fastnn.Nesterov("0.9"), "momentum must be .*got '0.9'"),
        (lambda: fastnn.Adagrad(lr_decay=-0.1), "lr_decay must be .*got -0.1"),
        (
            lambda: fastnn.Adagrad(initial_accumulator_value=np.nan),
            "initial_accumulator_value must be .*got nan",
        ),
        (lambda: fastnn.RMSprop(alpha=1), "alpha must be .*got 1"),
        (lambda: fastnn.RMSprop(eps=-1e-8), "eps must be .*got -1e-08"),
        (lambda: fastnn.RMSprop(momentum=1.01), "momentum must be .*not above 1, got 1.01"),
        (lambda: fastnn.Adam(betas=0.9), "betas must be two numbers such as .*got 0.9"),
        (lambda: fastnn.Adam(betas=(0.9,)), "betas must be two numbers"),
        (lambda: fastnn.Adam(betas=(0.9, 1.0)), r"betas\[1\] must be .*got 1.0"),
        (lambda: fastnn.Adam(eps_hat=None), "eps_hat must be True or False, got None"),
        (lambda: fastnn.AdamW(betas=(10**400, 0.9)), r"betas\[0\] must be .*got 1000"),
        (lambda: fastnn.AdamW(eps_hat=0.0), "eps_hat must be True or False, got 0.0"),
        (lambda: fastnn.LBFGS(maxcor=0), "maxcor must be an integer not below 1 .*got 0"),
        (lambda: fastnn.LBFGS(maxls=1.5), "maxls must be an integer .*got 1.5"),
        (lambda: fastnn.LBFGS(ftol=-1), "ftol must be .*got -1"),
        (lambda: fastnn.LBFGS(gtol=None), "gtol must be .*got None"),
        (lambda: fastnn.SoftmaxCrossEntropy(1.5), "label_smoothing must be .*not above 1, got 1.5"),
        (lambda: fastnn.MulticlassHinge(0), "margin must be a finite number above 0, got 0"),
        (lambda: fastnn.Huber(-1), "delta must be a finite number above 0, got -1"),
        (lambda: fastnn.Quantile(1.0), "quantile must be a finite number above 0 and below 1, got 1.0"),
        (lambda: fastnn.Quantile(True), "quantile must be .*got True"),
    ],
)
def test_bad_objects(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- targets -------------------------------------------------------------------------------------

targets = np.random.default_rng(0).random((200, 3))
TARGETS = {
    "list": targets.tolist(),
    "fortran": np.asfortranarray(targets),
    "strided": np.repeat(targets, 2, axis=1)[:, ::2],
    "frame": pd.DataFrame(targets),
    "object": targets.astype(object),
    "big-endian": targets.astype(">f8"),
}


@pytest.mark.parametrize("given", TARGETS.values(), ids=TARGETS)
def test_any_table_of_targets(given):
    model, expected = (fastnn.Model([2, 3, 3], loss="squared_error", random_state=0) for _ in range(2))
    model.train(X, given, num_passes=3, optimizer="adagrad")
    expected.train(X, targets, num_passes=3, optimizer="adagrad")
    np.testing.assert_array_equal(parameters(model), parameters(expected))
    assert model.calculate_loss(X, given) == expected.calculate_loss(X, targets)


@pytest.mark.parametrize("backend", BACKENDS)
def test_targets_of_one_output_in_one_dimension(backend):
    column, line = (
        fastnn.Model([2, 3, 1], loss="squared_error", random_state=0, backend=backend) for _ in range(2)
    )
    for model, given in ((column, targets[:, :1]), (line, pd.Series(targets[:, 0], index=range(9, 209)))):
        history = model.train(X, given, num_passes=3, optimizer="adagrad", validation_data=(X, given))
        assert np.isfinite(history.validation_loss).all()
    np.testing.assert_array_equal(parameters(column), parameters(line))
    assert column.predict(X).shape == (200, 1)


def but(place, value):
    """Return the targets with another value at one place."""
    changed = targets.copy()
    changed[place] = value
    return changed


BAD_TARGETS = {
    "labels": ("squared_error", y, "y must hold a target for each of 200 samples and 3 outputs, shape"),
    "columns": ("squared_error", targets[:, :2], r"y must hold .* shape \(200, 3\), got shape \(200, 2\)"),
    "length": ("huber", targets[:-1], r"y must hold .*got shape \(199, 3\)"),
    "three dimensions": ("huber", targets[None], "y must have"),
    "none": ("huber", None, "y must have"),
    "NaN": ("absolute_error", but((4, 1), np.nan), "y contains NaN or infinity, first at row 4, column 1"),
    "infinity": ("quantile", but((4, 1), np.inf), "y contains NaN or infinity, first at row 4, column 1"),
    "text": ("squared_error", targets.astype(str), "y must hold numbers"),
    "ragged": ("squared_error", [[1, 2, 3], [1]], "y is no rectangular table"),
    "complex": ("squared_error", targets + 1j, "y is complex"),
    "masked": ("squared_error", np.ma.masked_less(targets, 0.5), "y has masked values"),
    "sparse": ("squared_error", scipy.sparse.csr_array(targets), r"y.toarray\(\)"),
    "negative counts": ("poisson", but((7, 2), -1), r"y\[7, 2\] is -1, but .* targets not below 0"),
    "no probability": (
        "sigmoid_binary_cross_entropy", but((0, 1), 1.5), r"y\[0, 1\] is 1.5, but .* from 0 to 1",
    ),
    "one-hot as labels": ("multiclass_hinge", np.eye(3)[y], "y must have one dimension"),
}  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("loss", "given", "message"), BAD_TARGETS.values(), ids=BAD_TARGETS)
def test_bad_targets_are_refused_and_nothing_changes(loss, given, message, backend):
    model = fastnn.Model([2, 3, 3], loss=loss, random_state=0, backend=backend)
    before = everything(model)
    for call in (model.train, model.calculate_loss, model.check_gradients):
        with pytest.raises(ValueError, match=message):
            call(X, given)
    np.testing.assert_array_equal(everything(model), before)


def test_targets_beyond_float32_are_told():
    model = fastnn.Model([2, 3, 3], loss="squared_error", dtype=np.float32, backend="numpy")
    with pytest.raises(ValueError, match="y contains NaN or infinity, first at row 4, column 1, as float32"):
        model.train(X, but((4, 1), 1e300))


# --- parameters ----------------------------------------------------------------------------------


def test_initialisation_from_the_global_generator_and_from_a_seed():
    np.random.seed(3)
    from_global = fastnn.Model([2, 3, 2])
    seeded = fastnn.Model([2, 3, 2], random_state=3)
    from_state = fastnn.Model([2, 3, 2], random_state=np.random.RandomState(3))
    np.testing.assert_array_equal(parameters(from_global), parameters(seeded))
    np.testing.assert_array_equal(parameters(from_state), parameters(seeded))
    assert (parameters(fastnn.Model([2, 3, 2], random_state=4)) != parameters(seeded)).all()


def test_a_seed_leaves_the_global_generator_alone():
    np.random.seed(5)
    expected = np.random.rand()
    np.random.seed(5)
    trained()
    assert np.random.rand() == expected


@pytest.mark.parametrize("backend", BACKENDS)
def test_parameters_are_live_views(backend):
    model = fastnn.Model([2, 3, 2], random_state=0, backend=backend)
    assert [w.shape for w in model.W] == [(2, 3), (3, 2)]
    assert [b.shape for b in model.b] == [(1, 3), (1, 2)]
    for array in (*model.W, *model.b):
        array[...] = 0
    np.testing.assert_array_equal(model.predict_proba(X), np.full((200, 2), 0.5))
    model.b[-1][0, 1] = 1.0
    assert (model.predict(X) == 1).all()
    model.b[-1] = [[1.0, 0.0]]
    assert (model.predict(X) == 0).all()
    model.W[0] += 1.0
    assert (model.W[0] == 1).all()
    held = model.W[0]
    model.train(X, y, num_passes=5)
    np.testing.assert_array_equal(held, model.W[0])
    assert (held != 1).any()


def test_parameters_can_be_set_whole():
    source, target = trained(), fastnn.Model([2, 3, 2], random_state=9)
    target.W, target.b = source.W, source.b
    np.testing.assert_array_equal(target.predict_proba(X), source.predict_proba(X))
    with pytest.raises(ValueError, match=r"shape \(2, 3\), got \(3, 2\)"):
        target.W[0] = np.zeros((3, 2))
    square = fastnn.Model([2, 2, 2], random_state=0)
    first, second = (w.copy() for w in square.W)
    square.W = square.W[::-1]
    np.testing.assert_array_equal(square.W, [second, first])
    before = parameters(target)
    with pytest.raises(ValueError, match=r"shape \(3, 2\), got \(2, 3\)"):
        target.W = [np.zeros((2, 3)), np.zeros((2, 3))]
    np.testing.assert_array_equal(parameters(target), before)
    with pytest.raises(ValueError, match="2 layers take 2 arrays, got 1"):
        target.b = [np.zeros((1, 3))]


def test_training_from_parameters_that_are_not_finite_is_refused():
    model = fastnn.Model([2, 3, 2], random_state=0)
    model.W[0][0, 0] = np.nan
    with pytest.raises(ValueError, match="W or b holds NaN or infinity"):
        model.train(X, y)


@pytest.mark.parametrize("options", [{}, {"batch_norm": True, "loss": fastnn.MulticlassHinge(2.0)}], ids=str)
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_are_whole_and_apart(clone, options):
    model = trained(backend="numpy" if options else "numba", **options)
    other = clone(model)
    np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
    assert repr(other) == repr(model)
    assert (other.layers_dim, other.dtype, other.backend) == (model.layers_dim, model.dtype, model.backend)
    assert other.loss == model.loss
    before = everything(model)
    other.train(X, y, num_passes=3)
    np.testing.assert_array_equal(everything(model), before)
    model.train(X, y, num_passes=3)
    np.testing.assert_array_equal(everything(other), everything(model))
    assert (everything(model) != before).any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_model_whose_parameters_are_read_only_trains_on_a_copy(batch_norm, backend, tmp_path):
    model = fastnn.Model([2, 3, 2], random_state=0, batch_norm=batch_norm, backend=backend)
    joblib.dump(model, tmp_path / "model")
    model = joblib.load(tmp_path / "model", mmap_mode="r")
    assert not model._parameters.flags.writeable
    before = everything(model)
    if backend == "numpy":
        assert model.check_gradients(X[:5], y[:5], n_points=1).max_relative_error < 1e-7
    # Batches share compiled kernels with other tests.
    model.train(X, y, num_passes=3, batch_size=50, shuffle=False)
    assert (everything(model) != before).any()
    np.testing.assert_array_equal(everything(joblib.load(tmp_path / "model")), before)


def test_repr_says_what_it_is():
    assert repr(fastnn.Model([2, 3, 2])) == (
        "Model([2, 3, 2], activation='tanh', output_activation='tanh', backend='numba', dtype=float64)"
    )
    assert "activation='tanh', output" not in repr(fastnn.Model([2, 2]))
    whole = fastnn.Model(
        [2, 3, 4, 2], activation=["relu", "gelu"], output_activation="identity", loss=fastnn.Huber(0.5),
        dropout=0.25, batch_norm=True, backend="numpy", dtype=np.float32,
    )  # fmt: skip
    assert repr(whole) == (
        "Model([2, 3, 4, 2], activation=['relu', 'gelu'], output_activation='identity', "
        "loss=Huber(delta=0.5), dropout=[0.0, 0.25, 0.25], batch_norm=True, backend='numpy', dtype=float32)"
    )


@pytest.mark.parametrize("name", INITIALIZERS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_initial_weights(name, dtype):
    n_in, n_out = 300, 200
    model = fastnn.Model([n_in, n_out, 2], init=name, dtype=dtype, random_state=0)
    W, b = model.W[0].astype(float), model.b[0]
    variance = {
        "tutorial": 1 / n_in,
        "glorot_uniform": 2 / (n_in + n_out),
        "glorot_normal": 2 / (n_in + n_out),
        "he_uniform": 2 / n_in,
        "he_normal": 2 / n_in,
        "lecun_normal": 1 / n_in,
        "orthogonal": 1 / n_in,
    }[name]
    # 60,000 numbers give the variance to 1 in 170.
    assert W.var() == pytest.approx(variance, rel=0.03)
    assert abs(W.mean()) < 4 * np.sqrt(variance / W.size)
    if "uniform" in name:
        assert np.abs(W).max() <= np.sqrt(3 * variance) * (1 + 1e-6)
    else:
        assert np.abs(W).max() > 3 * np.sqrt(variance)
    if name == "orthogonal":
        np.testing.assert_allclose(W.T @ W, np.eye(n_out), atol=1e-5)
    assert (b != 0).all() if name == "tutorial" else (b == 0).all()


def test_the_tutorials_initialisation_draw_by_draw():
    model = fastnn.Model([2, 3, 2], random_state=7)
    random = np.random.RandomState(7)
    for W, b in zip(model.W, model.b, strict=True):
        np.testing.assert_array_equal(W, random.randn(*W.shape) / np.sqrt(W.shape[0]))
        np.testing.assert_array_equal(b[0], random.randn(b.size))


def test_options_by_name_or_as_objects():
    for name, loss in LOSSES.items():
        assert fastnn.Model([2, 3, 2], loss=name).loss == fastnn.Model([2, 3, 2], loss=loss()).loss == loss()
    for name, optimizer in OPTIMIZERS.items():
        models = [fastnn.Model([2, 3, 2], backend="numpy", random_state=0) for _ in range(2)]
        for model, given in zip(models, (name, optimizer()), strict=True):
            model.train(X, y, num_passes=3, epsilon=0.001, optimizer=given)
        np.testing.assert_array_equal(parameters(models[0]), parameters(models[1]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_predictions_of_a_normalised_network_depend_on_the_sample_alone(backend):
    model = fastnn.Model([2, 3, 2], batch_norm=True, random_state=0, backend=backend)
    model.train(X, y, num_passes=5, batch_size=50)
    together = model.predict_proba(X)
    np.testing.assert_allclose(model.predict_proba(X[:1]), together[:1], rtol=1e-12)
    np.testing.assert_allclose(model.predict_proba(X[50:60]), together[50:60], rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_batches_of_one_sample_are_normalised_without_a_nan(backend):
    model = fastnn.Model([2, 3, 2], batch_norm=True, random_state=0, backend=backend)
    model.train(X[:33], y[:33], num_passes=3, batch_size=16, random_state=0)  # the last batch has one sample
    assert np.isfinite(everything(model)).all()


# --- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_training_goes_on_where_it_stopped(backend):
    in_parts = fastnn.Model([2, 3, 2], random_state=0, backend=backend)
    in_parts.train(X, y, num_passes=30)
    in_parts.train(X, y, num_passes=0)
    in_parts.train(X, y, num_passes=20)
    whole = fastnn.Model([2, 3, 2], random_state=0, backend=backend)
    whole.train(X, y, num_passes=50)
    np.testing.assert_array_equal(parameters(in_parts), parameters(whole))


def test_training_is_silent_unless_asked(capsys):
    trained()
    assert capsys.readouterr() == ("", "")


def test_printing_does_not_change_the_training(capsys):
    model = fastnn.Model([2, 3, 2], random_state=1)
    model.train(X, y, num_passes=2500, epsilon=0.001, print_loss=True)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed] == [f"Loss after iteration {k}" for k in (0, 1000, 2000)]
    quiet = fastnn.Model([2, 3, 2], random_state=1)
    quiet.train(X, y, num_passes=2001, epsilon=0.001)
    assert printed[-1].endswith(f": {quiet.calculate_loss(X, y):f}")
    quiet.train(X, y, num_passes=499, epsilon=0.001)
    np.testing.assert_array_equal(parameters(quiet), parameters(model))


@pytest.mark.parametrize("backend", BACKENDS)
def test_textbook_network_learns_better_than_chance_can(backend):
    model = fastnn.Model([2, 8, 2], output_activation="identity", random_state=0, backend=backend)
    model.train(X, y, num_passes=3000, epsilon=0.002)
    assert model.calculate_loss(X, y) < 0.12
    assert (model.predict(X) == y).mean() > 0.95


@pytest.mark.parametrize("backend", BACKENDS)
def test_three_classes(backend):
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 300)
    samples = 3 * np.eye(3)[labels][:, :2] + 0.3 * random.normal(size=(300, 2))
    model = fastnn.Model([2, 5, 3], random_state=0, backend=backend)
    model.train(samples, labels, num_passes=500, epsilon=0.002)
    assert (model.predict(samples) == labels).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_more_outputs_than_classes_are_fine(backend):
    model = fastnn.Model([2, 3, 5], random_state=0, backend=backend)
    model.train(X, y, num_passes=500, epsilon=0.002)
    assert set(model.predict(X)) == {0, 1}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.filterwarnings("ignore:epsilon=100 seems too high")  # the high rate makes the training diverge
def test_divergence_names_the_pass_and_keeps_the_last_finite_parameters(backend, dtype):
    model = fastnn.Model([2, 3, 2], random_state=0, backend=backend, dtype=dtype)
    with pytest.raises(fastnn.DivergenceError, match=r"diverged in pass \d+.* must stay below 2") as caught:
        model.train(X, y, epsilon=100.0, reg_lambda=1.0)
    assert isinstance(caught.value, ValueError)
    assert np.isfinite(parameters(model)).all()
    again = fastnn.Model([2, 3, 2], random_state=0, backend=backend, dtype=dtype)
    again.train(X, y, num_passes=caught.value.iteration, epsilon=100.0, reg_lambda=1.0)
    np.testing.assert_array_equal(parameters(again), parameters(model))
    assert model.predict(X).shape == (200,)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_divergence_through_the_rate(backend):
    model = fastnn.Model(
        [2, 3, 2], random_state=0, backend=backend, activation="identity", output_activation="identity"
    )
    with pytest.raises(fastnn.DivergenceError, match=r"lower epsilon, for instance to 0\.1,"):
        model.train(1e200 * X, y, epsilon=1.0, reg_lambda=0.0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_loss_is_finite_for_scores_of_any_size(backend):
    model = fastnn.Model([1, 2], output_activation="identity", random_state=0, backend=backend)
    model.W[0][...] = [[1e150, -1e150]]
    assert model.calculate_loss([[1e150]], [1]) == pytest.approx(2e300)
    assert model.calculate_loss([[1e150]], [0]) == 0


def test_huge_layers_have_narrow_tiles_so_that_an_interrupt_is_heard():
    network = Network.create([4000, 4000, 4000, 10], "tanh", "tanh", np.float64)
    assert network.tile_width(1000) == 16


# --- interrupts, threads -------------------------------------------------------------------------


@pytest.mark.parametrize("name", BACKENDS)
def test_an_interrupt_comes_through_and_leaves_a_whole_pass(name):
    model = fastnn.Model([2, 3, 2], random_state=0)
    job = Job(
        X, y.astype(float)[:, None], np.ones(200), num_passes=10**12, batch_size=200, epsilon=0.001,
        reg_lambda=0.01, record_every=record_every(10**12),
    )  # fmt: skip
    trainer = get_backend(name).trainer(
        model._network,
        model._parameters,
        model._statistics,
        job,
        Memory.fresh(model._network, model._parameters, job),
    )
    trainer.run(1)  # compile before the timer starts
    timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        run_training(trainer, job)
    timer.join()
    again = fastnn.Model([2, 3, 2], random_state=0, backend=name)
    again.train(X, y, num_passes=trainer.n_passes, epsilon=0.001, reg_lambda=0.01)
    np.testing.assert_array_equal(parameters(again), parameters(model))
    model.train(X, y, num_passes=10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_interrupt_of_train_leaves_a_model_that_works(backend):
    model = fastnn.Model([2, 3, 2], random_state=0, backend=backend)
    model.train(X, y, num_passes=1)
    timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        model.train(X, y, num_passes=10**12)
    timer.join()
    assert np.isfinite(parameters(model)).all()
    assert (model.predict(X) == y).mean() > 0.7


def test_threads_train_side_by_side():
    seeds = range(8)
    models = [fastnn.Model([2, 3, 2], random_state=seed) for seed in seeds]
    threads = [threading.Thread(target=model.train, args=(X, y, 200)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, model in zip(seeds, models, strict=True):
        alone = fastnn.Model([2, 3, 2], random_state=seed)
        alone.train(X, y, 200)
        np.testing.assert_array_equal(parameters(model), parameters(alone))


def test_batch_norm_gives_live_views():
    model = fastnn.Model([2, 3, 4, 2], batch_norm=True, random_state=0)
    assert [layer.scale.shape for layer in model.batch_norm] == [(1, 3), (1, 4)]
    assert [layer.running_variance.shape for layer in model.batch_norm] == [(3,), (4,)]
    before = model.predict_proba(X)
    model.batch_norm[0].shift[...] = 5
    assert (model.batch_norm[0].shift == 5).all()
    assert not np.array_equal(model.predict_proba(X), before)
    assert fastnn.Model([2, 3, 2]).batch_norm == []


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_a_gradient_too_large_to_be_clipped_is_told(backend):
    model = fastnn.Model(
        [2, 3, 2],
        activation="identity",
        output_activation="identity",
        loss="squared_error",
        backend=backend,
        random_state=0,
    )
    with pytest.raises(fastnn.DivergenceError, match="pass 0"):
        model.train([[1e160, 0.0]], [[1.0, 2.0]], num_passes=3, clip_norm=1.0)
    assert np.isfinite(model.W[0]).all()
