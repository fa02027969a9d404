"""TabularClassifier and TabularRegressor: whole tables, folds, groups, calibration, quantiles, reports."""

import time

import numpy as np
import pytest
from extras import optional
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error
from sklearn.model_selection import train_test_split
from sklearn.utils.estimator_checks import parametrize_with_checks
from tables_of_customers import make_mixed

from fastnn import TabularClassifier, TabularRegressor
from fastnn.tables import calibration
from fastnn.tables.calibration import compute_probabilities, fit_temperature, predict_held_out

pytestmark = pytest.mark.usefixtures("small_presets")
pd, pa, pl = optional("pandas"), optional("pyarrow"), optional("polars")
of_tables = pytest.mark.needs("pandas")

C, R = TabularClassifier, TabularRegressor
QUANTILES = (0.1, 0.5, 0.9)


def table(n=300, seed=0):
    """Return a table of every kind of column, a class and a number for each row."""
    frame = make_mixed(n, seed)
    return frame[["x", "group", "flag", "day", "noise"]], *(frame[y].to_numpy() for y in ("sort", "size"))


@parametrize_with_checks(
    [C(preset="fast", random_state=0), R(preset="fast", random_state=0)],
    expected_failed_checks=lambda estimator: {
        "check_sample_weight_equivalence_on_dense_data": "repeated rows change folds, batches and quantiles"
    },
)
def test_the_check_of_scikit_learn_passes(estimator, check):
    check(estimator)


@of_tables
def test_classes_are_predicted_from_columns_of_every_kind():
    frame, classes, _ = table()
    test, truth, _ = table(seed=1)
    model = C(random_state=0).fit(frame, pd.Series(classes, name="level"))
    assert model.feature_names_in_.tolist() == list(frame)
    assert (model.classes_.tolist(), model.target_name_) == (["high", "low"], "level")
    assert len(model.estimators_) == 5
    P = model.predict_proba(test)
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(model.predict(test), model.classes_[P.argmax(axis=1)])
    assert model.score(test, truth) > 0.85
    assert {member.coefs_[0].dtype for member in model.estimators_} == {np.dtype(np.float32)}
    classes[0] = "single"  # a class may have a single row
    assert C(random_state=0).fit(frame, classes).predict_proba(frame).shape == (300, 3)


@of_tables
def test_numbers_are_predicted_in_their_units_and_range():
    frame, _, numbers = table()
    test, _, truth = table(seed=1)
    model = R(4, quantiles=(0.5,), random_state=0).fit(frame, numbers)
    assert model.score(test, truth) > 0.8
    assert model.target_name_ is None
    assert model.predict(test.assign(x=1e9)).max() <= numbers.max()
    assert model.predict(test.assign(x=-1e9)).min() >= numbers.min()
    calm = model.predict(frame), model.predict(frame, quantiles=True)[:, 0]
    for member in (model.estimators_[0], model.estimators_[4]):  # the mean's and the quantile's first
        *others, last = member.coefs_
        member.coefs_ = [*others, -1000 * last]
    wild = model.predict(frame), model.predict(frame, quantiles=True)[:, 0]
    for before, after in zip(calm, wild, strict=True):  # one network cannot ruin a prediction
        assert np.abs(after - before).max() <= np.ptp(numbers) / 4 + 1e-3


@of_tables
def test_numbers_may_be_booleans_texts_and_larger_than_all_integers():
    frame, _, numbers = table()
    numbers = numbers.round()
    model = R(1, "fast", random_state=0)
    by_text = clone(model).fit(frame, [f"{number:g}" for number in numbers])
    by_number = clone(model).fit(frame, numbers)
    np.testing.assert_array_equal(by_text.oof_prediction_, by_number.oof_prediction_)
    flags = clone(model).fit(frame, numbers > 1000).oof_prediction_
    assert 0 <= flags.min() <= flags.max() <= 1
    large = clone(model).fit(frame, numbers * 2.0**70)
    np.testing.assert_allclose(large.predict(frame), 2.0**70 * by_number.predict(frame), rtol=1e-4)


