"""The gallery's scripts run without warnings, draw pictures and leave no files behind."""

import importlib.util
import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = [
    pytest.param(path, id=path.stem, marks=pytest.mark.needs("gymnasium") if "cartpole" in path.stem else ())
    for path in sorted(FOLDER.glob("*/plot_*.py"))
]
pytestmark = pytest.mark.slow


def test_the_script_makes_all_pictures_small_ones_for_the_readme_or_one(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(plt.rcParams, "savefig.dpi", 50)
    spec = importlib.util.spec_from_file_location("gallery", FOLDER / "gallery.py")
    gallery = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gallery)
    made, one, docs = (tmp_path / name for name in ("made", "one", "docs"))
    assert gallery.main(["--quick", "--out", str(made)]) == 0
    files = {file for file, _ in gallery.PICTURES.values()} | {"boundary.png", "window.png"}
    assert {path.name for path in made.iterdir()} == files
    with Image.open(made / "training.gif") as image:
        assert image.n_frames == 5
    capsys.readouterr()
    gallery.main(["--quick", "--out", str(one), "--only", "spiral"])
    assert [path.name for path in one.iterdir()] == ["spiral.png"]
    assert capsys.readouterr().out.startswith(f"spiral: {one / 'spiral.png'}, ")
    docs.mkdir()
    gallery.write_docs(made, docs)
    limits = {"boundary.png": 300_000, "gallery.png": 400_000, "training.gif": 1_000_000}
    assert {path.name for path in docs.iterdir()} == set(limits)
    for path in (*made.iterdir(), *docs.iterdir()):
        with Image.open(path) as image:
            assert min(image.size) >= 100
            assert image.convert("RGB").getcolors(2) is None, "there are more than two colours"
        assert path.stat().st_size < limits.get(path.name, np.inf) or path.parent != docs


@pytest.mark.parametrize("path", EXAMPLES)
def test_an_example_draws_pictures_and_writes_no_files(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    pictures = []

    def show():
        for number in plt.get_fignums():
            figure = plt.figure(number)
            figure.canvas.draw()
            pictures.append(np.asarray(figure.canvas.buffer_rgba()).copy())
        plt.close("all")

    monkeypatch.setattr(plt, "show", show)
    runpy.run_path(str(path), run_name="__main__")
    assert pictures
    assert all(len(np.unique(picture.view(np.uint32))) >= 3 for picture in pictures)
    assert not plt.get_fignums()
    assert not list(tmp_path.iterdir())
