"""The palette of the classes: the same in every picture, on the page, in reports and in figures."""

import re
from pathlib import Path

import numpy as np
from matplotlib import rc_params_from_file
from matplotlib.colors import to_hex

import fastnn
from fastnn.boundary.colours import CLASS_COLOURS, OUTLINE, class_colours
from fastnn.tables.report.pictures import CLASSES

PAGE = Path(fastnn.__file__).parent / "play/static/style.css"
REPORT = PAGE.parents[2] / "tables/report/style.css"


def variables(theme, path=PAGE):
    texts = re.split(r"prefers-color-scheme: dark|data-theme=.dark", path.read_text("utf-8"), maxsplit=1)
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6});", text)) for text in texts)
    return light | (dark if theme == "dark" else {})


def test_there_are_as_many_colours_as_classes():
    assert len(np.unique(class_colours(40), axis=0)) == 40
    np.testing.assert_array_equal(class_colours(6), class_colours(20)[:6])


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
