"""Samples, targets and weights of every kind that estimators accept or refuse."""

import numpy as np
import pytest
import scipy.sparse
from estimator_checks import parameters
from fit_checks import assert_equal_to_theirs, assert_same_fit
from problems import COUNTS, LABELS, NAMES, TARGETS, THEIRS, UNCONVERGED, WEIGHTS, X, classifier, regressor, y
from sklearn.base import clone

from fastnn.losses import REGRESSION_LOSSES

pytestmark = UNCONVERGED


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
@pytest.mark.parametrize("loss", [*REGRESSION_LOSSES, "softmax", "sigmoid", "labels"])
def test_a_sample_weight_equals_repeated_samples(loss, solver):
    """In a single batch, a weight of k equals k copies of the sample; weight 0 removes the sample."""
    options = {"solver": solver, "max_iter": 12, "alpha": 0.5, "activation": "tanh", "batch_size": 150}
    options |= {"learning_rate_init": 0.1}
    is_regression = loss in REGRESSION_LOSSES
    model = regressor(loss=loss, quantile=0.3, **options) if is_regression else classifier(**options)
    targets = {"softmax": y, "sigmoid": y == 1, "labels": LABELS}.get(loss, COUNTS)
    repeated = clone(model).set_params(batch_size=WEIGHTS.sum())
    repeated.fit(X.repeat(WEIGHTS, axis=0), targets.repeat(WEIGHTS, axis=0))
    model.fit(X, targets, sample_weight=WEIGHTS)
    # Where a loss has kinks, a rounding error can change the path of the line search: compare loosely.
    tolerance = 1e-7 if solver == "sgd" or loss not in ("absolute_error", "quantile") else 1e-3
    np.testing.assert_allclose(parameters(model), parameters(repeated), atol=tolerance)
    np.testing.assert_allclose(model.loss_, repeated.loss_, rtol=tolerance)


@pytest.mark.parametrize("targets", [y, np.where(y == 1, "b", "a")], ids=["three", "two"])
@pytest.mark.parametrize("class_weight", ["balanced", "dict"])
def test_class_weights_are_sample_weights(targets, class_weight):
    classes, indices, counts = np.unique(targets, return_inverse=True, return_counts=True)
    factors = len(targets) / (len(classes) * counts) if class_weight == "balanced" else [2.0, 0.5, 1.0]
    if class_weight == "dict":
        class_weight = {classes[0]: 2.0, classes[1]: 0.5}
    one = classifier(class_weight=class_weight, batch_size=40).fit(X, targets, WEIGHTS)
    other = classifier(batch_size=40).fit(X, targets, WEIGHTS * np.asarray(factors)[indices])
    np.testing.assert_allclose(parameters(one), parameters(other), rtol=1e-12)
    classifier(class_weight="balanced").fit(X, LABELS)


def test_sample_weights_may_be_integers_or_one_number():
    expected = regressor().fit(X, COUNTS, WEIGHTS.astype(float))
    assert_same_fit(regressor().fit(X, COUNTS, WEIGHTS.astype("u1")), expected)
    plain = parameters(regressor(alpha=0).fit(X, COUNTS))
    np.testing.assert_allclose(parameters(regressor(alpha=0).fit(X, COUNTS, 2.0)), plain, rtol=1e-9)
    assert np.isfinite(parameters(regressor(batch_size=1).fit(X, COUNTS, np.eye(150)[3]))).all()


@pytest.mark.parametrize("kind", [bool, np.int8, "u8", float, str, "S1", object, "M8[D]", ">i4"], ids=str)
@pytest.mark.filterwarnings("ignore:Support for labels represented as bytes:FutureWarning")  # up to 1.7
def test_labels_of_every_dtype_are_treated_as_by_scikit_learn(kind):
    """fastnn accepts the kinds of labels that scikit-learn's classifier accepts, and refuses the others."""
    labels = NAMES[y].astype(object) if kind is object else (y % 2).astype("i8").astype(kind)
    found = []
    for model in (classifier(THEIRS), classifier()):
        try:
            found.append(model.fit(X, labels))
        except (TypeError, ValueError) as error:
            found.append(type(error))
    theirs, ours = found
    if isinstance(theirs, type):
        assert ours is theirs
        return
    assert_equal_to_theirs(theirs, ours)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.predict(X).dtype == theirs.predict(X).dtype


