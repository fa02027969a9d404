"""Samples, targets and weights of every kind that estimators accept or refuse."""

import copy

import joblib
import numpy as np
import pytest
import scipy.sparse
import sklearn
import sklearn.neural_network
from estimator_checks import parameters
from estimator_problems import (
    COUNTS,
    LABELS,
    NAMES,
    TARGETS,
    UNCONVERGED,
    WEIGHTS,
    X,
    assert_equal_to_theirs,
    assert_same_fit,
    classifier,
    regressor,
    y,
)
from extras import optional
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import fastnn

pd = optional("pandas")

pytestmark = UNCONVERGED


REGRESSION_LOSSES = ("squared_error", "absolute_error", "huber", "quantile", "poisson")


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
@pytest.mark.parametrize("loss", [*REGRESSION_LOSSES, "softmax", "sigmoid", "labels"])
def test_a_sample_weight_equals_repeated_samples(loss, solver):
    """In a single batch, a weight of k equals k copies of the sample; weight 0 removes the sample."""
    options = {
        "solver": solver, "max_iter": 12, "alpha": 0.5, "activation": "tanh", "batch_size": 150,
        "learning_rate_init": 0.1,
    }  # fmt: skip
    if loss in REGRESSION_LOSSES:
        model, targets = regressor(loss=loss, quantile=0.3, **options), COUNTS
    else:
        model = classifier(**options)
        targets = {"softmax": y, "sigmoid": y == 1, "labels": LABELS}[loss]
    repeated = clone(model).set_params(batch_size=WEIGHTS.sum())
    repeated.fit(X.repeat(WEIGHTS, axis=0), targets.repeat(WEIGHTS, axis=0))
    model.fit(X, targets, sample_weight=WEIGHTS)
    # Where a loss has kinks, a rounding error can change the path of the line search: compare loosely.
    smooth = solver == "sgd" or loss not in ("absolute_error", "quantile")
    np.testing.assert_allclose(parameters(model), parameters(repeated), atol=1e-7 if smooth else 1e-3)
    np.testing.assert_allclose(model.loss_, repeated.loss_, rtol=1e-7 if smooth else 1e-3)


@pytest.mark.parametrize("targets", [y, np.where(y == 1, "b", "a")], ids=["three", "two"])
@pytest.mark.parametrize("class_weight", ["balanced", "dict"])
def test_class_weights_are_sample_weights(targets, class_weight):
    classes, indices, counts = np.unique(targets, return_inverse=True, return_counts=True)
    factors = len(targets) / (len(classes) * counts) if class_weight == "balanced" else [2.0, 0.5, 1.0]
    if class_weight == "dict":
        class_weight = {classes[0]: 2.0, classes[1]: 0.5}
    options = {"batch_size": 40}
    one = classifier(class_weight=class_weight, **options).fit(X, targets, WEIGHTS)
    other = classifier(**options).fit(X, targets, WEIGHTS * np.asarray(factors)[indices])
    np.testing.assert_allclose(parameters(one), parameters(other), rtol=1e-12)


def test_class_weights_may_leave_out_classes():
    model = classifier(class_weight={0: 2.0, 1: 3.0})
    model.partial_fit(X[y == 2], y[y == 2], classes=[0, 1, 2]).partial_fit(X[y == 1], y[y == 1])
    other = classifier().partial_fit(X[y == 2], y[y == 2], classes=[0, 1, 2])
    other.partial_fit(X[y == 1], y[y == 1], sample_weight=3.0)
    np.testing.assert_allclose(parameters(model), parameters(other), rtol=1e-12)
    classifier(class_weight="balanced").fit(X, LABELS)
    with pytest.raises(ValueError, match="class_weight must hold finite numbers of at least 0"):
        classifier(class_weight={0: -1.0}).fit(X, y)
    with pytest.raises(ValueError, match="not in class_weight"):
        classifier(class_weight={7: 1.0}).fit(X, y)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (WEIGHTS[:5], r"sample_weight.shape == \(5,\), expected \(150,\)!"),
        (WEIGHTS[:, None], "Sample weights must be 1D array or scalar"),
        (
            np.zeros(150),
            "Sample weights must contain at least one non-zero|sample_weight is zero for every sample",
        ),
        (np.full(150, np.nan), "Input sample_weight contains NaN"),
        (-WEIGHTS, "weights are finite and at least 0"),
        (np.full(150, 1e30), "divide the weights by their mean"),
        ("many", "could not convert string to float"),
    ],
    ids=["short", "table", "zeros", "nan", "negative", "huge", "text"],
)
def test_wrong_sample_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        classifier().fit(X, y, sample_weight=weights)


