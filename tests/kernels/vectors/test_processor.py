"""The width of the vectors, which the user may choose, and the blocks that fit in the registers."""

import pytest

from fastnn_kernels.compiler import cache, target
from fastnn_kernels.vectors import processor


def test_the_width_is_that_of_the_processor_unless_it_is_chosen(monkeypatch):
    monkeypatch.delenv("FASTNN_VECTOR_BYTES", raising=False)
    assert target.read_vector_bytes() == 0
    for width in target.VECTOR_WIDTHS:
        monkeypatch.setenv("FASTNN_VECTOR_BYTES", f" {width} ")
        assert target.read_vector_bytes() == width
    assert processor.VECTOR_BYTES in target.VECTOR_WIDTHS
    assert processor.LINE_BYTES % processor.VECTOR_BYTES == 0


@pytest.mark.parametrize("wrong", ["48", "0", "wide", "032"])
def test_any_other_width_is_refused(wrong, monkeypatch):
    monkeypatch.setenv("FASTNN_VECTOR_BYTES", wrong)
    expected = f"the environment variable FASTNN_VECTOR_BYTES must be 16, 32 or 64, got '{wrong}'"
    with pytest.raises(ValueError, match=expected):
        target.read_vector_bytes()


def test_widths_do_not_share_entries_of_the_cache(monkeypatch):
    digests = set()
    for width in ("", *map(str, target.VECTOR_WIDTHS)):
        monkeypatch.setenv("FASTNN_VECTOR_BYTES", width)
        digests.add(cache.digest_version())
    assert len(digests) == 4
