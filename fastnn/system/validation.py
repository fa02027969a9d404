"""Checks of users' arguments. Kernels check nothing: every argument is checked here before a kernel runs.

The checks use NumPy alone and are fast: a prediction of one row takes microseconds, and a general-purpose
validator would take many times longer. A check raises ValueError for all that it does not accept.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import re
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, TypeAlias, TypeVar, dataclass_transform

import numpy as np
from numpy.typing import NDArray

from .messages import did_you_mean, pluralize
from .words import explain_word, translate_arguments

K = TypeVar("K", bound=type)
T = TypeVar("T")
Array = NDArray[Any]
# Function of an argument and its name that returns the argument checked, or raises ValueError.
Check: TypeAlias = Callable[[Any, str], Any]

# Limits of the sum of sample weights: within them, weights and weighted losses are finite in float32 too.
MIN_WEIGHTS, MAX_WEIGHTS = 1e-300, 1e30
# Smallest normal number of float64. Kernels flush smaller numbers to 0.
MIN_NORMAL = sys.float_info.min
# `all_finite` tests the sum of squares of at most FEW_VALUES first, and the sum of at least MANY_VALUES.
FEW_VALUES, MANY_VALUES = 1 << 13, 1 << 14
# Section that the docstrings of registered classes with parameters have in common.
RAISES = "Raises\n------\nValueError\n    If an argument is out of its range.\n\n"
# Largest number of characters of a value in a message.
MAX_SHOWN = 1000


def all_finite(values: Array) -> bool:
    """Return True if an array of floats holds neither NaN nor infinity."""
    if values.size >= MANY_VALUES and values.flags.forc:
        # A finite sum proves that all values are finite, but an overflow proves nothing: test the sum first,
        # then the values. `einsum` sums as fast as memory is read, in half the time of `sum` and `isfinite`.
        with np.errstate(over="ignore", invalid="ignore"):
            if math.isfinite(np.einsum("i->", values.ravel(order="K"))):
                return True
    # The same holds for a sum of squares, which is faster until BLAS divides it among threads.
    elif values.size <= FEW_VALUES and math.isfinite(np.vdot(values, values)):
        return True
    return bool(np.isfinite(values).all())


def check_samples(
    X: object, n_features: int | None, dtype: np.dtype, name: str = "X", finite: bool = True
) -> Array:
    """Return samples as a C-contiguous array (n, n_features) of finite numbers, X itself if it is one.

    X is an array of any real dtype and memory layout, a list of rows or a data frame. None in `n_features`
    allows any number of columns, and False in `finite` any numbers.
    """
    if not (
        type(X) is np.ndarray
        and (X.dtype is dtype or X.dtype == dtype)
        and X.ndim == 2
        and (flags := X.flags).c_contiguous
        and flags.aligned
    ):
        X = _convert_to_rows(X, dtype, name)
    if n_features is not None and X.shape[1] != n_features:
        raise ValueError(
            f"{name} has {pluralize(X.shape[1], 'feature')}, but the network has "
            f"{pluralize(n_features, 'input')}"
        )
    if X.shape[0] == 0:
        raise ValueError(f"{name} has no samples: its shape is {X.shape}")
    if finite and not all_finite(X):
        raise ValueError(_describe_not_finite(X, name, "drop such rows, or impute the values"))
    return X


def _describe_not_finite(values: Array, name: str, remedy_for_nan: str) -> str:
    row, column = np.argwhere(~np.isfinite(values))[0]
    if np.isnan(values[row, column]):
        return f"{name} contains NaN, first at row {row}, column {column}: {remedy_for_nan}"
    return (
        f"{name} contains infinity, or a value too large for {values.dtype}, first at row {row}, column "
        f"{column}: drop such rows, or scale the values down"
    )


def check_parameters(values: object, shape: tuple[int, ...], dtype: np.dtype, name: str) -> Array:
    """Return a layer's parameters as a new array of `shape` and `dtype`.

    NaN and infinity are allowed here; `Model.train` refuses them.
    """
    array = _as_array(values, name, "fill them, as numpy.ma.filled does")
    # Biases are rows in a `Model` and vectors elsewhere: take both.
    if array.ndim and array.shape in ((1, *shape), shape[1:]) and array.size == math.prod(shape):
        array = array.reshape(shape)
    if array.shape != shape:
        raise ValueError(f"{name} must have the shape {shape}, got {array.shape}")
    if array.dtype.kind == "O" and any(value is None for value in array.flat):
        raise ValueError(f"{name} must hold numbers, got None among them")
    array = _as_reals(array, name, f"pass {name}.real", "pass numbers")
    with np.errstate(over="ignore", under="ignore"):
        converted = np.array(array, dtype)
    overflowed = np.isinf(converted) & np.isfinite(array)
    if overflowed.any():
        place = tuple(int(k) for k in np.argwhere(overflowed)[0])
        raise ValueError(
            f"{name} holds {array[place]} at {place}, too large for {dtype}: scale it down, or use float64"
        )
    return converted


def check_layout(array: object, shape: tuple[int, ...], dtype: np.dtype, name: str) -> Array:
    """Return an array of a saved state aligned, C-contiguous and in this machine's byte order, for kernels.

    A pickle may hold the other order, and a message that Dask received puts arrays at any address. What is
    not an array of this shape and dtype is a ValueError.
    """
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype.newbyteorder("=") != dtype:
        raise ValueError(f"the saved {name} must be an array {shape} of {dtype}")
    return np.require(array, dtype, ["C", "A"])


def is_masked(values: object) -> bool:
    """Return True if a value is masked. A process that has not loaded numpy.ma has no masked arrays."""
    # pandas' arrays have a mask too, of their missing values.
    return "numpy.ma" in sys.modules and np.ma.isMaskedArray(values) and bool(np.ma.is_masked(values))


def refuse_masked(values: object, name: str, remedy: str = "fill them, as numpy.ma.filled does") -> None:
    """Raise ValueError if a value is masked; `remedy` is advice."""
    if is_masked(values):
        raise ValueError(f"{name} has masked values: {remedy}")


def _as_array(
    values: object, name: str, remedy: str, form: str = "rectangular table", flat: str = ""
) -> Array:
    """Return values as an array of any dtype.

    `remedy` is advice in the error message for masked values, `form` what they should be, and `flat` the
    call that gives a dense matrix this form.
    """
    if hasattr(values, "toarray"):
        raise ValueError(f"{name} is a sparse matrix: pass {name}.toarray(){flat}")
    refuse_masked(values, name, remedy)
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} is not a {form}: {error}") from None


def _as_reals(array: Array, name: str, for_complex: str, for_others: str) -> Array:
    """Return an array of real numbers; `for_complex` and `for_others` are advice in error messages."""
    if array.dtype.kind in "fiub":
        return array
    if array.dtype.kind == "c":
        raise ValueError(f"{name} is complex: {for_complex}")
    try:
        if array.dtype.kind != "O":  # text, even of digits, and dates are not numbers
            raise ValueError
        return array.astype(np.float64)
    except OverflowError:
        raise ValueError(f"{name} holds numbers too large for float64: scale them down") from None
    except (TypeError, ValueError):
        if array.dtype.kind == "O":
            _check_entries(array, name, for_others)
        raise ValueError(f"{name} must hold numbers, got dtype {array.dtype}: {for_others}") from None


def _check_entries(array: Array, name: str, for_others: str) -> None:
    missing = getattr(sys.modules.get("pandas"), "NA", None)
    for place, value in np.ndenumerate(array):
        where = "at " + ", ".join(f"{axis} {k}" for axis, k in zip(("row", "column"), place, strict=False))
        if value is missing and value is not None:
            raise ValueError(
                f"{name} contains a missing value, first {where}: drop such rows, or impute the values"
            )
        try:
            float(value)
        except (TypeError, ValueError):
            raise ValueError(
                f"{name} must hold numbers, got {short_repr(value)} {where}: {for_others}"
            ) from None


def _convert_to_rows(X: object, dtype: np.dtype, name: str, min_dimensions: int = 2) -> Array:
    """Return X as a C-contiguous array of `dtype` with 2 dimensions, or with at least `min_dimensions`."""
    array = _as_array(X, name, "fill them, as numpy.ma.filled does, or drop their rows")
    if not min_dimensions <= array.ndim <= 2:
        raise ValueError(
            f"{name} must have two dimensions (samples, features), got shape {array.shape}"
            + (
                f": for one feature pass numpy.reshape({name}, (-1, 1)), for one sample "
                f"numpy.reshape({name}, (1, -1))"
                if array.ndim == 1
                else ""
            )
        )
    remedies = (f"pass {name}.real or its parts as features", "encode its columns as numbers first")
    if name.startswith("y"):
        remedies = (f"pass {name}.real", "convert it to numbers, or use a classifier if it holds classes")
    array = _as_reals(array, name, *remedies)
    convert = partial(array.astype, dtype, order="C", subok=False, copy=not array.flags.aligned)
    if np.can_cast(array.dtype, dtype):
        return convert()
    with np.errstate(over="ignore", under="ignore"):  # callers report the resulting infinity
        return convert()


def check_labels(y: object, n_samples: int, n_classes: int, name: str = "y") -> NDArray[np.int64]:
    """Return labels, integers 0 .. n_classes - 1, as an array (n_samples,)."""
    array = _as_array(y, name, "drop their rows", "list of labels", ".ravel()")
    if array.ndim != 1:
        hints = {
            n_classes: f": for one-hot rows, pass numpy.argmax({name}, axis=1)",
            1: f": pass numpy.ravel({name})",
        }
        hint = hints.get(array.shape[1], "") if array.ndim == 2 else ""
        raise ValueError(f"{name} must have one dimension, got shape {array.shape}{hint}")
    if array.shape[0] != n_samples:
        raise ValueError(f"X has {n_samples} samples, but {name} has {array.shape[0]} labels")
    try:
        array = _as_reals(array, name, "", "")  # a string of digits is the name of a class, not a number
    except ValueError:
        raise ValueError(
            f"{name} must hold integer labels 0 .. {n_classes - 1}, got dtype {array.dtype}: "
            f"number the classes first, as numpy.unique({name}, return_inverse=True) does"
        ) from None
    if array.dtype.kind == "f":
        broken = np.flatnonzero(~np.isfinite(array) | (np.floor(array) != array))
        if broken.size:
            raise ValueError(
                f"{name} must hold integer labels, but {name}[{broken[0]}] is {array[broken[0]]}"
            )
    wrong = np.flatnonzero((array < 0) | (array >= n_classes))
    if wrong.size:
        value = array[wrong[0]]
        labels = f"the labels 0 .. {n_classes - 1}" if n_classes > 1 else "the label 0"
        if value < 0:
            remedy = "labels count from 0"
        elif array.max() < 1e6:
            remedy = f"give layers_dim at least {array.max() + 1:.0f} outputs, or number the classes from 0"
        else:
            remedy = f"number the classes from 0, as numpy.unique({name}, return_inverse=True) does"
        raise ValueError(
            f"{name}[{wrong[0]}] is {value}, but a network with {pluralize(n_classes, 'output')} takes "
            f"{labels}: {remedy}"
        )
    return array.astype(np.int64)


def check_classes(y: object, n_samples: int, n_labels: int = 0, label: Any = None) -> Array:
    """Return class labels, text or integers of any dtype, as an array (n_samples,).

    If y has `n_labels` columns, return column `label`.
    """
    labels = _as_array(y, "y", "drop their rows", "list of labels", ".ravel()")
    if n_labels and labels.shape == (n_samples, n_labels):
        labels = labels[:, label]
    if labels.shape != (n_samples,):
        raise ValueError(f"X has {n_samples} samples, but y has shape {labels.shape}: one label per sample")
    if labels.dtype.kind == "f":
        wrong = labels[~np.isfinite(labels) | (labels != np.floor(labels))]
        if wrong.size:
            raise ValueError(
                f"y holds numbers that are not classes, such as {wrong[0]}: use integers or text"
            )
    return labels


def check_targets(
    y: object,
    n_samples: int,
    n_outputs: int,
    dtype: np.dtype,
    bounds: tuple[float | None, float | None] = (None, None),
    name: str = "y",
    only_bounds: bool = False,
) -> Array:
    """Return targets as a C-contiguous array (n_samples, n_outputs) of finite numbers within `bounds`.

    With `only_bounds`, the bounds are the only targets. If `n_outputs` is 1, `y` may have one dimension.
    """
    y = _convert_to_rows(y, dtype, name, 1)
    if n_outputs == 1 and y.ndim == 1:
        y = y.reshape(-1, 1)
    if y.shape != (n_samples, n_outputs):
        raise ValueError(
            f"{name} must hold a target for each of {pluralize(n_samples, 'sample')} and "
            f"{pluralize(n_outputs, 'output')}, shape "
            f"{(n_samples, n_outputs)}, got shape {y.shape}"
        )
    if not all_finite(y):
        raise ValueError(_describe_not_finite(y, name, "drop such rows"))
    lowest = -math.inf if bounds[0] is None else bounds[0]
    highest = math.inf if bounds[1] is None else bounds[1]
    wrong = (y < lowest) | (y > highest)
    if only_bounds:
        wrong |= (y != lowest) & (y != highest)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        limits, remedy = f"from {lowest:g} to {highest:g}", "choose another loss or rescale them"
        if highest == math.inf:
            limits = f"of at least {lowest:g}"
        elif lowest == -math.inf:
            limits = f"of at most {highest:g}"
        if only_bounds:
            limits, remedy = f"{lowest:g} and {highest:g} only", "for 0 and 1, pass 2 * y - 1"
        raise ValueError(
            f"{name}[{row}, {column}] is {y[row, column]:g}, but this loss takes targets {limits}: {remedy}"
        )
    return y


def check_distributions(y: object, n_samples: int, n_classes: int, dtype: np.dtype, name: str = "y") -> Array:
    """Return rows of fractions of the classes, at least 0 and with a sum of 1 within 0.001, scaled to 1.

    For one class, whose rows are all 1, return the labels (n_samples, 1).
    """
    rows = check_targets(y, n_samples, n_classes, np.dtype(np.float64), (0.0, None), name)
    sums = rows.sum(axis=1, keepdims=True)
    wrong = np.flatnonzero(np.abs(sums - 1) > 1e-3)
    if wrong.size:
        raise ValueError(
            f"the row {name}[{wrong[0]}] sums to {sums[wrong[0], 0]:g}, but fractions of the classes sum to "
            "1: divide by their sum, or pass labels with one dimension"
        )
    return (rows / sums if n_classes > 1 else rows * 0).astype(dtype)


def check_weights(sample_weight: object, n_samples: int) -> NDArray[np.float64]:
    """Return sample weights, at least 0 but not all 0, as an array (n_samples,); None stands for ones."""
    if sample_weight is None:
        return np.ones(n_samples)
    remedy = "fill them, or drop their rows"
    weights = _as_array(sample_weight, "sample_weight", remedy, "list of numbers", ".ravel()")
    if weights.dtype.kind not in "fiub":
        raise ValueError(f"sample_weight must hold numbers, got dtype {weights.dtype}")
    if weights.shape != (n_samples,):
        raise ValueError(
            f"sample_weight must hold a number for each of {n_samples} samples, got shape {weights.shape}"
        )
    weights = weights.astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if wrong.size:
        raise ValueError(
            f"sample_weight[{wrong[0]}] is {weights[wrong[0]]:g}, but weights are finite and at least 0"
        )
    if not weights.any():
        raise ValueError("sample_weight is zero for every sample: give at least one a weight above zero")
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not MIN_WEIGHTS <= total <= MAX_WEIGHTS:
        raise ValueError(
            f"sample_weight has the sum {total:g}, but it must be from {MIN_WEIGHTS:g} to "
            f"{MAX_WEIGHTS:g}: divide the weights by their mean"
        )
    return weights


def sort_classes(classes: object) -> Array:
    """Return the distinct classes of a user's list, all text or all numbers, in sorted order."""
    try:
        labels = np.unique(np.asarray(classes))
        if labels.dtype.kind not in "biufUSO" or (
            labels.dtype.kind == "O" and not all(isinstance(label, numbers.Real | str) for label in labels)
        ):
            raise TypeError(f"dtype {labels.dtype}")
        if (labels != labels).any():
            raise ValueError("NaN is not a label")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"classes must hold labels of one kind, integers or text, got {short_repr(classes)}: {error}"
        ) from None
    if not labels.size:
        raise ValueError("classes must name at least one class, got none")
    return labels


