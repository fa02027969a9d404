"""Writer and Reader, by which objects put their values and arrays into files and get them back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .container import Container
from .registry import KINDS, kind_of, saved_class
from .values import decode, encode

__all__ = ["Reader", "Writer"]

Array = NDArray[Any]


class Writer:
    """Collector of the arrays of an object, and encoder of its values.

    Parameters
    ----------
    training : bool
        True to save the training state too, with which training runs resume.
    prefix : str, default ""
        Prefix of the names of the arrays.
    tensors : dict of str to array, optional
        Arrays collected so far; by default none.

    Attributes
    ----------
    tensors : dict of str to array
        Collected arrays by name. They are not copied.
    """

    def __init__(self, training: bool, prefix: str = "", tensors: dict[str, Array] | None = None) -> None:
        self.training, self._prefix = training, prefix
        self.tensors: dict[str, Array] = {} if tensors is None else tensors

    def without_training(self) -> Writer:
        """Return a writer that collects into the same dict, and leaves out training states."""
        return Writer(False, self._prefix, self.tensors)

    def tensor(self, name: str, array: Array) -> None:
        """Add an array of one or two dimensions."""
        self.tensors[self._prefix + name] = array

    def value(self, value: Any, name: str) -> Any:
        """Return a value as JSON; an object that can be saved becomes its whole description.

        Raises
        ------
        ValueError
            If a file cannot hold the value, such as a user's function.
        """
        return encode(value, name, self._other)

    def _other(self, value: Any, name: str) -> Any:
        """Return the description of an object that can be saved, None for any other."""
        if kind_of(value) is None:
            return None
        return {"$saved": self.described(value, name)}

    def described(self, value: Any, name: str) -> dict[str, Any]:
        """Return the description of an object that can be saved, and collect its arrays under ``name.``."""
        kind = kind_of(value)
        if kind is None:
            bases = type(value).__mro__
            known = next((base.__name__ for base in bases if KINDS.get(base.__name__) is base), None)
            what = f", a subclass of {known}," if known else ""
            raise ValueError(
                f"a {type(value).__name__}{what} cannot be saved: a file names classes of fastnn alone. Keep "
                "the object with pickle or joblib"
            )
        prefix = f"{self._prefix}{name}." if name else self._prefix
        description = value._file_description(Writer(self.training, prefix, self.tensors))
        return {"kind": kind, **description, **({"prefix": prefix} if name else {})}


class Reader:
    """Source of the arrays of an object, and decoder of its values.

    Parameters
    ----------
    file : Container
        Open file.
    prefix : str, default ""
        Prefix of the names of the arrays.
    """

    def __init__(self, file: Container, prefix: str = "") -> None:
        self._file, self._prefix = file, prefix

    def has(self, name: str) -> bool:
        """Return True if the file holds the array."""
        return self._prefix + name in self._file.table

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array; raise ValueError if the file lacks the array."""
        return self._file.entry(self._prefix + name).shape

    def read(self, name: str, dtype: Any, shape: tuple[int | None, ...]) -> Array:
        """Return an array that must have this dtype and shape; None in the shape stands for any size.

        Raises
        ------
        ValueError
            If the file lacks the array, or its shape or dtype differs.
        """
        entry = self._file.entry(self._prefix + name)
        fits = len(shape) == len(entry.shape) and all(
            size is None or size == found for size, found in zip(shape, entry.shape, strict=True)
        )
        if not fits or entry.dtype != np.dtype(dtype):
            raise ValueError(
                f"the array {self._prefix + name!r} is {entry.dtype.name} of the shape {entry.shape}, not "
                f"{np.dtype(dtype).name} of the shape {shape}"
            )
        return self._file.read(self._prefix + name)

    def read_into(self, name: str, target: Array) -> None:
        """Read an array into `target`, which must have its shape and dtype."""
        self._file.read_into(self._prefix + name, target)

    def value(self, value: Any) -> Any:
        """Return the Python value of JSON that `Writer.value` returned."""
        return decode(value, self._other)

    def _other(self, key: str, content: Any) -> Any:
        """Return the object whose description is ``{"$saved": description}``."""
        if key != "$saved":
            raise ValueError(f"there is no value {key}")
        return self.restored(content)

    def restored(self, description: Any) -> Any:
        """Return the object of a description.

        Raises
        ------
        ValueError
            If the description or an array is not what the object's class needs.
        """
        if not isinstance(description, dict):
            raise ValueError("the description of a model is not a JSON object")
        prefix = description.get("prefix", self._prefix)
        if not isinstance(prefix, str):
            raise ValueError("the prefix of a model is not text")
        return saved_class(description.get("kind"))._restore(description, Reader(self._file, prefix))
