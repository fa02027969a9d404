"""Inputs of Model: the tables, labels, targets and options that it accepts and refuses."""

import dataclasses
import inspect
import itertools

import numpy as np
import pytest
from estimator_checks import parameters
from extras import optional
from small_models import X, everything, trained, y
from strategies import name_of

import fastnn
from fastnn.optimizers import OPTIMIZERS
from fastnn.training.options import TrainOptions

pd, sparse = optional("pandas"), optional("scipy.sparse")

# The samples X in other layouts.
strided = np.zeros((400, 5))
strided[::2, 1::2] = X
read_only = X.copy()
read_only.flags.writeable = False
unaligned = np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float64).reshape(X.shape)

INPUTS = {
    "fortran": np.asfortranarray(X),
    "strided": strided[::2, 1::2],
    "read-only": read_only,
    "unaligned": unaligned,
    "big-endian": X.astype(">f8"),
    "list": X.tolist(),
    "object": X.astype(object),
    "frame": pytest.param(pd and pd.DataFrame(X, columns=["a", "b"]), marks=pytest.mark.needs("pandas")),
    "masked": np.ma.array(X),
}


LABELS = {
    "int8": y.astype(np.int8),
    "bool": y.astype(bool),
    "whole floats": y.astype(np.float32),
    "series": pytest.param(pd and pd.Series(y, index=np.arange(200, 400)), marks=pytest.mark.needs("pandas")),
    "object": y.astype(object),
}


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
    np.testing.assert_array_equal(parameters(trained(y=given)), parameters(trained()))


@pytest.mark.parametrize("given", [np.float64, np.float32, np.float16, np.int8, np.uint16, bool])
def test_the_models_dtype_does_not_depend_on_the_samples(given, dtype):
    table = np.abs(X * 20).astype(given)
    model = trained(table, dtype=dtype, backend="numpy")
    assert {a.dtype for a in (*model.W, *model.b, model.predict_proba(table))} == {np.dtype(dtype)}
    floats = trained(table.astype(np.float64), dtype=dtype, backend="numpy")
    np.testing.assert_array_equal(parameters(model), parameters(floats))


# X with a NaN, X with an infinity, and y with a label that the network lacks.
nan, infinite = X.copy(), X.copy()
nan[3, 1], infinite[5, 0] = np.nan, -np.inf
wrong = y.copy()
wrong[7] = 2

targets = np.random.default_rng(0).random((200, 3))


def change_target(place, value):
    changed = targets.copy()
    changed[place] = value
    return changed


