"""Inputs of Model: the tables, labels, targets and options that it accepts and refuses."""

import inspect

import numpy as np
import pytest
import scipy.sparse
from estimator_checks import parameters
from extras import optional
from small_models import BACKENDS, X, everything, trained, y
from strategies import name_of

import fastnn

pd = optional("pandas")

# The samples X in other layouts.
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
    "frame": pytest.param(pd and pd.DataFrame(X, columns=["a", "b"]), marks=pytest.mark.needs("pandas")),
    "masked": np.ma.array(X),
    "matrix of a subclass": X.view(type("Sub", (np.ndarray,), {})),
}


LABELS = {
    "int8": y.astype(np.int8),
    "uint64": y.astype(np.uint64),
    "bool": y.astype(bool),
    "whole floats": y.astype(np.float32),
    "list": y.tolist(),
    "series": pytest.param(pd and pd.Series(y, index=np.arange(200, 400)), marks=pytest.mark.needs("pandas")),
    "strided": np.repeat(y, 2)[::2],
    "object": y.astype(object),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("given", INPUTS.values(), ids=INPUTS)
def test_samples_may_be_any_table_of_numbers(given, backend):
    expected = trained(backend=backend)
    model = trained(given, backend=backend)
    np.testing.assert_array_equal(parameters(model), parameters(expected))
    np.testing.assert_array_equal(model.predict(given), expected.predict(X))
    np.testing.assert_array_equal(model.predict_proba(given), expected.predict_proba(X))
    assert model.calculate_loss(given, y) == expected.calculate_loss(X, y)


@pytest.mark.parametrize("given", LABELS.values(), ids=LABELS)
def test_labels_may_be_any_list_of_whole_numbers(given):
    model = trained(y=given)
    np.testing.assert_array_equal(parameters(model), parameters(trained()))


@pytest.mark.parametrize("integer", [np.int8, np.uint16, np.int64, bool])
def test_integer_samples_equal_the_same_floats(integer):
    table = np.round(X * 20).astype(integer)
    np.testing.assert_array_equal(parameters(trained(table)), parameters(trained(table.astype(np.float64))))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("given", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_models_dtype_does_not_depend_on_the_samples(given, dtype, backend):
    model = trained(X.astype(given), dtype=dtype, backend=backend)
    assert model.dtype == dtype
    assert {a.dtype for a in (*model.W, *model.b)} == {np.dtype(dtype)}
    assert model.predict_proba(X.astype(given)).dtype == dtype


def test_training_does_not_change_its_inputs():
    before = X.copy(), y.copy()
    trained()
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])


# X with a NaN, X with an infinity, and y with a label that the network lacks.
nan, infinite = X.copy(), X.copy()
nan[3, 1], infinite[5, 0] = np.nan, -np.inf
wrong = y.copy()
wrong[7] = 2

