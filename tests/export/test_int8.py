"""C headers with int8 weights: they compute the bits of the twin in NumPy, and accuracy is kept."""

import re
import warnings

import c_programs
import numpy as np
import pytest
from export_models import X, fitted
from sklearn.datasets import load_digits, make_moons
from sklearn.model_selection import train_test_split

import fastnn
from fastnn.export.c.quantization import MAX_SUM, quantize
from fastnn.export.c.text import array
from fastnn.reference.layer import ACTIVATIONS


def printing(name, network, X):
    """Return a C function ``print_NAME`` that prints the int16 inputs and scores of float samples."""
    n_in, n_out = X.shape[1], network.layers[-1].biases.size
    return array("float", f"{name}_samples", X.astype(np.float32)) + (
        f"static void print_{name}(void)\n{{\n    for (int n = 0; n < {len(X)}; n++) {{\n"
        f"        int16_t q[{n_in}], s[{n_out}];\n        {name}_inputs({name}_samples + n * {n_in}, q);\n"
        f"        {name}_scores(q, s);\n"
        f'        for (int i = 0; i < {n_in}; i++) printf("%d ", q[i]);\n'
        f'        for (int k = 0; k < {n_out}; k++) printf("%d ", s[k]);\n    }}\n    printf("\\n");\n}}\n'
    )


def check_bits(models, calibration, samples, tmp_path, language):
    """Assert that compiled programs and quantised networks in NumPy compute the same integers."""
    files, body, networks = {}, "", {}
    for name, model in models.items():
        files[f"{name}.h"] = model.to_c(name=name, dtype="int8", X=calibration)
        networks[name] = quantize(model._description(), calibration)
        body += printing(name, networks[name], samples)
    files["main.c"] = c_programs.main(models, body)
    flags = [f"-D{name.upper()}_SELF_TEST" for name in models]
    lines = c_programs.run(tmp_path, language, files, flags).splitlines()
    for line, network in zip(lines, networks.values(), strict=True):
        inputs = network.inputs(samples)
        expected = np.hstack([inputs, network.scores(inputs)])
        np.testing.assert_array_equal(np.array(line.split(), int).reshape(len(samples), -1), expected)
        assert max(layer.largest_sum for layer in network.layers) <= MAX_SUM


# Every activation at every depth as C, and all in one program as C++: the code is the same.
PROGRAMS = [
    *(("C", {f"net{depth}": (name, depth) for depth in (1, 2, 3, 4)}) for name in ACTIVATIONS),
    ("C++", {f"{name}_net": (name, 3) for name in ACTIVATIONS}),
]


@pytest.mark.parametrize(("language", "networks"), PROGRAMS)
def test_every_activation_and_depth_has_the_bits_of_the_twin(language, networks, tmp_path):
    """Some samples are outside of the calibrated range, to which inputs are clipped."""
    models = {
        name: fastnn.Model(
            [4, *[9] * (depth - 1), 3],
            activation=activation,
            output_activation=activation,
            random_state=depth,
        )
        for name, (activation, depth) in networks.items()
    }
    check_bits(models, X[:60], np.vstack([X, 1e3 * X[:9], -1e30 * X[:9]]), tmp_path, language)


def test_sums_that_would_overflow_have_the_bits_of_the_twin(tmp_path):
    """Many inputs with equal weights, or biases far larger than weights, need a coarser scale of the sums."""
    wide = fastnn.Model([700, 3, 2], activation="relu", output_activation="identity", random_state=0)
    wide.W[0][...] = 1.0
    wide.b[0][...] = [[1e6, -1e6, 0.0]]
    rng = np.random.default_rng(0)
    check_bits({"wide": wide}, rng.normal(size=(50, 700)), rng.normal(size=(9, 700)) * 9, tmp_path, "C")


def test_zeros_have_the_bits_of_the_twin(tmp_path):
    zero = fastnn.Model([2, 3, 2], activation="gelu", random_state=0)
    for W, b in zip(zero.W, zero.b, strict=True):
        W[...], b[...] = 0, 0
    check_bits({"zero": zero}, np.zeros((4, 2)), np.array([[0.0, 0.0], [1.0, -1.0]]), tmp_path, "C")


