"""C headers: compiled programs compute what the models compute."""

import os
import re

import c_programs
import numpy as np
import pytest
from export_models import CASES, LIMITS, NAMES, X, error, fitted, get_kind, network, outputs
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

import fastnn
from fastnn.reference.layer import ACTIVATIONS

# Few epochs do not converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DTYPES = {"float32": np.float32, "float64": np.float64}
few = X[::10]


def check_program(tmp_path, exports, limit=None, language="C"):
    """Check that one program of several headers, which also runs their self-tests, computes as the models do.

    `exports` has by name: model, dtype, kind of the predictions ("classes", "labels" or "numbers"), samples.
    """
    files, body = {}, ""
    for name, (model, dtype, kind, samples) in exports.items():
        files[f"{name}.h"] = fastnn.to_c(model, name=name, dtype=dtype)
        body += c_programs.print_function(name, kind, outputs(model, samples).shape[1], dtype, samples)
    files["main.c"] = c_programs.main(exports, body)
    flags = [f"-D{name.upper()}_SELF_TEST" for name in exports]
    lines = c_programs.run(tmp_path, language, files, flags).splitlines()
    for line, (name, (model, dtype, kind, samples)) in zip(lines, exports.items(), strict=True):
        expected, predicted = outputs(model, samples), model.predict(samples)
        P, decisions = c_programs.parse(line, len(samples), expected.shape[1])
        assert error(P, expected) < (limit or LIMITS)[np.dtype(dtype)], name
        if kind == "classes":
            classes = getattr(model, "classes_", np.arange(expected.shape[1]))
            np.testing.assert_array_equal(classes[decisions[:, 0]], predicted)
        elif kind == "labels":
            np.testing.assert_array_equal(decisions, predicted.reshape(len(samples), -1))


