"""Predictions for a folder on Dask's workers, by the program of the documentation."""

import re
from pathlib import Path

import numpy as np
import pytest
from extras import all_need, optional, since

from fastnn import TabularClassifier

pytestmark = [
    all_need("dask", "pandas", "pyarrow"),
    since("dask", "2025.1"),  # older versions have other dataframes
    pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.set_index"),  # of Dask
]
pd = optional("pandas")

PAGE = Path(__file__).parents[2] / "docs" / "use" / "cluster.md"
INCREMENTAL, PREDICTIONS = re.findall(
    r"```py\n(import dask.dataframe .*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
)


@pytest.fixture
def frame(tmp_path, monkeypatch):
    """Return the table of the folder "customers"; "new" lacks the target. Both have two files."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"age": random.integers(18, 80, 600), "plan": random.choice(["basic", "pro"], 600)})
    frame["churn"] = np.where(frame["age"] > 40, "yes", "no")
    for folder, columns in (("customers", ["age", "plan", "churn"]), ("new", ["age", "plan"])):
        Path(folder).mkdir()
        for k in range(2):
            rows = frame[300 * k : 300 * (k + 1)][columns]
            rows.to_parquet(f"{folder}/{k}.parquet", row_group_size=100)
    return frame


def run(program):
    """Run a program of the page on these folders, and return its names."""
    names = {}
    exec(program.replace("/shared/", ""), names)
    return names


@pytest.mark.needs("dask_ml")
@pytest.mark.filterwarnings("ignore")  # of dask-ml
def test_all_rows_of_a_folder_pass_through_a_network(frame):
    names = run(INCREMENTAL)
    rows = names["encoder"].transform(frame[["age", "plan"]])
    assert (names["model"].estimator_.predict(rows) == frame["churn"].eq("yes")).mean() > 0.9
    assert names["model"].estimator_.t_ == 5 * len(frame)


def test_the_row_groups_of_a_folder_are_predicted_as_the_table(frame):
    X = frame[["age", "plan"]]
    model = TabularClassifier(preset="fast", random_state=0).fit(X, frame["churn"], passes=2)
    Path("run").mkdir()
    model.save("run/model.fastnn")
    names = run(PREDICTIONS)
    assert names["rows"].npartitions == 6
    found = pd.read_parquet("predictions")
    np.testing.assert_array_equal(found["churn"], model.predict_proba(X)[:, 1])
    assert found.dtypes.to_dict() == names["types"]
