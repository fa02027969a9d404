"""Reports: self-contained pages with the right figures, for any names and targets."""

import ast
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from extras import all_need, optional

import fastnn
from fastnn.tables import presets as tabular_presets
from fastnn.tables.commands.scores import METRICS, scores_of
from fastnn.tables.presets import Preset
from fastnn.tables.report import pictures
from fastnn.tables.report.page import ReportData, report_page
from fastnn.tables.report.pictures import _COLOURS, learning_picture, sparkline
from fastnn.tables.report.tables import (
    _heights,
    bars,
    classes_table,
    confusion_table,
    number_text,
    score_text,
    scores_table,
)

pytestmark = all_need("pandas")
pd = optional("pandas")

N = 150
random = np.random.RandomState(0)
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


@pytest.fixture(autouse=True)
def _small_presets(monkeypatch):
    """Replace the preset by small networks and few epochs."""
    monkeypatch.setitem(tabular_presets.PRESETS, "fast", Preset(2, (8,), 6))


def report_data(y, **parameters):
    """Return the content of a report about a target, predicted by an estimator with these parameters."""
    y = np.asarray(y)
    is_number = y.dtype.kind == "f"
    kind = fastnn.TabularRegressor if is_number else fastnn.TabularClassifier
    model = kind(preset="fast", random_state=0, **parameters).fit(FRAME, y)
    task = "regression" if is_number else "classification"
    classes = None if is_number else model.classes_
    truth, predictions = y[model.oof_rows_], model.oof_prediction_
    scores = {"fastnn": scores_of(task, truth, predictions, classes, None)}
    scores["linear model"] = dict.fromkeys(scores["fastnn"], np.nan)
    scores["mean" if is_number else "majority"] = dict.fromkeys(scores["fastnn"], 0.25)
    details = {
        "version": "1.2.3", "passes": [3, 6], "networks": 2, "layers": [9, 8, 1], "preset": "fast", "seed": 0,
        "fit_seconds": 1.5, "fit_cpu_seconds": 2.0,
    }  # fmt: skip
    return ReportData(
        "the <target>", task, "t & u.csv", FRAME, y, truth, predictions, classes, "out of fold", scores,
        METRICS[task], model, ["a <note>"], "run/model.fastnn", details,
    )  # fmt: skip


# Functions that return targets, by their kind.
TARGETS = {
    "two": lambda: np.where(SCORE > 0, "<yes>", "no"),
    "three": lambda: np.digitize(SCORE, [-1, 1]),
    "many": lambda: np.arange(N) % 14,
    "numbers": lambda: SCORE * 1e6,
    "booleans": lambda: SCORE > 0,
}


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
def test_a_page_is_self_contained_and_escapes_names(name):
    text = report_page(report_data(TARGETS[name]()))
    page = Page(text)
    assert "script" not in page.tags
    assert HOSTILE_NAME in page.text
    assert "the <target>" in page.text
    assert "a <note>" in page.text
    assert all(link.startswith(("#", "data:image/png")) for link in page.links)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    assert not any(colour in text for colour in _COLOURS)
    assert set(re.findall(r"var\((--[\w-]+)\)", text)) <= {"--share", *re.findall(r"(--[\w-]+):", text)}
    for picture in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(picture)


def test_the_sections_depend_on_the_task():
    classes = report_page(report_data(TARGETS["two"]()))
    for title in (
        "Right and wrong",
        "Can the probabilities be trusted?",
        "What matters",
        "Columns",
        "Use it",
    ):
        assert f"<h2>{title}</h2>" in classes
    assert "Finding no" in classes or "Finding &lt;yes&gt;" in classes
    numbers = report_page(report_data(TARGETS["numbers"](), quantiles=(0.1, 0.9)))
    assert "<h2>Predicted and true</h2>" in numbers
    assert "<h2>Right and wrong</h2>" not in numbers


def test_names_that_look_like_colours_and_fonts_stay_as_they_are():
    names = ["font: 10px serif", "_red #040404"]
    text = report_page(report_data(np.where(SCORE > 0, *names)))
    pictures = re.findall(r"<svg role.*?</svg>", text, re.DOTALL)
    shown = [part for picture in pictures for part in ElementTree.fromstring(picture).itertext()]
    for name in names:
        assert [part for part in shown if part.endswith(name)], "in a legend, also with an underscore"
    assert not any(colour in re.sub(">[^<]*<", "><", picture) for picture in pictures for colour in _COLOURS)


def test_curves_have_the_colours_of_their_classes():
    found = {}
    for name in ("two", "three"):
        page = report_page(report_data(TARGETS[name]()))
        for picture in re.findall(r"<svg role.*?</svg>", page, re.DOTALL):
            title = re.search(r'aria-label="([^"]*)"', picture)[1]
            found[name, title] = set(re.findall(r"--class-\d", picture))
    trust = "Predicted probabilities against shares that came true"
    assert found["two", trust] == {"--class-1"}
    assert found["three", trust] == {"--class-0", "--class-1", "--class-2"}
    assert found["two", "Predicted probabilities of the rows of either class"] == {"--class-0", "--class-1"}


def test_logarithmic_axes_have_plain_numbers():
    for curve, labels in (([0.5, 0.06], {"0.5", "0.2", "0.1"}), ([5e3, 2e-3], {"1000", "0.01"})):
        picture = learning_picture([curve], [1])
        assert labels <= set(ElementTree.fromstring(picture).itertext())
        assert "$" not in picture


