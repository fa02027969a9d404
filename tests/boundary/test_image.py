"""Pictures in memory: loaded from pickles of earlier versions, and saved."""

import pickle

import numpy as np
import pytest
from processes import run_python

import fastnn
import fastnn.boundary
from fastnn.boundary.image import RenderStats

# Module of the image's two classes today, and in version 0.1.0.
MODULE, FORMER_MODULE = "fastnn.boundary.image", "fastnn.boundary"


def former_pickle(image):
    """Return the pickle of an image as version 0.1.0 wrote it, with the former module of the classes."""
    content = pickle.dumps(image, 2)  # protocol 2 writes names of modules as lines
    new, old = (f"c{name}\n".encode() for name in (MODULE, FORMER_MODULE))
    assert content.count(new) == 2
    return content.replace(new, old)


def test_a_pickle_of_an_earlier_version_loads():
    image = fastnn.render_boundary(lambda points: points[:, 0] > 0.5, (0, 1), (0, 1), (3, 2))
    loaded = pickle.loads(former_pickle(image))
    assert type(loaded) is fastnn.BoundaryImage
    assert type(loaded.stats) is RenderStats
    np.testing.assert_array_equal(loaded.data, image.data)
    assert loaded.stats == image.stats
    assert repr(loaded) == repr(image)


def test_the_former_module_imports_the_classes_only_on_use():
    program = """
        import sys, fastnn.boundary
        print([name for name in sys.modules if name == "numpy" or name.startswith("fastnn.boundary.")])
    """
    assert run_python(program).strip() == "[]"
    assert fastnn.boundary.BoundaryImage is fastnn.BoundaryImage
    with pytest.raises(AttributeError, match=r"module 'fastnn.boundary' has no attribute 'BoundaryPainting'"):
        fastnn.boundary.BoundaryPainting  # noqa: B018


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
