"""What users pass in, checked once before any kernel runs: kernels check nothing.

NumPy alone, and cheap: predicting one row takes microseconds, and a general-purpose validator
takes many times that.
"""

from __future__ import annotations

import math
import numbers
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "all_finite",
    "check_choice",
    "check_count",
    "check_file_name",
    "check_flag",
    "check_labels",
    "check_limit",
    "check_memory",
    "check_number",
    "check_parameters",
    "check_rate",
    "check_samples",
    "check_targets",
    "check_weights",
    "real_array",
    "resolve",
    "shown",
    "sorted_classes",
    "store_checked",
]


T = TypeVar("T")

# What weights may sum to: in float32, too, they are then finite, and so is what they multiply, or divide.
LEAST_WEIGHTS, LARGEST_WEIGHTS = 1e-300, 1e30
# The smallest normal number of float64: the kernels flush smaller ones to 0.
SMALLEST_NORMAL = sys.float_info.min
# Of so many values the sum is taken first.
MANY_VALUES = 1 << 14
# Characters of a value that a message shows.
MOST_SHOWN = 1000


def all_finite(values: NDArray[Any]) -> bool:
    """Whether there is neither NaN nor infinity among floats."""
    if values.size >= MANY_VALUES:
        # Which takes half of the time, as no mask is written. One that overflowed says nothing.
        with np.errstate(over="ignore", invalid="ignore"):
            if math.isfinite(values.sum()):
                return True
    return bool(np.isfinite(values).all())


def check_samples(X: Any, n_features: int | None, dtype: np.dtype, name: str = "X") -> NDArray[Any]:
    """X as a C-contiguous array (n, n_features) of `dtype`, all finite.

    Parameters
    ----------
    X : array-like
        An array of any real dtype, order and stride, a list of rows, a data frame.
    n_features : int or None
        How many columns there must be; None for any number.
    dtype : numpy.dtype
        float32 or float64.
    name : str
        What the messages call it.

    Returns
    -------
    array (n, n_features)
        X itself where it fits already.

    Raises
    ------
    ValueError
        For another shape, no samples, values that are not numbers, NaN and infinity.
    """
    if not (
        type(X) is np.ndarray
        and X.dtype == dtype
        and X.ndim == 2
        and X.flags.c_contiguous
        and X.flags.aligned
    ):
        X = _converted(X, dtype, name)
    if n_features is not None and X.shape[1] != n_features:
        raise ValueError(f"{name} has {X.shape[1]} features, but the network has {n_features} inputs")
    if X.shape[0] == 0:
        raise ValueError(f"{name} has no samples: its shape is {X.shape}")
    if not all_finite(X):
        row, column = np.argwhere(~np.isfinite(X))[0]
        raise ValueError(
            f"{name} contains NaN or infinity, first at row {row}, column {column}, as {dtype}: "
            "drop or impute such rows, and scale values that are too large"
        )
    return X


def check_parameters(values: Any, shape: tuple[int, ...], dtype: np.dtype, name: str) -> NDArray[Any]:
    """Return a layer's parameters as a new array of `shape` and `dtype`.

    NaN and infinity stay what they are: a training refuses to begin with them.

    Raises
    ------
    ValueError
        For another shape, values that are not real numbers, values too large for `dtype`.
    """
    array = _as_array(values, name, "fill them, as numpy.ma.filled does")
    if array.shape == (1, *shape):  # biases as a row
        array = array[0]
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


def _as_array(values: Any, name: str, remedy: str) -> NDArray[Any]:
    """`values` as an array of whatever dtype; `remedy` is what can be done about masked ones."""
    if hasattr(values, "toarray"):
        raise ValueError(f"{name} is a sparse matrix: pass {name}.toarray()")
    if np.ma.is_masked(values):
        raise ValueError(f"{name} has masked values: {remedy}")
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} is no rectangular table: {error}") from None


def _as_reals(array: NDArray[Any], name: str, for_complex: str, for_others: str) -> NDArray[Any]:
    """An array of floats, integers or booleans; what else it may be told to do is a remedy."""
    if array.dtype.kind in "fiub":
        return array
    if array.dtype.kind == "c":
        raise ValueError(f"{name} is complex: {for_complex}")
    try:
        if array.dtype.kind != "O":  # text, even of digits, and dates are no numbers
            raise ValueError
        return array.astype(np.float64)
    except OverflowError:
        raise ValueError(f"{name} holds numbers too large for float64: scale them down") from None
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold numbers, got dtype {array.dtype}: {for_others}") from None


def _converted(X: Any, dtype: np.dtype, name: str, least_dimensions: int = 2) -> NDArray[Any]:
    array = _as_array(X, name, "fill them, as numpy.ma.filled does, or drop their rows")
    if not least_dimensions <= array.ndim <= 2:
        raise ValueError(
            f"{name} must have two dimensions (samples, features), got shape {array.shape}"
            + (f": for one sample pass {name}.reshape(1, -1)" if array.ndim == 1 else "")
        )
    array = _as_reals(
        array, name, f"pass {name}.real or its parts as features", "encode its columns as numbers first"
    )
    with np.errstate(over="ignore"):  # an overflow is reported as the infinity it becomes
        return np.require(array, dtype, ["C_CONTIGUOUS", "ALIGNED"]).view(np.ndarray)


