"""Fields of the playground's settings: kinds of values, their limits and checks, what the page reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..system.validation import shown

__all__ = ["MAX_COORDINATE", "Field", "Refusals", "RequestError"]

# Largest coordinate of a painted point.
MAX_COORDINATE = 1e6


class RequestError(ValueError):
    """A message or setting that cannot be used.

    Parameters
    ----------
    name : str or None
        Field of the settings; None if no single field is at fault.
    text : str
        What is wrong, and a remedy.
    further : sequence of RequestError
        Errors of other fields of the same settings.
    """

    def __init__(self, name: str | None, text: str, further: Sequence[RequestError] = ()) -> None:
        super().__init__(text)
        self.name, self.further = name, further


class Refusals:
    """Errors of several fields, which are raised together."""

    def __init__(self) -> None:
        self._errors: list[RequestError] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Collect the error that the context raises, if it raises one."""
        try:
            yield
        except RequestError as error:
            self._errors.append(error)

    def check(self) -> None:
        """Raise the first error, with all others as its further ones."""
        if self._errors:
            first, *further = self._errors
            raise RequestError(first.name, str(first), further)


@dataclass(frozen=True)
class Field:
    """One setting: what the page shows and what is accepted.

    Parameters
    ----------
    kind : str
        "choice", "number", "integer", "flag", "integers", "choices", "points" or "column".
    default : object
        Value unless the page sets another.
    line : str
        A line of what the setting is.
    minimum, maximum : float, optional
        Limits of numbers, of the entries of "integers", or of the classes of "points".
    optional : bool
        True if None is accepted.
    scale : str
        "log" for a number that is best set in powers of ten.
    values : mapping of str to dict
        Accepted names of "choice" and "choices", with a line of what each is.
    only : mapping of str to list
        Fields and those of their values with which this setting has an effect.
    otherwise : str
        Why the setting has no effect with other values: the page then disables its control and shows this
        reason. It hides controls without a reason.
    max_length : int, optional
        Largest number of entries of a list.
    """

    kind: str
    default: Any
    line: str
    minimum: float | None = None
    maximum: float | None = None
    optional: bool = False
    scale: str = "linear"
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    only: Mapping[str, Sequence[str]] = field(default_factory=dict)
    otherwise: str = ""
    max_length: int | None = None

    def described(self) -> dict[str, Any]:
        """Return the field as the page reads it."""
        result: dict[str, Any] = {"kind": self.kind, "default": self.default, "line": self.line}
        for name in ("minimum", "maximum", "max_length"):
            if getattr(self, name) is not None:
                result[name] = getattr(self, name)
        if self.optional:
            result["optional"] = True
        if self.scale != "linear":
            result["scale"] = self.scale
        if self.values:
            result["values"] = [{"name": name, **about} for name, about in self.values.items()]
        if self.only:
            result["only"] = {name: list(values) for name, values in self.only.items()}
        if self.otherwise:
            result["otherwise"] = self.otherwise
        return result

    def checked(self, name: str, value: Any) -> Any:
        """Return a value of this field as the settings hold it; raise RequestError for anything else."""
        if value is None and self.optional:
            return None
        return getattr(self, f"_{self.kind}")(name, value)

    def _choice(self, name: str, value: Any) -> str:
        if isinstance(value, str) and value in self.values:
            return value
        raise RequestError(name, f"{name} must be one of {', '.join(self.values)}, got {shown(value)}")

    def _flag(self, name: str, value: Any) -> bool:
        if isinstance(value, bool):
            return value
        raise RequestError(name, f"{name} must be true or false, got {shown(value)}")

    def _number(self, name: str, value: Any) -> float:
        assert self.minimum is not None
        assert self.maximum is not None
        if _is_number(value) and self.minimum <= value <= self.maximum:
            return float(value) + 0.0  # NumPy takes -0.0 for a negative scale
        raise RequestError(
            name, f"{name} must be a number from {self.minimum:g} to {self.maximum:g}, got {shown(value)}"
        )

    def _integer(self, name: str, value: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        assert self.minimum is not None
        assert self.maximum is not None
        if _is_number(value) and isinstance(value, int) and self.minimum <= value <= self.maximum:
            return int(value)
        limits = f"from {self.minimum:,.0f} to {self.maximum:,.0f}"
        raise RequestError(name, f"{name} must be an integer {limits}, got {shown(value)}")

    def _column(self, name: str, value: Any) -> str:
        if isinstance(value, str):
            return value
        raise RequestError(name, f"{name} must be the name of a column, got {shown(value)}")

    def _list(self, name: str, value: Any) -> list[Any]:
        assert self.max_length is not None
        if not isinstance(value, list | tuple):
            raise RequestError(name, f"{name} must be a list, got {shown(value)}")
        if len(value) > self.max_length:
            raise RequestError(name, f"{name} takes at most {self.max_length:,} entries, got {len(value):,}")
        return list(value)

    def _integers(self, name: str, value: Any) -> tuple[int, ...]:
        try:
            return tuple(self._integer(name, entry) for entry in self._list(name, value))
        except RequestError as problem:
            raise RequestError(name, f"every entry of {problem}") from None

    def _choices(self, name: str, value: Any) -> tuple[str, ...]:
        return tuple(self._choice(name, entry) for entry in self._list(name, value))

    def _points(self, name: str, value: Any) -> tuple[tuple[float, float, int], ...]:
        points = []
        for number, entry in enumerate(self._list(name, value), 1):
            try:
                x, y, label = entry
                has_place = all(_is_number(at) and abs(at) <= MAX_COORDINATE for at in (x, y))
                if not (has_place and self._is_label(label)):
                    raise ValueError
            except (TypeError, ValueError):
                raise RequestError(
                    name,
                    f"point {number} must be [x, y, class], two numbers and a class from 0 to "
                    f"{self.maximum:g}, got {shown(entry)}",
                ) from None
            points.append((float(x), float(y), int(label)))
        return tuple(points)

    def _is_label(self, value: Any) -> bool:
        assert self.maximum is not None
        return _is_number(value) and 0 <= value <= self.maximum and value == int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
