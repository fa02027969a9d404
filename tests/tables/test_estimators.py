"""TabularClassifier and TabularRegressor: whole tables, folds, calibration, quantiles, reports."""

import datetime
import importlib
import pickle

import numpy as np
import pytest
from extras import optional
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error
from sklearn.model_selection import train_test_split
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastnn import TabularClassifier, TabularRegressor
from fastnn.tables import calibration
from fastnn.tables import estimators as tabular
from fastnn.tables import presets as tabular_presets
from fastnn.tables.calibration import fitted_temperature, held_out_probabilities, probabilities
from fastnn.tables.encoding import encoder
from fastnn.tables.presets import Preset
from fastnn.tables.summary import last_best

pd, pa = optional("pandas"), optional("pyarrow")

QUANTILES = (0.1, 0.5, 0.9)


@pytest.fixture(autouse=True)
def _small_presets(monkeypatch):
    """Replace the presets by small networks and few epochs: the tests do not need good predictions."""
    monkeypatch.setitem(tabular_presets.PRESETS, "good", Preset(5, (16, 16), 24))
    monkeypatch.setitem(tabular_presets.PRESETS, "fast", Preset(1, (16,), 16))


def table(n=300, seed=0):
    """Return a table of every kind of column, a class and a number for each row."""
    random = np.random.RandomState(seed)
    x, group = random.normal(size=n), random.randint(0, 4, n)
    frame = pd.DataFrame(
        {
            "x": np.where(random.rand(n) < 0.1, np.nan, x),
            "group": np.array(["north", "south", "east", "west"])[group],
            "flag": random.rand(n) < 0.5,
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(random.randint(0, 700, n), "D"),
            "noise": random.normal(size=n),
        }
    )
    number = 3 * np.nan_to_num(frame["x"].to_numpy()) + 2 * group + random.normal(size=n) / 4
    return frame, np.where(number > 3, "high", "low"), number * 100 + 1000


# A check that both estimators fail, with the reason.
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": "repeated rows change the folds, batches and quantiles"
}


@parametrize_with_checks(
    [TabularClassifier(preset="fast", random_state=0), TabularRegressor(preset="fast", random_state=0)],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_the_check_of_scikit_learn_passes(estimator, check):
    check(estimator)


@pytest.mark.needs("pandas")
def test_classes_are_predicted_from_columns_of_every_kind():
    frame, classes, _ = table()
    test, truth, _ = table(seed=1)
    model = TabularClassifier(random_state=0).fit(frame, classes)
    assert model.feature_names_in_.tolist() == list(frame)
    assert model.classes_.tolist() == ["high", "low"]
    assert len(model.estimators_) == 5
    P = model.predict_proba(test)
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(model.predict(test), model.classes_[P.argmax(axis=1)])
    assert model.score(test, truth) > 0.85
    assert {member.coefs_[0].dtype for member in model.estimators_} == {np.dtype(np.float32)}


@pytest.mark.parametrize("kind", [TabularClassifier, TabularRegressor])
@pytest.mark.needs("pandas")
def test_fits_are_reproducible_and_survive_pickling(kind):
    frame, classes, numbers = table()
    y = classes if kind is TabularClassifier else numbers
    model = kind(random_state=3).fit(frame, y)
    for other in (clone(model).fit(frame, y), clone(model).set_params(n_jobs=1).fit(frame, y)):
        np.testing.assert_array_equal(other.predict(frame), model.predict(frame))
        np.testing.assert_array_equal(other.oof_prediction_, model.oof_prediction_)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(frame), model.predict(frame))
    assert (
        clone(model).set_params(random_state=4).fit(frame, y).oof_prediction_ != model.oof_prediction_
    ).any()


def test_out_of_fold_predictions_are_those_of_networks_that_did_not_see_the_row():
    """With random labels, predictions of training rows are better than chance, out-of-fold ones are not."""
    X = np.random.RandomState(0).normal(size=(120, 40))
    y = np.arange(120) % 2
    model = TabularClassifier(random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.oof_rows_, np.arange(120))
    assert accuracy_score(y, model.oof_prediction_.argmax(axis=1)) < 0.65
    assert model.score(X, y) > 0.65


@pytest.mark.needs("pandas")
def test_two_networks_predict_the_rows_of_two_of_five_folds():
    frame, classes, _ = table()
    model = TabularClassifier(2, random_state=0).fit(frame, classes)
    assert model.oof_rows_.size == 120
    assert model.oof_prediction_.shape == (120, 2)


