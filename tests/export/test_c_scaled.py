"""C headers of pipelines of scalers and a network, and of tables of numbers, predict what fastnn predicts."""

import re

import c_programs
import numpy as np
import pytest
from extras import optional
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

import fastnn
from fastnn.tables import presets as tabular_presets
from fastnn.tables.presets import Preset

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
pd = optional("pandas")

random = np.random.RandomState(0)
# Features of other sizes and places, the last one constant.
X = random.normal(size=(120, 4)) * [1.0, 50.0, 1e-3, 0.0] + [0.0, 300.0, 0.01, 7.0]
SCORE = X[:, 0] - (X[:, 1] - 300) / 50
CLASSES = np.array(["low", "middle", "high"])[np.digitize(SCORE, [-0.7, 0.7])]
# Also samples beyond those of the fit.
few = np.vstack([X[::12], 1.5 * X[:4]])
LIMITS = {"float32": 2e-5, "float64": 1e-12}


def classifier():
    return fastnn.MLPClassifier((6,), activation="tanh", solver="lbfgs", max_iter=15, random_state=0)


PIPELINES = {
    "standard": lambda: make_pipeline(StandardScaler(), classifier()).fit(X, CLASSES),
    "deviations": lambda: make_pipeline(StandardScaler(with_mean=False), classifier()).fit(X, SCORE > 0),
    "means": lambda: make_pipeline(StandardScaler(with_std=False), classifier()).fit(X, CLASSES),
    "ranges": lambda: make_pipeline(MinMaxScaler((-1, 2)), classifier()).fit(X, CLASSES),
    "cut ranges": lambda: make_pipeline(MinMaxScaler(clip=True), classifier()).fit(X, CLASSES),
    "largest": lambda: make_pipeline(MaxAbsScaler(), classifier()).fit(X, CLASSES),
    "robust": lambda: make_pipeline(RobustScaler(), classifier()).fit(X, CLASSES),
    "quartiles": lambda: make_pipeline(RobustScaler(with_centering=False), classifier()).fit(X, CLASSES),
    "medians": lambda: make_pipeline(RobustScaler(with_scaling=False), classifier()).fit(X, CLASSES),
    "smooth": lambda: make_pipeline(fastnn.SmoothRobustScaler(2.0), classifier()).fit(X, CLASSES),
    "several": lambda: Pipeline(
        [("a", StandardScaler()), ("b", "passthrough"), ("c", fastnn.SmoothRobustScaler()),
         ("d", classifier())]
    ).fit(X, CLASSES),
    "regression": lambda: make_pipeline(
        RobustScaler(),
        fastnn.MLPRegressor(hidden_layer_sizes=(5,), solver="lbfgs", max_iter=15, random_state=0),
    ).fit(X, SCORE),
    "ensemble": lambda: make_pipeline(
        StandardScaler(), fastnn.MLPEnsembleClassifier(classifier(), 2, random_state=0)
    ).fit(X, CLASSES),
}  # fmt: skip


def outputs(model, samples):
    """Return the probabilities or numbers (n, n_outputs) of samples."""
    result = model.predict_proba(samples) if hasattr(model, "predict_proba") else model.predict(samples)
    return np.asarray(result).reshape(len(samples), -1)


class Described:
    """Number and kind of the outputs, which `c_programs.floating` reads."""

    def __init__(self, n_outputs, kind):
        self.n_outputs, self.kind = n_outputs, kind


def computed(tmp_path, models, dtype, samples, headers, rows):
    """Yield every model with its outputs and classes, computed by one compiled program with all headers.

    `samples` are what the headers take, and `rows` what the models take.
    """
    files, body = {}, ""
    for name, model in models.items():
        files[f"{name}.h"] = headers[name]
        kind = "classes" if hasattr(model, "classes_") else "numbers"
        body += c_programs.floating(name, Described(outputs(model, rows).shape[1], kind), dtype, samples)
    number = "float" if dtype == "float32" else "double"
    files["main.c"] = c_programs.main(models, re.sub(r"\bnanf?\b", f"({number})NAN", body))
    flags = [f"-D{name.upper()}_SELF_TEST" for name in models]
    lines = c_programs.run(tmp_path, "C", files, flags).splitlines()
    for line, model in zip(lines, models.values(), strict=True):
        yield model, *c_programs.numbers(line, len(samples), outputs(model, rows).shape[1])


@pytest.mark.parametrize("dtype", LIMITS)
def test_pipelines_compute_what_they_predict(dtype, tmp_path):
    models = {f"n{k}": make() for k, make in enumerate(PIPELINES.values())}
    headers = {name: fastnn.to_c(model, name=name, dtype=dtype, X=X) for name, model in models.items()}
    results = computed(tmp_path, models, dtype, few, headers, few)
    for name, (model, P, classes) in zip(PIPELINES, results, strict=True):
        expected = outputs(model, few.astype(dtype).astype(float))
        np.testing.assert_allclose(
            P, expected, rtol=0, atol=LIMITS[dtype] * np.abs(expected).max(), err_msg=name
        )
        if hasattr(model, "classes_"):
            np.testing.assert_array_equal(model.classes_[classes[:, 0]], model.predict(few))


@pytest.mark.parametrize("name", ["standard", "cut ranges", "smooth", "several", "regression"])
def test_int8_scales_features_and_equals_its_twin_bit_for_bit(name, tmp_path):
    """The self-test compares the inputs and the scores of samples with those that fastnn computes."""
    text = fastnn.to_c(PIPELINES[name](), name="net", dtype="int8", X=X)
    main = '#include "net.h"\n\nint main(void)\n{\n    return net_self_test();\n}\n'
    c_programs.run(tmp_path, "C", {"net.h": text, "main.c": main}, ["-DNET_SELF_TEST"])
    if name != "regression":
        share = float(text[: text.index(" % of the classes are equal")].split()[-1])
        assert share > 95


