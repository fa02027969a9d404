"""Saved pictures: filled to the axes, in the colours of the page, with names and units of the axes."""

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex, to_rgb
from playing import FakePage

import fastnn
from fastnn.play.saves import _animation, _figure, page_colour
from fastnn.play.table import checked_table
from fastnn.plotting import film

RANDOM = np.random.RandomState(0)
ROWS = RANDOM.randn(60, 2) * [3, 40] + [2000, -500]
LEARNING = {"optimizer": "adam", "reduction": "mean", "output_activation": "identity"}


def figure_of(page, mode="classes", shapes=False, **state):
    page.send("view", mode=mode, shapes=shapes)
    run = page.start(**LEARNING, **state)
    page.train_to(20)
    return run.problem, _figure(run)


def check_filled(ax):
    """Assert that picture and axes have the same edges."""
    (image,) = ax.images
    np.testing.assert_allclose(image.get_extent(), (*ax.get_xlim(), *ax.get_ylim()))


def dots_of(ax):
    """Return the dots that the legend names."""
    dots = [each for each in ax.collections if isinstance(each, PathCollection)]
    return [each for each in dots if not each.get_label().startswith("_")]


def dot_colours(ax):
    """Return the colours of the classes by their texts in the legend."""
    return {dots.get_label(): to_hex(dots.get_facecolor()[0]) for dots in dots_of(ax)}


@pytest.mark.parametrize("dataset", ["moons", "circles", "blobs"])
@pytest.mark.parametrize("mode", ["classes", "probability"])
def test_a_picture_is_filled_to_the_axes_and_has_the_colours_of_the_page(dataset, mode):
    with FakePage() as page:
        problem, figure = figure_of(page, mode, dataset=dataset)
    ax = figure.axes[0]
    check_filled(ax)
    np.testing.assert_allclose((*ax.get_xlim(), *ax.get_ylim()), problem.limits)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_1$", "$x_2$")
    assert dot_colours(ax) == {f"class {k}": page_colour(f"class-{k}") for k in range(len(problem.classes))}
    if mode == "probability" and dataset != "blobs":
        plane, *ends = (np.array(to_rgb(page_colour(name))) for name in ("plane", "class-0", "class-1"))
        for end, share in zip(ends, (0.0, 1.0), strict=True):  # as static/palette.js mixes them
            np.testing.assert_allclose(ax.images[0].cmap(share)[:3], plane + 0.74 * (end - plane), atol=1e-6)


@pytest.mark.parametrize("features", [["x1", "x2"], ["x1", "sin_x2"]])
def test_a_picture_of_a_table_has_its_names_and_units(features):
    labels = np.where(ROWS[:, 0] > 2000, "after", "Before")
    with FakePage(checked_table(ROWS, labels)) as page:
        _, figure = figure_of(page, dataset="table", features=features)
    ax = figure.axes[0]
    check_filled(ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x0", "x1")
    assert ax.get_xlim()[0] < ROWS[:, 0].min() < ROWS[:, 0].max() < ax.get_xlim()[1]
    assert ax.get_ylim()[0] < ROWS[:, 1].min() < ROWS[:, 1].max() < ax.get_ylim()[1]
    assert dot_colours(ax) == {"Before": page_colour("class-0"), "after": page_colour("class-1")}
    dots = np.concatenate([dots.get_offsets() for dots in dots_of(ax)])
    np.testing.assert_allclose(np.sort(dots, axis=0), np.sort(ROWS, axis=0))


def test_classes_of_numbers_have_their_colours_whatever_the_order_of_their_texts():
    y = np.repeat([2, 10, 9], 20)
    with FakePage(checked_table(ROWS, y)) as page:
        _, figure = figure_of(page, dataset="table")
    assert dot_colours(figure.axes[0]) == {
        "2": page_colour("class-0"), "9": page_colour("class-1"), "10": page_colour("class-2"),
    }  # fmt: skip


@pytest.mark.parametrize("is_table", [False, True])
def test_a_picture_of_a_regression_is_filled_and_has_the_units_of_the_target(is_table):
    table = checked_table(ROWS, ROWS[:, 0] * 100, "price") if is_table else None
    with FakePage(table) as page:
        problem, figure = figure_of(page, dataset="table" if is_table else "surface")
    ax, bar = figure.axes
    check_filled(ax)
    image = ax.images[0]
    low, high = (
        (ROWS[:, 0].min() * 100, ROWS[:, 0].max() * 100) if is_table else (problem.y.min(), problem.y.max())
    )
    assert image.get_clim() == (low, high)
    values = image.get_array()
    assert low - (high - low) < values.min() < values.max() < high + (high - low)
    assert (ax.get_xlabel(), bar.get_ylabel()) == (("x0", "price") if is_table else ("$x_1$", "y"))
    assert to_hex(image.cmap(0.0)) == page_colour("response-low")
    assert to_hex(image.cmap(1.0)) == page_colour("response-high")


@pytest.mark.parametrize("shapes", [False, True])
def test_saved_files_show_shapes_where_the_page_does_and_animations_name_the_columns(shapes, monkeypatch):
    drawn = []

    class Film(film.Film):
        def __init__(self, *args):
            super().__init__(*args)
            drawn.append(self._ax)

    monkeypatch.setattr("fastnn.plotting.animation.Film", Film)
    monkeypatch.setattr("fastnn.play.saves.N_FRAMES", 2)
    labels = np.repeat(["a", "b", "c"], 20)
    with FakePage(checked_table(ROWS, labels)) as page:
        _, figure = figure_of(page, dataset="table", shapes=shapes)
        assert _animation(page.session.running).startswith(b"GIF")
    for ax in (figure.axes[0], drawn[-1]):
        outlines = {len(dots.get_paths()[0].vertices) for dots in dots_of(ax)}
        assert len(outlines) == (3 if shapes else 1)
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("x0", "x1")


def test_the_colours_are_those_of_the_light_theme():
    text = (Path(fastnn.__file__).parent / "play" / "static" / "style.css").read_text(encoding="utf-8")
    light = text[text.index(":root") : text.index("}", text.index(":root"))]
    names = re.findall(r"--((?:class|response)-[\w-]+|plane):", light)
    assert {"plane", "class-0", "class-9", "response-low", "response-high"} <= {*names}
    for name in names:
        assert f"--{name}: {page_colour(name)};" in light