def test_the_temperature_minimises_the_log_loss(monkeypatch):
    X, y = load_breast_cancer(return_X_y=True)
    calls = []

    def recorded(*arguments):
        calls.append(arguments)
        return fitted_temperature(*arguments)

    monkeypatch.setattr(tabular, "fitted_temperature", recorded)
    model = TabularClassifier(random_state=0).fit(X, y)
    ((scores, classes, weights),) = calls
    np.testing.assert_array_equal(model.classes_[classes], y)
    assert model.temperature_ == fitted_temperature(scores, classes, 3 * weights)
    # The prior and the added mistakes weigh little beside many rows.
    many = fitted_temperature(*(np.repeat(one, 100, axis=0) for one in (scores, classes, weights)))
    least = log_loss(y, probabilities(scores, many))
    for temperature in many * np.array([0.9, 1.1]):
        assert log_loss(y, probabilities(scores, temperature)) >= least - 1e-6
    assert model.oof_log_loss_ == pytest.approx(log_loss(y, model.oof_prediction_))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_few_rows_that_are_easily_told_apart_do_not_drive_the_temperature(n_classes):
    random = np.random.RandomState(0)
    losses = []
    for _ in range(60):
        scores = random.normal(scale=2.0, size=(520, n_classes))
        scores += 7 * np.eye(n_classes)[random.randint(0, n_classes, 520)]
        if n_classes == 2:
            scores = scores[:, 1:] - scores[:, :1]
        P = probabilities(scores)
        y = (P.cumsum(axis=1) > random.rand(520, 1)).argmax(axis=1)
        temperature = fitted_temperature(scores[:20], y[:20], np.ones(20))
        found = log_loss(y[20:], probabilities(scores[20:], temperature), labels=range(n_classes))
        losses.append([found, log_loss(y[20:], P[20:], labels=range(n_classes))])
    fitted, true = np.mean(losses, axis=0)
    assert fitted < 1.2 * true


@pytest.mark.parametrize("n_classes", [2, 3])
def test_rows_that_judge_take_the_temperature_of_others(monkeypatch, n_classes):
    random = np.random.RandomState(0)
    scores, y = random.normal(size=(40, 1 if n_classes == 2 else 3)), random.randint(0, n_classes, 40)
    scores += (2 * y - 1)[:, None] if n_classes == 2 else 2 * np.eye(3)[y]
    weights = random.uniform(0.5, 2, 40)
    whole = fitted_temperature(scores, y, weights)
    P = held_out_probabilities(scores, y, weights, whole)
    np.testing.assert_allclose(P.sum(axis=1), 1)
    changed = y.copy()
    for row in range(5):  # the class of a row has no effect on its own probabilities
        changed[row] = (y[row] + 1) % n_classes
        other = held_out_probabilities(scores, changed, weights, whole)
        np.testing.assert_array_equal(other[row], P[row])
        assert (other != P).any()
        changed[row] = y[row]
    monkeypatch.setattr(calibration, "MANY_ROWS", 40)  # of many rows, all take one temperature
    np.testing.assert_array_equal(
        held_out_probabilities(scores, y, weights, whole), probabilities(scores, whole)
    )


@pytest.mark.parametrize("weights", [[1.0], [0.0, 3.0], [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]])
def test_rows_without_others_take_the_temperature_of_all(weights):
    weights = np.array(weights)
    scores, y = np.arange(len(weights))[:, None] - 0.5, np.zeros(len(weights), int)
    P = held_out_probabilities(scores, y, weights, 2.0)
    heaviest = weights.argmax()
    np.testing.assert_array_equal(P[heaviest], probabilities(scores, 2.0)[heaviest])
    assert np.isfinite(P).all()


