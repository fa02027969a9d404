"""ONNX: the graphs are valid, and onnxruntime computes from them what the models compute."""

import json

import numpy as np
import pytest
from export_models import CASES, LIMITS, X, error, fitted, labels, network, outputs

import fastnn
from fastnn.reference.layer import ACTIVATIONS

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

# Few epochs do not converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def run(model, X):
    """Return the results of a model in ONNX."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: X})


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_and_depth_is_exported(activation, depth, dtype):
    model = network(activation, depth, dtype)
    classes, P = run(model.to_onnx(), X.astype(dtype))
    assert P.dtype == dtype
    assert error(P, model.predict_proba(X)) < LIMITS[dtype]
    np.testing.assert_array_equal(classes, model.predict(X))


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_extreme_sums_have_the_same_activations(activation, dtype):
    model = fastnn.Model(
        [1, 1, 1], activation=activation, output_activation="identity", loss="squared_error", dtype=dtype
    )
    for W, b in zip(model.W, model.b, strict=True):
        W[...], b[...] = 1, 0
    samples = np.array([[-1e30], [-1e4], [-90.0], [-0.0], [90.0], [1e4], [1e30]], dtype)
    (values,) = run(model.to_onnx(), samples)
    np.testing.assert_allclose(values, model.predict(samples), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_model_is_exported(case, dtype):
    model, samples = fitted(case, dtype.type)
    exported = model.to_onnx()
    for rows in (samples, samples[:1]):  # any number of rows
        results = run(exported, rows)
        assert results[-1].dtype == dtype
        assert error(results[-1], outputs(model, rows)) < LIMITS[dtype]
        if len(results) == 2:
            predicted = model.predict(rows)
            np.testing.assert_array_equal(results[0], predicted)
            assert results[0].shape == predicted.shape
            # NumPy's text and small integers have other types in ONNX.
            assert results[0].dtype.kind == {"U": "O", "u": "i"}.get(
                predicted.dtype.kind, predicted.dtype.kind
            )
    names = ["variable"] if len(results) == 1 else ["label", "probabilities"]
    assert [output.name for output in exported.graph.output] == names
    assert {node.op_type for node in exported.graph.node}.isdisjoint({"ZipMap", "Gelu", "Elu", "Softplus"})
    used = {name for node in exported.graph.node for name in node.input}
    assert {constant.name for constant in exported.graph.initializer} <= used


def test_a_dtype_can_be_chosen():
    model, samples = fitted("classes")
    P = run(model.to_onnx(dtype="float32"), samples.astype(np.float32))[1]
    assert P.dtype == np.float32
    assert error(P, model.predict_proba(samples)) < 2e-6


@pytest.mark.needs("pandas")
def test_a_file_holds_the_graph_and_the_names_of_features(tmp_path):
    import pandas

    frame = pandas.DataFrame(X, columns=list("abcd"))
    model = fastnn.MLPClassifier((3,), solver="lbfgs", max_iter=20).fit(frame, labels)
    exported = model.to_onnx(tmp_path / "net.onnx")
    loaded = onnx.load(tmp_path / "net.onnx")
    assert loaded == exported
    metadata = {entry.key: entry.value for entry in loaded.metadata_props}
    assert metadata.pop("fastnn.version") == fastnn.__version__
    found = {key: json.loads(value) for key, value in metadata.items()}
    assert found == {"feature_names": list("abcd"), "classes": model.classes_.tolist()}
    assert loaded.producer_version == fastnn.__version__
    assert [(one.domain, one.version) for one in loaded.opset_import] == [("", 13)]


def test_what_onnx_cannot_express_is_refused(tmp_path):
    mixed = np.array([2**40, 2**70], object)[labels[:100]]
    big = fastnn.MLPClassifier((2,), solver="lbfgs", max_iter=5).fit(X[:100], labels[:100])
    big.classes_ = np.unique(mixed)
    with pytest.raises(ValueError, match="ONNX has no type for the classes.*to_c"):
        big.to_onnx()
    with pytest.raises(ValueError, match="dtype must be float32 or float64, got 'int8'"):
        big.to_onnx(dtype="int8")
    with pytest.raises(ValueError, match="there is no folder"):
        fitted("classes")[0].to_onnx(tmp_path / "nowhere" / "net.onnx")


def test_a_class_that_utf_8_cannot_hold_is_refused(tmp_path):
    model = fastnn.MLPClassifier((2,), solver="lbfgs", max_iter=5)
    model.fit(X[:100], np.array(["a", "b\ud800"])[labels[:100] % 2])
    message = r"the class 'b\\ud800' holds '\\ud800', half of a surrogate pair.*Rename the class"
    with pytest.raises(ValueError, match=message):
        model.to_onnx(tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())
