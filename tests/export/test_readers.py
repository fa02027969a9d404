"""skl2onnx converts fastnn's estimators by fastnn's converters."""

import numpy as np
import pytest
from export_models import CASES, LIMITS, X, error, fitted, labels, outputs, run_onnx
from sklearn.ensemble import VotingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn

# Few epochs do not converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SMALL = {"hidden_layer_sizes": (4,), "solver": "lbfgs", "max_iter": 20, "random_state": 0}


class Derived(fastnn.MLPRegressor):
    """A user's class, derived before the converters are registered."""


@pytest.fixture
def skl2onnx():
    module = pytest.importorskip("skl2onnx", reason="the extra onnx is not installed")
    fastnn.export.register_skl2onnx()
    return module


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("model")])
@pytest.mark.parametrize("dtype", LIMITS)
def test_pipelines_with_every_kind_of_estimator_are_converted(case, dtype, skl2onnx):
    model, samples = fitted(case, dtype.type)
    pipeline = make_pipeline(StandardScaler().fit(samples * 3 + 1), model)
    options = {"zipmap": False} if hasattr(model, "predict_proba") else None
    results = run_onnx(skl2onnx.to_onnx(pipeline, samples[:1], options=options), samples * 3 + 1)
    assert results[-1].dtype == dtype
    assert error(results[-1], outputs(model, samples)) < LIMITS[dtype] * 20  # the scaler rounds too
    if len(results) == 2:
        np.testing.assert_array_equal(results[0], model.predict(samples))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("zipmap", [True, "columns"])
@pytest.mark.parametrize("classes", [[False, True], [0.0, 1.0, 5], ["a", "b"], [3, 4], np.eye(3, dtype=int)])
def test_maps_have_classes_of_every_type(classes, zipmap, dtype, skl2onnx):
    samples, y = np.round(3 * X, 1).astype(dtype), np.array(classes)[labels % len(classes)]
    model = fastnn.MLPClassifier(**SMALL).fit(samples, y)
    options = {id(model): {"zipmap": zipmap}}
    found, *P = run_onnx(skl2onnx.to_onnx(model, samples[:1], options=options), samples)
    np.testing.assert_array_equal(found, model.predict(samples))
    if zipmap is True:
        P = np.array([[one[key] for key in model.classes_] for one in P[0]]).T
    assert error(np.transpose(P), model.predict_proba(samples)) < LIMITS[np.dtype(np.float32)]


def test_estimators_within_others_and_classes_derived_by_users_are_converted(skl2onnx):
    members = [(f"n{k}", fastnn.MLPClassifier((4,), max_iter=20, random_state=k)) for k in range(2)]
    voting = VotingClassifier(members, voting="soft", flatten_transform=False).fit(X, labels > 0)
    found, P = run_onnx(skl2onnx.to_onnx(voting, X[:1], options={"zipmap": False}), X)
    np.testing.assert_array_equal(found, voting.predict(X))
    assert P.dtype == np.float64
    assert error(P, voting.predict_proba(X)) < 1e-13

    class Later(fastnn.MLPRegressor):
        pass

    for kind in (Derived, Later):
        model = kind(**SMALL).fit(X, labels)
        (values,) = run_onnx(skl2onnx.to_onnx(make_pipeline(model), X[:1]), X)
        assert error(values[:, 0], model.predict(X)) < 1e-14
