"""Common part of the tabular estimators: everything but the targets."""

from __future__ import annotations

import copy
import numbers
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer_names
from sklearn.utils import Bunch

from ..estimators.documentation import DocumentationLinkMixin
from ..saving.attributes import SavableAttributes
from ..saving.records import Reader, Writer
from ..system.imports import imported
from ..system.sizes import parse_size
from ..system.sklearn_internals import Interval, StrOptions
from ..system.threads import map_on_threads
from ..system.validation import check_count, check_flag
from .encoding.encoder import PreparedTable, TableEncoder
from .export import export_c, export_onnx
from .fits import fit_tabular
from .importances import measured_importances
from .presets import PRESETS, Preset
from .saved import check_fitted, describe_fitted, restore_fitted
from .summary import summarize

__all__ = ["Tabular"]

Array = NDArray[Any]

# Memory for rows of files unless the user gives a limit, and the least limit.
MEMORY_LIMIT, MIN_MEMORY = "1GiB", 64 << 20


class Tabular(DocumentationLinkMixin, SavableAttributes, BaseEstimator):
    """Base class of `TabularClassifier` and `TabularRegressor`.

    Public methods call the function that does their work. They stand here, except those that depend on
    targets (``estimators.py``), `save` (`SavableAttributes`) and `score` (scikit-learn). Encoded targets are
    class numbers, or standardised numbers; a head is all networks that make one of the estimator's
    predictions. A subclass has the methods

    - ``_checked_y(y, begins)``: return checked targets (n,); `begins` is False for validation data;
    - ``_begin(summary)``: set the attributes derived from the training targets, by the counts of classes or
      the `Moments` of numbers; return the weights of the classes (n_classes,), or None if all are 1;
    - ``_encoded_y(y)`` and ``_decoded_y(y)``: encode checked targets, and decode them;
    - ``_row_weights(y, weights)``: return the weights of rows, multiplied by those of their classes;
    - ``_members(settings, seeds)``: return the networks to fit, ``len(seeds)`` for each head;
    - ``_calibrate(scores, y, weights)``: calibrate on scores (heads, n, k) of rows that the networks were not
      trained on, given their encoded targets; set the out-of-fold predictions;
    - ``_score_held_out(weights)``: set the scores of these predictions, by the weights of their rows alone:
      as in scikit-learn, weights of classes concern training, and no score;
    - ``_losses(scores, y)``: return the losses (n,) for scores (n, k) of one network and encoded targets.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_estimators": [Interval(numbers.Integral, 1, None, closed="left"), None],
        "preset": [StrOptions(set(PRESETS))],
        "scoring": [StrOptions({*get_scorer_names(), "loss"}), callable, None],
        "time_limit": [Interval(numbers.Real, 0, None, closed="neither"), None],
        "n_jobs": [numbers.Integral, None],
        "random_state": ["random_state"],
    }
    # Class of the networks, and True for an estimator of classes.
    _MEMBER: ClassVar[type]
    _HAS_CLASSES: ClassVar[bool]
    _MEMBERS: ClassVar[tuple[str, ...]] = ("estimators_",)
    _REQUIRED: ClassVar[dict[str, tuple[type, ...]]] = dict.fromkeys(
        ("fit_seconds_", "fit_cpu_seconds_"), (float, int)
    )
    _SAVED: ClassVar[tuple[str, ...]] = ("_center", "_majority", "_quantiles", "_range", "_scale", "_shifts")
    # The encoder is an object of its own, and gives the names and records of the columns.
    _DESCRIBED: ClassVar[tuple[str, ...]] = (
        "columns_", "encoder_", "feature_names_in_", "n_features_in_", "oof_prediction_",
        "oof_quantiles_", "oof_rows_",
    )  # fmt: skip
    # True for copies that score encoded rows, such as a single network during its fit.
    _takes_encoded: bool = False

    classes_: Array  # of classifiers
    columns_: list[dict[str, Any]]
    encoder_: TableEncoder
    estimators_: list[Any]
    feature_names_in_: Array
    n_features_in_: int

    # --- fitting -----------------------------------------------------------------------------------

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None,
        progress: bool = False, *, columns: Any = None, memory_limit: Any = MEMORY_LIMIT,
        passes: int | None = None, checkpoint: Any = None, resume: Any = None,
    ) -> Any:  # fmt: skip
        """Encode the table, and fit the networks.

        Parameters
        ----------
        X : dataframe or array-like (n_samples, n_columns), or files
            Table of numbers, booleans, dates, categories and text, with missing values: pandas, Polars,
            PyArrow and other dataframes, or an array. Or Parquet files: a path, a list of paths, a folder,
            their URLs, or a ``pyarrow.dataset.Dataset``, which may be larger than memory (see Notes).
        y : array-like (n_samples,), or str
            Classes or numbers. For files, the name of their column.
        sample_weight : array-like (n_samples,), or str, optional
            Weights of the rows, not below 0. For files, the name of their column.
        X_val, y_val : dataframe or array-like, optional
            Validation data. By default every network sets aside a part of the rows of its own. They may also
            be files and the name of a column, which are read as a whole; if `X` names files too, the columns
            are found by name.
        progress : bool, default False
            Show a bar of the epochs of all networks, or of the rows of streamed files, by tqdm.
        columns : sequence of str, optional
            Columns of the files to predict from, by default all others than `y` and `sample_weight`.
        memory_limit : int or str, default "1GiB"
            Memory for the rows of files: bytes, or a size such as "512MiB" or "4GB". Files that would take
            more are streamed.
        passes : int, optional
            Largest number of epochs, passes over the rows, by default as the preset says. The default for
            streamed files is lower if more rows would be read than by the preset's epochs over a million
            rows.
        checkpoint : path or Checkpoint, optional
            File to which a fit to files is saved from time to time, and after Ctrl-C; an object `Checkpoint`
            says how often. With a checkpoint, files are always streamed.
        resume : path or Checkpoint, optional
            Checkpoint from which the fit is resumed, with the same arguments and files. If a `Checkpoint`
            object's file does not exist yet, the fit begins.

        Returns
        -------
        TabularClassifier or TabularRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            If the table, the targets, the weights or a parameter are invalid, or all targets are equal.
        FileNotFoundError
            If a file does not exist.
        ImportError
            If the files, or the file system of a URL, need a package that is missing.
        KeyboardInterrupt
            Within a fraction of a second after Ctrl-C. A streamed fit then leaves the estimator fitted with
            the best networks so far.

        Notes
        -----
        After any other error, and where an interrupted fit has no networks yet, the estimator is as it was
        before the call: an earlier fit is kept.

        Files are read and fitted as any table if reading, encoding and fitting them takes at most
        `memory_limit`. The estimate counts 8 bytes for each value, and 4 bytes for each feature, once and for
        every network. Other files are streamed: one pass checks them and keeps a random sample, to which the
        encoder is fitted, and validation rows, others for every network. Then buffers of rows from
        several row groups in a random order are filled by one thread while the networks are trained on
        another buffer. What is kept of the rows takes about `memory_limit`, beyond the memory of Python and
        its libraries. Where all rows of a kind lie together and row groups are few, shuffle the rows before
        writing the file.

        If ``joblib.parallel_config`` has chosen a backend with workers, every network of a streamed fit is a
        task that reads the files for itself, by the same names, within a `memory_limit` of its own.

        The result of a streamed fit depends on the files, the arguments and `random_state` alone, and a fit
        that was resumed equals one that was not interrupted, bit for bit. The networks are validated as often
        as in a fit in memory, at equal distances. `columns_` counts the missing values of all rows; other
        figures of the columns are those of the sample.
        """
        self._validate_params()
        check_flag(progress, "progress")
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val go together: pass both, or neither")
        if passes is not None:
            passes = check_count(passes, "passes", 1)
        limit = parse_size(memory_limit, "memory_limit", MIN_MEMORY)
        before = self.__dict__.copy()
        for name in ("estimators_", "fit_cpu_seconds_", "_stream"):
            self.__dict__.pop(name, None)
        try:
            fit_tabular(
                self, X, y, sample_weight, X_val, y_val, progress, columns, limit, passes, checkpoint, resume
            )
        except BaseException:
            # A fit sets its processor time last: a streamed fit does so after Ctrl-C too.
            if "fit_cpu_seconds_" not in self.__dict__:
                self.__dict__ = before
            raise
        return self

    def _preset(self) -> Preset:
        return PRESETS[self.preset]

    def _n_networks(self, preset: Preset) -> int:
        """Return the number of networks of each head."""
        return preset.n_estimators if self.n_estimators is None else int(self.n_estimators)

    def _adopt_columns(self) -> None:
        """Copy the attributes of the columns from the encoder."""
        self.n_features_in_ = self.encoder_.n_features_in_
        self.__dict__.pop("feature_names_in_", None)
        if hasattr(self.encoder_, "feature_names_in_"):
            self.feature_names_in_ = self.encoder_.feature_names_in_
        self.columns_ = self.encoder_.columns_

    # --- predicting --------------------------------------------------------------------------------

    def _heads(self) -> list[list[Any]]:
        """Return the networks of every prediction: one list for each head."""
        return [self.estimators_]

    def _n_scores(self) -> int:
        """Return the number of outputs of a network."""
        n_classes = len(self.classes_) if self._HAS_CLASSES else 1
        return 1 if n_classes == 2 else n_classes

    def _member_scores(self, member: Any, Z: Array) -> Array:
        """Return the scores (n, n_scores) of encoded rows by one network, as they are averaged."""
        return member._outputs(Z, "identity")

    def _prepared(self, X: Any) -> PreparedTable:
        """Return a table whose rows can be encoded in blocks, after the fit of the encoder."""
        try:
            return self.encoder_._prepared(X)
        except ValueError as error:
            # scikit-learn's messages name the estimator that the user called.
            raise ValueError(str(error).replace("TableEncoder", type(self).__name__)) from None

    def _scores(self, X: Any, members: Sequence[Any]) -> list[Array]:
        """Return the scores (n, n_scores) of the rows by each of the networks.

        Threads take blocks of rows: encoded rows go to all networks while they are in the processor's cache,
        and no array ever holds the whole encoded table.
        """
        if self._takes_encoded:
            return [self._member_scores(member, X) for member in members]
        table = self._prepared(X)
        scores = [np.empty((table.n_rows, self._n_scores()), np.float32) for _ in members]

        def compute(rows: slice) -> None:
            Z = np.empty((rows.stop - rows.start, table.n_features), np.float32)
            table.encode(rows, Z)
            for member, out in zip(members, scores, strict=True):
                out[rows] = self._member_scores(member, Z)

        map_on_threads(compute, table.blocks())
        return scores

    def _shadow(self) -> Any:
        """Return a shallow copy that predicts encoded rows."""
        shadow = copy.copy(self)
        shadow._takes_encoded = True
        return shadow

    # --- reports -----------------------------------------------------------------------------------

    def summary(self) -> str:
        """Describe the fit: what became of every column, the networks, scores and seconds.

        Returns
        -------
        str
            Text of several lines.
        """
        return summarize(self)

    def feature_importances(
        self, X: Any, y: Any, *, n_repeats: int = 5, scoring: Any = None, random_state: Any = None
    ) -> Bunch:
        """Measure how much the score falls when the values of a column are shuffled.

        Parameters
        ----------
        X : dataframe or array-like (n_samples, n_columns)
            Rows, preferably not those of the fit.
        y : array-like (n_samples,)
            Targets of the rows.
        n_repeats : int, default 5
            Number of orders in which each column is shuffled.
        scoring : str or callable, optional
            Scorer; by default the estimator's `score`.
        random_state : None, int or RandomState, default None
            Generator of the orders.

        Returns
        -------
        Bunch
            Result in the form of scikit-learn's `permutation_importance`: `importances` (n_columns,
            n_repeats), `importances_mean` and `importances_std` (n_columns,); also `names`, of the columns.

        Raises
        ------
        ValueError
            If `n_repeats` is below 1 or the data are invalid.
        """
        return measured_importances(self, X, y, n_repeats, scoring, random_state)

    def plot_importances(self, X: Any = None, y: Any = None, *, n_columns: int = 20, ax: Any = None) -> Any:
        """Draw the importances of the columns: `fastnn.plot_importances` of this estimator.

        Parameters
        ----------
        X, y, n_columns, ax
            Arguments of `fastnn.plot_importances`.

        Returns
        -------
        matplotlib Axes
            Axes with the bars.
        """
        return imported("fastnn.tables.plotting").plot_importances(self, X, y, n_columns=n_columns, ax=ax)

    # --- exports and files -------------------------------------------------------------------------

    def to_onnx(self, path: Any = None, *, dtype: Any = None, drop: Any = ()) -> Any:
        """Export the estimator with its preprocessing to ONNX.

        The graph has an input (N, 1) for every column that is not left out, under the column's name:

        - numbers in float64, NaN for missing values; booleans as numbers 0 and 1, durations as days;
        - dates in int64, as microseconds since 1970, the smallest int64 for missing values, as in
          ``values.astype("datetime64[us]").astype("int64")``; those with a time zone in their local time;
        - categories as text, the empty text for missing values. Numbers among them are written as Python
          does, integers without decimal point.

        A classifier has the outputs "label" and "probabilities", a regressor "variable" (N, 1), and
        "quantiles" (N, n_quantiles) if it has quantiles. An output with the name of a column gets a name
        with "_" appended.

        Parameters
        ----------
        path : str or path, optional
            Name of the file that is written. By default none is written.
        dtype : {numpy.float32, numpy.float64}, optional
            Data type in which the networks compute, and that of the probabilities; by default float32.
            Numbers are predicted in float64.
        drop : sequence of str, optional
            Names of columns without an input: their values count as missing in every row. Columns of text
            that is hashed word by word, which ONNX cannot express, have to be dropped.

        Returns
        -------
        onnx.ModelProto
            Model in ONNX, opset 13 and opset 2 of ai.onnx.ml, checked by ONNX's checker. Its metadata:

            - "fastnn.version";
            - "columns", in JSON like all that follow: a list of the inputs, with their kinds and their
              categories or ranges in the fit;
            - "dropped", the columns that have no input;
            - "target", the name of y;
            - "classes", or "range" and "quantiles".

        Raises
        ------
        ImportError
            If the package onnx is not installed; the message says how to install it.
        ValueError
            If a column cannot be expressed: its texts are hashed word by word, the empty text is one of its
            categories, or its name is empty or occurs twice. Also if `drop` names no column, or all; if the
            classes have no type in ONNX; or if the file's name or folder is unusable.

        Examples
        --------
        >>> import fastnn
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> classifier = fastnn.TabularClassifier(preset="fast", random_state=0).fit(X, y)
        >>> model = classifier.to_onnx("iris.onnx")  # doctest: +SKIP
        """
        return export_onnx(self, path, dtype, drop)

    def to_c(
        self, path: Any = None, dtype: str = "float32", *, X: Any = None, name: str | None = None
    ) -> str:
        """Export an estimator of a table of numbers to C99, as one header that also compiles as C++.

        A sample x has a number for every column that is not left out, which the header's first comment lists:
        NaN for a missing value, 0 and 1 for booleans. Columns are encoded in the header's dtype. A regressor
        predicts a number; quantiles are not exported.

        Parameters
        ----------
        path : str or path, optional
            Name of the file that is written, such as ``"net.h"``. By default none is written.
        dtype : {"float32", "float64"}, default "float32"
            Data type of the computation.
        X : dataframe or array-like (n_samples, n_columns), optional
            Table with the columns of the fit: the self-test uses three of its rows. By default it draws
            samples.
        name : str, optional
            Prefix of all names; by default derived from the file's name, "net" without a file.

        Returns
        -------
        str
            Text of the header.

        Raises
        ------
        ValueError
            If a column holds dates, categories or text, `dtype` is "int8", which cannot express a mean of
            networks, or for the reasons of ``MLPClassifier.to_c``.

        Examples
        --------
        >>> import fastnn
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> classifier = fastnn.TabularClassifier(preset="fast", random_state=0).fit(X, y)
        >>> "static inline int iris_predict(const float *x)" in classifier.to_c(name="iris")
        True
        """
        return export_c(self, path, dtype, X, name)

    def _file_description(self, writer: Writer) -> dict[str, Any]:
        return describe_fitted(self, super()._file_description(writer), writer)

    def _restore_described(self, description: dict[str, Any], reader: Reader) -> None:
        restore_fitted(self, description, reader)

    def _check_restored(self) -> None:
        check_fitted(self)

    def _members_resume(self) -> bool:
        """Return True for a checkpoint of a streamed fit."""
        return "_stream" in self.__dict__

    # --- scikit-learn ------------------------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return "estimators_" in self.__dict__

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags
