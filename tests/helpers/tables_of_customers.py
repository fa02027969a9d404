"""Table of customers with every kind of column, and files of it, for the tests of the command line."""

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


def written(frame, path, **options):
    """Write a dataframe as CSV and return the path."""
    text = frame.to_csv(index=False, **options)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path
