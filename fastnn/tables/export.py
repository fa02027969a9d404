"""ExportableTabular: tabular estimators in ONNX, with the encoding of the table and all networks."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ..export.description import Member, ModelDescription, describe
from ..export.onnx import Graph, Tensor
from ..system.extras import import_extra
from ..system.frames import check_same_columns, read_table
from ..system.validation import shown
from .encoding.columns import Dropped
from .encoding.encoder import TableEncoder, _as_kind
from .encoding.onnx import add_table, column_records, table_inputs
from .encoding.stages import table_stage

__all__ = ["ExportableTabular", "described_networks", "with_temperature"]

Array = NDArray[Any]


class ExportableTabular:
    """Mixin of the tabular estimators with their export."""

    encoder_: TableEncoder
    estimators_: list[Any]
    target_name_: str | None

    @abstractmethod
    def _onnx_outputs(self, dtype: Any) -> list[Tensor]:
        """Return the outputs of the estimator's graph, whose networks compute in a data type."""

    @abstractmethod
    def _described_prediction(self, dtype: np.dtype) -> ModelDescription:
        """Return what the networks compute from encoded rows, up to the prediction."""

    @abstractmethod
    def _add_onnx(self, graph: Graph, features: str, outputs: Sequence[str], dtype: Any) -> None:
        """Add the computation of the named outputs from the tensor of the features."""

    def to_onnx(self, path: Any = None, *, dtype: Any = None, drop: Any = ()) -> Any:
        """Export the estimator with its preprocessing to ONNX.

        The graph has an input (N, 1) for every column that is not left out, under the column's name:

        - numbers in float64, NaN for gaps; truth values as numbers 0 and 1, durations as days;
        - dates in int64, as microseconds since 1970, the least int64 for gaps, as in
          ``values.astype("datetime64[us]").astype("int64")``; those with a time zone in their local time;
        - categories as text, the empty text for gaps. Numbers among them are written as Python does, whole
          numbers without decimal point.

        A classifier has the outputs "label" and "probabilities", a regressor "variable" (N, 1), and
        "quantiles" (N, n_quantiles) if it has quantiles. The name of an output that is also a column's is
        followed by "_".

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
            Model in ONNX, opset 13 and opset 2 of ai.onnx.ml, checked by ONNX's checker. Its metadata are
            "fastnn.version" and, in JSON, "columns", a list of the inputs with their kinds and their
            categories or ranges in the fit, "dropped", "target", the name of y, and "classes" or "range" and
            "quantiles".

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
        check_is_fitted(self)
        onnx = import_extra("onnx", "onnx", "to_onnx")
        dtype = np.float32 if dtype is None else dtype
        dropped = self._dropped(drop)
        inputs = table_inputs(self.encoder_, dropped)
        names = {tensor.name for tensor in inputs}
        outputs = []
        for tensor in self._onnx_outputs(dtype):
            while tensor.name in names:
                tensor = replace(tensor, name=f"{tensor.name}_")
            names.add(tensor.name)
            outputs.append(tensor)
        graph = Graph(onnx, [*inputs, *outputs])
        features = add_table(self.encoder_, graph, dropped)
        self._add_onnx(graph, features, [tensor.name for tensor in outputs], dtype)
        name, n_networks = type(self).__name__, len(self.estimators_)
        comment = f"fastnn.{name} of {n_networks} network(s), with the encoding of a table"
        if self.target_name_ is not None:
            comment += f"; predicts {self.target_name_!r}"
        values = {
            "columns": column_records(self.encoder_, dropped),
            "dropped": dropped,
            "target": self.target_name_,
            **self._target_record(),
        }
        properties = {key: json.dumps(value) for key, value in values.items() if value not in (None, [])}
        return graph.finished(comment, properties, path)

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
            Table with the columns of the fit, three rows of which the self-test uses; by default it draws
            samples.
        name : str, optional
            Beginning of all names; by default derived from the file's name, "net" without a file.

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
        from ..export.c import to_c

        check_is_fitted(self)
        stage, names = table_stage(self.encoder_)
        if X is not None:
            table = read_table(X)
            check_same_columns(self, table)
            places = [k for k, one in enumerate(self.encoder_.encodings_) if not isinstance(one, Dropped)]
            numbers = np.column_stack([_as_kind(table, k, self.encoder_._kinds[k]) for k in places])
            X = np.where(np.isnan(numbers), stage.typical(np.zeros((1, len(names)))), numbers)
        networks = self._described_prediction(np.dtype(np.float64 if dtype == "float64" else np.float32))
        description = replace(networks, stages=(stage,), feature_names=tuple(names))
        return to_c(description, path, dtype, X, name)

    def _target_record(self) -> dict[str, Any]:
        """Return what the metadata of a graph say of the target, as JSON values."""
        values = self.__dict__
        if "classes_" in values:
            return {"classes": values["classes_"].tolist()}
        return {"range": list(values["_range"]), "quantiles": values["_quantiles"]}

    def _dropped(self, drop: Any) -> list[str]:
        """Return the names of the argument `drop`, checked."""
        if (
            isinstance(drop, str)
            or not isinstance(drop, Sequence)
            or not all(isinstance(one, str) for one in drop)
        ):
            raise ValueError(f"drop must be a list of names of columns, got {shown(drop)}")
        used = [one.name for one in self.encoder_.encodings_ if not isinstance(one, Dropped)]
        for name in drop:
            if name not in used:
                raise ValueError(f"drop: there is no column {shown(name)} among those that are used")
        if set(used) <= set(drop):
            raise ValueError("drop names all columns: leave one that predicts")
        return list(drop)


def described_networks(
    estimator: Any, members: Sequence[Any], kind: str, dtype: Any, classes: Array | None = None
) -> ModelDescription:
    """Return the description of networks of a tabular estimator, whose outputs are averaged."""
    networks = [(member._state.network, member._state.folded) for member in members]
    name = type(estimator).__name__
    return describe(name, kind, networks, is_ensemble=True, classes=classes).converted(dtype)


def with_temperature(description: ModelDescription, temperature: float) -> ModelDescription:
    """Return a description of networks whose scores are divided by a temperature."""

    def divided(member: Member) -> Member:
        *hidden, last = member.layers
        weights, biases = (array / array.dtype.type(temperature) for array in (last.weights, last.biases))
        return replace(member, layers=(*hidden, replace(last, weights=weights, biases=biases)))

    return replace(description, members=tuple(map(divided, description.members)))
