"""Saved pictures: filled to the axes, in the colours of the page, with split and named axes."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from extras import optional
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex, to_rgb
from PIL import Image
from playing import FakePage
from views import centres

from fastnn.play.fields import RequestError
from fastnn.play.saves import draw, page_colour
from fastnn.play.table import make_table

pd = optional("pandas")
RANDOM = np.random.RandomState(0)
ROWS = RANDOM.randn(60, 2) * [3, 40] + [2000, -500]
LEARNING = {"optimizer": "adam", "reduction": "mean", "output_activation": "identity"}


def make_figure(table=None, mode="classes", shapes=False, **state):
    """Train a network; return its problem and a figure of it, with filled axes, true title and pixels."""
    with FakePage(table) as page:
        page.send("view", mode=mode, shapes=shapes)
        run = page.start(**LEARNING, **state)
        page.train_to(20)
        figure = draw(run, run.latest, 80)
    ax = figure.axes[0]
    np.testing.assert_allclose(ax.images[0].get_extent(), (*ax.get_xlim(), *ax.get_ylim()))
    X, y, model = run.problem.features(run.problem.X), run.problem.y, page.model
    if run.problem.kind == "classes" and mode == "classes":
        pixels, (left, right, bottom, top) = np.asarray(ax.images[0].get_array()), run.problem.limits
        plane = run.problem.features(centres(*pixels.shape[::-1], (left, right), (bottom, top)))
        assert (pixels.ravel() == model.predict(plane)).mean() > 0.99  # rounding decides on the boundary
    loss, share = f"loss {model.calculate_loss(X, y):.4f}", f"{np.mean(model.predict(X) == y):.1%} correct"
    assert f": {loss if run.problem.kind == 'regression' else share} after" in ax.get_title()
    return run.problem, figure


def find_dots(ax):
    """Return what shows the training samples of each class, and what shows test samples."""
    dots = [each for each in ax.collections if isinstance(each, PathCollection) and len(each.get_offsets())]
    rings = [each for each in dots if not len(each.get_facecolor())]
    named = [each for each in dots if each not in rings and not each.get_label().startswith("_")]
    return {each.get_label(): each for each in named}, rings[1::2]  # every ring has a rim below it


def read_colours(ax):
    return {label: to_hex(dots.get_facecolor()[0]) for label, dots in find_dots(ax)[0].items()}


@pytest.mark.parametrize("dataset", ["moons", "blobs"])
@pytest.mark.parametrize("mode", ["classes", "probability"])
def test_a_picture_has_the_colours_of_the_page_and_shows_the_split(dataset, mode):
    problem, figure = make_figure(dataset=dataset, mode=mode)
    ax = figure.axes[0]
    np.testing.assert_allclose((*ax.get_xlim(), *ax.get_ylim()), problem.limits)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_1$", "$x_2$")
    colours = {f"class {k}": page_colour(f"class-{k}") for k in range(len(problem.classes))}
    assert read_colours(ax) == colours
    dots, rings = find_dots(ax)
    for k, (label, ring) in enumerate(zip(colours, rings, strict=True)):
        for shown, subset in ((dots[label], problem.train), (ring, problem.test)):
            np.testing.assert_array_equal(shown.get_offsets(), problem.X[subset][problem.y[subset] == k])
        assert to_hex(ring.get_edgecolor()[0]) == colours[label]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["test", *colours]
    assert mode == "classes" or ax.images[0].get_clim() == (0, 1)
    if mode == "probability" and dataset == "moons":
        plane, *ends = (np.array(to_rgb(page_colour(name))) for name in ("plane", "class-0", "class-1"))
        for end, share in zip(ends, (0.0, 1.0), strict=True):  # as static/palette.js mixes them
            np.testing.assert_allclose(ax.images[0].cmap(share)[:3], plane + 0.74 * (end - plane), atol=1e-6)


@pytest.mark.parametrize("features", [["x1", "x2"], ["x1", "sin_x2"]])
@pytest.mark.parametrize("shapes", [False, True])
def test_a_picture_of_a_table_has_its_names_units_and_classes_in_order(features, shapes):
    labels = np.repeat([2, 10, 9], 20)
    _, figure = make_figure(make_table(ROWS, labels), shapes=shapes, dataset="table", features=features)
    ax = figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x0", "x1")
    assert read_colours(ax) == {label: page_colour(f"class-{k}") for k, label in enumerate(("2", "9", "10"))}
    dots, rings = find_dots(ax)
    for shown in (dots.values(), rings):
        assert len({len(each.get_paths()[0].vertices) for each in shown}) == (3 if shapes else 1)
    points = np.concatenate([each.get_offsets() for each in (*dots.values(), *rings)])
    np.testing.assert_allclose(np.sort(points, axis=0), np.sort(ROWS, axis=0))
    for (low, high), values in zip((ax.get_xlim(), ax.get_ylim()), ROWS.T, strict=True):
        assert low < values.min() < values.max() < high


@pytest.mark.parametrize("is_table", [False, True])
def test_a_picture_of_a_regression_has_the_units_of_the_target(is_table):
    table = make_table(ROWS, ROWS[:, 0] * 100, "price") if is_table else None
    problem, figure = make_figure(table, dataset="table" if is_table else "surface")
    ax, bar = figure.axes
    image, targets = ax.images[0], ROWS[:, 0] * 100 if is_table else problem.y
    assert image.get_clim() == (targets.min(), targets.max())
    assert (ax.get_xlabel(), bar.get_ylabel()) == (("x0", "price") if is_table else ("$x_1$", "y"))
    assert to_hex(image.cmap(0.0)) == page_colour("response-low")
    train, _, test = (each for each in ax.collections if len(each.get_offsets()))
    for shown, subset in ((train, problem.train), (test, problem.test)):
        np.testing.assert_array_equal(shown.get_offsets(), problem.in_units(problem.X)[subset])
    np.testing.assert_allclose(train.get_facecolor(), image.cmap(image.norm(targets[problem.train])))


@pytest.mark.parametrize("dataset", ["moons", "surface"])
def test_a_picture_of_a_training_that_diverges_is_drawn_without_warnings(page, dataset):
    run = page.start(dataset=dataset, **LEARNING, activations=["relu"])
    figure = draw(run, replace(run.latest, parameters=run.latest.parameters * 1e160), 80)
    figure.canvas.draw()
    assert re.search(r": (loss (inf|nan)|\d+\.\d% correct) after 0 epochs", figure.axes[0].get_title())


@pytest.mark.parametrize("state", [{}, {"dataset": "surface", "output_activation": "identity"}], ids=str)
def test_an_animation_shows_the_run_so_far_and_the_page_is_steered_meanwhile(page, state):
    page.send("view", mode="probability")
    page.start(**state)
    page.step(5)
    page.send("save", what="gif")
    with pytest.raises(RequestError, match="wait"):
        page.send("save", what="model")
    page.send("step")
    page.wait(lambda: page.frames[-1][0]["step"] > 5)
    assert not page.files
    page.wait(lambda: page.files)
    name, content = page.files[0]
    assert page.save("model")[0] == name.replace(".gif", ".fastnn")
    assert name in ("moons-2-3-2.gif", "surface-2-3-1.gif")
    with Image.open(io.BytesIO(content)) as film:
        assert film.n_frames >= 4  # after 0, 1, 3 and 5 steps
        first = np.asarray(film.convert("RGB"))
        film.seek(film.n_frames - 1)
        last = np.asarray(film.convert("RGB"))
    assert (first != last).any()
    assert len(np.unique(last.reshape(-1, 3), axis=0)) > 50


@pytest.mark.needs("pandas")
@pytest.mark.parametrize("targets", [["$\\no$", "$y$"] * 10, np.linspace(0, 1, 20)])
def test_pictures_of_columns_with_dollars_in_their_names_can_be_saved(targets):
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 2)), columns=[r"$\bad$", "US$ and CA$"])
    with FakePage(make_table(rows, targets)) as page:
        page.start(dataset="table", output_activation="identity")
        assert page.save("picture")[1].startswith(b"\x89PNG")
