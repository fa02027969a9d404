"""TabularClassifier and TabularRegressor: whole tables, folds, calibration, quantiles, reports."""

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
from fastnn.estimators import tabular_presets
from fastnn.estimators.tabular_presets import Preset
from fastnn.preprocessing import encoder

pd = optional("pandas")

QUANTILES = (0.1, 0.5, 0.9)


@pytest.fixture(autouse=True)
def _small_presets(monkeypatch):
    """Fit small networks for a few passes: tests of what is fitted, not of how well."""
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


UNEQUAL = {
    "check_sample_weight_equivalence_on_dense_data": "repeated rows change the folds, batches and quantiles"
}


@parametrize_with_checks(
    [TabularClassifier(preset="fast", random_state=0), TabularRegressor(preset="fast", random_state=0)],
    expected_failed_checks=lambda estimator: UNEQUAL,
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.needs("pandas")
def test_classes_of_a_whole_table():
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
def test_fewer_networks_than_folds_predict_some_rows():
    frame, classes, _ = table()
    model = TabularClassifier(2, random_state=0).fit(frame, classes)
    assert model.oof_rows_.size == 120
    assert model.oof_prediction_.shape == (120, 2)


def test_the_temperature_is_that_of_the_least_log_loss():
    X, y = load_breast_cancer(return_X_y=True)
    model = TabularClassifier(random_state=0).fit(X, y)
    P = model.oof_prediction_
    scores = np.log(P[:, 1] / P[:, 0]) * model.temperature_
    for temperature in model.temperature_ * np.array([0.9, 1.1]):
        other = 1 / (1 + np.exp(-scores / temperature))
        assert log_loss(y, other) >= log_loss(y, P) - 1e-6
    assert model.oof_log_loss_ == pytest.approx(log_loss(y, P))


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
def test_weights_of_rows_and_classes():
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
    with pytest.raises(ValueError, match="negative|below 0"):
        TabularClassifier().fit(frame, classes, sample_weight=np.full(300, -1.0))
    with pytest.raises(ValueError, match="class_weight must hold finite numbers not below 0"):
        TabularClassifier(class_weight={"rare": -1.0}).fit(frame, rare)
    with pytest.raises(ValueError, match="sample_weight is the name 'weight', which needs"):
        TabularClassifier().fit(frame, classes, sample_weight="weight")
    # The validation data lack the class that has a weight.
    one = TabularClassifier(1, "fast", class_weight={"rare": 9.0}, random_state=0)
    assert one.fit(frame, rare, X_val=frame[1:9], y_val=rare[1:9]).oof_prediction_.shape == (8, 2)


@pytest.mark.parametrize("scoring", ["roc_auc", "accuracy", "loss"])
@pytest.mark.needs("pandas")
def test_a_score_chooses_the_pass(scoring):
    frame, classes, _ = table()
    model = TabularClassifier(2, scoring=scoring, random_state=0).fit(frame, classes)
    for member in model.estimators_:
        assert member.best_validation_score_ == max(member.validation_scores_)
        if scoring != "loss":
            assert 0.5 < member.best_validation_score_ <= 1


@pytest.mark.needs("pandas")
def test_a_users_scorer_gets_classes_and_units():
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
def test_a_class_of_one_row():
    frame, classes, _ = table()
    classes[0] = "single"
    model = TabularClassifier(random_state=0).fit(frame, classes)
    assert model.predict_proba(frame).shape == (300, 3)


@pytest.mark.needs("pandas")
def test_many_classes():
    frame, _, numbers = table()
    classes = np.digitize(numbers, np.quantile(numbers, [0.3, 0.6]))
    model = TabularClassifier(random_state=0).fit(frame, classes)
    assert model.score(frame, classes) > 0.7
    assert model.oof_prediction_.shape == (300, 3)


@pytest.mark.needs("pandas")
def test_a_time_limit_ends_fits_after_a_pass():
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
            assert set(np.argsort(importances)[-2:]) == {0, 1}
    with pytest.raises(ValueError, match="n_repeats must be"):
        model.feature_importances(frame, y, n_repeats=0)


@pytest.mark.needs("pandas")
def test_the_summary_names_columns_networks_and_scores():
    frame, classes, numbers = table()
    text = TabularClassifier(random_state=0).fit(frame.assign(same=1), classes).summary()
    for word in (*frame, "left out: constant", "+1 and -1", "networks  5", "accuracy", "log-loss", "seconds"):
        assert word in text
    assert "RMSE" in TabularRegressor(random_state=0).fit(frame, numbers).summary()


@pytest.mark.parametrize(
    ("kind", "y", "message"),
    [
        (TabularClassifier, ["a"] * 300, "y holds one class only, 'a'"),
        (TabularRegressor, [2.5] * 300, "y holds one value only, 2.5"),
        (TabularRegressor, [np.nan] * 300, "y contains NaN"),
        (TabularClassifier, [0.5] * 299 + [0.2], "Unknown label type"),
        (TabularClassifier, [0, 1], "inconsistent numbers of samples"),
    ],
)
@pytest.mark.needs("pandas")
def test_targets_without_use_are_told(kind, y, message):
    with pytest.raises(ValueError, match=message):
        kind().fit(table()[0], y)


@pytest.mark.needs("pandas")
def test_new_columns_are_told_in_the_users_words():
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
def test_a_bar_counts_the_passes_of_all_networks(capsys):
    frame, classes, _ = table()
    model = TabularClassifier(3, random_state=0).fit(frame, classes, progress=True)
    bar = capsys.readouterr().err
    assert "fitting" in bar
    # Three networks, two of them twice, of 24 passes; those that ended early have no more to do.
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
