"""Tables with every kind of column, for the tests of tables, and files of them."""

import gzip

import numpy as np
from extras import optional

pd = optional("pandas")

N = 240


def customers(n=N, seed=0):
    """Return a table with a class, "churn", and a number, "spent", that depend on other columns."""
    random = np.random.RandomState(seed)
    age = random.randint(18, 80, n)
    plan = random.choice(["basic", "plus", "pro"], n)
    frame = pd.DataFrame(
        {
            "id": [f"c{seed}x{k}" for k in range(n)],
            "age": np.where(random.rand(n) < 0.1, np.nan, age),
            "plan": plan,
            "score": random.normal(size=n).round(3),
            "since": (pd.Timestamp("2020-01-01") + pd.to_timedelta(random.randint(0, 900, n), "D")).astype(
                str
            ),
            "paper": random.rand(n) < 0.5,
        }
    )
    frame["churn"] = np.where(frame["score"] + (plan == "basic") > 0.6, "yes", "no")
    frame["spent"] = (100 * frame["score"] + 50 * (plan == "pro") + random.normal(size=n)).round(2)
    return frame


def make_mixed(n, seed=0):
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
    return frame.assign(sort=np.where(number > 3, "high", "low"), size=number * 100 + 1000)


def written(frame, path, **options):
    """Write a dataframe as CSV and return the path."""
    text = frame.to_csv(index=False, **options)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path
