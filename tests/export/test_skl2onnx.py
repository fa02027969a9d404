"""skl2onnx: it converts pipelines with fastnn's estimators to ONNX."""

import warnings

import numpy as np
import pytest
from export_models import CASES, LIMITS, X, error, fitted, labels, outputs
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn

skl2onnx = pytest.importorskip("skl2onnx", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

# Few passes do not converge.
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
