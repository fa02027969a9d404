"""ModelDescription: everything that an exporter needs to know about what a model computes.

Models, estimators and ensembles return this description by their method ``_description()``; each exporter
reads the description alone. Batch normalisation is folded into weights and biases; of the training, only
the losses are left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network.description import Network
from ..reference.layer import activation_forward
from ..reference.output import output_forward
from ..system.validation import all_finite, shown
from .stages import Stage

__all__ = [
    "KINDS",
    "FitRecord",
    "LayerDescription",
    "Member",
    "ModelDescription",
    "describe",
    "resolved_dtype",
]

Array = NDArray[Any]

# Kinds of predictions: one class of several; 0 or 1 for each of several labels; numbers.
KINDS = ("classes", "labels", "numbers")


@dataclass(frozen=True)
class LayerDescription:
    """One layer, which computes ``activation(X @ weights + biases)``.

    Parameters
    ----------
    weights : array (n_in, n_out)
        Weights, with batch normalisation folded in.
    biases : array (n_out,)
        Biases, with batch normalisation folded in.
    activation : str
        Name of the activation, a key of ``fastnn.reference.layer.ACTIVATIONS``.
    """

    weights: Array
    biases: Array
    activation: str


@dataclass(frozen=True)
class Member:
    """One network: its layers, and the output function of its scores.

    Parameters
    ----------
    layers : tuple of LayerDescription
        Layers, at least one.
    output : str
        Name of the output function, a key of ``fastnn.reference.output.OUTPUTS``. A network with one output
        that predicts one of two classes has "sigmoid", the probability of the second class; that of a single
        class has "softmax", the probability 1.
    """

    layers: tuple[LayerDescription, ...]
    output: str

    @property
    def layers_dim(self) -> tuple[int, ...]:
        """Numbers of inputs, of units of every hidden layer, and of outputs."""
        return (self.layers[0].weights.shape[0], *(layer.biases.size for layer in self.layers))

    def scores(self, X: Array) -> Array:
        """Return the scores (n, n_outputs) of samples, the units of the last layer."""
        for layer in self.layers:
            X = activation_forward(layer.activation, X @ layer.weights + layer.biases)
        return X


@dataclass(frozen=True)
class FitRecord:
    """Course of a training, for systems whose models keep a record of it.

    Parameters
    ----------
    losses : tuple of float
        Losses of the epochs.
    n_passes : int
        Number of epochs.
    n_samples : int
        Number of samples seen in all epochs.
    """

    losses: tuple[float, ...] = ()
    n_passes: int = 0
    n_samples: int = 0


@dataclass(frozen=True)
class ModelDescription:
    """Description of what a model computes.

    The outputs of a model with several members are the means of the members' outputs, within `limits`.

    Parameters
    ----------
    source : str
        Name of the model's class, for messages and comments.
    kind : {"classes", "labels", "numbers"}
        Kind of the predictions.
    members : tuple of Member
        Networks with the same inputs and outputs.
    dtype : numpy.dtype
        Data type of the parameters, float32 or float64.
    is_ensemble : bool
        True if the mean of the members' outputs decides the predictions, False if the scores of the only
        member do.
    classes : array (n_classes,) or None
        For the kind "classes", the classes in the order of the probabilities.
    feature_names : tuple of str or None
        Names of the features, where the samples of the fit had names.
    stages : tuple of Stage
        Scalers and encodings between the features of a sample and the inputs of the networks; empty where
        the features are the inputs.
    decoding : tuple of two floats, optional
        Center and scale of the targets: the outputs are multiplied by the scale, and the center is added.
    fits : tuple of FitRecord
        Trainings of the members.
    limits : tuple of two floats, optional
        Least and largest output of a member; None for any.
    """

    source: str
    kind: str
    members: tuple[Member, ...]
    dtype: np.dtype
    is_ensemble: bool = False
    classes: Array | None = None
    feature_names: tuple[str, ...] | None = None
    stages: tuple[Stage, ...] = ()
    decoding: tuple[float, float] | None = None
    fits: tuple[FitRecord, ...] = ()
    limits: tuple[float, float] | None = None

    @property
    def n_inputs(self) -> int:
        """Number of features of a sample."""
        return self.stages[0].n_features if self.stages else self.members[0].layers_dim[0]

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
        """Classes as an array, empty without classes."""
        return np.array([]) if self.classes is None else self.classes

    def converted(self, dtype: Any) -> ModelDescription:
        """Return the description with parameters of another dtype; None leaves the dtype.

        Raises
        ------
        ValueError
            If the dtype is neither float32 nor float64, or a parameter is too large for it.
        """
        if dtype is None or resolved_dtype(dtype) == self.dtype:
            return self
        dtype = resolved_dtype(dtype)

        def layer_of(layer: LayerDescription) -> LayerDescription:
            with np.errstate(over="ignore"):
                arrays = [array.astype(dtype) for array in (layer.weights, layer.biases)]
            if not all(map(all_finite, arrays)):
                raise ValueError(f"a weight or bias is too large for {dtype}: choose another dtype")
            return LayerDescription(arrays[0], arrays[1], layer.activation)

        members = [replace(one, layers=tuple(map(layer_of, one.layers))) for one in self.members]
        stages = tuple(stage.converted(dtype) for stage in self.stages)
        return replace(self, members=tuple(members), dtype=dtype, stages=stages)

    def inputs(self, X: Array) -> Array:
        """Return the inputs of the networks for samples."""
        for stage in self.stages:
            X = stage.outputs(X)
        return X

    def member_outputs(self, member: Member, X: Array) -> Array:
        """Return the outputs (n, n_outputs) of one member, computed in NumPy."""
        outputs = output_forward(member.output, member.scores(X))
        if self.limits is not None:
            outputs = np.clip(outputs, *self.limits)
        return np.hstack([1 - outputs, outputs]) if self.is_binary else outputs

    def outputs(self, X: Array) -> Array:
        """Return the probabilities or numbers (n, n_outputs) of samples, computed in NumPy."""
        X = self.inputs(X)
        outputs = np.mean([self.member_outputs(member, X) for member in self.members], axis=0)
        if self.decoding is not None:
            center, scale = map(outputs.dtype.type, self.decoding)
            outputs = outputs * scale + center
        return outputs


def describe(
    source: str,
    kind: str,
    networks: Sequence[tuple[Network, Array]],
    *,
    is_ensemble: bool = False,
    classes: Array | None = None,
    feature_names: Iterable[str] | None = None,
    fits: Sequence[FitRecord] = (),
) -> ModelDescription:
    """Describe a model by its networks.

    A classifier that knows only one class is described by a constant network, whose softmax is 1: the fitted
    networks have no effect on its predictions.

    Parameters
    ----------
    source, kind, is_ensemble, classes, feature_names, fits
        Fields of `ModelDescription`.
    networks : sequence of (Network, array)
        Networks, each with its flat parameter vector, batch normalisation folded in.

    Returns
    -------
    ModelDescription
        Description with copies of the parameters.

    Raises
    ------
    ValueError
        If a parameter is NaN or infinite.
    """
    members = []
    for network, parameters in networks:
        if not all_finite(parameters):
            raise ValueError(
                "the model's weights or biases hold NaN or infinity: train it anew before the export"
            )
        arrays = zip(network.weights(parameters), network.biases(parameters), strict=True)
        layers = [
            LayerDescription(W.copy(), b[0].copy(), name)
            for (W, b), name in zip(arrays, network.activations, strict=True)
        ]
        members.append(Member(tuple(layers), network.loss.output))
    dtype = np.result_type(*(network.dtype for network, _ in networks))
    if classes is not None and len(classes) == 1:
        layer = LayerDescription(
            np.zeros((members[0].layers_dim[0], 1), dtype), np.zeros(1, dtype), "identity"
        )
        members, is_ensemble, fits = [Member((layer,), "softmax")], False, fits[:1]
    return ModelDescription(
        source, kind, tuple(members), dtype, is_ensemble, classes,
        None if feature_names is None else tuple(map(str, feature_names)), fits=tuple(fits),
    )  # fmt: skip


def resolved_dtype(dtype: Any) -> np.dtype:
    """Return float32 or float64 as a NumPy dtype; raise ValueError for any other argument."""
    try:
        resolved = np.dtype(dtype)
    except (TypeError, ValueError):
        resolved = np.dtype(object)  # None would not do: NumPy takes it for float64
    if resolved not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype must be float32 or float64, got {shown(dtype)}")
    return resolved