def test_scores_of_few_rows_are_those_of_new_rows():
    """The temperature of 40 rows makes their own log-loss lower than that of new rows.

    Log-losses minus those of the true probabilities vary less between samples of rows than log-losses do.
    """
    by_whole, by_others = [], []
    for seed in range(60):
        random = np.random.RandomState(seed)
        scores = random.normal(scale=2.0, size=(440, 1))
        truth = probabilities(scores)
        y = (random.rand(440) < truth[:, 1]).astype(int)
        few, new, weights = slice(40), slice(40, None), np.ones(40)
        whole = fitted_temperature(scores[few], y[few], weights)
        P_new, P_few = probabilities(scores[new], whole), probabilities(scores[few], whole)
        P_others = held_out_probabilities(scores[few], y[few], weights, whole)
        losses = [
            log_loss(y[rows], P) - log_loss(y[rows], truth[rows])
            for rows, P in ((new, P_new), (few, P_few), (few, P_others))
        ]
        by_whole.append(losses[0] - losses[1])
        by_others.append(losses[0] - losses[2])
    assert np.mean(by_whole) > 0.01
    assert abs(np.mean(by_others)) < 0.01


@pytest.mark.needs("pandas")
def test_validation_data_are_used_in_place_of_folds():
    frame, classes, numbers = table()
    parts = train_test_split(frame, classes, numbers, random_state=0)
    model = TabularClassifier(2, random_state=0).fit(parts[0], parts[2], X_val=parts[1], y_val=parts[3])
    assert model.oof_prediction_.shape == (75, 2)
    np.testing.assert_allclose(model.oof_accuracy_, model.score(parts[1], parts[3]), atol=0.03)
    model = TabularRegressor(2, random_state=0).fit(parts[0], parts[4], X_val=parts[1], y_val=parts[5])
    np.testing.assert_allclose(model.oof_prediction_, model.predict(parts[1]), rtol=1e-4)
    with pytest.raises(ValueError, match="X_val and y_val go together"):
        model.fit(frame, numbers, X_val=frame)
    with pytest.raises(ValueError, match=r"y_val holds classes that y does not hold: \['new'\]"):
        TabularClassifier().fit(frame, classes, X_val=frame[:2], y_val=["low", "new"])


@pytest.mark.needs("pandas")
def test_numbers_are_predicted_in_their_units_and_range():
    frame, _, numbers = table()
    test, _, truth = table(seed=1)
    model = TabularRegressor(random_state=0).fit(frame, numbers)
    assert model.score(test, truth) > 0.8
    far = test.assign(x=1e9)
    assert model.predict(far).max() <= numbers.max()
    assert model.predict(test.assign(x=-1e9)).min() >= numbers.min()


@pytest.mark.needs("pandas")
def test_one_network_cannot_ruin_a_prediction():
    frame, _, numbers = table()
    model = TabularRegressor(4, quantiles=(0.5,), random_state=0).fit(frame, numbers)
    calm = model.predict(frame), model.predict(frame, quantiles=True)[:, 0]
    for member in (model.estimators_[0], model.estimators_[4]):  # the mean's and the quantile's first
        *others, last = member.coefs_
        member.coefs_ = [*others, -1000 * last]
    wild = model.predict(frame), model.predict(frame, quantiles=True)[:, 0]
    for before, after in zip(calm, wild, strict=True):
        assert np.abs(after - before).max() <= np.ptp(numbers) / 4 + 1e-3


@pytest.mark.parametrize("n_rows", [1, 16, 16 * 7, 16 * 7 + 1])
@pytest.mark.needs("pandas")
def test_rows_are_predicted_in_blocks(n_rows, monkeypatch):
    frame, classes, numbers = table()
    rows = table(n_rows, seed=1)[0]
    classifier = TabularClassifier(2, random_state=0).fit(frame, classes)
    regressor = TabularRegressor(2, quantiles=QUANTILES, random_state=0).fit(frame, numbers)

    def predictions():
        return classifier.predict_proba(rows), regressor.predict(rows), regressor.predict(rows, True)

    whole = predictions()
    monkeypatch.setattr(encoder, "BLOCK", 16)
    for blocks, expected in zip(predictions(), whole, strict=True):
        np.testing.assert_allclose(blocks, expected, rtol=1e-5)


