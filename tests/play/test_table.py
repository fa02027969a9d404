"""Tables of users: columns, rows and targets that the playground accepts, and errors for all others."""

import numpy as np
import pytest
from playing import FakePage
from scipy.sparse import csr_array

from fastnn.play.datasets import TABLES
from fastnn.play.fields import RequestError
from fastnn.play.learning_problem import make_problem
from fastnn.play.settings import Settings
from fastnn.play.table import make_table

RANDOM = np.random.RandomState(0)
X = RANDOM.randn(30, 3) * [1, 100, 0.01] + [0, 1000, 5]
LABELS = np.where(X[:, 0] > 0, "yes", "no")


def make_table_problem(table, **state):
    return make_problem(Settings.of_state({"dataset": "table", **state}), table)[0]


POSITIVE = X[:, 0] > 0
# Targets, and the classes that they are, if any.
TARGETS = [
    (LABELS, ["no", "yes"]),
    (POSITIVE, ["False", "True"]),
    (POSITIVE * 3, ["0", "3"]),
    (POSITIVE + 1234567890123456789, ["1234567890123456789", "1234567890123456790"]),
    (POSITIVE + np.uint64(2**63), [str(2**63), str(2**63 + 1)]),
    (POSITIVE * 5e18 + 1e19, ["1e+19", "1.5e+19"]),  # from 2^63 to 2^64
    (np.arange(30), None),
    (X[:, 0], None),
]


