"""scikit-learn: exports are fitted estimators of scikit-learn, also for other packages."""

import pickle
import warnings

import numpy as np
import pytest
from export_models import CASES, LIMITS, X, error, fitted, labels, outputs
from sklearn.base import clone
from sklearn.neural_network import MLPRegressor

import fastnn
from fastnn.reference.layer import ACTIVATIONS

# Few epochs do not converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# Cases that scikit-learn cannot express, with a part of the message.
IMPOSSIBLE = {
    "ensemble of labels": "voting ensembles predict one class or one number, not 3 labels",
    "one class": "two probabilities for one class: use its DummyClassifier",
    "ensemble of one class": "two probabilities for one class",
    "model": "no activation of the output layer, and this model has 'tanh'.*output_activation=\"identity\"",
}
for kind in ("labels", "numbers", "rates"):
    IMPOSSIBLE[f"model of {kind}"] = "no activation of the output layer"
if "loss" not in MLPRegressor().get_params():
    IMPOSSIBLE["poisson"] = "version 1.7"


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_model_is_exported_or_refused(case, dtype):
    model, samples = fitted(case, dtype.type)
    if case in IMPOSSIBLE:
        with pytest.raises(ValueError, match=f"{IMPOSSIBLE[case]}.*to_onnx, to_torch and to_c can export"):
            model.to_sklearn()
        return
    theirs = model.to_sklearn()
    assert type(theirs).__module__.startswith("sklearn.")
    assert error(outputs(theirs, samples), outputs(model, samples)) < LIMITS[dtype]
    if hasattr(theirs, "classes_"):
        np.testing.assert_array_equal(theirs.predict(samples), model.predict(samples))
        np.testing.assert_array_equal(theirs.classes_, getattr(model, "classes_", [0, 1]))
    again = pickle.loads(pickle.dumps(theirs))
    np.testing.assert_array_equal(outputs(again, samples), outputs(theirs, samples))
    clone(theirs)


@pytest.mark.parametrize("case", ["classes", "bool", "labels", "number", "numbers"])
def test_an_export_has_the_attributes_of_a_fit(case):
    model, samples = fitted(case)
    ours, targets = model.to_sklearn(), CASES[case][1]
    theirs = type(ours)(hidden_layer_sizes=(6, 5), max_iter=20).fit(samples, targets)
    assert set(vars(theirs)) - set(vars(ours)) <= {"_optimizer", "_random_state"}
    for name in ("n_layers_", "n_outputs_", "out_activation_", "n_features_in_", "validation_scores_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.get_params() | {"max_iter": 20} == theirs.get_params()
    assert (ours.n_iter_, ours.t_, ours.loss_curve_) == (model.n_iter_, model.t_, model.loss_curve_)
    assert (ours.loss_, ours.best_loss_) == (model.loss_curve_[-1], min(model.loss_curve_))
    if hasattr(ours, "classes_"):
        binarizers = (vars(one._label_binarizer).items() for one in (ours, theirs))
        mine, its = ({key: str(value) for key, value in attributes} for attributes in binarizers)
        assert mine == its
    before = ours.coefs_[0].copy()
    ours.partial_fit(samples, targets)
    assert not np.array_equal(before, ours.coefs_[0])


@pytest.mark.needs("pandas")
def test_a_network_without_hidden_layers_is_exported_with_feature_names():
    import pandas

    frame = pandas.DataFrame(X, columns=list("abcd"))
    model = fastnn.MLPClassifier((), max_iter=300, learning_rate_init=0.1, random_state=0).fit(frame, labels)
    ensemble = fastnn.MLPEnsembleClassifier(model, 2, random_state=0).fit(frame, labels)
    for one in (model, ensemble):
        theirs = one.to_sklearn()
        assert list(theirs.feature_names_in_) == list("abcd")
        np.testing.assert_allclose(outputs(theirs, frame), one.predict_proba(frame), atol=1e-14)


@pytest.mark.parametrize("activation", [*ACTIVATIONS, ["tanh", "relu"]])
def test_activations_of_scikit_learn_are_exported_and_others_refused(activation):
    layers = [4, *[5] * (2 if isinstance(activation, list) else 1), 3]
    model = fastnn.Model(layers, activation=activation, output_activation="identity", random_state=0)
    if activation in ("identity", "sigmoid", "tanh", "relu"):
        np.testing.assert_allclose(model.to_sklearn().predict_proba(X), model.predict_proba(X), atol=1e-14)
        return
    message = f"no activation '{activation}', only identity, logistic, tanh, relu"
    if isinstance(activation, list):
        message = "one activation for all hidden layers.*relu.*tanh"
    with pytest.raises(ValueError, match=message):
        model.to_sklearn()


def test_skops_and_mlflow_take_an_export(tmp_path):
    skops = pytest.importorskip("skops.io", reason="skops is not installed")
    for case in ("text", "number", "ensemble", "ensemble of numbers"):
        theirs = fitted(case)[0].to_sklearn()
        data = skops.dumps(theirs)
        assert skops.get_untrusted_types(data=data) == []
        np.testing.assert_array_equal(outputs(skops.loads(data), X), outputs(theirs, X))
    mlflow = pytest.importorskip("mlflow.sklearn", reason="mlflow is not installed")
    theirs = fitted("text")[0].to_sklearn()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.save_model(theirs, tmp_path / "model", serialization_format="skops")
        loaded = mlflow.load_model(str(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.predict_proba(X), theirs.predict_proba(X))
