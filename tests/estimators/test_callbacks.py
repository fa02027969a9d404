"""Progress of a fit: printed lines, bars and scikit-learn's callbacks."""

import re
import warnings

import numpy as np
import pytest
from estimator_checks import parameters
from fit_checks import assert_same_fit
from problems import NAMES, OURS, TARGETS, THEIRS, UNCONVERGED, X, classifier, regressor, y

from fastnn import MLPEnsembleClassifier, fit_many

pytestmark = UNCONVERGED

LBFGS = {"solver": "lbfgs"}
STALLS = {"tol": 10.0, "n_iter_no_change": 2, "max_iter": 90}
ADAPTIVE = {"solver": "sgd", "learning_rate": "adaptive", **STALLS}
# Options of fits that print lines: an ordinary end, an early end, a changed learning rate.
PRINTING = {"ordinary": {}, "converged": STALLS, "adaptive": ADAPTIVE}


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("options", PRINTING.values(), ids=PRINTING.keys())
def test_verbose_prints_the_lines_of_scikit_learn(capsys, options, early_stopping):
    printed = []
    for module in (THEIRS, OURS):
        classifier(module, verbose=True, early_stopping=early_stopping, **options).fit(X, y)
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert printed[0].count("\n") > 2


def test_verbose_prints_nothing_or_a_bar_or_lines(capsys):
    for verbose in (False, 0):
        classifier(verbose=verbose).fit(X, y)
        assert not "".join(capsys.readouterr())
    words = {"5/5", "loss=", "rate=", "score="}
    for options, lacks in (({}, {"score="}), ({"early_stopping": True}, set()), (LBFGS, {"rate=", "score="})):
        classifier(verbose=1, **options).fit(X, y)
        bar = capsys.readouterr().err
        assert {word for word in words if word in bar} == words - lacks
    model = classifier(verbose=True).fit(X, y)
    capsys.readouterr()
    model.partial_fit(X, y)
    assert capsys.readouterr().out == f"Iteration 1, loss = {model.loss_:.8f}\n"
    model.set_params(warm_start=True, max_iter=2).fit(X, y)
    assert re.findall(r"Iteration (\d), loss = ", capsys.readouterr().out) == list("12")


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
        self.events.append((context.task_name, context.task_id))
        self.data.append((X, y))

    def on_fit_task_end(self, estimator, context, *, metadata=None, fitted_estimator=None):
        self.events.append((context.task_name, context.task_id))
        self.fitted.append((estimator.n_iter_, fitted_estimator))
        return self.answer(estimator) if context.task_name == "passes" else None

    def check_pairs(self):
        """Assert that the task of the fit begins first and ends last, and that each epoch within it ends."""
        first, begun, *passes, ended, last = self.events
        assert (first, begun, last) == ("setup", ended, "teardown")
        assert passes[::2] == passes[1::2]


KINDS = [{}, LBFGS, {"early_stopping": True}]
kinds = pytest.mark.parametrize("options", KINDS, ids=str)


@pytest.mark.usefixtures("callback_module")
@pytest.mark.parametrize("options", [*KINDS, {"max_iter": 130}, STALLS], ids=str)
def test_callbacks_are_called_in_pairs(options):
    callback, of_many, of_members = Callback(), Callback(), Callback()
    model = classifier(**options).set_callbacks(callback).fit(X, NAMES[y])
    callback.check_pairs()
    assert_same_fit(model, classifier(**options).fit(X, NAMES[y]))
    passes = [n_iter for n_iter, _ in callback.fitted]
    assert (passes[-1], passes) == (model.n_iter_, sorted(passes))
    assert 2 < len(passes) <= 51  # at most 50 tasks, and the fit
    n_rows = 135 if options == {"early_stopping": True} else 150
    assert all(table.shape == (n_rows, 4) and set(targets) == set(NAMES) for table, targets in callback.data)
    # Members are clones, and a clone keeps the callbacks of its original.
    fit_many([classifier(**options).set_callbacks(of_many), classifier()], X, y)
    MLPEnsembleClassifier(classifier(**options).set_callbacks(of_members), 2, n_jobs=1).fit(X, y)
    assert (of_many.events, of_members.events.count("teardown")) == (callback.events, 2)


@pytest.mark.usefixtures("callback_module")
@pytest.mark.parametrize("interrupts", [False, True])
@kinds
def test_callbacks_end_or_interrupt_a_fit(options, interrupts):
    def answer(estimator):
        if estimator.n_iter_ >= 3 and interrupts:
            raise KeyboardInterrupt
        return estimator.n_iter_ >= 3

    callback = Callback(answer)
    model = classifier(max_iter=20, tol=0, **options).set_callbacks(callback)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")  # a fit that a callback ends needs no ConvergenceWarning
        model.fit(X, y)
    assert [str(warning.message) for warning in caught] == ["Training interrupted by user."] * interrupts
    callback.check_pairs()
    assert [n_iter for n_iter, _ in callback.fitted] == [1, 2, 3, 3]
    if "early_stopping" not in options:
        np.testing.assert_array_equal(parameters(model), parameters(callback.fitted[-1][1]))
        for n_iter, fitted in callback.fitted[:-1]:  # copies: writing to one changes nothing else
            expected = parameters(classifier(tol=0, max_iter=n_iter, **options).fit(X, y))
            np.testing.assert_allclose(parameters(fitted), expected, rtol=1e-12)
            fitted.coefs_[0][...] = 0


@pytest.mark.usefixtures("callback_module")
def test_errors_of_callbacks_reach_the_caller(monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("mine")

    callback = Callback(fail)
    with pytest.raises(RuntimeError, match="mine"):
        classifier().set_callbacks(callback).fit(X, y)
    callback.check_pairs()
    # One that fails before the first epoch is torn down, and leaves the earlier fit.
    callback, model = Callback(), classifier().fit(X, y)
    monkeypatch.setattr(callback, "on_fit_task_begin", fail)
    with pytest.raises(RuntimeError, match="mine"):
        model.set_callbacks(callback).fit(X[:50], y[:50])
    assert callback.events == ["setup", "teardown"]
    assert_same_fit(model, classifier().fit(X, y))


@kinds
@pytest.mark.needs("pandas")
def test_the_scoring_monitor_records_a_score_for_every_epoch(callback_module, options):
    """scikit-learn's monitor accepts labels that are strings, and data frames."""
    import pandas as pd

    frame = pd.DataFrame(X, columns=list("abcd"))
    monitor = callback_module.ScoringMonitor(scoring="accuracy")
    model = classifier(tol=0, **options).set_callbacks(monitor).fit(frame, NAMES[y])
    scores = [row["accuracy"] for row in monitor.get_logs().data if row["task_name"] == "passes"]
    assert len(scores) == 5
    if not options:
        assert scores == [classifier(tol=0, max_iter=k).fit(X, y).score(X, y) for k in range(1, 6)]
        assert model.score(frame, NAMES[y]) == scores[-1]
    monitor = callback_module.ScoringMonitor(scoring="r2")
    regressor(**options).set_callbacks(monitor).fit(X, TARGETS, sample_weight=np.arange(1.0, 151))
    assert len(monitor.get_logs().data) == 6
