"""Encodings of one column: categories, and text by its words; for numbers and dates, see ``columns.py``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction import FeatureHasher
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import TargetEncoder

from ...system.frames import CodedValues, is_missing
from ...system.messages import pluralize, warn
from ...system.validation import Array, check_count, short_repr
from .columns import Dropped, Encoding, Write

# Codes of missing values and of categories without a code of their own; known categories have the codes 0, 1,
# ... Tables by code end with a row for missing values and one for other categories.
MISSING, OTHER = -2, -1
# Largest number of features of hashed words.
MAX_HASHES = 2**20
# Least fraction of distinct values in a column of text that is hashed word by word.
_MOSTLY_DISTINCT = 0.5
_WORDS = re.compile(r"\w+")
# Texts of numbers: an integer that begins with 0, such as 01, is a code.
_NUMBER = re.compile(r"\s*[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\s*", re.ASCII)
# Fraction of unseen values above which a column is named in a warning, which has these words.
MAX_UNSEEN_FRACTION = 0.5
UNSEEN = "did not occur in the fit"


@dataclass
class CategoryEncoding(Encoding):
    """Categories by one feature for each frequent value, and by target statistics if there are many values.

    Two values without missing values become -1 and +1 in one feature. Values too rare for a feature share the
    feature "other", and so do values that did not occur in the fit; without rare values in the fit, a new
    value is 0 in all features.
    """

    name: str  # name of the column
    categories: list[str]  # values with a feature of their own, the most frequent first
    # True if rare values, and missing values, have a feature.
    has_other: bool
    has_missing: bool
    known: list[str]  # all values that occurred in the fit, sorted, in the order of the rows of `statistics`
    # (len(known) + 2, S): shrunk means of the target by value; the last two rows are for missing values and
    # for other values. Without target statistics, the shape is (0, 0).
    statistics: NDArray[np.float64]

    @classmethod
    def fit(
        cls, name: str, values: Sequence[object], min_frequency: int, max_categories: int
    ) -> CategoryEncoding | Dropped:
        """Return the encoding, still without target statistics, for the values of a column."""
        counts = Counter(text for value in values if (text := to_text(value)) is not None)
        n_missing = len(values) - counts.total()
        # Equally frequent values are in alphabetical order, so that the order of the rows has no effect.
        ranked = sorted(counts, key=lambda text: (-counts[text], text))
        frequent = [text for text in ranked if counts[text] >= min_frequency]
        if len(ranked) <= 2 or not frequent:  # one feature of all the rare values would tell nothing
            frequent = ranked
        frequent = frequent[:max_categories]
        has_other = len(frequent) < len(ranked)
        if len(frequent) + has_other + (n_missing > 0) < 2:
            return Dropped(name, "constant" if n_missing < len(values) else "only missing values")
        return cls(name, frequent, has_other, n_missing > 0, sorted(counts), np.zeros((0, 0)))

    @property
    def is_flag(self) -> bool:
        """True if one feature holds -1 and +1."""
        return len(self.categories) == 2 and not (self.has_other or self.has_missing)

    @property
    def features(self) -> list[str]:
        if self.is_flag:
            return [f"{self.name}_{self.categories[1]}"]
        names = [f"{self.name}_{text}" for text in self.categories]
        if self.has_other:
            names.append(f"{self.name}_other")
        if self.has_missing:
            names.append(f"{self.name}_missing")
        return names + [f"{self.name}_target{k}" for k in range(self.statistics.shape[1])]

    @property
    def treatment(self) -> str:
        if self.is_flag:
            return "+1 and -1"
        phrases = [pluralize(len(self.categories), "category")]
        if self.has_other:
            phrases.append("rare ones together")
        if self.has_missing:
            phrases.append("indicator of missing values")
        if self.statistics.shape[1]:
            phrases.append("means of the target")
        return ", ".join(phrases)

    def prepare(self, values: Sequence[object], warns: bool = False) -> Write:
        """Return the function that writes the features of rows.

        With `warns`, a warning names a column most of whose values did not occur in the fit.
        """
        codes = encode_categories(values, self.known)
        if warns:
            self._check_seen(codes, values)
        indices = {text: index for index, text in enumerate(self.categories)}
        places = np.array([*(indices.get(text, OTHER) for text in self.known), MISSING, OTHER])
        tables: list[tuple[Array, Array]] = [(self.table, places[codes])]
        if self.statistics.size:
            tables.append((self.statistics, codes))

        def write(rows: slice, out: Array, first: int) -> None:
            for table, codes in tables:
                end = first + table.shape[1]
                out[:, first:end] = table.take(codes[rows], axis=0)  # negative codes are the last rows
                first = end

        return write

    def _check_seen(self, codes: NDArray[np.int64], values: Sequence[object]) -> None:
        n_unseen, n_present = np.count_nonzero(codes == OTHER), np.count_nonzero(codes != MISSING)
        if n_unseen > MAX_UNSEEN_FRACTION * n_present:
            new, known = to_text(values[int(np.argmax(codes == OTHER))]), self.categories[0]
            warn(
                f"column {self.name!r}: {n_unseen / n_present:.0%} of the values {UNSEEN}, such as "
                f"{short_repr(new)}: write them as in the fit, such as {short_repr(known)}"
            )

    @property
    def table(self) -> NDArray[np.float32]:
        """Features, without target statistics, of every category, of missing values and of other values."""
        n_categories = len(self.categories)
        if self.is_flag:
            return np.array([[-1.0], [1.0], [0.0], [0.0]], np.float32)
        table = np.zeros((n_categories + 2, n_categories + self.has_other + self.has_missing), np.float32)
        np.fill_diagonal(table[:n_categories], 1)
        if self.has_other:
            table[OTHER, n_categories] = 1
        if self.has_missing:
            table[MISSING, n_categories + self.has_other] = 1
        return table

    def count_unseen(self, values: Sequence[object]) -> Counter[str]:
        """Return the values that did not occur in the fit, with the number of their rows."""
        known = set(self.known)
        return Counter(text for value in values if (text := to_text(value)) is not None and text not in known)

    def fit_statistics(self, values: Sequence[object], targets: Array, n_folds: int, seed: int) -> Array:
        """Set `statistics`, and return every row's statistics (n, S), computed without the row's fold.

        Each value has the target's mean among its rows, shrunk towards the mean of all rows (Micci-Barreca,
        2001), standardised over all rows. Statistics that included a row's own target would reveal the target
        in training and mislead the network afterwards: each row gets the statistics of the other folds.
        """
        codes = encode_categories(values, self.known).astype(np.float64)[:, None]
        keys = np.array([*range(len(self.known)), MISSING, OTHER], np.float64)[:, None]
        n_classes = 0 if targets.dtype.kind == "f" else int(targets.max()) + 1
        # StratifiedKFold warns of a class with fewer rows than folds, and refuses targets without any other.
        is_stratified = n_classes > 0 and np.bincount(targets).min() >= n_folds
        folds = (StratifiedKFold if is_stratified else KFold)(n_folds, shuffle=True, random_state=seed)
        whole = _shrink_means(codes, targets, n_classes, keys)
        own = whole[codes[:, 0].astype(np.int64)]  # MISSING is the row before the last
        center, scale = own.mean(axis=0), own.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        self.statistics = (whole - center) / scale
        cross_fitted = np.empty((codes.shape[0], whole.shape[1]))
        for others, fold in folds.split(codes, targets):
            means = _shrink_means(codes[others], targets[others], n_classes, codes[fold])
            cross_fitted[fold] = (means - center) / scale
        return cross_fitted


@dataclass
class WordsEncoding(Encoding):
    """Text by its words, each of which is hashed to one of `n_features` features and a sign."""

    name: str  # name of the column
    n_features: int  # number of features

    def __post_init__(self) -> None:
        if not 1 <= check_count(self.n_features, "n_features") <= MAX_HASHES:
            raise ValueError(f"the words of {self.name!r} are hashed to {self.n_features} numbers")

    @staticmethod
    def is_suitable(values: Sequence[object]) -> bool:
        """Return True if most texts of a column are distinct and have several words."""
        texts = [value for value in values if isinstance(value, str)]
        if len(set(texts)) < _MOSTLY_DISTINCT * max(1, len(texts)):
            return False
        return sum(len(_WORDS.findall(text)) for text in texts[:1000]) >= 2 * min(1000, len(texts))

    @property
    def features(self) -> list[str]:
        return [f"{self.name}_hash{k}" for k in range(self.n_features)]

    @property
    def treatment(self) -> str:
        return f"words hashed to {self.n_features} numbers"

    def prepare(self, values: Sequence[object]) -> Write:
        """Return the function that writes the features of rows, scaled to rows of length 1."""
        hasher = FeatureHasher(self.n_features, input_type="string")

        def write(rows: slice, out: Array, first: int) -> None:
            words = [_WORDS.findall((to_text(value) or "").lower()) for value in values[rows]]
            hashed = hasher.transform(words).toarray()
            length = np.linalg.norm(hashed, axis=1, keepdims=True)
            out[:, first : first + self.n_features] = hashed / np.maximum(length, 1.0)

        return write


def to_text(value: object) -> str | None:
    """Return the text of a category, for integers without decimal point; None for a missing value."""
    if isinstance(value, str):
        return value
    if is_missing(value):
        return None
    if isinstance(value, float | np.floating) and value.is_integer():
        value = int(value)
    return str(value)


def parse_numbers(values: Sequence[object]) -> NDArray[np.float64] | None:
    """Return a column of numbers, written as text, as floats, NaN for missing values; None for others.

    Values of a categorical type stay categories.
    """
    if isinstance(values, CodedValues) or any(_read_number(value) is None for value in values):
        return None
    return np.array([*map(_read_number, values)], np.float64)


def read_numbers(values: Sequence[object], name: str) -> NDArray[np.float64]:
    """Return a column that `parse_numbers` has read in a fit as floats, NaN for what is not a number.

    A warning names a column most of whose values are none.
    """
    found = [*map(_read_number, values)]
    others = [value for value, number in zip(values, found, strict=True) if number is None]
    if len(others) > MAX_UNSEEN_FRACTION * len(values):
        warn(
            f"column {name!r}: {len(others) / len(values):.0%} of the values are not numbers as in the fit, "
            f"such as {short_repr(others[0])}, and count as missing values: write them as numbers"
        )
    return np.array(found, np.float64)  # None becomes NaN


def _read_number(value: object) -> float | None:
    """Return a finite number, or the number of a text, as a float, NaN if missing; None for other values."""
    text = to_text(value)
    if text is None:
        return np.nan
    number = float(text) if _NUMBER.fullmatch(text) else np.inf
    return number if np.isfinite(number) else None


def encode_categories(values: Sequence[object], known: list[str]) -> NDArray[np.int64]:
    """Return the index in `known` of every value; `MISSING` and `OTHER` for a value without one."""
    if isinstance(values, CodedValues):
        return encode_categories([*values.categories, None], known)[values.codes]
    indices: dict[str | None, int] = {text: index for index, text in enumerate(known)}
    indices[None] = MISSING
    distinct = set(values)
    if all(isinstance(value, str) or is_missing(value) for value in distinct):
        codes = {value: indices.get(to_text(value), OTHER) for value in distinct}
        return np.fromiter(map(codes.__getitem__, values), np.int64, len(values))
    # Equal values may have different texts, as 1 and True, which a dict of the values would confuse.
    return np.fromiter((indices.get(to_text(value), OTHER) for value in values), np.int64, len(values))


def _shrink_means(codes: Array, targets: Array, n_classes: int, keys: Array) -> Array:
    """Return scikit-learn's shrunk means (m, S) of targets by code (n, 1), for the codes `keys` (m, 1).

    The targets (n,) are numbers, or indices of classes, some of which may not occur; `n_classes` is 0 for
    numbers. The means are means of the numbers, or fractions of the second of two classes, or of every class.
    """
    if n_classes > 2 and len(np.unique(targets)) == n_classes:
        return TargetEncoder(target_type="multiclass").fit(codes, targets).transform(keys)
    # The multiclass encoder computes the same for every class, faster, but leaves out classes without rows.
    columns = [targets == k for k in range(n_classes)] if n_classes > 2 else [targets]
    encoders = [TargetEncoder(target_type="continuous").fit(codes, y.astype(np.float64)) for y in columns]
    return np.hstack([encoder.transform(keys) for encoder in encoders])
