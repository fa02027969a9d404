"""ONNX: the computation of a model as a graph of operators, opset 13.

onnxruntime lacks several activations for float64 (LeakyRelu, Elu, Selu, Softplus), and its float64 Gelu is
inaccurate: activations are composed of elementary operators, which exist for both dtypes. The graph holds no
ZipMap. Names of inputs and outputs are skl2onnx's: "X", and "label" and "probabilities", or "variable".
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import DTypeLike

from .. import __version__
from ..reference.output import OUTPUTS
from ..system.expressions import Expression
from ..system.extras import import_extra
from ..system.files import atomic_path, check_output
from ..system.validation import Array, short_repr
from .description import MemberDescription, ModelDescription
from .formulas import VARIABLE, find_sigmoid_argument, record_formula

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

# Opset of the graph, and the version of the file format that belongs to it.
OPSET, IR_VERSION = 13, 7
INT64 = 7  # number of the type in files
# Domain of the operators for tables, and the opsets of all domains.
TABLES = "ai.onnx.ml"
_OPSETS = {"": OPSET, TABLES: 2}


class Builder(Protocol):
    """Graph to which nodes and constants are added, each by the name of its result."""

    def node(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node with one result, and return the name of the result."""

    def constant(self, value: Array) -> str:
        """Add a constant tensor, and return its name."""


# ONNX's operators by the names of operations that differ in more than a capital; ONNX lacks expm1 and log1p.
OPERATORS = {
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "negative": "Neg",
    "absolute": "Abs",
    "minimum": "Min",
    "maximum": "Max",
    "power": "Pow",
}


def to_onnx(
    description: ModelDescription, path: str | PathLike[str] | None = None, dtype: DTypeLike | None = None
) -> ModelProto:
    """Return a model as an ``onnx.ModelProto``, and write it to a file if `path` is given."""
    onnx = import_extra("onnx", "onnx", "to_onnx")
    description = description.convert(dtype)
    sample = Tensor("X", description.dtype, ("N", description.n_inputs))
    outputs = list_outputs(description, ", or use to_c, whose classes are numbered")
    graph = Graph(onnx, [sample, *outputs])
    add_model(description, graph, "X", [output.name for output in outputs])
    properties = {}
    if description.feature_names is not None:
        properties["feature_names"] = json.dumps(description.feature_names)
    if description.kind == "classes":
        properties["classes"] = json.dumps(description.class_list.tolist())
    return graph.finish(
        f"fastnn.{description.source} of {len(description.members)} network(s), "
        f"layers {list(description.members[0].layers_dim)}",
        properties,
        path,
    )


@dataclass(frozen=True)
class Tensor:
    """Input or output of a graph."""

    name: str  # name
    dtype: np.dtype  # data type; object for text
    shape: tuple[str | int, ...]  # sizes, with names for sizes that vary
    is_output: bool = False  # True for an output
    comment: str = ""  # explanation, kept in the graph


def list_outputs(description: ModelDescription, alternative: str = "") -> list[Tensor]:
    """Return the outputs of a model; the error for classes that ONNX lacks ends with `alternative`."""
    n_outputs, classes = description.n_outputs, description.class_list
    if description.kind == "numbers":
        return [Tensor("variable", description.dtype, ("N", n_outputs), True)]
    label = convert_classes(classes, alternative).dtype if classes.size else np.dtype(np.int64)
    shape: tuple[str | int, ...] = ("N",) if description.kind == "classes" else ("N", n_outputs)
    return [
        Tensor("label", label, shape, True),
        Tensor("probabilities", description.dtype, ("N", n_outputs), True),
    ]