SQUARED, BINARY = "squared_error", "sigmoid_binary_cross_entropy"
BAD_DATA = {
    "NaN": ((nan, y), "X contains NaN, first at row 3, column 1: drop such rows, or impute"),
    "infinity": ((infinite, y), "X contains infinity, or a value too large for float64, first at row 5"),
    "features": ((X[:, :1], y), "X has 1 feature, but the network has 2 inputs"),
    "length": ((X, y[:-1]), "X has 200 samples, but y has 199 labels"),
    "empty": ((X[:0], y[:0]), "X has no samples"),
    "a word": ((np.array([["1", 2], [3, "two"]], object), y[:2]), "got 'two' at row 1, column 1: encode"),
    "one sample": ((X[0], y[:1]), r"X must have two dimensions .*one sample numpy.reshape\(X, \(1, -1\)\)"),
    "text": (([["a", "b"]] * 200, y), "X must hold numbers"),
    "dates": ((X.astype("datetime64[D]"), y), "X must hold numbers, got dtype datetime64"),
    "masked": ((np.ma.masked_less(X, 0), y), "X has masked values"),
    "ragged": (([[1, 2], [3]], y[:2]), "X is not a rectangular table"),
    "complex": ((X + 1j, y), "X is complex"),
    **({"sparse": ((sparse.csr_array(X), y), r"X.toarray\(\)")} if sparse else {}),
    "label too large": ((X, wrong), r"y\[7\] is 2, but a network with 2 outputs takes the labels 0 .. 1"),
    "label negative": ((X, -wrong), r"y\[\d+\] is -1, .* labels count from 0"),
    "label fractional": ((X, y + 0.5), r"y must hold integer labels, but y\[0\] is"),
    "label NaN": ((X, np.where(y, np.nan, 0)), r"y must hold integer labels, but y\[\d+\] is nan"),
    "labels in a column": ((X, y[:, None]), r"y must have one dimension.*numpy.ravel\(y\)"),
    "rows of no fractions": ((X, np.eye(2)[y] + 1), r"the row y\[0\] sums to 3, but fractions"),
    "rows below 0": ((X, [[1.5, -0.5]] * len(y)), r"y\[0, 1\] is -0.5, but this loss takes targets"),
    "no labels": ((X, None), "y is missing, got None: pass a label or target for every sample"),
    "labels text": ((X, np.array(["no", "yes"])[y]), "number the classes first"),
    "labels huge": ((X, np.full(200, 1e300)), "number the classes from 0, as numpy.unique"),
    "too large for float64": (([[10**400, 0]] * 200, y), "X holds numbers too large for float64"),
    "labels ragged": ((X, [[0], [0, 1]]), "y is not a list of labels"),
    # With a loss of targets.
    "targets, labels": ((X, y), "a target for each of 200 samples and 3 outputs, shape", SQUARED),
    "targets, columns": ((X, targets[:, :2]), r"y .* shape \(200, 3\), got shape \(200, 2\)", SQUARED),
    "targets, length": ((X, targets[:-1]), r"y must hold .*got shape \(199, 3\)", "huber"),
    "targets, none": ((X, None), "y is missing, got None", "huber"),
    "targets, NaN": ((X, change_target((4, 1), np.nan)), "y contains NaN, first at row 4, column 1", SQUARED),
    "targets, infinity": ((X, change_target((4, 1), np.inf)), "y contains inf.* at row 4", "quantile"),
    "targets, masked": ((X, np.ma.masked_less(targets, 0.5)), "y has masked values", SQUARED),
    "targets, negative": ((X, change_target((7, 2), -1)), r"y\[7, 2\] is -1, .* at least", "poisson"),
    "targets 0 and 1": ((X, np.eye(3)[y]), "is 0, .* targets -1 and 1 only: .*pass 2 . y - 1", "hinge"),
    "targets, no probability": ((X, change_target((0, 1), 1.5)), r"y\[0, 1\] is 1.5, but", BINARY),
}


@pytest.mark.parametrize("case", BAD_DATA.values(), ids=BAD_DATA)
def test_bad_data_is_refused_and_nothing_changes(case):
    data, message, loss = (*case, "softmax_cross_entropy")[:3]
    good = y if loss == "softmax_cross_entropy" else np.ones((200, 3))
    model = fastnn.Model([2, 3, 2 if good is y else 3], loss=loss, random_state=0)
    before = everything(model)
    calls = [
        lambda call=call: call(*data) for call in (model.train, model.calculate_loss, model.check_gradients)
    ]
    if message.startswith("X") and "labels" not in message:
        calls += [lambda call=call: call(data[0]) for call in (model.predict, model.predict_proba)]
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match="[Xy].* of validation_data"):
        model.train(X, good, validation_data=data)
    np.testing.assert_array_equal(everything(model), before)


BAD_LAYERS = {
    "shape": (np.zeros((2, 2)), r"W\[1\] must have the shape \(3, 2\), got \(2, 2\)"),
    "text": (np.full((3, 2), "1"), r"W\[1\] must hold numbers, got dtype <U1"),
    "ragged": ([[1, 2], [3]], r"W\[1\] is not a rectangular table"),
    "complex": (np.ones((3, 2)) + 1j, r"W\[1\] is complex: pass W\[1\].real"),
    "None": ([[1, None]] * 3, r"W\[1\] must hold numbers, got None among them"),
    "objects": (np.full((3, 2), {}, object), r"W\[1\] must hold numbers, got {} at row 0, column 0"),
    "masked": (np.ma.masked_less(np.eye(3, 2), 1), r"W\[1\] has masked values: fill them"),
    **({"sparse": (sparse.eye_array(3, 2), r"W\[1\] is a sparse matrix: pass W")} if sparse else {}),
    "too large": ([[0, 0], [0, 1e39], [0, 0]], r"W\[1\] holds 1e\+39 at \(1, 1\), too large for float32"),
    "too large for float64": ([[0, 10**400]] * 3, r"W\[1\] holds numbers too large for float64"),
    "nothing": (None, r"W\[1\] must have the shape"),
}


