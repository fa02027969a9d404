"""Tabular estimators in ONNX, with the encoding of the table and all networks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from sklearn.utils.validation import check_is_fitted

from ..export.description import FitRecord, MemberDescription, ModelDescription, describe
from ..export.onnx import Graph, Tensor, add_model, list_outputs
from ..system.extras import import_extra
from ..system.messages import did_you_mean, join_names
from ..system.validation import short_repr
from .encoding.columns import Dropped
from .encoding.onnx import add_table, list_inputs

if TYPE_CHECKING:
    from onnx import ModelProto

    from .base import Tabular
    from .members import Member


def _check_drop(estimator: Tabular, drop: object) -> None:
    """Raise ValueError unless the argument `drop` is a list of columns that the model can do without."""
    if not (isinstance(drop, list | tuple) and all(isinstance(one, str) for one in drop)):
        raise ValueError(f"drop must be a list of names of columns, got {short_repr(drop)}")
    used = [one.name for one in estimator.encoder_.encodings_ if not isinstance(one, Dropped)]
    for name in drop:
        if name not in used:
            hint = did_you_mean(name, used) or f"it uses {join_names(used)}"
            raise ValueError(f"drop: the model uses no column {short_repr(name)}: {hint}")
    if set(used) <= set(drop):
        raise ValueError("drop names every column that the model uses: keep at least one")


def _describe_networks(estimator: Tabular, members: Sequence[Member], dtype: DTypeLike) -> ModelDescription:
    networks = [(member._state.network, member._state.folded, FitRecord()) for member in members]
    name = type(estimator).__name__
    if not estimator._HAS_CLASSES:
        description = describe(name, "numbers", networks, is_ensemble=True).convert(dtype)
        return replace(description, limits=estimator._limits)
    description = describe(name, "classes", networks, is_ensemble=True, classes=estimator.classes_)
    description = description.convert(dtype)

    def divide(member: MemberDescription) -> MemberDescription:
        *hidden, last = member.layers
        temperature = description.dtype.type(estimator.temperature_)
        last = replace(last, weights=last.weights / temperature, biases=last.biases / temperature)
        return replace(member, layers=(*hidden, last))

    return replace(description, members=tuple(map(divide, description.members)))


def _add_numbers(
    estimator: Tabular, heads: Sequence[ModelDescription], graph: Graph, features: str, outputs: Sequence[str]
) -> None:
    """Add a regressor's computation of the named outputs from the tensor of the features."""

    def constant(value: ArrayLike) -> str:
        return graph.constant(np.asarray(value, np.float64))

    def add_clipped(values: str, output: str | None = None) -> str:
        low, high = map(constant, estimator._range)
        return graph.node("Min", graph.node("Max", values, low), high, output=output)

    values = []
    for k, head in enumerate(heads):
        mean = graph.new_name(f"mean_{k}")
        add_model(head, graph, features, [mean])
        scaled = graph.node("Mul", graph.cast(mean, np.dtype(np.float64)), constant(estimator._scale))
        values.append(graph.node("Add", scaled, constant(estimator._center)))
    add_clipped(values[0], outputs[0])
    if estimator._quantiles:
        joined = graph.node("Concat", *values[1:], axis=1)
        shifted = add_clipped(graph.node("Add", joined, constant(estimator._shifts)))
        count = graph.constant(np.array([len(estimator._quantiles)]))
        graph.node("TopK", shifted, count, output=outputs[1], n_results=2, axis=1, largest=0, sorted=1)


def export_onnx(
    estimator: Tabular, path: str | PathLike[str] | None, dtype: DTypeLike | None, drop: Sequence[str]
) -> ModelProto:
    """Return the model of ``to_onnx`` of a tabular estimator, whose arguments these are."""
    check_is_fitted(estimator)
    onnx = import_extra("onnx", "onnx", "to_onnx")
    dtype, encoder = np.float32 if dtype is None else dtype, estimator.encoder_
    _check_drop(estimator, drop)
    heads = [_describe_networks(estimator, members, dtype) for members in estimator._list_heads()]
    inputs, columns = list_inputs(encoder, drop)
    names = {tensor.name for tensor in inputs}
    if estimator._HAS_CLASSES:
        usual = list_outputs(heads[0])
    else:
        widths = {"variable": 1, "quantiles": len(estimator._quantiles)}
        usual = [Tensor(name, np.dtype(np.float64), ("N", n), True) for name, n in widths.items() if n]
    outputs = []
    for tensor in usual:
        while tensor.name in names:
            tensor = replace(tensor, name=f"{tensor.name}_")
        names.add(tensor.name)
        outputs.append(tensor)
    graph = Graph(onnx, [*inputs, *outputs])
    features = graph.cast(add_table(encoder, graph, drop), heads[0].dtype)
    values = {"columns": columns, "dropped": list(drop), "target": estimator.target_name_}
    if estimator._HAS_CLASSES:
        add_model(heads[0], graph, features, [tensor.name for tensor in outputs])
        values["classes"] = estimator.classes_.tolist()
    else:
        _add_numbers(estimator, heads, graph, features, [tensor.name for tensor in outputs])
        values |= {"range": list(estimator._range), "quantiles": estimator._quantiles}
    name, n_networks = type(estimator).__name__, len(estimator.estimators_)
    comment = f"fastnn.{name} of {n_networks} network(s), with the encoding of a table"
    if estimator.target_name_ is not None:
        comment += f"; predicts {estimator.target_name_!r}"
    properties = {key: json.dumps(value) for key, value in values.items() if value not in (None, [])}
    return graph.finish(comment, properties, path)
