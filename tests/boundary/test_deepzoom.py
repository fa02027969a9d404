"""Deep Zoom pyramids: their tiles, and the page that shows them in a browser."""

import io
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree

import numpy as np
import pytest
from PIL import Image
from processes import CHROMIUM, PATIENCE
from sink_pictures import EXTENT, SIZES, class_picture, grey, response_picture, write_pixels

from fastnn.boundary.sinks import Picture, open_sink, save_pixels


def level_by_level(pixels):
    """Return the levels of a pyramid, from one pixel to the whole picture."""
    levels = [pixels[::-1]]
    while max(levels[0].shape) > 1:
        levels.insert(0, levels[0][::2, ::2])
    return levels


def read_level(folder, shape, tile):
    """Return a level that is read from its tiles; the folder must hold exactly these tiles."""
    level = np.full(shape, -1)
    names = set()
    for row in range(0, shape[0], tile):
        for column in range(0, shape[1], tile):
            name = f"{column // tile}_{row // tile}.png"
            names.add(name)
            part = level[row : row + tile, column : column + tile]
            with Image.open(folder / name) as image:
                values = np.array(image)
            assert values.shape == part.shape
            part[:] = values
    assert {path.name for path in folder.iterdir()} == names
    return level


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n_classes", [2, 256])
def test_tiles_of_every_level_hold_the_classes(tmp_path, small, size, n_classes):
    pixels, picture = class_picture(*size, n_classes)
    write_pixels(open_sink(tmp_path / "a.dzi", picture), pixels)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.dzi", "a.html", "a_files"]
    image = xml.etree.ElementTree.parse(tmp_path / "a.dzi").getroot()
    assert image.tag == "{http://schemas.microsoft.com/deepzoom/2008}Image"
    assert image.attrib == {"Format": "png", "Overlap": "0", "TileSize": "4"}
    assert image[0].attrib == {"Width": str(size[0]), "Height": str(size[1])}
    levels = level_by_level(pixels)
    assert {path.name for path in (tmp_path / "a_files").iterdir()} == {str(k) for k in range(len(levels))}
    for k, level in enumerate(levels):
        np.testing.assert_array_equal(read_level(tmp_path / "a_files" / str(k), level.shape, 4), level)
    with Image.open(tmp_path / "a_files" / str(len(levels) - 1) / "0_0.png") as tile:
        np.testing.assert_array_equal(
            np.array(tile.convert("RGB")), picture.colours[pixels[::-1][:4, :4]]
        )  # fmt: skip


def test_tiles_of_a_response_are_grey(tmp_path, small):
    pixels, picture = response_picture(65, 31)
    write_pixels(open_sink(tmp_path / "a.dzi", picture), pixels)
    for k, level in enumerate(level_by_level(pixels)):
        read = read_level(tmp_path / "a_files" / str(k), level.shape, 4)
        np.testing.assert_array_equal(read, grey(level, 255))


@pytest.mark.parametrize("size", [(511, 513), (2049, 512), (1, 2047), (4100, 2500)])
def test_tiles_of_the_usual_size_hold_the_classes(tmp_path, size):
    pixels, picture = class_picture(*size, 3)
    save_pixels(pixels, tmp_path / "a.dzi", picture)
    for k, level in enumerate(level_by_level(pixels)):
        np.testing.assert_array_equal(read_level(tmp_path / "a_files" / str(k), level.shape, 512), level)


def test_the_page_is_self_contained_and_escapes_names(tmp_path):
    labels = ("</script><b>", "R&D")
    pixels, picture = class_picture(9, 9, 2, classes=labels)
    save_pixels(pixels, tmp_path / "<i> & #1.dzi", picture)
    page = (tmp_path / "<i> & #1.html").read_text(encoding="utf-8")
    assert "<title>&lt;i&gt; &amp; #1</title>" in page
    data = json.loads(re.search(r"^const picture = (.*);$", page, re.MULTILINE)[1])
    assert data == {
        "width": 9, "height": 9, "extent": list(EXTENT), "tileSize": 512,
        "tiles": "%3Ci%3E%20%26%20%231_files/",
        "legend": [["</script><b>", "#ff0032"], ["R&D", "#fe1e32"]],
    }  # fmt: skip
    assert page.count("</script>") == 2
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", page.split("<script>")[0])
    for copyright in ("Copyright (C) 2009 CodePlex Foundation", "Redistributions in binary form"):
        assert copyright in page


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are any bytes on Linux alone")
def test_names_need_not_be_utf_8(tmp_path):
    """The page was written last: a whole picture was painted and lost."""
    pixels, picture = class_picture(3, 3, 2)
    save_pixels(pixels, tmp_path / os.fsdecode(b"a\xff.dzi"), picture)
    page = (tmp_path / os.fsdecode(b"a\xff.html")).read_text(encoding="utf-8")
    assert "<title>a?</title>" in page
    assert '"tiles": "a%FF_files/"' in page


