"""Fits of the tabular estimators: columns scaled by their importance, and refused fits."""

from dataclasses import replace

import numpy as np
import pytest

from fastnn import TabularClassifier, TabularRegressor
from fastnn.tables import fits
from fastnn.tables.presets import CLASSES, NUMBERS, PRESETS, Preset

RECIPE = replace(CLASSES, batch_size=64, rate=0.02)
NUMBERS_RECIPE = replace(NUMBERS, batch_size=64, rate=0.02)


@pytest.fixture(autouse=True)
def _small_presets(monkeypatch):
    """Replace the presets by small networks; of the two, only "good" scales columns."""
    monkeypatch.setitem(PRESETS, "good", Preset(5, (32, 32), 48, RECIPE, NUMBERS_RECIPE))
    plain = replace(RECIPE, scales_columns=False), replace(NUMBERS_RECIPE, short_pilots=False)
    monkeypatch.setitem(PRESETS, "best", Preset(5, (32, 32), 48, *plain))


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
    errors = {
        preset: 1 - kind(preset=preset, random_state=0).fit(X, y).score(X_test, y_test)
        for preset in ("good", "best")
    }
    assert errors["good"] < 0.75 * errors["best"]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (TabularClassifier, {}),
        (TabularRegressor, {"scoring": "neg_mean_absolute_error"}),
        (TabularRegressor, {"quantiles": [0.5]}),
    ],
)
@pytest.mark.parametrize("n_networks", [1, 2, 3])
def test_any_number_of_networks_is_fitted_alike_by_any_number_of_threads(n_networks, kind, options):
    X, y = (make_rule if kind is TabularClassifier else make_sums)(120, n_noise=3)
    for given in ({}, {"X_val": X[:80], "y_val": y[:80]}):
        models = [
            kind(n_networks, random_state=0, n_jobs=n_jobs, **options).fit(X, y, passes=5, **given)
            for n_jobs in (None, 1)
        ]
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
