"""Progress of a fit: printed lines, bars and scikit-learn's callbacks."""

import re
import warnings

import numpy as np
import pytest
import sklearn
import sklearn.neural_network
from estimator_checks import parameters
from estimator_problems import (
    NAMES,
    TARGETS,
    UNCONVERGED,
    WEIGHTS,
    X,
    assert_same_fit,
    classifier,
    regressor,
    y,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn
from fastnn.estimators import reporting

pytestmark = UNCONVERGED


# Options of fits that print lines: an ordinary end, an early end, a changed learning rate.
PRINTING = {
    "sgd": {"solver": "sgd", "max_iter": 3},
    "adam": {"max_iter": 3},
    "early stopping": {"early_stopping": True, "max_iter": 3},
    "converged": {"tol": 10.0, "n_iter_no_change": 2},
    "converged, early stopping": {"tol": 10.0, "n_iter_no_change": 2, "early_stopping": True},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 10.0, "n_iter_no_change": 2},
}


@pytest.mark.parametrize("options", PRINTING.values(), ids=PRINTING.keys())
def test_verbose_prints_the_lines_of_scikit_learn(capsys, options):
    printed = []
    for module in (sklearn.neural_network, fastnn):
        for verbose in (True, 2):
            model = module.MLPClassifier(**{"max_iter": 60, "random_state": 0, "verbose": verbose} | options)
            model.fit(X, y)
            printed.append(capsys.readouterr().out)
    assert printed[0].count("\n") > 2
    assert len(set(printed)) == 1


def test_verbose_prints_nothing_or_a_bar_or_lines(capsys):
    for verbose in (False, 0):
        classifier(verbose=verbose).fit(X, y)
        captured = capsys.readouterr()
        assert captured.out == captured.err == ""
    for options in ({}, {"early_stopping": True}, {"solver": "lbfgs"}):
        classifier(verbose=1, **options).fit(X, y)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "5/5" in captured.err
        assert "loss=" in captured.err
        assert ("rate=" in captured.err) == (options != {"solver": "lbfgs"})
        assert ("score=" in captured.err) == (options == {"early_stopping": True})
    model = classifier(verbose=True).fit(X, y)
    assert re.findall(r"Iteration (\d), loss = ", capsys.readouterr().out) == list("12345")
    model.partial_fit(X, y)
    assert capsys.readouterr().out == f"Iteration 1, loss = {model.loss_:.8f}\n"
    model.set_params(warm_start=True, max_iter=2).fit(X, y)
    assert re.findall(r"Iteration (\d), loss = ", capsys.readouterr().out) == list("12")
    classifier(verbose=True, solver="lbfgs").fit(X, y)
    assert re.findall(r"Iteration (\d), loss = ", capsys.readouterr().out) == list("12345")


@pytest.fixture
def callback_module():
    """Return scikit-learn's module of callbacks, which exists from 1.9 on."""
    return pytest.importorskip("sklearn.callback")


class Callback:
    """A callback that records its calls.

    `answer` takes the estimator at the end of an epoch; a fit ends where it returns True.
    """

    def __init__(self, answer=lambda estimator: None):
        self.answer = answer
        self.events, self.fitted, self.data = [], [], []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None):
        self.events.append(("begin", context.task_name, context.task_id))
        self.data.append((X, y))

    def on_fit_task_end(self, estimator, context, *, metadata=None, fitted_estimator=None):
        self.events.append(("end", context.task_name, context.task_id))
        self.fitted.append((estimator.n_iter_, fitted_estimator, metadata))
        return self.answer(estimator) if context.task_name == "passes" else None

    def check_pairs(self):
        """Assert that every task that began has ended, inner tasks within outer ones."""
        assert (self.events[0], self.events[-1]) == ("setup", "teardown")
        open_tasks = []
        for event in self.events[1:-1]:
            if event[0] == "begin":
                open_tasks.append(event[1:])
            else:
                assert open_tasks.pop() == event[1:]
        assert not open_tasks


@pytest.mark.usefixtures("callback_module")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_iter": 130},
        {"early_stopping": True},
        {"solver": "lbfgs"},
        {"tol": 10.0, "n_iter_no_change": 1},
    ],
    ids=str,
)
def test_callbacks_are_called_in_pairs(options):
    callback = Callback()
    model = classifier(**options).set_callbacks(callback).fit(X, NAMES[y])
    callback.check_pairs()
    plain = classifier(**options).fit(X, NAMES[y])
    assert_same_fit(model, plain)
    assert model.n_iter_ == plain.n_iter_
    passes = [n_iter for n_iter, _, _ in callback.fitted]
    assert passes[-1] == model.n_iter_
    assert passes == sorted(passes)
    assert 2 < len(passes) <= reporting.MAX_TASKS + 1
    for table, targets in callback.data:
        assert table.shape == ((135 if model.early_stopping and model.solver == "adam" else 150), 4)
        assert set(targets) == set(NAMES)