def check_labels(y: Any, n_samples: int, n_classes: int, name: str = "y") -> NDArray[np.int64]:
    """y as an array (n_samples,) of labels 0 .. n_classes - 1.

    Raises
    ------
    ValueError
        For another shape or length, labels that are no integers or out of range.
    """
    if hasattr(y, "toarray"):
        raise ValueError(f"{name} is a sparse matrix: pass {name}.toarray().ravel()")
    if np.ma.is_masked(y):
        raise ValueError(f"{name} has masked values: drop their rows")
    try:
        array = np.asarray(y)
    except ValueError as error:
        raise ValueError(f"{name} is no list of labels: {error}") from None
    if array.ndim != 1:
        hint = f": pass {name}.ravel()" if array.ndim == 2 and array.shape[1] == 1 else ""
        raise ValueError(f"{name} must have one dimension, got shape {array.shape}{hint}")
    if array.shape[0] != n_samples:
        raise ValueError(f"X has {n_samples} samples, but {name} has {array.shape[0]} labels")
    if array.dtype.kind not in "fiub":
        try:
            if array.dtype.kind != "O":  # digits in a string are a class name, not a number
                raise ValueError
            array = array.astype(np.float64)
        except (OverflowError, TypeError, ValueError):
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
        if value < 0:
            remedy = "labels count from 0"
        elif array.max() < 1e6:
            remedy = f"give layers_dim at least {array.max() + 1:.0f} outputs, or number the classes from 0"
        else:
            remedy = f"number the classes from 0, as numpy.unique({name}, return_inverse=True) does"
        raise ValueError(
            f"{name}[{wrong[0]}] is {value}, but a network with {n_classes} outputs takes the labels "
            f"0 .. {n_classes - 1}: {remedy}"
        )
    return array.astype(np.int64)


def check_targets(
    y: Any,
    n_samples: int,
    n_outputs: int,
    dtype: np.dtype,
    bounds: tuple[float | None, float | None] = (None, None),
    name: str = "y",
) -> NDArray[Any]:
    """y as a C-contiguous array (n_samples, n_outputs) of `dtype`, all finite and within `bounds`.

    One dimension will do for one output.

    Raises
    ------
    ValueError
        For another shape, values that are not numbers, NaN, infinity, values out of bounds.
    """
    y = _converted(y, dtype, name, 1)
    if n_outputs == 1 and y.ndim == 1:
        y = y.reshape(-1, 1)
    if y.shape != (n_samples, n_outputs):
        raise ValueError(
            f"{name} must hold a target for each of {n_samples} samples and {n_outputs} outputs, shape "
            f"{(n_samples, n_outputs)}, got shape {y.shape}"
        )
    if not all_finite(y):
        row, column = np.argwhere(~np.isfinite(y))[0]
        raise ValueError(
            f"{name} contains NaN or infinity, first at row {row}, column {column}, as {dtype}: "
            "drop such rows"
        )
    lowest, highest = bounds
    wrong = np.zeros(y.shape, bool)
    if lowest is not None:
        wrong |= y < lowest
    if highest is not None:
        wrong |= y > highest
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        limits = f"not below {lowest:g}" if highest is None else f"from {lowest:g} to {highest:g}"
        raise ValueError(
            f"{name}[{row}, {column}] is {y[row, column]:g}, but this loss takes targets {limits}: choose "
            "another loss or rescale them"
        )
    return y


def check_weights(sample_weight: Any, n_samples: int) -> NDArray[np.float64]:
    """`sample_weight` as an array (n_samples,), ones for None.

    Raises
    ------
    ValueError
        For another shape, values below 0, NaN, infinity, nothing but zeros.
    """
    if sample_weight is None:
        return np.ones(n_samples)
    if np.ma.is_masked(sample_weight):
        raise ValueError("sample_weight has masked values: fill them, or drop their rows")
    try:
        weights = np.asarray(sample_weight)
    except ValueError as error:
        raise ValueError(f"sample_weight is no list of numbers: {error}") from None
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
            f"sample_weight[{wrong[0]}] is {weights[wrong[0]]:g}, but weights are finite and not below 0"
        )
    if not weights.any():
        raise ValueError("sample_weight is zero for every sample: give at least one a weight above zero")
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not LEAST_WEIGHTS <= total <= LARGEST_WEIGHTS:
        raise ValueError(
            f"sample_weight has the sum {total:g}, but it must be from {LEAST_WEIGHTS:g} to "
            f"{LARGEST_WEIGHTS:g}: divide the weights by their mean"
        )
    return weights


