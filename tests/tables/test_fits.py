"""Fits of the tabular estimators: columns scaled by their importance, and refused fits."""

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone

from fastnn import TabularClassifier, TabularRegressor
from fastnn.tables import fits
from fastnn.tables.presets import CLASSES, NUMBERS, PRESETS, Preset

RECIPE = replace(CLASSES, batch_size=64, rate=0.02)
NUMBERS_RECIPE = replace(NUMBERS, batch_size=64, rate=0.02)


@pytest.fixture(autouse=True)
def _small_presets(monkeypatch):
    """Replace the presets by small networks; of the two, only "good" scales columns."""
    recipes = RECIPE, NUMBERS_RECIPE
    monkeypatch.setitem(PRESETS, "good", Preset(5, (32, 32), 48, *recipes))
    monkeypatch.setitem(PRESETS, "best", Preset(5, (32, 32), 48, *(replace(r, pilots=None) for r in recipes)))


def make_rule(n, n_noise=24, seed=0):
    """Return rows whose class follows from thresholds of the first two columns; the others are noise."""
    X = np.random.RandomState(seed).normal(size=(n, 2 + n_noise))
    return X, (X[:, 0] > 0.3) ^ (np.abs(X[:, 1]) > 0.7)


def make_sums(n, n_noise=20, seed=0):
    """Return rows with a smooth function of the first three columns; the others are noise."""
    random = np.random.RandomState(seed)
    X = random.uniform(-1, 1, size=(n, 3 + n_noise))
    return X, np.sin(3 * X[:, 0] * X[:, 1]) + X[:, 2] ** 2 + 0.05 * random.normal(size=n)


@pytest.mark.parametrize(
    ("kind", "make_data", "n_rows"), [(TabularClassifier, make_rule, 600), (TabularRegressor, make_sums, 500)]
)
def test_a_few_columns_that_matter_are_found_among_many(kind, make_data, n_rows):
    X, y = make_data(n_rows)
    X_test, y_test = make_data(2000, seed=1)
    models = (kind(preset=preset, random_state=0).fit(X, y) for preset in ("good", "best"))
    good, best = (1 - model.score(X_test, y_test) for model in models)
    assert good < 0.75 * best


@pytest.mark.parametrize(
    "options", [{}, {"scoring": "neg_mean_absolute_error"}, {"quantiles": [0.5]}], ids=str
)
@pytest.mark.parametrize("n_networks", [1, 2, 3])
def test_any_number_of_networks_is_fitted_alike_by_any_number_of_threads(n_networks, options):
    kind, make_data = (TabularRegressor, make_sums) if options else (TabularClassifier, make_rule)
    X, y = make_data(120, n_noise=3)
    for given in ({}, {"X_val": X[:80], "y_val": y[:80]}):
        model = kind(n_networks, random_state=0, **options)
        models = [clone(model).set_params(n_jobs=n).fit(X, y, passes=5, **given) for n in (None, 1)]
        assert len(models[0].estimators_) == n_networks * (1 + len(options.get("quantiles", ())))
        np.testing.assert_array_equal(*[model.predict(X) for model in models])
        assert models[0].predict(X).std() > 0