def test_out_of_fold_predictions_are_those_of_networks_that_did_not_see_the_row():
    """With random labels, predictions of training rows are better than chance, out-of-fold ones are not."""
    X, y = np.random.RandomState(0).normal(size=(120, 40)), np.arange(120) % 2
    model = C(random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.oof_rows_, np.arange(120))
    assert accuracy_score(y, model.oof_prediction_.argmax(axis=1)) < 0.65
    assert model.score(X, y) > 0.65
    model = C(2, random_state=0).fit(X, y)  # two networks predict the rows of two of five folds
    assert (model.oof_rows_.size, model.oof_prediction_.shape) == (48, (48, 2))


def test_a_group_is_not_on_both_sides_of_a_split():
    """Columns that tell the group predict its class for other rows of the group, and not for new groups."""
    random = np.random.RandomState(0)
    group = random.permutation(np.repeat(np.arange(30), 8))
    X = random.normal(size=(30, 3))[group]
    y = (random.rand(30) < 0.5)[group]
    model = C(random_state=0)
    assert clone(model).fit(X, y).oof_accuracy_ > 0.9
    whole = clone(model).fit(X, y, groups=group)
    assert whole.oof_accuracy_ < 0.75
    assert whole.oof_rows_.size == 240
    for name in (int, str, float):
        one = clone(model).set_params(n_estimators=1).fit(X, y, groups=[name(k) for k in group])
        held_out = set(group[one.oof_rows_])
        assert len(held_out) == 6
        assert set(group[np.setdiff1d(np.arange(240), one.oof_rows_)]).isdisjoint(held_out)
    of_two = clone(model).fit(X[:40], y[:40], groups=np.arange(40) % 2)  # fewer groups than folds
    assert of_two.oof_rows_.size == 40


@of_tables
def test_validation_data_are_used_in_place_of_folds():
    frame, classes, numbers = table()
    parts = train_test_split(frame, classes, numbers, random_state=0)
    given = {"X_val": parts[1], "y_val": parts[3], "groups": np.zeros(225)}
    model = C(2, random_state=0).fit(parts[0], parts[2], **given)
    assert model.oof_prediction_.shape == (75, 2)
    np.testing.assert_allclose(model.oof_accuracy_, model.score(parts[1], parts[3]), atol=0.03)
    model = R(2, random_state=0).fit(parts[0], parts[4], X_val=parts[1], y_val=parts[5])
    np.testing.assert_allclose(model.oof_prediction_, model.predict(parts[1]), rtol=1e-4)


@of_tables
def test_a_scorer_gets_classes_and_numbers_in_their_units_and_the_weights():
    frame, classes, numbers = table()
    weights = np.random.RandomState(0).uniform(0.5, 2, len(frame))
    seen = []

    def score_classes(model, X, y, sample_weight):
        assert set(y) == {"high", "low"}
        seen.append(sample_weight)
        return accuracy_score(y, model.predict(X), sample_weight=sample_weight)

    def score_numbers(model, X, y):
        assert y.mean() > 500
        return -mean_absolute_error(y, model.predict(X))

    options = {"class_weight": {"high": 3.0}, "random_state": 0}
    own, named = (
        C(1, scoring=s, **options).fit(frame, classes, weights) for s in (score_classes, "accuracy")
    )
    assert own.estimators_[0].validation_scores_ == named.estimators_[0].validation_scores_
    np.testing.assert_array_equal(seen[0], (weights * np.where(classes == "high", 3.0, 1.0))[own.oof_rows_])
    for scoring in (score_numbers, "neg_max_error"):  # without weights
        assert R(1, scoring=scoring, random_state=0).fit(frame, numbers, weights).score(frame, numbers) > 0