def screenshot(url, folder, milliseconds):
    """Return the pixels of a page after so many milliseconds of the browser's virtual time."""
    picture = folder / "screenshot.png"
    subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={folder / 'profile'}", f"--virtual-time-budget={milliseconds}",
            "--hide-scrollbars", "--window-size=1000,700", f"--screenshot={picture}", url,
        ],
        check=True, capture_output=True, timeout=PATIENCE,
    )  # fmt: skip
    with Image.open(io.BytesIO(picture.read_bytes())) as image:
        return np.array(image.convert("RGB"))


def shown(url, folder, is_complete):
    """Return the pixels of a page with all tiles.

    The browser's virtual time may end before the tiles are decoded: try again with more time.
    """
    for attempt in range(1, 11):
        image = screenshot(url, folder, 8000 * attempt)
        if is_complete(image):
            break
    return image


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_browser_shows_the_picture_and_zooms_into_sharp_pixels(tmp_path):
    width, height = 3000, 2000
    colours = np.array([[200, 60, 40], [40, 90, 210]], np.uint8)
    pixels = np.zeros((height, width), np.uint8)
    pixels[:501, :2001] = 1  # the lower left; its sides are odd: only the full level shows them exactly
    picture = Picture(width, height, pixels.dtype, (0.0, 30.0, 0.0, 20.0), colours, ("north", "south"))
    save_pixels(pixels, tmp_path / "two areas.dzi", picture)
    url = (tmp_path / "two areas.html").as_uri()

    def colour_at(image, *place):
        return next((k for k, colour in enumerate(colours) if (image[place] == colour).all()), None)

    def area(image):
        """Return the edges of the picture, which lies below the header and legend in rows up to 41."""
        is_in = (image[:, :, None] == colours).all(-1).any(-1)
        is_in[:41] = False
        rows, columns = np.flatnonzero(is_in.any(1)), np.flatnonzero(is_in.any(0))
        return (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) if len(rows) else None

    def is_whole(image):
        """Return whether all tiles are shown."""
        top, bottom, left, right = area(image) or (0, 1, 0, 0)
        return right - left > 400 and abs((right - left) / (bottom - top) - 1.5) < 0.02

    home = shown(url, tmp_path, is_whole)
    assert is_whole(home)
    top, bottom, left, right = area(home)
    for x, y, expected in [(1, 1, 1), (19, 4, 1), (21, 4, 0), (19, 6, 0), (1, 19, 0), (29, 1, 0)]:
        row, column = bottom - y / 20 * (bottom - top), left + x / 30 * (right - left)
        assert colour_at(home, int(row), int(column)) == expected, (x, y)
    for colour in colours:  # the legend
        assert (home[:41] == colour).all(-1).sum() > 100

    # Zoom in on the corner between the areas: a pixel of the picture covers at least 16 pixels of the screen.
    def south(image):
        return (image == colours[1]).all(-1)[60:640]

    def width_of_south(image):
        return np.flatnonzero(south(image).any(0)).max(initial=0) + 1

    def is_sharp(image):
        """Return whether all tiles are shown, without mixed colours."""
        is_north = (image == colours[0]).all(-1)[60:640]
        return abs(width_of_south(image) - 500) <= 1 and (south(image) | is_north).all()

    near = shown(f"{url}#x=20.01&y=5.01&zoom=16", tmp_path, is_sharp)
    assert is_sharp(near)
    is_south = south(near)
    rows = np.flatnonzero(is_south.any(1))
    assert is_south[rows[0] :, : width_of_south(near)].all()
    assert is_south.sum() == len(rows) * width_of_south(near)
    # The corner is in the middle between header and footer.
    assert abs(60 + rows[0] - 350) <= 6