@pytest.mark.parametrize("passes", [1, 7])
def test_the_bar_counts_the_epochs_of_short_pilots(passes, capsys):
    X, y = make_sums(100, n_noise=0)
    TabularRegressor(3, random_state=0, quantiles=[0.5]).fit(X, y, passes=passes, progress=True)
    total = 6 * passes + 4 * max(1, passes // 5)
    assert f"{total}/{total}" in capsys.readouterr().err


def test_the_time_of_short_pilots_is_limited():
    X, y = make_sums(2000)
    model = TabularRegressor(preset="good", time_limit=1e-3, random_state=0).fit(X, y)
    assert all(member.n_iter_ == 1 for member in model.estimators_)


def test_scoring_of_a_regressor_with_quantiles_scores_the_mean():
    X = np.random.RandomState(0).normal(size=(80, 2))
    options = {"scoring": "neg_mean_absolute_error", "random_state": 0}
    mean = TabularRegressor(2, "fast", **options).fit(X, X[:, 0], passes=5)
    both = TabularRegressor(2, "fast", quantiles=(0.1, 0.9), **options).fit(X, X[:, 0], passes=5)
    assert len(both.estimators_) == 6
    for one, other in zip(mean.estimators_, both.estimators_[:2], strict=True):
        assert one.validation_scores_ == other.validation_scores_
    np.testing.assert_array_equal(both.predict(X), mean.predict(X))


@pytest.mark.parametrize("quantiles", [None, [0.1, 0.9]])
@pytest.mark.parametrize("n_groups", [3, 40])  # of three, two are set aside by two networks, one by one
def test_out_of_fold_predictions_are_means_of_networks_not_trained_on_a_row(n_groups, quantiles, monkeypatch):
    random = np.random.RandomState(0)
    X, y = make_sums(2400, n_noise=0)
    y += random.normal(size=2400)  # beside which the networks' own errors, which their mean lowers, are small
    X, X_new, y, y_new = X[:400], X[400:], y[:400], y[400:]
    splits, evaluate_held_out = [], fits.evaluate_held_out

    def record(estimator, table, own_splits, *others):
        splits.extend(own_splits)
        evaluate_held_out(estimator, table, own_splits, *others)

    monkeypatch.setattr(fits, "evaluate_held_out", record)
    model = TabularRegressor(5, "good", quantiles=quantiles, random_state=0)
    model.fit(X, y, passes=12, groups=np.arange(400) % n_groups)
    found, one = [], copy(model)
    for k, (train, _) in enumerate(splits):
        one.estimators_ = model.estimators_[k::5]  # a network for the mean, and one for each quantile
        found.append(np.column_stack([one.predict(X), *(one.predict(X, True).T if quantiles else ())]))
        found[k][train] = np.nan
    # Means of clipped values are not the clipped means.
    is_inside = ~((found <= y.min()) | (found >= y.max())).any(axis=0)
    assert is_inside.mean() > 0.9
    oof = np.column_stack([model.oof_prediction_, model.oof_quantiles_])
    np.testing.assert_allclose(oof[is_inside], np.nanmean(found, axis=0)[is_inside], rtol=1e-5, atol=1e-6)
    assert model.oof_rows_.size == 400
    if quantiles:
        low, high = model.predict(X_new, quantiles=True).T
        assert ((low <= y_new) & (y_new <= high)).mean() == pytest.approx(0.8, abs=0.06)


@pytest.mark.filterwarnings("error")
def test_the_r2_of_one_row_is_undefined_without_a_warning():
    X = np.arange(4.0)[:, None]
    model = TabularRegressor(1, "fast", random_state=0).fit(X, X[:, 0], passes=1)
    assert model.oof_rows_.size == 1
    assert np.isnan(model.oof_r2_)


@pytest.mark.parametrize("kind", [TabularClassifier, TabularRegressor])
def test_an_earlier_fit_survives_a_refused_one(kind, monkeypatch):
    X = np.random.RandomState(0).normal(size=(60, 2))
    y = np.where(X[:, 0] > 0, 1, 2) if kind is TabularClassifier else X[:, 0]
    evaluate_held_out = fits.evaluate_held_out

    def interrupt(*arguments):
        evaluate_held_out(*arguments)
        raise KeyboardInterrupt

    new, model = kind(1, "fast", random_state=0), kind(1, "fast", random_state=0).fit(X, y, passes=2)
    before, state = model.predict(X), dict(model.__dict__)
    for one in (model, new):
        for arguments in ((X[:, :1], [1] * 60), (X, None), (X[:, :1], y[:50]), ("none.parquet", "y")):
            with pytest.raises((ValueError, FileNotFoundError, ImportError)):  # where pyarrow is missing
                one.fit(*arguments)
        with pytest.raises(ValueError, match="X_val, y_val"):
            one.fit(X[:, :1], y, X_val=X, y_val=y)
        with monkeypatch.context() as patch:
            patch.setattr(fits, "evaluate_held_out", interrupt)
            with pytest.raises(KeyboardInterrupt):
                one.fit(X[:, :1], y, passes=1)
    assert model.__dict__ == state
    np.testing.assert_array_equal(model.predict(X), before)
    assert new.__dict__ == kind(1, "fast", random_state=0).__dict__
