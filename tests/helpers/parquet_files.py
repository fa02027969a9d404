"""Tables with every kind of column, and Parquet files of them, for the tests of streamed fits."""

import numpy as np
from extras import optional

pd = optional("pandas")
pa = optional("pyarrow")
pq = optional("pyarrow.parquet")

COLUMNS = ["x", "group", "town", "flag", "day", "noise"]


def table(n=2000, seed=0):
    """Return a table with a class, "sort", a number, "size", and weights that are not below 0."""
    random = np.random.RandomState(seed)
    x, group = random.normal(size=n), random.randint(0, 4, n)
    frame = pd.DataFrame(
        {
            "x": np.where(random.rand(n) < 0.1, np.nan, x),
            "group": np.array(["north", "south", "east", "west"])[group],
            "town": [f"t{k}" for k in random.randint(0, 50, n)],
            "flag": random.rand(n) < 0.5,
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(random.randint(0, 700, n), "D"),
            "noise": random.normal(size=n),
            "weight": random.rand(n),
        }
    )
    number = 3 * np.nan_to_num(frame["x"].to_numpy()) + 2 * group + random.normal(size=n) / 4
    frame["sort"] = np.where(number > 3, "high", "low")
    frame["size"] = number * 100 + 1000
    return frame


def written(frame, path, rows=300):
    """Write a dataframe as a Parquet file with row groups of `rows` rows, and return the path."""
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, row_group_size=rows)
    return path
