"""C headers with floating-point numbers: compiled programs compute what the models compute."""

import os
import re
from dataclasses import replace

import c_programs
import numpy as np
import pytest
from export_models import CASES, LIMITS, NAMES, X, error, fitted, network, outputs

import fastnn
from fastnn.export.c import floats
from fastnn.reference.layer import ACTIVATIONS

# Few epochs do not converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DTYPES = {"float32": np.float32, "float64": np.float64}
few = X[::10]


@pytest.mark.slow
@pytest.mark.parametrize("language", c_programs.COMPILERS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_and_depth_is_exported(activation, language, tmp_path):
    """Eight networks in one program show that their names do not clash."""
    models, files, body = {}, {}, ""
    for dtype, kind in DTYPES.items():
        for depth in (1, 2, 3, 4):
            model, name = network(activation, depth, kind), f"{dtype}_{depth}"
            models[name] = model
            files[f"{name}.h"] = model.to_c(name=name, dtype=dtype)
            body += c_programs.floating(name, model._description(), dtype, few)
    files["main.c"] = c_programs.main(models, body)
    flags = [f"-D{name.upper()}_SELF_TEST" for name in models]
    lines = c_programs.run(tmp_path, language, files, flags).splitlines()
    for line, model in zip(lines, models.values(), strict=True):
        P, classes = c_programs.numbers(line, len(few), 3)
        assert error(P, model.predict_proba(few)) < LIMITS[model.dtype]
        np.testing.assert_array_equal(classes[:, 0], model.predict(few))


@pytest.mark.slow
@pytest.mark.parametrize("language", c_programs.COMPILERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_kind_of_model_is_exported(dtype, language, tmp_path):
    models = {f"n{k}": fitted(case, DTYPES[dtype])[0] for k, case in enumerate(CASES)}
    files = {f"{name}.h": model.to_c(name=name, dtype=dtype) for name, model in models.items()}
    body = "".join(
        c_programs.floating(name, model._description(), dtype, few) for name, model in models.items()
    )
    files["main.c"] = c_programs.main(models, body)
    flags = [f"-D{name.upper()}_SELF_TEST" for name in models]
    lines = c_programs.run(tmp_path, language, files, flags).splitlines()
    for case, line, model in zip(CASES, lines, models.values(), strict=True):
        samples, description = few.astype(dtype), model._description()
        P, decisions = c_programs.numbers(line, len(few), description.n_outputs)
        assert error(P, outputs(model, samples)) < LIMITS[np.dtype(dtype)], case
        predicted = model.predict(samples)
        if description.kind == "classes":
            np.testing.assert_array_equal(description.classes[decisions[:, 0]], predicted)
        elif description.kind == "labels":
            np.testing.assert_array_equal(decisions, predicted.reshape(len(few), -1))


def test_two_files_may_include_one_header(tmp_path):
    header = network("tanh", 2).to_c(name="net")
    other = (
        '#include "net.h"\nint other(const float *x);\nint other(const float *x) { return net_predict(x); }\n'
    )
    files = {
        "net.h": header,
        "other.c": other,
        "main.c": "int other(const float *x);\n"
        + c_programs.main(["net"], "static void print_net(void) {}\n"),
    }
    c_programs.run(tmp_path, "C", files, ["-DNET_SELF_TEST"])


def test_the_self_test_fails_for_a_changed_weight(tmp_path):
    header = network("tanh", 2).to_c(name="net")
    weight = re.search(r"net_weights_1.*\n +(\S+f),", header)[1]
    files = {
        "net.h": header.replace(weight, "9.0f", 1),
        "main.c": '#include <stdio.h>\n#include "net.h"\n'
        'int main(void) { printf("%d", net_self_test()); return 0; }',
    }
    assert int(c_programs.run(tmp_path, "C", files, ["-DNET_SELF_TEST"])) > 0


def test_outputs_of_every_network_are_limited_before_the_mean(tmp_path):
    model, _ = fitted("ensemble of numbers")
    description = replace(model._description(), limits=(0.1, 0.4))
    one = [description.member_outputs(member, few) for member in description.members]
    assert np.min(one) == 0.1
    assert np.max(one) == 0.4
    files = {
        "net.h": floats.header(description, "net", few),
        "main.c": '#include <stdio.h>\n#include "net.h"\n'
        'int main(void) { printf("%d", net_self_test()); return 0; }',
    }
    assert c_programs.run(tmp_path, "C", files, ["-DNET_SELF_TEST"]) == "0"


def test_names_of_classes_are_printed_as_they_are(tmp_path):
    model, _ = fitted("text")
    files = {
        "net.h": model.to_c(name="net"),
        "main.c": '#include <stdio.h>\n#include "net.h"\nint main(void) { for (int k = 0; k < 3; k++) '
        "puts(net_classes[k]); return 0; }",
    }
    assert c_programs.run(tmp_path, "C", files).splitlines() == NAMES.tolist()


def test_numbers_have_the_fewest_digits_that_give_the_same_number():
    model = fastnn.Model([2, 2], dtype=np.float32, random_state=0)
    model.W[0][...] = [[0.1, 1e-30], [-3.0, 1.17549435e-38]]
    text = model.to_c()
    weights = re.search(r"net_weights_1\[4\] = \{(.*?)\}", text, re.DOTALL)[1]
    assert weights.split() == ["0.1f,", "-3.0f,", "1e-30f,", "1.1754944e-38f"]


def test_the_comment_states_memory_and_operations():
    model = fastnn.Model([64, 32, 16, 10], activation=["tanh", "relu"], output_activation="identity")
    text = model.to_c()
    n = 64 * 32 + 32 * 16 + 16 * 10
    names = 10 * 6  # of classes: a digit, a NUL and a pointer of four bytes each
    assert f"flash: {4 * (n + 58) + names} bytes of constants" in text
    assert f"stack: {4 * (32 + 16 + 10)} bytes of buffers" in text
    assert f"{n} multiplications with an addition, 10 calls of expf, 32 calls of tanhf" in " ".join(
        text.replace(" * ", " ").split()
    )


@pytest.mark.needs("pandas")
def test_a_comment_names_the_features():
    import pandas

    frame = pandas.DataFrame(X[:, :2], columns=["width */ (mm)", "length"])
    model = fastnn.MLPClassifier((3,), solver="lbfgs", max_iter=5).fit(frame[:9], np.arange(9) % 2)
    assert "x[0] width * / (mm); x[1] length" in model.to_c()


@pytest.mark.parametrize(
    ("path", "name", "beginning"),
    [
        ("net.h", None, "net"),
        ("my net-2.h", None, "my_net_2"),
        ("2.h", None, "net_2"),
        ("x.h", "other", "other"),
    ],
)
def test_names_in_a_header_begin_with_the_name_of_the_file(path, name, beginning, tmp_path):
    text = fastnn.Model([2, 2]).to_c(tmp_path / path, name=name)
    assert f"static inline int {beginning}_predict(" in text
    assert (tmp_path / path).read_text(encoding="utf-8") == text


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_name_may_hold_any_words(dtype, tmp_path):
    """Some of these words stand for the name, the type or a suffix in the templates of the code."""
    names = ("filename", "names", "NAME", "KINDS", "my_SUFFIX")
    models = {name: fastnn.Model([4, 3, 3], random_state=k) for k, name in enumerate(names)}
    files = {f"{name}.h": model.to_c(name=name, dtype=dtype, X=X) for name, model in models.items()}
    calls = "".join(f"    failures += {name}_self_test();\n" for name in names)
    includes = "".join(f'#include "{name}.h"\n' for name in names)
    files["main.c"] = (
        f"{includes}\nint main(void)\n{{\n    int failures = 0;\n{calls}    return failures;\n}}\n"
    )
    c_programs.run(tmp_path, "C", files, [f"-D{name.upper()}_SELF_TEST" for name in names])


def test_the_self_test_holds_samples_that_the_dtype_can_compute(tmp_path):
    """Samples beyond float32, and drawn samples whose exponentials overflow, are not numbers of C."""
    count = fastnn.MLPRegressor("poisson", (3,), solver="lbfgs", max_iter=5, random_state=0)
    count.fit(1e-3 * X, np.arange(len(X)) % 5)
    count.coefs_[-1][...] *= 1e3
    far = np.vstack([X, 1e300 * X[:5]])[::-1]
    models = {"far": fastnn.Model([4, 3, 3], random_state=0), "count": count}
    files = {"far.h": models["far"].to_c(name="far", X=far), "count.h": count.to_c(name="count")}
    files["main.c"] = (
        '#include "far.h"\n#include "count.h"\n\n'
        "int main(void)\n{\n    return far_self_test() + count_self_test();\n}\n"
    )
    c_programs.run(tmp_path, "C", files, ["-DFAR_SELF_TEST", "-DCOUNT_SELF_TEST"])
    with pytest.raises(ValueError, match="^X has no sample .* float32 can hold.*: scale X.*dtype='float64'"):
        models["far"].to_c(X=far[:5])
    assert "1e+300" in models["far"].to_c(X=np.full((1, 4), 1e300), dtype="float64")
    count.coefs_[-1][...], count.intercepts_[-1][...] = 0, 1e3
    with pytest.raises(
        ValueError, match="^X has no sample .* float64 can hold, .*: give typical samples in X$"
    ):
        count.to_c(dtype="float64")


def test_bad_arguments_and_weights_are_refused(tmp_path):
    model = fastnn.Model([2, 3, 2], random_state=0)
    with pytest.raises(ValueError, match="dtype.*float16"):
        model.to_c(dtype="float16")
    with pytest.raises(ValueError, match="name must be an identifier of C.*'2x'"):
        model.to_c(name="2x")
    with pytest.raises(ValueError, match="there is no folder"):
        model.to_c(tmp_path / "nowhere" / "net.h")
    with pytest.raises(ValueError, match="^path: .* is a folder, not the name of an exported model"):
        model.to_c(tmp_path)
    if os.name == "posix":
        link = tmp_path / "stdout"
        link.symlink_to("/proc/self/fd/1")
        with pytest.raises(ValueError, match="^path: .* is an open file of the process, not the name of an "):
            model.to_c(link)
        assert link.is_symlink()
    with pytest.raises(TypeError, match="path must be a path, got 5"):
        model.to_c(5)
    with pytest.raises(ValueError, match="X"):
        model.to_c(X=[[1.0]])
    model.W[0][0, 0] = 1e300
    with pytest.raises(ValueError, match="too large for float32"):
        model.to_c()
    model.W[0][0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        model.to_c()