@pytest.mark.needs("pandas")
def test_quantiles_never_cross_and_cover_their_share():
    frame, _, numbers = table(600)
    model = TabularRegressor(quantiles=QUANTILES, random_state=0).fit(frame, numbers)
    Q = model.predict(table(600, seed=1)[0], quantiles=True)
    assert Q.shape == (600, 3)
    assert (np.diff(Q, axis=1) >= 0).all()
    assert (np.diff(model.oof_quantiles_, axis=1) >= 0).all()
    below = (numbers[:, None] <= model.oof_quantiles_).mean(axis=0)
    np.testing.assert_allclose(below, QUANTILES, atol=0.05)
    with pytest.raises(ValueError, match="the estimator has no quantiles"):
        TabularRegressor(1, random_state=0).fit(frame, numbers).predict(frame, quantiles=True)
    for wrong in ((0.5, 0.1), (0.0, 0.5), (1.0,), (), (0.5, 0.5), ("a",), (None,), (np.nan,)):
        with pytest.raises(ValueError, match="quantiles must increase and lie above 0"):
            TabularRegressor(quantiles=wrong).fit(frame, numbers)
        with pytest.raises(ValueError, match="quantiles must increase and lie above 0"):
            TabularRegressor(quantiles=wrong).fit("no.parquet", "y")  # known before any file is read


@pytest.mark.needs("pandas")
def test_weights_raise_the_probability_of_a_rare_class():
    frame, classes, _ = table()
    rare = np.where(np.arange(300) % 10 == 0, "rare", "common")
    plain = TabularClassifier(2, random_state=0).fit(frame, rare).predict_proba(frame)[:, 1].mean()
    for model, weights in [
        (TabularClassifier(2, class_weight="balanced", random_state=0), None),
        (TabularClassifier(2, class_weight={"rare": 9.0}, random_state=0), None),
        (TabularClassifier(2, random_state=0), np.where(rare == "rare", 9.0, 1.0)),
    ]:
        balanced = model.fit(frame, rare, sample_weight=weights).predict_proba(frame)[:, 1].mean()
        assert balanced > 2 * plain
    with pytest.raises(ValueError, match="negative|at least 0"):
        TabularClassifier().fit(frame, classes, sample_weight=np.full(300, -1.0))
    with pytest.raises(ValueError, match="class_weight must hold finite numbers of at least 0"):
        TabularClassifier(class_weight={"rare": -1.0}).fit(frame, rare)
    for wrong in ("many", None):
        with pytest.raises(ValueError, match="class_weight must hold finite numbers of at least 0, got"):
            TabularClassifier(class_weight={"rare": wrong}).fit(frame, rare)
    with pytest.raises(ValueError, match="sample_weight='weight' names a column"):
        TabularClassifier().fit(frame, classes, sample_weight="weight")
    # The validation data may lack a class that has a weight.
    model = TabularClassifier(1, "fast", class_weight={"rare": 9.0}, random_state=0)
    assert model.fit(frame, rare, X_val=frame[1:9], y_val=rare[1:9]).oof_prediction_.shape == (8, 2)


@pytest.mark.parametrize("scoring", ["roc_auc", "accuracy", "loss"])
@pytest.mark.needs("pandas")
def test_scoring_chooses_the_epoch_that_is_kept(scoring):
    frame, classes, _ = table()
    model = TabularClassifier(2, scoring=scoring, random_state=0).fit(frame, classes)
    for member in model.estimators_:
        assert member.best_validation_score_ == max(member.validation_scores_)
        if scoring != "loss":
            assert 0.5 < member.best_validation_score_ <= 1


@pytest.mark.needs("pandas")
def test_a_scorer_gets_classes_and_numbers_in_their_units():
    frame, classes, numbers = table()

    def by_class(model, X, y):
        assert set(y) == {"high", "low"}
        return accuracy_score(y, model.predict(X))

    def by_number(model, X, y):
        assert y.mean() > 500
        return -mean_absolute_error(y, model.predict(X))

    assert (
        TabularClassifier(1, scoring=by_class, random_state=0).fit(frame, classes).score(frame, classes) > 0.8
    )
    assert (
        TabularRegressor(1, scoring=by_number, random_state=0).fit(frame, numbers).score(frame, numbers) > 0.5
    )


@pytest.mark.needs("pandas")
def test_a_score_is_weighted_by_rows_and_classes():
    frame, classes, numbers = table()
    weights = np.random.RandomState(0).uniform(0.5, 2, len(frame))
    seen = []

    def by_row(model, X, y, sample_weight):
        seen.append(sample_weight)
        return accuracy_score(y, model.predict(X), sample_weight=sample_weight)

    options = {"class_weight": {"high": 3.0}, "random_state": 0}
    own, named = (TabularClassifier(1, scoring=s, **options) for s in (by_row, "accuracy"))
    own.fit(frame, classes, weights)
    named.fit(frame, classes, weights)
    assert own.estimators_[0].validation_scores_ == named.estimators_[0].validation_scores_
    products = (weights * np.where(classes == "high", 3.0, 1.0))[own.oof_rows_]
    np.testing.assert_array_equal(seen[0], products)
    by_error = TabularRegressor(1, scoring="neg_max_error", random_state=0)  # a metric without weights
    assert by_error.fit(frame, numbers, weights).score(frame, numbers) > 0


