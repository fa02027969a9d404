"""Reports of the tabular estimators: summary, importances of the columns, plots."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import check_scoring
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.validation import check_is_fitted

import fastnn

from ..system.messages import span
from ..system.validation import check_count
from .encoding.encoder import PreparedTable

__all__ = ["Report", "last_best"]

Array = NDArray[Any]


class Report:
    """Mixin with the reports of a fitted tabular estimator."""

    columns_: list[dict[str, Any]]
    estimators_: list[Any]
    importances_: Array
    fit_seconds_: float
    fit_cpu_seconds_: float
    preset: str

    @abstractmethod
    def _shuffled(self, Z: Array, order: Array) -> Any:
        """Yield a copy of encoded rows for every column, with the column's features in another order."""

    @abstractmethod
    def _prepared(self, X: Any) -> PreparedTable:
        """Return a table whose rows can be encoded in blocks."""

    @abstractmethod
    def _shadow(self) -> Any:
        """Return a shallow copy that predicts encoded rows."""

    @abstractmethod
    def _score_lines(self) -> list[str]:
        """Return lines about the scores on rows that the networks were not trained on."""

    def summary(self) -> str:
        """Describe the fit: what became of every column, the networks, scores and seconds.

        Returns
        -------
        str
            Text of several lines.
        """
        check_is_fitted(self)
        head = ("column", "kind", "values", "gaps", "treatment")
        rows = [head, *([str(record[key]) for key in ("name", *head[1:])] for record in self.columns_)]
        widths = [max(len(row[k]) for row in rows) for k in range(len(head) - 1)]
        lines = [
            "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
            for row in rows
        ]
        network = self.estimators_[0].model_
        passes = [member.n_iter_ for member in self.estimators_]
        curves = [getattr(member, "validation_scores_", None) for member in self.estimators_]
        kept = [1 + last_best(scores) for scores in curves if scores]  # files may lack the curves
        lines += [
            "",
            f"networks  {len(passes)} of layers {list(network.layers_dim)}, preset {self.preset!r}",
            f"epochs    {span(passes)}" + (f" (best: {span(kept)})" if kept else ""),
            *self._score_lines(),
            f"time      {self.fit_seconds_:.1f} s (CPU time: {self.fit_cpu_seconds_:.1f} s)",
        ]
        return "\n".join(lines)

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
        check_is_fitted(self)
        check_count(n_repeats, "n_repeats", 1)
        random = check_random_state(random_state)
        Z = self._prepared(X).encoded()
        shadow = self._shadow()
        scorer = check_scoring(shadow, scoring)
        before = scorer(shadow, Z, y)
        orders = [random.permutation(Z.shape[0]) for _ in range(n_repeats)]
        falls = np.array(
            [[before - scorer(shadow, one, y) for one in self._shuffled(Z, order)] for order in orders]
        ).T
        return Bunch(
            importances=falls, importances_mean=falls.mean(axis=1), importances_std=falls.std(axis=1),
            names=[record["name"] for record in self.columns_],
        )  # fmt: skip

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
        return fastnn.plot_importances(self, X, y, n_columns=n_columns, ax=ax)


def last_best(scores: Any) -> int:
    """Return the index of the last of the highest scores, or of the last score if all are NaN."""
    values = np.asarray(scores)
    return len(values) - 1 - int(np.where(np.isnan(values), -np.inf, values)[::-1].argmax())
