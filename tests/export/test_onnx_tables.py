"""Tabular estimators in ONNX: onnxruntime encodes tables and predicts as the estimators do."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from example_counts import with_examples
from extras import all_need, optional
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError

import fastnn
from fastnn.export.onnx import Graph, Tensor
from fastnn.tables.encoding.onnx import MISSING_DATE, add_table, list_inputs

pytestmark = all_need("pandas")
pd = optional("pandas")

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

N = 240
# Zeros, subnormal and huge numbers, and two large neighbours.
EXTREMES = [0.0, -0.0, 1e-310, 5e-324, 1e15, 1e15 + 2, -1e30, 1e300, -1.7e308, 1.7e308]
# Largest error of probabilities, and of numbers as a multiple of the standard deviation of the targets.
LIMIT = 3e-6


def documented_function():
    """Return the function of the documentation that converts a dataframe to the inputs of a graph."""
    text = (Path(__file__).parents[2] / "docs" / "deploying-models.md").read_text(encoding="utf-8")
    code = re.search(r"^def inputs_of.*?(?=^random)", text, re.DOTALL | re.MULTILINE)
    namespace = {"np": np, "pd": pd}
    exec(code[0], namespace)
    return namespace["inputs_of"]


feeds = documented_function()


def run(model, frame):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds(session, frame)), strict=True))


def check_encoding(encoder, *frames):
    features = Tensor("features", np.dtype(np.float32), ("N", len(encoder.get_feature_names_out())), True)
    graph = Graph(onnx, [*list_inputs(encoder)[0], features])
    graph.node("Identity", add_table(encoder, graph), output="features")
    model = graph.finish("encoder", {})
    for frame in frames:
        found = run(model, frame)["features"]
        np.testing.assert_allclose(found, encoder.transform(frame), rtol=2e-7, atol=1e-37)


def random_frame(random, n_rows, is_first):
    """Return a frame of all kinds of columns; unless it `is_first`, with new categories, and more missing."""

    def numbers():
        ways = [
            random.normal(size=n_rows),
            random.integers(-3, 4, n_rows),
            random.choice(EXTREMES, n_rows),
            10.0 ** random.uniform(-300, 300, n_rows) * random.choice([-1, 1], n_rows),
        ]
        # Draw a column in one of these ways, or in several.
        used = random.choice(len(ways), random.integers(1, len(ways) + 1))
        return np.choose(random.choice(used, n_rows), ways)

    def moments():
        first, last = np.array(["1600-01-01", "2400-01-01"], "datetime64[us]").astype(np.int64)
        begin = random.integers(first, last)
        return random.integers(begin, begin + 10 ** random.integers(9, 17), n_rows).astype("datetime64[us]")

    n_shops = random.integers(1, 60)
    frame = pd.DataFrame(
        {
            "row": np.arange(float(n_rows)),  # encoders refuse a table whose rows are all alike
            "number": numbers(),
            "other number": numbers(),
            "flag": random.choice([True, False], n_rows).astype(object),
            "moment": moments(),
            "day": moments().astype("datetime64[D]").astype("datetime64[us]"),
            "colour": random.choice(["red", "green", "0", "1.5", "\u00e9t\u00e9 \U0001f33b"], n_rows),
            "shop": [f"shop{k}" for k in random.integers(0, n_shops, n_rows)],
        }
    )
    for name in frame.columns[1:]:
        if not is_first or random.random() < 0.5:
            frame.loc[random.random(n_rows) < random.random(), name] = None
    if not is_first:
        frame.loc[random.random(n_rows) < 0.3, ["colour", "shop"]] = "new"
    return frame


@pytest.mark.filterwarnings("ignore:column .* did not occur in the fit")
@with_examples(20)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(16, 60),
    st.sampled_from(["both", "smooth", "piecewise"]),
    st.integers(1, 5),
    st.integers(1, 12),
    st.integers(2, 3),
)
def test_random_tables_are_encoded_alike(seed, n_rows, numbers, min_frequency, max_categories, n_classes):
    random = np.random.default_rng(seed)
    frame, new = random_frame(random, n_rows, True), random_frame(random, 20, False)
    options = {"n_bins": 4, "min_frequency": min_frequency, "max_categories": max_categories}
    encoder = fastnn.TableEncoder(numbers, random_state=0, **options)
    check_encoding(encoder.fit(frame, np.arange(n_rows) % n_classes), frame, new)


def test_dates_before_1970_leap_days_and_extreme_dates_are_encoded_alike():
    days = ["0001-03-01", "1600-02-29", "1900-02-28T23:59", "1900-03-01", "1969-12-31T23:59:59.999999"]
    days += ["1970-01-01", "2000-02-29T12:34:56", "2000-12-31", "2100-03-01T00:01", "9999-12-31T23:59", "NaT"]
    moments = np.array(days, "datetime64[us]")
    frame = pd.DataFrame({"sold": moments.repeat(3)})
    encoder = fastnn.TableEncoder().fit(frame)
    parts = {name.split("_")[1] for name in encoder.get_feature_names_out()}
    assert parts == {"elapsed", "year", "month", "day", "weekday", "hour", "minute"}
    check_encoding(encoder, frame)
    assert moments[-1:].astype(np.int64)[0] == MISSING_DATE


def test_the_function_of_the_documentation_makes_the_inputs_of_every_kind_of_column():
    """Times with a zone are local times, durations are days, and integers have no decimal point."""
    random, n_rows = np.random.default_rng(0), 200
    hours = pd.to_timedelta(random.integers(0, 9999, n_rows), "h")
    frame = pd.DataFrame(
        {
            "time": (pd.Timestamp("2024-01-01") + hours).tz_localize("Asia/Tokyo"),
            "span": hours.to_series().where(random.random(n_rows) < 0.8).to_numpy(),
            "mixed": random.choice(np.array([1.0, 2.5, "a", True, None], object), n_rows),
            "number": random.choice(np.array([1.5, None], object), n_rows).astype(float),
        }
    )
    check_encoding(fastnn.TableEncoder().fit(frame), frame)


def table(n_rows=N, seed=0):
    random = np.random.RandomState(seed)
    frame = pd.DataFrame(
        {
            "label": random.normal(size=n_rows).round(2),  # a column with the name of an output
            "income": random.lognormal(10, 3, n_rows),
            "member": pd.array(random.choice([True, False, None], n_rows), "boolean"),
            "plan": random.choice(["basic", "plus", "pro", None], n_rows),
            "shop": [f"shop{k}" for k in random.randint(0, 70, n_rows)],
            "since": pd.Timestamp("2020-02-01") + pd.to_timedelta(random.randint(0, 10**8, n_rows), "s"),
            "same": 1.0,
        }
    )
    frame.loc[::7, "income"] = np.nan
    frame.loc[::11, "since"] = pd.NaT
    return frame


def new_rows():
    """Return rows unlike the rows of the fit: extremes, new categories, missing values everywhere."""
    frame = table(80, seed=1)
    frame.loc[: len(EXTREMES) - 1, "income"] = EXTREMES
    frame.loc[::3, "plan"] = "new"
    frame.loc[::4, "shop"] = None
    frame.loc[1::5, "since"] = pd.Timestamp("1999-12-31 23:59:59")
    frame.loc[2::5, ["label", "member", "plan", "since"]] = [np.nan, None, None, pd.NaT]
    return frame


FRAME = table()
NUMBERS = FRAME["label"] + FRAME["income"].fillna(0).rank() / 100 + FRAME["plan"].eq("pro")
CODES = np.digitize(NUMBERS, np.quantile(NUMBERS, [0.4, 0.8]))


def fitted(kind, y, frame=FRAME, **options):
    settings = {"preset": "fast", "n_estimators": 2, "random_state": 0} | options
    return kind(**settings).fit(frame, y, passes=30)


def read_metadata(model):
    found = {entry.key: entry.value for entry in model.metadata_props}
    assert found.pop("fastnn.version") == fastnn.__version__
    return {key: json.loads(value) for key, value in found.items()}


CLASSES = [["no", "perhaps", "yes"], [3, 1, 2], [False, True, True], [1.0, 2.0, 4.0]]


@pytest.mark.parametrize("classes", [*map(np.array, CLASSES), np.array(["no", "yes", "yes"], object)])
def test_classes_of_every_type_are_predicted_alike(classes):
    classifier = fitted(fastnn.TabularClassifier, classes[CODES])
    classifier.temperature_ = 1.7  # a short fit may find 1, which changes nothing
    exported = classifier.to_onnx()
    names = [tensor.name for tensor in exported.graph.input]
    assert names == ["label", "income", "member", "plan", "shop", "since"]  # "same" is left out
    for frame in (FRAME, new_rows(), FRAME[:1]):
        results = run(exported, frame)
        assert list(results) == ["label_", "probabilities"]
        P, labels = results["probabilities"], results["label_"]
        assert (P.dtype, P.shape) == (np.float32, (len(frame), len(classifier.classes_)))
        np.testing.assert_allclose(P, classifier.predict_proba(frame), atol=LIMIT)
        assert labels.tolist() == classifier.predict(frame).tolist()
        assert labels.dtype.kind == {"U": "O"}.get(classes.dtype.kind, classes.dtype.kind)


@pytest.mark.parametrize("scale", [1e-6, 1e9])
def test_numbers_and_quantiles_are_predicted_alike(scale):
    y = (NUMBERS * scale).to_numpy()
    named = pd.Series(y, name="the price")
    regressor = fitted(fastnn.TabularRegressor, named, quantiles=(0.1, 0.5, 0.6, 0.9))
    exported = regressor.to_onnx()
    found = read_metadata(exported)
    assert (found["target"], found["quantiles"]) == ("the price", [0.1, 0.5, 0.6, 0.9])
    assert found["range"] == [y.min(), y.max()]
    assert "predicts 'the price'" in exported.doc_string
    for frame in (FRAME, new_rows(), FRAME[:1]):
        results = run(exported, frame)
        assert list(results) == ["variable", "quantiles"]
        for values, expected in (
            (results["variable"][:, 0], regressor.predict(frame)),
            (results["quantiles"], regressor.predict(frame, quantiles=True)),
        ):
            assert values.dtype == np.float64
            np.testing.assert_allclose(values, expected, atol=LIMIT * y.std())
            assert y.min() <= values.min() <= values.max() <= y.max()
        assert (np.diff(results["quantiles"], axis=1) >= 0).all()


def test_predictions_are_clipped_to_the_range_of_the_targets(tmp_path):
    fitted(fastnn.TabularRegressor, NUMBERS).save(tmp_path / "net.fastnn")
    for shift, limit in ((1000, NUMBERS.max()), (-1000, NUMBERS.min())):
        regressor = fastnn.load(tmp_path / "net.fastnn")
        for member in regressor.estimators_:
            member.intercepts_ = [*member.intercepts_[:-1], member.intercepts_[-1] + shift]
        (values,) = run(regressor.to_onnx(), FRAME).values()
        np.testing.assert_array_equal(values[:, 0], limit)
        np.testing.assert_array_equal(values[:, 0], regressor.predict(FRAME))


def test_dropped_columns_count_as_missing():
    notes = [f"a good wine of {k} words" for k in range(N)]
    frame = table().assign(note=notes, **{"other note": notes[::-1]})
    classifier = fitted(fastnn.TabularClassifier, CODES, frame)
    remedy = r"column 'note': its texts are hashed .* drop=\['note', 'other note'\], or --drop "
    with pytest.raises(ValueError, match=remedy):
        classifier.to_onnx()
    others = table().columns.drop(["income", "same"])
    for dropped in (["note", "other note"], ["other note", "note", *others]):
        exported = classifier.to_onnx(drop=dropped)
        assert read_metadata(exported)["dropped"] == dropped
        assert not {tensor.name for tensor in exported.graph.input} & set(dropped)
        expected = classifier.predict_proba(frame.assign(**dict.fromkeys(dropped)))
        np.testing.assert_allclose(run(exported, frame)["probabilities"], expected, atol=LIMIT)


def test_a_graph_has_the_chosen_dtype_a_file_and_metadata(tmp_path):
    classifier = fitted(fastnn.TabularClassifier, CODES)
    exported = classifier.to_onnx(tmp_path / "net.onnx", dtype="float64")
    assert onnx.load(tmp_path / "net.onnx") == exported
    P = run(exported, FRAME)["probabilities"]
    assert P.dtype == np.float64
    np.testing.assert_allclose(P, classifier.predict_proba(FRAME), atol=LIMIT)
    found = read_metadata(exported)
    assert (found.keys(), found["classes"]) == ({"columns", "classes"}, [0, 1, 2])
    columns = {column["name"]: column for column in found["columns"]}
    assert columns["plan"]["categories"] == ["basic", "plus", "pro"]
    assert columns["income"]["range"] == [FRAME["income"].min(), FRAME["income"].max()]
    since = FRAME["since"].dropna().astype("datetime64[us]").astype("int64")
    assert columns["since"]["range"] == [since.min(), since.max()]
    kinds = {"label": "number", "income": "number", "member": "boolean", "plan": "category"}
    kinds |= {"shop": "category", "since": "date"}
    assert {name: column["kind"] for name, column in columns.items()} == kinds
    comments = {tensor.name: tensor.doc_string for tensor in exported.graph.input}
    assert comments["since"] == f"microseconds since 1970-01-01; {MISSING_DATE} is a missing value"
    assert {one.domain: one.version for one in exported.opset_import} == {"": 13, "ai.onnx.ml": 2}


WORDS = [f"good wine no{k}" for k in range(N)]
KINDS = np.array(["", "a", "b"] * (N // 3), object)
SURROGATES = np.array(["\ud800", "a", "b"] * (N // 3), object)


@pytest.mark.parametrize(
    ("name", "values", "arguments", "message"),
    [
        ("note", WORDS, {"drop": "note"}, "drop must be a list of names of columns, got 'note'"),
        ("note", WORDS, {"drop": [1]}, "drop must be a list"),
        ("note", WORDS, {"drop": ["same"]}, "drop: the model uses no column 'same': it uses"),
        ("note", WORDS, {"drop": ["note", "x", "1"]}, "drop names every column"),
        ("kind", KINDS, {}, "column 'kind': the empty text is one of its categories"),
        ("kind", SURROGATES, {}, r"category '\\ud800' holds '\\ud800', half .*Replace"),
        ("", np.arange(N), {}, "column '': inputs in ONNX need distinct names"),
        ("\udc80", np.arange(N), {}, r"the name of the column '\\udc80' holds.*Rename the column"),
        ("z", np.arange(N), {"dtype": "int8"}, "dtype must be float32 or float64, got 'int8'"),
        ("z", np.arange(N), {"path": "nowhere/net.onnx"}, "there is no folder"),
    ],
)
def test_what_onnx_cannot_express_is_refused(name, values, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({"x": np.arange(N) % 7, "1": np.arange(N) % 3})
    frame.columns = frame.columns.astype(object)
    frame[name] = pd.Series(values, dtype=object) if name == "kind" else values
    classifier = fitted(fastnn.TabularClassifier, CODES, frame)
    with pytest.raises(ValueError, match=message):
        classifier.to_onnx(**({"path": "net.onnx"} | arguments))
    assert not list(tmp_path.iterdir())


def test_other_refusals_and_other_names_of_outputs():
    with pytest.raises(NotFittedError):
        fastnn.TabularRegressor().to_onnx()
    frame = pd.DataFrame({"variable": NUMBERS, "variable_": NUMBERS**2, "mean_0": -NUMBERS})
    exported = fitted(fastnn.TabularRegressor, NUMBERS, frame).to_onnx()
    assert [tensor.name for tensor in exported.graph.output] == ["variable__"]
    classes = np.where(CODES > 0, np.uint64(2**63), np.uint64(2**63 + 2**12))
    with pytest.raises(ValueError, match=r"ONNX has no type for the classes .* numbers of at most 64 bits$"):
        fitted(fastnn.TabularClassifier, classes, frame).to_onnx()
