"""Tabular estimators in ONNX and C, with the encoding of the table and all networks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..export.description import Member, ModelDescription, describe
from ..export.onnx import Graph, Tensor, add_model, model_outputs
from ..system.extras import import_extra
from ..system.frames import as_table, check_same_columns
from ..system.messages import listed, meant
from ..system.validation import shown
from .encoding.columns import Dropped
from .encoding.encoder import _as_kind
from .encoding.onnx import add_table, column_records, table_inputs
from .encoding.stages import table_stage

__all__ = ["export_c", "export_onnx"]


def export_onnx(estimator: Any, path: Any, dtype: Any, drop: Any) -> Any:
    """Return the model of ``to_onnx`` of a tabular estimator, whose arguments these are."""
    check_is_fitted(estimator)
    onnx = import_extra("onnx", "onnx", "to_onnx")
    dtype, encoder = np.float32 if dtype is None else dtype, estimator.encoder_
    dropped = _checked_drop(estimator, drop)
    inputs = table_inputs(encoder, dropped)
    names = {tensor.name for tensor in inputs}
    outputs = []
    for tensor in _outputs(estimator, dtype):
        while tensor.name in names:
            tensor = replace(tensor, name=f"{tensor.name}_")
        names.add(tensor.name)
        outputs.append(tensor)
    graph = Graph(onnx, [*inputs, *outputs])
    features, output_names = add_table(encoder, graph, dropped), [tensor.name for tensor in outputs]
    if estimator._HAS_CLASSES:
        description = _described_prediction(estimator, dtype)
        add_model(description, graph, graph.cast(features, description.dtype), output_names)
    else:
        _add_numbers(estimator, graph, features, output_names, dtype)
    name, n_networks = type(estimator).__name__, len(estimator.estimators_)
    comment = f"fastnn.{name} of {n_networks} network(s), with the encoding of a table"
    if estimator.target_name_ is not None:
        comment += f"; predicts {estimator.target_name_!r}"
    values = {
        "columns": column_records(encoder, dropped),
        "dropped": dropped,
        "target": estimator.target_name_,
    }
    if estimator._HAS_CLASSES:
        values["classes"] = estimator.classes_.tolist()
    else:
        values |= {"range": list(estimator._range), "quantiles": estimator._quantiles}
    properties = {key: json.dumps(value) for key, value in values.items() if value not in (None, [])}
    return graph.finished(comment, properties, path)


def export_c(estimator: Any, path: Any, dtype: str, X: Any, name: str | None) -> str:
    """Return the text of ``to_c`` of a tabular estimator, whose arguments these are."""
    from ..export.c import to_c

    check_is_fitted(estimator)
    encoder = estimator.encoder_
    stage, names = table_stage(encoder)
    if X is not None:
        table = as_table(X)
        check_same_columns(estimator, table)
        places = [k for k, one in enumerate(encoder.encodings_) if not isinstance(one, Dropped)]
        numbers = np.column_stack([_as_kind(table, k, encoder._kinds[k]) for k in places])
        X = np.where(np.isnan(numbers), stage.typical(np.zeros((1, len(names)))), numbers)
    networks = _described_prediction(estimator, np.dtype(np.float64 if dtype == "float64" else np.float32))
    description = replace(networks, stages=(stage,), feature_names=tuple(names))
    return to_c(description, path, dtype, X, name)


def _checked_drop(estimator: Any, drop: Any) -> list[str]:
    """Return the names of the argument `drop`, checked."""
    if (
        isinstance(drop, str)
        or not isinstance(drop, Sequence)
        or not all(isinstance(one, str) for one in drop)
    ):
        raise ValueError(f"drop must be a list of names of columns, got {shown(drop)}")
    used = [one.name for one in estimator.encoder_.encodings_ if not isinstance(one, Dropped)]
    for name in drop:
        if name not in used:
            hint = meant(name, used) or f"it uses {listed(used)}"
            raise ValueError(f"drop: the model uses no column {shown(name)}: {hint}")
    if set(used) <= set(drop):
        raise ValueError("drop names every column that the model uses: keep at least one")
    return list(drop)


def _outputs(estimator: Any, dtype: Any) -> list[Tensor]:
    """Return the outputs of the estimator's graph, whose networks compute in a data type."""
    if estimator._HAS_CLASSES:
        return model_outputs(_described_prediction(estimator, dtype))
    number = np.dtype(np.float64)
    outputs = [Tensor("variable", number, ("N", 1), True)]
    if estimator._quantiles:
        outputs.append(Tensor("quantiles", number, ("N", len(estimator._quantiles)), True))
    return outputs


def _add_numbers(estimator: Any, graph: Graph, features: str, outputs: Sequence[str], dtype: Any) -> None:
    """Add a regressor's computation of the named outputs from the tensor of the features."""

    def constant(value: Any) -> str:
        return graph.constant(np.asarray(value, np.float64))

    def clipped(values: str, output: str | None = None) -> str:
        low, high = map(constant, estimator._range)
        return graph.node("Min", graph.node("Max", values, low), high, output=output)

    values = []
    for k, head in enumerate(estimator._heads()):
        description = replace(_described_networks(estimator, head, dtype), limits=estimator._limits)
        mean = graph.new_name(f"mean_{k}")
        add_model(description, graph, graph.cast(features, description.dtype), [mean])
        scaled = graph.node("Mul", graph.cast(mean, np.dtype(np.float64)), constant(estimator._scale))
        values.append(graph.node("Add", scaled, constant(estimator._center)))
    clipped(values[0], outputs[0])
    if estimator._quantiles:
        joined = graph.node("Concat", *values[1:], axis=1)
        shifted = clipped(graph.node("Add", joined, constant(estimator._shifts)))
        count = graph.constant(np.array([len(estimator._quantiles)]))
        graph.node("TopK", shifted, count, output=outputs[1], n_results=2, axis=1, largest=0, sorted=1)


def _described_prediction(estimator: Any, dtype: Any) -> ModelDescription:
    """Return what the networks compute from encoded rows, up to the prediction."""
    description = _described_networks(estimator, estimator._heads()[0], dtype)
    if estimator._HAS_CLASSES:
        return _with_temperature(description, estimator.temperature_)
    return replace(description, limits=estimator._limits, decoding=(estimator._center, estimator._scale))


def _described_networks(estimator: Any, members: Sequence[Any], dtype: Any) -> ModelDescription:
    """Return the description of networks of a tabular estimator, whose outputs are averaged."""
    networks = [(member._state.network, member._state.folded) for member in members]
    name, classes = type(estimator).__name__, estimator.classes_ if estimator._HAS_CLASSES else None
    kind = "numbers" if classes is None else "classes"
    return describe(name, kind, networks, is_ensemble=True, classes=classes).converted(dtype)


def _with_temperature(description: ModelDescription, temperature: float) -> ModelDescription:
    """Return a description of networks whose scores are divided by a temperature."""

    def divided(member: Member) -> Member:
        *hidden, last = member.layers
        weights, biases = (array / array.dtype.type(temperature) for array in (last.weights, last.biases))
        return replace(member, layers=(*hidden, replace(last, weights=weights, biases=biases)))

    return replace(description, members=tuple(map(divided, description.members)))
