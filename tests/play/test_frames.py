"""Frames: pictures and numbers equal the model's predictions and the results of the reference."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score

from fastnn.reference.layer import ACTIVATIONS

LINEAR = {"reduction": "mean", "output_activation": "identity"}
COMPUTED = {"features": ["x2_squared", "sin_x1", "x1_x2"], "layers": [4, 3], "activations": ["tanh", "relu"]}
BATCH_NORM = {"batch_norm": True, "layers": [6, 5], "activations": ["relu", "tanh"], "batch_size": 20}
PROBABILITIES = [{}, {"loss": "sigmoid_binary_cross_entropy"}, {"dataset": "blobs", "classes": 4}]
PROBABILITIES += [{"loss": "multiclass_hinge", "output_activation": "identity"}, BATCH_NORM, COMPUTED]
STATES = [*PROBABILITIES, {"test_share": 0, "dataset": "circles"}, {"layers": [], "activations": []}]
STATES += [{"dataset": "surface", "layers": [8], **LINEAR}, {"dataset": "surface", **LINEAR, **COMPUTED}]
STATES += [{"dataset": "blobs", **COMPUTED}]
STATES += [{"layers": [4, 3], "activations": [name] * 2, "learning_rate": 0.001} for name in ACTIVATIONS]


def train(page, state, n_epochs=30, **view):
    """Train on a page for some epochs; return the problem, and the header and arrays of the last frame."""
    page.send("view", **{"resolution": 80, "unit_resolution": 8, "sample": 7} | view)
    run = page.start(**state)
    for _ in range(n_epochs):
        page.send("epoch")
    page.rest()
    assert page.frames[-1][0]["epoch"] == n_epochs
    return run.problem, *page.frames[-1]


def lattice(problem, size):
    """Return the centres (size * size, 2) of the pixels from the top row down."""
    left, right, bottom, top = problem.limits
    steps = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(left + (right - left) * steps, top - (top - bottom) * steps)
    return np.column_stack([x.ravel(), y.ravel()])


def forward(problem, model, inputs):
    """Return the sums and activations (n, units) of every layer, normalised by the running statistics."""
    layers, a = [], inputs
    for k, name in enumerate([*problem.settings.activations, problem.settings.output_activation]):
        z = a @ model.W[k] + model.b[k]
        if k < len(model.batch_norm):
            norm = model.batch_norm[k]
            z = (z - norm.running_mean) / np.sqrt(norm.running_variance + 1e-5) * norm.scale + norm.shift
        a = ACTIVATIONS[name]().forward(z)
        layers.append((z, a))
    return layers


def check_pictures(pictures, ranges, values):
    """Check that pictures (n, 8, 8) show values (64, n), from the low to the high end of their ranges."""
    assert len(pictures) == len(ranges) == values.shape[1]
    for picture, (low, high), expected in zip(pictures, ranges, values.T, strict=True):
        assert low < high
        shown = low + picture.ravel() / 255 * (high - low)
        np.testing.assert_allclose(shown, expected, atol=(high - low) * 0.51 / 255)


def check_sample(problem, model, header, arrays):
    """Compare the numbers of sample 7 with the reference, and derivatives with central differences."""
    x, y = problem.features(problem.X[7:8]), problem.y[7:8]
    loss = pytest.approx(model.calculate_loss(x, y))
    assert header["sample"] == {"index": 7, "target": pytest.approx(float(y[0])), "loss": loss}
    close = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(arrays["sample.x"], x[0], **close)
    for k, (z, a) in enumerate(forward(problem, model, x)):
        np.testing.assert_allclose(arrays[f"sample.z.{k}"], z[0], **close)
        np.testing.assert_allclose(arrays[f"sample.a.{k}"], a[0], **close)
    output = model.predict(x) if problem.kind == "regression" else model.predict_proba(x)
    np.testing.assert_allclose(arrays["sample.p"].ravel()[-1], np.ravel(output)[-1], **close)
    # The derivative by a bias is that by the sum to which it is added.
    for k in range(len(model.b) if not model.batch_norm else 0):
        for unit in range(model.b[k].shape[1]):
            losses = []
            for change in (1e-5, -1e-5):
                model.b[k][0, unit] += change
                losses.append(model.calculate_loss(x, y))
                model.b[k][0, unit] -= change
            slope = (losses[0] - losses[1]) / 2e-5
            assert arrays[f"sample.d.{k}"][unit] == pytest.approx(slope, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("state", STATES, ids=str)
def test_a_frame_shows_what_the_model_and_the_reference_compute(page, state):
    problem, header, arrays = train(page, state)
    model, (first, pictures) = page.model, page.frames[0]
    layout = {part["name"]: part for part in page.received("started")[0]["layout"]}
    inputs, eighth = (problem.features(lattice(problem, size)) for size in (80, 8))
    predicted, boundary = model.predict(inputs), arrays["boundary"].ravel()
    if problem.kind == "regression":
        low, high = problem.y.min(), problem.y.max()
        shown = np.clip((predicted.ravel() - low) / (high - low), 0, 1)
        np.testing.assert_allclose(boundary / 255, shown, atol=0.51 / 255)
    else:
        assert (boundary == predicted.ravel()).mean() > 0.99  # pixels on the boundary itself may differ
    check_pictures(pictures["inputs"], first["input_ranges"], eighth)
    hidden = [eighth[:, :0], *(a for _, a in forward(problem, model, eighth)[:-1])]
    check_pictures(arrays["units"], header["unit_ranges"], np.concatenate(hidden, axis=1))
    check_sample(problem, model, header, arrays)
    # Losses and scores of training and test data, and the place of every parameter in the flat vector.
    score = r2_score if problem.kind == "regression" else accuracy_score
    for k, rows in enumerate((problem.train, problem.test)):
        X, y = problem.features(problem.X[rows]), problem.y[rows]
        expected = [model.calculate_loss(X, y), score(y, model.predict(X))] if len(y) else [None, None]
        assert [header["loss"][k], header["score"][k]] == pytest.approx(expected)
    parts = {f"W{k}": W for k, W in enumerate(model.W)} | {f"b{k}": b[0] for k, b in enumerate(model.b)}
    for k, norm in enumerate(model.batch_norm):
        parts |= {f"scale{k}": norm.scale[0], f"shift{k}": norm.shift[0]}
    assert set(layout) == set(parts)
    for name, values in parts.items():
        found = arrays["weights"][layout[name]["offset"] :][: values.size].reshape(layout[name]["shape"])
        np.testing.assert_allclose(found, values, rtol=1e-6)


@pytest.mark.parametrize("size", [24, 80])
@pytest.mark.parametrize("state", PROBABILITIES, ids=str)
def test_a_picture_of_probabilities_shows_that_of_the_second_class_or_the_highest(page, state, size):
    problem, header, arrays = train(page, state, mode="probability", resolution=size, sample=200)
    P = page.model.predict_proba(problem.features(lattice(problem, size)))
    assert header["mode"] == "probability"
    if len(problem.classes) == 2:
        assert "confidence" not in arrays
        np.testing.assert_allclose(arrays["boundary"].ravel() / 255, P[:, -1], atol=0.51 / 255)
    else:
        np.testing.assert_allclose(arrays["confidence"].ravel() / 255, P.max(axis=1), atol=0.51 / 255)
        assert (arrays["boundary"].ravel() == P.argmax(axis=1)).mean() > 0.99
    # A number that no sample has shows none.
    assert "sample" not in header
    assert "sample.x" not in arrays
