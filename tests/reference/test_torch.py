"""Whole trainings against PyTorch's: optimizers, losses, activations, normalisation, dropout, clipping.

Both start from the same parameters, in float64, and take the same steps.
"""

import math

import numpy as np
import pytest

import fastnn
from fastnn.optimizers import OPTIMIZERS
from fastnn.reference.random import draw, dropout
from fastnn.reference.train import STEPS

torch = pytest.importorskip("torch")
F = torch.nn.functional
torch.set_num_threads(1)

BACKENDS = ("numba", "numpy")
# Far below the 1e-6 that is asked for: nothing but the order of sums differs.
CLOSE = {"rtol": 1e-10, "atol": 1e-11}

random = np.random.default_rng(0)
N, INPUTS, OUTPUTS = 37, 5, 3
X = random.normal(size=(N, INPUTS))
LABELS = random.integers(0, OUTPUTS, N)
TARGETS = random.normal(size=(N, OUTPUTS))
SHARES = random.random((N, OUTPUTS))
COUNTS = random.poisson(1.5, (N, OUTPUTS)).astype(float)

TORCH_ACTIVATIONS = {
    "identity": torch.nn.Identity(),
    "sigmoid": torch.nn.Sigmoid(),
    "tanh": torch.nn.Tanh(),
    "relu": torch.nn.ReLU(),
    "leaky_relu": torch.nn.LeakyReLU(),
    "elu": torch.nn.ELU(),
    "selu": torch.nn.SELU(),
    "softplus": torch.nn.Softplus(),
    "silu": torch.nn.SiLU(),
    "gelu": torch.nn.GELU(approximate="tanh"),
    "mish": torch.nn.Mish(),
}


def pinball(q):
    return lambda s, y: torch.maximum(q * (y - s), (q - 1) * (y - s)).sum()


# Summed over samples and outputs, as fastnn's are.
LOSS_CASES = {
    "cross entropy": ("softmax_cross_entropy", LABELS, torch.nn.CrossEntropyLoss(reduction="sum")),
    "smoothed labels": (
        fastnn.SoftmaxCrossEntropy(label_smoothing=0.1),
        LABELS,
        torch.nn.CrossEntropyLoss(reduction="sum", label_smoothing=0.1),
    ),
    "hinge": (
        "multiclass_hinge",
        LABELS,
        lambda s, y: OUTPUTS * torch.nn.MultiMarginLoss(reduction="sum")(s, y),
    ),
    "hinge, wider": (
        fastnn.MulticlassHinge(margin=2.5),
        LABELS,
        lambda s, y: OUTPUTS * torch.nn.MultiMarginLoss(margin=2.5, reduction="sum")(s, y),
    ),
    "binary": ("sigmoid_binary_cross_entropy", SHARES, torch.nn.BCEWithLogitsLoss(reduction="sum")),
    "squared": ("squared_error", TARGETS, lambda s, y: torch.nn.MSELoss(reduction="sum")(s, y) / 2),
    "absolute": ("absolute_error", TARGETS, torch.nn.L1Loss(reduction="sum")),
    "huber": ("huber", TARGETS, torch.nn.HuberLoss(reduction="sum")),
    "huber, narrower": (
        fastnn.Huber(delta=0.3),
        TARGETS,
        torch.nn.HuberLoss(reduction="sum", delta=0.3),
    ),
    "median": ("quantile", TARGETS, pinball(0.5)),
    "quantile": (fastnn.Quantile(0.9), TARGETS, pinball(0.9)),
    "poisson": ("poisson", COUNTS, torch.nn.PoissonNLLLoss(log_input=True, full=False, reduction="sum")),
}
# The optimizer that a loss is trained by.
TRAINED_BY = {
    "softmax_cross_entropy": "adam",
    "multiclass_hinge": "momentum",
    "sigmoid_binary_cross_entropy": "nesterov",
    "squared_error": "adagrad",
    "absolute_error": "rmsprop",
    "huber": "sgd",
    "quantile": "adamw",
    "poisson": "sgd",
}