BAD_DATA = {
    "NaN": ((nan, y), "X contains NaN, first at row 3, column 1: drop such rows, or impute"),
    "infinity": (
        (infinite, y),
        "X contains infinity, or a value too large for float64, first at row 5, column 0",
    ),
    "features": ((X[:, :1], y), "X has 1 feature, but the network has 2 inputs"),
    "length": ((X, y[:-1]), "X has 200 samples, but y has 199 labels"),
    "empty": ((X[:0], y[:0]), "X has no samples"),
    "a word": ((np.array([["1", 2], [3, "two"]], object), y[:2]), "got 'two' at row 1, column 1: encode"),
    "one sample": ((X[0], y[:1]), r"X must have two dimensions .*one sample numpy.reshape\(X, \(1, -1\)\)"),
    "three dimensions": ((X[None], y), "X must have two dimensions"),
    "text": (([["a", "b"]] * 200, y), "X must hold numbers"),
    "digits as text": (([["1", "2"]] * 200, y), "X must hold numbers"),
    "dates": ((X.astype("datetime64[D]"), y), "X must hold numbers, got dtype datetime64"),
    "masked": ((np.ma.masked_less(X, 0), y), "X has masked values"),
    "ragged": (([[1, 2], [3]], y[:2]), "X is not a rectangular table"),
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
    "labels in a column": ((X, y[:, None]), r"y must have one dimension.*numpy.ravel\(y\)"),
    "labels one-hot": (
        (X, np.eye(2)[y]),
        r"y must have one dimension.*one-hot rows, pass numpy.argmax\(y, axis=1\)",
    ),
    "labels in three columns": ((X, np.eye(3)[y]), r"y must have one dimension, got shape \(\d+, 3\)$"),
    "no labels": ((X, None), "y is missing, got None: pass a label or target for every sample"),
    "labels text": ((X, np.array(["no", "yes"])[y]), "number the classes first"),
    "labels digits": ((X, y.astype(str)), "number the classes first"),
    "labels sparse": ((X, scipy.sparse.csr_array(y[None])), r"y.toarray\(\)"),
    "labels masked": ((X, np.ma.masked_less(y, 1)), "y has masked values"),
    "labels dates": ((X, y.astype("datetime64[D]")), "y must hold integer labels .*got dtype datetime64"),
    "labels huge": ((X, np.full(200, 1e300)), "number the classes from 0, as numpy.unique"),
    "too large for float64": (([[10**400, 0]] * 200, y), "X holds numbers too large for float64"),
    "labels ragged": ((X, [[0], [0, 1]]), "y is not a list of labels"),
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


def test_samples_too_large_for_float32_are_refused():
    model = fastnn.Model([2, 3, 2], dtype=np.float32, random_state=0)
    with pytest.raises(ValueError, match="too large for float32, first at row 0, column 1"):
        model.predict([[0.0, 1e300]])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([2, 0, 2],), ValueError, r"layers_dim\[1\] is 0"),
        (([2, -3, 2],), ValueError, r"layers_dim\[1\] is -3"),
        (([2],), ValueError, "at least the inputs and the outputs"),
        (([],), ValueError, "at least the inputs and the outputs"),
        (([2, 3.5, 2],), TypeError, "sequence of integers"),
        (([2, True, 2],), TypeError, "sequence of integers"),
        ((3,), TypeError, "sequence of integers"),
        (("232",), TypeError, "sequence of integers"),
    ],
)
def test_bad_layer_sizes_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        fastnn.Model(*arguments)


