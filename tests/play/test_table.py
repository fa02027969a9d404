"""Tables of users: columns, rows and targets that the playground accepts, and errors for all others."""

import numpy as np
import pytest

from fastnn.play.fields import RequestError
from fastnn.play.problem import posed
from fastnn.play.settings import Settings
from fastnn.play.table import checked_table

RANDOM = np.random.RandomState(0)
X = RANDOM.randn(30, 3) * [1, 100, 0.01] + [0, 1000, 5]
LABELS = np.where(X[:, 0] > 0, "yes", "no")


def posed_table(table, **state):
    return posed(Settings.of_state({"dataset": "table", **state}), table)[0]


def test_text_labels_are_classes():
    table = checked_table(X, LABELS)
    assert (table.kind, table.classes, table.target) == ("classes", ["no", "yes"], "y")
    problem = posed_table(table, test_share=0)
    assert problem.classes == ["no", "yes"]
    assert (np.array(problem.classes)[problem.y] == LABELS).all()
    np.testing.assert_allclose(problem.X.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(problem.X.std(axis=0), 1)


@pytest.mark.parametrize(
    ("y", "kind", "classes"),
    [
        ((X[:, 0] > 0), "classes", ["False", "True"]),
        ((X[:, 0] > 0) * 3, "classes", ["0", "3"]),
        ((X[:, 0] > 0) + 1234567890123456789, "classes", ["1234567890123456789", "1234567890123456790"]),
        ((X[:, 0] > 0) + np.uint64(2**63), "classes", [str(2**63), str(2**63 + 1)]),
        ((X[:, 0] > 0) * 1e19 + 1e19, "classes", ["1e+19", "2e+19"]),
        (np.arange(30), "regression", None),
        (X[:, 0], "regression", None),
        ([None if k == 3 else float(k) / 7 for k in range(30)], "regression", None),
    ],
    ids=["booleans", "whole", "large", "unsigned", "beyond", "many", "floats", "missing"],
)
def test_few_whole_numbers_are_classes_and_other_numbers_a_regression(y, kind, classes):
    y = np.array(y, float) if kind == "regression" else y
    table = checked_table(X, y)
    assert (table.kind, table.classes) == (kind, classes)
    problem = posed_table(table, test_share=0)
    assert problem.kind == kind
    if kind == "regression":
        assert problem.y.std() == pytest.approx(1)
        assert len(problem.y) == np.isfinite(np.asarray(y, float)).sum()


@pytest.mark.needs("pandas")
def test_columns_of_text_in_a_dataframe_are_left_out():
    import pandas

    frame = pandas.DataFrame({"a": X[:, 0], "name": ["x"] * 30, "b": X[:, 1], "flag": X[:, 2] > 5})
    frame.loc[4, "b"] = np.nan
    table = checked_table(frame, pandas.Series(LABELS, name="answer"))
    assert list(table.columns) == ["a", "b", "flag"]
    assert table.target == "answer"
    assert len(posed_table(table).y) == 29
    assert posed_table(table, x_column="flag", y_column="a").inputs == ["flag", "a"]


@pytest.mark.parametrize(
    ("data", "y", "message"),
    [
        ([["a", "b"]] * 4, [0, 1, 0, 1], "two columns of numbers, but the table has none"),
        (X[:, :1], LABELS, "two columns of numbers"),
        (np.zeros((10_000, 2)), np.zeros(10_000), "10,000 rows"),
        (np.ones((30, 2)), LABELS, "two different numbers"),
        (X, LABELS[:-1], "one target for each row"),
        (X, ["same"] * 30, "only one value"),
        (X, [f"name {k}" for k in range(30)], "30 different values"),
        (X, np.array(["a", None] * 15, object), "only one value, 'a'"),
        (X, np.full(30, 0.5), "only one value, '0.5'"),
        (X * 1e300, LABELS, r"column 'x0' holds numbers beyond 1e\+150"),
        (X, X[:, 0] * 1e300, "target 'y' holds numbers beyond"),
        (X, [np.inf] * 30, "infinity"),
        (X, [np.nan] * 30, "only missing values"),
    ],
    ids=[
        "text",
        "one column",
        "rows",
        "constant",
        "length",
        "one class",
        "names",
        "gap",
        "constant target",
        "huge",
        "huge target",
        "inf",
        "nan",
    ],
)
def test_unusable_tables_are_refused(data, y, message):
    with pytest.raises(ValueError, match=message):
        checked_table(data, y)


@pytest.mark.parametrize(
    ("state", "field"),
    [
        ({"x_column": "z"}, "x_column"), ({"y_column": "x9"}, "y_column"),
        ({"x_column": "x1"}, "y_column"), ({"x_column": "x1", "y_column": "x1"}, "y_column"),
    ],
)  # fmt: skip
def test_columns_must_exist_and_differ(state, field):
    with pytest.raises(RequestError) as caught:
        posed_table(checked_table(X, LABELS), **state)
    assert caught.value.name == field


@pytest.mark.parametrize(
    "y",
    [
        ["a", None, "b", np.nan] * 3, [1.0, np.nan, 2.0, np.nan] * 3, [0.5, np.nan, 2.0, np.nan] * 3,
    ],
    ids=["text", "whole", "numbers"],
)  # fmt: skip
def test_rows_whose_target_is_a_gap_are_left_out(y):
    data = X[:12].copy()
    data[0, 0] = np.nan  # a row with a missing value in a column stays: other columns may be chosen
    table = checked_table(data, np.array(y, object if "a" in y else float))
    assert table.n_rows == 6
    np.testing.assert_array_equal(table.columns["x1"], data[::2, 1])
    assert len(posed_table(table, test_share=0).y) == 5


def test_what_is_no_table_is_refused():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="Sparse"):
        checked_table(sparse.csr_matrix(X), LABELS)
    with pytest.raises(ValueError, match="2D"):
        checked_table(3, LABELS)
    with pytest.raises(TypeError, match="target must be the name"):
        checked_table(X, LABELS, 3)