@pytest.mark.needs("pandas")
def test_sample_weights_may_be_lists_or_series_or_one_number():
    expected = parameters(regressor().fit(X, COUNTS, WEIGHTS))
    import pandas as pd

    for weights in (WEIGHTS.tolist(), WEIGHTS.astype(np.float32), pd.Series(WEIGHTS), WEIGHTS.astype("u1")):
        np.testing.assert_array_equal(parameters(regressor().fit(X, COUNTS, weights)), expected)
    plain = parameters(regressor(alpha=0).fit(X, COUNTS))
    np.testing.assert_allclose(parameters(regressor(alpha=0).fit(X, COUNTS, 2.0)), plain, rtol=1e-9)
    assert np.isfinite(parameters(regressor(batch_size=1).fit(X, COUNTS, np.eye(150)[3]))).all()


@pytest.mark.parametrize("kind", [bool, np.int8, np.uint64, float, str, "S1", object, "M8[D]"], ids=str)
@pytest.mark.filterwarnings("ignore:Support for labels represented as bytes:FutureWarning")  # up to 1.7
def test_labels_of_every_dtype_are_treated_as_by_scikit_learn(kind):
    """fastnn accepts the kinds of labels that scikit-learn's classifier accepts, and refuses the others."""
    labels = NAMES[y].astype(object) if kind is object else (y % 2).astype("i8").astype(kind)
    fitted = []
    for estimator in (sklearn.neural_network.MLPClassifier(max_iter=5, random_state=0), classifier()):
        try:
            fitted.append(estimator.set_params(hidden_layer_sizes=(7,)).fit(X, labels))
        except (TypeError, ValueError) as error:
            fitted.append(type(error))
    theirs, ours = fitted
    if isinstance(theirs, type):
        assert ours is theirs
        return
    assert_equal_to_theirs(theirs, ours)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.predict(X).dtype == theirs.predict(X).dtype


@pytest.mark.parametrize("label", [3, True, "only", 2.0])
def test_a_single_class_is_always_predicted(label):
    labels = np.full(20, label)
    model = classifier(early_stopping=True).fit(X[:20], labels)
    np.testing.assert_array_equal(model.predict(X), np.full(150, label))
    assert model.predict(X).dtype == labels.dtype
    np.testing.assert_array_equal(model.predict_proba(X), np.ones((150, 1)))
    np.testing.assert_array_equal(model.predict_log_proba(X), np.zeros((150, 1)))
    assert model.decision_function(X).shape == (150,)
    assert model.score(X[:20], labels) == 1


