"""The palette of the classes: colours and outlines that stay apart, on every ground and in every picture."""

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib import rc_params_from_file
from matplotlib.colors import to_hex, to_rgb

import fastnn
from fastnn.boundary.colours import CLASS_COLOURS, OUTLINE, class_colours, lighten
from fastnn.tables.report.pictures import CLASSES

PAGE = Path(fastnn.__file__).parent / "play/static/style.css"
REPORT = PAGE.parents[2] / "tables/report/style.css"
# Linear sRGB to CIE XYZ (IEC 61966-2-1), and the white point D65.
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])
# What readers see of linear sRGB: deuteranopia of severity 1 by Machado, Oliveira and Fernandes ("A
# physiologically-based model for simulation of color vision deficiency", 2009).
VISIONS = {
    "normal": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
# Smallest differences at which colours are told apart at a glance, and side by side or with help.
APART, APART_OF_MANY = 27, 17
# Fractions of a class's colour in regions of the page: of classes, and of the highest probability.
PAGE_STRENGTHS = tuple(
    float(re.search(rf"{start}.*, (0\.\d+)\)", (PAGE.parent / "palette.js").read_text("utf-8"))[1])
    for start in ("this.regions = ", "this.certain = ")
)


def to_lab(colours, vision="normal"):
    """Return CIE L*a*b* (..., 3) of colours (..., 3) in sRGB from 0 to 1, as seen with a vision."""
    colours = np.asarray(colours, float)
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ VISIONS[vision].T, 0, 1) @ TO_XYZ.T / WHITE
    x, y, z = np.moveaxis(
        np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29), -1, 0
    )
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def difference(first, second, vision="normal"):
    """Return the distance in CIE L*a*b* of colours in sRGB from 0 to 1, as seen with a vision."""
    return np.linalg.norm(to_lab(first, vision) - to_lab(second, vision), axis=-1)


def least_difference(colours, vision="normal"):
    """Return the least difference between any two of some colours (n, 3)."""
    first, second = np.triu_indices(len(colours), 1)
    return difference(colours[first], colours[second], vision).min()


def variables(theme, path=PAGE):
    """Return the variables of a style sheet by name; a dark theme changes some of the light one."""
    texts = re.split(r"prefers-color-scheme: dark|data-theme=.dark", path.read_text("utf-8"), maxsplit=1)
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6});", text)) for text in texts)
    return light | (dark if theme == "dark" else {})


def colours_of(names, theme):
    """Return colours (n, 3) of the page's variables."""
    found = variables(theme)
    return np.array([to_rgb(found[name]) for name in names])


def test_classes_are_told_apart():
    for vision in VISIONS:
        assert least_difference(class_colours(6), vision) >= APART
        for ground in ((1, 1, 1), *colours_of(["plane"], "light"), *colours_of(["plane"], "dark")):
            assert difference(class_colours(6), ground, vision).min() >= APART
    assert least_difference(class_colours(10)) >= APART
    assert least_difference(class_colours(20)) >= APART_OF_MANY
    assert len(np.unique(class_colours(40), axis=0)) == 40
    np.testing.assert_array_equal(class_colours(6), class_colours(20)[:6])


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_outlines_signs_and_curves_are_told_apart(theme, vision):
    outline, plane, train = colours_of(["outline", "plane", "train"], theme)
    regions = [plane + strength * (class_colours(10) - plane) for strength in PAGE_STRENGTHS]
    if theme == "light":
        regions.append(lighten(class_colours(10)))
    for ground in (class_colours(10), *regions):
        assert difference(outline, ground, vision).min() >= APART
    shown = colours_of(["class-0", "class-1", "positive", "negative", "test"], theme)
    assert least_difference(shown, vision) >= APART
    # A training curve is solid and a test curve dashed: the colours help, but need not do it alone.
    assert difference(train, shown, vision).min() >= APART_OF_MANY


def test_the_page_reports_and_figures_have_the_colours_of_the_library():
    for theme in ("light", "dark"):
        found = variables(theme)
        assert tuple(found[f"class-{k}"] for k in range(10)) == CLASS_COLOURS[:10]
        found = variables(theme, REPORT)
        assert tuple(found[f"class-{k}"] for k in range(len(CLASSES))) == CLASS_COLOURS[: len(CLASSES)]
    assert variables("light")["outline"] == OUTLINE
    path = Path(__file__).parents[2] / "docs/matplotlibrc"
    cycle = rc_params_from_file(path, use_default_template=False)["axes.prop_cycle"].by_key()["color"]
    assert [colour.lstrip("#") for colour in cycle] == [colour[1:] for colour in CLASS_COLOURS[:10]]
    # Chapters name the first two classes, so that their code looks the same where a reader runs it.
    assert [to_hex(name) for name in ("tab:blue", "tab:orange")] == list(CLASS_COLOURS[:2])
