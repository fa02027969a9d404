"""Words of other libraries for what has another name here, and errors that say so."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from .messages import pluralize

F = TypeVar("F", bound=Callable[..., Any])

# Names of arguments, values and methods, by the words for them elsewhere. The first that exists is meant.
NAMES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("lr", "learning_rate", "eta"), ("learning_rate_init", "epsilon")),
    **dict.fromkeys(("epochs", "n_epochs", "num_epochs", "n_iter", "max_iter"), ("num_passes", "max_iter")),
    **dict.fromkeys(("alpha", "l2", "reg", "weight_decay"), ("reg_lambda", "alpha", "weight_decay")),
    **dict.fromkeys(("hidden_layer_sizes", "layers", "sizes"), ("layers_dim", "hidden_layer_sizes")),
    "mini_batch_size": ("batch_size",),
    "optimizer": ("solver",),
    "seed": ("random_state",),
    "solver": ("optimizer",),
    "verbose": ("progress",),
    **dict.fromkeys(("mse", "mean_squared_error"), ("squared_error",)),
    **dict.fromkeys(("mae", "mean_absolute_error"), ("absolute_error",)),
    **dict.fromkeys(("bce", "binary_cross_entropy", "log_loss"), ("sigmoid_binary_cross_entropy",)),
    **dict.fromkeys(("cross_entropy", "categorical_crossentropy"), ("softmax_cross_entropy",)),
    **dict.fromkeys(("linear", "none"), ("identity",)),
    "gradient_descent": ("sgd",),
    "logistic": ("sigmoid",),
    "swish": ("silu",),
    **dict.fromkeys(("he", "kaiming"), ("he_normal",)),
    "xavier": ("glorot_uniform",),
    "cosine": ("cosine_decay",),
    "evaluate": ("calculate_loss",),
    "fit": ("train",),
}
# What to do where no name exists.
REMEDIES = {
    **dict.fromkeys(
        ("lr", "learning_rate"), "it is epsilon of Model.train, and learning_rate_init of an estimator"
    ),
    **dict.fromkeys(("backward", "forward", "step"), "fastnn.Backprop(model) has forward, backward and step"),
    "zero_grad": "backward of fastnn.Backprop(model) overwrites the gradient unless adds=True",
    "Model": "pass the layer sizes as one list, as in Model([2, 3, 2])",
    "momentum": "pass optimizer=fastnn.Momentum(...)",
    "patience": "pass callbacks=[fastnn.EarlyStopping(...)] and validation_data",
    "score": "the accuracy is (model.predict(X) == y).mean(), the mean loss model.calculate_loss(X, y)",
    "softmax": "the loss 'softmax_cross_entropy' computes it: pass output_activation='identity'",
}


def explain_word(word: str, names: Container[str]) -> str:
    """Return what a word of another library is called among `names`, or what to do instead; "" if unknown."""
    for name in NAMES.get(word, ()):
        if name in names:
            return f"it is called {name!r} here"
    return REMEDIES.get(word, "")


class ForeignMethod:
    """Method of other libraries, which no instance has: the error says what it is called here.

    Unlike a `__getattr__`, it does not slow the other attributes of its class.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> NoReturn:
        remedy = explain_word(self._name, dir(owner))
        raise AttributeError(
            f"{owner.__name__} has no attribute {self._name!r}: {remedy}", name=self._name, obj=instance
        )


class KnowsForeignNames:
    """Base class of small objects: the error of a missing attribute says what it is called here."""

    if not TYPE_CHECKING:  # type checkers report missing attributes themselves

        def __getattr__(self, name: str) -> NoReturn:
            remedy = explain_word(name, dir(type(self)))
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}"
                + (f": {remedy}" if remedy else ""),
                name=name,
                obj=self,
            )


def translate_arguments(function: F) -> F:
    """Return a function that explains what an unknown argument is called here; for use as a decorator."""
    parameters = inspect.signature(function).parameters
    n_positional = sum(one.kind is not one.KEYWORD_ONLY for one in parameters.values())
    names = [*parameters][1:]
    choices = f"choose from {', '.join(names)}" if names else "it takes none"

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        is_init = function.__name__ == "__init__"
        name = type(arguments[0]).__name__ if is_init else function.__qualname__
        for option in options:
            if option not in parameters:
                remedy = explain_word(option, parameters) or choices
                raise TypeError(f"{name}() has no argument {option!r}: {remedy}")
        if len(arguments) > n_positional:
            remedy = explain_word(name, ()) or ("pass the others by name" if names else choices)
            counts = f"{pluralize(n_positional - 1, 'positional argument')}, got {len(arguments) - 1}"
            raise TypeError(f"{name}() takes {counts}: {remedy}")
        return function(*arguments, **options)

    return cast(F, call)
