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


def test_the_row_groups_of_a_folder_are_predicted_as_the_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"age": random.integers(18, 80, 600), "plan": random.choice(["basic", "pro"], 600)})
    Path("customers").mkdir()
    for k in range(2):
        frame[300 * k : 300 * (k + 1)].to_parquet(f"customers/{k}.parquet", row_group_size=100)
    model = TabularClassifier(preset="fast", random_state=0).fit(frame, frame["age"] > 40, passes=2)
    Path("run").mkdir()
    model.save("run/model.fastnn")
    (program,) = re.findall(
        r"```py\n(import dask.dataframe .*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    names = {}
    exec(program.replace("/shared/", ""), names)
    assert names["rows"].npartitions == 6
    found = pd.read_parquet("predictions")
    np.testing.assert_array_equal(found["churn"], model.predict_proba(frame)[:, 1])
    assert found.dtypes.to_dict() == names["types"]
