"""LearningProblem: the samples, the network and the arguments of a training that settings describe."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..losses import LOSSES, REGRESSION_LOSSES
from ..model import Model
from ..optimizers import OPTIMIZERS, resolve_optimizer
from ..schedules import SCHEDULES
from ..training.options import TrainOptions, make_job
from .datasets import DATASETS, FEATURES, features
from .fields import MAX_COORDINATE, RequestError
from .settings import FIELDS, Settings

if TYPE_CHECKING:
    from .table import PlayTable

Array = NDArray[Any]

# Fraction of the data's extent that is shown beyond the data on every side.
MARGIN = 0.15
USUAL_LOSSES = {"classes": "softmax_cross_entropy", "regression": "squared_error"}


@dataclass(frozen=True)
class Units:
    """Units of values that the network reads or predicts as ``(value - centre) / scale``."""

    centre: Array  # means
    scale: Array  # standard deviations

    @classmethod
    def of(cls, values: Array) -> Units:
        return cls(values.mean(axis=0), values.std(axis=0))

    def standardise(self, values: Array) -> Array:
        return (values - self.centre) / self.scale

    def restore(self, values: Array) -> Array:
        return values * self.scale + self.centre

    def describe(self) -> dict[str, Any]:
        return {name: np.asarray(value).tolist() for name, value in vars(self).items()}


@dataclass(frozen=True)
class TableRows:
    """Rows of a table in its own units."""

    X: Array  # values (n, 2) of the two columns
    y: Array  # numbers (n,) of the classes, or targets of a regression
    target: str
    units: Units  # of the columns
    target_units: Units | None  # None for classes


@dataclass(frozen=True)
class LearningProblem:
    """Everything from which a training is run and drawn."""

    settings: Settings
    kind: str  # "classes" or "regression"
    X: Array  # all samples (n, 2), standardised if they come from a table; `features` computes inputs
    y: Array  # numbers (n,) of the classes, or targets of a regression
    train: Array  # numbers of the samples that train, in the order of the training
    test: Array  # numbers of the samples that test
    classes: list[str] | None  # names of the classes
    inputs: list[str]  # names of the two coordinates
    limits: tuple[float, float, float, float]  # edges of the picture: left, right, bottom, top
    table: TableRows | None = None  # the samples in the units of the table they come from

    @property
    def loss_name(self) -> str:
        return self.settings.loss or USUAL_LOSSES[self.kind]

    @property
    def layers_dim(self) -> list[int]:
        n_outputs = len(self.classes) if self.classes and LOSSES[self.loss_name].of_labels else 1
        return [len(self.settings.features), *self.settings.layers, n_outputs]

    @property
    def model_arguments(self) -> dict[str, Any]:
        """Keyword arguments of `Model` that differ from its defaults."""
        settings = self.settings
        activations = settings.activations
        arguments = {
            "activation": activations[0] if len(set(activations)) == 1 else list(activations),
            "output_activation": settings.output_activation,
            "loss": settings.choose(LOSSES, self.loss_name),
            "dropout": settings.dropout,
            "batch_norm": settings.batch_norm,
            "init": settings.init,
        }
        if not settings.layers:
            del arguments["activation"], arguments["dropout"]
        differing = _find_differing(arguments, Model.__init__)
        if settings.dtype != Settings.dtype:
            differing["dtype"] = settings.dtype
        return differing | {"random_state": settings.seed}

    @property
    def train_arguments(self) -> dict[str, Any]:
        """Keyword arguments of `Model.train` but for the epochs: both rates, and what is not a default."""
        settings = self.settings
        arguments = {
            each.name: getattr(settings, each.name) for each in fields(TrainOptions) if each.name in FIELDS
        }
        arguments["optimizer"] = settings.choose(OPTIMIZERS, settings.optimizer)
        arguments["schedule"] = settings.choose(SCHEDULES, settings.schedule)
        rates = {"epsilon": settings.learning_rate, "reg_lambda": settings.l2}
        return rates | _find_differing(arguments, Model.train) | {"random_state": settings.seed}

    @property
    def l2(self) -> float:
        """Factor of the L2 penalty on weights: `reg_lambda` and the optimizer's coupled weight decay."""
        arguments = self.train_arguments
        return arguments["reg_lambda"] + resolve_optimizer(arguments.get("optimizer", "sgd")).l2

    @property
    def steps_per_epoch(self) -> int:
        n, size = len(self.train), self.settings.batch_size
        return 1 if size is None else -(-n // min(size, n))

    @property
    def has_computed_features(self) -> bool:
        return self.settings.features != Settings.features

    @property
    def feature_names(self) -> list[str]:
        return [FEATURES[name][0].format(*self.inputs) for name in self.settings.features]

    def features(self, X: Array) -> Array:
        return features(X, self.settings.features) if self.has_computed_features else X

    def over_plane(self, model: Model) -> Any:
        return PlaneModel(self, model) if self.has_computed_features else model

    def in_units(self, points: Array) -> Array:
        """Return points (n, 2) of the plane in the units of the data."""
        return points if self.table is None else self.table.units.restore(points)

    @property
    def labels(self) -> Array:
        """Classes in the order of their numbers, as saved pictures name them."""
        return np.arange(len(self.classes or ())) if self.table is None else np.array(self.classes)

    def absorb_units(self, model: Model) -> Model | None:
        """Return a model, without a training's state, of rows and targets in the units of the table.

        The first layer absorbs the standardisation of the rows, the last one the targets'. Numbers such as
        years, whose differences would lose digits in float32, need float64. None for samples that are not of
        a table, and for computed inputs, which no layer absorbs; an activation of a regression's outputs is a
        RequestError.
        """
        names, table = self.settings.features, self.table
        if table is None or not set(names) <= {"x1", "x2"}:
            return None
        network = model._network
        dims, dtype = (2, *network.layers_dim[1:]), np.dtype(np.float64)
        wide = replace(network, layers_dim=dims, dtype=dtype, dropout=(), batch_norm=False)
        folded = network.fold_batch_norm(model._parameters, model._statistics)
        parameters = wide.make_neutral_parameters()
        W, b = wide.weights(parameters), wide.biases(parameters)
        for views, sources in ((W[1:], network.weights(folded)[1:]), (b, network.biases(folded))):
            for view, source in zip(views, sources, strict=True):
                view[...] = source
        for name, weights in zip(names, network.weights(folded)[0], strict=True):
            k = ("x1", "x2").index(name)
            W[0][k] = weights / table.units.scale[k]
        b[0][...] -= table.units.centre @ W[0]
        if table.target_units is not None:
            if network.activations[-1] != "identity":
                raise RequestError(
                    "output_activation",
                    f"a model with the output {network.activations[-1]} cannot predict {table.target!r} in "
                    "its own units: choose the output identity",
                )
            W[-1][...] *= table.target_units.scale
            b[-1][...] = table.target_units.restore(b[-1])
        return Model._share(wide, parameters, wide.make_statistics())

    @property
    def training_data(self) -> tuple[Array, Array]:
        return self.features(self.X[self.train]), self.y[self.train]


@dataclass(frozen=True)
class PlaneModel:
    """A model of computed inputs as one that predicts for points of the plane."""

    problem: LearningProblem
    model: Model

    @property
    def classes_(self) -> Array:
        return np.arange(len(self.problem.classes or ()))

    def predict(self, X: Array) -> Array:
        return self.model.predict(self.problem.features(X)).reshape(-1)

    def predict_proba(self, X: Array) -> Array:
        P = self.model.predict_proba(self.problem.features(X))
        return np.hstack([1 - P, P]) if P.shape[1] == 1 else P


def _find_differing(arguments: dict[str, Any], function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters
    return {name: value for name, value in arguments.items() if value != parameters[name].default}


def draw_samples(settings: Settings, table: PlayTable | None = None) -> LearningProblem:
    """Return the problem that settings describe, with its samples; the loss is not checked."""
    if settings.dataset == "table":
        return _use_table(settings, table)
    data, classes = DATASETS[settings.dataset], None
    if data.draw is not None:
        X, y = data.draw(**data.choose_arguments(settings))
    elif len(settings.points) < 2:
        raise RequestError("points", "paint at least two points: click into the picture, or drag")
    else:
        points = np.array(settings.points)
        X, y = points[:, :2].copy(), points[:, 2].astype(np.int64)
    if data.kind == "classes":
        classes = [str(label) for label in range(max(2, int(y.max()) + 1))]
    train, test = _split_samples(settings, len(y))
    return LearningProblem(
        settings, data.kind, X, y, train, test, classes, ["x1", "x2"], _limits(settings, X)
    )


def make_problem(settings: Settings, table: PlayTable | None = None) -> tuple[LearningProblem, Model]:
    """Return the problem that settings describe, and its model; a RequestError says what to change."""
    problem = draw_samples(settings, table)
    _check_loss(problem)
    arguments = problem.model_arguments
    try:
        model = Model(problem.layers_dim, **arguments)
    except (ValueError, MemoryError) as error:
        raise RequestError(None, str(error)) from None
    try:
        model._check(problem.features(problem.X), problem.y)
    except ValueError as error:
        raise RequestError("loss", str(error)) from None
    if settings.optimizer == "lbfgs":  # all others take all settings
        try:
            make_job(model._network, *problem.training_data, TrainOptions(**problem.train_arguments))
        except ValueError as error:
            raise RequestError("optimizer", str(error)) from None
    return problem, model


def _use_table(settings: Settings, table: PlayTable | None) -> LearningProblem:
    """Return the problem of two columns of the table, standardised."""
    if table is None:
        raise RequestError("dataset", "there is no table: open one, or run fastnn playground FILE")
    inputs = _choose_columns(settings, table)
    rows, targets = np.column_stack([table.columns[name] for name in inputs]), table.y
    is_whole = np.isfinite(rows).all(axis=1) & np.isfinite(targets)
    rows, targets = rows[is_whole], targets[is_whole]
    if len(targets) < 2 or not rows.std(axis=0).all():
        raise RequestError("x_column", f"{' and '.join(inputs)} hold fewer than two rows that differ in both")
    units, target_units, y = Units.of(rows), None, targets
    if table.kind == "regression":
        if not targets.std():
            raise RequestError("dataset", f"the target {table.target!r} is the same in all rows")
        target_units = Units.of(targets)
        y = target_units.standardise(targets)
    X = units.standardise(rows)
    train, test = _split_samples(settings, len(y))
    kept, limits = TableRows(rows, targets, table.target, units, target_units), _limits(settings, X)
    return LearningProblem(settings, table.kind, X, y, train, test, table.classes, inputs, limits, kept)


def _choose_columns(settings: Settings, table: PlayTable) -> list[str]:
    """Return the columns along x and y: the settings' choice, else the most useful columns left."""
    chosen = {"x_column": settings.x_column, "y_column": settings.y_column}
    for field, name in chosen.items():
        if name is not None and name not in table.columns:
            known = ", ".join(list(table.columns)[:10])
            raise RequestError(field, f"the table has no column {name!r}: its columns are {known}")
    if settings.x_column is not None and settings.x_column == settings.y_column:
        raise RequestError("y_column", f"both columns are {settings.x_column!r}: choose two different ones")
    n_free = list(chosen.values()).count(None)
    useful = [name for name in table.by_use if name not in chosen.values()][:n_free]
    free = iter(sorted(useful, key=list(table.columns).index))
    return [next(free) if name is None else name for name in chosen.values()]


def _split_samples(settings: Settings, n_samples: int) -> tuple[Array, Array]:
    """Return the numbers of the training samples and of the test samples."""
    everything = np.arange(n_samples)
    if not settings.test_share:
        return everything, everything[:0]
    n_test = math.ceil(settings.test_share * n_samples)  # as train_test_split rounds
    if n_test == n_samples:
        raise RequestError(
            "test_share",
            f"test_share {settings.test_share:g} of {n_samples} samples leaves none to train with: choose a "
            "smaller fraction, or more samples",
        )
    if settings.dataset == "painted":  # a point that is added leaves the others where they are
        is_test = np.diff(np.ceil(np.arange(n_samples + 1) * settings.test_share)) > 0
        return everything[~is_test], everything[is_test]
    order = np.random.RandomState(settings.seed).permutation(n_samples)  # as train_test_split divides
    return order[n_test:], order[:n_test]


def _limits(settings: Settings, X: Array) -> tuple[float, float, float, float]:
    if settings.dataset == "painted":  # the plane must not move under the brush
        left, right, bottom, top = (edge / 1000 for edge in settings.window)
        return left, right, bottom, top
    low, high = X.min(axis=0), X.max(axis=0)
    centre, half = (low + high) / 2, (high - low) * (0.5 + MARGIN)
    if settings.dataset != "table":
        half = np.full(2, half.max())  # pixels are square where both axes have one unit
    half = np.maximum(half, 1e-9 * MAX_COORDINATE)
    (left, bottom), (right, top) = centre - half, centre + half
    return float(left), float(right), float(bottom), float(top)


def _check_loss(problem: LearningProblem) -> None:
    """Raise RequestError for a loss that is not for the kind of the targets."""
    name, kind = problem.loss_name, problem.kind
    if (name in REGRESSION_LOSSES) != (kind == "regression"):
        what = "classes" if kind == "classes" else "numbers"
        raise RequestError("loss", f"the targets are {what}, which {name} is not for: leave the loss out")
    if kind == "classes" and not LOSSES[name].of_labels and problem.classes and len(problem.classes) > 2:
        raise RequestError(
            "loss",
            f"{name} decides between two classes here, but there are {len(problem.classes)}: choose "
            "softmax_cross_entropy",
        )