BAD_OPTIONS = [
    ({"activation": "rellu"}, "activation must be one of .*'tanh'.*got 'rellu'"),
    (
        {"activation": ["tanh", "tanh"]},
        r"activation must be a name .* or a list .*hidden layer \(1\), got \['tanh', 'tanh'\]",
    ),
    ({"activation": []}, r"activation must be a name .* or a list .*got \[\]"),
    ({"activation": ["rellu"]}, "activation must be one of .*got 'rellu'"),
    ({"activation": [None]}, "activation must be one of .*got None"),
    ({"activation": None}, "activation must be a name .* or a list .*got None"),
    ({"activation": {"tanh": 1}}, "activation must be a name .* or a list"),
    ({"output_activation": None}, "output_activation must be one of .*got None"),
    ({"activation": "Tanh"}, "got 'Tanh': did you mean 'tanh'"),
    ({"output_activation": "softmax"}, "output_activation='softmax' belongs to the loss"),
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
    (
        {"random_state": np.random.default_rng(0)},
        "random_state must be None, an integer .*got Generator.*: pass it as rng",
    ),
    ({"rng": -1}, "rng must be None, an integer of at least 0 .*got -1"),
    ({"rng": True}, "rng must be None, an integer .*got True"),
    ({"rng": np.random.RandomState(0)}, "rng must be None, an integer .*got RandomState"),
    ({"rng": 0, "random_state": 0}, "random_state and rng exclude each other"),
    ({"loss": "cross_entropy"}, "loss must be one of .*'softmax_cross_entropy'.*got 'cross_entropy'"),
    ({"loss": fastnn.Huber}, r"loss must be an object, got the class Huber: call it, as in Huber\(\)"),
    ({"loss": None}, "loss must be one of .*got None"),
    ({"loss": fastnn.Adam()}, r"loss must be one of .*got Adam\("),
    ({"dropout": 1.0}, "dropout must be a finite number of at least 0 and below 1, got 1.0"),
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
def test_bad_options_are_refused_before_anything_is_drawn(options, message):
    before = np.random.get_state()[1].copy()
    with pytest.raises(ValueError, match=message):
        fastnn.Model([2, 3, 2], **options)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


BAD_TRAINING_OPTIONS = [
    ({"num_passes": -1}, "num_passes must be an integer of at least 0, got -1"),
    ({"num_passes": 1.5}, "num_passes must be an integer of at least 0, got 1.5"),
    ({"num_passes": 2**63}, "num_passes must be .*got 9223372036854775808"),
    ({"num_passes": None}, "num_passes must be .*got None"),
    ({"epsilon": -0.1}, "epsilon must be a finite number of at least 0, got -0.1"),
    ({"epsilon": np.nan}, "epsilon must be a finite number of at least 0, got nan"),
    ({"epsilon": "fast"}, "epsilon must be a finite number of at least 0, got 'fast'"),
    ({"epsilon": 10**400}, "epsilon must be a finite number of at least 0, got 1000"),
    ({"epsilon": None}, "epsilon must be .*got None"),
    ({"reg_lambda": np.inf}, "reg_lambda must be a finite number of at least 0, got inf"),
    ({"reg_lambda": [0.1]}, r"reg_lambda must be .*got \[0.1\]"),
    ({"print_loss": "no"}, "print_loss must be True or False, got 'no'"),
    ({"print_every": 0}, "print_every must be an integer of at least 1, got 0"),
    ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
    ({"batch_size": 16.0}, "batch_size must be an integer of at least 1, got 16.0"),
    ({"batch_size": "all"}, "batch_size must be an integer of at least 1, got 'all'"),
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
    ({"sample_weight": -np.ones(200)}, r"sample_weight\[0\] is -1, but weights are finite and at least 0"),
    ({"sample_weight": np.full(200, np.nan)}, r"sample_weight\[0\] is nan"),
    ({"sample_weight": np.full(200, np.inf)}, r"sample_weight\[0\] is inf"),
    ({"sample_weight": np.zeros(200)}, "sample_weight is zero for every sample"),
    ({"sample_weight": ["1"] * 200}, "sample_weight must hold numbers, got dtype <U1"),
    ({"sample_weight": [[1], [1, 2]]}, "sample_weight is not a list of numbers"),
    ({"sample_weight": np.ma.masked_less(np.arange(200), 3)}, "sample_weight has masked values"),
    ({"l1": -1}, "l1 must be a finite number of at least 0, got -1"),
    ({"l1": "some"}, "l1 must be .*got 'some'"),
    ({"max_norm": 0}, "max_norm must be a finite number above 0, got 0"),
    ({"max_norm": np.inf}, "max_norm must be a finite number above 0, got inf"),
    ({"max_norm": 10**400}, "max_norm must be a finite number above 0, got 1000"),
    ({"clip_norm": -2.0}, "clip_norm must be a finite number above 0, got -2.0"),
    ({"clip_norm": "1"}, "clip_norm must be a finite number above 0, got '1'"),
    ({"ema_decay": 1.0}, "ema_decay must be a finite number of at least 0 and below 1, got 1.0"),
    ({"ema_decay": -0.5}, "ema_decay must be .*got -0.5"),
    ({"ema_decay": True}, "ema_decay must be .*got True"),
    ({"n_threads": 0}, "n_threads must be an integer of at least 1, got 0"),
    ({"n_threads": 2.0}, "n_threads must be an integer of at least 1, got 2.0"),
    ({"validation_data": X}, r"validation_data must be a pair \(X, y\), got ndarray"),
    ({"validation_data": (X,)}, r"validation_data must be a pair \(X, y\), got tuple of 1"),
    ({"validation_data": (X, y, y)}, r"validation_data must be a pair \(X, y\), got tuple of 3"),
    ({"validation_data": (X[:, :1], y)}, "X of validation_data has 1 feature,"),
    ({"validation_data": (X, y[:-1])}, "X has 200 samples, but y of validation_data has 199 labels"),
    ({"validation_data": (X, y + 1)}, r"y of validation_data\[\d+\] is 2"),
    ({"validation_data": (X * np.nan, y)}, "X of validation_data contains NaN"),
    ({"callbacks": print}, "callbacks must be a list, got <built-in function print>"),
    ({"callbacks": ["print"]}, "callbacks must be functions.*got 'print'"),
    ({"progress": "bar"}, "progress must be True or False, got 'bar'"),
    ({"resume": 5}, "resume must be True, the name of a file or a Checkpoint, got 5"),
    ({"random_state": 1.5}, "random_state must be None, an integer .*got 1.5"),
    ({"rng": np.random}, "rng must be None, an integer .*got <module 'numpy.random'"),
    ({"rng": 1, "random_state": 0}, "random_state and rng exclude each other"),
]


@pytest.mark.parametrize(
    ("options", "message"), BAD_TRAINING_OPTIONS, ids=[name_of(case[0]) for case in BAD_TRAINING_OPTIONS]
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_bad_training_options_are_refused_and_nothing_changes(options, message, backend):
    model = fastnn.Model([2, 3, 2], random_state=0, backend=backend, batch_norm=True)
    before = everything(model)
    with pytest.raises(ValueError, match=message):
        model.train(X, y, **options)
    np.testing.assert_array_equal(everything(model), before)


def test_every_argument_has_a_value_that_is_refused():
    for function, cases, exempt in (
        (fastnn.Model, BAD_OPTIONS, {"layers_dim"}),
        (fastnn.Model.train, BAD_TRAINING_OPTIONS, {"self", "X", "y"}),
    ):
        refused = {name for options, _ in cases for name in options}
        assert refused == set(inspect.signature(function).parameters) - exempt


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fastnn.SGD(weight_decay=-1), "weight_decay must be .*got -1"),
        (
            lambda: fastnn.Momentum(1.01),
            "momentum must be a finite number of at least 0 and at most 1, got 1.01",
        ),
        (lambda: fastnn.Momentum(-0.1), "momentum must be .*got -0.1"),
        (lambda: fastnn.Momentum(dampening=1.5), "dampening must be .*got 1.5"),
        (lambda: fastnn.Momentum(dampening=1.0), "dampening must be .* below 1, got 1.0"),
        (lambda: fastnn.Momentum(rate_in_velocity=1), "rate_in_velocity must be True or False, got 1"),
        (lambda: fastnn.Nesterov(1.01), "momentum must be .*at most 1, got 1.01"),
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
        (lambda: fastnn.RMSprop(momentum=1.01), "momentum must be .*at most 1, got 1.01"),
        (lambda: fastnn.Adam(betas=0.9), "betas must be two numbers such as .*got 0.9"),
        (lambda: fastnn.Adam(betas=(0.9,)), "betas must be two numbers"),
        (lambda: fastnn.Adam(betas=(0.9, 1.0)), r"betas\[1\] must be .*got 1.0"),
        (lambda: fastnn.Adam(eps_hat=None), "eps_hat must be True or False, got None"),
        (lambda: fastnn.AdamW(betas=(10**400, 0.9)), r"betas\[0\] must be .*got 1000"),
        (lambda: fastnn.AdamW(eps_hat=0.0), "eps_hat must be True or False, got 0.0"),
        (lambda: fastnn.LBFGS(maxcor=0), "maxcor must be an integer of at least 1, got 0"),
        (lambda: fastnn.LBFGS(maxls=1.5), "maxls must be an integer .*got 1.5"),
        (lambda: fastnn.LBFGS(ftol=-1), "ftol must be .*got -1"),
        (lambda: fastnn.LBFGS(gtol=None), "gtol must be .*got None"),
        (lambda: fastnn.SoftmaxCrossEntropy(1.5), "label_smoothing must be .*at most 1, got 1.5"),
        (lambda: fastnn.MulticlassHinge(0), "margin must be a finite number above 0, got 0"),
        (lambda: fastnn.Huber(-1), "delta must be a finite number above 0, got -1"),
        (lambda: fastnn.Quantile(1.0), "quantile must be a finite number above 0 and below 1, got 1.0"),
        (lambda: fastnn.Quantile(True), "quantile must be .*got True"),
    ],
)
def test_bad_arguments_of_losses_and_optimizers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


