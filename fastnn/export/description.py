"""ModelDescription: everything that an exporter needs to know about what a model computes.

Models, estimators and ensembles return this description by their method ``_description()``; each exporter
reads the description alone. Batch normalisation is folded into weights and biases; of the training, only
the losses are left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import DTypeLike

from ..network.description import Network
from ..reference.layer import activation_forward
from ..reference.output import output_forward
from ..system.validation import Array, all_finite, check_dtype


@dataclass(frozen=True)
class LayerDescription:
    """One layer, which computes ``activation(X @ weights + biases)``."""

    weights: Array  # (n_in, n_out): weights, with batch normalisation folded in
    biases: Array  # (n_out,): biases, with batch normalisation folded in
    activation: str  # name of the activation, a key of ``fastnn.reference.layer.ACTIVATIONS``


@dataclass(frozen=True)
class FitRecord:
    """Course of a training, for systems whose models keep a record of it."""

    losses: tuple[float, ...] = ()  # losses of the epochs
    n_passes: int = 0  # number of epochs
    n_samples: int = 0  # number of samples seen in all epochs


@dataclass(frozen=True)
class MemberDescription:
    """One network: its layers, and the output function of its scores."""

    layers: tuple[LayerDescription, ...]  # layers, at least one
    # Name of the output function, a key of ``fastnn.reference.output.OUTPUTS``. A network with one output for
    # two classes has "sigmoid", the probability of the second class. A network for a single class has
    # "softmax", the probability 1.
    output: str
    fit: FitRecord = FitRecord()  # training of the network

    @property
    def layers_dim(self) -> tuple[int, ...]:
        return (self.layers[0].weights.shape[0], *(layer.biases.size for layer in self.layers))

    def compute_scores(self, X: Array) -> Array:
        for layer in self.layers:
            X = activation_forward(layer.activation, X @ layer.weights + layer.biases)
        return X


@dataclass(frozen=True)
class ModelDescription:
    """Description of what a model computes, the mean of its members' outputs, each within `limits`."""

    source: str  # name of the model's class, for messages and comments
    # Predictions: "classes", one of several; "labels", 0 or 1 for each of several; or "numbers".
    kind: str
    members: tuple[MemberDescription, ...]  # networks with the same inputs and outputs
    dtype: np.dtype  # data type of the parameters, float32 or float64
    # True if the mean of the members' outputs decides, False if the scores of the only member do.
    is_ensemble: bool = False
    # (n_classes,): for the kind "classes", the classes in the order of the probabilities.
    classes: Array | None = None
    # Names of the features, where the samples of the fit had names.
    feature_names: tuple[str, ...] | None = None
    limits: tuple[float, float] | None = None  # least and largest output of a member; None for any

    @property
    def n_inputs(self) -> int:
        return self.members[0].layers_dim[0]

    @property
    def n_outputs(self) -> int:
        """Number of outputs of a sample: probabilities of classes or labels, or numbers."""
        return self.members[0].layers_dim[-1] if self.classes is None else len(self.classes)

    @property
    def is_binary(self) -> bool:
        """True if a single score decides between two classes."""
        return len(self.class_list) == 2 and self.members[0].layers_dim[-1] == 1

    @property
    def class_list(self) -> Array:
        return np.array([]) if self.classes is None else self.classes

    def convert(self, dtype: DTypeLike | None) -> ModelDescription:
        """Return the description in another dtype, float32 or float64, which must hold all parameters."""
        dtype = self.dtype if dtype is None else check_dtype(dtype)
        if dtype == self.dtype:
            return self

        def convert_layer(layer: LayerDescription) -> LayerDescription:
            with np.errstate(over="ignore"):
                arrays = [array.astype(dtype) for array in (layer.weights, layer.biases)]
            if not all(map(all_finite, arrays)):
                raise ValueError(f"a weight or bias is too large for {dtype}: choose another dtype")
            return LayerDescription(arrays[0], arrays[1], layer.activation)

        members = [replace(one, layers=tuple(map(convert_layer, one.layers))) for one in self.members]
        return replace(self, members=tuple(members), dtype=dtype)

    def compute_member_outputs(self, member: MemberDescription, X: Array) -> Array:
        """Return the outputs (n, n_outputs) of one member, computed in NumPy."""
        outputs = output_forward(member.output, member.compute_scores(X))
        if self.limits is not None:
            outputs = np.clip(outputs, *self.limits)
        return np.hstack([1 - outputs, outputs]) if self.is_binary else outputs

    def compute_outputs(self, X: Array) -> Array:
        """Return the probabilities or numbers (n, n_outputs) of samples, computed in NumPy."""
        return np.mean([self.compute_member_outputs(member, X) for member in self.members], axis=0)


def describe(
    source: str,
    kind: str,
    networks: Sequence[tuple[Network, Array, FitRecord]],
    *,
    is_ensemble: bool = False,
    classes: Array | None = None,
    feature_names: Iterable[str] | None = None,
) -> ModelDescription:
    """Describe a model by its networks, with copies of their flat parameters, which must be finite.

    Batch normalisation is folded into these. A classifier that knows only one class is described by a
    constant network, whose softmax is 1: the fitted networks have no effect on its predictions.
    """
    members = []
    for network, parameters, fit in networks:
        if not all_finite(parameters):
            raise ValueError("the model's weights hold NaN or infinity: train it again before the export")
        arrays = zip(network.weights(parameters), network.biases(parameters), strict=True)
        layers = [
            LayerDescription(W.copy(), b[0].copy(), name)
            for (W, b), name in zip(arrays, network.activations, strict=True)
        ]
        members.append(MemberDescription(tuple(layers), network.loss.output, fit))
    dtype = np.result_type(*(network.dtype for network, *_ in networks))
    if classes is not None and len(classes) == 1:
        layer = LayerDescription(
            np.zeros((members[0].layers_dim[0], 1), dtype), np.zeros(1, dtype), "identity"
        )
        members, is_ensemble = [MemberDescription((layer,), "softmax")], False
    names = None if feature_names is None else tuple(map(str, feature_names))
    return ModelDescription(source, kind, tuple(members), dtype, is_ensemble, classes, names)
