"""Reports: self-contained pages with the right figures, for any names and targets."""

import ast
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
from extras import all_need, optional

import fastnn
from fastnn.tables.commands.scores import METRICS, compute_scores
from fastnn.tables.presets import PRESETS, Preset
from fastnn.tables.report import pictures
from fastnn.tables.report.page import EvaluatedFit, make_report_page
from fastnn.tables.report.pictures import draw_sparkline
from fastnn.tables.report.tables import (
    draw_bars,
    make_classes_table,
    make_confusion_table,
)

pytestmark = all_need("pandas")
pd = optional("pandas")

N = 150
random = np.random.RandomState(0)
# Colours that matplotlib draws with, which the variables of the page replace.
COLOUR = "#0[1-9a]0[1-9a]0[1-9a]"
# Name of a column that a page must escape.
HOSTILE_NAME = "<script>alert('1')</script> & \"x\""
FRAME = pd.DataFrame(
    {
        HOSTILE_NAME: random.normal(size=N),
        "group": random.choice(["a", "<b>", "c"], N),
        "gap": np.where(np.arange(N) < 2, np.nan, random.normal(size=N)),
        "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(N), "D"),
        "same": 1,
    }
)
SCORE = FRAME[HOSTILE_NAME].to_numpy() * 3 + random.normal(size=N)
# Targets by their kind.
TARGETS = {
    "two": np.where(SCORE > 0, "<yes>", "no"),
    "three": np.digitize(SCORE, [-1, 1]),
    "many": np.array([f"a long name of class {k % 14}" for k in range(N)]),
    "numbers": SCORE * 1e6,
    "booleans": SCORE > 0,
}
MODEL_FILE = 'a "run"\\new modèle.fastnn'


def make_data(y, **parameters):
    """Return a fit to a target, by an estimator with these parameters, and details of its report."""
    is_number = y.dtype.kind == "f"
    kind = fastnn.TabularRegressor if is_number else fastnn.TabularClassifier
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "fast", Preset(2, (8,), 6))
        model = kind(preset="fast", random_state=0, **parameters).fit(FRAME, y)
    task = "regression" if is_number else "classification"
    classes = None if is_number else model.classes_
    truth, predictions = y[model.oof_rows_], model.oof_prediction_
    scores = {"fastnn": compute_scores(task, truth, predictions, classes, None)}
    scores["linear model"] = dict.fromkeys(scores["fastnn"], 1.01)
    scores["mean" if is_number else "majority"] = dict.fromkeys(scores["fastnn"], 0.25)
    settings = {"networks": 2, "layers": [9, 8, 1], "preset": "fast", "seed": 0, "table": "t & u.csv"}
    settings |= {"version": "1", "passes": [3, 6], "fit_seconds": 1.5, "fit_cpu_seconds": 2.0}
    fit = EvaluatedFit(
        target="the <target>",
        task=task,
        frame=FRAME,
        y=y,
        truth=truth,
        predictions=predictions,
        classes=classes,
        how="out of fold",
        scores=scores,
        margins=dict.fromkeys(scores["fastnn"], 0.0123),
        metrics=METRICS[task],
        model=model,
        notes=[],
        remarks=[],
    )
    return fit, settings, ["a <note>"], MODEL_FILE


@pytest.fixture(scope="module")
def reports():
    """Return the content and the page of a report on each target."""
    found = {name: make_data(y) for name, y in TARGETS.items()}
    return {name: (data[0], make_report_page(*data)) for name, data in found.items()}


class Page(HTMLParser):
    """Parser that collects tags, links and text, and checks that tags are closed in order."""

    VOID = {"meta", "rect", "path", "use", "br"}  # noqa: RUF012

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.text, self._open = [], [], [], []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data.strip())


