"""Settings of the playground: the state that the page's address holds, its limits, and its checks.

Everything that can be set is a `Setting`: its kind, default, limits and a line of what it is. The page draws
its controls from the fields, and `Settings` is checked by them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from ..losses import LOSSES as ALL_LOSSES
from ..losses import REGRESSION_LOSSES
from ..network.initialization import INITIALIZERS
from ..optimizers import OPTIMIZERS as ALL_OPTIMIZERS
from ..optimizers import STEPPING
from ..reference.layer import ACTIVATIONS
from ..schedules import SCHEDULES
from ..system.validation import short_repr
from .datasets import DATASETS, FEATURES, FUNCTIONS, SURFACES
from .fields import RequestError, Setting, declare, list_fields

# Largest numbers of samples, of hidden layers and of units in one of them: what a page can draw.
MAX_SAMPLES, MAX_LAYERS, MAX_UNITS = 5000, 8, 128
# Largest message of a page: settings with as many painted points as there may be. The server closes a
# connection on which a larger one comes, and the page may not learn why, so it must not send one.
MAX_MESSAGE_BYTES = 1 << 20
# Largest numbers of classes of the blobs and of painted points, which need colours that differ.
MAX_CLASSES = 6
# Edges of the plane for painted points, in thousandths: left, right, bottom, top; and the largest edge.
PAINTED_WINDOW, MAX_EDGE = [-1500, 1500, -1500, 1500], 1e9
# Epochs of a run whose schedule depends on its length, unless the settings say otherwise.
USUAL_EPOCHS = 20_000
# Losses of the page, whose targets of two classes are 0 and 1: the hinge loss would need -1 and 1.
LOSSES = {name: loss for name, loss in ALL_LOSSES.items() if name != "hinge"}
# Optimizers of the page: Levenberg-Marquardt takes squared errors only.
OPTIMIZERS = {name: optimizer for name, optimizer in ALL_OPTIMIZERS.items() if name != "levenberg_marquardt"}
# Settings that name an entry of a registry, whose parameters are settings too.
REGISTRIES: dict[str, Mapping[str, type]] = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "loss": LOSSES}


def _values(registry: Mapping[str, object]) -> dict[str, dict[str, str]]:
    """Return title and first docstring line of each entry of a registry."""
    lines = {name: (each.__doc__ or "").strip().split("\n")[0] for name, each in registry.items()}
    return {
        name: {"title": name.replace("_", " "), "line": line.replace("`", "").rstrip(".:")}
        for name, line in lines.items()
    }


def _add_titles(lines: Mapping[str, str]) -> dict[str, dict[str, str]]:
    return {name: {"title": name, "line": line} for name, line in lines.items()}


_ACTIVATIONS = _values(ACTIVATIONS)
_DATASETS: dict[str, dict[str, str]] = {name: {} for name in (*DATASETS, "table")}
_INPUTS = {name: {"title": text.format("x1", "x2"), "line": line} for name, (text, line) in FEATURES.items()}
_LOSSES = {
    name: {**about, "kind": "regression" if name in REGRESSION_LOSSES else "classes"}
    for name, about in _values(LOSSES).items()
}
_LOSS_LINE = "loss; by default softmax cross entropy for classes, squared error for numbers"
_DTYPES = {"float64": "double precision", "float32": "single precision, about twice as fast"}
_REDUCTIONS = {
    "sum": "the sum over its samples, as in the tutorial",
    "mean": "the mean over its samples: one rate suits any number",
}
# Data sets, and optimizers, with which some settings have an effect.
_DRAWN = {"dataset": [name for name, data in DATASETS.items() if data.draw is not None]}
_SPIRAL, _BLOBS, _LINE, _SURFACE, _PAINTED, _TABLE = (
    {"dataset": [name]} for name in ("spiral", "blobs", "line", "surface", "painted", "table")
)
_WITH_RATE: dict[str, Any] = {
    "only": {"optimizer": STEPPING},
    "otherwise": "L-BFGS has no learning rate: a line search finds the length of each step.",
}
# How large numbers that are best set in powers of ten, and settings of a running training, are declared.
_LOG: dict[str, Any] = {"scale": "log"}
_MAYBE: dict[str, Any] = _LOG | {"optional": True}
_LIVE: dict[str, Any] = {"scale": "log", "live": True}
_MAYBE_LIVE: dict[str, Any] = _LIVE | {"optional": True}


@dataclass(frozen=True)
class Settings:
    """The whole state of a playground: data, network and training.

    `FIELDS` describes every attribute but `options`: the parameters of the optimizer, the schedule and the
    loss, where they differ from the defaults of their classes; `OPTIONS` has their names.
    """

    dataset: str = declare("choice", "moons", "data set", values=_DATASETS)
    n_samples: int = declare("integer", 200, "number of samples", 10, MAX_SAMPLES, only=_DRAWN)
    noise: float = declare("number", 0.2, "standard deviation of the noise", 0.0, 1.0, only=_DRAWN)
    arms: int = declare("integer", 2, "arms of the spiral", 2, 5, only=_SPIRAL)
    turns: float = declare("number", 0.64, "turns of an arm of the spiral", 0.1, 20.0, only=_SPIRAL, **_LOG)
    classes: int = declare("integer", 3, "number of blobs", 2, MAX_CLASSES, only=_BLOBS)
    function: str = declare(
        "choice", "sine", "function whose line divides the classes", values=_add_titles(FUNCTIONS), only=_LINE
    )
    surface: str = declare(
        "choice", "hills", "surface whose heights are learned", values=_add_titles(SURFACES), only=_SURFACE
    )
    points: tuple[tuple[float, float, int], ...] = declare(
        "points", [], "painted points", 0, MAX_CLASSES - 1, max_length=MAX_SAMPLES, only=_PAINTED
    )
    window: tuple[int, ...] = declare(
        "integers", PAINTED_WINDOW, "edges of the plane", -MAX_EDGE, MAX_EDGE, max_length=4, only=_PAINTED
    )
    x_column: str | None = declare("column", None, "column along x", optional=True, only=_TABLE)
    y_column: str | None = declare("column", None, "column along y", optional=True, only=_TABLE)
    test_share: float = declare("number", 0.2, "fraction of the samples that test the network", 0.0, 0.9)
    seed: int = declare("integer", 0, "seed of data, initial weights and orders", 0, 2**31 - 1)
    features: tuple[str, ...] = declare(
        "choices", ["x1", "x2"], "inputs of the network", values=_INPUTS, max_length=len(FEATURES)
    )
    layers: tuple[int, ...] = declare(
        "integers", [3], "units of the hidden layers", 1, MAX_UNITS, max_length=MAX_LAYERS
    )
    activations: tuple[str, ...] = declare(
        "choices", ["tanh"], "activation of each hidden layer", values=_ACTIVATIONS, max_length=MAX_LAYERS
    )
    output_activation: str = declare(
        "choice", "tanh", "output's activation; identity is usual, tanh the tutorial's", values=_ACTIVATIONS
    )
    init: str = declare("choice", "tutorial", "initial weights", values=_values(INITIALIZERS))
    batch_norm: bool = declare("flag", False, "normalise the sums of the hidden layers over the batch")
    dropout: float = declare("number", 0.0, "fraction of the hidden units that a step leaves out", 0.0, 0.9)
    dtype: str = declare("choice", "float64", "floating-point type", values=_add_titles(_DTYPES))
    loss: str | None = declare("choice", None, _LOSS_LINE, optional=True, values=_LOSSES)
    optimizer: str = declare("choice", "sgd", "update rule", values=_values(OPTIMIZERS))
    learning_rate: float = declare("number", 0.01, "learning rate", 0.0, 100.0, **_WITH_RATE, **_LIVE)
    schedule: str = declare("choice", "constant", "schedule of the learning rate", values=_values(SCHEDULES))
    passes: int | None = declare(
        "integer", None, "epochs of the run; no end by default, or 20,000 with a schedule", 1, 10**9, **_MAYBE
    )
    batch_size: int | None = declare(
        "integer", None, "samples per step; by default all", 1, MAX_SAMPLES, **_MAYBE_LIVE
    )
    reduction: str = declare("choice", "sum", "reduction of a batch", values=_add_titles(_REDUCTIONS))
    l2: float = declare("number", 0.01, "strength of the L2 penalty of the weights", 0.0, 100.0, **_LIVE)
    l1: float = declare("number", 0.0, "strength of the L1 penalty of the weights", 0.0, 100.0, **_LIVE)
    clip_norm: float | None = declare("number", None, "largest norm of a gradient", 1e-6, 1e6, **_MAYBE_LIVE)
    max_norm: float | None = declare(
        "number", None, "largest norm of a unit's weights", 1e-6, 1e6, **_MAYBE_LIVE
    )
    options: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of_state(cls, state: Any) -> Settings:
        """Return the settings of a state, an object of JSON; a RequestError names all wrong fields."""
        if not isinstance(state, Mapping):
            raise RequestError(None, f"the state must be an object, got {short_repr(state)}")
        values: dict[str, Any] = {}
        options, errors = {}, []
        for name, value in state.items():
            try:
                if name in FIELDS:
                    values[name] = FIELDS[name].check(name, value)
                elif name in OPTIONS:
                    checked = OPTIONS[name].check(name, value)
                    if checked is not None:
                        options[name] = checked
                elif value is not None:
                    raise RequestError(None, f"there is no setting {short_repr(name)}: remove it")
            except RequestError as error:
                errors.append(error)
        settings = cls(**values, options=options)
        for name, registry in REGISTRIES.items():
            try:
                if getattr(settings, name) is not None:
                    settings.choose(registry, getattr(settings, name))
            except RequestError as error:
                errors.append(error)
        if errors:
            raise RequestError(errors[0].name, str(errors[0]), errors[1:])
        if len(settings.activations) != len(settings.layers):
            raise RequestError(
                "activations",
                f"there are {len(settings.layers)} hidden layers, but {len(settings.activations)} "
                "activations: name one for each layer",
            )
        if not settings.features or len(set(settings.features)) < len(settings.features):
            raise RequestError("features", "features must name at least one input, and each input once")
        edges = settings.window
        if len(edges) != 4 or edges[0] >= edges[1] or edges[2] >= edges[3]:
            raise RequestError("window", "window must be left, right, bottom and top of a plane")
        return settings

    @property
    def state(self) -> dict[str, Any]:
        """The settings as an object of JSON: all fields, and the options."""
        result: dict[str, Any] = {}
        for name in FIELDS:
            value = getattr(self, name)
            if name == "points":
                value = [list(point) for point in value]
            result[name] = list(value) if isinstance(value, tuple) else value
        return result | {name: self.options.get(name) for name in OPTIONS}

    @property
    def n_passes(self) -> int | None:
        return USUAL_EPOCHS if self.passes is None and self.schedule != "constant" else self.passes

    def choose(self, registry: Mapping[str, type], name: str) -> Any:
        """Return the name of an optimizer, a schedule or a loss, or an object with the set options."""
        declared = _list_options(registry[name])
        chosen = [key for key in declared if key in self.options]
        if not chosen:
            return name
        given: dict[str, Any] = {declared[key].parameter: self.options[key] for key in chosen}
        for parameter in given:
            keys = [key for key, option in declared.items() if option.parameter == parameter]
            if declared[keys[0]].position is not None:
                given[parameter] = tuple(self.options.get(key, declared[key].default) for key in keys)
        try:
            return registry[name](**given)
        except ValueError as error:
            # The message begins with the parameter, or with one number of a pair.
            for key in chosen:
                if str(error).startswith(declared[key].label):
                    raise RequestError(key, key + str(error).removeprefix(declared[key].label)) from None
            raise RequestError(chosen[0], str(error)) from None


FIELDS = list_fields(Settings)


class Option(NamedTuple):
    """Parameter of an optimizer, a schedule or a loss, or one number of a parameter that is a pair."""

    parameter: str
    position: int | None  # position in the pair, 0 or 1; None for a whole parameter
    default: Any
    line: str  # first sentence of the parameter's documentation

    @property
    def label(self) -> str:
        return self.parameter if self.position is None else f"{self.parameter}[{self.position}]"


def _list_options(registered: type) -> dict[str, Option]:
    """Return the options of an optimizer, a schedule or a loss: flags, numbers and pairs of numbers.

    The numbers of a pair, such as ``betas``, are named by its singular: ``beta1`` and ``beta2``.
    """
    result = {}
    for declared in fields(registered):
        name, default = declared.name, declared.default
        line = _find_documentation(registered, name)
        if type(default) in (bool, int, float):
            result[name] = Option(name, None, default, line)
        elif isinstance(default, tuple):
            for position, value in enumerate(default):
                result[f"{name.removesuffix('s')}{position + 1}"] = Option(name, position, value, line)
    return result


def _find_documentation(registered: type, parameter: str) -> str:
    """Return the first sentence that the docstring of a class, or of its bases, has about a parameter."""
    for each in registered.__mro__:
        text = inspect.cleandoc(each.__doc__ or "")  # Python 3.13 has removed the indentation already
        found = re.search(rf"^{parameter} : .*\n((?: {{4}}.*\n)+)", text, re.MULTILINE)
        if found:
            return re.split(r"[.;](?:\s|$)", " ".join(found[1].replace("`", "").split()))[0]
    raise AssertionError(f"{registered.__name__} does not document {parameter}")


_KINDS = {bool: "flag", int: "integer", float: "number"}
# Limits of the options by their kind: what else a class refuses, it refuses with an error of its own.
_LIMITS: dict[str, tuple[float | None, float | None]] = {
    "flag": (None, None),
    "integer": (1, 1000),
    "number": (0.0, 1e6),
}


def _list_all_options() -> dict[str, Setting]:
    """Return the fields of the parameters of all optimizers, schedules and losses."""
    result: dict[str, Setting] = {}
    for setting, registry in REGISTRIES.items():
        used: dict[str, dict[str, Option]] = {}
        for name, registered in registry.items():
            for key, option in _list_options(registered).items():
                used.setdefault(key, {})[name] = option
        for key, options in used.items():
            first = next(iter(options.values()))
            kind = _KINDS[type(first.default)]
            texts = {name: f"{option.default:.3g}" for name, option in options.items()}
            if len(set(texts.values())) == 1:
                usual = next(iter(texts.values()))
            else:
                usual = ", ".join(f"{text} for {name}" for name, text in texts.items())
            line = first.line if kind == "flag" else f"{first.line}; by default {usual}"
            result[key] = Setting(
                kind, None, line, *_LIMITS[kind], optional=True, only={setting: list(options)}
            )
    return result


# Parameters of the optimizers, the schedules and the losses, which the registries declare.
OPTIONS = _list_all_options()


def describe_fields(columns: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    """Return all fields as the page reads them; `columns` are the columns of the table, if there is one."""
    result = {name: each.describe() for name, each in {**FIELDS, **OPTIONS}.items()}
    for name in ("x_column", "y_column"):
        result[name]["kind"] = "choice"
        result[name]["values"] = [{"name": column, "title": column, "line": ""} for column in columns or ()]
    if columns is None:
        values = result["dataset"]["values"]
        result["dataset"]["values"] = [value for value in values if value["name"] != "table"]
    return result