@of_tables
def test_weights_raise_the_probability_of_a_rare_class_and_those_of_classes_concern_no_score():
    frame, classes, _ = table()
    rare = np.where(np.arange(300) % 10 == 0, "rare", "common")
    plain = C(2, random_state=0).fit(frame, rare).predict_proba(frame)[:, 1].mean()
    for given, weights in (("balanced", None), ({"rare": 9.0}, None), (None, np.where(rare == "rare", 9, 1))):
        model = C(2, class_weight=given, random_state=0).fit(frame, rare, sample_weight=weights)
        assert model.predict_proba(frame)[:, 1].mean() > 2 * plain
    # The validation data may lack a class that has a weight.
    model = C(1, "fast", class_weight={"rare": 9.0}, random_state=0)
    assert model.fit(frame, rare, X_val=frame[1:9], y_val=rare[1:9]).oof_prediction_.shape == (8, 2)
    weights = np.random.RandomState(0).uniform(0.5, 2, len(frame))
    model = C(1, class_weight="balanced", random_state=0).fit(frame, classes, weights)
    truth, rows, P = classes[model.oof_rows_], weights[model.oof_rows_], model.oof_prediction_
    assert model.oof_accuracy_ == accuracy_score(truth, model.classes_[P.argmax(axis=1)], sample_weight=rows)
    assert model.oof_log_loss_ == pytest.approx(log_loss(truth, P, sample_weight=rows))
    majority = max(np.average(truth == one, weights=rows) for one in model.classes_)
    assert f"always the same class: {majority:.4f}" in model.summary()


@of_tables
def test_a_time_limit_ends_fits_after_an_epoch():
    frame, classes, _ = table()
    begin = time.perf_counter()
    model = C(3, time_limit=1e-9, random_state=0).fit(frame, classes)
    assert 0 < model.fit_seconds_ <= time.perf_counter() - begin
    assert [member.n_iter_ for member in model.estimators_] == [1, 1, 1]
    model = C(3, time_limit=1e9, random_state=0).fit(frame, classes)
    free = C(3, random_state=0).fit(frame, classes)
    np.testing.assert_array_equal(model.predict_proba(frame), free.predict_proba(frame))


def test_the_temperature_minimises_the_log_loss():
    X, y = load_breast_cancer(return_X_y=True)
    model = C(random_state=0).fit(X, y)
    assert model.oof_log_loss_ == pytest.approx(log_loss(y, model.oof_prediction_))
    assert model.temperature_ not in (0, 1)
    logits = np.diff(np.log(model.oof_prediction_.astype(float)), axis=1)
    weights = np.ones(len(y))
    assert fit_temperature(logits, y, weights) == fit_temperature(logits, y, 3 * weights)
    # The prior and the added mistakes weigh little beside many rows.
    many = fit_temperature(*(np.repeat(one, 100, axis=0) for one in (logits, y, weights)))
    least = log_loss(y, compute_probabilities(logits, many))
    for temperature in many * np.array([0.9, 1.1]):
        assert log_loss(y, compute_probabilities(logits, temperature)) >= least - 1e-6


@pytest.mark.parametrize("n_classes", [2, 3])
def test_held_out_rows_take_the_temperature_of_others(monkeypatch, n_classes):
    random = np.random.RandomState(0)
    scores, y = random.normal(size=(40, 1 if n_classes == 2 else 3)), random.randint(0, n_classes, 40)
    weights = random.uniform(0.5, 2, 40)
    whole = fit_temperature(scores, y, weights)
    of_all = compute_probabilities(scores, whole)
    P = predict_held_out(scores, y, weights, whole)
    np.testing.assert_allclose(P.sum(axis=1), 1)
    for row in range(5):  # the class of a row has no effect on its own probabilities
        changed = y.copy()
        changed[row] = (y[row] + 1) % n_classes
        other = predict_held_out(scores, changed, weights, whole)
        np.testing.assert_array_equal(other[row], P[row])
        assert (other != P).any()
    P = predict_held_out(scores, y, np.eye(40)[3], whole)  # no other row has a weight
    np.testing.assert_array_equal(P[3], of_all[3])
    assert np.isfinite(P).all()
    monkeypatch.setattr(calibration, "MANY_ROWS", 40)  # of many rows, all take one temperature
    np.testing.assert_array_equal(predict_held_out(scores, y, weights, whole), of_all)


