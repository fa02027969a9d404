"""Converters for skl2onnx, which translate scikit-learn pipelines that hold fastnn's estimators."""

from __future__ import annotations

from typing import Any

from ..system.extras import import_extra
from .methods import Exportable
from .onnx import OPSET, Builder, add_model, convert_classes


def register() -> None:
    skl2onnx = import_extra("skl2onnx", "onnx", "register_skl2onnx")

    def register_class(kind: type) -> None:
        name = f"{kind.__module__}.{kind.__qualname__}"
        options: dict[str, list[Any]] | None = None
        if hasattr(kind, "predict_proba"):
            flags = {"output_class_labels": [False, True], "nocl": [True, False]}
            options = {"zipmap": [True, False, "columns"], **flags}
        skl2onnx.update_registered_converter(kind, name, _set_types, _convert, options=options)

    Exportable._watch_classes("skl2onnx", register_class)


def _set_types(operator: Any) -> None:
    """Set the types of an operator's outputs, as skl2onnx's shape calculators do."""
    from skl2onnx.common import data_types

    description = operator.raw_operator._description()
    # The operator that turns the outputs into maps or columns, if skl2onnx has added one.
    readers = {
        one.type
        for one in operator.scope_inst.operators.values()
        if any(variable is operator.outputs[-1] for variable in one.inputs)
    }
    operator.outputs[-1].type = data_types.guess_tensor_type(operator.inputs[0].type)
    if "SklearnZipMap" in readers:  # ZipMap takes float32 alone
        operator.outputs[-1].type = data_types.FloatTensorType()
    operator.outputs[-1].type.shape = [None, description.n_outputs]
    if description.kind == "classes":
        labels = {
            "O": data_types.StringTensorType,
            "b": data_types.BooleanTensorType,
            "f": data_types.DoubleTensorType,
            "i": data_types.Int64TensorType,
        }
        kind = convert_classes(description.class_list).dtype.kind
        # Beside maps or columns, skl2onnx casts labels that are not text to int64.
        if kind != "O" and readers & {"SklearnZipMap", "SklearnZipMapColumns"}:
            kind = "i"
        operator.outputs[0].type = labels[kind]([None])
    elif description.kind == "labels":
        operator.outputs[0].type = data_types.Int64TensorType([None, description.n_outputs])


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of a fitted estimator to skl2onnx's graph."""
    from onnx.helper import np_dtype_to_tensor_dtype
    from skl2onnx.common.data_types import guess_proto_type

    description = operator.raw_operator._description()
    graph = _Graph(scope, container)
    dtype = np_dtype_to_tensor_dtype(description.dtype)
    # Samples may be integers, or floats of another size than the network's. A needless cast does no harm.
    samples = graph.node("Cast", operator.inputs[0].full_name, to=dtype)
    # Results in the model's own types, which are cast to the types of the operator's outputs.
    results = [scope.get_unique_variable_name("result") for _ in operator.outputs]
    add_model(description, graph, samples, results)
    for result, variable in zip(results, operator.outputs, strict=True):
        graph.node("Cast", result, output=variable.full_name, to=guess_proto_type(variable.type))


class _Graph(Builder):
    """Graph of skl2onnx, to which `add_model` adds nodes and constants."""

    def __init__(self, scope: Any, container: Any) -> None:
        self._scope, self._container = scope, container

    def node(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        result = output or self._scope.get_unique_variable_name(operator.lower())
        self._container.add_node(
            operator,
            list(inputs),
            [result],
            op_version=OPSET,
            name=self._scope.get_unique_operator_name(operator),
            **attributes,
        )
        return result

    def constant(self, value: Any) -> str:
        from onnx.numpy_helper import from_array

        name = self._scope.get_unique_variable_name("constant")
        kind = from_array(value, name).data_type
        values = [text.encode() for text in value.flat] if value.dtype == object else value.ravel().tolist()
        self._container.add_initializer(name, kind, list(value.shape), values)
        return name
