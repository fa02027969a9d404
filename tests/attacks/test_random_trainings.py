"""Random valid trainings, of data and settings of any size: no crash, no NaN, no bit that threads change."""

import hypothesis
import numpy as np
import pytest
from estimator_checks import parameters, state
from example_counts import with_examples
from hypothesis import strategies as st

import fastnn
from fastnn.losses import LOSSES
from fastnn.network.initialization import INITIALIZERS
from fastnn.optimizers import OPTIMIZERS
from fastnn.reference.layer import ACTIVATIONS
from fastnn.schedules import SCHEDULES

# fastnn's own warnings: a high rate, infinite scores. Others, such as NumPy's, are errors.
OWN = "the network's scores|parameters of the network|the loss is"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", f"ignore:{OWN}:RuntimeWarning")

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
    st.sampled_from(sorted(OPTIMIZERS)),
    st.builds(fastnn.LevenbergMarquardt, st.sampled_from([1e-300, 1e-3, 1e9]), bayesian=st.booleans()),
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
    optimizer = draw(optimizers)
    is_lm = optimizer == "levenberg_marquardt" or isinstance(optimizer, fastnn.LevenbergMarquardt)
    name = "squared_error" if is_lm else draw(st.sampled_from(sorted(LOSSES)))
    arguments = {
        "layers_dim": dims,
        "activation": [draw(activation) for _ in range(n_hidden)],
        "output_activation": draw(activation),
        "dtype": dtype,
        "random_state": draw(st.integers(0, 2**32 - 1)),
        "loss": name,
        "dropout": [draw(rate) for _ in range(n_hidden + 1)],
        "batch_norm": not is_lm and draw(st.booleans()),
        "init": draw(st.sampled_from(sorted(INITIALIZERS))),
    }
    X = draw(tables(dims[0], dtype))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    y = random.integers(0, dims[-1], len(X))
    if not LOSSES[name].of_labels:
        low, high = LOSSES[name].bounds
        y = random.standard_normal((len(X), dims[-1])) * draw(st.sampled_from([1.0, 1.0, 100.0, 1e15]))
        y = np.abs(y) if low is not None else y
        y = np.where(y > 0.5, high, low) if high is not None else y
    limit = st.sampled_from([None, None, 1e-3, 1.0, 1e6])
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
    if not is_lm and optimizer != "lbfgs":
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


@pytest.mark.slow
@with_examples(400)
@hypothesis.given(trainings())
def test_trainings_stay_finite_and_threads_change_no_bit(training):
    arguments, X, y, options = training

    def train(backend, **others):
        """Return the model, and its history, or the error of a training that diverged."""
        model = fastnn.Model(**arguments, backend=backend)
        try:
            return model, model.train(X, y, **{**options, **others})
        except ValueError as error:
            return model, error

    model, history = train("numba")
    np.testing.assert_array_equal(parameters(train("numba", n_threads=1)[0]), parameters(model))
    plain, _ = train("numpy")
    for one in (model, plain):
        assert np.isfinite(state(one)).all()
    if not isinstance(history, Exception):
        assert np.isfinite(history.loss).all() or not np.isfinite(history.loss[:-1]).all()
        predictions = np.asarray(model.predict(X), float)
        with np.errstate(all="ignore"):
            scores = np.asarray(plain.predict(X), float)
        assert not np.isnan(predictions).any() or not np.isfinite(scores).all()
