"""Model as its users meet it."""

import copy
import pickle
import signal
import threading

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.datasets import make_moons

import fastnn
from fastnn.backends import get_backend
from fastnn.network import Network
from fastnn.training import run_training

X, y = make_moons(200, noise=0.20, random_state=0)
BACKENDS = ("numba", "numpy")


def trained(X=X, y=y, **options):
    model = fastnn.Model([2, 3, 2], random_state=1, **options)
    model.train(X, y, num_passes=50)
    return model


def parameters(model):
    return np.concatenate([a.ravel() for a in (*model.W, *model.b)])


# --- what goes in --------------------------------------------------------------------------------

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
    "beyond all floats": (([[10**400, 0]] * 200, y), "X must hold numbers"),
    "labels ragged": ((X, [[0], [0, 1]]), "y is no list of labels"),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("data", "message"), BAD_DATA.values(), ids=BAD_DATA)
def test_bad_data_is_refused_and_nothing_changes(data, message, backend):
    model = fastnn.Model([2, 3, 2], random_state=0, backend=backend)
    before = parameters(model)
    with pytest.raises(ValueError, match=message):
        model.train(*data)
    with pytest.raises(ValueError, match=message):
        model.calculate_loss(*data)
    np.testing.assert_array_equal(parameters(model), before)
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "rellu"}, "activation must be one of .*'tanh'.*got 'rellu'"),
        ({"output_activation": None}, "output_activation must be one of"),
        ({"backend": "torch"}, r"backend must be one of \['numba', 'numpy'\], got 'torch'"),
        ({"dtype": np.float16}, "dtype must be float32 or float64, got float16"),
        ({"dtype": "no such"}, "dtype must be float32 or float64, got 'no such'"),
        ({"dtype": int}, "dtype must be float32 or float64, got int64"),
        ({"random_state": -1}, "random_state must be None, an integer"),
        ({"random_state": "zero"}, "random_state must be None, an integer"),
        ({"activation": ["tanh"]}, "activation must be one of"),
        ({"backend": ["numba"]}, "backend must be one of"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        fastnn.Model([2, 3, 2], **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_passes": -1}, "num_passes must be an integer not below 0 .*, got -1"),
        ({"num_passes": 1.5}, "num_passes must be an integer not below 0 .*, got 1.5"),
        ({"num_passes": 2**63}, "num_passes must be"),
        ({"epsilon": -0.1}, "epsilon must be a finite number not below 0, got -0.1"),
        ({"epsilon": np.nan}, "epsilon must be a finite number not below 0, got nan"),
        ({"epsilon": "fast"}, "epsilon must be a finite number not below 0, got 'fast'"),
        ({"epsilon": 10**400}, "epsilon must be a finite number"),
        ({"reg_lambda": np.inf}, "reg_lambda must be a finite number not below 0, got inf"),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_bad_training_options(options, message, backend):
    model = fastnn.Model([2, 3, 2], random_state=0, backend=backend)
    before = parameters(model)
    with pytest.raises(ValueError, match=message):
        model.train(X, y, **options)
    np.testing.assert_array_equal(parameters(model), before)


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


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_are_whole_and_apart(clone):
    model = trained()
    other = clone(model)
    np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
    assert (other.layers_dim, other.dtype, other.backend) == (model.layers_dim, model.dtype, model.backend)
    before = parameters(model)
    other.train(X, y, num_passes=3)
    np.testing.assert_array_equal(parameters(model), before)
    expected = trained()
    expected.train(X, y, num_passes=3)
    np.testing.assert_array_equal(parameters(other), parameters(expected))


def test_a_model_whose_parameters_are_read_only_trains_on_a_copy(tmp_path):
    joblib.dump(fastnn.Model([2, 300, 2], random_state=0), tmp_path / "model")
    model = joblib.load(tmp_path / "model", mmap_mode="r")
    before = parameters(model)
    model.train(X, y, num_passes=3)
    assert (parameters(model) != before).any()
    np.testing.assert_array_equal(parameters(joblib.load(tmp_path / "model")), before)


def test_repr_says_what_it_is():
    assert repr(fastnn.Model([2, 3, 2])) == (
        "Model([2, 3, 2], activation='tanh', output_activation='tanh', backend='numba', dtype=float64)"
    )
    assert "activation='tanh', output" not in repr(fastnn.Model([2, 2]))


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
    trainer = get_backend(name).trainer(model._network, model._parameters, X, y, 0.001, 0.01)
    trainer.run(1)  # compiled
    timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        run_training(trainer, 10**12, 0.001, 0.01)
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
