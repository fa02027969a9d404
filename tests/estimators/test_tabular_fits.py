"""Columns that are scaled by their importance while the networks of a classifier are fitted."""

from dataclasses import replace

import numpy as np
import pytest

from fastnn import CosineLog, MLPClassifier, TabularClassifier
from fastnn.estimators import tabular_base, tabular_presets
from fastnn.estimators.tabular_fits import LEAST_SCALE, TableFits, column_scales
from fastnn.estimators.tabular_presets import CLASSES, Preset
from fastnn.system.progress import progress_bar

RECIPE = replace(CLASSES, batch_size=64, rate=0.02)


@pytest.fixture(autouse=True)
def _small_presets(monkeypatch):
    """Replace the presets by small networks; of the two, only "good" scales columns."""
    monkeypatch.setitem(tabular_presets.PRESETS, "good", Preset(5, (32, 32), 48, RECIPE))
    plain = Preset(5, (32, 32), 48, replace(RECIPE, scales_columns=False))
    monkeypatch.setitem(tabular_presets.PRESETS, "best", plain)


def rule_data(n, n_noise=24, seed=0):
    """Return rows whose class follows from thresholds of the first two columns; the others are noise."""
    X = np.random.RandomState(seed).normal(size=(n, 2 + n_noise))
    return X, (X[:, 0] > 0.3) ^ (np.abs(X[:, 1]) > 0.7)


def test_scales_are_square_roots_of_relative_importances():
    found = column_scales(np.array([4.0, 4.0, 4.0, 1.0, 0.0, -2.0]), np.array([1, 2, 0, 1, 1, 1]))
    np.testing.assert_allclose(found, [1, 1, 1, 0.5, LEAST_SCALE, LEAST_SCALE])
    # One outstanding column does not reduce the others to the least scale.
    found = column_scales(np.array([9.0, 0.0, 0.0, 0.75]), np.ones(4, int))
    np.testing.assert_allclose(found, [1, LEAST_SCALE, LEAST_SCALE, np.sqrt(0.75 / 3.25)], rtol=1e-6)
    np.testing.assert_array_equal(column_scales(np.array([0.0, -1.0]), np.array([2, 1])), np.ones(3))


def test_a_network_fitted_to_scaled_features_takes_them_unscaled():
    X, y = rule_data(200, n_noise=2)
    X, y, ones = X.astype(np.float32), y.astype(np.int64), np.ones(200)
    scales = np.array([1, 0.5, 0.25, 2], np.float32)
    part = np.arange(150), np.arange(150, 200)

    def fitted(X, scales):
        member = MLPClassifier(
            (8,), learning_rate=CosineLog(), max_iter=5, early_stopping=True, n_iter_no_change=np.inf,
            tol=0.0, scoring="loss", random_state=0,
        )  # fmt: skip
        member.classes_, member._has_labels, member.n_outputs_ = np.arange(2), False, 1
        with progress_bar(total=5, unit="pass", shown=False, desc="fitting") as bar:
            TableFits((X, y, ones), None, CosineLog(), 1, None, 1, bar).run([member], [part], [scales])
        return member

    scaled, plain = fitted(X, scales), fitted(X * scales, None)
    np.testing.assert_allclose(scaled.predict_proba(X), plain.predict_proba(X * scales), rtol=1e-5)
    np.testing.assert_allclose(scaled.coefs_[0], plain.coefs_[0] * scales[:, None])


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

    monkeypatch.setattr(tabular_base, "mean_score", score)
    X, y = rule_data(200, n_noise=3)
    model = TabularClassifier(random_state=0, preset="good").fit(X, y)
    assert model.estimators_[:2] == groups[0 if is_better else 1]
    plain = TabularClassifier(random_state=0, preset="best").fit(X, y)
    assert np.array_equal(model.predict_proba(X), plain.predict_proba(X)) != is_better


@pytest.mark.parametrize("n_networks", [1, 2, 3])
def test_any_number_of_networks_can_be_fitted(n_networks):
    X, y = rule_data(200, n_noise=3)
    X_val, y_val = rule_data(80, n_noise=3, seed=2)
    for given in ({}, {"X_val": X_val, "y_val": y_val}):
        model = TabularClassifier(n_networks, random_state=0).fit(X, y, **given)
        assert len(model.estimators_) == n_networks
        again = TabularClassifier(n_networks, random_state=0, n_jobs=1).fit(X, y, **given)
        np.testing.assert_array_equal(model.predict_proba(X), again.predict_proba(X))


class Recorder:
    """Stand-in of `TableFits` that records the factors of the columns."""

    def __init__(self):
        self.scales = []

    def run(self, members, parts, scales):
        self.scales.append(scales)


@pytest.mark.parametrize(("n_pilots", "expected"), [(1, [0]), (2, [1, 0])])
def test_scales_come_from_rows_that_do_not_judge_the_network(n_pilots, expected, monkeypatch):
    importances = np.array([[4.0, 1.0, 0.0], [1.0, 4.0, 2.0]])[:n_pilots]
    order = iter(importances)
    monkeypatch.setattr(tabular_base, "mean_score", len)  # the rivals are more networks: they score better
    monkeypatch.setattr(TabularClassifier, "_estimated_importances", lambda *_: next(order))
    model, fits = TabularClassifier(), Recorder()
    model.columns_ = [{"features": 1}] * 3
    pilots, rivals = [object()] * n_pilots, [object()] * (n_pilots + 1)
    chosen, scales = model._chosen_pilots(fits, pilots, rivals, [None] * 5, (None, None, None))
    widths = np.ones(3, int)
    assert fits.scales[0] == [None] * n_pilots
    for found, k in zip(fits.scales[1], expected, strict=True):
        np.testing.assert_array_equal(found, column_scales(importances[k], widths))
    assert chosen is rivals
    np.testing.assert_array_equal(scales, column_scales(importances.mean(axis=0), widths))


def test_a_time_limit_ends_every_fit_after_a_pass():
    X, y = rule_data(2000)
    model = TabularClassifier(preset="good", time_limit=1e-9, random_state=0).fit(X, y)
    assert [member.n_iter_ for member in model.estimators_] == [1] * 5