@pytest.mark.needs("pandas")
def test_weights_of_classes_concern_no_score_of_the_fit():
    frame, classes, _ = table()
    weights = np.random.RandomState(0).uniform(0.5, 2, len(frame))
    model = TabularClassifier(1, class_weight="balanced", random_state=0).fit(frame, classes, weights)
    truth, rows = np.asarray(classes)[model.oof_rows_], weights[model.oof_rows_]
    P = model.oof_prediction_
    assert model.oof_accuracy_ == accuracy_score(truth, model.classes_[P.argmax(axis=1)], sample_weight=rows)
    assert model.oof_log_loss_ == pytest.approx(log_loss(truth, P, sample_weight=rows))
    majority = max(np.average(truth == one, weights=rows) for one in model.classes_)
    assert f"always the same class: {majority:.4f}" in model.summary()


@pytest.mark.parametrize("n_weighted", [1, 2])
def test_every_network_needs_a_row_with_a_weight_on_either_side(n_weighted):
    X, weights = np.arange(60.0)[:, None], np.r_[np.ones(n_weighted), np.zeros(60 - n_weighted)]
    for kind, y in ((TabularClassifier, X[:, 0] > 20), (TabularRegressor, X[:, 0])):
        with pytest.raises(ValueError, match="^all rows that .* have the weight 0: pass X_val and y_val, or"):
            kind(5, "fast", random_state=0).fit(X, y, weights)


@pytest.mark.parametrize("score", [None, "high", np.zeros(2)], ids=["None", "text", "array"])
def test_a_score_that_is_no_number_is_refused(score):
    X = np.arange(40.0)[:, None]
    with pytest.raises(ValueError, match="^scoring must give a number, got"):
        TabularRegressor(1, "fast", scoring=lambda *_: score).fit(X, X[:, 0], passes=1)


def test_a_network_without_a_score_keeps_its_last_epoch():
    """Metrics of rows of one class are NaN."""
    X = np.arange(40.0)[:, None]
    model = TabularClassifier(1, "fast", scoring=lambda *_: np.nan, random_state=0)
    model.fit(X, X[:, 0] > 20, passes=3)
    n_passes = model.estimators_[0].n_iter_
    assert f"epochs    {n_passes} (best: {n_passes})\n" in model.summary()
    assert last_best([np.nan, np.nan]) == 1
    assert last_best([0.5, 0.5, np.nan, 0.2]) == 1


@pytest.mark.needs("pandas")
def test_a_class_may_have_a_single_row():
    frame, classes, _ = table()
    classes[0] = "single"
    model = TabularClassifier(random_state=0).fit(frame, classes)
    assert model.predict_proba(frame).shape == (300, 3)


@pytest.mark.needs("pandas")
def test_three_classes_are_predicted():
    frame, _, numbers = table()
    classes = np.digitize(numbers, np.quantile(numbers, [0.3, 0.6]))
    model = TabularClassifier(random_state=0).fit(frame, classes)
    assert model.score(frame, classes) > 0.7
    assert model.oof_prediction_.shape == (300, 3)


@pytest.mark.needs("pandas")
def test_a_time_limit_ends_fits_after_an_epoch():
    frame, classes, _ = table()
    model = TabularClassifier(3, time_limit=1e-9, random_state=0).fit(frame, classes)
    assert [member.n_iter_ for member in model.estimators_] == [1, 1, 1]
    model = TabularClassifier(3, time_limit=1e9, random_state=0).fit(frame, classes)
    free = TabularClassifier(3, random_state=0).fit(frame, classes)
    np.testing.assert_array_equal(model.predict_proba(frame), free.predict_proba(frame))


