"""Tables of Polars: columns of every type are encoded as the same values in pandas."""

import datetime
import decimal

import numpy as np
import pytest
from extras import all_need, optional

import fastnn
from fastnn import TableEncoder

pytestmark = all_need("pandas", "polars")
pd, pl = optional("pandas"), optional("polars")

N = 60
START = datetime.datetime(2024, 1, 1)
TIMES = [START + datetime.timedelta(hours=167 * k) for k in range(N)]
LABELS = [f"s{k % 4}" for k in range(N)]


def with_missing(values):
    """Return the values as a list in which every fifth is None."""
    return [None if k % 5 == 0 else value for k, value in enumerate(values)]


# Columns by the kinds that the encoder finds.
COLUMNS = {
    "number": [
        pl.Series(np.arange(N, dtype=np.int8)),
        pl.Series(np.arange(N, dtype=np.uint64)),
        pl.Series(with_missing(range(N))),
        pl.Series(np.linspace(-2, 5, N).astype(np.float32)),
        pl.Series(with_missing([float("nan") if k % 7 == 0 else float(k) for k in range(N)])),
        pl.Series(with_missing([decimal.Decimal(f"{k / 4:.2f}") for k in range(N)])),
        pl.Series(with_missing([time - START for time in TIMES])),
        pl.Series([None] * N),
    ],
    "boolean": [pl.Series(with_missing([k % 2 == 0 for k in range(N)]))],
    "category": [
        pl.Series(with_missing(LABELS)),
        pl.Series(with_missing(LABELS), dtype=pl.Categorical),
        pl.Series(LABELS, dtype=pl.Enum(["s3", "s2", "s1", "s0", "none"])),
        pl.Series([label.encode() for label in LABELS]),
        pl.Series([datetime.time(k % 4) for k in range(N)]),
    ],
    "date": [
        pl.Series([time.date() for time in TIMES]),
        pl.Series(with_missing(TIMES)),
        pl.Series(TIMES, dtype=pl.Datetime("ms")),
        pl.Series(TIMES, dtype=pl.Datetime("ns")),
        pl.Series(TIMES).dt.replace_time_zone("Europe/Berlin", ambiguous="earliest"),
    ],
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_of_every_type_are_encoded_as_in_pandas(kind):
    for column in COLUMNS[kind]:
        frame = pl.DataFrame({"x": np.arange(N) % 7, "column": column})
        encoder = TableEncoder().fit(frame)
        assert encoder.columns_[1]["kind"] == kind
        plain = pd.DataFrame({"x": np.arange(N) % 7, "column": pd.Series(column.to_list())})
        np.testing.assert_array_equal(encoder.transform(frame), encoder.transform(plain))
        np.testing.assert_array_equal(encoder.transform(frame), TableEncoder().fit(plain).transform(plain))


def test_nested_values_and_queries_that_have_not_run_are_refused():
    for values in ([[1, 2], [3, 4]], [{"a": 1}, {"a": 2}]):
        with pytest.raises(ValueError, match="column 'column' holds values that are neither numbers, dates"):
            TableEncoder().fit(pl.DataFrame({"x": [1.0, 2.0], "column": values}))
    frame = pl.DataFrame({"x": [1.0, 2.0]})
    for use in (TableEncoder().fit, TableEncoder().fit(frame).transform):
        with pytest.raises(ValueError, match=r"X is a LazyFrame, a query .*: pass .*X\.collect\(\)"):
            use(frame.lazy())


@pytest.mark.usefixtures("small_presets")
def test_estimators_fit_and_predict_frames_and_series():
    columns = {"x": np.arange(N) % 7, "label": LABELS}
    frame, y, groups = pl.DataFrame(columns), pl.Series(LABELS), pl.Series([f"g{k % 9}" for k in range(N)])
    model = fastnn.TabularClassifier(1, "fast", random_state=0)
    model.fit(frame, y, pl.Series(np.ones(N)), groups=groups)
    again = fastnn.TabularClassifier(1, "fast", random_state=0)
    again.fit(pd.DataFrame(columns), np.array(LABELS), np.ones(N), groups=groups.to_list())
    assert list(model.feature_names_in_) == ["x", "label"]
    np.testing.assert_array_equal(model.predict_proba(frame), again.predict_proba(frame))
    features = TableEncoder().set_output(transform="polars").fit(frame).transform(frame)
    assert isinstance(features, pl.DataFrame)
    network = fastnn.MLPClassifier((4,), max_iter=2, random_state=0, solver="sgd")
    with pytest.warns(UserWarning, match="iterations"):
        network.fit(frame.select("x"), y)
    assert set(network.predict(frame.select("x"))) <= set(LABELS)