OPTIMIZER_CASES = [
    (fastnn.SGD(), torch.optim.SGD, {}),
    (fastnn.SGD(weight_decay=0.1), torch.optim.SGD, {"weight_decay": 0.1}),
    (fastnn.Momentum(), torch.optim.SGD, {"momentum": 0.9}),
    (
        fastnn.Momentum(0.8, dampening=0.3, weight_decay=0.1),
        torch.optim.SGD,
        {"momentum": 0.8, "dampening": 0.3, "weight_decay": 0.1},
    ),
    (fastnn.Momentum(0.5, dampening=0.5), torch.optim.SGD, {"momentum": 0.5, "dampening": 0.5}),
    (fastnn.Nesterov(), torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    (
        fastnn.Nesterov(0.7, weight_decay=0.1),
        torch.optim.SGD,
        {"momentum": 0.7, "nesterov": True, "weight_decay": 0.1},
    ),
    (fastnn.Adagrad(), torch.optim.Adagrad, {}),
    (
        fastnn.Adagrad(lr_decay=0.05, weight_decay=0.1, initial_accumulator_value=0.2, eps=1e-6),
        torch.optim.Adagrad,
        {"lr_decay": 0.05, "weight_decay": 0.1, "initial_accumulator_value": 0.2, "eps": 1e-6},
    ),
    (fastnn.RMSprop(), torch.optim.RMSprop, {}),
    (
        fastnn.RMSprop(alpha=0.9, eps=1e-4, weight_decay=0.1, momentum=0.6),
        torch.optim.RMSprop,
        {"alpha": 0.9, "eps": 1e-4, "weight_decay": 0.1, "momentum": 0.6},
    ),
    (fastnn.Adam(), torch.optim.Adam, {}),
    (
        fastnn.Adam(betas=(0.7, 0.95), eps=1e-4, weight_decay=0.1),
        torch.optim.Adam,
        {"betas": (0.7, 0.95), "eps": 1e-4, "weight_decay": 0.1},
    ),
    (fastnn.AdamW(), torch.optim.AdamW, {}),
    (
        fastnn.AdamW(betas=(0.7, 0.95), eps=1e-4, weight_decay=0.3),
        torch.optim.AdamW,
        {"betas": (0.7, 0.95), "eps": 1e-4, "weight_decay": 0.3},
    ),
]


class Twin(torch.nn.Module):
    """The same network in torch, with the model's present parameters."""

    def __init__(self, model):
        super().__init__()
        network = model._network
        self.activations = [TORCH_ACTIVATIONS[name] for name in network.activations]
        self.linear, self.norms = torch.nn.ModuleList(), torch.nn.ModuleList()
        for W, b in zip(model.W, model.b, strict=True):
            linear = torch.nn.Linear(*W.shape, dtype=torch.float64)
            linear.weight.data = torch.tensor(W.T.copy())
            linear.bias.data = torch.tensor(b[0])
            self.linear.append(linear)
        for scale in network.scales(model._parameters):
            norm = torch.nn.Identity()
            if scale is not None:
                norm = torch.nn.BatchNorm1d(scale.size, dtype=torch.float64)
            self.norms.append(norm)

    def forward(self, X, masks=None):
        """The scores; masks, of the inputs of every layer, None for a layer without dropout."""
        for k, (linear, norm, activation) in enumerate(
            zip(self.linear, self.norms, self.activations, strict=True)
        ):
            if masks is not None and masks[k] is not None:
                X = X * torch.tensor(masks[k])
            X = activation(norm(linear(X)))
        return X

    def arrays(self):
        """As those of `arrays_of`."""
        norms = [norm for norm in self.norms if isinstance(norm, torch.nn.BatchNorm1d)]
        return [
            *(linear.weight.detach().numpy().T for linear in self.linear),
            *(linear.bias.detach().numpy()[None] for linear in self.linear),
            *(norm.weight.detach().numpy()[None] for norm in norms),
            *(norm.bias.detach().numpy()[None] for norm in norms),
        ]


def arrays_of(model):
    network, parameters = model._network, model._parameters
    normed = (*network.scales(parameters), *network.shifts(parameters))
    return [*model.W, *model.b, *(array for array in normed if array is not None)]


def assert_same(model, twin, **tolerance):
    for ours, theirs in zip(arrays_of(model), twin.arrays(), strict=True):
        np.testing.assert_allclose(ours, theirs, **(tolerance or CLOSE))


def train_twin(twin, optimizer, loss, y, n_passes, batch_size=N, mean=True, after=None, masks=None):
    """Steps on batches in order; `after` is called between the gradient and the step."""
    samples, targets = torch.tensor(X), torch.tensor(y)
    step = 0
    for _ in range(n_passes):
        for first in range(0, N, batch_size):
            part = slice(first, min(first + batch_size, N))
            optimizer.zero_grad()
            drawn = masks(step, part.stop - part.start) if masks else None
            value = loss(twin(samples[part], drawn), targets[part])
            (value / (part.stop - part.start) if mean else value).backward()
            if after:
                after()
            optimizer.step()
            step += 1


def loss_of(name):
    """The case in which a loss has its defaults."""
    return next(case for case in LOSS_CASES.values() if case[0] == name)


def model_for(loss, backend, **options):
    """The tutorial's activations, for which other tests compile the same kernels."""
    return fastnn.Model([INPUTS, 7, OUTPUTS], loss=loss, backend=backend, random_state=0, **options)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("optimizer", "theirs", "options"), OPTIMIZER_CASES, ids=[str(case[0]) for case in OPTIMIZER_CASES]
)
def test_fifty_steps_of_every_optimizer(optimizer, theirs, options, backend):
    loss, y, their_loss = loss_of(next(k for k, v in TRAINED_BY.items() if v == optimizer.name))
    model = model_for(loss, backend)
    twin = Twin(model)
    model.train(
        X, y, num_passes=50, epsilon=0.01, reg_lambda=0.0, optimizer=optimizer, reduction="mean"
    )  # fmt: skip
    train_twin(twin, theirs(twin.parameters(), lr=0.01, **options), their_loss, y, 50)
    assert_same(model, twin)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_batches_in_order_and_a_short_last_one(reduction, backend):
    loss, y, their_loss = loss_of("softmax_cross_entropy")
    model = model_for(loss, backend)
    twin = Twin(model)
    model.train(
        X, y, num_passes=6, epsilon=0.01, reg_lambda=0.0, batch_size=8, shuffle=False, reduction=reduction,
        schedule="exponential_decay",
    )  # fmt: skip
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.01)
    decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1 ** (1 / (6 * 5)))
    optimizer.register_step_post_hook(lambda *_: decay.step())
    train_twin(twin, optimizer, their_loss, y, 6, batch_size=8, mean=reduction == "mean")
    assert_same(model, twin)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("loss", "y", "their_loss"), LOSS_CASES.values(), ids=LOSS_CASES)