@pytest.mark.parametrize("name", TARGETS)
def test_a_page_is_self_contained_and_escapes_names(name, reports):
    text = reports[name][1]
    page = Page(text)
    assert "script" not in page.tags
    assert {HOSTILE_NAME, "the <target>", "a <note>"} <= set(page.text)
    assert all(link.startswith(("#", "data:image/png")) for link in page.links)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    assert not re.search(COLOUR, text)
    assert set(re.findall(r"var\((--[\w-]+)\)", text)) <= {"--share", *re.findall(r"(--[\w-]+):", text)}
    for picture in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(picture)
    assert ast.literal_eval(re.search(r"fastnn\.load\((.*)\)", "\n".join(page.text))[1]) == MODEL_FILE
    assert re.search(r"(?m)^pre \{[^}]*white-space: pre-wrap", text), "commands are not cut off"


def test_the_sections_depend_on_the_task(reports):
    of_classes, of_numbers = (re.findall("<h2>(.*?)</h2>", reports[name][1]) for name in ("two", "numbers"))
    assert {"Right and wrong", "Can the probabilities be trusted?", "What matters", "Columns"} < {*of_classes}
    assert "Predicted and true" in of_numbers
    assert "Right and wrong" not in of_numbers


def test_names_that_look_like_colours_and_fonts_stay_as_they_are():
    names = ["font: 10px $x^2$", "_red #040404"]  # dollars would begin a formula
    text = make_report_page(*make_data(np.where(SCORE > 0, *names)))
    found = re.findall(r"<svg role.*?</svg>", text, re.DOTALL)
    shown = [part for picture in found for part in ElementTree.fromstring(picture).itertext()]
    for name in names:
        assert [part for part in shown if part.endswith(name)], "in a legend, also with an underscore"
    assert not any(re.search(COLOUR, re.sub(">[^<]*<", "><", picture)) for picture in found)


def test_a_matrix_of_many_classes_has_the_width_of_the_page_and_whole_names(reports):
    names, text = np.unique(TARGETS["many"]), reports["many"][1]
    (matrix,) = (line for line in text.splitlines() if line.startswith("<section><h2>Right and wrong"))
    heads = re.findall(r'<th title="([^"]*)"><span>', matrix)
    assert len(heads) == 2 * 12
    assert set(heads) <= set(names)
    table = re.search("Class by class.*?</section>", text, re.DOTALL)[0]
    assert [name for name in names if f">{name}<" in table] == sorted(set(heads))


def test_scores_and_counts_are_those_of_the_predictions(reports):
    data, text = reports["two"]
    page = Page(text)
    accuracy = (data.classes[data.predictions.argmax(axis=1)] == data.truth).mean()
    assert f"{accuracy:.1%}" in page.text
    assert "± 1.2% (95 %)" in page.text
    row = re.search("<td>linear model</td>(.*?)</tr>", text)[1]
    assert row.startswith('<td class="number best">')  # the best score, also where it is another model's
    table = Page(make_confusion_table(np.array([[7, 3], [1, 9]]), np.array(["a", "b"]), np.array([10, 10])))
    assert [text for text in table.text if text.isdigit()] == ["7", "3", "1", "9"]
    assert "70%" in table.text
    shares = Page(make_classes_table(np.array([[7, 3], [1, 9]]), np.array(["a", "b"])))
    assert shares.text[-8:] == ["a", "10", "70.0%", "87.5%", "b", "10", "90.0%", "75.0%"]


def test_bars_are_as_long_as_their_values():
    widths = re.findall(r"width:([\d.]+)%", draw_bars(["a", "b"], np.array([4.0, 1.0])))
    assert widths == ["100.0", "25.0"]
    assert re.findall(r'height="([\d.]+)"/', draw_sparkline([2, 1], "x")) == ["28.0", "14.0"]
    assert draw_sparkline([], "x") == ""


def test_a_picture_that_cannot_be_drawn_costs_the_picture_alone(monkeypatch):
    def fail(*arguments):
        raise ValueError("Too many bins for <data> range")

    monkeypatch.setattr(pictures, "draw_calibration", fail)
    page = make_report_page(*make_data(TARGETS["two"]))
    assert "<p>This picture cannot be drawn: Too many bins for &lt;data&gt; range.</p>" in page
    assert "ROC curve" in page
