"""Losses that users write: compiled or not, they train as the reference does."""

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import sklearn
from strategies import tolerance

import fastnn
from fastnn.engine import own_losses
from fastnn.reference import loss as reference
from fastnn_kernels.calls.formulas import backward_pointer, value_pointer
from fastnn_kernels.compiler import entry


class LogCosh(fastnn.Loss):
    def value(self, s, y):
        return np.logaddexp(s - y, y - s) - np.log(2)

    def slope(self, s, y):
        return np.tanh(s - y)


@dataclass(frozen=True)
class Biweight(fastnn.Loss):
    c: float = 4.7

    def value(self, s, y):
        u = np.clip(((s - y) / self.c) ** 2, 0, 1)
        return self.c**2 / 6 * (1 - (1 - u) ** 3)

    def slope(self, s, y):
        return np.where(np.abs(s - y) < self.c, (s - y) * (1 - ((s - y) / self.c) ** 2) ** 2, 0.0)


class EveryOperation(fastnn.Loss):
    """Functions that are recorded, in a smooth sum."""

    def value(self, s, y):
        d = s - y
        near = np.minimum(np.maximum(d, -0.5), 0.5)
        u = np.expm1(np.log1p(d * d)) + np.sqrt(1 + d**4) + (1 + d * d) ** 1.5
        return u + np.cosh(near) - np.sinh(near) + np.log(2 + np.square(d)) * ((d > 0) | (d <= 0))

    def slope(self, s, y):
        d = s - y
        inner = (d >= -0.5) & (d < 0.5)
        u = 2 * d + 2 * d**3 / np.sqrt(1 + d**4) + 3 * d * np.power(1 + d * d, 0.5)
        return u + np.where(inner, -np.exp(-d), 0.0) + 2 * np.abs(d) * np.sign(d) / (2 + d * d)


class Arctangent(fastnn.Loss):
    def value(self, s, y):
        return np.arctan((s - y) ** 2)

    def slope(self, s, y):
        return 2 * (s - y) / (1 + (s - y) ** 4)


RECORDED = LogCosh(), Biweight(), Biweight(1.5), EveryOperation()
X = np.random.default_rng(0).normal(size=(60, 3))
Y = np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], axis=1)
W = np.random.default_rng(1).integers(0, 4, 60) / 2


def train(loss, backend="numba", **options):
    model = fastnn.Model(
        [3, 8, 2], loss=loss, output_activation="identity", random_state=0, backend=backend,
        dtype=options.pop("dtype", "float64"),
    )  # fmt: skip
    given = {"epsilon": 0.01, "num_passes": 5, "random_state": 1, "sample_weight": W, "reduction": "mean"}
    model.train(X, Y, **given | options)
    return model


@pytest.mark.parametrize("loss", RECORDED, ids=repr)
def test_compiled_methods_match_the_methods(loss, dtype):
    random = np.random.default_rng(0)
    S, y = (3 * random.normal(size=(5, 64)).astype(dtype) for _ in range(2))
    weights = random.integers(0, 3, (1, 64)).astype(dtype)
    operations, dS = own_losses.record_loss(loss), np.empty_like(S)
    value = backward_pointer(operations, S.dtype)(S, y, weights, 0.0, True, dS)
    assert value == value_pointer(operations, S.dtype)(S, y, weights, 0.0)
    rows = loss, *(array.T.astype(np.float64) for array in (S, y)), weights[0], 0.0
    assert value == pytest.approx(reference.loss_value(*rows), rel=tolerance(dtype, 30))
    expected = reference.loss_backward(*rows).T
    np.testing.assert_allclose(dS, expected, rtol=tolerance(dtype, 200), atol=tolerance(dtype, 200))


@pytest.mark.parametrize("loss", [*RECORDED, Arctangent()], ids=repr)
def test_backends_train_alike_and_gradients_are_right(loss):
    assert (own_losses.record_loss(loss) is None) == isinstance(loss, Arctangent)
    for options in ({"batch_size": 16}, {"optimizer": "lbfgs"}, {"batch_size": 1, "optimizer": "adam"}):
        pair = [train(loss, backend, **options) for backend in ("numba", "numpy")]
        for ours, theirs in zip(pair[0].W, pair[1].W, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)
        values = [model.calculate_loss(X, Y, sample_weight=W) for model in pair]
        assert values[0] == pytest.approx(values[1], rel=1e-12)
    assert pair[0].check_gradients(X, Y, n_samples=20).max_relative_error < 1e-6
    assert loss in {loss}
    assert loss != fastnn.SquaredError()


def test_a_wrong_slope_is_found():
    class Wrong(LogCosh):
        def slope(self, s, y):
            return 1.1 * np.tanh(s - y)

    *of_network, of_slope = train(Wrong()).check_gradients(X, Y).arrays
    assert of_slope.name == "slope of Wrong"
    assert of_slope.max_relative_error > 1e-2
    assert max(array.max_relative_error for array in of_network) < 1e-7


def test_a_target_beyond_the_bounds_is_named():
    class Falling(LogCosh):
        bounds = (None, 2.0)

    with pytest.raises(ValueError, match=r"y\[0, 0\] is 3, but this loss takes targets of at most 2:"):
        fastnn.Model([1, 1], loss=Falling()).train([[0.0]], [3.0])