@pytest.mark.needs("pandas")
def test_importances_find_the_columns_that_matter():
    frame, classes, numbers = table(600)
    for model, y in [
        (TabularClassifier(random_state=0), classes),
        (TabularRegressor(random_state=0), numbers),
    ]:
        model.fit(frame, y)
        found = model.feature_importances(frame, y, n_repeats=3, random_state=0)
        assert found.names == list(frame)
        assert found.importances.shape == (5, 3)
        np.testing.assert_allclose(found.importances_mean, found.importances.mean(axis=1))
        for importances in (found.importances_mean, model.importances_):
            assert set(frame.columns[np.argsort(importances)[-2:]]) == {"x", "group"}
    with pytest.raises(ValueError, match="n_repeats must be"):
        model.feature_importances(frame, y, n_repeats=0)


@pytest.mark.needs("pandas")
def test_the_summary_names_columns_networks_and_scores():
    frame, classes, numbers = table()
    text = TabularClassifier(random_state=0).fit(frame.assign(same=1), classes).summary()
    words = ("left out: constant", "+1 and -1", "networks  5", "accuracy", "log-loss", "CPU time")
    for word in (*frame, *words):
        assert word in text
    assert "RMSE" in TabularRegressor(random_state=0).fit(frame, numbers).summary()


@pytest.mark.parametrize(
    ("kind", "y", "message"),
    [
        (TabularClassifier, ["a"] * 300, "y holds only one class, 'a'"),
        (TabularRegressor, [2.5] * 300, "y holds only one value, 2.5"),
        (TabularRegressor, [0.0, 1e-200] * 150, "y holds numbers from 0 to 1e-200, .* vanish: scale y up"),
        (TabularRegressor, [np.nan] * 300, "y contains NaN"),
        (
            TabularClassifier,
            np.array(["a", np.nan] * 150, object),
            "^y holds a missing value, leave out its row",
        ),
        (TabularClassifier, [0.5] * 299 + [0.2], "Unknown label type"),
        (TabularClassifier, [0, 1], "inconsistent numbers of samples"),
    ],
)
@pytest.mark.needs("pandas")
def test_unusable_targets_are_refused_with_the_reason(kind, y, message):
    with pytest.raises(ValueError, match=message):
        kind().fit(table()[0], y)


@pytest.mark.parametrize("numbers", [[1e200, -1e200] * 20, [1.7e308] * 39 + [0.0], [10**400, 1] * 20])
def test_numbers_too_large_for_a_regressors_target_are_refused(numbers):
    with pytest.raises(ValueError, match=r"^y holds .* too large for a float.* scale .* down"):
        TabularRegressor(1, "fast").fit(np.arange(40.0)[:, None], numbers)


def test_a_regressors_target_may_exceed_all_integers():
    """No warning comes of a cast."""
    X = np.arange(40.0)[:, None]
    large, small = (
        TabularRegressor(1, "fast", random_state=0).fit(X, scale * X[:, 0], passes=2)
        for scale in (2.0**70, 1)
    )
    np.testing.assert_allclose(large.predict(X), 2.0**70 * small.predict(X), rtol=1e-5)


# Containers of dates and durations, made of a pandas column of days.
TIMES = {
    "datetime64": lambda days: days.to_numpy(),
    "a pandas column": lambda days: days,
    "a column with a time zone": lambda days: days.dt.tz_localize("UTC"),
    "Python dates": lambda days: days.dt.date.tolist(),
    "a PyArrow column": lambda days: pa.chunked_array([days.dt.date.tolist()]),
    "PyArrow times": lambda days: pa.array(days.tolist()),
}
DURATIONS = {
    "timedelta64": lambda days: (days - days[0]).to_numpy(),
    "a pandas column": lambda days: days - days[0],
    "Python durations": lambda days: [datetime.timedelta(day) for day in range(300)],
    "PyArrow durations": lambda days: pa.array((days - days[0]).tolist()),
}


@pytest.fixture
def days():
    """Return a pandas column of 300 consecutive days."""
    return pd.Series(pd.date_range("2024-01-01", periods=300))


@pytest.mark.needs("pandas", "pyarrow")
@pytest.mark.parametrize("container", TIMES.values(), ids=TIMES)
def test_dates_as_a_regressors_target_are_refused(container, days):
    dates = container(days)
    with pytest.raises(ValueError, match="y holds dates, but a regressor predicts numbers: choose") as caught:
        TabularRegressor(1, "fast").fit(table()[0], dates)
    y = eval(str(caught.value).partition("y = ")[2], {"np": np, "y": dates})
    np.testing.assert_array_equal(y, np.arange(300) + (days[0] - pd.Timestamp("2000-01-01")).days)


