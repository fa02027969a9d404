"""Data sets: shapes, seeds, self-contained sources, and the best known settings, which learn them."""

import inspect
from itertools import pairwise
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import make_circles, make_moons
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split

from fastnn.play.datasets import DATASETS, FUNCTIONS, SURFACES, circles, moons
from fastnn.play.learning_problem import draw_samples, make_problem
from fastnn.play.settings import Settings

# Choices of a data set, each of which has samples.
CHOICES = {"spiral": {"arms": range(2, 6)}, "blobs": {"classes": (2, 6)}}
CHOICES |= {"line": {"function": FUNCTIONS}, "surface": {"surface": SURFACES}}
VARIANTS = [
    {"dataset": name, field: value}
    for name, data in DATASETS.items()
    if data.draw is not None
    for field, values in CHOICES.get(name, {"seed": (0,)}).items()
    for value in values
]
NAMES = ["-".join(map(str, state.values())) for state in VARIANTS]


@pytest.mark.parametrize("state", VARIANTS, ids=NAMES)
def test_samples_are_valid_and_their_source_makes_the_same(state):
    settings = Settings.of_state({**state, "n_samples": 60})
    problem, _ = make_problem(settings)
    assert (problem.X.shape, problem.y.shape) == ((60, 2), (60,))
    assert np.isfinite(problem.X).all()
    if problem.kind == "classes":
        assert set(problem.y.tolist()) == set(range(len(problem.classes)))
    (left, right, bottom, top), (x, y) = problem.limits, problem.X.T
    assert left < x.min() < x.max() < right
    assert bottom < y.min() < y.max() < top
    # Scripts contain the function's source: by itself, it makes the same samples.
    data, names = DATASETS[settings.dataset], {"np": np}
    exec(inspect.getsource(data.draw), names)
    X, targets = names[data.draw.__name__](**data.choose_arguments(settings))
    assert (X == problem.X).all()
    assert (targets == problem.y).all()


@given(st.integers(2, 500), st.floats(0, 1e3), st.integers(0, 2**32 - 1))
def test_moons_and_circles_are_those_of_scikit_learn(n_samples, noise, seed):
    expected, classes = make_moons(n_samples, noise=noise, random_state=seed)
    generator = np.random.RandomState(seed)
    for X, y in (moons(n_samples, noise, seed), moons(n_samples, noise, generator)):
        assert (expected == X).all()
        assert (classes == y).all()
        assert (X.dtype, y.dtype, X.shape) == (expected.dtype, classes.dtype, expected.shape)
    theirs = np.random.RandomState(seed)
    make_moons(n_samples, noise=noise, random_state=theirs)
    assert generator.random_sample() == theirs.random_sample()
    expected, classes = make_circles(n_samples, noise=noise, factor=0.5, random_state=seed)
    X, y = circles(n_samples, noise, seed)
    np.testing.assert_array_equal(X, expected)
    np.testing.assert_array_equal(y, classes)


@given(st.integers(10, 500), st.floats(0.01, 0.9), st.integers(0, 2**31 - 1))
def test_samples_are_divided_as_by_scikit_learn(n_samples, share, seed):
    problem = draw_samples(Settings.of_state({"n_samples": n_samples, "test_share": share, "seed": seed}))
    train, test = train_test_split(np.arange(n_samples), test_size=share, random_state=seed)
    np.testing.assert_array_equal(problem.train, train)
    np.testing.assert_array_equal(problem.test, test)


@pytest.mark.parametrize("state", VARIANTS, ids=NAMES)
def test_the_best_known_settings_learn_the_data_set(state):
    best = DATASETS[state["dataset"]].best
    problem, model = make_problem(Settings.of_state({**best, **state}))
    model.train(*problem.training_data, num_passes=5000, **problem.train_arguments)
    least = {"surface": 0.85, "line": 0.9}.get(state["dataset"], 0.95)
    least = 0.8 if state.get("function") == "waves" else least
    score = r2_score if problem.kind == "regression" else accuracy_score
    for rows, bound in ((problem.train, least), (problem.test, least - 0.08)):
        X, y = problem.features(problem.X[rows]), problem.y[rows]
        assert score(y, model.predict(X)) >= bound


def test_painted_points_keep_their_places_classes_and_roles():
    def paint(points, **state):
        return make_problem(Settings.of_state({"dataset": "painted", "points": points, **state}))[0]

    points = [[0.1, 0.2, 2], [0.3, -0.4, 0], [-1, 1, 2]]
    problem = paint(points, test_share=0)
    assert (problem.classes, problem.y.tolist()) == (["0", "1", "2"], [2, 0, 2])
    assert problem.X.tolist() == [[0.1, 0.2], [0.3, -0.4], [-1, 1]]
    assert problem.limits == (-1.5, 1.5, -1.5, 1.5)
    assert paint(points, window=[-1000, 2500, 0, 1250]).limits == (-1.0, 2.5, 0.0, 1.25)
    # A further point leaves the others in their subsets, and the test data have the wanted share.
    many = np.column_stack([np.random.RandomState(0).randn(40, 2), np.arange(40) % 2]).tolist()
    for share in (0.2, 0.25, 0.7):
        masks = [np.isin(range(n), paint(many[:n], test_share=share).test) for n in range(4, 41)]
        assert all((shorter == longer[:-1]).all() for shorter, longer in pairwise(masks))
        assert [mask.sum() for mask in masks] == [ceil(share * count) for count in range(4, 41)]
