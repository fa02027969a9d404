"""Common part of the tabular estimators: everything but the targets."""

from __future__ import annotations

import copy
import numbers
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from sklearn.base import BaseEstimator
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.utils import Bunch, Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from ..estimators.base import BaseMLP
from ..saving.attributes import SavableAttributes
from ..system.messages import format_error, format_range
from ..system.sklearn_internals import Interval, StrOptions
from ..system.threads import map_on_threads
from ..system.validation import Array, check_count
from .encoding.encoder import PreparedTable, TableEncoder
from .export import export_onnx
from .fits import TableFitOptions, fit_tabular
from .importances import shuffle_columns
from .members import find_last_best
from .presets import PRESETS

if TYPE_CHECKING:
    from onnx import ModelProto

    from ..system.frames import TableLike
    from .members import Member
    from .parquet import Files

# Attributes with a value for every out-of-fold prediction.
_HELD_OUT = ("oof_prediction_", "oof_quantiles_", "oof_rows_", "_oof_targets")


class Tabular(SavableAttributes, BaseEstimator):
    """Base class of `TabularClassifier` and `TabularRegressor`.

    Fits and exports are functions of other files. Methods that depend on targets stand in
    ``estimators.py``, `save` in `SavableAttributes`, and `score` in scikit-learn. Encoded targets are
    class numbers, or standardised numbers; a head is all networks that make one of the estimator's
    predictions. A subclass has the methods

    - ``_check_y(y, begins)``: return checked targets (n,); `begins` is False for validation data;
    - ``_begin(y, weights)``: set the attributes derived from the checked training targets and their weights;
    - ``_encode_y(y)`` and ``_decode_y(y)``: encode checked targets, and decode them;
    - ``_weigh_rows(y, weights)``: return the weights of rows times the weights of their classes;
    - ``_make_members(settings, seeds)``: return the networks to fit, ``len(seeds)`` for each head;
    - ``_calibrate(scores, y, weights)``: calibrate on scores (heads, n, k) of rows that the networks were not
      trained on, given their encoded targets; set the out-of-fold predictions;
    - ``_score_held_out(weights)``: set the scores of these predictions, by the weights of their rows alone:
      as in scikit-learn, weights of classes concern training, and no score;
    - ``_compute_losses(scores, y)``: return the losses (n,) of a network's scores (n, k) for encoded targets.
    """

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        "n_estimators": [Interval(numbers.Integral, 1, None, closed="left"), None],
        "preset": [StrOptions(set(PRESETS))],
        "scoring": [StrOptions({*get_scorer_names(), "loss"}), callable, None],
        "time_limit": [Interval(numbers.Real, 0, None, closed="neither"), None],
        "n_jobs": [numbers.Integral, None],
        "random_state": ["random_state"],
    }
    _HAS_CLASSES: ClassVar[bool]  # True for an estimator of classes
    _SAVED: ClassVar = {
        "_oof_targets": np.ndarray,
        "encoder_": TableEncoder,
        "estimators_": list[BaseMLP],
        "fit_cpu_seconds_": float,
        "fit_seconds_": float,
        "groups_name_": str | None,
        "importances_": np.ndarray,
        "oof_prediction_": np.ndarray,
        "oof_rows_": np.ndarray,
        "reading_": dict[str, object],
        "target_name_": str | None,
    }
    # True for copies that score encoded rows, such as a single network during its fit.
    _takes_encoded: bool = False

    classes_: Array  # of classifiers
    encoder_: TableEncoder
    estimators_: list[Member]
    reading_: dict[str, object]  # how ``fastnn train`` has read a CSV file: `ReadOptions.to_record`

    # --- fitting -----------------------------------------------------------------------------------

    def fit(
        self,
        X: TableLike | Files,
        y: ArrayLike | str,
        sample_weight: ArrayLike | str | None = None,
        X_val: TableLike | Files | None = None,
        y_val: ArrayLike | str | None = None,
        progress: bool = False,
        *,
        passes: int | None = None,
        groups: ArrayLike | str | None = None,
        columns: Iterable[str] | None = None,
        rows: int | None = None,
        memory_limit: int | str | None = None,
    ) -> Self:
        """Encode the table, and fit the networks.

        Parameters
        ----------
        X : dataframe or array-like (n_samples, n_columns), or files
            Table of numbers, booleans, dates, categories and text, with missing values: any dataframe, or an
            array. Or Parquet files: a path, a list of paths, a folder, their URLs, or a
            ``pyarrow.dataset.Dataset``.
        y : array-like (n_samples,), or str
            Classes or numbers. For files, the name of their column.
        sample_weight : array-like (n_samples,), or str, optional
            Weights of the rows, not below 0. For files, the name of their column.
        X_val, y_val : dataframe or array-like, or files and str, optional
            Validation data; files are read as a whole. By default every network sets aside a part of the rows
            of its own.
        progress : bool, default False
            Show a bar of the epochs of all networks, by tqdm.
        passes : int, optional
            Largest number of epochs, passes over the rows, by default as the preset says.
        groups : array-like (n_samples,), or str, optional
            Groups of rows that belong together, such as all rows of one patient, by any names. A network is
            validated on whole groups, so out-of-fold predictions are for new groups. For files, the name
            of their column. With `X_val` they have no effect.
        columns : sequence of str, optional
            Columns of the files to predict from, by default all others than `y`, `sample_weight` and
            `groups`. No others are read.
        rows : int, optional
            Number of random rows of the files to read; by default, and where there are fewer, all rows.
        memory_limit : int or str, optional
            Memory for a fit to files: bytes, or a size such as "512MiB" or "4GB"; by default the memory that
            is free. A fit takes about 8 bytes for each value, and 4 bytes for each feature, twice and once
            for every network that is fitted at the same time.

        Returns
        -------
        TabularClassifier or TabularRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            If the table, the targets, the weights or a parameter are invalid, all targets are equal, or files
            take more memory than allowed.
        FileNotFoundError
            If a file does not exist.
        ImportError
            If the files, or the file system of a URL, need a package that is missing.
        KeyboardInterrupt
            Within a fraction of a second after Ctrl-C.

        Notes
        -----
        After an error, the estimator is as it was before the call: an earlier fit is kept.
        """
        self._validate_params()
        options = TableFitOptions(
            X, y, sample_weight, groups, X_val, y_val, progress, passes, columns, rows, memory_limit
        )
        before = self.__dict__.copy()
        try:
            fit_tabular(self, options)
        except BaseException:
            self.__dict__ = before
            raise
        return self

    n_features_in_ = property(attrgetter("encoder_.n_features_in_"), doc="Number of columns.")
    feature_names_in_ = property(
        attrgetter("encoder_.feature_names_in_"), doc="Names of the columns, if any."
    )
    columns_ = property(attrgetter("encoder_.columns_"), doc="Records of the columns.")

    def _weigh_rows(self, y: Array, weights: Array) -> Array:
        return weights

    # --- predicting --------------------------------------------------------------------------------

    def _list_heads(self) -> list[list[Member]]:
        """Return the networks of every prediction: one list for each head."""
        return [self.estimators_]

    def _count_scores(self) -> int:
        n_classes = len(self.classes_) if self._HAS_CLASSES else 1
        return 1 if n_classes == 2 else n_classes

    def _score_rows_by(self, member: Member, Z: Array) -> Array:
        """Return the scores (n, n_scores) of encoded rows by one network, as they are averaged."""
        return member._compute_outputs(Z, "identity")

    def _prepare(self, X: TableLike) -> PreparedTable:
        return self.encoder_._prepare(X, self)

    def _compute_scores(self, X: TableLike, members: Sequence[Member]) -> list[Array]:
        """Return the scores (n, n_scores) of the rows by each of the networks.

        Threads take blocks of rows: encoded rows go to all networks while they are in the processor's cache,
        and no array ever holds the whole encoded table.
        """
        if self._takes_encoded:
            return [self._score_rows_by(member, np.asarray(X)) for member in members]
        table = self._prepare(X)
        scores = [np.empty((table.n_rows, self._count_scores()), np.float32) for _ in members]

        def compute(rows: slice) -> None:
            Z = np.empty((rows.stop - rows.start, table.n_features), np.float32)
            table.encode(rows, Z)
            for member, out in zip(members, scores, strict=True):
                out[rows] = self._score_rows_by(member, Z)

        map_on_threads(compute, table.split_rows())
        return scores

    def _make_shadow(self) -> Self:
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
        check_is_fitted(self)
        head = ("column", "kind", "values", "missing", "treatment")
        rows = [head, *([*map(str, record.values())][: len(head)] for record in self.columns_)]
        widths = [max(len(row[k]) for row in rows) for k in range(len(head) - 1)]
        lines = [
            "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
            for row in rows
        ]
        network = self.estimators_[0].model_
        passes = [member.n_iter_ for member in self.estimators_]
        curves = [getattr(member, "validation_scores_", None) for member in self.estimators_]
        kept = [1 + find_last_best(scores) for scores in curves if scores]  # files may lack the curves
        lines += [
            "",
            f"networks  {len(passes)} of layers {list(network.layers_dim)}, preset {self.preset!r}",
            f"epochs    {format_range(passes)}" + (f" (best: {format_range(kept)})" if kept else ""),
        ]
        if self._HAS_CLASSES:
            accuracy, majority = self.oof_accuracy_, self._majority
            loss, temperature = format_error(self.oof_log_loss_), self.temperature_
            lines += [
                f"accuracy  {accuracy:.4f} out of fold; always the same class: {majority:.4f}",
                f"log-loss  {loss} out of fold, temperature {temperature:.2f}",
            ]
        else:
            lines += [
                f"RMSE      {self.oof_rmse_:.6g} out of fold; always the mean: {self._scale:.6g}",
                f"R2        {self.oof_r2_:.4f} out of fold",
            ]
        lines.append(f"time      {self.fit_seconds_:.1f} s (CPU time: {self.fit_cpu_seconds_:.1f} s)")
        return "\n".join(lines)

    def feature_importances(
        self,
        X: TableLike,
        y: ArrayLike,
        *,
        n_repeats: int = 5,
        scoring: str | Callable[..., float] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> Bunch:
        """Measure how much the score falls when the values of a column are shuffled.

        Parameters
        ----------
        X : dataframe or array-like (n_samples, n_columns)
            Rows, preferably not used in the fit.
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
            Result in the form of scikit-learn's `permutation_importance`, and the `names` of the columns.

        Raises
        ------
        ValueError
            If `n_repeats` is below 1 or the data are invalid.
        """
        check_is_fitted(self)
        check_count(n_repeats, "n_repeats", 1)
        generator = check_random_state(random_state)
        Z = self._prepare(X).encode_all()
        shadow, widths = self._make_shadow(), self.encoder_._widths
        scorer = check_scoring(shadow, scoring)
        before = scorer(shadow, Z, y)
        orders = [generator.permutation(Z.shape[0]) for _ in range(n_repeats)]
        falls = np.array(
            [[before - scorer(shadow, one, y) for one in shuffle_columns(Z, widths, k)] for k in orders]
        ).T
        return Bunch(
            importances=falls,
            importances_mean=falls.mean(axis=1),
            importances_std=falls.std(axis=1),
            names=[record["name"] for record in self.columns_],
        )

    # --- exports and files -------------------------------------------------------------------------

    def to_onnx(
        self,
        path: str | PathLike[str] | None = None,
        *,
        dtype: DTypeLike | None = None,
        drop: Sequence[str] = (),
    ) -> ModelProto:
        """Export the estimator with its preprocessing to ONNX.

        The graph has an input (N, 1) for every column that is not left out, under the column's name:

        - numbers in float64, NaN for missing values; booleans as numbers 0 and 1, durations as days;
        - dates in int64, as microseconds since 1970, the smallest int64 for missing values, as in
          ``values.astype("datetime64[us]").astype("int64")``; dates with a time zone in local time;
        - categories as text, the empty text for missing values, integers without decimal point.

        A classifier has the outputs "label" and "probabilities", a regressor "variable" (N, 1), and
        "quantiles" (N, n_quantiles) if it has quantiles, with "_" appended to the name of a column.

        Parameters
        ----------
        path : str or path, optional
            Name of the file that is written. By default none is written.
        dtype : {numpy.float32, numpy.float64}, optional
            Data type of the networks' computations and of the probabilities; by default float32.
            Numbers are predicted in float64.
        drop : sequence of str, optional
            Names of columns without an input: their values count as missing in every row. Columns of text
            that is hashed word by word, which ONNX cannot express, have to be dropped.

        Returns
        -------
        onnx.ModelProto
            Model in ONNX, opset 13 and opset 2 of ai.onnx.ml, checked by ONNX's checker. Its metadata are
            "fastnn.version" and, in JSON, "columns", the inputs with their kinds and their categories or
            ranges in the fit; "dropped", the columns without an input; "target", the name of y; and
            "classes", or "range" and "quantiles".

        Raises
        ------
        ImportError
            If the package onnx is not installed; the message says how to install it.
        ValueError
            If a column or the classes cannot be expressed, `drop` names no column, or all, or the file's name
            or folder is unusable.
        """
        return export_onnx(self, path, dtype, drop)

    def _get_saved_state(self, training: bool) -> dict[str, Any]:
        state = super()._get_saved_state(training)
        return state if training else {name: state[name] for name in state if name not in _HELD_OUT}

    def _check_state(self) -> None:
        super()._check_state()
        for member in self.__dict__.get("estimators_", ()):
            # The networks' kernels take rows from the encoder without a check.
            if member._state.network.n_inputs != self.encoder_._ends[-1]:
                raise ValueError("a network does not fit the encoder")

    # --- scikit-learn ------------------------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return "estimators_" in self.__dict__

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags
