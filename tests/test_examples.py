"""The gallery's script makes all its pictures."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[1] / "examples" / "gallery.py"


@pytest.fixture(scope="module")
def gallery():
    """Import the script from its file and return the module."""
    spec = importlib.util.spec_from_file_location("gallery", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assert_shows_something(path):
    """Assert that a picture has at least 100 pixels on each side and at least three colours."""
    with Image.open(path) as image:
        assert min(image.size) >= 100
        assert len(image.convert("RGB").getcolors(1 << 24)) >= 3


@pytest.fixture(scope="module")
def made(gallery, tmp_path_factory):
    """Return a folder with small versions of all pictures."""
    folder = tmp_path_factory.mktemp("made") / "gallery"
    assert gallery.main(["--quick", "--out", str(folder)]) == 0
    return folder


def test_all_pictures_are_made(gallery, made):
    files = {file for file, _ in gallery.PICTURES.values()} | {"boundary.png", "window.png"}
    assert {path.name for path in made.iterdir()} == files
    for file in files:
        assert_shows_something(made / file)
    with Image.open(made / "training.gif") as image:
        assert image.n_frames == 5


def test_a_single_picture_is_made_on_request_and_its_path_printed(gallery, tmp_path, capsys):
    gallery.main(["--quick", "--out", str(tmp_path), "--only", "spiral"])
    assert [path.name for path in tmp_path.iterdir()] == ["spiral.png"]
    assert capsys.readouterr().out.startswith(f"spiral: {tmp_path / 'spiral.png'}, ")


def test_pictures_of_the_readme_are_small_files(gallery, made, tmp_path):
    gallery.write_docs(made, tmp_path)
    limits = {"boundary.png": 300_000, "gallery.png": 400_000, "training.gif": 1_000_000}
    assert {path.name for path in tmp_path.iterdir()} == set(limits)
    for name, limit in limits.items():
        assert_shows_something(tmp_path / name)
        assert (tmp_path / name).stat().st_size < limit


def test_the_options_docs_and_only_exclude_each_other(gallery, capsys):
    with pytest.raises(SystemExit):
        gallery.main(["--docs", "docs", "--only", "zoom"])
    assert "--docs needs all pictures" in capsys.readouterr().err


def test_the_spiral_has_three_arms_of_a_hundred_points(gallery):
    X, y = gallery.spiral()
    assert X.shape == (300, 2)
    assert np.bincount(y).tolist() == [100, 100, 100]
    np.testing.assert_allclose(np.hypot(*X[:100].T), np.linspace(0, 1, 100), atol=1e-12)


def test_corner_finds_where_three_regions_meet(gallery):
    import fastnn

    model = fastnn.Model([2, 3], output_activation="identity", backend="numpy", random_state=0)
    angles = 2 * np.pi * np.arange(3) / 3
    model.W = [np.array([np.cos(angles), np.sin(angles)])]
    model.b = [-(np.array([0.3, -0.2]) @ model.W[0])[None]]
    np.testing.assert_allclose(gallery.corner(model, 1.2), (0.3, -0.2), atol=1e-5)
