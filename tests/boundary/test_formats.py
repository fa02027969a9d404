"""Files of pictures, each format read back by another library."""

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from extras import optional
from PIL import Image
from sink_pictures import hold_stripes, make_colours, render_stripes

import fastnn

zarr = optional("zarr")

SIZES = [(1, 1), (1, 37), (37, 1), (16, 16), (33, 17), (129, 70)]


def read_png(path):
    with Image.open(path) as image:
        return np.array(image)[::-1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("n_classes", "bits"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (17, 8), (256, 8), (257, 16)]
)
def test_png_has_as_few_bits_as_possible(tmp_path, size, n_classes, bits):
    path, colours = tmp_path / "a.png", make_colours(n_classes) / 255 if n_classes <= 256 else None
    pixels, _ = render_stripes(*size, n_classes, out=path, colours=colours)
    assert path.read_bytes()[24] == bits
    with Image.open(path) as image:
        assert image.mode == ("P" if n_classes <= 256 else "I;16")
        np.testing.assert_array_equal(np.array(image)[::-1], pixels)
        if colours is not None:
            shown = np.array(image.convert("RGB"))[::-1]
            np.testing.assert_array_equal(shown, make_colours(n_classes)[pixels])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_png_of_a_response_is_grey_from_0_to_1(tmp_path, size, dtype):
    row, column = np.mgrid[: size[1], : size[0]]
    pixels = (0.5 + 0.7 * np.sin(row / 9 + column / 5)).astype(dtype)
    pixels.ravel()[-4:] = [np.nan, -np.inf, np.inf, 0.5][-pixels.size :]
    image = fastnn.render_boundary(fastnn.Model([2, 2]), (0, 1), (0, 1), size, response="confidence")
    replace(image, data=pixels).save(tmp_path / "a.png")
    clipped = np.clip(np.nan_to_num(pixels.astype(np.float32)), 0, 1)
    np.testing.assert_array_equal(read_png(tmp_path / "a.png"), np.floor(clipped * 65535 + 0.5))


@pytest.mark.parametrize("n_classes", [2, 3, 257])
def test_png_in_several_strips_is_one_stream_with_right_checksums(tmp_path, n_classes):
    """Lenient readers check neither the checksums of all chunks nor that nothing follows the stream."""
    pixels, image = hold_stripes(5001, 1701, range(n_classes))
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_png(tmp_path / "a.png"), pixels)
    data, at, stream, kinds = (tmp_path / "a.png").read_bytes(), 8, b"", []
    while at < len(data):
        (size,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        chunk, (checksum,) = data[at + 8 : at + 8 + size], struct.unpack(">I", data[at + 8 + size :][:4])
        assert checksum == zlib.crc32(kind + chunk)
        kinds.append(kind)
        stream += chunk if kind == b"IDAT" else b""
        at += 12 + size
    assert kinds == [b"IHDR", *[b"PLTE"][: n_classes <= 256], *[b"IDAT"] * 4, b"IEND"]
    reader = zlib.decompressobj()
    row_bytes = {2: -(-5001 // 8), 3: -(-5001 // 4), 257: 2 * 5001}[n_classes]
    assert len(reader.decompress(stream)) == 1701 * (1 + row_bytes)
    assert reader.eof
    assert not reader.unused_data


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (65, 31), (4100, 2050)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.needs("zarr")
def test_zarr_holds_the_numbers_and_the_labels(tmp_path, size, dtype):
    is_response = dtype in (np.float32, np.float64)
    if is_response:
        model = fastnn.Model([2, 3, 2], random_state=0, dtype=dtype)
        view = (0, size[0]), (0, size[1]), size
        pixels = fastnn.render_boundary(model, *view, response="margin").data
        fastnn.render_boundary(model, *view, response="margin", out=tmp_path / "a.zarr")
        labels = None
    else:
        labels = [f"class {number:04}" for number in range(3 if dtype == np.uint8 else 300)]
        pixels, image = hold_stripes(*size, labels)
        image.save(tmp_path / "a.zarr")
    array = zarr.open_array(tmp_path / "a.zarr", mode="r")
    assert array.dtype == dtype
    np.testing.assert_array_equal(array[:], pixels)
    extent = [0.0, float(size[0]), 0.0, float(size[1])]
    assert dict(array.attrs) == {"extent": extent, "classes": labels, "origin": "lower"}


@pytest.mark.parametrize("dtype", ["int8", "int64", "float32", ">u4"])
@pytest.mark.parametrize("name", ["a.png", "a.dzi"])
def test_a_picture_in_an_array_of_any_dtype_is_saved(dtype, name, tmp_path):
    render_stripes(65, 31, 3)[1].save(tmp_path / name)
    expected = (tmp_path / name).read_bytes()
    out = np.empty((31, 65), dtype)
    _, image = render_stripes(65, 31, 3, out=out)
    image.save(tmp_path / name)
    assert image.data is out
    assert (tmp_path / name).read_bytes() == expected
