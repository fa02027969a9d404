"""Sizes in bytes: numbers, and texts with or without a unit."""

import numpy as np
import pytest

from fastnn.system.memory import UNITS, parse_size

SIZES = {1073741824: 2**30, np.int64(5): 5, "1073741824": 2**30, "9007199254740993": 2**53 + 1}
SIZES |= {"1GB": 10**9, "1 gb": 10**9, "2gib": 2**31, ".5 KIB": 512, "1.5 MiB": 3 << 19}
WRONG = ["1g", "1 K", "1.5", "-1", "much", "", "1 \N{KELVIN SIGN}B", "9" * 5000, "9" * 400 + "GB", 1.5, True]


def test_numbers_and_texts_are_sizes():
    assert {value: parse_size(value, "size") for value in SIZES} == SIZES


@pytest.mark.parametrize("value", WRONG)
def test_messages_name_the_units(value):
    with pytest.raises(ValueError, match="size must be a number of bytes, or .* such as '2GiB'") as error:
        parse_size(value, "size")
    assert all(unit in str(error.value) for unit in UNITS)
