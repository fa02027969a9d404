"""scikit-learn: a model as a fitted estimator of scikit-learn itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..system.validation import Array
from .description import LayerDescription, MemberDescription, ModelDescription

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from sklearn.preprocessing import LabelBinarizer

# scikit-learn's names of the activations and of the output functions.
ACTIVATIONS = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}
OUT_ACTIVATIONS = {"softmax": "softmax", "sigmoid": "logistic", "identity": "identity", "exponential": "exp"}
_OTHER_WAYS = "to_onnx, to_torch and to_c can export this model"


def to_sklearn(description: ModelDescription) -> BaseEstimator:
    """Return a model as a fitted estimator of scikit-learn."""
    if len(description.class_list) == 1:
        raise ValueError(
            "scikit-learn's MLPClassifier gives two probabilities for one class: use its DummyClassifier, "
            f"whose predictions are the same; {_OTHER_WAYS}"
        )
    if description.is_ensemble:
        return _make_voting(description)
    return _make_estimator(description, description.members[0], description.class_list)


def make_label_binarizer(classes: Array, has_labels: bool) -> LabelBinarizer:
    """Return the fitted LabelBinarizer that scikit-learn's MLPClassifier holds for the classes or labels."""
    from sklearn.preprocessing import LabelBinarizer

    return LabelBinarizer().fit(np.eye(len(classes), dtype=int) if has_labels else classes)


def _make_voting(description: ModelDescription) -> BaseEstimator:
    """Return an ensemble as a voting estimator, whose members have the classes 0 .. n_classes - 1."""
    from sklearn.ensemble import VotingClassifier, VotingRegressor
    from sklearn.preprocessing import LabelEncoder

    if description.kind == "labels" or (description.kind == "numbers" and description.n_outputs > 1):
        raise ValueError(
            f"scikit-learn's voting ensembles predict one class or one number, not {description.n_outputs} "
            f"{description.kind}: {_OTHER_WAYS}"
        )
    classes = np.arange(len(description.class_list))
    members = [
        (f"network{k}", _make_estimator(description, member, classes))
        for k, member in enumerate(description.members)
    ]
    voting: Any = VotingRegressor(members)
    if description.kind == "classes":
        voting = VotingClassifier(members, voting="soft")
        voting.le_ = LabelEncoder().fit(description.class_list)
        voting.classes_ = voting.le_.classes_
    voting.estimators_ = [estimator for _, estimator in members]
    # A fit makes this dict a Bunch, a class that skops loads only if it is trusted by name.
    voting.named_estimators_ = dict(members)
    if description.feature_names is not None:
        voting.feature_names_in_ = np.array(description.feature_names, object)
    return voting


def _make_estimator(
    description: ModelDescription, member: MemberDescription, classes: Array
) -> BaseEstimator:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    from ..system.sklearn_internals import set_private_attributes

    hidden = {layer.activation for layer in member.layers[:-1]} or {"relu"}
    _check_expressible(hidden, member.layers[-1].activation)
    layers, output = member.layers, OUT_ACTIVATIONS[member.output]
    if output == "exp" and "loss" not in MLPRegressor().get_params():
        raise ValueError(f"the loss 'poisson' needs version 1.7 of scikit-learn: {_OTHER_WAYS}")
    if member.output == "softmax" and len(classes) == 2:
        # The sigmoid of the difference of two scores is the softmax's second probability.
        last, output = layers[-1], "logistic"
        weights, biases = (np.diff(array, axis=-1) for array in (last.weights, last.biases))
        layers = (*layers[:-1], LayerDescription(weights, biases, last.activation))
    settings: dict[str, Any] = {
        "hidden_layer_sizes": tuple(layer.biases.size for layer in layers[:-1]),
        "activation": ACTIVATIONS[hidden.pop()],
    }
    binarizer = None
    if description.kind == "numbers":
        if output == "exp":
            settings["loss"] = "poisson"
        result: Any = MLPRegressor(**settings)
    else:
        result = MLPClassifier(**settings)
        n_labels = layers[-1].biases.size if description.kind == "labels" else 0
        result.classes_ = np.arange(max(n_labels, 2)) if n_labels else classes
        binarizer = make_label_binarizer(result.classes_, n_labels > 1)
    # Arrays in C order, as a fit leaves them.
    result.coefs_ = [np.ascontiguousarray(layer.weights) for layer in layers]
    result.intercepts_ = [layer.biases.copy() for layer in layers]
    result.n_features_in_ = description.n_inputs
    if description.feature_names is not None:
        result.feature_names_in_ = np.array(description.feature_names, object)
    result.n_layers_, result.n_outputs_ = len(layers) + 1, layers[-1].biases.size
    result.out_activation_ = output
    fit = member.fit
    result.loss_curve_ = [float(loss) for loss in fit.losses]
    result.loss_ = result.loss_curve_[-1] if fit.losses else np.inf
    result.best_loss_ = min(fit.losses, default=np.inf)
    result.n_iter_, result.t_ = int(fit.n_passes), int(fit.n_samples)
    result.validation_scores_, result.best_validation_score_ = None, None
    set_private_attributes(result, binarizer)
    return result


def _check_expressible(hidden: set[str], output: str) -> None:
    """Raise ValueError unless scikit-learn has the activations of the hidden and of the output layers."""
    unknown = sorted(hidden - set(ACTIVATIONS))
    if unknown:
        raise ValueError(
            f"scikit-learn has no activation {unknown[0]!r}, only {', '.join(ACTIVATIONS.values())}: "
            f"{_OTHER_WAYS}"
        )
    if len(hidden) > 1:
        raise ValueError(
            f"scikit-learn has one activation for all hidden layers, not {sorted(hidden)}: {_OTHER_WAYS}"
        )
    if output != "identity":
        raise ValueError(
            f"scikit-learn has no activation of the output layer, and this model has {output!r}: train it "
            f'with output_activation="identity", or choose another way: {_OTHER_WAYS}'
        )
