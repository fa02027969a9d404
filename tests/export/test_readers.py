"""Programs that read `coefs_` and `intercepts_` see weights with batch normalisation folded in."""

import shutil

import numpy as np
import pytest
from export_models import LIMITS, X, error, fitted, labels, outputs

import fastnn

# Few epochs do not converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CASES = ("classes", "bool", "number")


@pytest.mark.parametrize("case", [*CASES, "labels", "poisson", "numbers"])
def test_a_forward_pass_by_hand_gives_the_scores(case):
    model, _ = fitted(case)
    assert model.model_.batch_norm
    units = X
    for k, (W, b) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        units = units @ W + b
        if k < len(model.coefs_) - 1:
            units = np.maximum(units, 0)
    np.testing.assert_allclose(units, model._outputs(X, "identity"), atol=1e-13)


def test_folded_weights_cannot_be_written():
    model, _ = fitted("classes")
    before = model.predict_proba(X)
    for name in ("coefs_", "intercepts_"):
        values = getattr(model, name)
        with pytest.raises(ValueError, match="read-only"):
            values[0][...] = 0
        with pytest.raises(ValueError, match=f"{name} of a network with batch normalisation.*model_.W"):
            values[0] = np.zeros(values[0].shape)
        with pytest.raises(ValueError, match=f"{name} of a network with batch normalisation.*model_.W"):
            setattr(model, name, [np.zeros(one.shape) for one in values])
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_weights_without_batch_normalisation_stay_live_views():
    model = fastnn.MLPRegressor(hidden_layer_sizes=(3,), solver="lbfgs", max_iter=20, random_state=0)
    model.fit(X, labels)
    model.coefs_[-1][...] = 0
    model.intercepts_[-1][...] = 2
    np.testing.assert_array_equal(model.predict(X), 2)


@pytest.mark.parametrize("case", CASES)
def test_the_converter_of_scikit_learn_gives_the_same_predictions(case):
    """A user may register scikit-learn's converter, which reads `coefs_` and `intercepts_`."""
    skl2onnx = pytest.importorskip("skl2onnx", reason="the extra onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from skl2onnx.common import shape_calculator
    from skl2onnx.operator_converters import multilayer_perceptron as converters

    model, samples = fitted(case)
    kind = "regressor" if case == "number" else "classifier"

    class Borrowed(type(model)):
        pass

    borrowed = Borrowed.__new__(Borrowed)
    borrowed.__dict__.update(model.__dict__)
    skl2onnx.update_registered_converter(
        Borrowed, f"Borrowed {kind}",
        getattr(shape_calculator, f"calculate_linear_{kind}_output_shapes"),
        getattr(converters, f"convert_sklearn_mlp_{kind}"),
        options={"zipmap": [True, False], "nocl": [True, False]} if case != "number" else None,
    )  # fmt: skip
    options = {"zipmap": False} if case != "number" else None
    exported = skl2onnx.to_onnx(borrowed, samples[:1], options=options)
    session = onnxruntime.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])
    results = session.run(None, {"X": samples})
    assert error(results[-1], outputs(borrowed, samples)) < LIMITS[np.dtype(np.float64)]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
@pytest.mark.parametrize("case", ["classes", "bool"])
def test_emlearn_gives_the_same_predictions(case, tmp_path, monkeypatch):
    errors = np.geterr()
    emlearn = pytest.importorskip("emlearn", reason="emlearn is not installed")
    np.seterr(**errors)  # the import of emlearn makes NumPy raise floating-point errors
    model, samples = fitted(case)
    monkeypatch.chdir(tmp_path)  # emlearn writes to the current folder
    converted = emlearn.convert(model, method="inline")
    np.testing.assert_array_equal(converted.predict(samples), model.predict(samples).astype(int))
