"""Hints at too high a rate, a loss that has risen and targets out of reach, and trainings without a hint."""

from contextlib import nullcontext

import numpy as np
import pytest
from estimator_checks import parameters
from sklearn.datasets import make_blobs, make_moons
from trainings import STEP_OPTIONS

import fastnn

X, y = make_blobs(300, centers=3, random_state=1)
HINT = "epsilon=0.01 seems too high for the sum of the gradients of 300 samples: the loss ended at 0.58"
BETTER = {1000: "0.2498", 100: "0.2817"}  # losses at the rate of the hint, by the number of epochs
random = np.random.default_rng(0)
NOISE = random.normal(size=(1000, 2)), random.integers(0, 2, 1000)


def stuck(backend="numba", **options):
    return fastnn.Model([2, 3, 3], random_state=2, backend=backend, **options)


@pytest.mark.parametrize(("backend", "num_passes"), [("numba", 1000), ("numpy", 100)])
def test_the_hint_names_a_rate_that_trains_well(backend, num_passes):
    with pytest.warns(UserWarning, match=HINT) as caught:
        history = stuck(backend).train(X, y, num_passes)
    assert (len(caught), caught[0].filename) == (1, __file__)
    assert history.loss[-1] > 0.58
    better = f"with epsilon=0.001 it is {BETTER[num_passes]} after {num_passes} epochs"
    assert better in str(caught[0].message)
    # A training at that rate has that loss, and no hint: a warning would be an error.
    model = stuck(backend)
    history = model.train(X, y, num_passes, epsilon=0.001)
    assert f"{history.loss[-1]:.4g}" == BETTER[num_passes]
    assert (model.predict(X) == y).mean() > 0.99


def test_a_hint_that_is_an_error_changes_neither_the_model_nor_the_global_generator():
    warned, silent, steps = stuck(), stuck(), []
    np.random.seed(3)
    with pytest.raises(UserWarning, match=HINT):
        warned.train(X, y, num_passes=500, schedule=lambda step: steps.append(step) or 1.0)
    assert np.random.rand() == np.random.RandomState(3).rand()
    assert max(steps) == warned.history_.passes[-1] == 499
    # A clip_norm that no gradient reaches leaves the steps as they are, and suppresses the hint.
    silent.train(X, y, num_passes=500, clip_norm=1e9)
    np.testing.assert_array_equal(parameters(warned), parameters(silent))


# Data and options of trainings without a hint.
WITHOUT_HINT = {
    "the tutorial": (make_moons(200, noise=0.2, random_state=0), {}),
    "a lower rate": ((X, y), {"epsilon": 0.001}),
    "a mean": ((X, y), {"reduction": "mean"}),
    "minibatches": ((X, y), {"batch_size": 32, "random_state": 0}),
    "adam": ((X, y), {"optimizer": "adam"}),
    "few epochs": ((X, y), {"num_passes": 99}),
    "light samples": ((X, y), {"sample_weight": np.full(300, 0.1)}),
    # The product of rate and number of samples exceeds the tutorial's, but the loss falls enough.
    "moons": (make_moons(500, noise=0.2, random_state=0), {}),
    # The loss does not fall at any rate.
    "noise": (NOISE, {}),
}


@pytest.mark.parametrize(("data", "options"), WITHOUT_HINT.values(), ids=WITHOUT_HINT)
def test_trainings_that_a_lower_rate_does_not_improve_have_no_hint(data, options):
    samples, labels = data
    model = fastnn.Model([samples.shape[1], 8, labels.max() + 1], random_state=0)
    model.train(samples, labels, **{"num_passes": 1000} | options)  # a warning would be an error


@pytest.mark.parametrize("name", STEP_OPTIONS)
def test_options_that_bound_the_steps_suppress_the_hint(name):
    bounds = {"clip_norm"}
    with nullcontext() if name in bounds else pytest.warns(UserWarning, match="epsilon=0.01 seems too high"):
        stuck().train(X, y, 500, **{name: STEP_OPTIONS[name]})


@pytest.mark.parametrize(
    ("layers_dim", "network", "options"),
    [
        ([2, 3, 1], {"loss": "squared_error"}, {"num_passes": 100}),
        ([2, 3, 2], {}, {"num_passes": 99, "epsilon": 1.0}),
        ([2, 3, 2], {}, {"num_passes": 50, "epsilon": 100.0, "reduction": "mean"}),
    ],
)
def test_a_loss_that_has_risen_far_is_a_warning(layers_dim, network, options):
    X, y = make_moons(200, noise=0.2, random_state=0)
    model = fastnn.Model(layers_dim, output_activation="identity", random_state=0, **network)
    targets = y if layers_dim[-1] == 2 else 1000 * X[:, 0]
    with pytest.warns(UserWarning, match=r"the loss has risen from [\d.e+]+ to [\d.e+]+: lower epsilon="):
        history = model.train(X, targets, random_state=0, **options)
    assert history.loss[-1] > 10 * history.loss[0]


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "elu", "relu", "softplus"])
def test_targets_out_of_reach_of_the_output_activation_are_a_warning(activation):
    lowest, highest = -(activation in ("tanh", "elu")), 1 if activation in ("sigmoid", "tanh") else 1e9
    reach = f"from {lowest} to 1" if highest == 1 else f"of at least {lowest}"

    def train(loss, *targets):
        model = fastnn.Model([1, 1], loss=loss, output_activation=activation, random_state=0)
        model.train([[0.0], [0.0]], targets, num_passes=0)

    train("squared_error", lowest, highest)  # a warning would be an error
    train("poisson", 5.0, 50.0)  # whose predictions are not the outputs
    beyond = [("huber", lowest - 0.01, highest), ("quantile", lowest - 0.01, highest)]
    if highest == 1:
        beyond.append(("absolute_error", lowest, 1.01))
    for loss, *targets in beyond:
        message = f"output_activation='{activation}' has outputs {reach}: choose .*activation=\"identity\""
        with pytest.warns(UserWarning, match=message) as caught:
            train(loss, *targets)
        assert caught[0].filename == __file__
