"""Fields of the playground's settings: kinds of values, their limits and checks, what the page reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeGuard

from ..system.validation import short_repr

# Largest coordinate of a painted point.
MAX_COORDINATE = 1e6


class RequestError(ValueError):
    """A message or setting that cannot be used: its field, if one is at fault, and `further` errors."""

    def __init__(self, name: str | None, text: str, further: Sequence[RequestError] = ()) -> None:
        super().__init__(text)
        self.name, self.further = name, further


@dataclass(frozen=True)
class Setting:
    """One setting: what the page shows and what is accepted."""

    kind: str  # "choice", "number", "integer", "flag", "integers", "choices", "points" or "column"
    default: object
    line: str  # what the setting is
    # Limits of numbers, of the entries of "integers", or of the classes of "points".
    minimum: float | None = None
    maximum: float | None = None
    optional: bool = False  # None is accepted
    scale: str = "linear"  # "log" for a number that is best set in powers of ten
    # Accepted names of "choice" and "choices", with a line of what each is.
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # Fields, and the values of each with which this setting has an effect. With others, the page hides its
    # control or, if there is a reason, disables it and shows the reason.
    only: Mapping[str, Sequence[str]] = field(default_factory=dict)
    otherwise: str | None = None
    max_length: int | None = None  # largest number of entries of a list
    live: bool = False  # a training continues when the setting changes, instead of beginning anew

    def describe(self) -> dict[str, Any]:
        """Return the field as the page reads it."""
        values = [{"name": name, **about} for name, about in self.values.items()]
        described = {name: value for name, value in vars(self).items() if value is not None}
        return described | {"default": self.default, "values": values}

    def check(self, name: str, value: object) -> Any:
        """Return a value of this field as the settings hold it; raise RequestError for anything else."""
        if value is None and self.optional:
            return None
        return getattr(self, f"_{self.kind}")(name, value)

    @property
    def _limits(self) -> tuple[float, float]:
        assert self.minimum is not None
        assert self.maximum is not None
        return self.minimum, self.maximum

    def _choice(self, name: str, value: object) -> str:
        if isinstance(value, str) and value in self.values:
            return value
        raise RequestError(name, f"{name} must be one of {', '.join(self.values)}, got {short_repr(value)}")

    def _flag(self, name: str, value: object) -> bool:
        if isinstance(value, bool):
            return value
        raise RequestError(name, f"{name} must be true or false, got {short_repr(value)}")

    def _number(self, name: str, value: object) -> float:
        low, high = self._limits
        if is_number(value) and low <= value <= high:
            return float(value) + 0.0  # NumPy takes -0.0 for a negative scale
        raise RequestError(name, f"{name} must be a number from {low:g} to {high:g}, got {short_repr(value)}")

    def _integer(self, name: str, value: object) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        low, high = self._limits
        if is_number(value) and isinstance(value, int) and low <= value <= high:
            return value
        limits = f"from {low:,.0f} to {high:,.0f}"
        raise RequestError(name, f"{name} must be an integer {limits}, got {short_repr(value)}")

    def _column(self, name: str, value: object) -> str:
        if isinstance(value, str):
            return value
        raise RequestError(name, f"{name} must be the name of a column, got {short_repr(value)}")

    def _list(self, name: str, value: object) -> list[Any]:
        assert self.max_length is not None
        if not isinstance(value, list | tuple):
            raise RequestError(name, f"{name} must be a list, got {short_repr(value)}")
        if len(value) > self.max_length:
            raise RequestError(name, f"{name} takes at most {self.max_length:,} entries, got {len(value):,}")
        return list(value)

    def _integers(self, name: str, value: object) -> tuple[int, ...]:
        try:
            return tuple(self._integer(name, entry) for entry in self._list(name, value))
        except RequestError as problem:
            raise RequestError(name, f"every entry of {problem}") from None

    def _choices(self, name: str, value: object) -> tuple[str, ...]:
        return tuple(self._choice(name, entry) for entry in self._list(name, value))

    def _points(self, name: str, value: object) -> tuple[tuple[float, float, int], ...]:
        points, labels = self._list(name, value), range(int(self._limits[1]) + 1)
        for number, entry in enumerate(points, 1):
            is_point = isinstance(entry, list | tuple) and len(entry) == 3 and all(map(is_number, entry))
            if not (is_point and max(map(abs, entry[:2])) <= MAX_COORDINATE and entry[2] in labels):
                raise RequestError(
                    name,
                    f"point {number} must be [x, y, class], two numbers and a class from 0 to "
                    f"{self.maximum:g}, got {short_repr(entry)}",
                )
        return tuple((float(x), float(y), int(label)) for x, y, label in points)


def declare(
    kind: str, default: Any, line: str, low: float | None = None, high: float | None = None, **others: Any
) -> Any:
    """Return a dataclass field with the `Setting` of these arguments as metadata."""
    usual = tuple(default) if isinstance(default, list) else default
    return field(default=usual, metadata={"field": Setting(kind, default, line, low, high, **others)})


def list_fields(declaring: type) -> dict[str, Setting]:
    return {each.name: each.metadata["field"] for each in fields(declaring) if "field" in each.metadata}


def is_number(value: object) -> TypeGuard[int | float]:
    """Return True if a value of JSON is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)
