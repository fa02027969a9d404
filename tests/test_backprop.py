"""Backprop, Jacobians and the outputs of layers: against the reference, central differences and trainings."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, is_padding, seeds

import fastnn
from fastnn.losses import LOSSES
from fastnn.optimizers import STEPPING
from fastnn.reference.layer import ACTIVATIONS

OPTIONS = {
    "plain": {},
    "dropout": {"dropout": [0.2, 0.3, 0.1]},
    "batch normalisation": {"batch_norm": True},
    "both": {"dropout": 0.3, "batch_norm": True},
}


def make_pair(optimizer="sgd", *, frozen=False, **options):
    return [
        fastnn.Backprop(
            fastnn.Model([5, 7, 6, 3], random_state=1, backend=backend, **options),
            optimizer,
            frozen=frozen,
            random_state=3,
        )
        for backend in ("numba", "numpy")
    ]


def assert_close(found, expected):
    scale = max(np.abs(expected).max(), 1.0)  # the derivatives by the scores have the size 1
    tolerance = 1e-12 if expected.dtype == np.float64 else 1e-5
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@given(
    option=st.sampled_from(list(OPTIONS)),
    n=st.sampled_from([2, 3, 4, 8, 9, 64, 300, 700]),
    dtype=st.sampled_from(DTYPES),
    frozen=st.booleans(),
    adds=st.booleans(),
    seed=seeds,
)
def test_passes_and_steps_are_those_of_the_reference(activation, option, n, dtype, frozen, adds, seed):
    kernels, reference = nets = make_pair(
        "adam", activation=activation, dtype=dtype, frozen=frozen, **OPTIONS[option]
    )
    random = np.random.default_rng(seed)
    if option in ("batch normalisation", "both"):  # the derivatives of two normalised samples cancel
        n = max(n, 8)
    X, dS = (random.standard_normal((n, k)).astype(dtype) for k in (5, 3))
    by_parameters = not (frozen and kernels.model.batch_norm)
    for _ in range(2):
        given = X.copy()
        assert_close(*(net.forward(given) for net in nets))
        given[...] = 0  # the passes keep a copy of the samples
        assert_close(*(net.backward(dS, parameters=by_parameters) for net in nets))
        if not by_parameters:
            continue
        if adds:
            assert all(net.backward(dS, adds=True, inputs=False) is None for net in nets)
        assert_close(kernels.gradient, reference.gradient)
        if not kernels.model.batch_norm:
            assert_close(*(net.sample_gradients(dS) for net in nets))
            assert_close(kernels.sample_gradients(dS).sum(axis=0), kernels.gradient / (1 + adds))
        if frozen:
            continue
        for net in nets:
            net.step(0.001, reg_lambda=0.1)
        # Adam divides by the size of a derivative: where it is tiny, rounding decides the sign of the step.
        kernels.parameters[:] = reference.parameters
    if kernels.model.batch_norm:
        assert_close(kernels.model.batch_norm[0].running_mean, reference.model.batch_norm[0].running_mean)


@pytest.mark.parametrize("optimizer", STEPPING)
@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_a_loop_over_the_passes_is_a_training(optimizer, backend):
    random = np.random.default_rng(0)
    X, y = random.standard_normal((40, 3)), random.standard_normal((40, 2))
    options = {"loss": "squared_error", "output_activation": "identity", "dropout": 0.2, "backend": backend}
    model, trained = (fastnn.Model([3, 9, 2], random_state=0, **options) for _ in range(2))
    net = fastnn.Backprop(model, optimizer, random_state=5)
    for _ in range(20):
        net.backward(net.forward(X) - y, inputs=False)
        net.step(0.001, reg_lambda=0.01)
    settings = {"epsilon": 0.001, "reg_lambda": 0.01, "optimizer": optimizer, "random_state": 5}
    trained.train(X, y, num_passes=20, **settings)
    for found, expected in zip([*model.W, *model.b], [*trained.W, *trained.b], strict=True):
        np.testing.assert_array_equal(found, expected) if backend == "numba" else assert_close(
            found, expected
        )


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "sigmoid_binary_cross_entropy", "squared_error"])
def test_jacobians_are_central_differences(loss, batch_norm):
    model = fastnn.Model([4, 6, 3], activation="gelu", loss=loss, batch_norm=batch_norm, random_state=0)
    random = np.random.default_rng(1)
    X, step = random.standard_normal((5, 4)), 1e-6
    if batch_norm:
        fastnn.Backprop(model).forward(X)  # moves the running statistics
    functions = {"scores": lambda X: model.layer_outputs(X)[-1]}
    if LOSSES[loss]().output != "identity":
        functions["probabilities"] = model.predict_proba
    for of, function in functions.items():
        J = model.jacobian(X, of=of)
        for i in range(4):
            moved = step * (np.arange(4) == i)
            slope = (function(X + moved) - function(X - moved)) / (2 * step)
            np.testing.assert_allclose(J[:, :, i], slope, rtol=0, atol=1e-8)
    # A seed of ones adds the rows of a Jacobian.
    net = fastnn.Backprop(model, frozen=True)
    net.forward(X)
    dX = net.backward(np.ones((5, 3)), parameters=False)
    np.testing.assert_allclose(model.jacobian(X).sum(axis=1), dX, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [40, 600])
def test_outputs_of_layers_are_those_of_the_formula(backend, n):
    model = fastnn.Model([4, 70, 9, 2], dropout=0.5, random_state=0, backend=backend)
    X = np.random.default_rng(0).standard_normal((n, 4))
    A, outputs = X, model.layer_outputs(X)
    model.layer_outputs(2 * X)  # overwrites nothing that was returned
    for found, W, b in zip(outputs, model.W, model.b, strict=True):
        A = np.tanh(A @ W + b)
        np.testing.assert_allclose(found, A, rtol=0, atol=1e-13)


def test_estimators_have_jacobians_and_outputs_of_layers():
    from sklearn.datasets import load_iris
    from sklearn.decomposition import PCA
    from sklearn.exceptions import NotFittedError
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, PowerTransformer

    X, y = load_iris(return_X_y=True)
    classifier = fastnn.MLPClassifier((5,), max_iter=30, random_state=0)
    pipeline = make_pipeline(MinMaxScaler(), PCA(3, whiten=True), classifier)
    for model, few in product((pipeline, classifier), (y > 0, y)):
        with pytest.warns(UserWarning, match="converge"):
            model.fit(X, few)
        J = fastnn.jacobian(model, X[:7], of="probabilities")
        for i in range(4):
            moved = 1e-6 * (np.arange(4) == i)
            slope = (model.predict_proba(X[:7] + moved) - model.predict_proba(X[:7] - moved)) / 2e-6
            np.testing.assert_allclose(J[:, :, i], slope, rtol=0, atol=1e-8)
    assert [A.shape[1] for A in classifier.layer_outputs(X)] == [5, 3]
    with pytest.raises(ValueError, match="X contains NaN, first at row 0, column 1"):
        fastnn.jacobian(pipeline.set_params(minmaxscaler=SimpleImputer().fit(X)), [[1.0, np.nan, 1.0, 1.0]])
    with pytest.raises(ValueError, match="^PowerTransformer is not known to be affine"):
        fastnn.jacobian(make_pipeline(PowerTransformer().fit(X), classifier), X)
    for wrong in (PCA(), fastnn.Model):
        with pytest.raises(ValueError, match="^model must be a network of fastnn, .*, got .*(PCA|Model)"):
            fastnn.jacobian(wrong, X)
    with pytest.raises(NotFittedError):
        fastnn.jacobian(make_pipeline(MinMaxScaler(), classifier), X)


def test_the_last_passes_overwrite_nothing_that_was_returned():
    net, X = fastnn.Backprop(fastnn.Model([3, 4, 2], random_state=0)), np.eye(3)
    S = net.forward(X)
    dX = net.backward(S)
    kept = S.copy(), dX.copy()
    out = np.empty((3, 2)), np.empty((3, 3))
    assert net.forward(2 * X, out=out[0]) is out[0]
    assert net.backward(3 * S, out=out[1]) is out[1]
    assert (kept[0] == S).all()
    assert (dX == kept[1]).all()
    assert not (out[1] == dX).all()


def test_views_are_live_and_padding_is_zero():
    net = fastnn.Backprop(fastnn.Model([3, 4, 2], batch_norm=True, random_state=0))
    net.backward(net.forward(np.arange(12.0).reshape(4, 3)))
    assert all(np.shares_memory(view, net.gradient) for view in (*net.dW, *net.db))
    assert not net.gradient[is_padding(net.model._network)].any()
    net.dW[0] = np.zeros((3, 4))
    assert not net.dW[0].any()
    net.parameters[:] = 0
    assert not net.model.W[0].any()


def test_sparse_samples_are_those_of_the_dense_matrix():
    import scipy.sparse

    X = np.eye(3)
    net = fastnn.Backprop(fastnn.Model([3, 4, 2], random_state=0))
    np.testing.assert_array_equal(net.forward(scipy.sparse.csr_matrix(X)), net.forward(X))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_step_that_diverges_changes_nothing(optimizer, backend):
    model = fastnn.Model([3, 4, 2], random_state=0, backend=backend)
    net = fastnn.Backprop(model, optimizer)
    net.forward(np.eye(3))
    net.backward(np.full((3, 2), 1e200))
    net.gradient[:] *= 1e90
    before = net.parameters.copy()
    with pytest.raises(fastnn.DivergenceError, match="in step 0"):
        net.step(1e30)
    np.testing.assert_array_equal(net.parameters, before)
    net.backward(net.forward(np.eye(3)))
    net.step(0.01)
    assert net.n_steps == 1


def forward(net):
    net.forward(np.eye(3))
    return net


def step(net):
    forward(net).backward(np.ones((3, 2)))
    net.step(0.1)
    return net


REFUSED = {
    "no model": (lambda net: fastnn.Backprop("adam"), "model must be a fastnn.Model"),
    "lbfgs": (lambda net: fastnn.Backprop(net.model, "lbfgs"), "chooses its own steps"),
    "wrong features": (lambda net: net.forward(np.eye(2)), "has 2 features"),
    "NaN in X": (lambda net: net.forward([[np.nan] * 3]), "X has NaN|X holds NaN|NaN"),
    "backward first": (lambda net: net.backward(np.zeros((3, 2))), "call forward first"),
    "backward after a step": (lambda net: step(net).backward(np.ones((3, 2))), "also after a step"),
    "step first": (lambda net: forward(net).step(0.1), "step needs a gradient"),
    "wrong shape": (lambda net: forward(net).backward(np.zeros((2, 2))), r"shape \(3, 2\)"),
    "one dimension": (lambda net: forward(net).backward(np.zeros(2)), r"shape \(3, 2\)"),
    "infinite dS": (lambda net: forward(net).backward(np.full((3, 2), np.inf)), "dS"),
    "out": (lambda net: net.forward(np.eye(3), out=np.empty((3, 3))), "out must be an array"),
    "samples mixed": (
        lambda net: fastnn.Backprop(fastnn.Model([3, 4, 2], batch_norm=True)).sample_gradients([[1, 1]]),
        "no gradient of its own",
    ),
    "frozen statistics": (
        lambda net: forward(fastnn.Backprop(fastnn.Model([3, 4, 2], batch_norm=True), frozen=True)).backward(
            np.ones((3, 2))
        ),
        "parameters=False",
    ),
    "frozen step": (lambda net: forward(fastnn.Backprop(net.model, frozen=True)).step(0.1), "not trained"),
    "no probabilities": (
        lambda net: fastnn.Model([3, 2], loss="squared_error").jacobian(np.eye(3), of="probabilities"),
        "has no probabilities",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_calls_are_refused_by_name(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call(fastnn.Backprop(fastnn.Model([3, 4, 2], random_state=0)))


def test_a_read_only_network_is_frozen():
    model = fastnn.Model([3, 4, 2], random_state=0)
    net = forward(fastnn.Backprop(model))
    net.backward(np.ones((3, 2)))
    W = model.W[0]
    net.step(0.1)
    forward(net).backward(np.ones((3, 2)))
    W.setflags(write=False)
    with pytest.raises(ValueError, match=r"W\[0\] is read-only"):
        net.step(0.1)
    with pytest.raises(ValueError, match=r"W\[0\] is read-only"):
        fastnn.Backprop(model)
    assert forward(fastnn.Backprop(model, frozen=True)).backward(np.ones((3, 2))).shape == (3, 3)