@pytest.mark.needs("pandas", "pyarrow")
@pytest.mark.parametrize("container", DURATIONS.values(), ids=DURATIONS)
def test_durations_as_a_regressors_target_are_refused(container, days):
    frame, _, numbers = table()
    durations = container(days)
    with pytest.raises(ValueError, match="y holds durations, but a regressor predicts numbers") as caught:
        TabularRegressor(1, "fast").fit(frame, durations)
    y = eval(str(caught.value).partition("y = ")[2], {"np": np, "y": durations})
    np.testing.assert_array_equal(y, np.arange(300))
    with pytest.raises(ValueError, match="X_val, y_val: y holds durations"):
        TabularRegressor(1, "fast").fit(frame, numbers, X_val=frame, y_val=durations)


@pytest.mark.needs("pandas", "polars")
def test_dates_and_durations_of_polars_are_refused(days):
    polars = importlib.import_module("polars")
    moments = [day.to_pydatetime() for day in days]
    durations = [moment - moments[0] for moment in moments]
    for values, what in (
        ([moment.date() for moment in moments], "dates"), (moments, "dates"), (durations, "durations")
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"y holds {what}, but a regressor predicts numbers"):
            TabularRegressor(1, "fast").fit(table()[0], polars.Series(values))


@pytest.mark.needs("pandas")
@pytest.mark.parametrize("kind", ["text", "mixed", "periods"])
def test_targets_that_are_no_numbers_are_refused(kind, days):
    targets = {
        "text": ["a"] * 300,
        "mixed": np.array([1, "x"] * 150, object),
        "periods": [days[0].to_period("D")] * 300,
    }
    with pytest.raises(ValueError, match="y must hold numbers for a regressor .*or fit a classifier"):
        TabularRegressor(1, "fast").fit(table()[0], targets[kind])


@pytest.mark.needs("pandas")
def test_truth_values_and_numbers_as_text_are_numbers():
    frame, _, numbers = table()
    numbers = numbers.round()
    by_text = TabularRegressor(1, "fast", random_state=0).fit(frame, [f"{number:g}" for number in numbers])
    by_number = TabularRegressor(1, "fast", random_state=0).fit(frame, numbers)
    np.testing.assert_array_equal(by_text.oof_prediction_, by_number.oof_prediction_)
    flags = TabularRegressor(1, "fast", random_state=0).fit(frame, numbers > 1000).oof_prediction_
    assert flags.min() >= 0
    assert flags.max() <= 1


@pytest.mark.needs("pandas")
def test_tables_to_predict_need_the_columns_of_the_fit():
    frame, classes, _ = table()
    model = TabularClassifier(1, random_state=0).fit(frame, classes)
    with pytest.raises(ValueError, match="now missing:\n- noise"):
        model.predict(frame.drop(columns="noise"))
    model.fit(frame[["x", "noise"]].to_numpy(), classes)
    with pytest.raises(ValueError, match="X has 1 features, but TabularClassifier is expecting 2"):
        model.predict(frame[["x"]].to_numpy())
    with pytest.raises(
        ValueError, match="X_val, y_val: X has 1 features, but TabularClassifier is expecting 2"
    ):
        model.fit(frame[["x", "noise"]].to_numpy(), classes, X_val=frame[["x"]].to_numpy(), y_val=classes)


@pytest.mark.needs("pandas")
def test_the_bar_counts_the_epochs_of_all_networks(capsys):
    frame, classes, _ = table()
    model = TabularClassifier(3, random_state=0).fit(frame, classes, progress=True)
    bar = capsys.readouterr().err
    assert "fitting" in bar
    # Two of three networks are fitted twice: five fits of 24 epochs. A fit that ends early counts in full.
    assert "120/120" in bar
    quiet = TabularClassifier(3, random_state=0).fit(frame, classes)
    assert capsys.readouterr().err == ""
    np.testing.assert_array_equal(model.predict_proba(frame), quiet.predict_proba(frame))
    with pytest.raises(ValueError, match="progress must be True or False"):
        quiet.fit(frame, classes, progress="yes")


@pytest.mark.needs("pandas")
def test_the_name_of_the_target_is_kept():
    frame, classes, _ = table()
    assert (
        TabularClassifier(1, random_state=0).fit(frame, pd.Series(classes, name="level")).target_name_
        == "level"
    )
    assert TabularClassifier(1, random_state=0).fit(frame, classes).target_name_ is None
