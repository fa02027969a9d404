"""Training by Levenberg-Marquardt: minima, both backends, weights, evidence, and what is refused."""

import itertools

import numpy as np
import pytest
import scipy.sparse

import fastnn

random = np.random.default_rng(0)
X = random.uniform(-2, 2, (150, 2))
SMOOTH = np.column_stack([np.sin(X[:, 0] * X[:, 1]), np.cos(X[:, 0]) + X[:, 1]])
NETWORK = {"output_activation": "identity", "loss": "squared_error", "random_state": 0}


def model(sizes=(2, 6, 2), **options):
    return fastnn.Model(list(sizes), **NETWORK | options)


def train(network, y=SMOOTH, X=X, num_passes=30, reg_lambda=0.0, **options):
    optimizer = options.pop("optimizer", "levenberg_marquardt")
    network.train(X, y, num_passes=num_passes, reg_lambda=reg_lambda, optimizer=optimizer, **options)
    return np.concatenate([array.ravel() for array in (*network.W, *network.b)])


@pytest.mark.parametrize("bayesian", [False, True])
def test_both_backends_do_the_same_iterations(bayesian):
    optimizer = fastnn.LevenbergMarquardt(bayesian=bayesian)
    ours, theirs = (
        train(model(backend=backend), optimizer=optimizer, num_passes=8, reg_lambda=0.1)
        for backend in ("numba", "numpy")
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-9)


def test_a_smooth_function_is_fitted_below_lbfgs_and_the_loss_never_rises():
    network, other = model(), model()
    train(network, num_passes=150)
    train(other, optimizer="lbfgs", num_passes=300)
    assert network.history_.loss[-1] < 0.7 * other.history_.loss[-1]
    assert (np.diff(network.history_.loss) < 0).all()


@pytest.mark.parametrize("bayesian", [False, True])
def test_weights_equal_repeated_rows(bayesian):
    optimizer, counts = fastnn.LevenbergMarquardt(bayesian=bayesian), 1 + np.arange(150) % 3
    weighted = train(model(), sample_weight=counts, optimizer=optimizer, num_passes=8)
    rows = np.repeat(SMOOTH, counts, 0), np.repeat(X, counts, 0)
    repeated = train(model(), *rows, optimizer=optimizer, num_passes=8)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-7, atol=1e-9)


def test_the_evidence_penalises_noise_and_leaves_the_function():
    draw = np.random.default_rng(1)
    noisy, fresh = SMOOTH[:, :1] + 0.5 * draw.standard_normal((150, 1)), draw.uniform(-2, 2, (500, 2))
    errors = {False: [], True: []}
    for bayesian, seed in itertools.product(errors, range(6)):
        network = model((2, 20, 1), random_state=seed)
        train(network, noisy, optimizer=fastnn.LevenbergMarquardt(bayesian=bayesian), num_passes=60)
        difference = network.predict(fresh) - np.sin(fresh[:, :1] * fresh[:, 1:])
        errors[bayesian].append((difference**2).mean())
    assert max(errors[True]) < 0.5 * min(errors[False])


def test_validation_data_end_the_training_and_the_best_epoch_stays():
    noisy = SMOOTH + random.standard_normal(SMOOTH.shape)
    network = model((2, 20, 2))
    options = {"validation_data": (X[::2], noisy[::2]), "callbacks": [fastnn.EarlyStopping(5)]}
    train(network, noisy[1::2], X[1::2], num_passes=300, **options)
    history = network.history_
    assert history.stopped_early
    assert network.calculate_loss(X[::2], noisy[::2]) == pytest.approx(min(history.validation_loss), rel=1e-9)


ignore_convergence = pytest.mark.filterwarnings(r"ignore:(?s).*converge")


def regressor(**options):
    options = {"solver": "lm", "activation": "tanh", "random_state": 0} | options
    return fastnn.MLPRegressor("squared_error", (5,), **options)


def test_a_regressor_takes_sparse_samples_and_warns_as_by_lbfgs():
    dense, sparse = regressor(max_iter=5), regressor(max_iter=5)
    for estimator, samples in ((dense, X), (sparse, scipy.sparse.csr_array(X))):
        with pytest.warns(UserWarning, match="levenberg_marquardt failed to converge after 5 iteration"):
            estimator.fit(samples, SMOOTH)
    np.testing.assert_array_equal(sparse.coefs_[0], dense.coefs_[0])
    assert dense.loss_curve_[-1] == dense.loss_ == dense.best_loss_
    assert len(dense.loss_curve_) == dense.n_iter_ == 5


@ignore_convergence
def test_a_regressor_stops_early_and_restores_its_best_iteration():
    noisy = SMOOTH + random.standard_normal(SMOOTH.shape)
    model = regressor(early_stopping=True, max_iter=300, warm_start=True).fit(X[:100], noisy[:100])
    assert len(model.loss_curve_) == len(model.validation_scores_) == model.n_iter_ < 300
    fresh = regressor(early_stopping=True, max_iter=int(np.argmax(model.validation_scores_)) + 1)
    fresh.fit(X[:100], noisy[:100])
    np.testing.assert_array_equal(model.coefs_[0], fresh.coefs_[0])
    # The next fit continues from the last iteration, or from the best one without early stopping.
    last = model.loss_curve_[-1]
    assert model.fit(X[:100], noisy[:100]).loss_curve_[-1] < last
    model.set_params(solver="adam", max_iter=1, early_stopping=False, learning_rate_init=1e-9)
    before = model.coefs_[0].copy()
    model.fit(X[:100], noisy[:100])
    np.testing.assert_allclose(model.coefs_[0], before, atol=1e-8)


ODD = {"one row": (X[:1], SMOOTH[:1]), "constant": (X, np.full(150, 3.0)), "zero": (X, np.zeros(150))}
ODD |= {"weights of 0": (X, SMOOTH, np.arange(150) < 90.0), "float32": (X.astype("f4"), SMOOTH)}


@ignore_convergence
@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
def test_a_regressor_fits_odd_data(data):
    options = {"alpha": 0.0, "max_iter": 40}
    model = regressor(**options).fit(*data)
    assert model.loss_ < 0.03
    assert model.coefs_[0].dtype == data[0].dtype
    if len(data) == 3:
        without = regressor(**options).fit(X[:90], SMOOTH[:90])
        np.testing.assert_allclose(model.predict(X), without.predict(X), rtol=1e-4)


REFUSED = {
    "another loss": (model(loss="huber"), {}, "the squared error alone.*Huber"),
    "normalisation": (model(batch_norm=True), {}, "leave batch_norm out"),
    "memory": (model((2, 1000, 1000, 2)), {}, "'levenberg_marquardt' with .* choose 'lbfgs'"),
}


@pytest.mark.filterwarnings("ignore:'levenberg_marquardt' is slow")
@pytest.mark.parametrize(("network", "options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_it_cannot_train_is_refused(network, options, message):
    before = network.W[0].copy()
    with pytest.raises((ValueError, MemoryError), match=message):
        train(network, **options)
    np.testing.assert_array_equal(network.W[0], before)
    with pytest.raises(ValueError, match="the squared error alone"):
        fastnn.MLPClassifier((3,), solver="lm").fit(X, X[:, 0] > 0)


def test_many_parameters_cause_a_warning():
    with pytest.warns(UserWarning, match="slow for 1502 parameters.*'lbfgs' is usually faster") as caught:
        train(model((2, 300, 2)), num_passes=1)
    assert len(caught) == 1