@pytest.mark.parametrize(("given", "message"), BAD_LAYERS.values(), ids=BAD_LAYERS)
def test_no_layer_is_set_if_one_is_refused(given, message):
    model = fastnn.Model([2, 3, 2], dtype=np.float32, random_state=0)
    before, first = parameters(model), np.zeros((2, 3))
    with pytest.raises(ValueError, match=message):
        model.W = [first, given]
    with pytest.raises(ValueError, match=message):
        model.W[1] = given
    with pytest.raises(ValueError, match=message):
        model.W[0:2] = [first, given]
    for name, values in itertools.product(("W", "b"), (None, 5, "ab", [first], np.zeros(2), {})):
        with pytest.raises(ValueError, match=rf"{name}(\[0\])? ?(must|:)"):
            setattr(model, name, values)
    np.testing.assert_array_equal(parameters(model), before)


def test_weights_may_be_integers_booleans_lists_objects_and_not_finite():
    model = fastnn.Model([2, 3, 2], dtype=np.float32, random_state=0)
    for kind in (int, bool, object, list):
        model.W[0][...] = 7
        model.W[0] = np.eye(2, 3).tolist() if kind is list else np.eye(2, 3).astype(kind)
        np.testing.assert_array_equal(model.W[0], np.eye(2, 3))
    model.b = [np.full((1, 3), np.inf), np.zeros((1, 2))]
    with pytest.raises(ValueError, match="W or b holds NaN or infinity"):
        model.train(X, y)


@pytest.mark.parametrize(
    ("layers_dim", "error", "message"),
    [
        ([2, -3, 2], ValueError, r"layers_dim\[1\] is -3"),
        ([2], ValueError, "at least the inputs and the outputs"),
        *((sizes, TypeError, "sequence of integers") for sizes in ([2, 3.5, 2], [2, True, 2], 3, "232")),
    ],
)
def test_bad_layer_sizes_are_refused(layers_dim, error, message):
    with pytest.raises(error, match=message):
        fastnn.Model(layers_dim)


BAD_OPTIONS = [
    ({"activation": ["tanh", "tanh"]}, r"activation must be a name .* or a list .*hidden layer \(1\), got"),
    ({"activation": "Tanh"}, "got 'Tanh': did you mean 'tanh'"),
    ({"output_activation": "softmax"}, "got 'softmax': the loss 'softmax_cross_entropy' computes it"),
    ({"backend": "torch"}, r"backend must be one of \['numba', 'numpy'\], got 'torch'"),
    ({"dtype": np.float16}, "dtype must be float32 or float64, got <class 'numpy.float16'>"),
    ({"random_state": -1}, "random_state must be None, an integer .*got -1"),
    ({"random_state": np.random.default_rng(0)}, "random_state must be None, an integer .*got Generator.*"),
    ({"rng": -1}, "rng must be None, an integer of at least 0 .*got -1"),
    ({"rng": 0, "random_state": 0}, "random_state and rng exclude each other"),
    ({"loss": "cross_entropy"}, "loss must be one of .*'softmax_cross_entropy'.*got 'cross_entropy'"),
    ({"loss": fastnn.Huber}, r"loss must be an object, got the class Huber: call it, as in Huber\(\)"),
    ({"dropout": True}, "dropout must be .*got True"),
    ({"dropout": [0.5, 2.0]}, r"dropout\[1\] must be .*got 2.0"),
    ({"batch_norm": 1}, "batch_norm must be True or False, got 1"),
    ({"init": "xavier"}, "init must be one of .*'glorot_uniform'.*got 'xavier'"),
]


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS, ids=[name_of(case[0]) for case in BAD_OPTIONS])
def test_bad_options_are_refused_before_anything_is_drawn(options, message):
    before = np.random.get_state()[1].copy()
    with pytest.raises(ValueError, match=message):
        fastnn.Model([2, 3, 2], **options)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