def test_a_header_of_a_pipeline_is_written_to_a_file(tmp_path):
    pipeline = PIPELINES["standard"]()
    text = fastnn.to_c(pipeline, tmp_path / "iris.h")
    assert (tmp_path / "iris.h").read_text(encoding="utf-8") == text
    network = pipeline[-1]
    assert fastnn.to_c(network, name="net") == network.to_c(name="net")


def test_what_c_cannot_express_is_refused():
    with pytest.raises(
        ValueError, match=r"the step 'pca' of the pipeline, PCA\(\), cannot be exported to C: "
    ):
        fastnn.to_c(make_pipeline(PCA(), classifier()).fit(X, CLASSES))
    with pytest.raises(ValueError, match="the last step of the pipeline, 'standardscaler', is not a network"):
        fastnn.to_c(make_pipeline(StandardScaler()).fit(X))
    with pytest.raises(ValueError, match="model must be a fitted model of fastnn or a Pipeline, got 3"):
        fastnn.to_c(3)
    with pytest.raises(NotFittedError):
        fastnn.to_c(make_pipeline(StandardScaler(), classifier()))
    scaler = StandardScaler().fit(X)
    scaler.scale_ = 1e-60 * scaler.scale_
    with pytest.raises(ValueError, match="scale of feature [0-9]+ is out of range for float32"):
        fastnn.to_c(Pipeline([("scaler", scaler), ("network", classifier().fit(X, CLASSES))]))


# --- tables --------------------------------------------------------------------------------------------


@pytest.fixture
def _small(monkeypatch):
    """Fit small networks for a few epochs."""
    monkeypatch.setitem(tabular_presets.PRESETS, "fast", Preset(2, (8,), 6))


def numbers(n_rows=120, seed=0):
    """Return a table of numbers and booleans with missing values."""
    random = np.random.RandomState(seed)
    frame = pd.DataFrame(
        {
            "width": random.normal(size=n_rows),
            "same": "text",
            "count": random.randint(0, 5, n_rows),
            "size": random.lognormal(3, 2, n_rows),
            "member": pd.array(random.choice([True, False, None], n_rows), "boolean"),
            "filled": random.choice([np.nan, 4.0], n_rows),
        }
    )
    frame.loc[::7, ["width", "size"]] = np.nan
    return frame


TABULAR = {
    "binary": (fastnn.TabularClassifier, CLASSES == "low", {}),
    "classes": (fastnn.TabularClassifier, CLASSES, {}),
    "numbers": (fastnn.TabularRegressor, 1e4 + 30 * SCORE, {}),
    "with quantiles": (fastnn.TabularRegressor, SCORE, {"quantiles": (0.1, 0.9)}),
}


@pytest.mark.needs("pandas")
@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("dtype", LIMITS)
def test_tables_of_numbers_compute_what_they_predict(dtype, tmp_path):
    frame = numbers()
    models = {
        f"t{k}": kind(preset="fast", random_state=0, **options).fit(frame, y)
        for k, (kind, y, options) in enumerate(TABULAR.values())
    }
    given = {"t1": frame}
    headers = {name: model.to_c(name=name, dtype=dtype, X=given.get(name)) for name, model in models.items()}
    assert "x[0] width; x[1] count; x[2] size; x[3] member; x[4] filled" in headers["t0"]
    new = numbers(40, seed=1)
    new.loc[:3, "size"] = [1e30, -1e30, 0.0, 1e-30]
    used = new.drop(columns="same").to_numpy(np.float64, na_value=np.nan).astype(dtype)
    rounded = new.assign(width=used[:, 0].astype(float), size=used[:, 2].astype(float))
    for model, P, classes in computed(tmp_path, models, dtype, used, headers, rounded):
        expected = outputs(model, rounded)
        # Encoded rows and scores are float32 in fastnn.
        rtol = np.finfo(dtype).eps
        np.testing.assert_allclose(P, expected, rtol=rtol, atol=2e-5 * np.ptp(expected))
        if hasattr(model, "classes_"):
            same = model.classes_[classes[:, 0]] == model.predict(rounded)
            close = np.abs(np.diff(np.sort(expected, axis=1)[:, -2:], axis=1)[:, 0]) < 1e-4
            assert (same | close).all()


@pytest.mark.needs("pandas")
@pytest.mark.usefixtures("_small")
def test_other_columns_and_int8_are_refused():
    frame = numbers().assign(plan=np.array(["a", "b", "c"])[np.arange(120) % 3])
    model = fastnn.TabularClassifier(preset="fast", random_state=0).fit(frame, CLASSES)
    with pytest.raises(
        ValueError, match="column 'plan' holds categories or text, and C headers take numbers"
    ):
        model.to_c()
    dates = numbers().assign(day=pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(120), "D"))
    with pytest.raises(ValueError, match="column 'day' holds dates"):
        fastnn.TabularRegressor(preset="fast").fit(dates, SCORE).to_c()
    model = fastnn.TabularRegressor(preset="fast").fit(numbers(), SCORE)
    with pytest.raises(ValueError, match="int8 cannot express an ensemble"):
        model.to_c(dtype="int8", X=numbers())
    with pytest.raises(ValueError, match="feature names should match"):
        model.to_c(X=numbers().drop(columns="width"))