def test_every_loss_and_twenty_steps_on_it(loss, y, their_loss, backend):
    model = model_for(loss, backend)
    twin = Twin(model)
    expected = their_loss(twin(torch.tensor(X)), torch.tensor(y)).item() / N
    assert model.calculate_loss(X, y) == pytest.approx(expected, rel=1e-13)

    name = TRAINED_BY[model.loss.name]
    theirs, options = next(
        (theirs, options) for ours, theirs, options in OPTIMIZER_CASES if ours == OPTIMIZERS[name]()
    )
    history = model.train(
        X, y, num_passes=20, epsilon=0.02, reg_lambda=0.0, optimizer=name, reduction="mean"
    )  # fmt: skip
    train_twin(twin, theirs(twin.parameters(), lr=0.02, **options), their_loss, y, 20)
    assert_same(model, twin)
    assert history.loss[0] == pytest.approx(expected, rel=1e-13)
    expected = their_loss(twin(torch.tensor(X)), torch.tensor(y)).item() / N
    assert model.calculate_loss(X, y) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("loss", "y", "their_loss"), LOSS_CASES.values(), ids=LOSS_CASES)
def test_every_loss_of_large_scores(loss, y, their_loss):
    model = fastnn.Model(
        [INPUTS, OUTPUTS], output_activation="identity", loss=loss, backend="numpy", random_state=0
    )
    # Beyond these the exponential of poisson's scores is infinite, in torch as well.
    model.W[0] *= 30
    twin = Twin(model)
    expected = their_loss(twin(torch.tensor(X)), torch.tensor(y)).item() / N
    assert model.calculate_loss(X, y) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", TORCH_ACTIVATIONS)