@pytest.mark.parametrize("activation", ["relu", "tanh", "silu"])
@pytest.mark.parametrize("data", ["digits", "moons"])
def test_accuracy_is_kept(data, activation):
    """The accuracy on test samples is at most half a point below that of the network."""
    X, y = load_digits(return_X_y=True) if data == "digits" else make_moons(2000, noise=0.2, random_state=0)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = fastnn.MLPClassifier(
            (32, 16), activation=activation, learning_rate_init=0.005, max_iter=100, random_state=0
        ).fit(X, y)
    network = quantize(model._description(), X)
    scores = network.scores(network.inputs(X_test))
    predicted = scores[:, 0] > 0 if data == "moons" else scores.argmax(axis=1)
    assert model.score(X_test, y_test) > 0.9
    assert (predicted == y_test).mean() >= model.score(X_test, y_test) - 0.005


def test_labels_and_numbers_are_predicted(tmp_path):
    files, body, expected = {}, "", []
    for name, case in (("labels", "labels"), ("number", "number"), ("rate", "poisson")):
        model, _ = fitted(case)
        network = quantize(model._description(), X)
        files[f"{name}.h"] = model.to_c(name=name, dtype="int8", X=X)
        body += array("int16_t", f"{name}_inputs_of", network.inputs(X))
        scores = network.scores(network.inputs(X))
        kind, size = ("unsigned char", 3) if name == "labels" else ("float", 1)
        body += (
            f"static void print_{name}(void)\n{{\n    for (int n = 0; n < {len(X)}; n++) {{\n"
            f"        {kind} y[{size}];\n        {name}_predict({name}_inputs_of + n * 4, y);\n"
            f'        for (int k = 0; k < {size}; k++) printf("%.9g ", (double)y[k]);\n    }}\n'
            '    printf("\\n");\n}\n'
        )
        scale = np.float32(network.layers[-1].scale)
        if name == "labels":
            expected.append((scores > 0).ravel())
        else:
            expected.append((np.exp(scores * scale) if name == "rate" else scores * scale).ravel())
    files["main.c"] = c_programs.main(["labels", "number", "rate"], body)
    flags = [f"-D{name.upper()}_SELF_TEST" for name in ("labels", "number", "rate")]
    printed = c_programs.run(tmp_path, "C", files, flags)
    for line, values in zip(printed.splitlines(), expected, strict=True):
        np.testing.assert_allclose(np.array(line.split(), float), values, rtol=1e-6)
    assert (expected[0].reshape(-1, 3) == fitted("labels")[0].predict(X)).mean() > 0.99
    assert np.abs(expected[1] - fitted("number")[0].predict(X)).max() < 0.02
    np.testing.assert_allclose(expected[2], fitted("poisson")[0].predict(X), rtol=0.02)
    assert "which calls expf for every number" in " ".join(files["rate.h"].replace(" * ", " ").split())
    assert "#include <math.h>" not in files["number.h"]


def test_the_comment_states_memory_and_accuracy():
    model = fastnn.Model([64, 32, 16, 10], activation=["tanh", "relu"], output_activation="identity")
    text = " ".join(model.to_c(dtype="int8", X=np.random.default_rng(0).normal(size=(99, 64))).split())
    table = 2 * 257
    assert f"flash: {2720 + 8 * 58 + 4 * 64 + table + 60} bytes of constants" in text
    assert "stack: 116 bytes of buffers" in text
    assert re.search(r"on 99 calibration samples, \d+\.\d % of the classes are equal", text)
    assert "excluded for all inputs" in text


def test_what_int8_cannot_express_is_refused():
    model, _ = fitted("classes")
    with pytest.raises(ValueError, match="int8.*needs X"):
        model.to_c(dtype="int8")
    with pytest.raises(ValueError, match="int8 cannot express an ensemble.*float32"):
        fitted("ensemble")[0].to_c(dtype="int8", X=X)
    with pytest.raises(ValueError, match="too small or too large for float32"):
        model.to_c(dtype="int8", X=X * 1e-40)


@pytest.mark.parametrize("factor", [1e200, 1e-200])
def test_scores_that_float32_cannot_hold_are_refused(factor):
    """The header states the scale of the scores in float32: it was "inff", or 0."""
    model = fastnn.Model([2, 3, 2], output_activation="identity", random_state=0)
    model.W[1][...] *= factor
    model.b[1][...] *= factor
    with pytest.raises(ValueError, match=r"the scores of the samples in X reach .*e[+-]\d+, .*'float64'"):
        model.to_c(dtype="int8", X=np.random.default_rng(0).normal(size=(20, 2)))