def test_without_a_compiler_the_methods_are_called(monkeypatch):
    train(Arctangent())  # compiles what all losses whose methods are called share

    def refuse():
        raise RuntimeError("numba is not installed")

    monkeypatch.setattr(entry, "_compiler", refuse)
    losses = [train(Biweight(2.5), backend).history_.loss for backend in ("numba", "numpy")]
    np.testing.assert_allclose(*losses, rtol=1e-12)


class Reciprocal(fastnn.Loss):
    """A loss that is not finite where the target is 0, and fails where it is above 8."""

    def value(self, s, y):
        return self.slope(s, y) * (s - y) / 2

    def slope(self, s, y):
        if np.max(y) > 8:
            raise LookupError(f"target {np.max(y)}")
        return (s - y) / y**2


@pytest.mark.parametrize(
    "options", [{}, {"batch_size": 16}, {"batch_size": 1}, {"optimizer": "lbfgs"}], ids=str
)
def test_samples_without_weight_count_for_nothing_and_errors_come_through(options, backend):
    y = 1 + np.arange(60.0)[:, None] % 7
    y[5] = 0
    model = fastnn.Model(
        [3, 8, 1], loss=Reciprocal(), output_activation="identity", backend=backend, random_state=0
    )
    given = {"epsilon": 0.01, "num_passes": 3, "sample_weight": y[:, 0] > 0} | options
    assert np.isfinite(model.train(X, y, **given).loss).all()
    before = model.W[0].copy()
    y[7] = 9
    with pytest.raises(LookupError, match=r"target 9\.0"):
        model.train(X, y, **given | {"batch_size": 60})
    with pytest.raises(LookupError, match=r"target 9\.0"):
        model.calculate_loss(X, y)
    np.testing.assert_array_equal(model.W[0], before)


def test_files_leave_out_the_code_and_trainings_resume(tmp_path):
    path, whole = tmp_path / "model.fastnn", train(Biweight(1.5), num_passes=8)
    with pytest.warns(UserWarning, match=r"code of the loss Biweight: pass losses=\[Biweight\]"):
        train(Biweight(1.5)).save(path)
    assert fastnn.info(path).loss == "Biweight"
    with pytest.raises(ValueError, match=r"load\(path, losses=\[Biweight\]\)"):
        fastnn.load(path)
    model = fastnn.load(path, losses=[LogCosh, Biweight])
    assert model.loss == Biweight(1.5)
    model.train(X, Y, num_passes=8, epsilon=0.01, sample_weight=W, reduction="mean", resume=True)
    np.testing.assert_array_equal(model.W[0], whole.W[0])


@pytest.mark.parametrize("loss", [LogCosh(), Arctangent()], ids=repr)
def test_estimators_take_a_loss(loss):
    options = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged
        one = fastnn.MLPRegressor(loss, early_stopping=True, **options).fit(X, Y[:, 0], sample_weight=W)
        ensemble = fastnn.MLPEnsembleRegressor(fastnn.MLPRegressor(loss, **options), 2).fit(X, Y[:, 0])
        many = fastnn.fit_many([fastnn.MLPRegressor(loss, **options) for _ in range(2)], X, Y[:, 0])
        fastnn.MLPRegressor(loss, **options).partial_fit(X, Y[:, 0]).partial_fit(X, Y[:, 0])
        sklearn.base.clone(one).fit(X, Y[:, 0])
    assert one.model_.loss == ensemble.estimators_[0].model_.loss == loss
    assert np.isfinite(many[0].loss_curve_).all()


def test_what_is_no_loss_is_refused_by_name():
    class Halved(fastnn.Loss):
        def value(self, s, y):
            return s - y

    class Summed(Halved):
        def slope(self, s, y):
            return np.ones_like(s) * s.mean()

    class Rows(Halved):
        def slope(self, s, y):
            return s.sum(axis=1, keepdims=True)

    class Complex(Halved):
        def slope(self, s, y):
            return 1j * s

    class Listed(LogCosh):
        def __init__(self):
            self.c = [1.0]

    class Empty(fastnn.Loss):
        name = "mine"

    for loss, message in (
        (Halved, "Halved has no method slope: define"),
        (Summed, "slope of the loss Summed .* depends on other scores"),
        (Rows, r"slope of the loss Rows .* returns float64 \(3, 1\) for arrays \(3, 2\)"),
        (Complex, "slope of the loss Complex .* returns complex128"),
        (Listed, "attribute of the loss Listed is not a number"),
        (Empty, "Empty has no method value"),
    ):
        with pytest.raises(ValueError, match=message):
            fastnn.Model([2, 2], loss=loss())


def test_attributes_distinguish_plain_classes():
    class Scaled(LogCosh):
        def __init__(self, c):
            self.c = c

        def value(self, s, y):
            return self.c * super().value(s, y)

        def slope(self, s, y):
            return self.c * super().slope(s, y)

    assert Scaled(1.0) != Scaled(2.0)
    assert train(Scaled(1.0)).history_.loss[0] * 2 == pytest.approx(train(Scaled(2.0)).history_.loss[0])
