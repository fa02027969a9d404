"""The gallery's examples run without warnings, draw pictures and leave no files behind."""

import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*/plot_*.py"))


def test_there_are_examples_in_every_section():
    assert len(EXAMPLES) >= 15
    sections = {path.parent for path in EXAMPLES}
    headers = {path.parent for path in EXAMPLES[0].parents[1].glob("*/GALLERY_HEADER.rst")}
    assert sections == headers


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
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
    for picture in pictures:
        assert len(np.unique(picture.view(np.uint32))) >= 3
    assert not plt.get_fignums()
    assert not list(tmp_path.iterdir())