def short_repr(value: object) -> str:
    """Return the repr of a value, short enough for a message; if it fails, the type and the error."""
    try:
        text = repr(value)
    except Exception as error:
        return f"a {type(value).__name__} whose repr raises {type(error).__name__}"
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def make_field(check: Check, *, default: Any, **about: Any) -> Any:
    """Return a dataclass field with its check, and what else there is to know about it, in its metadata."""
    return field(default=default, metadata={"check": check, **about})


@dataclass_transform(frozen_default=True, field_specifiers=(make_field,))
def register(registry: dict[str, Any], name: str) -> Callable[[K], K]:
    """Return a decorator that makes a class a frozen dataclass and adds it to a registry by a name.

    A docstring that documents parameters gets the section `RAISES`.
    """

    def add(kind: Any) -> Any:
        kind.name = name
        registry[name] = kind = dataclass(frozen=True)(kind)
        if "Parameters\n" in (text := inspect.cleandoc(kind.__doc__)):
            kind.__doc__ = re.sub(r"^(?=(Notes|Examples)$)", RAISES, text, count=1, flags=re.MULTILINE)
        kind.__init__ = translate_arguments(kind.__init__)
        return kind

    return add


def check_fields(instance: Any) -> None:
    """Check the fields of a dataclass that have a check, and store what the checks return."""
    kind: Any = type(instance)
    values = vars(instance)  # also of a frozen dataclass
    for name, (check, default, checked) in list_checks(kind).items():
        values[name] = checked if values[name] is default else check(values[name], name)


