"""Pictures in memory, painted into any array and saved."""

import numpy as np
import pytest

import fastnn


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_painted_pixels_are_not_masked(dtype):
    model, out = fastnn.Model([2, 3, 2], random_state=0), np.ma.masked_all((8, 8), dtype)
    fastnn.render_boundary(model, (-1, 1), (-1, 1), 8, out=out)
    assert not out.mask.any()
    np.testing.assert_array_equal(out.data, fastnn.render_boundary(model, (-1, 1), (-1, 1), 8).data)


@pytest.mark.parametrize("dtype", ["int8", "int64", "float32", ">u4"])
@pytest.mark.parametrize("name", ["a.png", "a.svg", "a.dzi"])
def test_a_picture_in_an_array_of_any_dtype_is_saved(dtype, name, tmp_path):
    def predict(points):
        return points[:, 0] > points[:, 1]

    view = ((0, 1), (0, 1), 8)
    fastnn.render_boundary(predict, *view).save(tmp_path / name)
    expected = (tmp_path / name).read_bytes()
    out = np.empty((8, 8), dtype)
    image = fastnn.render_boundary(predict, *view, classes=[False, True], out=out)
    image.save(tmp_path / name)
    assert image.data is out
    assert (tmp_path / name).read_bytes() == expected