targets = np.random.default_rng(0).random((200, 3))
TARGETS = {
    "list": targets.tolist(),
    "fortran": np.asfortranarray(targets),
    "strided": np.repeat(targets, 2, axis=1)[:, ::2],
    "frame": pytest.param(pd and pd.DataFrame(targets), marks=pytest.mark.needs("pandas")),
    "object": targets.astype(object),
    "big-endian": targets.astype(">f8"),
}


@pytest.mark.parametrize("given", TARGETS.values(), ids=TARGETS)
def test_targets_may_be_any_table_of_numbers(given):
    model, expected = (fastnn.Model([2, 3, 3], loss="squared_error", random_state=0) for _ in range(2))
    model.train(X, given, num_passes=3, optimizer="adagrad")
    expected.train(X, targets, num_passes=3, optimizer="adagrad")
    np.testing.assert_array_equal(parameters(model), parameters(expected))
    assert model.calculate_loss(X, given) == expected.calculate_loss(X, targets)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.needs("pandas")
def test_targets_of_one_output_may_have_one_dimension(backend):
    column, line = (
        fastnn.Model([2, 3, 1], loss="squared_error", random_state=0, backend=backend) for _ in range(2)
    )
    for model, given in ((column, targets[:, :1]), (line, pd.Series(targets[:, 0], index=range(9, 209)))):
        history = model.train(X, given, num_passes=3, optimizer="adagrad", validation_data=(X, given))
        assert np.isfinite(history.validation_loss).all()
    np.testing.assert_array_equal(parameters(column), parameters(line))
    assert column.predict(X).shape == (200, 1)