BAD_TRAINING_OPTIONS = [
    ({"num_passes": 1.5}, "num_passes must be an integer of at least 0, got 1.5"),
    ({"epsilon": np.nan}, "epsilon must be a finite number of at least 0, got nan"),
    ({"reg_lambda": np.inf}, "reg_lambda must be a finite number of at least 0, got inf"),
    ({"print_loss": "no"}, "print_loss, unless a boolean, must be one of .'objective'., got 'no'"),
    ({"print_every": 0}, "print_every must be an integer of at least 1, got 0"),
    ({"batch_size": 1}, "batch_size=1 does not work with batch_norm"),
    ({"batch_size": 16.0}, "batch_size must be an integer of at least 1, got 16.0"),
    ({"optimizer": "adamax"}, "optimizer must be one of .*'adamw'.*got 'adamax'"),
    ({"schedule": "cosine"}, "schedule must be one of .*'cosine_decay'.*got 'cosine'"),
    ({"schedule": fastnn.CosineDecay}, r"schedule must be an object, got the class CosineDecay"),
    ({"schedule": lambda step: -1.0}, "the schedule's factor at step 0 must be .*got -1.0"),
    ({"reduction": "average"}, r"reduction must be one of \['mean', 'sum'\], got 'average'"),
    ({"shuffle": 1}, "shuffle must be True or False, got 1"),
    ({"sample_weight": np.ones(199)}, r"sample_weight must hold .* of 200 samples, got shape \(199,\)"),
    ({"sample_weight": -np.ones(200)}, r"sample_weight\[0\] is -1, but weights are finite and at least 0"),
    ({"sample_weight": np.zeros(200)}, "sample_weight is zero for every sample"),
    ({"sample_weight": np.full(200, 1e-310)}, "sample_weight has the sum 2e-308, but it must be from 1e-300"),
    ({"sample_weight": [[1], [1, 2]]}, "sample_weight is not a list of numbers"),
    ({"sample_weight": np.ma.masked_less(np.arange(200), 3)}, "sample_weight has masked values"),
    ({"l1": -1}, "l1 must be a finite number of at least 0, got -1"),
    ({"max_norm": 0}, "max_norm must be a finite number above 0, got 0"),
    ({"clip_norm": -2.0}, "clip_norm must be a finite number above 0, got -2.0"),
    ({"ema_decay": 1.0}, "ema_decay must be a finite number of at least 0 and below 1, got 1.0"),
    ({"n_threads": 0}, "n_threads must be an integer of at least 1, got 0"),
    ({"validation_data": (X, y, y)}, r"validation_data must be a pair \(X, y\), got tuple of 3"),
    ({"validation_data": (X, y[:-1])}, "X has 200 samples, but y of validation_data has 199 labels"),
    ({"callbacks": print}, "callbacks must be a list, as .*, got <built-in function print>"),
    ({"callbacks": ["print"]}, "callbacks must be functions.*got 'print'"),
    ({"callbacks": [fastnn.EarlyStopping]}, r"got the class EarlyStopping: call it, as in EarlyStopping\(\)"),
    ({"callbacks": [fastnn.EarlyStopping()]}, "EarlyStopping watches validation data"),
    ({"callbacks": [fastnn.EarlyStopping()] * 2, "validation_data": (X, y)}, "callbacks holds more than one"),
    ({"progress": "bar"}, "progress must be True or False, got 'bar'"),
    ({"resume": 5}, "resume must be True, the name of a file or a Checkpoint, got 5"),
    ({"random_state": 1.5}, "random_state must be None, an integer .*got 1.5"),
    ({"rng": np.random}, "rng must be None, an integer .*got <module 'numpy.random'"),
    ({"rng": 1, "random_state": 0}, "random_state and rng exclude each other"),
]


@pytest.mark.parametrize(
    ("options", "message"), BAD_TRAINING_OPTIONS, ids=[name_of(case[0]) for case in BAD_TRAINING_OPTIONS]
)
def test_bad_training_options_are_refused_and_nothing_changes(options, message):
    model = fastnn.Model([2, 3, 2], random_state=0, batch_norm=True)
    before = everything(model)
    with pytest.raises(ValueError, match=message):
        model.train(X, y, **options)
    np.testing.assert_array_equal(everything(model), before)
    assert model.history_ is None


def test_every_argument_has_a_value_that_is_refused():
    for function, cases, exempt in (
        (fastnn.Model, BAD_OPTIONS, {"layers_dim"}),
        (fastnn.Model.train, BAD_TRAINING_OPTIONS, {"self", "X", "y"}),
    ):
        refused = {name for options, _ in cases for name in options}
        assert refused == set(inspect.signature(function).parameters) - exempt
    for optimizer in OPTIMIZERS.values():
        assert all("check" in field.metadata for field in dataclasses.fields(optimizer))