@pytest.mark.usefixtures("callback_module")
@pytest.mark.parametrize("options", [{}, {"solver": "lbfgs"}, {"early_stopping": True}], ids=str)
def test_callbacks_stop_a_fit(options):
    callback = Callback(lambda estimator: estimator.n_iter_ >= 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a fit that a callback ends needs no ConvergenceWarning
        model = classifier(max_iter=20, tol=0, **options).set_callbacks(callback).fit(X, y)
    callback.check_pairs()
    assert model.n_iter_ == 3
    assert len(callback.fitted) == 4
    if not options.get("early_stopping"):
        np.testing.assert_array_equal(parameters(model), parameters(callback.fitted[-1][1]))


@pytest.mark.usefixtures("callback_module")
@pytest.mark.parametrize("options", [{}, {"solver": "lbfgs"}], ids=str)
def test_callbacks_get_copies_of_the_estimator(options):
    callback = Callback()
    model = classifier(tol=0, **options).set_callbacks(callback)
    model.fit(X, y, sample_weight=WEIGHTS)
    for k, (n_iter, fitted, metadata) in enumerate(callback.fitted[:-1]):
        assert n_iter == k + 1
        assert fitted is not model
        expected = classifier(tol=0, max_iter=n_iter, **options).fit(X, y, sample_weight=WEIGHTS)
        np.testing.assert_allclose(parameters(fitted), parameters(expected), rtol=1e-12)
        np.testing.assert_array_equal(fitted.predict(X), expected.predict(X))
        np.testing.assert_array_equal(metadata["sample_weight"], WEIGHTS)
    for _, fitted, _ in callback.fitted:
        fitted.coefs_[0][...] = 0
    assert (parameters(model) != 0).all()


@pytest.mark.usefixtures("callback_module")
@pytest.mark.parametrize("options", [{}, {"solver": "lbfgs"}, {"early_stopping": True}], ids=str)
def test_callbacks_interrupt_a_fit(options):
    def interrupt(estimator):
        if estimator.n_iter_ == 3:
            raise KeyboardInterrupt

    callback = Callback(interrupt)
    model = classifier(max_iter=20, tol=0, **options).set_callbacks(callback)
    with pytest.warns(UserWarning, match=r"Training interrupted by user\."):
        model.fit(X, y)
    callback.check_pairs()
    assert model.n_iter_ == 3
    assert model.predict(X).shape == (150,)


@pytest.mark.usefixtures("callback_module")
def test_errors_of_callbacks_reach_the_caller():
    def fail(estimator):
        raise RuntimeError("mine")

    callback = Callback(fail)
    with pytest.raises(RuntimeError, match="mine"):
        classifier().set_callbacks(callback).fit(X, y)
    callback.check_pairs()
    with pytest.raises(TypeError, match="callbacks must be instances following the FitCallback protocol"):
        classifier().set_callbacks(Callback)


class Unready(Callback):
    """A callback that fails before the first epoch."""

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None):
        raise RuntimeError("not ready")


@pytest.mark.usefixtures("callback_module")
def test_a_callback_that_fails_before_the_first_epoch_is_torn_down_and_leaves_the_earlier_fit():
    callback, model = Unready(), classifier().fit(X, y)
    before = parameters(model)
    with pytest.raises(RuntimeError, match="not ready"):
        model.set_callbacks(callback).fit(X[:50], y[:50])
    assert callback.events == ["setup", "teardown"]
    np.testing.assert_array_equal(parameters(model), before)
    assert model.n_iter_ == 5
    model.set_callbacks(Callback()).fit(X, y)


@pytest.mark.parametrize("options", [{}, {"solver": "lbfgs"}, {"early_stopping": True}], ids=str)
@pytest.mark.needs("pandas")
def test_the_scoring_monitor_records_a_score_for_every_epoch(callback_module, options):
    """scikit-learn's monitor accepts labels that are strings, and data frames."""
    import pandas as pd

    frame = pd.DataFrame(X, columns=list("abcd"))
    monitor = callback_module.ScoringMonitor(scoring="accuracy")
    model = classifier(tol=0, **options).set_callbacks(monitor).fit(frame, NAMES[y])
    rows = monitor.get_logs().data
    assert [row["task_name"] for row in rows].count("passes") == 5
    if not options:
        scores = [row["accuracy"] for row in rows if row["task_name"] == "passes"]
        expected = [classifier(tol=0, max_iter=k).fit(X, y).score(X, y) for k in range(1, 6)]
        assert scores == expected
        assert model.score(frame, NAMES[y]) == scores[-1]
    monitor = callback_module.ScoringMonitor(scoring="r2")
    regressor(**options).set_callbacks(monitor).fit(X, TARGETS, sample_weight=WEIGHTS + 1.0)
    assert len(monitor.get_logs().data) == 6


def test_the_progress_bar_of_scikit_learn_follows_a_fit(callback_module, capsys):
    pytest.importorskip("rich")
    classifier().set_callbacks(callback_module.ProgressBar()).fit(X, y)
    assert "100%" in capsys.readouterr().out
    pipeline = make_pipeline(StandardScaler(), classifier()).set_callbacks(callback_module.ProgressBar())
    pipeline.fit(X, y)
    assert "MLPClassifier" in capsys.readouterr().out
