"""Frames: pictures and numbers equal the model's predictions and the results of the reference."""

import numpy as np
import pytest
from playing import FakePage, unpack
from sklearn.metrics import r2_score

from fastnn.play.frames import Artist, Snapshot, View, pack
from fastnn.play.learning_problem import make_problem
from fastnn.play.settings import Settings
from fastnn.reference.layer import ACTIVATIONS
from fastnn.reference.network import Affine, make_chain

SIZES = {"resolution": 24, "unit_resolution": 8}
SMOOTH = {"reduction": "mean", "output_activation": "identity"}


def drawn(state, n_epochs=30, **view):
    """Train on a page; return the problem, the model, and the header and arrays of the last frame."""
    with FakePage() as page:
        page.send("view", **SIZES | view)
        run = page.start(**state)
        for _ in range(n_epochs):
            page.send("epoch")
        page.rest()
        assert page.frames[-1][0]["epoch"] == n_epochs
        return run.problem, page.model, *page.frames[-1]


def lattice(problem, size):
    """Return the centres (size, size, 2) of the pixels from the top row down."""
    left, right, bottom, top = problem.limits
    steps = (np.arange(size) + 0.5) / size
    return np.stack(np.meshgrid(left + (right - left) * steps, top - (top - bottom) * steps), axis=-1)


def test_packing_keeps_names_shapes_and_values():
    arrays = {
        "a": np.arange(5, dtype=np.uint8),
        "b": np.ones((2, 3), np.float32),
        "c": np.empty((0, 7), np.float32),
        "d": np.array([[1, -2]], np.int32).T,
    }
    header, found = unpack(pack({"frame": 3, "why": "ü"}, arrays))
    assert (header["frame"], header["why"]) == (3, "ü")
    for name, array in arrays.items():
        assert found[name].shape == array.shape
        assert (found[name] == array).all()


@pytest.mark.parametrize(
    ("layers", "sizes"),
    [([], (256, 32)), ([32, 32], (256, 32)), ([64, 64], (128, 32)), ([128] * 3, (64, 16))],
)
def test_pictures_of_large_networks_are_sketched(layers, sizes):
    problem, model = make_problem(
        Settings.of_state({"layers": layers, "activations": ["tanh"] * len(layers)})
    )
    artist = Artist(problem, model)
    assert artist.sketch(View(sample=3)) == View(resolution=sizes[0], unit_resolution=sizes[1], sample=3)
    assert artist.sketch(View(**SIZES)) == View(**SIZES)  # small pictures stay as they are


BATCH_NORM = {"batch_norm": True, "layers": [6, 5], "activations": ["relu", "tanh"], "batch_size": 20}


@pytest.mark.parametrize("size", [24, 80])
@pytest.mark.parametrize("state", [{}, {"dataset": "blobs", "classes": 4}, BATCH_NORM], ids=str)
def test_pictures_of_classes_and_probabilities_equal_predictions(state, size):
    problem, model, _, arrays = drawn(state, resolution=size)
    points = lattice(problem, size)
    predicted = model.predict(points.reshape(-1, 2)).reshape(size, size)
    assert (arrays["boundary"] == predicted).mean() > 0.99  # pixels on the boundary itself may differ
    _, _, header, arrays = drawn(state, mode="probability", resolution=size)
    assert header["mode"] == "probability"
    P = model.predict_proba(points.reshape(-1, 2)).reshape(size, size, -1)
    if len(problem.classes) == 2:
        np.testing.assert_allclose(arrays["boundary"] / 255, P[..., 1], atol=0.5 / 255 + 1e-6)
        assert "confidence" not in arrays
    else:
        np.testing.assert_allclose(arrays["confidence"] / 255, P.max(axis=-1), atol=0.5 / 255 + 1e-6)
        assert (arrays["boundary"] == predicted).mean() > 0.99


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"dataset": "blobs"},
        {"dataset": "surface", "output_activation": "identity"},
        {"loss": "sigmoid_binary_cross_entropy"},
    ],
    ids=str,
)
def test_networks_on_computed_features_are_drawn_over_the_plane(state):
    state = {**state, "features": ["x2_squared", "sin_x1", "x1_x2"], "layers": [4, 3]}
    state["activations"] = ["tanh", "relu"]
    points = lattice(make_problem(Settings.of_state(state))[0], 24).reshape(-1, 2)
    x1, x2 = points.T
    inputs = np.column_stack([x2**2, np.sin(np.pi * x1), x1 * x2])
    problem, model, _, arrays = drawn(state)
    assert (problem.features(points) == inputs).all()
    predicted = model.predict(inputs).reshape(24, 24)
    if problem.kind == "regression":
        low, high = problem.y.min(), problem.y.max()
        np.testing.assert_allclose(
            arrays["boundary"] / 255, np.clip((predicted - low) / (high - low), 0, 1), atol=0.51 / 255
        )
        return
    assert (arrays["boundary"] == predicted).all()
    _, _, _, arrays = drawn(state, mode="probability", sample=5)
    P = model.predict_proba(inputs).reshape(24, 24, -1)
    expected = arrays["confidence"] if len(problem.classes) > 2 else arrays["boundary"]
    np.testing.assert_allclose(
        expected / 255, P.max(axis=-1) if P.shape[-1] > 2 else P[..., -1], atol=0.51 / 255
    )
    np.testing.assert_allclose(arrays["sample.x"], problem.features(problem.X[5:6])[0], rtol=1e-6)
    eighth = lattice(problem, 8).reshape(-1, 2)
    first = np.tanh(problem.features(eighth) @ model.W[0] + model.b[0]).T
    for picture, values in zip(arrays["units"][:4], first, strict=True):
        np.testing.assert_allclose(picture.ravel() / 127.5 - 1, values, atol=1.01 / 255)


