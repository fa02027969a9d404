"""Margins of classifiers that have scores but no probabilities."""

import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_iris, make_moons
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from views import XLIM, YLIM, centres

import fastnn

X, y = make_moons(100, noise=0.2, random_state=0)
flowers, species = load_iris(return_X_y=True)
flowers = flowers[:, :2]
SIZE = (40, 30)
VIEW = XLIM, YLIM, SIZE
POINTS = centres(*SIZE)


def margin(model, **options):
    return fastnn.render_boundary(model, *VIEW, response="margin", **options)


@pytest.fixture(scope="module")
def binary():
    return SVC(C=100).fit(X, y)


@pytest.mark.needs("dask", "zarr")
def test_the_margin_of_two_classes_is_the_absolute_score(binary, tmp_path):
    import zarr

    image = margin(binary)
    expected = np.abs(binary.decision_function(POINTS)).reshape(30, 40)
    assert expected.max() > 1
    assert (image.is_bounded, image.classes) == (False, None)
    array = fastnn.boundary_array(binary, *VIEW, response="margin")
    margin(binary, out=tmp_path / "margin.zarr")
    written = zarr.open_array(tmp_path / "margin.zarr")[:]
    for data in (image.data, array.compute(scheduler="synchronous"), written):
        np.testing.assert_array_equal(data, expected)


@pytest.mark.parametrize("model", [SVC(), LinearSVC(), make_pipeline(StandardScaler(), SVC())])
def test_the_margin_of_more_classes_is_the_lead_over_the_next(model):
    model.fit(flowers, np.array(["a", "b", "c"])[species])
    scores = np.sort(model.decision_function(POINTS), axis=1)
    np.testing.assert_array_equal(margin(model).data.ravel(), scores[:, -1] - scores[:, -2])


def test_scores_may_be_a_column_or_belong_to_no_classes():
    class Column:
        n_features_in_ = 2

        def decision_function(self, points):
            return points[:, :1]

    np.testing.assert_array_equal(margin(Column()).data.ravel(), np.abs(POINTS[:, 0]))
    forest = IsolationForest(n_estimators=5, random_state=0).fit(X)
    np.testing.assert_array_equal(margin(forest).data.ravel(), np.abs(forest.decision_function(POINTS)))


class Scores:
    """A model of four classes whose decision function gives an array for any points."""

    classes_, n_features_in_ = np.arange(4), 2

    def __init__(self, *shape):
        self.shape = shape

    def decision_function(self, points):
        return np.zeros(self.shape)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1200, 6), "for 4 classes it gave 6; an SVC gives them with decision_function_shape='ovr'"),
        ((3, 4), "decision_function must give a row per point: for 1200 points it gave (3, 4)"),
    ],
)
def test_wrong_scores_are_refused(shape, message, binary):
    with pytest.raises(ValueError, match=re.escape(message)):
        margin(Scores(*shape))
    for response in ("probability", "confidence"):
        message = f"response '{response}' needs predict_proba, which the model does not have"
        with pytest.raises(ValueError, match=message):
            fastnn.render_boundary(binary, *VIEW, response=response)


def test_scores_of_pairs_of_classes_are_refused():
    # Three classes have three pairs, as many as classes.
    for n_classes in (3, 4):
        model = SVC(decision_function_shape="ovo").fit(flowers, np.arange(150) % n_classes)
        match = "of an SVC, decision_function_shape='ovr'"
        with pytest.raises(ValueError, match=match):
            margin(make_pipeline(StandardScaler(), model).fit(flowers, np.arange(150) % n_classes))
    two = SVC(decision_function_shape="ovo").fit(flowers, np.arange(150) % 2)
    np.testing.assert_array_equal(margin(two).data.ravel(), np.abs(two.decision_function(POINTS)))


@pytest.mark.parametrize("suffix", [".png", ".dzi"])
def test_files_of_grey_levels_refuse_margins_above_1(binary, suffix, tmp_path):
    path = tmp_path / f"margin{suffix}"
    for call in (lambda: margin(binary, out=path), lambda: margin(binary).save(path)):
        with pytest.raises(ValueError, match="may be above 1: .zarr holds them"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_margins_are_drawn_from_0_to_the_highest(binary):
    image = margin(binary)
    assert image.plot().images[0].get_clim() == (0, image.data.max())
    plt.close("all")  # the next plot needs axes of its own
    low, high = fastnn.plot_decision_boundary(binary, X, y, response="margin").images[0].get_clim()
    assert (low, high > 1) == (0, True)
    for highest in (image.data.max(), 0):  # as notebooks show them
        image.data *= highest > 0
        with Image.open(io.BytesIO(image._repr_png_())) as picture:
            seen = np.asarray(picture)[::-1]
        np.testing.assert_allclose(seen / 65535, image.data / (highest or 1), atol=1e-5)
