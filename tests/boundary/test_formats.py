"""Files of pictures, each format read back by another library."""

import json
import struct
import zlib

import numpy as np
import pytest
from extras import optional
from PIL import Image
from sink_pictures import EXTENT, SIZES, class_picture, grey, response_picture, write_pixels

from fastnn.boundary.sinks import Picture, open_sink, png, save_pixels

tifffile = optional("tifffile")
zarr = optional("zarr")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("n_classes", "bits"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (17, 8), (256, 8)])
def test_png_has_a_palette_of_as_few_bits_as_possible(tmp_path, small, size, n_classes, bits):
    pixels, picture = class_picture(*size, n_classes)
    write_pixels(open_sink(tmp_path / "a.png", picture), pixels)
    assert (tmp_path / "a.png").read_bytes()[24] == bits
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.array(image), pixels[::-1])
        np.testing.assert_array_equal(np.array(image.convert("RGB")), picture.colours[pixels[::-1]])


@pytest.mark.parametrize("size", SIZES)
def test_png_of_many_classes_holds_their_numbers(tmp_path, small, size):
    pixels, picture = class_picture(*size, 257, np.uint16)
    write_pixels(open_sink(tmp_path / "a.png", picture), pixels)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "I;16"
        np.testing.assert_array_equal(np.array(image), pixels[::-1])


def test_png_of_few_classes_may_have_pixels_of_a_wide_dtype(tmp_path, small):
    for n_classes in (2, 3, 17):
        pixels, picture = class_picture(65, 31, n_classes, np.uint16)
        write_pixels(open_sink(tmp_path / "a.png", picture), pixels)
        with Image.open(tmp_path / "a.png") as image:
            np.testing.assert_array_equal(np.array(image), pixels[::-1])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("size", SIZES)
def test_png_of_a_response_is_grey(tmp_path, small, size, dtype):
    pixels, picture = response_picture(*size, dtype)
    write_pixels(open_sink(tmp_path / "a.png", picture), pixels)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.array(image), grey(pixels[::-1], 65535))


def test_png_clips_a_response_to_0_and_1(tmp_path):
    pixels = np.array([[np.nan, -np.inf, -1, 0, 0.5, 1, 2, np.inf]])
    save_pixels(pixels, tmp_path / "a.png", Picture(8, 1, pixels.dtype, EXTENT))
    with Image.open(tmp_path / "a.png") as image:
        assert np.array(image).tolist() == [[0, 0, 0, 0, 32768, 65535, 65535, 65535]]


def test_png_in_strips_of_the_usual_size(tmp_path):
    pixels, picture = class_picture(5001, 2503, 3)
    save_pixels(pixels, tmp_path / "a.png", picture)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.array(image), pixels[::-1])


def test_png_stream_and_checksums_are_right(tmp_path, small):
    """Lenient readers check neither the checksums of all chunks nor that nothing follows the stream."""
    pixels, picture = class_picture(65, 31, 3)
    save_pixels(pixels, tmp_path / "a.png", picture)
    data, at, stream, kinds = (tmp_path / "a.png").read_bytes(), 8, b"", []
    while at < len(data):
        (size,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        chunk, (checksum,) = data[at + 8 : at + 8 + size], struct.unpack(">I", data[at + 8 + size :][:4])
        assert checksum == zlib.crc32(kind + chunk)
        kinds.append(kind)
        stream += chunk if kind == b"IDAT" else b""
        at += 12 + size
    assert kinds[:2] == [b"IHDR", b"PLTE"]
    assert kinds[-1] == b"IEND"
    reader = zlib.decompressobj()
    assert len(reader.decompress(stream)) == 31 * (1 + 17)
    assert reader.eof
    assert not reader.unused_data


@pytest.mark.parametrize("sizes", [(0, 5), (5, 0), (1, 1), (70000, 200001)])
def test_the_checksum_of_two_parts_is_that_of_the_whole(sizes):
    first, second = (bytes(np.random.default_rng(size).integers(200, 256, size, np.uint8)) for size in sizes)
    joint = png._joint_checksum(zlib.adler32(first), zlib.adler32(second), len(second))
    assert joint == zlib.adler32(first + second)


def test_packed_pixels_have_their_bits_in_order():
    random = np.random.default_rng(0)
    for bits in (1, 2, 4, 8):
        for width in (1, 7, 8, 9, 64, 131):
            pixels = random.integers(0, 1 << bits, (3, width), np.uint8)
            packed = np.empty((3, -(-width * bits // 8)), np.uint8)
            png._pack(pixels, bits, packed)
            unpacked = np.unpackbits(packed, axis=1)[:, : width * bits].reshape(3, width, bits)
            np.testing.assert_array_equal(unpacked @ (1 << np.arange(bits)[::-1]), pixels)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("n_classes", "dtype"), [(2, np.uint8), (256, np.uint8), (3, np.uint16)])
@pytest.mark.needs("tifffile")
def test_tiff_of_classes_has_a_palette_and_their_labels(tmp_path, small, size, n_classes, dtype):
    labels = (np.int64(4), "b", *range(n_classes - 2))
    pixels, picture = class_picture(*size, n_classes, dtype, classes=labels)
    write_pixels(open_sink(tmp_path / "a.tif", picture), pixels)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff
        page = file.pages[0]
        assert page.is_tiled
        assert page.photometric == tifffile.PHOTOMETRIC.PALETTE
        assert page.dtype == np.uint8
        np.testing.assert_array_equal(page.asarray(), pixels[::-1])
        assert json.loads(page.description) == {
            "extent": list(EXTENT), "classes": [4, "b", *range(n_classes - 2)],
        }  # fmt: skip
    with Image.open(tmp_path / "a.tif") as image:
        np.testing.assert_array_equal(np.array(image.convert("RGB")), picture.colours[pixels[::-1]])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
@pytest.mark.needs("tifffile")
def test_tiff_of_many_classes_or_a_response_holds_the_numbers(tmp_path, small, size, dtype):
    pixels, picture = (
        response_picture(*size, dtype) if dtype != np.uint16 else class_picture(*size, 999, dtype)
    )
    write_pixels(open_sink(tmp_path / "a.TIFF", picture), pixels)
    read = tifffile.imread(tmp_path / "a.TIFF")
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, pixels[::-1])


@pytest.mark.needs("tifffile")
def test_tiff_that_cannot_be_written_is_an_error_and_no_deadlock(tmp_path, small, monkeypatch):
    def fail(*_, **__):
        raise OSError("the disk is full")

    monkeypatch.setattr(tifffile.TiffWriter, "write", fail)
    pixels, picture = class_picture(129, 129, 3)
    with pytest.raises(OSError, match="the disk is full"):
        save_pixels(pixels, tmp_path / "a.tif", picture)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.needs("zarr")
def test_zarr_holds_the_numbers_and_the_labels(tmp_path, small, size, dtype):
    labels = ("a", "b", np.float64(2.5))
    is_response = dtype in (np.float32, np.float64)
    pixels, picture = (
        response_picture(*size, dtype) if is_response else class_picture(*size, 3, dtype, classes=labels)
    )
    write_pixels(open_sink(tmp_path / "a.zarr", picture), pixels)
    array = zarr.open_array(tmp_path / "a.zarr", mode="r")
    assert array.dtype == dtype
    np.testing.assert_array_equal(array[:], pixels)
    assert dict(array.attrs) == {
        "extent": list(EXTENT), "classes": None if is_response else ["a", "b", 2.5], "origin": "lower",
    }  # fmt: skip