def add_model(description: ModelDescription, graph: Builder, samples: str, outputs: Sequence[str]) -> None:
    """Add a model to a graph, from `samples` in its dtype to label and probabilities, or to numbers."""
    scores = [_add_scores(member, graph, samples, description.dtype) for member in description.members]
    last = outputs[-1] if not description.is_ensemble else None
    results = [
        _add_outputs(description, member, graph, member_scores, last)
        for member, member_scores in zip(description.members, scores, strict=True)
    ]
    if description.limits is not None:
        low, high = (graph.constant(np.array(limit, description.dtype)) for limit in description.limits)
        results = [graph.node("Min", graph.node("Max", one, low), high) for one in results]
    mean = results[0]
    if description.is_ensemble:
        total = functools.reduce(functools.partial(graph.node, "Add"), results)
        number = graph.constant(np.array(len(results), description.dtype))
        mean = graph.node("Div", total, number, output=outputs[-1])
    if description.kind == "numbers":
        return
    # A single network decides by its scores, which do not round to 0 or 1; an ensemble by its probabilities.
    deciding, threshold = (mean, 0.5) if description.is_ensemble else (scores[0], 0.0)

    def add_comparison(values: str, output: str | None = None) -> str:
        limit = graph.constant(np.array(threshold, description.dtype))
        return graph.node("Cast", graph.node("Greater", values, limit), output=output, to=INT64)

    if description.kind == "labels":
        add_comparison(deciding, outputs[0])
        return
    if description.is_binary and not description.is_ensemble:
        index = add_comparison(graph.node("Squeeze", deciding, graph.constant(np.array([1]))))
    else:
        index = graph.node("ArgMax", deciding, axis=1, keepdims=0)
    graph.node("Gather", graph.constant(convert_classes(description.class_list)), index, output=outputs[0])


def _add_scores(member: MemberDescription, graph: Builder, samples: str, dtype: np.dtype) -> str:
    """Add the layers of a network, with batch normalisation folded in; return the name of the scores."""
    units = samples
    for layer in member.layers:
        units = graph.node("Gemm", units, graph.constant(layer.weights), graph.constant(layer.biases))
        units = _add_formula(layer.activation, units, graph, dtype)
    return units


def _add_formula(activation: str, units: str, graph: Builder, dtype: np.dtype) -> str:
    """Add an activation of units, and return the name of its values."""
    names = {id(VARIABLE): units}  # by the identity of expressions

    def add(node: Expression | float) -> str:
        if not isinstance(node, Expression):
            return graph.constant(np.array(node, dtype))
        if id(node) not in names:
            names[id(node)] = add_operation(node)
        return names[id(node)]

    def add_operation(node: Expression) -> str:
        argument = find_sigmoid_argument(node)
        if argument is not None and dtype == np.float32:
            return graph.node("Sigmoid", add(argument))
        if argument is not None:
            # onnxruntime 1.20 fuses z sigmoid(z) to an operator that does not exist for float64: write
            # 1 / (1 + exp(-z)) instead. exp may overflow to infinity, which gives 0.
            below = graph.node("Add", graph.node("Exp", graph.node("Neg", add(argument))), add(1.0))
            return graph.node("Div", add(1.0), below)
        inner = [add(one) for one in node.arguments]
        if node.operation == "expm1":
            return graph.node("Sub", graph.node("Exp", *inner), add(1.0))
        if node.operation == "log1p":
            return graph.node("Log", graph.node("Add", *inner, add(1.0)))
        return graph.node(OPERATORS.get(node.operation, node.operation.capitalize()), *inner)

    return add(record_formula(activation))


def _add_outputs(
    description: ModelDescription, member: MemberDescription, graph: Builder, scores: str, name: str | None
) -> str:
    """Add the output function of a network, and return the name of the outputs, `name` if given."""
    axis: dict[str, Any] = {"axis": 1} if member.output == "softmax" else {}
    add = functools.partial(graph.node, _OUTPUTS[member.output], scores, **axis)
    if not description.is_binary:
        return add(output=name)
    second = add()
    first = graph.node("Sub", graph.constant(np.array(1, description.dtype)), second)
    return graph.node("Concat", first, second, output=name, axis=1)


# ONNX's operators by the names of output functions.
_OUTPUTS = {"softmax": "Softmax", "sigmoid": "Sigmoid", "exponential": "Exp", "identity": "Identity"}
assert set(_OUTPUTS) == set(OUTPUTS)