def sorted_classes(classes: Any, name: str = "classes") -> NDArray[Any]:
    """Return the classes that a user names, each once and in order.

    Raises
    ------
    ValueError
        For none, for NaN, for classes that cannot be sorted, as 0 and None, for a ragged list.
    """
    try:
        labels = np.unique(np.asarray(classes))
        if labels.dtype.kind not in "biufUSO" or (
            labels.dtype.kind == "O" and not all(isinstance(label, numbers.Real | str) for label in labels)
        ):
            raise TypeError(f"dtype {labels.dtype}")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must hold labels of one kind, whole numbers or text, got {shown(classes)}: {error}"
        ) from None
    if not labels.size:
        raise ValueError(f"{name} must name one class at least, got none")
    return labels


def check_file_name(path: Any, name: str) -> Path:
    """Return a file's path; whether its folder is there is another question.

    Raises
    ------
    TypeError
        For what is no path.
    ValueError
        For a name that the file system does not take: too long, or with a NUL in it.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{name} must be a path, got {shown(path)}")
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{name}: a file cannot be called {shown(str(path))}: {reason}") from None
    return Path(path)


def check_memory(needed: int, what: str, remedy: str) -> None:
    """Raise MemoryError where `what` takes more bytes than are free."""
    import psutil

    available = psutil.virtual_memory().available
    if needed > available:
        amount = f"{needed:,}" if needed < 2**63 else "2**63 or more"
        raise MemoryError(f"{what} {amount} bytes, and {available:,} are free: {remedy}")


def shown(value: Any) -> str:
    """Return the repr of what a user gave, short enough for a message.

    Python refuses to write integers of more than 4300 digits, and classes may have a repr that fails.
    """
    try:
        text = repr(value)
    except Exception:
        return f"a {type(value).__name__}"
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


def store_checked(instance: Any, /, **values: Any) -> None:
    """Store what checking made of the arguments of a frozen dataclass, which only its construction may do."""
    for name, value in values.items():
        object.__setattr__(instance, name, value)


def real_array(values: Any, name: str) -> NDArray[np.float64]:
    """Return real numbers as an array of float64, of whatever shape.

    Raises
    ------
    ValueError
        For what is no real number, and integers beyond all floats.
    """
    array = _as_array(values, name, "fill them, as numpy.ma.filled does")
    array = _as_reals(array, name, f"pass {name}.real", "pass numbers")
    with np.errstate(over="ignore"):
        return array.astype(np.float64)


def check_rate(value: Any, name: str) -> float:
    """A finite number not below 0."""
    return check_number(value, name, 0.0)


def check_limit(value: Any, name: str) -> float:
    """Return a limit above 0, or 0 for None: no limit."""
    return 0.0 if value is None else check_number(value, name, 0.0, exclusive=True)


def check_number(
    value: Any,
    name: str,
    least: float,
    most: float = math.inf,
    *,
    exclusive: bool = False,
    exclusive_end: bool = False,
) -> float:
    """A finite number from `least` to `most`, without both ends, or the last, where they are exclusive.

    A number below the normal range of float64 counts as 0, which is what training takes it for.
    """
    is_subnormal = False
    if isinstance(value, numbers.Real) and type(value) not in (bool, np.bool_):
        try:
            number = float(value)
        except OverflowError:  # an integer beyond all floats
            number = math.inf
        is_subnormal = 0.0 < number < SMALLEST_NORMAL
        if is_subnormal:
            number = 0.0
        above = least < number if exclusive else least <= number
        below = number < most if exclusive or exclusive_end else number <= most
        if math.isfinite(number) and above and below:
            return number
    begin = "above" if exclusive else "not below"
    end = (
        "" if most == math.inf else f" and {'below' if exclusive or exclusive_end else 'not above'} {most:g}"
    )
    counts = f" (below {SMALLEST_NORMAL:.3g} a number counts as 0)" if is_subnormal else ""
    raise ValueError(f"{name} must be a finite number {begin} {least:g}{end}, got {shown(value)}{counts}")


def resolve(value: Any, name: str, base: type[T], registry: Mapping[str, type[T]], also: str = "") -> T:
    """The object that a user gave as itself or by its name; `also` is what else the caller takes.

    Raises
    ------
    ValueError
        For a name that is not in the registry, for a class in place of an object, for anything else.
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
        f"got {shown(value)}"
    )


def check_count(value: Any, name: str, least: int = 0) -> int:
    """An integer not below `least`, and one that the kernels can count to."""
    is_integer = isinstance(value, numbers.Integral) and type(value) is not bool
    if is_integer and least <= int(value) < 2**63:
        return int(value)
    raise ValueError(f"{name} must be an integer not below {least} and below 2**63, got {shown(value)}")


def check_flag(value: Any, name: str) -> bool:
    """True or False."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ValueError(f"{name} must be True or False, got {shown(value)}")


def check_choice(value: Any, name: str, choices: Iterable[str]) -> str:
    """One of the names in `choices`."""
    if isinstance(value, str) and value in choices:
        return value
    raise ValueError(f"{name} must be one of {sorted(choices)}, got {shown(value)}")
