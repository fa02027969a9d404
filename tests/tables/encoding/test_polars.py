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


def gappy(values):
    """Return the values as a list in which every fifth is None."""
    return [None if k % 5 == 0 else value for k, value in enumerate(values)]


# Columns by their types, with the kind that the encoder finds.
COLUMNS = {
    "int8": (pl.Series(np.arange(N, dtype=np.int8)), "number"),
    "uint64": (pl.Series(np.arange(N, dtype=np.uint64)), "number"),
    "integers with gaps": (pl.Series(gappy(range(N))), "number"),
    "float32": (pl.Series(np.linspace(-2, 5, N).astype(np.float32)), "number"),
    "null and NaN": (
        pl.Series(gappy([float("nan") if k % 7 == 0 else float(k) for k in range(N)])),
        "number",
    ),
    "decimals": (pl.Series(gappy([decimal.Decimal(f"{k / 4:.2f}") for k in range(N)])), "number"),
    "booleans": (pl.Series(gappy([k % 2 == 0 for k in range(N)])), "boolean"),
    "text": (pl.Series(gappy(LABELS)), "category"),
    "categorical": (pl.Series(gappy(LABELS), dtype=pl.Categorical), "category"),
    "enum": (pl.Series(LABELS, dtype=pl.Enum(["s3", "s2", "s1", "s0", "none"])), "category"),
    "bytes": (pl.Series([label.encode() for label in LABELS]), "category"),
    "time of day": (pl.Series([datetime.time(k % 4) for k in range(N)]), "category"),
    "dates": (pl.Series([time.date() for time in TIMES]), "date"),
    "microseconds": (pl.Series(gappy(TIMES)), "date"),
    "milliseconds": (pl.Series(TIMES, dtype=pl.Datetime("ms")), "date"),
    "nanoseconds": (pl.Series(TIMES, dtype=pl.Datetime("ns")), "date"),
    "time zone": (pl.Series(TIMES).dt.replace_time_zone("Europe/Berlin", ambiguous="earliest"), "date"),
    "durations": (pl.Series(gappy([time - START for time in TIMES])), "number"),
    "missing": (pl.Series([None] * N), "number"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_every_type_are_encoded_as_in_pandas(name):
    column, kind = COLUMNS[name]
    frame = pl.DataFrame({"x": np.arange(N) % 7, "column": column})
    encoder = TableEncoder().fit(frame)
    assert encoder.columns_[1]["kind"] == kind
    plain = pd.DataFrame({"x": np.arange(N) % 7, "column": pd.Series(column.to_list())})
    np.testing.assert_array_equal(encoder.transform(frame), encoder.transform(plain))
    np.testing.assert_array_equal(encoder.transform(frame), TableEncoder().fit(plain).transform(plain))


@pytest.mark.parametrize("values", [[[1, 2], [3, 4]], [{"a": 1}, {"a": 2}]], ids=["lists", "structs"])
def test_columns_of_nested_values_are_refused(values):
    with pytest.raises(ValueError, match="column 'column' holds values that are neither numbers, dates nor"):
        TableEncoder().fit(pl.DataFrame({"x": [1.0, 2.0], "column": values}))


def test_a_query_that_has_not_run_is_refused():
    frame = pl.DataFrame({"x": [1.0, 2.0]})
    with pytest.raises(
        ValueError, match=r"X is a LazyFrame, a query that has not run: pass .*X\.collect\(\)"
    ):
        TableEncoder().fit(frame.lazy())
    with pytest.raises(ValueError, match="X is a LazyFrame"):
        TableEncoder().fit(frame).transform(frame.lazy())


def test_estimators_fit_and_predict_frames_and_series():
    frame = pl.DataFrame({"x": np.arange(N) % 7, "label": LABELS})
    y = pl.Series(LABELS)
    model = fastnn.TabularClassifier(1, "fast", random_state=0).fit(frame, y, pl.Series(np.ones(N)))
    again = fastnn.TabularClassifier(1, "fast", random_state=0).fit(
        pd.DataFrame({"x": np.arange(N) % 7, "label": LABELS}), np.array(LABELS), np.ones(N)
    )
    assert list(model.feature_names_in_) == ["x", "label"]
    np.testing.assert_array_equal(model.predict_proba(frame), again.predict_proba(frame))
    features = TableEncoder().set_output(transform="polars").fit(frame).transform(frame)
    assert isinstance(features, pl.DataFrame)
    network = fastnn.MLPClassifier((4,), max_iter=2, random_state=0, solver="sgd")
    with pytest.warns(UserWarning, match="iterations"):
        network.fit(frame.select("x"), y)
    assert set(network.predict(frame.select("x"))) <= set(LABELS)