BAD_SETTINGS = [
    (fastnn.SGD, {"weight_decay": -1}, "weight_decay must be .*got -1"),
    (fastnn.Momentum, {"momentum": 1.01}, "momentum must be .* at least 0 and at most 1, got 1.01"),
    (fastnn.Momentum, {"dampening": 1.0}, "dampening must be .* below 1, got 1.0"),
    (fastnn.Momentum, {"rate_in_velocity": 1}, "rate_in_velocity must be True or False, got 1"),
    (fastnn.Nesterov, {"momentum": "0.9"}, "momentum must be .*got '0.9'"),
    (fastnn.Adagrad, {"lr_decay": -0.1}, "lr_decay must be .*got -0.1"),
    (fastnn.Adagrad, {"initial_accumulator_value": np.nan}, "initial_accumulator_value must be .*got nan"),
    (fastnn.RMSprop, {"alpha": 1}, "alpha must be .*got 1"),
    (fastnn.Adam, {"betas": (0.9,)}, "betas must be two numbers such as .*got"),
    (fastnn.Adam, {"betas": (0.9, 1.0)}, r"betas\[1\] must be .*got 1.0"),
    (fastnn.Adam, {"eps_hat": None}, "eps_hat must be True or False, got None"),
    (fastnn.LBFGS, {"maxcor": 0}, "maxcor must be an integer of at least 1, got 0"),
    (fastnn.LBFGS, {"maxfun": 2**63}, r"maxfun must be an integer below 2\*\*63, got"),
    (fastnn.SoftmaxCrossEntropy, {"label_smoothing": 1.5}, "label_smoothing must be .*at most 1, got 1.5"),
    (fastnn.MulticlassHinge, {"margin": 0}, "margin must be a finite number above 0, got 0"),
    (fastnn.Huber, {"delta": 1e-310}, "delta must be .*below 2.23e-308 a number counts as 0"),
    (fastnn.Quantile, {"quantile": True}, "quantile must be .* above 0 and below 1, got True"),
    (fastnn.EarlyStopping, {"patience": 0}, "patience must be an integer of at least 1, got 0"),
    (fastnn.EarlyStopping, {"min_delta": np.nan}, "min_delta must be .*got nan"),
    (fastnn.EarlyStopping, {"ties": "last"}, "ties must be one of"),
    (fastnn.EarlyStopping, {"scorer": "accuracy"}, "scorer must be a function of model, X and y, got 'acc"),
    *(
        (fastnn.Checkpoint, {"path": "a.fastnn", "every": every}, "every must be")
        for every in (0, "soon", "0s", "30")
    ),
    (fastnn.Checkpoint, {"path": "a.fastnn", "keep_best": 3}, "keep_best must be True or False"),
    (fastnn.Checkpoint, {"path": "missing/a.fastnn"}, "there is no folder"),
]


@pytest.mark.parametrize(("kind", "settings", "message"), BAD_SETTINGS)
def test_bad_arguments_of_what_a_training_is_told_are_refused(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(**settings)


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


def test_numbers_too_large_for_float32_are_refused():
    model = fastnn.Model([2, 3, 3], loss="squared_error", dtype=np.float32, backend="numpy")
    with pytest.raises(ValueError, match="y .*too large for float32, first at row 4, column 1"):
        model.train(X, change_target((4, 1), 1e300))
    with pytest.raises(ValueError, match="X .*too large for float32, first at row 0, column 1"):
        model.predict([[0.0, 1e300]])


def test_parameters_that_are_not_finite_are_named_as_the_cause(backend):
    model = fastnn.Model([2, 3, 2], random_state=0, backend=backend)
    model.W[1][0, 0] = np.nan
    for method in (lambda: model.predict(X), lambda: model.predict_proba(X)):
        with pytest.warns(RuntimeWarning, match="^parameters of the network are NaN or infinite"):
            method()
    with pytest.warns(RuntimeWarning, match="^the loss is nan: parameters of the network are NaN"):
        model.calculate_loss(X, y)


def test_options_of_a_training_have_the_defaults_of_train():
    parameters = list(inspect.signature(fastnn.Model.train).parameters.values())[3:]
    assert {each.name: each.default for each in parameters} == {
        field.name: field.default for field in dataclasses.fields(TrainOptions)
    }
