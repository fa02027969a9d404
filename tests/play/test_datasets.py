"""Data sets: shapes, seeds, self-contained sources, and the best known settings, which learn them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import make_moons

from fastnn.play.datasets import DATASETS, FUNCTIONS, SURFACES, moons
from fastnn.play.frames import Artist
from fastnn.play.problem import posed
from fastnn.play.settings import Settings

DRAWN = [name for name, data in DATASETS.items() if data.draw is not None]


def variants():
    """Yield a state for every kind of samples that is drawn."""
    for name in DRAWN:
        if name == "spiral":
            yield from ({"dataset": name, "arms": arms} for arms in range(2, 6))
        elif name == "blobs":
            yield from ({"dataset": name, "classes": classes} for classes in (2, 6))
        elif name == "line":
            yield from ({"dataset": name, "function": function} for function in FUNCTIONS)
        elif name == "surface":
            yield from ({"dataset": name, "surface": surface} for surface in SURFACES)
        else:
            yield {"dataset": name}


VARIANTS = list(variants())
NAMES = ["-".join(map(str, state.values())) for state in VARIANTS]


@pytest.mark.parametrize("state", VARIANTS, ids=NAMES)
def test_samples_are_valid_and_their_source_makes_the_same(state):
    settings = Settings.of_state({**state, "n_samples": 60})
    problem, _ = posed(settings)
    assert problem.X.shape == (60, 2)
    assert problem.y.shape == (60,)
    assert np.isfinite(problem.X).all()
    if problem.kind == "classes":
        assert set(problem.y.tolist()) == set(range(len(problem.classes)))
    left, right, bottom, top = problem.limits
    x, y = problem.X.T
    assert left < x.min() < x.max() < right
    assert bottom < y.min() < y.max() < top
    # Scripts contain the function's source: by itself, it makes the same samples.
    data = DATASETS[settings.dataset]
    names = {"np": np}
    exec(data.source, names)
    X, targets = names[data.draw.__name__](**{name: getattr(settings, name) for name in data.arguments})
    assert (X == problem.X).all()
    assert (targets == problem.y).all()


@given(st.integers(2, 500), st.floats(0, 1e3), st.integers(0, 2**32 - 1))
def test_moons_are_those_of_scikit_learn(n_samples, noise, seed):
    X, y = moons(n_samples, noise, seed)
    expected, classes = make_moons(n_samples, noise=noise, random_state=seed)
    assert (expected == X).all()
    assert (classes == y).all()
    assert (X.dtype, y.dtype, X.shape) == (expected.dtype, classes.dtype, expected.shape)


def test_moons_advance_a_generator_as_scikit_learn_does():
    ours, theirs = np.random.RandomState(3), np.random.RandomState(3)
    X, y = moons(200, 0.20, ours)
    expected, classes = make_moons(200, noise=0.20, random_state=theirs)
    assert (expected == X).all()
    assert (classes == y).all()
    assert ours.random_sample() == theirs.random_sample()


def test_seed_and_noise_change_the_samples():
    def drawn(**state):
        return posed(Settings.of_state({"dataset": "spiral", **state}))[0].X

    assert (drawn() == drawn()).all()
    assert (drawn() != drawn(seed=1)).any()
    assert (drawn() != drawn(noise=0.4)).any()


@pytest.mark.parametrize("turns", [0.5, 3])
def test_an_arm_of_the_spiral_winds_as_many_turns_as_wanted(turns):
    state = {"dataset": "spiral", "noise": 0, "turns": turns, "n_samples": 1000}
    X = posed(Settings.of_state(state))[0].X[::2]  # one of two arms
    angle = np.unwrap(np.arctan2(*X.T))
    # The arm begins at a tenth of its radius.
    assert (angle[-1] - angle[0]) / (2 * np.pi) == pytest.approx(0.9 * turns, rel=0.01)


def test_the_test_share_divides_the_samples():
    problem, _ = posed(Settings.of_state({"test_share": 0.25}))
    assert (len(problem.train), len(problem.test)) == (150, 50)
    assert sorted([*problem.train, *problem.test]) == list(range(200))
    assert problem.is_test.sum() == 50
    whole, _ = posed(Settings.of_state({"test_share": 0}))
    assert (whole.train == np.arange(200)).all()


@pytest.mark.parametrize("state", VARIANTS, ids=NAMES)
def test_the_best_known_settings_learn_the_data_set(state):
    best = DATASETS[state["dataset"]].best
    problem, model = posed(Settings.of_state({**best, **state}))
    model.train(*problem.training_data, num_passes=5000, **problem.train_arguments)
    measured = Artist(problem, model).measure(model._parameters, model._statistics)
    least = {"surface": 0.85, "line": 0.9}.get(state["dataset"], 0.95)
    if state.get("function") == "waves":
        least = 0.8
    assert measured.train_score >= least
    assert measured.test_score >= least - 0.08


def test_painted_points_keep_their_classes():
    points = [[0.1, 0.2, 2], [0.3, -0.4, 0], [-1, 1, 2]]
    problem, _ = posed(Settings.of_state({"dataset": "painted", "points": points, "test_share": 0}))
    assert problem.classes == ["0", "1", "2"]
    assert problem.y.tolist() == [2, 0, 2]
    assert problem.X.tolist() == [[0.1, 0.2], [0.3, -0.4], [-1, 1]]
    assert problem.limits == (-1.5, 1.5, -1.5, 1.5)
