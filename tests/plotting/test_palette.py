"""The palette of the classes: colours and outlines that stay apart, on every ground and in every picture."""

import re
from pathlib import Path

import numpy as np
import pytest
from colour_differences import VISIONS, difference, lab_difference, least_difference
from matplotlib import colormaps, rc_params_from_file
from matplotlib.colors import to_hex, to_rgb

import fastnn
from fastnn.boundary.colours import CLASS_COLOURS, CLASS_MARKERS, OUTLINE, class_colours, pale
from fastnn.tables.report.pictures import CLASSES

PAGE = Path(fastnn.__file__).parent / "play/static/style.css"
REPORT = PAGE.parents[2] / "tables/report/style.css"
# Smallest difference at which colours are told apart at a glance.
APART = 20
THEMES = ("light", "dark")
# Fractions of a class's colour in regions of the page: of classes, and of the highest probability.
PAGE_STRENGTHS = tuple(
    float(re.search(rf"{start}.*, (0\.\d+)\)", (PAGE.parent / "palette.js").read_text("utf-8"))[1])
    for start in ("this.regions = ", "this.certain = ")
)


def variables(theme="light", path=PAGE):
    """Return the variables of a style sheet by name; a dark theme changes some of the light one."""
    light, dark = re.split(
        r"prefers-color-scheme: dark|data-theme=.dark", path.read_text("utf-8"), maxsplit=1
    )
    found = re.compile(r"--([\w-]+): (#\w{6});")
    return dict(found.findall(light)) | (dict(found.findall(dark)) if theme == "dark" else {})


def colours_of(names, theme):
    """Return colours (n, 3) of the page's variables."""
    found = variables(theme)
    return np.array([to_rgb(found[name]) for name in names])


def test_differences_equal_published_ones():
    # Pairs of the table of Sharma, Wu and Dalal ("The CIEDE2000 color-difference formula", 2005).
    pairs = [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0),
        ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ]
    for first, second, expected in pairs:
        assert lab_difference(first, second) == pytest.approx(expected, abs=5e-5)
    assert difference([1.0, 1.0, 1.0], [0.0, 0.0, 0.0]) == pytest.approx(100, abs=0.01)


@pytest.mark.parametrize("vision", VISIONS)
def test_the_first_six_classes_are_told_apart(vision):
    assert least_difference(class_colours(6), vision) >= APART
    # Also from the ground without regions, of the page and of paper.
    for ground in ((1, 1, 1), *colours_of(["plane"], "light"), *colours_of(["plane"], "dark")):
        assert difference(class_colours(6), ground, vision).min() >= APART


def test_ten_classes_are_told_apart_with_normal_vision():
    assert len(CLASS_COLOURS) == len(set(CLASS_MARKERS)) == 10
    assert least_difference(class_colours(10)) >= APART
    np.testing.assert_array_equal(class_colours(6), class_colours(10)[:6])


def test_more_classes_have_colours_of_a_colormap():
    assert len(np.unique(class_colours(40), axis=0)) == 40
    np.testing.assert_array_equal(class_colours(11), colormaps["turbo"](np.linspace(0.05, 0.95, 11))[:, :3])


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("theme", THEMES)
def test_outlines_differ_from_samples_and_from_regions(theme, vision):
    (outline,) = colours_of(["outline"], theme)
    (plane,) = colours_of(["plane"], theme)
    regions = [plane + strength * (class_colours(10) - plane) for strength in PAGE_STRENGTHS]
    if theme == "light":
        regions.append(pale(class_colours(10)))
    for ground in (class_colours(10), *regions):
        assert difference(outline, ground, vision).min() >= APART


@pytest.mark.parametrize("theme", THEMES)
def test_the_page_and_reports_have_the_colours_of_the_library(theme):
    found = variables(theme)
    assert tuple(found[f"class-{k}"] for k in range(10)) == CLASS_COLOURS
    if theme == "light":
        assert found["outline"] == OUTLINE
    found = variables(theme, REPORT)
    assert tuple(found[f"class-{k}"] for k in range(len(CLASSES))) == CLASS_COLOURS[: len(CLASSES)]


def test_the_figures_of_the_documentation_have_the_colours_of_the_library():
    path = Path(__file__).parents[2] / "docs/matplotlibrc"
    cycle = rc_params_from_file(path, use_default_template=False)["axes.prop_cycle"].by_key()["color"]
    assert [colour.lstrip("#") for colour in cycle] == [colour[1:] for colour in CLASS_COLOURS]
    # Chapters name the first two classes, so that their code looks the same where a reader runs it.
    assert [to_hex(name) for name in ("tab:blue", "tab:orange")] == list(CLASS_COLOURS[:2])


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("vision", VISIONS)
def test_classes_and_signs_and_curves_of_the_page_are_told_apart(vision, theme):
    names = ("class-0", "class-1", "positive", "negative", "test")
    assert least_difference(colours_of(names, theme), vision) >= APART
    # A training curve is solid and a test curve dashed: the colours help, but need not do it alone.
    (train,) = colours_of(["train"], theme)
    assert difference(train, colours_of(names, theme), vision).min() >= APART / 2
