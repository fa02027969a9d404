"""Exports to ONNX and PyTorch compute what the models compute, and what none can express is refused."""

import builtins
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from export_models import CASES, LIMITS, X, error, fitted, labels, network, outputs, run_onnx
from scipy.special import expit

import fastnn
from fastnn.export.torch import _list_modules
from fastnn.reference.layer import ACTIVATIONS, Layer, Tanh

# Few epochs do not converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def run_torch(module, X):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with torch.no_grad():
        return module(torch.from_numpy(X)).numpy()


def compute_onnx(model, X):
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    return run_onnx(model.to_onnx(), X)[-1]


def compute_torch(model, X):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    return run_torch(model.to_torch(), X)


WAYS = {"onnx": compute_onnx, "torch": compute_torch}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_and_depth_and_extreme_sums_are_exported(activation, dtype, way):
    for depth in (1, 2, 4):
        model, samples = network(activation, depth, dtype), X.astype(dtype)
        P = WAYS[way](model, samples)
        assert P.dtype == dtype
        assert error(P, model.predict_proba(samples)) < LIMITS[dtype]
    options = {"activation": activation, "output_activation": "identity", "loss": "squared_error"}
    model = fastnn.Model([1, 1, 1], dtype=dtype, **options)
    for W, b in zip(model.W, model.b, strict=True):
        W[...], b[...] = 1, 0
    sums = [-1e30, -1e4, -90, -40, -20, -0.0, 19, 21, 39, 41, 90, 1e4, 1e30]
    samples = np.array(sums, dtype)[:, None]
    limit = 2e-6 if way == "onnx" else LIMITS[dtype]
    np.testing.assert_allclose(WAYS[way](model, samples), model.predict(samples), rtol=limit, atol=limit)


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_model_is_exported_to_onnx(case, dtype):
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    model, samples = fitted(case, dtype.type)
    exported = model.to_onnx()
    for rows in (samples, samples[:1]):  # any number of rows
        results = run_onnx(exported, rows)
        assert results[-1].dtype == dtype
        assert error(results[-1], outputs(model, rows)) < LIMITS[dtype]
        if len(results) == 2:
            predicted = model.predict(rows)
            np.testing.assert_array_equal(results[0], predicted)
            assert results[0].shape == predicted.shape
            # NumPy's text and small integers have other types in ONNX.
            kind = predicted.dtype.kind
            assert results[0].dtype.kind == {"U": "O", "u": "i"}.get(kind, kind)
    names = ["variable"] if len(results) == 1 else ["label", "probabilities"]
    assert [output.name for output in exported.graph.output] == names
    assert {node.op_type for node in exported.graph.node}.isdisjoint({"ZipMap", "Gelu", "Elu", "Softplus"})
    used = {name for node in exported.graph.node for name in node.input}
    assert {constant.name for constant in exported.graph.initializer} <= used


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_model_is_exported_to_pytorch(case, dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    model, samples = fitted(case, dtype.type)
    state = torch.get_rng_state()
    module = model.to_torch()
    assert torch.equal(state, torch.get_rng_state())
    assert not module.training
    assert error(run_torch(module, samples), outputs(model, samples)) < LIMITS[dtype]
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    np.testing.assert_array_equal(run_torch(loaded, samples), run_torch(module, samples))


@pytest.mark.parametrize("case", ["classes", "bool", "model"])
def test_scores_come_before_the_last_module_of_pytorch(case):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    model, samples = fitted(case)
    module = model.to_torch()
    scores = torch.from_numpy(run_torch(module[:-1], samples))
    np.testing.assert_allclose(torch.softmax(scores, 1).numpy(), model.predict_proba(samples))
    targets = torch.from_numpy(model.predict(samples).astype(np.int64))
    torch.nn.functional.cross_entropy(module[:-1](torch.from_numpy(samples)), targets).backward()
    assert module[0].weight.grad.abs().max() > 0


def test_a_dtype_can_be_chosen():
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    model, samples = fitted("classes")
    P = run_onnx(model.to_onnx(dtype="float32"), samples.astype(np.float32))[1]
    assert P.dtype == np.float32
    assert error(P, model.predict_proba(samples)) < 2e-6
    assert model.to_torch(dtype=np.float32)[0].weight.dtype == torch.float32


@pytest.mark.needs("pandas")
def test_a_file_of_onnx_holds_the_graph_and_the_names_of_features(tmp_path):
    import pandas

    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    model = fastnn.MLPClassifier((3,), solver="lbfgs", max_iter=20).fit(frame, labels)
    exported = model.to_onnx(tmp_path / "net.onnx")
    loaded = onnx.load(tmp_path / "net.onnx")
    assert loaded == exported
    metadata = {entry.key: entry.value for entry in loaded.metadata_props}
    assert metadata.pop("fastnn.version") == loaded.producer_version == fastnn.__version__
    found = {key: json.loads(value) for key, value in metadata.items()}
    assert found == {"feature_names": list("abcd"), "classes": model.classes_.tolist()}
    assert [(one.domain, one.version) for one in loaded.opset_import] == [("", 13)]


@pytest.mark.parametrize("dtype", ["garbage", "float16", "int8", ">f8", 3, object(), fastnn.Adam(), int])
def test_a_dtype_other_than_float32_and_float64_is_refused(dtype):
    """NumPy finds None equal to float64, so that None must not stand for an unknown dtype."""
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    for own in (np.float32, np.float64):
        with pytest.raises(ValueError, match="dtype must be float32 or float64, got"):
            fastnn.Model([2, 3, 2], dtype=own).to_onnx(dtype=dtype)


def test_what_onnx_cannot_express_is_refused(tmp_path):
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    model = fastnn.MLPClassifier((2,), solver="lbfgs", max_iter=5)
    model.fit(X[:100], np.array(["a", "b\ud800"])[labels[:100] % 2])
    message = r"the class 'b\\ud800' holds '\\ud800', half of a surrogate pair.*Rename the class"
    with pytest.raises(ValueError, match=message):
        model.to_onnx(tmp_path / "net.onnx")
    model.classes_ = np.array([2**40, 2**70], object)
    with pytest.raises(ValueError, match=r"ONNX has no type for the classes.*to_c"):
        model.to_onnx(tmp_path / "net.onnx")
    with pytest.raises(ValueError, match="there is no folder"):
        fitted("classes")[0].to_onnx(tmp_path / "nowhere" / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_models_that_are_not_fitted_or_not_finite_are_refused():
    model = fastnn.MLPClassifier((2,))
    with pytest.raises(ValueError, match="not fitted"):
        model.to_c()
    network = fastnn.Model([2, 3, 2], random_state=0)
    network.W[0][0, 0] = 1e300
    with pytest.raises(ValueError, match="a weight or bias is too large for float32"):
        network.to_c()
    for value in (np.nan, np.inf):
        network.W[0][0, 0] = value
        for export in (network.to_c, network.to_torch, network.to_sklearn):
            with pytest.raises(ValueError, match="hold NaN or infinity: train it again before the export"):
                export()


def test_a_missing_pytorch_is_an_error_that_says_what_to_install(monkeypatch):
    genuine = builtins.__import__

    def refuse(name, *arguments, **options):
        if name == "torch" and not (len(arguments) == 4 and arguments[3]):
            raise ImportError("no torch")
        return genuine(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"to_torch needs PyTorch.*pytorch\.org"):
        fastnn.Model([2, 2]).to_torch()


# PyTorch's modules of activations, by the formulas of its documentation.
MODULES = SimpleNamespace(
    Sigmoid=lambda: expit,
    Tanh=lambda: np.tanh,
    ReLU=lambda: lambda z: np.maximum(z, 0),
    LeakyReLU=lambda slope: lambda z: np.where(z > 0, z, slope * z),
    ELU=lambda: lambda z: np.where(z > 0, z, np.expm1(z)),
    SELU=lambda: lambda z: 1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(z)),
    Softplus=lambda threshold: lambda z: np.where(z > threshold, z, np.log1p(np.exp(z))),
    SiLU=lambda: lambda z: z * expit(z),
    GELU=lambda form: (
        lambda z: {"tanh": z / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))}[form]
    ),
    Mish=lambda: lambda z: z * np.tanh(np.log1p(np.exp(z))),
)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS.keys() - {"identity"}))
def test_every_activation_has_a_module_of_pytorch(activation):
    sums = np.linspace(-45, 45, 181)
    module = _list_modules(MODULES)[activation]
    np.testing.assert_allclose(module(sums), ACTIVATIONS[activation].value(sums), rtol=1e-12, atol=1e-15)


def test_a_new_activation_is_exported_from_its_formula(monkeypatch):
    class Bent(Layer):
        @staticmethod
        def value(Z):
            return np.where(Z > 1, np.sqrt(np.maximum(Z, 1)), np.clip(Z**2, 0, 1)) - np.log1p(np.exp(-(Z**4)))

    class Odd(Layer):
        @staticmethod
        def value(Z):
            return np.arctan(Z)

    monkeypatch.setitem(ACTIVATIONS, "bent", Bent)
    monkeypatch.setitem(ACTIVATIONS, "odd", Odd)
    model = fastnn.Model([2, 3, 2], activation="bent", random_state=0)
    assert "static inline float net_bent(float z)\n{" in model.to_c()
    with pytest.raises(TypeError, match=r"numpy.arctan cannot be recorded"):
        fastnn.Model([2, 3, 2], activation="odd").to_c()
    pytest.importorskip("torch", reason="PyTorch is not installed")
    monkeypatch.setitem(ACTIVATIONS, "bent", Tanh)
    with pytest.raises(ValueError, match="no activation 'bent': use to_onnx or to_c"):
        model.to_torch()
