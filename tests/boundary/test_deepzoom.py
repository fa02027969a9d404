"""Deep Zoom pyramids: their tiles, and the page that shows them in a browser."""

import io
import json
import os
import re
import sys
import time
import xml.etree.ElementTree

import numpy as np
import pytest
from PIL import Image
from processes import CHROMIUM, PATIENCE
from sink_pictures import make_stripes, render_pixels, render_stripes

import fastnn

TILE = 512


def read_level(folder, shape):
    """Return a level that is read from its tiles; the folder must hold exactly these tiles."""
    level, names = np.full(shape, -1), set()
    for row in range(0, shape[0], TILE):
        for column in range(0, shape[1], TILE):
            name = f"{column // TILE}_{row // TILE}.png"
            names.add(name)
            part = level[row : row + TILE, column : column + TILE]
            with Image.open(folder / name) as image:
                values = np.array(image)
            assert values.shape == part.shape
            part[:] = values
    assert {path.name for path in folder.iterdir()} == names
    return level


@pytest.mark.parametrize("size", [(1, 1), (37, 1), (511, 513), (2049, 512), (1, 4500), (2100, 2060)])
@pytest.mark.parametrize("n_classes", [2, 256])
def test_tiles_of_every_level_hold_the_classes(tmp_path, size, n_classes):
    colours = [(0.2 * (k % 5), k / 255, 0.1) for k in range(n_classes)]
    pixels, _ = render_stripes(*size, n_classes, out=tmp_path / "a.dzi", colours=colours)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.dzi", "a.html", "a_files"]
    image = xml.etree.ElementTree.parse(tmp_path / "a.dzi").getroot()
    assert image.tag == "{http://schemas.microsoft.com/deepzoom/2008}Image"
    assert image.attrib == {"Format": "png", "Overlap": "0", "TileSize": "512"}
    assert image[0].attrib == {"Width": str(size[0]), "Height": str(size[1])}
    levels = [pixels[::-1]]
    while max(levels[0].shape) > 1:
        levels.insert(0, levels[0][::2, ::2])
    assert {path.name for path in (tmp_path / "a_files").iterdir()} == {str(k) for k in range(len(levels))}
    for k, level in enumerate(levels):
        np.testing.assert_array_equal(read_level(tmp_path / "a_files" / str(k), level.shape), level)
    with Image.open(tmp_path / "a_files" / str(len(levels) - 1) / "0_0.png") as tile:
        shown = (np.array(colours) * 255).round()[pixels[::-1][:TILE, :TILE]]
        np.testing.assert_array_equal(np.array(tile.convert("RGB")), shown)


def test_the_page_is_self_contained_and_escapes_names(tmp_path):
    labels = ("</script><b>", "R&D")
    render_pixels(make_stripes(9, 9, 2), labels, out=tmp_path / "<i> & #1.dzi", colours=["red", "#fe1e32"])
    page = (tmp_path / "<i> & #1.html").read_text(encoding="utf-8")
    assert "<title>&lt;i&gt; &amp; #1</title>" in page
    data = json.loads(re.search(r"^const picture = (.*);$", page, re.MULTILINE)[1])
    assert data == {
        "width": 9,
        "height": 9,
        "extent": [0, 9, 0, 9],
        "tileSize": 512,
        "tiles": "%3Ci%3E%20%26%20%231_files/",
        "legend": [["</script><b>", "#ff0000"], ["R&D", "#fe1e32"]],
    }
    assert page.count("</script>") == 2
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", page.split("<script>")[0])
    for copyright in ("Copyright (C) 2009 CodePlex Foundation", "Redistributions in binary form"):
        assert copyright in page


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are any bytes on Linux alone")
def test_names_need_not_be_utf_8(tmp_path):
    """The page was written last: a whole picture was painted and lost."""
    render_stripes(3, 3, 2, out=tmp_path / os.fsdecode(b"a\xff.dzi"))
    page = (tmp_path / os.fsdecode(b"a\xff.html")).read_text(encoding="utf-8")
    assert "<title>a?</title>" in page
    assert '"tiles": "a%FF_files/"' in page


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_browser_shows_the_picture_and_zooms_into_sharp_pixels(tmp_path):
    visitors = pytest.importorskip("visitors")
    colours = np.array([[200, 60, 40], [40, 90, 210]], np.uint8)

    def predict(points):  # an area in the lower left, whose sides in pixels are odd
        return np.where((points < (20.01, 5.01)).all(axis=1), "south", "north")

    path, options = tmp_path / "two areas.dzi", {"classes": ["north", "south"], "colours": colours / 255}
    fastnn.render_boundary(predict, (0, 30), (0, 20), 3000, out=path, **options)
    url = (tmp_path / "two areas.html").as_uri()

    def find_area(image, *shown):
        """Return the rows and columns below the header and legend that have one of the colours."""
        is_in = (image[41:, :, None] == colours[list(shown)]).all(-1).any(-1)
        return np.flatnonzero(is_in.any(1)) + 41, np.flatnonzero(is_in.any(0))

    def show(fragment, is_complete):
        page.goto(f"{url}{fragment}")
        page.reload()  # a page whose fragment alone changes stays as it is
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with Image.open(io.BytesIO(page.screenshot())) as picture:
                image = np.array(picture.convert("RGB"))
            if is_complete(image):
                return image
        pytest.fail("the page does not show all tiles")

    def is_whole(image):
        rows, columns = find_area(image, 0, 1)
        return len(columns) > 400 and abs(len(columns) / max(len(rows), 1) - 1.5) < 0.02

    # Zoomed in on the corner between the areas, a pixel of the picture covers at least 16 of the screen.
    def is_sharp(image):
        middle = (image[60:640, :, None] == colours).all(-1)
        return middle.any(-1).all() and abs(len(find_area(image, 1)[1]) - 500) <= 1

    with visitors.chromium() as browser:
        page = browser.new_page(viewport={"width": 1000, "height": 700})
        home = show("", is_whole)
        near = show("#x=20.01&y=5.01&zoom=16", is_sharp)
    rows, columns = find_area(home, 0, 1)
    for x, y, expected in [(1, 1, 1), (19, 4, 1), (21, 4, 0), (19, 6, 0), (1, 19, 0), (29, 1, 0)]:
        place = int(rows[-1] - y / 20 * len(rows)), int(columns[0] + x / 30 * len(columns))
        assert (home[place] == colours[expected]).all(), (x, y)
    assert all((home[:41] == colour).all(-1).sum() > 100 for colour in colours), "the legend"
    is_south = (near[60:640] == colours[1]).all(-1)
    rows, columns = np.flatnonzero(is_south.any(1)), np.flatnonzero(is_south.any(0))
    assert is_south[rows[0] :, : columns[-1] + 1].all(), "the area has a sharp corner"
    assert is_south.sum() == len(rows) * len(columns)
    assert abs(60 + rows[0] - 350) <= 6, "which is in the middle between header and footer"
