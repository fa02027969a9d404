"""Kernels of the library compute the bits of those that numba compiles."""

import json
from pathlib import Path

import pytest
from processes import run_python

from fastnn_kernels.compiler.prebuilt import load_library

PROGRAM = Path(__file__).parents[2] / "helpers" / "entry_digests.py"


@pytest.mark.skipif(load_library() is None, reason="no library of kernels, or FASTNN_PREBUILT is not 1")
def test_all_entries_compute_the_bits_of_compiled_ones():
    program = "import sys; sys.path.append('tests/helpers')\n" + PROGRAM.read_text()
    prebuilt, compiled = (
        json.loads(run_python(program, FASTNN_PREBUILT=choice, NUMBA_NUM_THREADS="1")) for choice in "10"
    )
    assert prebuilt.keys() == compiled.keys()
    assert len(prebuilt) > 600
    assert {name for name in prebuilt if prebuilt[name] != compiled[name]} == set()
