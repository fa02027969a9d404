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
from ..preprocessing.encoder import TableEncoder
from ..preprocessing.onnx import add_table, table_inputs
from ..system.extras import import_extra

__all__ = ["ExportableTabular", "described_networks", "with_temperature"]

Array = NDArray[Any]


class ExportableTabular:
    """Mixin of the tabular estimators with their export."""

    encoder_: TableEncoder
    estimators_: list[Any]

    @abstractmethod
    def _onnx_outputs(self, dtype: Any) -> list[Tensor]:
        """Return the outputs of the estimator's graph, whose networks compute in a data type."""

    @abstractmethod
    def _add_onnx(self, graph: Graph, features: str, outputs: Sequence[str], dtype: Any) -> None:
        """Add the computation of the named outputs from the tensor of the features."""

    def to_onnx(self, path: Any = None, *, dtype: Any = None) -> Any:
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

        Returns
        -------
        onnx.ModelProto
            Model in ONNX, opset 13 and opset 2 of ai.onnx.ml, checked by ONNX's checker. Its metadata
            "columns" is a list of the columns and their kinds in JSON.

        Raises
        ------
        ImportError
            If the package onnx is not installed; the message says how to install it.
        ValueError
            If a column cannot be expressed: its texts are hashed word by word, the empty text is one of its
            categories, or its name is empty or occurs twice. Also if the classes have no type in ONNX, or the
            file's name or folder is unusable.

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
        inputs = table_inputs(self.encoder_)
        names = {tensor.name for tensor in inputs}
        outputs = []
        for tensor in self._onnx_outputs(dtype):
            while tensor.name in names:
                tensor = replace(tensor, name=f"{tensor.name}_")
            names.add(tensor.name)
            outputs.append(tensor)
        graph = Graph(onnx, [*inputs, *outputs])
        features = add_table(self.encoder_, graph)
        self._add_onnx(graph, features, [tensor.name for tensor in outputs], dtype)
        kinds = {record["name"]: record["kind"] for record in self.encoder_.columns_}
        columns = [{"name": tensor.name, "kind": kinds[tensor.name]} for tensor in inputs]
        name, n_networks = type(self).__name__, len(self.estimators_)
        comment = f"fastnn.{name} of {n_networks} network(s), with the encoding of a table"
        return graph.finished(comment, {"columns": json.dumps(columns)}, path)


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