def test_unsuitable_labels_are_refused():
    for labels, message in (
        (y + 0.5, "Unknown label type"),
        (np.column_stack([y, y]), "Multioutput target data is not supported with label binarization"),
        (np.where(y == 0, np.nan, y), "Input y contains NaN"),
        (y[:7], "inconsistent numbers of samples"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier().fit(X, labels)
    with pytest.warns(sklearn.exceptions.DataConversionWarning, match="A column-vector y was passed"):
        classifier().fit(X, y[:, None])


def with_gaps(missing):
    """Return names of classes with a missing value in the second row."""
    labels = NAMES[y].astype(object)
    labels[1] = missing
    return labels


@pytest.mark.parametrize("missing", [None, 3, pytest.param("NA", marks=pytest.mark.needs("pandas"))])
def test_classes_of_several_kinds_are_refused(missing):
    labels = with_gaps(pd.NA if missing == "NA" else missing)
    ensemble = fastnn.MLPEnsembleClassifier(classifier(), 2)
    for model in (classifier(), ensemble, fastnn.TabularClassifier(1, "fast")):
        with pytest.raises(
            ValueError, match=r"y holds (text and (None|3|<NA>)|a missing value, leave out its row)"
        ):
            model.fit(X, labels)
    with pytest.raises(ValueError, match=r"y holds text and (None|3|<NA>), but classes"):
        classifier().partial_fit(X, labels, classes=np.unique(NAMES))
    with pytest.raises(ValueError, match=r"X_val, y_val: y holds text and (None|3|<NA>), but classes"):
        classifier().fit(X, NAMES[y], X_val=X, y_val=labels)


def test_labels_must_have_the_kind_of_the_earlier_fit():
    """Kernels read a fixed number of targets per sample and check nothing: Python refuses other shapes."""
    labels = classifier().fit(X, LABELS)
    for wrong in (LABELS[:, :2], np.column_stack([LABELS, LABELS]), y):
        with pytest.raises(ValueError, match=r"mismatch|not in `self.classes_`|multilabel input"):
            labels.partial_fit(X, wrong)
        with pytest.raises(ValueError, match=r"mismatch|not in `self.classes_`|multilabel input"):
            classifier().fit(X, LABELS, X_val=X, y_val=wrong)
    with pytest.raises(ValueError, match="mismatch with the labels"):
        classifier().partial_fit(X, LABELS, classes=range(8))
    with pytest.raises(ValueError, match="not fitted with multilabel input"):
        classifier().fit(X, y).partial_fit(X, LABELS)
    with pytest.raises(ValueError, match="not fitted with multilabel input"):
        classifier().fit(X, y, X_val=X, y_val=LABELS)
    with pytest.raises(ValueError, match="`y` has classes not in `self.classes_`"):
        classifier().fit(X, y, X_val=X, y_val=y + 1)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        classifier().partial_fit(X, y)
    with pytest.raises(ValueError, match="is not the same as on last call"):
        classifier().partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y, classes=[0, 1])


def test_classes_may_first_occur_in_a_later_partial_fit():
    model = classifier(learning_rate_init=0.02)
    model.partial_fit(X[:50], NAMES[y[:50]], classes=NAMES[[2, 0, 1]])
    np.testing.assert_array_equal(model.classes_, NAMES)
    assert model.predict_proba(X).shape == (150, 3)
    for _ in range(200):
        model.partial_fit(X, NAMES[y])
    assert model.score(X, NAMES[y]) > 0.9


SPARSE = [
    scipy.sparse.csr_matrix, scipy.sparse.csc_matrix, scipy.sparse.coo_matrix, scipy.sparse.csr_array,
    scipy.sparse.csc_array,
]  # fmt: skip


@pytest.mark.parametrize("container", SPARSE)
def test_sparse_tables_are_fitted_as_dense_ones(container):
    dense = classifier(early_stopping=True).fit(X, LABELS)
    model = classifier(early_stopping=True).fit(container(X), container(LABELS))
    assert_same_fit(dense, model)
    theirs = sklearn.neural_network.MLPClassifier(max_iter=1).fit(container(X), container(LABELS))
    predicted = model.predict(container(X))
    assert type(predicted) is type(theirs.predict(container(X)))
    np.testing.assert_array_equal(predicted.toarray(), dense.predict(X))
    np.testing.assert_array_equal(model.predict_proba(container(X)), dense.predict_proba(X))
    assert model.score(container(X), container(LABELS)) == dense.score(X, LABELS)
    assert_same_fit(
        regressor().fit(container(X), COUNTS, X_val=container(X), y_val=COUNTS),
        regressor().fit(X, COUNTS, X_val=X, y_val=COUNTS),
    )


@pytest.mark.parametrize(
    "view",
    [
        np.asfortranarray,
        lambda X: np.repeat(X, 2, axis=0)[::2],
        lambda X: np.repeat(X, 3, axis=1)[:, ::3],
        lambda X: X[::-1].copy()[::-1],
        lambda X: X.astype(">f8"),
        lambda X: X.astype(np.longdouble),
        lambda X: X.astype(object),
        lambda X: X.tolist(),
        lambda X: np.frombuffer(b"." + X.tobytes(), np.uint8)[1:].view(X.dtype).reshape(X.shape),
    ],
    ids=[
        "Fortran order",
        "second rows",
        "third columns",
        "negative strides",
        "big-endian",
        "long double",
        "objects",
        "list",
        "unaligned",
    ],
)
def test_memory_layout_and_number_type_of_a_table_do_not_matter(view):
    table = view(X)
    expected = classifier(batch_size=40).fit(X, y)
    model = classifier(batch_size=40).fit(table, y)
    assert_same_fit(expected, model)
    np.testing.assert_array_equal(model.predict_proba(table), expected.predict_proba(X))
    np.testing.assert_array_equal(model.predict(table), expected.predict(X))


@pytest.mark.parametrize("dtype", ["f2", "i1", "u8", "?"])
def test_narrow_numbers_are_fitted_as_float64(dtype):
    table = (np.abs(X) * 10).astype(dtype)
    assert_same_fit(regressor().fit(table, COUNTS), regressor().fit(table.astype(float), COUNTS))
    assert regressor().fit(table, COUNTS).coefs_[0].dtype == np.float64


def test_unsuitable_tables_and_targets_are_refused():
    for table, message in (
        (X[:, 0], "Expected 2D array, got 1D array"),
        (X[:, :, None], "Found array with dim 3"),
        (X[:0], "Found array with 0 sample"),
        (X[:, :0], "Found array with 0 feature"),
        (np.where(X > 2, np.nan, X), "Input X contains NaN"),
        (np.where(X > 2, np.inf, X), "Input X contains infinity"),
        (X + 1j, "Complex data not supported"),
        (np.full(X.shape, "text"), "could not convert string to float"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier().fit(table, y[: len(table)])
    model = classifier().fit(X, y)
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        for table, message in (
            (X[:, :3], "X has 3 features, but MLPClassifier is expecting 4 features as input"),
            (X[0], "Expected 2D array, got 1D array"),
            (X[:0], "Found array with 0 sample"),
            (np.where(X > 2, np.nan, X), "Input X contains NaN"),
        ):
            with pytest.raises(ValueError, match=message):
                getattr(model, method)(table)
        with pytest.raises(NotFittedError, match="This MLPClassifier instance is not fitted yet"):
            getattr(classifier(), method)(X)
    with pytest.raises(NotFittedError):
        regressor().score(X, y)
    for targets, message in (
        (NAMES[y], "must hold numbers"),
        (np.where(y == 0, np.inf, y), "Input y contains infinity"),
        (y + 1j, "Complex data not supported"),
        (np.zeros((150, 2, 2)), "dim 3"),
        (None, "requires y to be passed"),
    ):
        with pytest.raises(ValueError, match=message):
            regressor().fit(X, targets)
    with pytest.raises(ValueError, match="this loss takes targets of at least 0"):
        regressor(loss="poisson").fit(X, -COUNTS)


def test_float32_networks_refuse_numbers_too_large_for_float32():
    model = classifier().fit(X.astype(np.float32), y)
    for use in (
        lambda table: model.predict(table),
        lambda table: model.partial_fit(table, y),
        lambda table: classifier().fit(X.astype(np.float32), y, X_val=table, y_val=y),
    ):
        with pytest.raises(ValueError, match="X holds values too large for float32"):
            use(X * 1e200)
    assert model.partial_fit(X, y).coefs_[0].dtype == np.float32
    with pytest.raises(ValueError, match="too large for float32"):
        regressor().fit(X.astype(np.float32), COUNTS * 1e200)


def test_a_single_sample_can_be_fitted():
    assert classifier().fit(X[:1], y[:1]).predict(X[:1]).tolist() == [0]
    assert regressor().fit(X[:1], TARGETS[:1]).predict(X[:1]).shape == (1, 3)
    model = classifier(batch_norm=True).partial_fit(X[:1], y[:1], classes=[0, 1, 2])
    assert np.isfinite(model.predict_proba(X)).all()
    with pytest.raises(ValueError, match="The validation set is too small"):
        classifier(early_stopping=True).fit(X[:2], [0, 0])


def test_held_out_samples_are_stratified_and_need_weight():
    """Early stopping holds out samples of every class, whatever the label smoothing, and of some weight."""
    for smoothing in (0.0, 0.3):
        model = classifier(early_stopping=True, label_smoothing=smoothing)
        with pytest.raises(ValueError, match=r"The least populated class(es)? in y ha(s|ve) only 1 member"):
            model.fit(X[:40], np.arange(40) == 7)
    with pytest.raises(ValueError, match="have the weight 0"):
        classifier(early_stopping=True).fit(X, y, sample_weight=np.arange(150) == 0)


def test_memory_maps_are_fitted_as_other_arrays(tmp_path):
    """Read-only tables and estimators with read-only parameters give the usual results."""
    for name, array in (("X", X), ("y", y)):
        np.save(tmp_path / f"{name}.npy", array)
    mapped, mapped_y = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "Xy")
    options = {"batch_size": 40, "early_stopping": True, "ema_decay": 0.9, "batch_norm": True}
    model = classifier(**options).fit(X, y)
    assert_same_fit(model, classifier(**options).fit(mapped, mapped_y))
    joblib.dump(model, tmp_path / "model.joblib")
    for mmap_mode in ("r", "c", None):
        loaded = joblib.load(tmp_path / "model.joblib", mmap_mode=mmap_mode)
        assert_same_fit(model, loaded)
        np.testing.assert_array_equal(loaded.predict(mapped), model.predict(X))
        np.testing.assert_array_equal(loaded.predict_proba(mapped), model.predict_proba(X))
        continued = copy.deepcopy(model).set_params(warm_start=True).fit(X, y)
        assert_same_fit(continued, loaded.set_params(warm_start=True).fit(mapped, mapped_y))
        loaded.set_params(early_stopping=False).partial_fit(mapped, mapped_y)


@pytest.mark.needs("pandas")
def test_data_frames_are_fitted_as_their_arrays():
    import pandas as pd

    frame = pd.DataFrame(X, columns=list("abcd"))
    for options in ({}, {"early_stopping": True}, {"early_stopping": True, "scoring": "accuracy"}):
        model = classifier(**options).fit(frame, pd.Series(NAMES[y]), X_val=frame, y_val=NAMES[y])
        assert_same_fit(model, classifier(**options).fit(X, NAMES[y], X_val=X, y_val=NAMES[y]))
        np.testing.assert_array_equal(model.feature_names_in_, list("abcd"))
        np.testing.assert_array_equal(model.predict(frame), model.model_.predict(X).astype(int).choose(NAMES))
        model.set_params(early_stopping=False).partial_fit(frame, NAMES[y])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.predict(X)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[list("dcba")])
    model = classifier().fit(X, y)
    assert not hasattr(model, "feature_names_in_")
    with pytest.warns(UserWarning, match="X has feature names, but MLPClassifier was fitted without"):
        model.predict(frame)
    assert classifier().fit(frame.astype(np.float32), y).coefs_[0].dtype == np.float32
    assert not hasattr(model.fit(frame, y).fit(X, y), "feature_names_in_")
    assert regressor().fit(frame, pd.DataFrame(TARGETS)).predict(frame).shape == (150, 3)
    for labels in (pd.Series(y, dtype="category"), pd.Series(y, dtype="Int64"), pd.Series(y == 0)):
        assert set(classifier().fit(frame, labels).predict(frame)) <= set(labels)


@pytest.mark.needs("pandas")
def test_times_with_a_zone_are_no_numbers_for_a_regressor():
    times = pd.Series(pd.date_range("2024-01-01", periods=len(X), tz="Europe/Berlin"))
    with pytest.raises(ValueError, match="y holds dates, but a regressor predicts numbers"):
        regressor().fit(X, times)


@pytest.mark.parametrize(("kind", "what"), [("datetime64[D]", "dates"), ("timedelta64[s]", "durations")])
def test_times_are_no_numbers_for_a_regressor(kind, what):
    times = np.arange(len(X)).astype(kind)
    for model in (regressor(), regressor(solver="lbfgs")):
        with pytest.raises(ValueError, match=f"y holds {what}, but a regressor predicts numbers"):
            model.fit(X, times)
    with pytest.raises(ValueError, match=f"X_val, y_val: y holds {what}"):
        regressor().fit(X, TARGETS, X_val=X, y_val=times)