@functools.cache
def list_checks(kind: Any) -> dict[str, tuple[Check, Any, Any]]:
    """Return the checks of a dataclass's fields by their names, the defaults, and what the checks return."""
    defaults = {each.name: each.default for each in fields(kind)}
    checks = {each.name: each.metadata["check"] for each in fields(kind) if "check" in each.metadata}
    return {name: (check, defaults[name], check(defaults[name], name)) for name, check in checks.items()}


def check_real_array(values: object, name: str) -> NDArray[np.float64]:
    """Return real numbers of any shape as an array of float64."""
    array = _as_array(values, name, "fill them, as numpy.ma.filled does")
    array = _as_reals(array, name, f"pass {name}.real", "pass numbers")
    with np.errstate(over="ignore"):
        return array.astype(np.float64)


def check_rate(value: object, name: str) -> float:
    """Return a finite float not below 0."""
    return check_number(value, name, 0.0)


def check_limit(value: object, name: str) -> float:
    """Return a finite limit above 0, or 0 for None, which stands for no limit."""
    return 0.0 if value is None else check_positive(value, name)


def check_number(
    value: Any,
    name: str,
    least: float,
    most: float = math.inf,
    *,
    exclusive_start: bool = False,
    exclusive_end: bool = False,
    remedy: str = "",
) -> float:
    """Return a finite float from `least` to `most`; raise ValueError, with `remedy`, for anything else.

    Either bound may be excluded. A subnormal number becomes 0, as in the kernels.
    """
    is_subnormal = False
    # Comparing types takes a tenth of the time of asking an abstract base class.
    if type(value) in (float, int) or (
        not isinstance(value, bool | np.bool_) and isinstance(value, numbers.Real)
    ):
        try:
            number = float(value)
        except OverflowError:  # an integer too large for a float
            number = math.inf
        is_subnormal = 0.0 < number < MIN_NORMAL
        if is_subnormal:
            number = 0.0
        above = least < number if exclusive_start else least <= number
        below = number < most if exclusive_end else number <= most
        if math.isfinite(number) and above and below:
            return number
    begin = "above" if exclusive_start else "of at least"
    end = "" if most == math.inf else f" and {'below' if exclusive_end else 'at most'} {most:g}"
    advice = f": {remedy}" if remedy else ""
    if is_subnormal:
        advice = f" (below {MIN_NORMAL:.3g} a number counts as 0){advice}"
    raise ValueError(
        f"{name} must be a finite number {begin} {least:g}{end}, got {short_repr(value)}{advice}"
    )