def test_every_activation_of_the_reference(name):
    _, y, their_loss = loss_of("softmax_cross_entropy")
    model = fastnn.Model(
        [INPUTS, 6, 6, OUTPUTS], activation=name, output_activation=name, backend="numpy", random_state=0
    )
    twin = Twin(model)
    model.train(X, y, num_passes=20, epsilon=0.02, reg_lambda=0.0, reduction="mean")
    train_twin(twin, torch.optim.SGD(twin.parameters(), lr=0.02), their_loss, y, 20)
    assert_same(model, twin)
    probabilities = torch.softmax(twin(torch.tensor(X)), 1).detach().numpy()
    np.testing.assert_allclose(model.predict_proba(X), probabilities, **CLOSE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_activations_in_one_network(backend):
    _, y, their_loss = loss_of("softmax_cross_entropy")
    names = list(TORCH_ACTIVATIONS)
    model = fastnn.Model(
        [INPUTS, *[6] * len(names), OUTPUTS], activation=names, output_activation="identity",
        backend=backend, init="glorot_normal", random_state=0,
    )  # fmt: skip
    twin = Twin(model)
    before = [array.copy() for array in arrays_of(model)]
    model.train(X, y, num_passes=20, epsilon=0.5, reg_lambda=0.0, reduction="mean")
    train_twin(twin, torch.optim.SGD(twin.parameters(), lr=0.5), their_loss, y, 20)
    assert_same(model, twin)
    moved = [np.abs(after - array).max() for after, array in zip(arrays_of(model), before, strict=True)]
    assert min(moved) > 1e-4, "every layer was trained"
    probabilities = torch.softmax(twin(torch.tensor(X)), 1).detach().numpy()
    np.testing.assert_allclose(model.predict_proba(X), probabilities, **CLOSE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_batch_normalisation(backend):
    _, y, their_loss = loss_of("softmax_cross_entropy")
    model = fastnn.Model([INPUTS, 7, 6, OUTPUTS], batch_norm=True, backend=backend, random_state=0)
    twin = Twin(model)
    # Batches of 8, 8, 8, 8 and 5.
    model.train(
        X, y, num_passes=6, epsilon=0.05, reg_lambda=0.0, batch_size=8, shuffle=False, reduction="mean"
    )
    twin.train()
    train_twin(twin, torch.optim.SGD(twin.parameters(), lr=0.05), their_loss, y, 6, batch_size=8)
    assert_same(model, twin)
    for running, norm in zip(model._network.running(model._statistics), twin.norms, strict=True):
        if running is not None:
            np.testing.assert_allclose(running[0], norm.running_mean, **CLOSE)
            np.testing.assert_allclose(running[1], norm.running_var, **CLOSE)
    twin.eval()
    scores = twin(torch.tensor(X))
    np.testing.assert_allclose(model.predict_proba(X), torch.softmax(scores, 1).detach(), **CLOSE)
    np.testing.assert_array_equal(model.predict(X), scores.argmax(1))
    assert model.calculate_loss(X, y) == pytest.approx(
        their_loss(scores, torch.tensor(y)).item() / N, rel=1e-10
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("exact", [True, False])
def test_clipping(exact, backend):
    _, y, their_loss = loss_of("softmax_cross_entropy")
    limit, rate, n_steps = 0.05, 0.1, 20
    model = model_for("softmax_cross_entropy", backend)
    twin = Twin(model)
    history = model.train(
        X, y, num_passes=n_steps, epsilon=rate, reg_lambda=0.0, clip_norm=limit,
        optimizer=fastnn.SGD(weight_decay=0.1), reduction="mean",
    )  # fmt: skip
    norms = []

    def clip():
        gradients = [parameter.grad for parameter in twin.parameters()]
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
        norms.append(norm)
        if not exact:
            torch.nn.utils.clip_grad_norm_(twin.parameters(), limit)
        elif norm > limit:
            for gradient in gradients:
                gradient *= limit / norm

    optimizer = torch.optim.SGD(twin.parameters(), lr=rate, weight_decay=0.1)
    train_twin(twin, optimizer, their_loss, y, n_steps, after=clip)
    assert min(norms) > limit, "every step was clipped"
    if exact:
        assert_same(model, twin)
        np.testing.assert_allclose(history.gradient_norm, norms, rtol=1e-10)
    else:
        # torch divides by norm + 1e-6: a step of the length rate * limit is too short by a share of
        # 1e-6 / norm, and what is lost adds up (these steps bring parameters apart no further).
        lost = n_steps * rate * limit * 1e-6 / min(norms)
        assert_same(model, twin, rtol=0, atol=lost)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rates", [[0.0, 0.4], [0.25, 0.5]])
def test_dropout_with_the_same_masks(rates, backend):
    _, y, their_loss = loss_of("softmax_cross_entropy")
    model = model_for("softmax_cross_entropy", backend, dropout=rates)
    twin = Twin(model)
    high, low = np.random.RandomState(7).randint(0, 2**32, 2, np.uint64).tolist()
    seed = (high << 32) | low

    def masks(step, count):
        key = draw(draw(seed, STEPS), step)
        ones = [np.ones((count, width)) for width in (INPUTS, 7)]
        return [
            dropout(one, draw(key, layer), 0, rate) if rate else None
            for layer, (one, rate) in enumerate(zip(ones, rates, strict=True))
        ]

    assert set(np.unique(masks(0, N)[1])) == {0, 1 / (1 - rates[1])}
    model.train(
        X, y, num_passes=2, epsilon=0.05, reg_lambda=0.0, batch_size=8, shuffle=False, reduction="mean",
        random_state=7,
    )  # fmt: skip
    train_twin(twin, torch.optim.SGD(twin.parameters(), lr=0.05), their_loss, y, 2, batch_size=8, masks=masks)
    assert_same(model, twin)
    # Predictions drop nothing.
    probabilities = torch.softmax(twin(torch.tensor(X)), 1).detach().numpy()
    np.testing.assert_allclose(model.predict_proba(X), probabilities, **CLOSE)