@pytest.mark.slow
@pytest.mark.parametrize("language", c_programs.COMPILERS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_and_depth_is_exported(activation, language, tmp_path):
    """Eight networks in one program show that their names do not clash."""
    exports = {
        f"{dtype}_{depth}": (network(activation, depth, kind), dtype, "classes", few)
        for dtype, kind in DTYPES.items()
        for depth in (1, 2, 3, 4)
    }
    check_program(tmp_path, exports, language=language)


@pytest.mark.slow
@pytest.mark.parametrize("language", c_programs.COMPILERS)
def test_every_kind_of_model_is_exported(dtype, language, tmp_path):
    models = [(fitted(case, dtype.type)[0], get_kind(case)) for case in CASES]
    samples = few.astype(dtype)
    exports = {f"n{k}": (model, dtype.name, kind, samples) for k, (model, kind) in enumerate(models)}
    check_program(tmp_path, exports, language=language)


def test_two_files_may_include_a_header_whose_self_test_finds_a_changed_weight(tmp_path):
    header = fitted("text")[0].to_c(name="net")
    weight = re.search(r"net_weights_1.*\n +(\S+f),", header)[1]
    begin = '#include <stdio.h>\n#include "net.h"\n#include "net.h"\n#include "bad.h"\nint other(void);\n'
    files = {
        "net.h": header,
        "bad.h": re.sub(r"\b(net|NET)_", lambda found: f"{'bad' if found[1] == 'net' else 'BAD'}_", header),
        "other.c": '#include "net.h"\nint other(void);\nint other(void) { return net_self_test(); }\n',
        "main.c": f"{begin}int main(void) {{ for (int k = 0; k < 3; k++) puts(net_classes[k]);\n"
        'printf("%d %d", other(), bad_self_test() > 0); return 0; }',
    }
    files["bad.h"] = files["bad.h"].replace(weight, "9.0f", 1)
    printed = c_programs.run(tmp_path, "C", files, ["-DNET_SELF_TEST", "-DBAD_SELF_TEST"])
    assert printed.splitlines() == [*NAMES, "0 1"]


def test_numbers_have_the_fewest_digits_that_give_the_same_number():
    model = fastnn.Model([2, 2], dtype=np.float32, random_state=0)
    model.W[0][...] = [[0.1, 1e-30], [-3.0, 1.17549435e-38]]
    weights = re.search(r"net_weights_1\[4\] = \{(.*?)\}", model.to_c(), re.DOTALL)[1]
    assert weights.split() == ["0.1f,", "-3.0f,", "1e-30f,", "1.1754944e-38f"]


@pytest.mark.needs("pandas")
def test_the_comment_states_memory_operations_and_features():
    import pandas

    text = fastnn.Model([64, 32, 16, 10], activation=["tanh", "relu"], output_activation="identity").to_c()
    n = 64 * 32 + 32 * 16 + 16 * 10
    names = 10 * 6  # of classes: a digit, a NUL and a pointer of four bytes each
    assert f"flash: {4 * (n + 58) + names} bytes of constants" in text
    assert f"stack: {4 * (32 + 16 + 10)} bytes of buffers" in text
    words = " ".join(text.replace(" * ", " ").split())
    assert f"{n} multiplications with an addition, 10 calls of expf, 32 calls of tanhf" in words
    frame = pandas.DataFrame(X[:, :2], columns=["width */ (mm)", "length"])
    model = fastnn.MLPClassifier((3,), solver="lbfgs", max_iter=5).fit(frame[:9], np.arange(9) % 2)
    assert "x[0] width * / (mm); x[1] length" in model.to_c()


@pytest.mark.parametrize(
    ("path", "name", "prefix"),
    [("net.h", None, "net"), ("my net-2.h", None, "my_net_2"), ("2.h", None, "net_2"), ("x.h", "y", "y")],
)
def test_names_in_a_header_begin_with_the_name_of_the_file(path, name, prefix, tmp_path):
    model = fastnn.Model([2, 2])
    text = model.to_c(tmp_path / path, name=name)
    assert f"static inline int {prefix}_predict(" in text
    assert (tmp_path / path).read_text(encoding="utf-8") == text == fastnn.to_c(model, name=prefix)


def test_a_name_may_hold_any_words(tmp_path):
    """Some of these words stand for the name or the type while the code is written."""
    exports = {
        f"{name}{suffix}": (fastnn.Model([4, 3, 3], random_state=k), dtype, "classes", few)
        for suffix, dtype in (("", "float32"), ("_x", "float64"))
        for k, name in enumerate(("filename", "net", "NET_net", "doubles", "my_float_"))
    }
    check_program(tmp_path, exports)


def test_the_self_test_holds_samples_that_the_dtype_can_compute(tmp_path):
    """Samples beyond float32, and drawn samples whose exponentials overflow, are not numbers of C."""
    count = fastnn.MLPRegressor("poisson", (3,), solver="lbfgs", max_iter=5, random_state=0)
    count.fit(1e-3 * X, np.arange(len(X)) % 5)
    count.coefs_[-1][...] *= 1e3
    model, far = fastnn.Model([4, 3, 3], random_state=0), np.vstack([X, 1e300 * X[:5]])[::-1]
    main = '#include "far.h"\n#include "count.h"\n\nint main(void)\n{\n'
    files = {
        "far.h": model.to_c(name="far", X=far),
        "count.h": count.to_c(name="count"),
        "main.c": f"{main}    return far_self_test() + count_self_test();\n}}\n",
    }
    c_programs.run(tmp_path, "C", files, ["-DFAR_SELF_TEST", "-DCOUNT_SELF_TEST"])
    with pytest.raises(ValueError, match=r"^X has no sample .* float32 can hold.*: scale X.*dtype='float64'"):
        model.to_c(X=far[:5])
    assert "1e+300" in model.to_c(X=np.full((1, 4), 1e300), dtype=np.float64)
    count.coefs_[-1][...], count.intercepts_[-1][...] = 0, 1e3
    with pytest.raises(ValueError, match="^X has no sample .* float64 can hold, .*: give typical samples in"):
        count.to_c(dtype=np.dtype("float64"))


@pytest.mark.parametrize(
    ("options", "error_type", "message"),
    [
        ({"dtype": "float16"}, ValueError, "dtype.*float16"),
        ({"dtype": "int8"}, ValueError, "dtype.*int8"),
        ({"name": "2x"}, ValueError, "name must be an identifier of C.*'2x'"),
        ({"path": "nowhere/net.h"}, ValueError, "there is no folder"),
        ({"path": "."}, ValueError, "^path: .* is a folder, not the name of an exported model"),
        ({"path": "stdout"}, ValueError, "^path: .* is an open file of the process, not the name of an "),
        ({"path": 5}, TypeError, "path must be a path, got 5"),
        ({"X": [[1.0]]}, ValueError, "X has 1 feature, but the network has 2 inputs"),
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="the links to open files are in /proc")
def test_wrong_arguments_are_refused(options, error_type, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")
    with pytest.raises(error_type, match=message):
        fastnn.Model([2, 3, 2], random_state=0).to_c(**options)
    assert [path.name for path in tmp_path.iterdir()] == ["stdout"]


random = np.random.RandomState(0)
# Features of other sizes and places, the last one constant.
FEATURES = random.normal(size=(120, 4)) * [1.0, 50.0, 1e-3, 0.0] + [0.0, 300.0, 0.01, 7.0]
SCORE = FEATURES[:, 0] - (FEATURES[:, 1] - 300) / 50
CLASSES = np.array(["low", "middle", "high"])[np.digitize(SCORE, [-0.7, 0.7])]
SMALL = {"hidden_layer_sizes": (6,), "solver": "lbfgs", "max_iter": 15, "random_state": 0}


def classifier():
    return fastnn.MLPClassifier(activation="tanh", **SMALL)


# By name: the steps of a pipeline, and its targets.
PIPELINES = {
    "standard": ([StandardScaler(), classifier()], CLASSES),
    "deviations": ([StandardScaler(with_mean=False), classifier()], SCORE > 0),
    "means": ([StandardScaler(with_std=False), classifier()], CLASSES),
    "ranges": ([MinMaxScaler((-1, 2)), classifier()], CLASSES),
    "largest": ([MaxAbsScaler(), classifier()], CLASSES),
    "robust": ([RobustScaler(), classifier()], CLASSES),
    "quartiles": ([RobustScaler(with_centering=False), classifier()], CLASSES),
    "several": ([StandardScaler(), "passthrough", MinMaxScaler(), classifier()], CLASSES),
    "regression": ([RobustScaler(), fastnn.MLPRegressor(**SMALL)], SCORE),
    "ensemble": ([StandardScaler(), fastnn.MLPEnsembleClassifier(classifier(), 2, random_state=0)], CLASSES),
    "search": ([GridSearchCV(make_pipeline(StandardScaler(), classifier()), {}, cv=2)], CLASSES),
}


def test_pipelines_compute_what_they_predict(tmp_path):
    """Also for samples beyond the range of the fit."""
    models = {name: make_pipeline(*steps).fit(FEATURES, y) for name, (steps, y) in PIPELINES.items()}
    samples = np.vstack([FEATURES[::12], 1.5 * FEATURES[:4]]).astype(np.float32).astype(float)
    exports = {
        f"{name}_{dtype}": (model, dtype, "numbers" if name == "regression" else "classes", samples)
        for name, model in models.items()
        for dtype in DTYPES
    }
    check_program(tmp_path, exports, {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-12})


def test_steps_that_cannot_be_folded_are_refused():
    for step, message in (
        (PCA(), r"PCA\(\) is not a scaler"),
        (SimpleImputer(), r"SimpleImputer\(\) is not a scaler"),
        (MinMaxScaler(clip=True), r"MinMaxScaler\(clip=True\) is not affine"),
        (fastnn.SmoothRobustScaler(), r"SmoothRobustScaler\(\) is not a scaler"),
    ):
        with pytest.raises(ValueError, match=f"^{message}, and cannot be folded .* only MaxAbsScaler, "):
            fastnn.to_c(make_pipeline(step, classifier()).fit(FEATURES, CLASSES))
    for model in (make_pipeline(StandardScaler()).fit(FEATURES), 3):
        with pytest.raises(ValueError, match="^model must be a fitted network .* scalers .*, got (3|S)"):
            fastnn.to_c(model)
    fitted = classifier().fit(FEATURES, CLASSES)
    for last in (classifier(), fitted):
        with pytest.raises(NotFittedError):
            fastnn.to_c(make_pipeline(StandardScaler(), last))
    scaler = StandardScaler().fit(FEATURES)
    scaler.scale_ = 1e-60 * scaler.scale_
    with pytest.raises(ValueError, match="a weight or bias is too large for float32"):
        fastnn.to_c(Pipeline([("scaler", scaler), ("network", fitted)]))
