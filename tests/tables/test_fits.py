"""Fits of the tabular estimators: columns scaled by their importance, scorers, and refused fits."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from fastnn import CosineLog, MLPClassifier, TabularClassifier, TabularRegressor
from fastnn.estimators import fitting
from fastnn.system.progress import progress_bar
from fastnn.tables import fits as tabular_fits
from fastnn.tables import members as members_module
from fastnn.tables import pilots as tabular_pilots
from fastnn.tables import presets as tabular_presets
from fastnn.tables.fits import TableFits
from fastnn.tables.pilots import GENTLE, MIN_SCALE, STRONG, best_pilots, column_scales, strength
from fastnn.tables.presets import CLASSES, NUMBERS, Preset

RECIPE = replace(CLASSES, batch_size=64, rate=0.02)
NUMBERS_RECIPE = replace(NUMBERS, batch_size=64, rate=0.02)


@pytest.fixture(autouse=True)
def _small_presets(monkeypatch):
    """Replace the presets by small networks; of the two, only "good" scales columns."""
    monkeypatch.setitem(tabular_presets.PRESETS, "good", Preset(5, (32, 32), 48, RECIPE, NUMBERS_RECIPE))
    plain = Preset(
        5, (32, 32), 48, replace(RECIPE, scales_columns=False), replace(NUMBERS_RECIPE, short_pilots=False)
    )
    monkeypatch.setitem(tabular_presets.PRESETS, "best", plain)


def rule_data(n, n_noise=24, seed=0):
    """Return rows whose class follows from thresholds of the first two columns; the others are noise."""
    X = np.random.RandomState(seed).normal(size=(n, 2 + n_noise))
    return X, (X[:, 0] > 0.3) ^ (np.abs(X[:, 1]) > 0.7)


def test_scales_are_square_roots_of_relative_importances():
    found = column_scales(np.array([4.0, 4.0, 4.0, 1.0, 0.0, -2.0]), np.array([1, 2, 0, 1, 1, 1]))
    np.testing.assert_allclose(found, [1, 1, 1, 0.5, MIN_SCALE, MIN_SCALE])
    # One outstanding column does not reduce the others to the least scale.
    found = column_scales(np.array([9.0, 0.0, 0.0, 0.75]), np.ones(4, int))
    np.testing.assert_allclose(found, [1, MIN_SCALE, MIN_SCALE, np.sqrt(0.75 / 3.25)], rtol=1e-6)
    np.testing.assert_array_equal(column_scales(np.array([0.0, -1.0]), np.array([2, 1])), np.ones(3))
    # Gentle scales are the square roots of the strong ones, above the least scale.
    importances, widths = np.array([4.0, 4.0, 4.0, 1.0, 0.2, 1e-6]), np.ones(6, int)
    found = column_scales(importances, widths, GENTLE)
    np.testing.assert_allclose(found, [1, 1, 1, 0.25**0.25, 0.05**0.25, MIN_SCALE], rtol=1e-6)
    np.testing.assert_allclose(found[:5] ** 2, column_scales(importances, widths, STRONG)[:5], rtol=1e-6)


def test_a_network_fitted_to_scaled_features_takes_them_unscaled():
    X, y = rule_data(200, n_noise=2)
    X, y, ones = X.astype(np.float32), y.astype(np.int64), np.ones(200)
    scales = np.array([1, 0.5, 0.25, 2], np.float32)
    split = np.arange(150), np.arange(150, 200)

    def fitted(X, scales):
        member = MLPClassifier(
            (8,), learning_rate=CosineLog(), max_iter=5, early_stopping=True, n_iter_no_change=np.inf,
            tol=0.0, scoring="loss", random_state=0,
        )  # fmt: skip
        member.classes_, member._has_labels, member.n_outputs_ = np.arange(2), False, 1
        with progress_bar(total=5, unit="epoch", shown=False, desc="fitting") as bar:
            TableFits((X, y, ones), None, CosineLog(), 1, None, 1, bar).run([member], [split], [scales])
        return member

    scaled, plain = fitted(X, scales), fitted(X * scales, None)
    np.testing.assert_allclose(scaled.predict_proba(X), plain.predict_proba(X * scales), rtol=1e-5)
    np.testing.assert_allclose(scaled.coefs_[0], plain.coefs_[0] * scales[:, None])


def test_a_fit_of_several_trainings_has_one_deadline_and_one_bar(monkeypatch):
    """The clock counts the epochs: it is read once at the beginning, and once after every epoch."""
    monkeypatch.setattr(fitting, "MAX_EPOCHS", 4)
    monkeypatch.setattr(members_module, "time", SimpleNamespace(monotonic=itertools.count().__next__))
    monkeypatch.setattr(tabular_fits, "time", SimpleNamespace(perf_counter=lambda: 0.0))
    X, y = rule_data(60, n_noise=0)
    X, y, ones, shown = X.astype(np.float32), y.astype(np.int64), np.ones(60), []
    member = MLPClassifier(
        (3,), learning_rate=CosineLog(), max_iter=20, early_stopping=True, n_iter_no_change=np.inf,
        tol=0.0, ties="latest", scoring=lambda *_: 0.0, random_state=0,
    )  # fmt: skip
    member.classes_, member._has_labels, member.n_outputs_ = np.arange(2), False, 1
    bar = SimpleNamespace(update=shown.append)
    monkeypatch.setattr(members_module.StopAtCycleEnds, "after_chunk", lambda *_: False)
    table, rows = (X, y, ones), np.arange(60)
    TableFits(table, table, CosineLog(), 20, 7.0, 1, bar).run([member], [(rows, rows)], [None])
    assert member.n_iter_ == 7
    assert shown == [1] * 7 + [13]  # a fit that ended early has no more epochs to do


def test_rules_of_a_few_columns_are_found_among_many():
    X, y = rule_data(600)
    X_test, y_test = rule_data(2000, seed=1)
    errors = {
        preset: 1 - TabularClassifier(preset=preset, random_state=0).fit(X, y).score(X_test, y_test)
        for preset in ("good", "best")
    }
    assert errors["good"] < 0.75 * errors["best"]


@pytest.mark.parametrize("is_better", [False, True])
def test_the_better_networks_are_kept(is_better, monkeypatch):
    """If scaling does not improve the validation score, the result is that of unscaled columns."""
    groups = []

    def score(members):
        groups.append(members)
        return float(is_better) if len(groups) == 1 else 0.0  # the first call is for the scaled columns

    monkeypatch.setattr(tabular_pilots, "mean_score", score)
    X, y = rule_data(200, n_noise=3)
    model = TabularClassifier(random_state=0, preset="good").fit(X, y, passes=10)
    assert model.estimators_[:2] == groups[0 if is_better else 1]
    plain = TabularClassifier(random_state=0, preset="best").fit(X, y, passes=10)
    assert np.array_equal(model.predict_proba(X), plain.predict_proba(X)) != is_better


@pytest.mark.parametrize("n_networks", [1, 2, 3])
def test_any_number_of_networks_can_be_fitted(n_networks):
    X, y = rule_data(200, n_noise=3)
    X_val, y_val = rule_data(80, n_noise=3, seed=2)
    for given in ({"passes": 10}, {"passes": 10, "X_val": X_val, "y_val": y_val}):
        model = TabularClassifier(n_networks, random_state=0).fit(X, y, **given)
        assert len(model.estimators_) == n_networks
        again = TabularClassifier(n_networks, random_state=0, n_jobs=1).fit(X, y, **given)
        np.testing.assert_array_equal(model.predict_proba(X), again.predict_proba(X))


class Recorder:
    """Stand-in of `TableFits` that records the factors of the columns."""

    def __init__(self):
        self.scales = []

    def run(self, members, splits, scales):
        self.scales.append(scales)


@pytest.mark.parametrize(("n_pilots", "expected"), [(1, [0]), (2, [1, 0])])
def test_scales_come_from_the_validation_rows_of_other_networks(n_pilots, expected, monkeypatch):
    importances = np.array([[4.0, 1.0, 0.0], [1.0, 4.0, 2.0]])[:n_pilots]
    order = iter(importances)
    monkeypatch.setattr(tabular_pilots, "mean_score", len)  # the rivals are more networks: they score better
    monkeypatch.setattr(tabular_pilots, "estimated_importances", lambda *_: next(order))
    model, fits = TabularClassifier(), Recorder()
    model.columns_ = [{"features": 1}] * 3
    pilots, rivals = [object()] * n_pilots, [object()] * (n_pilots + 1)
    chosen, scales = best_pilots(model, fits, pilots, rivals, [None] * 5, (None, None, None))
    widths = np.ones(3, int)
    assert fits.scales[0] == [None] * n_pilots
    for found, k in zip(fits.scales[1], expected, strict=True):
        np.testing.assert_array_equal(found, column_scales(importances[k], widths))
    assert chosen is rivals
    np.testing.assert_array_equal(scales, column_scales(importances.mean(axis=0), widths))


# --- short pilots --------------------------------------------------------------------------------


def sums(n, n_noise=20, seed=0):
    """Return rows with a smooth function of the first three columns; the others are noise."""
    random = np.random.RandomState(seed)
    X = random.uniform(-1, 1, size=(n, 3 + n_noise))
    return X, np.sin(3 * X[:, 0] * X[:, 1]) + X[:, 2] ** 2 + 0.05 * random.normal(size=n)


def test_the_strength_of_scales():
    assert strength(1.0, 0.89) == STRONG
    assert [strength(1.0, loss) for loss in (0.91, 1.0, 1.09)] == [GENTLE] * 3
    assert strength(1.0, 1.11) is None
    assert strength(0.0, 0.0) == GENTLE  # losses of networks that predict every row
    assert strength(1.0, np.nan) is None
    assert strength(np.nan, 1.0) is None


def test_numbers_are_predicted_better_among_columns_of_noise():
    X, y = sums(500)
    X_test, y_test = sums(1000, seed=1)
    losses = {
        preset: 1 - TabularRegressor(preset=preset, random_state=0).fit(X, y).score(X_test, y_test)
        for preset in ("good", "best")
    }
    assert losses["good"] < 0.75 * losses["best"]


@pytest.mark.parametrize("power", [None, GENTLE, STRONG])
@pytest.mark.parametrize("n_networks", [1, 3])
def test_networks_take_the_scales_that_short_pilots_find(power, n_networks, monkeypatch):
    """All networks, those of quantiles as well, have the scales by the importances of all pilots."""
    runs, importances = [], np.array([4.0, 2.0, 3.0, 0.0, 1.0])
    run = TableFits.run

    def recorded(fits, members, splits, scales):
        runs.append((members, scales))
        run(fits, members, splits, scales)

    found = []
    monkeypatch.setattr(TableFits, "run", recorded)
    monkeypatch.setattr(tabular_pilots, "strength", lambda *losses: found.append(losses) or power)
    monkeypatch.setattr(tabular_pilots, "estimated_importances", lambda *_: importances)
    X, y = sums(200, n_noise=2)
    model = TabularRegressor(n_networks, random_state=0, quantiles=(0.1, 0.9)).fit(X, y)
    widths = np.array([record["features"] for record in model.columns_])
    n_pilots = min(2, n_networks)
    (pilots, none), (rivals, strong), (members, scales) = runs
    assert [len(pilots), len(rivals), len(members)] == [n_pilots, n_pilots, 3 * n_networks]
    assert members == model.estimators_
    assert none == [None] * n_pilots
    assert all(member.max_iter == 9 and member.loss == "squared_error" for member in [*pilots, *rivals])
    np.testing.assert_array_equal(strong, [column_scales(importances, widths, STRONG)] * n_pilots)
    if power is None:
        assert scales == [None] * len(members)
    else:
        np.testing.assert_array_equal(scales, [column_scales(importances, widths, power)] * len(members))
    losses = [-np.mean([one.best_validation_score_ for one in group]) for group in (pilots, rivals)]
    np.testing.assert_array_equal(found, [losses])


@pytest.mark.parametrize("options", [{}, {"scoring": "neg_mean_absolute_error"}, {"quantiles": [0.5]}])
@pytest.mark.parametrize("n_networks", [1, 2])
def test_regressors_do_not_depend_on_the_number_of_threads(n_networks, options):
    X, y = sums(200, n_noise=3)
    X_val, y_val = sums(80, n_noise=3, seed=2)
    for given in ({"passes": 10}, {"passes": 10, "X_val": X_val, "y_val": y_val}):
        models = [
            TabularRegressor(n_networks, random_state=0, n_jobs=n_jobs, **options).fit(X, y, **given)
            for n_jobs in (None, 1)
        ]
        np.testing.assert_array_equal(*[model.predict(X) for model in models])
        assert models[0].predict(X).std() > 0


def test_numbers_that_no_column_tells_anything_about():
    X, y = sums(60)
    model = TabularRegressor(1, random_state=0).fit(np.where(X > 0.99, 1.0, 0.0), y, passes=1)
    assert np.isfinite(model.predict(np.zeros_like(X))).all()


@pytest.mark.parametrize("passes", [1, 4, 7])
def test_the_bar_counts_the_epochs_of_short_pilots(passes, monkeypatch):
    X, y = sums(100, n_noise=0)
    counts, totals = [], []

    class Bar:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, n):
            counts.append(n)

    def bar(*, total, **_):
        totals.append(total)
        return Bar()

    monkeypatch.setattr(tabular_fits, "progress_bar", bar)
    TabularRegressor(3, random_state=0, quantiles=[0.5]).fit(X, y, passes=passes, progress=True)
    assert totals == [sum(counts)] == [6 * passes + 4 * max(1, passes // 5)]


def test_the_time_of_short_pilots_is_limited():
    X, y = sums(2000)
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
    low, high = both.predict(X, quantiles=True).T
    assert (low <= high).all()


@pytest.mark.parametrize(
    ("kind", "scoring", "y"),
    [
        (TabularRegressor, "accuracy", np.linspace(0.0, 1.0, 40)),
        (TabularClassifier, "roc_auc", np.arange(40) % 3),
    ],
)
def test_a_scorer_for_other_targets_is_named(kind, scoring, y):
    with pytest.raises(ValueError, match=f"^scoring='{scoring}' cannot score these targets, choose another"):
        kind(1, "fast", scoring=scoring).fit(np.arange(40.0)[:, None], y, passes=1)


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
    evaluate = tabular_fits.evaluate

    def interrupted(*arguments):
        evaluate(*arguments)
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
            patch.setattr(tabular_fits, "evaluate", interrupted)
            with pytest.raises(KeyboardInterrupt):
                one.fit(X[:, :1], y, passes=1)
    assert model.__dict__ == state
    np.testing.assert_array_equal(model.predict(X), before)
    assert new.__dict__ == kind(1, "fast", random_state=0).__dict__
