"""TableEncoder: a table of numbers, booleans, dates, categories and text as one array of float32."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags, check_random_state
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from ...estimators.targets import as_column
from ...system.frames import Table, as_table, find_kind, is_missing, read_objects
from ...system.sklearn_internals import Interval, StrOptions, check_feature_names, fit_context
from ...system.validation import Array
from .categories import MAX_HASHES, CategoryEncoding, WordsEncoding, parse_numbers, read_numbers, to_text
from .columns import DateEncoding, Dropped, Encoding, FlagEncoding, NumberEncoding, Write, count_features
from .transformers import SavableTransformer

if TYPE_CHECKING:
    from ...system.frames import TableLike

# Usual numbers of intervals of a number, and of categories with a feature of their own.
N_BINS, MAX_CATEGORIES = 16, 32
# Number of folds of the target statistics.
N_FOLDS = 5
# Number of rows that are encoded at once: their features stay in the processor's cache.
BLOCK = 2048


@dataclass(frozen=True)
class PreparedTable:
    """Table whose rows can be encoded in blocks, by several threads at once."""

    # Numbers of rows and of features.
    n_rows: int
    n_features: int
    # For every column the function that writes its features, and its first feature.
    columns: list[tuple[Write, int]]

    def split_rows(self) -> list[slice]:
        """Return the rows of all blocks."""
        return [slice(first, min(first + BLOCK, self.n_rows)) for first in range(0, self.n_rows, BLOCK)]

    def encode(self, rows: slice, out: Array) -> None:
        """Write the features of a block of rows into `out` (n, n_features), C-contiguous float32."""
        for write, first in self.columns:
            write(rows, out, first)

    def encode_all(self) -> Array:
        """Return the features (n_rows, n_features) of all rows."""
        out = np.empty((self.n_rows, self.n_features), np.float32)
        for rows in self.split_rows():
            self.encode(rows, out[rows])
        return out


class ColumnRecord(TypedDict):
    """Record of a column in `columns_` of encoders and estimators."""

    name: str
    kind: str
    values: int  # number of distinct values
    missing: int  # number of missing values
    treatment: str  # what becomes of the column, in words
    features: int  # number of features


class TableEncoder(SavableTransformer):
    """Encode a table of any kinds of columns as an array of float32 for a network.

    Dataframes of any library, and arrays, are taken as they are, with missing values. Numbers become
    positions between their quantiles and a smoothly scaled value; booleans -1 and +1; categories one feature
    for each frequent value; dates elapsed days and parts. Columns without information are left out. A column
    of more than `max_categories` numbers written as text holds numbers, unless some begin with 0, such as 01,
    or its data type is categorical.

    Parameters
    ----------
    numbers : {"both", "piecewise", "smooth"}, default "both"
        Features of numbers and dates: positions as by `PiecewiseLinearEncoder`, the value as scaled by
        `SmoothRobustScaler`, or both.
    n_bins : int, default 16
        Largest number of intervals of a number, at least 1.
    min_frequency : int, default 5
        Least number of rows of a category with a feature of its own; rarer categories share a feature.
    max_categories : int, default 32
        Largest number of categories with features of their own; the others share a feature.
    text : {"target", "hash", "rare"}, default "target"
        Treatment of columns of more than `max_categories` values. "target": texts that mostly differ and have
        several words are hashed word by word; other columns also get the mean of the target by value, if y is
        given. "hash": all these columns are hashed word by word. "rare": nothing is added.
    n_hashes : int, default 32
        Number of features of hashed words.
    random_state : None, int or RandomState, default None
        Generator of the folds of the target statistics.

    Attributes
    ----------
    columns_ : list of dict
        A record of every column: "name", "kind", numbers of distinct "values", "missing" values and
        "features", and the "treatment" in words.
    encodings_ : list
        Fitted encoding of every column, a dataclass of numbers, text, lists and arrays.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : array (n_features_in_,)
        Names of the columns, where the table has names and all of them are text.

    Notes
    -----
    With target statistics, ``fit_transform(X, y)`` differs from ``fit(X, y).transform(X)``: the former
    computes the statistics of a row from other rows (cross-fitting), as training requires. The statistics
    are the shrunk means of scikit-learn's `TargetEncoder`.

    Examples
    --------
    >>> import fastnn
    >>> rows = [[1.5, "a", True], [None, "b", False], [2.5, "a", None], [4.0, "c", True]]
    >>> encoder = fastnn.TableEncoder(numbers="smooth", min_frequency=1).fit(rows)
    >>> encoder.get_feature_names_out().tolist()
    ['x0', 'x0_missing', 'x1_a', 'x1_b', 'x1_c', 'x2']
    >>> encoder.transform([[2.5, "b", True], [None, "d", True]]).tolist()
    [[0.0, 0.0, 0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0, 0.0, 1.0]]
    """

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        "numbers": [StrOptions({"both", "piecewise", "smooth"})],
        "n_bins": [Interval(numbers.Integral, 1, None, closed="left")],
        "min_frequency": [Interval(numbers.Integral, 1, None, closed="left")],
        "max_categories": [Interval(numbers.Integral, 1, None, closed="left")],
        "text": [StrOptions({"target", "hash", "rare"})],
        "n_hashes": [Interval(numbers.Integral, 1, MAX_HASHES, closed="both")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        numbers="both",
        n_bins=N_BINS,
        min_frequency=5,
        max_categories=MAX_CATEGORIES,
        text="target",
        n_hashes=32,
        random_state=None,
    ):
        self._store_arguments(locals())

    def fit(self, X: TableLike, y: ArrayLike | None = None) -> TableEncoder:
        """Choose the encoding of every column.

        Parameters
        ----------
        X : dataframe or array-like (n_samples, n_columns)
            Table.
        y : array-like (n_samples,), optional
            Classes or numbers, for target statistics.

        Returns
        -------
        TableEncoder
            The transformer itself.

        Raises
        ------
        ValueError
            If X is empty, is not two-dimensional or holds infinity, or if y does not match.
        """
        self._fit(X, y)
        return self

    def fit_transform(self, X: TableLike, y: ArrayLike | None = None) -> Array:
        """Choose the encoding of every column, and encode the rows for training.

        Parameters
        ----------
        X : dataframe or array-like (n_samples, n_columns)
            Table.
        y : array-like (n_samples,), optional
            Classes or numbers, for target statistics. The statistics of a row are computed from other rows.

        Returns
        -------
        array (n_samples, n_features) of float32
            Features.
        """
        table, cross_fitted = self._fit(X, y)
        out = self._prepare_columns(table).encode_all()
        for k, statistics in cross_fitted.items():
            end = self._ends[k]
            out[:, end - statistics.shape[1] : end] = statistics
        return out

    def transform(self, X: TableLike) -> Array:
        """Encode rows.

        Parameters
        ----------
        X : dataframe or array-like (n_samples, n_columns)
            Table with the columns of the fit.

        Returns
        -------
        array (n_samples, n_features) of float32
            Features, never NaN.

        Raises
        ------
        ValueError
            If the columns differ from the fit's, or a column that held numbers, booleans or dates in the
            fit holds something else.

        Warns
        -----
        UserWarning
            If more than half of the values of a column of categories did not occur in the fit.
        """
        return self._prepare(X, self).encode_all()

    def _prepare(self, X: TableLike, estimator: Any) -> PreparedTable:
        """Return a table whose rows can be encoded in blocks; check the columns as `transform` does.

        Messages name the class of `estimator`, whose method the user called.
        """
        check_is_fitted(self)
        table = as_table(X)
        validate_data(estimator, X, reset=False, skip_check_array=True)
        return self._prepare_columns(table, is_new=True)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Array:
        """Return the names of the features.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the columns; must equal the names in the fit.

        Returns
        -------
        array (n_features,) of object
            Names, which begin with the name of the column. A name that another feature has gets "_" appended.
        """
        check_is_fitted(self)
        check_feature_names(self, input_features)
        names: dict[str, None] = {}
        for encoding in self.encodings_:
            for name in encoding.features:
                while name in names:
                    name += "_"
                names[name] = None
        return np.array([*names], object)

    @fit_context(prefer_skip_nested_validation=True)
    def _fit(self, X: TableLike, y: ArrayLike | None) -> tuple[Table, dict[int, Array]]:
        """Fit the encodings; return the table, and the cross-fitted target statistics by column."""
        table = as_table(X)
        targets = None if y is None else _check_targets(y, table.n_rows)
        validate_data(self, X, skip_check_array=True)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.encodings_: list[Encoding] = []
        self.columns_, self._kinds = [], []
        cross_fitted: dict[int, Array] = {}
        for k, (name, kind, values) in enumerate(zip(table.names, table.kinds, table.columns, strict=True)):
            numbers = parse_numbers(values) if kind == "category" else None
            is_text = numbers is not None and len(np.unique(numbers)) > self.max_categories
            if is_text:
                kind, values = table.kinds[k], table.columns[k] = "number", numbers
            encoding = self._choose_encoding(name, kind, values)
            if (
                isinstance(encoding, CategoryEncoding)
                and targets is not None
                and self.text == "target"
                and len(encoding.known) + encoding.has_missing > self.max_categories
            ):
                cross_fitted[k] = encoding.fit_statistics(values, targets, N_FOLDS, seed)
            self.encodings_.append(encoding)
            self._kinds.append("text" if is_text else kind)
            self.columns_.append(_make_record(encoding, kind, values))
            if is_text:
                self.columns_[k]["treatment"] += ", read from text"
        self._count_features()
        if not self._ends[-1]:
            reasons = ", ".join(f"{one.name!r} ({one.treatment})" for one in self.encodings_)
            raise ValueError(f"no column of X tells the rows apart, n_samples={table.n_rows}: {reasons}")
        return table, cross_fitted

    def _count_features(self) -> None:
        """Set `_ends`: the index after the last feature of every column."""
        self._ends = np.cumsum([count_features(encoding) for encoding in self.encodings_]).tolist()

    @property
    def _widths(self) -> NDArray[np.int64]:
        return np.diff([0, *self._ends])

    def _choose_encoding(self, name: str, kind: str, values: Any) -> Encoding:
        numbers, n_bins = str(self.numbers), int(self.n_bins)
        if kind == "number":
            return NumberEncoding.fit(name, values, numbers, n_bins)
        if kind == "date":
            return DateEncoding.fit(name, values, numbers, n_bins)
        if kind == "boolean":
            present = values[~np.isnan(values)]
            if present.size and present.min() < present.max():
                return FlagEncoding(name, 1.0, name)
            return NumberEncoding.fit(name, values, "smooth", 1)
        distinct = len(set(map(to_text, values)))
        if distinct > self.max_categories and self.text != "rare":
            if self.text == "hash" or WordsEncoding.is_suitable(values):
                return WordsEncoding(name, int(self.n_hashes))
            if distinct == len(values):
                return Dropped(name, "every row has another value")
        # In a table of few rows, all categories are rare.
        least = min(int(self.min_frequency), max(1, len(values) // 20))
        return CategoryEncoding.fit(name, values, least, int(self.max_categories))

    def _prepare_columns(self, table: Table, is_new: bool = False) -> PreparedTable:
        """Return a table whose rows can be encoded in blocks; warn of unseen values if it is new."""
        columns = []
        for k, (encoding, end) in enumerate(zip(self.encodings_, self._ends, strict=True)):
            if not isinstance(encoding, Dropped):
                values = _convert_kind(table, k, self._kinds[k])
                if isinstance(encoding, CategoryEncoding):
                    write = encoding.prepare(values, warns=is_new)
                else:
                    write = encoding.prepare(values)
                columns.append((write, end - count_features(encoding)))
        return PreparedTable(table.n_rows, self._ends[-1], columns)

    # --- files -------------------------------------------------------------------------------------

    _SAVED: ClassVar = {"_kinds": list[str], "columns_": list[ColumnRecord], "encodings_": list}
    _PER_FEATURE = ("_kinds", "columns_", "encodings_")

    def _check_state(self) -> None:
        super()._check_state()
        if "encodings_" in self.__dict__:
            self._count_features()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _check_targets(y: ArrayLike, n_rows: int) -> Array:
    """Return numbers as floats, and classes as their indices."""
    targets = as_column(y)
    check_consistent_length(targets, np.empty(n_rows))
    with np.errstate(invalid="ignore"):  # scikit-learn casts the numbers to integers
        kind = type_of_target(targets)
    if kind.startswith("continuous") or (targets.dtype.kind == "f" and len(np.unique(targets)) > N_FOLDS):
        return targets.astype(np.float64)
    try:
        return np.unique(targets, return_inverse=True)[1]
    except TypeError as error:
        raise ValueError(
            f"y holds classes that cannot be compared ({error}): write them all as text or all as numbers, "
            "and leave out rows without a class"
        ) from None


def _convert_kind(table: Table, k: int, kind: str) -> Any:
    """Return a column's values in the kind of the fit; raise ValueError if they are of another kind."""
    values, present = table.columns[k], table.kinds[k]
    if kind == "text":  # of numbers
        if present == "category":
            return read_numbers(values, table.names[k])
        kind = "number"
    # pandas' categorical type may hold values of the kind of the fit.
    if present == "category" and kind != "category":
        present, values = read_objects([*values], table.names[k])
    if present == kind or (present, kind) == ("boolean", "number"):
        return values
    if kind == "category":
        if present == "boolean":  # the fit saw booleans among others, as "True" and "False"
            return [None if np.isnan(value) else bool(value) for value in values]
        return values.tolist()
    if (present, kind) == ("number", "boolean"):
        is_wrong, read = ~(np.isnan(values) | np.isin(values, (0, 1))), values
    else:  # only missing values have no kind
        is_wrong = np.array([not is_missing(one) and find_kind(type(one)) != kind for one in values])
        read = np.full(table.n_rows, np.datetime64("NaT", "us") if kind == "date" else np.nan)
    if is_wrong.any():
        row = int(is_wrong.argmax())
        value = values[row].item() if isinstance(values[row], np.generic) else values[row]
        raise ValueError(
            f"column {table.names[k]!r} held {kind}s in the fit, but now holds {value!r} in row {row}: "
            "convert the column"
        )
    return read


def _make_record(encoding: Encoding, kind: str, values: Any) -> ColumnRecord:
    if not isinstance(values, np.ndarray):
        n_missing = sum(map(is_missing, values))
        distinct = len({value for value in values if not is_missing(value)})
    else:
        missing = np.isnat(values) if values.dtype.kind == "M" else np.isnan(values)
        n_missing, distinct = int(missing.sum()), len(np.unique(values[~missing]))
    return {
        "name": encoding.name,
        "kind": kind,
        "values": distinct,
        "missing": n_missing,
        "treatment": encoding.treatment,
        "features": count_features(encoding),
    }