@of_tables
def test_quantiles_never_cross_and_cover_their_share():
    frame, _, numbers = table(600)
    model = R(quantiles=QUANTILES, random_state=0).fit(frame, numbers)
    Q = model.predict(table(600, seed=1)[0], quantiles=True)
    assert Q.shape == (600, 3)
    assert (np.diff(Q, axis=1) >= 0).all()
    assert (np.diff(model.oof_quantiles_, axis=1) >= 0).all()
    below = (numbers[:, None] <= model.oof_quantiles_).mean(axis=0)
    # Shifts make the fractions exact, except where quantiles crossed or left the range.
    np.testing.assert_allclose(below, QUANTILES, atol=0.01)


@of_tables
def test_importances_find_the_columns_that_matter():
    frame, classes, numbers = table(600)
    for model, y in [(C(random_state=0), classes), (R(random_state=0), numbers)]:
        model.fit(frame, y)
        found = model.feature_importances(frame, y, n_repeats=3, random_state=0)
        assert (found.names, found.importances.shape) == (list(frame), (5, 3))
        np.testing.assert_allclose(found.importances_mean, found.importances.mean(axis=1))
        for importances in (found.importances_mean, model.importances_):
            assert set(frame.columns[np.argsort(importances)[-2:]]) == {"x", "group"}
    with pytest.raises(ValueError, match="n_repeats must be"):
        model.feature_importances(frame, y, n_repeats=0)


@of_tables
def test_the_summary_names_columns_networks_and_scores():
    frame, classes, numbers = table()
    text = C(random_state=0).fit(frame.assign(same=1), classes).summary()
    words = ("left out: constant", "+1 and -1", "networks  5", "accuracy", "log-loss", "CPU time")
    assert all(word in text for word in (*frame, *words))
    assert "RMSE" in R(random_state=0).fit(frame, numbers).summary()


CLASSES, NUMBERS = np.array(["low", "high"] * 150), np.arange(300.0)
RARE = {"y": np.array(["rare", "common"] * 150)}
WITH_MISSING = [None, *range(299)]