def edited(place, value):
    """Return the targets with another value at a place."""
    changed = targets.copy()
    changed[place] = value
    return changed


BAD_TARGETS = {
    "labels": ("squared_error", y, "y must hold a target for each of 200 samples and 3 outputs, shape"),
    "columns": ("squared_error", targets[:, :2], r"y must hold .* shape \(200, 3\), got shape \(200, 2\)"),
    "length": ("huber", targets[:-1], r"y must hold .*got shape \(199, 3\)"),
    "three dimensions": ("huber", targets[None], "y must have"),
    "none": ("huber", None, "y is missing, got None"),
    "NaN": ("absolute_error", edited((4, 1), np.nan), "y contains NaN, first at row 4, column 1"),
    "infinity": ("quantile", edited((4, 1), np.inf), "y contains infinity, .*, first at row 4, column 1"),
    "text": ("squared_error", targets.astype(str), "y must hold numbers, got dtype <U32: convert"),
    "ragged": ("squared_error", [[1, 2, 3], [1]], "y is not a rectangular table"),
    "complex": ("squared_error", targets + 1j, "y is complex"),
    "masked": ("squared_error", np.ma.masked_less(targets, 0.5), "y has masked values"),
    "sparse": ("squared_error", scipy.sparse.csr_array(targets), r"y.toarray\(\)"),
    "negative counts": ("poisson", edited((7, 2), -1), r"y\[7, 2\] is -1, but .* targets of at least 0"),
    "no probability": (
        "sigmoid_binary_cross_entropy", edited((0, 1), 1.5), r"y\[0, 1\] is 1.5, but .* from 0 to 1",
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


def test_targets_too_large_for_float32_are_refused():
    model = fastnn.Model([2, 3, 3], loss="squared_error", dtype=np.float32, backend="numpy")
    with pytest.raises(
        ValueError, match="y contains infinity, or a value too large for float32, first at row 4, column 1"
    ):
        model.train(X, edited((4, 1), 1e300))


def test_a_backend_that_was_set_to_an_unknown_name_is_refused():
    model = fastnn.Model([2, 3, 2], random_state=0)
    model.backend = "cuda"
    for method in (lambda: model.predict(X), lambda: model.train(X, y, 3)):
        with pytest.raises(ValueError, match=r"^backend must be one of \['numba', 'numpy'\], got 'cuda'"):
            method()


@pytest.mark.parametrize("backend", BACKENDS)
def test_parameters_that_are_not_finite_are_named_as_the_cause(backend):
    model = fastnn.Model([2, 3, 2], random_state=0, backend=backend)
    model.W[1][0, 0] = np.nan
    for method in (lambda: model.predict(X), lambda: model.predict_proba(X)):
        with pytest.warns(RuntimeWarning, match="^parameters of the network are NaN or infinite"):
            method()
    with pytest.warns(RuntimeWarning, match="^the loss is nan: parameters of the network are NaN"):
        model.calculate_loss(X, y)