def test_the_first_frame_has_the_pictures_of_the_inputs():
    with FakePage() as page:
        page.send("view", unit_resolution=8)
        run = page.start(features=["x2", "x1_squared"])
        header, arrays = page.frames[0]
    assert page.received("started")[0]["features"] == ["x2", "x1²"]
    assert arrays["inputs"].shape == (2, 8, 8)
    x1, x2 = lattice(run.problem, 8).reshape(-1, 2).T
    for picture, (low, high), values in zip(
        arrays["inputs"], header["input_ranges"], (x2, x1**2), strict=True
    ):
        shown = low + picture.ravel() / 255 * (high - low)
        np.testing.assert_allclose(shown, values, atol=(high - low) * 0.51 / 255)


def test_pictures_of_a_regression_are_predictions_clipped_to_the_range_of_targets():
    problem, model, _, arrays = drawn({"dataset": "surface", "layers": [8], **SMOOTH})
    values = model.predict(lattice(problem, 24).reshape(-1, 2)).reshape(24, 24)
    low, high = problem.y.min(), problem.y.max()
    expected = np.clip((values - low) / (high - low), 0, 1)
    np.testing.assert_allclose(arrays["boundary"] / 255, expected, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_unit_pictures_are_the_units_outputs(activation):
    state = {"layers": [4, 3], "activations": [activation, activation], "learning_rate": 0.001}
    problem, model, header, arrays = drawn(state)
    assert arrays["units"].shape == (7, 8, 8)
    points = lattice(problem, 8).reshape(-1, 2)
    chain = make_chain([activation, activation, "tanh"], list(model.W), list(model.b))
    values = []
    for unit in chain[:4]:
        points = unit.forward(points)
        if not isinstance(unit, Affine):
            values += list(points.T)
    for picture, (low, high), expected in zip(arrays["units"], header["unit_ranges"], values, strict=True):
        assert low < high
        shown = low + picture.ravel() / 255 * (high - low)
        np.testing.assert_allclose(shown, expected, atol=(high - low) * 0.51 / 255)


def test_unit_pictures_with_batch_normalisation_use_the_running_statistics():
    problem, model, _, arrays = drawn(BATCH_NORM)
    norm = model.batch_norm[0]
    sums = lattice(problem, 8).reshape(-1, 2) @ model.W[0] + model.b[0]
    scale = norm.scale / np.sqrt(norm.running_variance + 1e-5)
    expected = np.maximum((sums - norm.running_mean) * scale + norm.shift, 0).T
    for picture, values in zip(arrays["units"][:6], expected, strict=True):
        top = values.max() or 1.0
        np.testing.assert_allclose(picture.ravel() / 255 * top, values, atol=top * 0.51 / 255)


@pytest.mark.parametrize(
    "state",
    [
        {"layers": [4, 3], "activations": ["tanh", "softplus"]},
        {"dataset": "surface", "loss": "squared_error", **SMOOTH},
        {"loss": "sigmoid_binary_cross_entropy"},
        {"loss": "multiclass_hinge", "output_activation": "identity"},
        {"layers": [], "activations": []},
    ],
    ids=str,
)
def test_numbers_of_a_sample_equal_the_reference_and_central_differences(state):
    problem, model, header, arrays = drawn(state, sample=7)
    x, y = problem.X[7:8], problem.y[7:8]
    assert header["sample"]["index"] == 7
    assert header["sample"]["target"] == pytest.approx(float(y[0]))
    assert header["sample"]["loss"] == pytest.approx(model.calculate_loss(x, y))
    np.testing.assert_allclose(arrays["sample.x"], x[0], rtol=1e-6)
    n_layers = len(model.W)
    a = x
    for k in range(n_layers):
        z = a @ model.W[k] + model.b[k]
        np.testing.assert_allclose(arrays[f"sample.z.{k}"], z[0], rtol=1e-5, atol=1e-6)
        names = [*problem.settings.activations, problem.settings.output_activation]
        a = ACTIVATIONS[names[k]]().forward(z)
        np.testing.assert_allclose(arrays[f"sample.a.{k}"], a[0], rtol=1e-5, atol=1e-6)
    output = model.predict(x) if problem.kind == "regression" else model.predict_proba(x)
    np.testing.assert_allclose(arrays["sample.p"], output[0], rtol=1e-5, atol=1e-6)
    # The derivative by a bias is that by the sum to which it is added: compare with central differences.
    for k in range(n_layers):
        for unit in range(model.b[k].shape[1]):
            losses = []
            for change in (1e-5, -1e-5):
                model.b[k][0, unit] += change
                losses.append(model.calculate_loss(x, y))
                model.b[k][0, unit] -= change
            slope = (losses[0] - losses[1]) / 2e-5
            assert arrays[f"sample.d.{k}"][unit] == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_a_sample_out_of_range_has_no_numbers():
    _, _, header, arrays = drawn({}, sample=200)
    assert "sample" not in header
    assert "sample.x" not in arrays


def test_the_layout_describes_the_flat_vector_of_weights():
    with FakePage() as page:
        run = page.start(**BATCH_NORM)
        page.train_to(20)
        page.wait(lambda: page.frames[-1][0]["step"] == run.latest.step)
        flat = page.frames[-1][1]["weights"]
        model = run.model_of(run.latest)
        layout = {part["name"]: part for part in page.received("started")[0]["layout"]}
    assert set(layout) == {"W0", "b0", "scale0", "shift0", "W1", "b1", "scale1", "shift1", "W2", "b2"}
    found = {
        name: flat[part["offset"] :][: int(np.prod(part["shape"]))].reshape(part["shape"])
        for name, part in layout.items()
    }
    for k in range(3):
        np.testing.assert_allclose(found[f"W{k}"], model.W[k], rtol=1e-6)
        np.testing.assert_allclose(found[f"b{k}"], model.b[k][0], rtol=1e-6)
    np.testing.assert_allclose(found["scale1"], model.batch_norm[1].scale[0], rtol=1e-6)


def test_a_frame_of_the_largest_network_has_every_unit():
    state = {"layers": [128] * 8, "activations": ["relu"] * 8, "init": "he_normal", "n_samples": 20}
    _, _, header, arrays = drawn(state, n_epochs=0)
    assert arrays["units"].shape == (1024, 8, 8)
    assert len(header["unit_ranges"]) == 1024


def test_a_frame_of_units_that_overflow_has_finite_ranges():
    with FakePage() as page:
        run = page.start(layers=[4, 4], activations=["relu", "relu"], dtype="float32")
    huge = np.full_like(run.latest.parameters, 1e30)
    header, arrays = Artist(run.problem, run.model).draw(Snapshot(0, 0, huge, run.latest.statistics), View())
    header, arrays = unpack(pack(header, arrays))  # raises an error if JSON cannot hold a number
    assert np.isfinite(header["unit_ranges"]).all()
    assert (arrays["units"][4:] == 255).any()


def test_the_header_has_losses_and_scores():
    problem, model, header, _ = drawn({"dataset": "circles", "test_share": 0})
    assert header["loss"] == [pytest.approx(model.calculate_loss(problem.X, problem.y)), None]
    assert header["score"] == [pytest.approx((model.predict(problem.X) == problem.y).mean()), None]


def test_the_score_of_a_regression_is_its_coefficient_of_determination():
    problem, model, header, _ = drawn({"dataset": "surface", **SMOOTH})
    expected = [r2_score(y, model.predict(X)) for X, y in (problem.training_data, problem.test_data)]
    assert header["score"] == pytest.approx(expected)
