"""skl2onnx: it converts pipelines with fastnn's estimators to ONNX."""

import warnings

import numpy as np
import pytest
from export_models import CASES, LIMITS, X, error, fitted, labels, outputs
from sklearn.ensemble import VotingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn

skl2onnx = pytest.importorskip("skl2onnx", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

# Few epochs do not converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Derived(fastnn.MLPRegressor):
    """A user's class, derived before the converters are registered."""


@pytest.fixture(autouse=True)
def registered():
    """Register the converters of fastnn's estimators."""
    fastnn.export.register_skl2onnx()


def run(model, X):
    """Return the results of a model in ONNX."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"X": X})


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("model")])
@pytest.mark.parametrize("dtype", LIMITS)
def test_pipelines_with_every_kind_of_estimator_are_converted(case, dtype):
    model, samples = fitted(case, dtype.type)
    scaler = StandardScaler().fit(samples * 3 + 1)
    pipeline = make_pipeline(scaler, model)
    options = {"zipmap": False} if hasattr(model, "predict_proba") else None
    exported = skl2onnx.to_onnx(pipeline, samples[:1], options=options)
    results = run(exported, samples * 3 + 1)
    assert results[-1].dtype == dtype
    limit = LIMITS[dtype] * 20  # the scaler rounds too
    assert error(results[-1], outputs(model, samples)) < limit
    if len(results) == 2:
        np.testing.assert_array_equal(results[0], model.predict(samples))


def test_probabilities_may_be_maps_and_samples_integers():
    rows = np.round(X * 3).astype(np.int64)
    model = fastnn.MLPClassifier((4,), solver="lbfgs", max_iter=20, random_state=0).fit(rows, labels)
    classes, maps = run(skl2onnx.to_onnx(make_pipeline(model), rows[:1]), rows)
    np.testing.assert_array_equal(classes, model.predict(rows))
    P = np.array([[one[k] for k in range(3)] for one in maps])
    assert error(P, model.predict_proba(rows)) < 2e-6


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("zipmap", [True, "columns"])
@pytest.mark.parametrize(
    "classes", [[False, True], [0.0, 1.0, 5.0], ["a", "b"], [3, 4], np.eye(3, dtype=int)]
)
def test_maps_have_classes_of_every_type(classes, zipmap, dtype):
    samples, y = X.astype(dtype), np.array(classes)[labels % len(classes)]
    model = fastnn.MLPClassifier((4,), solver="lbfgs", max_iter=20, random_state=0).fit(samples, y)
    found, *P = run(skl2onnx.to_onnx(model, samples[:1], options={id(model): {"zipmap": zipmap}}), samples)
    np.testing.assert_array_equal(found, model.predict(samples))
    if zipmap is True:
        P = np.array([[one[key] for key in model.classes_] for one in P[0]]).T
    assert error(np.transpose(P), model.predict_proba(samples)) < LIMITS[np.dtype(np.float32)]


def test_estimators_within_others_keep_the_dtype_of_the_samples():
    members = [(f"n{k}", fastnn.MLPClassifier((4,), max_iter=20, random_state=k)) for k in range(2)]
    voting = VotingClassifier(members, voting="soft", flatten_transform=False).fit(X, labels > 0)
    found, P = run(skl2onnx.to_onnx(voting, X[:1], options={"zipmap": False}), X)
    np.testing.assert_array_equal(found, voting.predict(X))
    assert P.dtype == np.float64
    assert error(P, voting.predict_proba(X)) < 1e-13


def test_classes_derived_by_users_are_converted():
    """Classes derived before and after the registration are converted."""

    class Later(fastnn.MLPRegressor):
        pass

    for kind in (Derived, Later):
        model = kind(hidden_layer_sizes=(3,), solver="lbfgs", max_iter=9, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X, labels)
        (values,) = run(skl2onnx.to_onnx(make_pipeline(model), X[:1]), X)
        assert error(values[:, 0], model.predict(X)) < 1e-14