@pytest.mark.parametrize("name", ["csr_matrix", "csc_matrix", "coo_matrix", "csr_array", "csc_array"])
def test_sparse_tables_are_fitted_as_dense_ones(name):
    container = getattr(scipy.sparse, name)
    table, labels = container(X), container(LABELS)
    dense = classifier(early_stopping=True).fit(X, LABELS, X_val=X, y_val=LABELS)
    model = classifier(early_stopping=True).fit(table, labels, X_val=table, y_val=labels)
    assert_same_fit(dense, model)
    predicted = model.predict(table)
    assert type(predicted) is type(classifier(THEIRS).fit(table, labels).predict(table))
    np.testing.assert_array_equal(predicted.toarray(), dense.predict(X))
    assert model.score(table, labels) == dense.score(X, LABELS)


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "lil", "dok", "dia"])
@pytest.mark.parametrize(("index", "dtype"), [("i4", "f8"), ("i8", "f4"), (">i8", "i1"), ("i4", "?")])
def test_sparse_tables_of_any_form_predict_as_dense_ones(kind, index, dtype):
    """The table has unsorted and duplicate columns, explicit zeros and unused values at the end."""
    random = np.random.default_rng(0)
    values, columns = random.normal(size=60), random.integers(0, 50, 60)
    values[::7] = 0
    starts = np.concatenate([[0], np.sort(random.integers(0, 50, 11)), [50]])
    table = scipy.sparse.csr_array((values, columns, starts), shape=(12, 50)).astype(dtype).asformat(kind)
    if kind in ("csr", "csc", "bsr"):
        table.indices, table.indptr = table.indices.astype(index), table.indptr.astype(index)
    before = table.copy()
    model, dense = (regressor(max_iter=1).fit(each, np.arange(12.0)) for each in (table, table.toarray()))
    np.testing.assert_allclose(parameters(model), parameters(dense), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.predict(table), model.predict(table.toarray()), rtol=1e-5, atol=1e-6)
    assert (table != before).nnz == 0
    assert table.nnz == before.nnz


def test_a_single_sample_can_be_fitted_and_two_can_validate():
    assert classifier(early_stopping=True).fit(X[:20], y[:20]).validation_scores_[-1] == 1
    assert classifier().fit(X[:1], y[:1]).predict(X[:1]).tolist() == [0]
    assert regressor().fit(X[:1], TARGETS[:1]).predict(X[:1]).shape == (1, 3)
    model = classifier(batch_norm=True).partial_fit(X[:1], y[:1], classes=[0, 1, 2])
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.needs("pandas")
def test_data_frames_are_fitted_as_their_arrays():
    import pandas as pd

    frame = pd.DataFrame(X, columns=list("abcd"))
    for options in ({}, {"early_stopping": True}, {"early_stopping": True, "scoring": "accuracy"}):
        model = classifier(**options).fit(frame, pd.Series(NAMES[y]), X_val=frame, y_val=NAMES[y])
        assert_same_fit(model, classifier(**options).fit(X, NAMES[y], X_val=X, y_val=NAMES[y]))
        model.set_params(early_stopping=False).partial_fit(frame, NAMES[y])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.predict(X)
    assert not hasattr(model.fit(X, y), "feature_names_in_")
    assert classifier().fit(frame.astype(np.float32), y).coefs_[0].dtype == np.float32
    assert regressor().fit(frame, pd.DataFrame(TARGETS)).predict(frame).shape == (150, 3)
    for labels in (pd.Series(y, dtype="category"), pd.Series(y, dtype="Int64"), pd.Series(y == 0)):
        assert set(classifier().fit(frame, labels).predict(frame)) <= set(labels)
