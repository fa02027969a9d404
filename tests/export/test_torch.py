"""PyTorch: exported modules compute what the models compute."""

import builtins
import io

import numpy as np
import pytest
from export_models import CASES, LIMITS, X, error, fitted, network, outputs

import fastnn
from fastnn.reference import layer
from fastnn.reference.layer import ACTIVATIONS


def computed(module, X):
    """Return the outputs of a module as an array."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with torch.no_grad():
        return module(torch.from_numpy(X)).numpy()


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_and_depth_is_exported(activation, depth, dtype):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    model, samples = network(activation, depth, dtype), X.astype(dtype)
    P = computed(model.to_torch(), samples)
    assert P.dtype == dtype
    assert error(P, model.predict_proba(samples)) < LIMITS[dtype]


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_extreme_sums_have_the_same_activations(activation, dtype):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    model = fastnn.Model(
        [1, 1, 1], activation=activation, output_activation="identity", loss="squared_error", dtype=dtype
    )
    for W, b in zip(model.W, model.b, strict=True):
        W[...], b[...] = 1, 0
    sums = [-1e30, -1e4, -90, -40, -20, -0.0, 19, 21, 39, 41, 90, 1e4, 1e30]
    samples = np.array(sums, dtype)[:, None]
    values = computed(model.to_torch(), samples)
    np.testing.assert_allclose(values, model.predict(samples), rtol=LIMITS[dtype], atol=LIMITS[dtype])


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_model_is_exported(case, dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    model, samples = fitted(case, dtype.type)
    module = model.to_torch()
    assert not module.training
    assert error(computed(module, samples), outputs(model, samples)) < LIMITS[dtype]
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    np.testing.assert_array_equal(computed(loaded, samples), computed(module, samples))


@pytest.mark.parametrize("case", ["classes", "bool", "model"])
def test_scores_come_before_the_last_module(case):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    model, samples = fitted(case)
    module = model.to_torch()
    scores = computed(module[:-1], samples)
    np.testing.assert_allclose(
        torch.softmax(torch.from_numpy(scores), 1).numpy(), model.predict_proba(samples)
    )
    targets = torch.from_numpy(model.predict(samples).astype(np.int64))
    torch.nn.functional.cross_entropy(module[:-1](torch.from_numpy(samples)), targets).backward()
    assert module[0].weight.grad.abs().max() > 0


def test_a_dtype_can_be_chosen_and_the_global_generator_is_not_used():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    state = torch.get_rng_state()
    module = fitted("classes")[0].to_torch(dtype=np.float32)
    assert module[0].weight.dtype == torch.float32
    assert torch.equal(state, torch.get_rng_state())


def test_an_activation_that_pytorch_lacks_is_refused(monkeypatch):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    description = fitted("model")[0]._description()
    last = description.members[0].layers[-1]
    object.__setattr__(last, "activation", "bent")
    try:
        monkeypatch.setitem(layer.ACTIVATIONS, "bent", layer.Tanh)
        from fastnn.export.torch import to_torch

        with pytest.raises(ValueError, match="no module for the activation 'bent': to_onnx and to_c"):
            to_torch(description)
    finally:
        object.__setattr__(last, "activation", "tanh")


def test_a_missing_pytorch_is_an_error_that_says_what_to_install(monkeypatch):
    genuine = builtins.__import__

    def refuse(name, *arguments, **options):
        if name == "torch" and not (len(arguments) == 4 and arguments[3]):
            raise ImportError("no torch")
        return genuine(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match="to_torch needs PyTorch.*pytorch.org"):
        fastnn.Model([2, 2]).to_torch()