@pytest.mark.parametrize(("y", "classes"), TARGETS, ids=str)
def test_text_and_few_whole_numbers_are_classes_and_other_numbers_a_regression(y, classes):
    table = make_table(X, y)
    kind = "classes" if classes else "regression"
    assert (table.kind, table.classes, table.target) == (kind, classes, "y")
    problem = make_table_problem(table, test_share=0)
    assert (problem.kind, problem.classes) == (kind, classes)
    np.testing.assert_allclose(problem.X.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(problem.X.std(axis=0), 1)
    if classes:
        assert sorted(set(problem.y)) == [0, 1]
        assert ((problem.y == 1) == POSITIVE).all()
    else:
        assert problem.y.std() == pytest.approx(1)
        assert len(problem.y) == 30


@pytest.mark.needs("pandas")
def test_columns_of_text_in_a_dataframe_are_left_out():
    import pandas

    frame = pandas.DataFrame({"a": X[:, 0], "name": ["x"] * 30, "b": X[:, 1], "flag": X[:, 2] > 5})
    frame.loc[4, "b"] = np.nan
    table = make_table(frame, pandas.Series(LABELS, name="answer"))
    assert (list(table.columns), table.target) == (["a", "b", "flag"], "answer")
    assert len(make_table_problem(table, x_column="a", y_column="b").y) == 29
    assert make_table_problem(table, x_column="flag", y_column="a").inputs == ["flag", "a"]


REFUSED = [
    ([["a", "b"]] * 4, [0, 1, 0, 1], ValueError, "two columns of numbers, but the table has none"),
    (np.zeros((10_000, 2)), np.zeros(10_000), ValueError, "10,000 rows"),
    (np.ones((30, 2)), LABELS, ValueError, "two different numbers"),
    (X, LABELS[:-1], ValueError, "one target for each row"),
    (X, [f"name {k}" for k in range(30)], ValueError, "30 different values"),
    (X, np.array(["a", None] * 15, object), ValueError, "only one value, 'a'"),
    (X, np.full(30, 0.5), ValueError, "only one value, '0.5'"),
    (X * 1e300, LABELS, ValueError, r"column 'x0' holds numbers beyond 1e\+150"),
    (X, X[:, 0] * 1e300, ValueError, "target 'y' holds numbers beyond"),
    (X, [np.inf] * 30, ValueError, "infinity"),
    (X, [np.nan] * 30, ValueError, "only missing values"),
    (csr_array(X), LABELS, TypeError, "Sparse"),
    (3, LABELS, ValueError, "2D"),
]


@pytest.mark.parametrize(("data", "y", "error", "message"), REFUSED, ids=range(len(REFUSED)))
def test_unusable_tables_are_refused(data, y, error, message):
    with pytest.raises(error, match=message):
        make_table(data, y)
    with pytest.raises(TypeError, match="target must be the name"):
        make_table(X, LABELS, 3)


def test_columns_must_exist_and_differ():
    for state in ({"x_column": "z"}, {"y_column": "x9"}, {"y_column": "x1", "x_column": "x1"}):
        with pytest.raises(RequestError) as caught:
            make_table_problem(make_table(X, LABELS), **state)
        assert caught.value.name == next(iter(state))


USEFUL = RANDOM.randn(300, 5)
# Targets, and the columns that decide them.
DECIDED = [
    (np.where(USEFUL[:, 3] > 0, "a", "b") + np.where(USEFUL[:, 1] > 0.5, "c", "d"), ["x1", "x3"]),
    (USEFUL[:, 4] - 2 * USEFUL[:, 2], ["x2", "x4"]),
    ((USEFUL[:, 0] + USEFUL[:, 4] > 0).astype(int), ["x0", "x4"]),
]


@pytest.mark.parametrize(("y", "columns"), DECIDED)
def test_the_usual_columns_are_the_most_useful_ones_in_the_order_of_the_table(y, columns):
    table = make_table(USEFUL, y)
    assert make_table_problem(table).inputs == columns
    assert sorted(table.by_use[:2]) == columns
    assert make_table_problem(table, x_column=columns[1]).inputs == columns[::-1]
    assert make_table_problem(table, y_column="x1").inputs[1] == "x1"
    assert set(make_table_problem(table, x_column="x1").inputs) - {"x1"} <= set(columns)


def test_a_column_counts_by_the_rows_in_which_it_has_a_value():
    y = USEFUL[:, 0] + USEFUL[:, 1] > 0
    data = np.column_stack([USEFUL[:, :2], y + 0.01 * USEFUL[:, 2]])
    assert make_table(data, y).by_use[0] == "x2"
    data[30:, 2] = np.nan
    assert make_table(data, y).by_use[2] == "x2"


STATES = [{}, {"dtype": "float32"}, {"batch_norm": True, "dropout": 0.2, "batch_size": 16}]
STATES += [{"features": ["x2"]}, {"features": ["x2", "x1"]}, {"layers": [], "activations": []}]
STATES += [{"loss": "sigmoid_binary_cross_entropy"}]


@pytest.mark.parametrize("kind", ["classes", "regression"])
@pytest.mark.parametrize("state", STATES, ids=str)
def test_a_saved_model_takes_rows_in_the_units_of_the_table(kind, state, tmp_path):
    data = RANDOM.randn(60, 2) * [3, 0.001] + [2000, -5]
    score = (data[:, 0] - 2000) / 3 + (data[:, 1] + 5) / 0.001
    y = np.where(score > 0, "yes", "no") if kind == "classes" else 1e6 + 10 * score
    state = TABLES[kind].best | state
    if kind == "regression" and "loss" in state:
        state["loss"] = "huber"
    with FakePage(make_table(data, y)) as page:
        run = page.start(dataset="table", test_share=0, **state)
        page.train_to(50)
        model, problem, trained = page.load_model(tmp_path), run.problem, run.model_of(run.latest)
    expected = trained.predict(problem.features(problem.X)).reshape(-1)
    predicted = model.predict(data).reshape(-1)
    if kind == "classes":
        np.testing.assert_array_equal(predicted, expected)
    else:
        np.testing.assert_allclose((predicted - y.mean()) / y.std(), expected, atol=1e-4, rtol=0)
    np.testing.assert_array_equal(problem.table.X, data)
    np.testing.assert_allclose(problem.in_units(problem.X), data)


@pytest.mark.filterwarnings("ignore:y holds targets")
def test_a_regression_whose_outputs_are_bounded_cannot_be_saved_in_the_units_of_its_target():
    with FakePage(make_table(X, X[:, 0])) as page:
        page.start(dataset="table", output_activation="tanh")
        with pytest.raises(RequestError, match="cannot predict 'y' in its own units") as caught:
            page.session.run.save_model()
        assert caught.value.name == "output_activation"
        page.train_to(10)  # the training continues


@pytest.mark.parametrize("values", [["a", "b"], [1.0, 2.0], [0.5, 2.0]], ids=str)
def test_rows_whose_target_is_missing_are_left_out(values):
    data, y = X[:12].copy(), np.array([values[0], np.nan, values[1], None] * 3, object)
    data[0, 0] = np.nan  # a row with a missing value in a column stays: other columns may be chosen
    table = make_table(data, y if "a" in values else y.astype(float))
    assert len(table.y) == 6
    np.testing.assert_array_equal(table.columns["x1"], data[::2, 1])
    assert len(make_table_problem(table, test_share=0).y) == 5