@pytest.mark.parametrize(
    ("kind", "parameters", "given", "message"),
    [
        (C, {}, {"y": ["a"] * 300}, "y holds only one class, 'a'"),
        (C, {}, {"y": np.array(["a", 3] * 150, object)}, "y holds text and 3, but classes are all text or"),
        (C, {}, {"y": np.array(["a", np.nan] * 150, object)}, "^y holds a missing value, leave out its row"),
        (R, {}, {"y": [2.5] * 300}, "y holds only one value, 2.5"),
        (R, {}, {"y": [0.0, 1e-200] * 150}, "y holds numbers from 0 to 1e-200, .* vanish: scale y up"),
        (R, {}, {"y": [1.7e308] * 299 + [0.0]}, "^y holds .* too large for a float.* scale .* down"),
        (R, {}, {"y": ["a"] * 300}, "y must hold numbers for a regressor .*or fit a classifier"),
        (C, {}, {"sample_weight": "weight"}, "sample_weight='weight' names a column"),
        (C, {}, {"sample_weight": np.eye(300)[0]}, "^all rows that .* weight 0: pass validation rows, or"),
        (C, {}, {"groups": "patient"}, "groups='patient' names a column"),
        (C, {}, {"groups": [1] * 300}, "groups holds only one group, '1': two are needed"),
        *[
            (C, {}, {"groups": np.ones(shape)}, r"groups must have the shape \(300,\), a name .*, got \(")
            for shape in (2, (300, 2))
        ],
        (C, {}, {"groups": WITH_MISSING}, "groups holds a missing value in row 0: name it, or leave out"),
        (C, {"class_weight": {"rare": -1.0}}, RARE, "class_weight must hold finite numbers of at least 0"),
        (C, {}, {"X_val": NUMBERS[:, None]}, "X_val and y_val go together"),
        (C, {}, {"X_val": NUMBERS[:2, None], "y_val": ["low", "new"]}, r"does not hold: \['new'\]"),
        (C, {}, {"X_val": np.ones((2, 2)), "y_val": ["low"] * 2}, "X_val, y_val: X has 2 features, but"),
        (C, {}, {"progress": "yes"}, "progress must be True or False"),
        (C, {}, {"passes": 0}, "passes must be"),
        (C, {"scoring": "roc_auc"}, {"y": np.arange(300) % 3}, "^scoring='roc_auc' cannot score these targ"),
        *[
            (R, {"scoring": lambda *_, score=score: score}, {}, "^scoring must give a number, got")
            for score in ("high", np.zeros(2))
        ],
        *[
            (R, {"quantiles": wrong}, {}, "quantiles must increase and lie above 0")
            for wrong in ((0.5, 0.5), (0.0, 0.5), (1.0,), (), ("a",), (np.nan,))
        ],
        # Parameters are checked before any file is read.
        (R, {"quantiles": (1.0,)}, {"X": "no.parquet", "y": "y"}, "quantiles must increase and lie above 0"),
    ],
)
def test_what_a_fit_cannot_use_is_refused_with_the_reason(kind, parameters, given, message):
    arguments = {"X": NUMBERS[:, None], "y": CLASSES if kind is C else NUMBERS, "passes": 1} | given
    with pytest.raises(ValueError, match=message):
        kind(preset="fast", random_state=0, **parameters).fit(**arguments)


@pytest.mark.needs("pandas", "pyarrow")
@pytest.mark.parametrize("what", ["dates", "durations"])
def test_dates_and_durations_are_refused_with_the_code_that_makes_numbers_of_them(what):
    days = pd.Series(pd.date_range("2024-01-01", periods=300))
    origin = pd.Timestamp("2000-01-01") if what == "dates" else days[0]
    values = days if what == "dates" else days - days[0]
    containers = [values, values.to_numpy(), pa.array(values.tolist())]
    if pl:
        times = pl.Series(days.tolist())
        containers.append(times if what == "dates" else times - times[0])
    containers += [days.dt.tz_localize("UTC"), pa.chunked_array([days.dt.date])] if what == "dates" else []
    for y in containers:
        message = f"y holds {what}, but a regressor predicts numbers: "
        with pytest.raises(ValueError, match=message) as caught:
            R(1, "fast").fit(NUMBERS[:, None], y)
        if pl is None or not isinstance(y, pl.Series):
            numbers = eval(str(caught.value).partition("y = ")[2], {"np": np, "y": y})
            np.testing.assert_array_equal(numbers, np.arange(300) + (days[0] - origin).days)


@of_tables
def test_tables_to_predict_need_the_columns_of_the_fit_and_quantiles_those_of_the_estimator():
    frame, classes, numbers = table()
    model = C(1, "fast", random_state=0).fit(frame, classes, passes=1)
    with pytest.raises(ValueError, match="now missing:\n- noise"):
        model.predict(frame.drop(columns="noise"))
    with pytest.warns(UserWarning, match="but TabularClassifier was fitted with feature names"):
        model.predict(frame.to_numpy())
    model.fit(frame[["x", "noise"]].to_numpy(), classes, passes=1)
    for estimator in (model, C()):
        assert not hasattr(estimator, "feature_names_in_")
    with pytest.raises(ValueError, match="X has 1 features, but TabularClassifier is expecting 2"):
        model.predict(frame[["x"]].to_numpy())
    with pytest.raises(ValueError, match="the estimator has no quantiles"):
        R(1, "fast").fit(frame, numbers, passes=1).predict(frame, quantiles=True)