def resolve(value: object, name: str, base: type[T], registry: Mapping[str, type[T]], also: str = "") -> T:
    """Return the object that an argument is or names: an instance of `base`, or a name in `registry`.

    `also` names further accepted values in the message of the error.
    """
    if isinstance(value, base) and type(value) is not base:
        return value
    if isinstance(value, str) and value in registry:
        return registry[value]()
    if isinstance(value, type) and issubclass(value, base):
        raise ValueError(
            f"{name} must be an object, got the class {value.__name__}: call it, as in {value.__name__}()"
        )
    raise ValueError(
        f"{name} must be one of {sorted(registry)} or an object such as "
        f"fastnn.{next(iter(registry.values())).__name__}(){f' or {also}' if also else ''}, "
        f"got {short_repr(value)}{_suggest(value, registry)}"
    )


def _suggest(value: object, choices: Collection[str]) -> str:
    guess = (isinstance(value, str) and explain_word(value, choices)) or did_you_mean(value, choices)
    return f": {guess}" if guess else ""


def check_count(value: Any, name: str, least: int = 0) -> int:
    """Return an integer from `least` to 2**63 - 1, the largest int64."""
    is_integer = type(value) is int or (isinstance(value, numbers.Integral) and not isinstance(value, bool))
    if is_integer and least <= int(value) < 2**63:
        return int(value)
    limits = "below 2**63" if is_integer and int(value) >= 2**63 else f"of at least {least}"
    raise ValueError(f"{name} must be an integer {limits}, got {short_repr(value)}")


check_positive = partial(check_number, least=0.0, exclusive_start=True)
check_positive_count = partial(check_count, least=1)
# A fraction of at least 0 and below 1.
check_fraction = partial(check_number, least=0.0, most=1.0, exclusive_end=True)


def make_optional(check: Check) -> Check:
    """Return a check that also accepts None, and returns it."""
    return lambda value, name: None if value is None else check(value, name)


def check_dtype(dtype: Any) -> np.dtype:
    """Return float32 or float64 as a NumPy dtype."""
    with suppress(TypeError, ValueError):
        if (resolved := np.dtype(dtype)) in (np.float32, np.float64):
            return resolved
    raise ValueError(f"dtype must be float32 or float64, got {short_repr(dtype)}")


def check_flag(value: object, name: str) -> bool:
    """Return a boolean."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ValueError(f"{name} must be True or False, got {short_repr(value)}")


def check_choice(value: object, name: str, choices: Collection[str]) -> str:
    """Return a name in `choices`."""
    if isinstance(value, str) and value in choices:
        return value
    raise ValueError(
        f"{name} must be one of {sorted(choices)}, got {short_repr(value)}{_suggest(value, choices)}"
    )