def test_a_matrix_of_many_classes_has_the_width_of_the_page_and_whole_names():
    names = np.array([f"a long name of class {k}" for k in range(14)])
    text = report_page(report_data(names[TARGETS["many"]()]))
    (matrix,) = (line for line in text.splitlines() if line.startswith("<section><h2>Right and wrong"))
    heads = re.findall(r'<th title="([^"]*)"><span>', matrix)
    assert len(heads) == 2 * 12
    assert set(heads) <= set(names)
    table = re.search("Class by class.*?</section>", text, re.DOTALL)[0]
    assert [name for name in names if f">{name}<" in table] == sorted(set(heads), key=list(names).index)


def test_the_best_score_is_marked_also_where_it_is_another_models():
    content = report_data(TARGETS["two"]())
    content.scores["linear model"]["accuracy"] = 1.01
    text = report_page(content)
    row = re.search("<td>linear model</td>(.*?)</tr>", text)[1]
    assert row.startswith('<td class="number best">')
    assert re.search(r"(?m)^td\.best \{", text), "in the rows of all models"
    for term in (
        "Confusion matrix",
        "Calibration",
        "ROC curve",
        "recall",
        "precision",
        "false positive rate",
    ):
        assert term in text


def test_dollar_signs_in_names_begin_no_formulas():
    text = report_page(report_data(np.where(SCORE > 0, "$x^2$", "a_b$")))
    assert text.count("$x^2$") > 3


def test_the_line_of_python_that_loads_the_model_is_valid():
    name = 'a "run"\\new modèle.fastnn'
    text = "\n".join(Page(report_page(replace(report_data(TARGETS["two"]()), model_file=name))).text)
    assert ast.literal_eval(re.search(r"fastnn\.load\((.*)\)", text)[1]) == name


def test_equal_reports_give_equal_pages():
    content = report_data(TARGETS["two"]())
    assert report_page(content) == report_page(content)


def test_scores_and_counts_are_those_of_the_predictions():
    content = report_data(TARGETS["two"]())
    page = Page(report_page(content))
    accuracy = (content.classes[content.predictions.argmax(axis=1)] == content.truth).mean()
    assert f"{accuracy:.1%}" in page.text
    counts = [[7, 3], [1, 9]]
    table = Page(confusion_table(np.array(counts), np.array(["a", "b"]), np.array([10, 10])))
    assert [text for text in table.text if text.isdigit()] == ["7", "3", "1", "9"]
    assert "70%" in table.text
    shares = Page(classes_table(np.array(counts), np.array(["a", "b"])))
    assert shares.text[-8:] == ["a", "10", "70.0%", "87.5%", "b", "10", "90.0%", "75.0%"]


def test_bars_are_as_long_as_their_values():
    widths = re.findall(r"width:([\d.]+)%", bars(["a", "b"], np.array([4.0, 1.0])))
    assert widths == ["100.0", "25.0"]
    assert re.findall(r"width:([\d.]+)%", bars(["a"], np.zeros(1, np.float32))) == ["0.0"]
    values = re.findall(r'"value">([^<]*)<', bars(["a", "b", "c"], np.array([3e-6, 3e-7, 1e-12])))
    assert values == ["3.000e-06", "3.000e-07", "0"]  # no column matters by 1e-12 beside 3e-6
    heights = re.findall(r'height="([\d.]+)"/', sparkline([2, 1], "x"))
    assert heights == ["28.0", "14.0"]
    assert sparkline([], "x") == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (0.00123456, "0.0012"), (12.3456, "12.35"), (123456.7, "123,457"),
     (1e9, "1.000e+09"),
     (0.0, "0"), (-0.0, "0"), (-1e-9, "-1.000e-09"), (3e-5, "3.000e-05"), (np.nan, "\N{EN DASH}"),
     (-3.5, "-3.5"), (0.0002, "0.0002")],
)  # fmt: skip
def test_numbers_are_written_with_few_digits(value, text):
    assert number_text(value) == text


def test_errors_of_any_magnitude_keep_their_digits():
    for name, metric in METRICS["regression"].items():
        is_error = name != "r2"
        assert score_text(3.21e-7, metric) == ("3.210e-07" if is_error else "0")
        assert score_text(-2.2e-16, metric) == ("-2.200e-16" if is_error else "0")
        assert score_text(0.5, metric) == "0.500"
        assert score_text(np.nan, metric) == "\N{EN DASH}"
    assert score_text(3e-5, METRICS["classification"]["log_loss"]) == "3.000e-05"
    assert score_text(1.0, METRICS["classification"]["roc_auc"]) == "1"


def test_a_picture_that_cannot_be_drawn_costs_the_picture_alone(monkeypatch):
    def broken(*arguments):
        raise ValueError("Too many bins for <data> range")

    monkeypatch.setattr(pictures, "draw_calibration", broken)
    page = report_page(report_data(TARGETS["two"]()))
    assert "<p>This picture cannot be drawn: Too many bins for &lt;data&gt; range.</p>" in page
    assert "ROC curve" in page


def test_distributions_of_numbers_are_counted_in_equal_intervals():
    values = np.random.RandomState(0).uniform(-1, 1, 1000)
    heights = _heights(values)
    assert heights == np.histogram(np.clip(values, *np.quantile(values, [0.01, 0.99])), 20)[0].tolist()
    for power in (-1000, 1023):
        assert _heights(values * 2.0**power) == heights
    assert sum(_heights(1e22 + 2.0**21 * np.arange(13))) == 13


@pytest.mark.parametrize("scale", [1e-7, 1e9])
def test_a_target_of_any_scale(scale):
    content = report_data(SCORE * scale)
    page, rmse = report_page(content), content.scores["fastnn"]["rmse"]
    half = np.median(np.abs(content.truth - content.predictions))
    assert f"off by less than {half:.3e}" in page
    assert page.count(f"{rmse:.3e}") == 2  # the tile and the table
    table = scores_table(content.scores, content.metrics)
    assert f">{rmse:.3e}</td>" in table
