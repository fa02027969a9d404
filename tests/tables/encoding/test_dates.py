"""Encoding of dates: parts and elapsed days, compared with Python's datetime."""

import datetime

import numpy as np
import pytest
from extras import optional
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError

from fastnn import DateEncoder
from fastnn.tables.encoding.dates import PARTS, split_dates

pd = optional("pandas")

moments = st.datetimes(datetime.datetime(1000, 1, 1), datetime.datetime(3000, 1, 1))


@given(st.lists(moments, min_size=2, max_size=20))
def test_parts_and_elapsed_days_are_those_of_python(given_dates):
    dates = np.array(given_dates, "datetime64[us]")
    parts = dict(zip(PARTS, split_dates(dates, PARTS), strict=True))
    for k, date in enumerate(given_dates):
        for name in ("year", "month", "day", "hour", "minute"):
            assert parts[name][k] == getattr(date, name)
        assert parts["weekday"][k] == date.weekday()
    elapsed = DateEncoder().fit_transform(dates[:, None])[:, 0]
    expected = [(date - min(given_dates)) / datetime.timedelta(days=1) for date in given_dates]
    np.testing.assert_allclose(elapsed, expected, rtol=1e-12, atol=1e-9)


@pytest.mark.needs("pandas")
def test_missing_dates_become_nan_and_times_are_those_of_their_zone():
    times = pd.to_datetime(["2024-01-31 23:30", "2024-02-01 01:00", None]).tz_localize("Asia/Tokyo")
    days = [datetime.date(2024, 1, 31), None, datetime.date(2024, 2, 1)]
    frame = pd.DataFrame({"day": days, "time": times})
    encoder = DateEncoder().fit(frame)
    names = encoder.get_feature_names_out().tolist()
    assert names[:4] == ["day_elapsed", "day_month", "day_day", "day_weekday"]
    assert names[4:] == [f"time_{part}" for part in ("elapsed", "month", "day", "weekday", "hour", "minute")]
    result = encoder.transform(frame)
    assert np.isnan(result[1, :4]).all()
    assert np.isnan(result[2, 4:]).all()
    assert result[0, 8:].tolist() == [23, 30]  # in the time of Tokyo
    assert result[0, :4].tolist() == [0, 1, 31, 2]


def test_a_column_of_missing_dates_has_elapsed_days_alone():
    encoder = DateEncoder().fit(np.array([["NaT"], ["NaT"]], "datetime64[us]"))
    assert encoder.get_feature_names_out().tolist() == ["x0_elapsed"]
    assert encoder.get_feature_names_out(["day"]).tolist() == ["day_elapsed"]
    with pytest.raises(ValueError, match="input_features should have length equal to number of features"):
        encoder.get_feature_names_out(["day", "night"])
    assert np.isnan(encoder.transform(np.array([["2024-01-01"], ["NaT"]], "datetime64[D]"))[1]).all()


@pytest.mark.needs("pandas")
def test_columns_without_dates_and_unfitted_encoders_are_refused():
    with pytest.raises(ValueError, match="column 'a' holds no dates: convert it"):
        DateEncoder().fit(pd.DataFrame({"a": [1, 2]}))
    with pytest.raises(NotFittedError):
        DateEncoder().transform(np.array([["2024-01-01"]], "datetime64[D]"))
