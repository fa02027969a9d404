"""Reports that the command writes: self-contained pages with the right figures, for any names and targets."""

import ast
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from extras import all_need, optional

from fastnn.cli import main as cli
from fastnn.tables.commands import scores
from fastnn.tables.presets import PRESETS, Preset
from fastnn.tables.report import pictures
from fastnn.tables.report.tables import draw_bars, make_classes_table, make_confusion_table

pytestmark = all_need("pandas")
pd = optional("pandas")

N = 150
random = np.random.RandomState(0)
# Colours that matplotlib draws with, which the variables of the page replace.
COLOUR = "#0[1-9a]0[1-9a]0[1-9a]"
# Names that a page must escape.
HOSTILE_NAME, TARGET, FOLDER = "<script>alert('1')</script> & \"x\"", "the <target>", 'a "run"\\new modèle'
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


def make_report(y):
    """Train on a target in a new current folder; return the page and the metrics."""
    FRAME.assign(**{TARGET: y}).to_csv("t & u.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "fast", Preset(2, (8,), 6))
        patch.setattr(scores, "N_DRAWS", 3)
        command = ["train", "t & u.csv", "--target", TARGET, "--preset", "fast", "--out", FOLDER]
        assert cli.main(command) == 0
    folder = Path(FOLDER)
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    return (folder / "report.html").read_text("utf-8"), metrics


def fail_to_draw(*arguments):
    raise ValueError("Too many bins for <data> range")


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Return the page and the metrics for each target; the page of the booleans lacks a picture."""
    found = {}
    for name, y in TARGETS.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path_factory.mktemp("report"))
            if name == "booleans":
                patch.setattr(pictures, "draw_calibration", fail_to_draw)
            found[name] = make_report(y)
    return found


def read_texts(text):
    """Return the texts of a page or a part of it, whose tags are closed in order, as in XML."""
    return [part.strip() for part in ElementTree.fromstring(text).itertext()]


@pytest.mark.parametrize("name", TARGETS)
def test_a_page_is_self_contained_and_escapes_names(name, reports):
    text = reports[name][0]
    assert "<script" not in text
    texts = read_texts(text)
    assert {HOSTILE_NAME, TARGET} <= set(texts)
    links = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert all(link.startswith(("#", "data:image/png")) for link in links)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    assert not re.search(COLOUR, text)
    assert set(re.findall(r"var\((--[\w-]+)\)", text)) <= {"--share", *re.findall(r"(--[\w-]+):", text)}
    file = ast.literal_eval(re.search(r"fastnn\.load\((.*)\)", "\n".join(texts))[1])
    assert Path(file) == Path(FOLDER) / "model.fastnn"
    assert re.search(r"(?m)^pre \{[^}]*white-space: pre-wrap", text), "commands are not cut off"


def test_the_sections_depend_on_the_task(reports):
    of_classes, of_numbers = (re.findall("<h2>(.*?)</h2>", reports[name][0]) for name in ("two", "numbers"))
    assert {"Right and wrong", "Can the probabilities be trusted?", "What matters", "Columns"} < {*of_classes}
    assert "Predicted and true" in of_numbers
    assert "Right and wrong" not in of_numbers
    for name, what in (("two", "Classes"), ("numbers", "Numbers")):
        assert f'<p class="kicker">{what} predicted from a table</p>' in reports[name][0]


def test_every_column_has_a_bar_for_each_category_or_interval(reports):
    pictures = re.findall(r'aria-label="distribution of (\w+)"(.*?)</svg>', reports["two"][0])
    bars = {name: picture.count("<rect") for name, picture in pictures}
    assert bars == {"group": 3, "gap": 20, "day": 20, "same": 1}


def test_names_that_look_like_colours_and_fonts_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["font: 10px $x^2$", "_red #040404"]  # dollars would begin a formula
    text, _ = make_report(np.where(SCORE > 0, *names))
    found = re.findall(r"<svg role.*?</svg>", text, re.DOTALL)
    shown = [part for picture in found for part in ElementTree.fromstring(picture).itertext()]
    for name in names:
        assert [part for part in shown if part.endswith(name)], "in a legend, also with an underscore"
    assert not any(re.search(COLOUR, re.sub(">[^<]*<", "><", picture)) for picture in found)


def test_a_matrix_of_many_classes_has_the_width_of_the_page_and_whole_names(reports):
    names, text = np.unique(TARGETS["many"]), reports["many"][0]
    (matrix,) = (line for line in text.splitlines() if line.startswith("<section><h2>Right and wrong"))
    heads = re.findall(r'<th title="([^"]*)"><span>', matrix)
    assert len(heads) == 2 * 12
    assert set(heads) <= set(names)
    table = re.search("Class by class.*?</section>", text, re.DOTALL)[0]
    assert [name for name in names if f">{name}<" in table] == sorted(set(heads))


def test_scores_and_counts_are_those_of_the_predictions(reports):
    text, metrics = reports["two"]
    texts, counts, classes = read_texts(text), np.array([[7, 3], [1, 9]]), np.array(["a", "b"])
    assert f"{metrics['scores']['fastnn']['accuracy']:.1%}" in texts
    assert f"± {metrics['margins']['accuracy']:.1%} (95 %)" in texts
    table = read_texts(make_confusion_table(counts, classes, np.array([10, 10])))
    assert [text for text in table if text.isdigit()] == ["7", "3", "1", "9"]
    assert "70%" in table
    table = read_texts(make_classes_table(counts, classes, np.arange(2)))
    assert " ".join(table[-8:]) == "a 10 70.0% 87.5% b 10 90.0% 75.0%"
    assert re.findall(r"width:([\d.]+)%", draw_bars(["a", "b"], np.array([4.0, 1.0]))) == ["100.0", "25.0"]


def test_a_picture_that_cannot_be_drawn_costs_the_picture_alone(reports):
    page, _ = reports["booleans"]
    assert page.count("This picture cannot be drawn") == 1
    assert "<p>This picture cannot be drawn: Too many bins for &lt;data&gt; range.</p>" in page
    assert "ROC curve" in page
