"""Results have the same bits on every machine, for one width of vectors."""

import json

import pytest
from golden_bits import FILE, TRAININGS, digest, this_kind


@pytest.mark.parametrize("name", TRAININGS)
def test_results_have_the_bits_of_other_machines(name):
    known = json.loads(FILE.read_text())
    assert digest(TRAININGS[name]()) == known[this_kind()][name]