def convert_classes(classes: Array, alternative: str = "") -> Array:
    """Return classes as text, bool, int64 or double; the error for others ends with `alternative`."""
    kind = classes.dtype.kind
    if kind in "OU" and all(isinstance(one, str) for one in classes):
        for one in classes:
            check_text(one, "the class", "Rename the class, and fit again")
        return classes.astype(object)
    if kind in "biuf" and not (kind == "u" and classes.max() > np.iinfo(np.int64).max):
        return classes.astype({"b": np.bool_, "f": np.float64}.get(kind, np.int64))
    raise ValueError(
        f"ONNX has no type for the classes {classes[:3].tolist()}: fit to classes that are text, booleans or "
        f"numbers of at most 64 bits{alternative}"
    )


def check_text(text: str, what: str, remedy: str) -> None:
    """Raise ValueError, which begins with `what` and ends with `remedy`, if UTF-8 cannot hold a text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{what} {short_repr(str(text))} holds {short_repr(text[error.start])}, half of a surrogate "
            f"pair, and texts in ONNX are UTF-8, which has no such character. {remedy}"
        ) from None


class Graph:
    """New graph with inputs and outputs, to which nodes and constants of other names are added."""

    def __init__(self, onnx: ModuleType, tensors: Sequence[Tensor]) -> None:
        self._onnx = onnx
        self._tensors = tensors
        self._reserved = {tensor.name for tensor in tensors}
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._names: dict[tuple[str, str], str] = {}

    def node(
        self, operator: str, *inputs: str, output: str | None = None, n_results: int = 1, **attributes: Any
    ) -> str:
        """Add a node, and return the name of its result, the first of `n_results`."""
        name = output or self.new_name(f"{operator.lower()}_{len(self._nodes)}")
        names = [name, *(self.new_name(f"{name}_{k}") for k in range(1, n_results))]
        self._nodes.append(
            self._onnx.helper.make_node(operator, inputs, names, name=f"node_{name}", **attributes)
        )
        return name

    def cast(self, values: str, dtype: np.dtype) -> str:
        return self.node("Cast", values, to=self._onnx.helper.np_dtype_to_tensor_dtype(dtype))

    def constant(self, value: Array) -> str:
        """Add a constant tensor, and return its name; equal scalars are one constant."""
        key = (str(value.dtype), repr(value.tolist())) if value.ndim == 0 else None
        if key is not None and key in self._names:
            return self._names[key]
        name = self.new_name(f"constant_{len(self._constants)}")
        self._constants.append(self._onnx.numpy_helper.from_array(value, name))
        if key is not None:
            self._names[key] = name
        return name

    def finish(
        self, comment: str, properties: dict[str, str], path: str | PathLike[str] | None = None
    ) -> ModelProto:
        """Return the graph as an ``onnx.ModelProto``, checked; write it to a file if `path` is given."""
        helper = self._onnx.helper
        infos: tuple[list[ValueInfoProto], list[ValueInfoProto]] = ([], [])
        for tensor in self._tensors:
            kind = (
                self._onnx.TensorProto.STRING
                if tensor.dtype == object
                else helper.np_dtype_to_tensor_dtype(tensor.dtype)
            )
            infos[tensor.is_output].append(
                helper.make_tensor_value_info(tensor.name, kind, tensor.shape, tensor.comment)
            )
        domains = sorted({node.domain for node in self._nodes})
        model = helper.make_model(
            helper.make_graph(self._nodes, "fastnn", *infos, self._constants),
            producer_name="fastnn",
            producer_version=__version__,
            opset_imports=[helper.make_opsetid(domain, _OPSETS[domain]) for domain in domains],
            ir_version=IR_VERSION,
            doc_string=comment,
        )
        helper.set_model_props(model, {"fastnn.version": __version__, **properties})
        self._onnx.checker.check_model(model, full_check=True)
        if path is not None:
            with atomic_path(check_output(path, "path", "an exported model")) as temporary:
                temporary.write_bytes(model.SerializeToString())
        return model

    def new_name(self, name: str) -> str:
        """Return a name that no input and no output has."""
        while name in self._reserved:
            name += "_"
        return name
