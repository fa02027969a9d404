"""Refused inputs: a table for each public call, with words of each message.

scikit-learn's checks test what any estimator refuses, `test_model_inputs.py` what networks refuse.
"""

import numpy as np
import pytest
import scipy.sparse as sp
from estimator_checks import parameters
from extras import optional, since
from problems import COUNTS, LABELS, NAMES, TARGETS, THEIRS, UNCONVERGED, WEIGHTS, X, classifier, regressor, y
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_param_validation

import fastnn
from fastnn import MLPClassifier, MLPEnsembleClassifier, MLPEnsembleRegressor, MLPRegressor, fit_many

pd = optional("pandas")

pytestmark = UNCONVERGED

NARROW = X.astype(np.float32)
MASKED = np.ma.masked_greater(X, 1)
ENSEMBLES = MLPEnsembleClassifier(MLPClassifier()), MLPEnsembleRegressor(MLPRegressor())


@pytest.mark.parametrize(
    "estimator", [MLPClassifier(), MLPRegressor(), *ENSEMBLES], ids=lambda e: type(e).__name__
)
def test_wrong_parameters_are_refused(estimator):
    check_param_validation(type(estimator).__name__, estimator)


def insert_gap(missing):
    """Return names of classes with a missing value in the second row."""
    labels = NAMES[y].astype(object)
    labels[1] = missing
    return labels


def fit(estimator, *data, **options):
    """Return a function that fits an estimator, whose parameters and data may differ from the usual ones."""
    return lambda: estimator().fit(*(data or (X, y)), **options)


def classifier_with(**options):
    return fit(lambda: classifier(**options))


def partial_fits(*calls):
    """Return a function that fits a classifier to several pairs of samples and labels in turn."""

    def run():
        model = classifier()
        for samples, labels, *classes in calls:
            model.partial_fit(samples, labels, classes=classes[0] if classes else None)

    return run


def stopping(**options):
    return classifier(early_stopping=True, **options)


LBFGS_LACKS = ({"dropout": 0.1}, {"ema_decay": 0.9}, {"max_grad_norm": 1.0}, {"weight_decay": 0.1})
FIT = [
    # Parameters that depend on each other or on the data.
    (classifier_with(hidden_layer_sizes=(3, 0)), "hidden_layer_sizes must be > 0, got"),
    (classifier_with(activation=["relu", "tanh"]), "one name for each hidden layer"),
    (classifier_with(dropout=[0.1]), "a list of 2"),
    (classifier_with(dropout=[1.0, 0.0]), r"dropout\[0\] must be"),
    (classifier_with(learning_rate=fastnn.CosineDecay), "call it, as in"),
    (classifier_with(solver=fastnn.optimizers.Optimizer()), "optimizer must be one of"),
    (classifier_with(weight_decay=0.1, solver=fastnn.RMSprop()), r"set it in RMSprop\("),
    (classifier_with(class_weight={0: -1.0}), "class_weight must hold finite numbers of at least 0"),
    (classifier_with(class_weight={0: "many"}), "class_weight must hold finite numbers of at least 0"),
    (classifier_with(class_weight={7: 1.0}), "not in class_weight"),
    (classifier_with(early_stopping=True, scoring=lambda *_: "a"), "scoring must give a number, got 'a'"),
    *(
        (classifier_with(solver="lbfgs", **option), f"{next(iter(option))} out or choose another solver")
        for option in LBFGS_LACKS
    ),
    (fit(lambda: regressor(loss=fastnn.SoftmaxCrossEntropy()), X, COUNTS), "is for classes: use MLPClass"),
    *(
        (fit(lambda sizes=sizes: MLPRegressor(sizes)), "first argument is the loss, .* write hidden_layer_s")
        for sizes in ((32,), [32], 32)
    ),
    (lambda: MLPRegressor.from_weights([np.ones(3)], [np.ones(1)]), "must be a list of arrays"),
    # Samples.
    *(
        (fit(make, table, y), f"(?s){words}.*fastnn.{name} takes tables with")
        for table, words in ((np.where(X > 1, np.nan, X), "NaN"), ([["a"] * 4] * 150, "could not convert"))
        for make, name in ((classifier, "TabularClassifier"), (regressor, "TabularRegressor"))
    ),
    (fit(classifier, MASKED, y), "X has masked values: fill them"),
    (fit(regressor, X, MASKED[:, 0]), "y has masked values: fill them"),
    (fit(classifier, X, y, MASKED[:, 0] ** 2), "sample_weight has masked values: fill them"),
    # Labels.
    (fit(classifier, X, np.column_stack([y, y])), "Multioutput target data is not supported"),
    # Targets.
    (fit(regressor, X, NAMES[y]), "must hold numbers"),
    (fit(regressor, NARROW, COUNTS * 1e200), "too large for float32"),
    (fit(lambda: regressor(loss="poisson"), X, -COUNTS - 1), "takes targets of at least 0"),
    # Weights.
    (fit(classifier, X, y, np.zeros(150)), "at least one non-zero|sample_weight is zero for every sample"),
    (fit(classifier, X, y, np.full(150, np.nan)), "Input sample_weight contains NaN"),
    (fit(classifier, X, y, -WEIGHTS), "weights are finite and at least 0"),
    (fit(classifier, X, y, np.full(150, 1e30)), "divide the weights by their mean"),
    (fit(classifier, X, y, [10**400] * 150), "sample_weight holds a number too large for a float"),
    # Validation data.
    (fit(classifier, X, y, y_val=y), "X_val and y_val go together"),
    (fit(classifier, X, y, X_val=X[:, :2], y_val=y), "X_val, y_val: X has 2 features, but MLPClass"),
    (fit(classifier, X, y, X_val=X, y_val=y + 1), "`y` has classes not in `self.classes_`"),
    (fit(classifier, X, y, X_val=X, y_val=LABELS), "not fitted with multilabel input"),
    (fit(classifier, NARROW, y, X_val=X * 1e200, y_val=y), "X holds values too large for float32"),
    (fit(classifier, X, NAMES[y], X_val=X, y_val=insert_gap(None)), "X_val, y_val: y holds text and None"),
    (fit(regressor, X, TARGETS, X_val=X, y_val=COUNTS), "y has 1 output, but the estimator was fitted with"),
    (fit(stopping, X[:2], [0, 0]), "The validation set is too small"),
    (fit(stopping, X, y, np.arange(150) == 0), "have the weight 0"),
    *(
        (fit(each, X[:40], np.arange(40) == 7), "The least populated class(es)? in y ha(s|ve) only 1 member")
        for each in (stopping, lambda: stopping(label_smoothing=0.3))
    ),
]

PARTIAL_FIT = [
    (lambda: stopping().partial_fit(X, y, classes=[0, 1, 2]), "partial_fit does not support early_stop"),
    (lambda: classifier(class_weight="balanced").partial_fit(X, y), "would balance the samples of each call"),
    (partial_fits((X, y)), "classes must be passed on the first call"),
    (partial_fits((X, y, [0, 1, 2]), (X, y, [0, 1])), "is not the same as on last call"),
    (partial_fits((X, y, [0, 1, 2]), (X, LABELS)), "not fitted with multilabel input"),
    (partial_fits((X, LABELS, range(8))), "mismatch with the labels"),
    (partial_fits((X, insert_gap(3), NAMES)), "y holds text and 3, but classes"),
    (partial_fits((NARROW, y, [0, 1, 2]), (X * 1e200, y)), "X holds values too large for float32"),
    *(
        (partial_fits((X, y, wrong)), "classes must hold labels of one kind, integers or text, got")
        for wrong in ([0, None], [[0], [1, 2]], [0, "a", None])
    ),
    # Kernels read a fixed number of targets per sample and check nothing: Python refuses other shapes.
    *(
        (partial_fits((X, LABELS, range(3)), (X, wrong)), "mismatch|not in `self.classes_`|multilabel input")
        for wrong in (LABELS[:, :2], np.column_stack([LABELS, LABELS]), y)
    ),
]


def ensemble(X=X, y=y, weights=None, method="seeds", validation=(None, None), **options):
    """Return a function that fits an ensemble."""
    settings = {"estimator": classifier(), "n_estimators": 2, "method": method, "n_jobs": 1}
    return lambda: MLPEnsembleClassifier(**settings | options).fit(X, y, weights, *validation)


ENSEMBLE = [
    (ensemble(n_jobs=0), "n_jobs must be None or an integer other than 0"),
    (ensemble(estimator=[]), "estimator is an empty list"),
    (ensemble(estimator=regressor()), "estimator must be a fastnn.MLPClassifier, got MLPRegressor"),
    (ensemble(estimator=[classifier(), 3]), r"estimator\[1\] must be a fastnn.MLPClassifier, got 3"),
    (ensemble(estimator=[THEIRS.MLPClassifier()]), r"estimator\[0\] .* got MLPClassifier\(\) of sklearn"),
    (ensemble(validation=(X[:, :1], y)), "X_val, y_val: X has 1 features"),
    (ensemble(method="snapshots", validation=(X, y)), "leave out X_val and y_val"),
    (ensemble(estimator=classifier(alpha=-1)), "The 'alpha' parameter"),
    *(
        (ensemble(method=each, estimator=[classifier()]), f"method='{each}' needs a single network")
        for each in ("snapshots", "average")
    ),
    *(
        (ensemble(method=each, estimator=classifier(solver=solver)), f"{each}.* needs a stochastic solver")
        for each in ("snapshots", "average")
        for solver in ("lbfgs", fastnn.LBFGS())
    ),
]


def predict(method, table):
    return lambda: getattr(classifier(max_iter=1).fit(NARROW, y), method)(table)


INFINITE = sp.csr_array((np.full(2, 1e308), [3, 3], [0, 2]), shape=(1, 4))  # the sum of two finite values
PREDICT = [
    (predict(method, table), message)
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function")
    for table, message in (
        (X[:, :3], "X has 3 features, but MLPClassifier is expecting 4 features as input"),
        (X * 1e200, "X holds values too large for float32"),
        (INFINITE, "X contains infinity"),
        (X.astype(str), "not compatible with arrays of bytes/strings"),
        (None, "array=None"),
    )
] + [
    (lambda: regressor().fit(X, COUNTS).predictor(1, "transform"), "must be"),
    (lambda: regressor().fit(X, COUNTS).predictor(1, "predict_proba"), "for 'predict'"),
    (lambda: regressor().predictor(), "not fitted yet"),
]


def many(*estimators, **options):
    return lambda: fit_many([classifier(), *estimators], X, y, **options)


SHARED = classifier()
FIT_MANY = [
    (many(SHARED, SHARED), "estimators holds the same object more than once: clone it"),
    (lambda: fit_many(3, X, y), "estimators must be a list of fastnn's estimators, got 3"),
    (many(THEIRS.MLPClassifier()), r"estimators\[1\] must be .*, got MLPClassifier\(\) of sklearn.neural"),
    (many(MLPClassifier), r"estimators\[1\] .*got <class 'fastnn.estimators.classifier.MLPClassifier'>"),
    *((many(n_jobs=wrong), "n_jobs must be None or an integer other") for wrong in (0, 1.5, "two", True)),
    (many(rng=-1), "rng must be None, an integer of at least 0 or a numpy.random.Gen"),
]


def from_search(n_estimators=2, results=None):
    """Return a function that makes an ensemble of a search, whose results may be replaced."""

    def make():
        search = GridSearchCV(classifier(max_iter=1), {"alpha": [1, 2]}, cv=2).fit(X, y)
        if results is not None:
            search.cv_results_, search.refit = results, False
        return MLPEnsembleClassifier.from_search(search, n_estimators)

    return make


FAILED = {"rank_test_score": [1], "mean_test_score": [np.nan], "params": [{}]}
FROM_SEARCH = [
    (lambda: MLPEnsembleClassifier.from_search(GridSearchCV(classifier(), {})), "not fitted yet"),
    *((from_search(wrong), "n_estimators must be an integer of at least 1") for wrong in (0, 1.5, "two")),
    (lambda: MLPEnsembleRegressor(from_search()().estimator).fit(X, y), r"must be a fastnn.MLPRegressor"),
    (from_search(results={"rank_test_a": [1]}), "set its refit to the name of one of them"),
    *(
        (lambda one=one: MLPEnsembleClassifier.from_search(GridSearchCV(one, {}, cv=2).fit(X, y)), message)
        for one in (make_pipeline(classifier(max_iter=1)), THEIRS.MLPClassifier(max_iter=1))
        for message in ["search must be over a fastnn.MLPClassifier, got (.|\n)* of sklearn"]
    ),
    (from_search(results=FAILED), "no candidate of the search has a score"),
]
REFUSED = [*FIT, *PARTIAL_FIT, *ENSEMBLE, *PREDICT, *FIT_MANY, *FROM_SEARCH]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_calls_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.needs("pandas")
def test_missing_values_of_pandas_integers_are_refused_as_nan():
    with pytest.raises(ValueError, match="Input y contains NaN"):
        regressor().fit(X, pd.array([1, None] * 75, "Int64"))


def test_a_refused_call_of_fit_many_changes_no_estimator():
    fresh = classifier(random_state=None)
    for others, options in (([3], {"rng": 0}), ([classifier()], {"n_jobs": 0}), ([], {"rng": -1})):
        with pytest.raises(ValueError, match="must be"):
            fit_many([fresh, *others], X, y, **options)
        assert fresh.random_state is None
        assert not hasattr(fresh, "coefs_")


@pytest.mark.parametrize("missing", [None, 3, pytest.param("NA", marks=pytest.mark.needs("pandas"))])
def test_classes_of_several_kinds_are_refused(missing):
    labels = insert_gap(pd.NA if missing == "NA" else missing)
    for model in (classifier(), MLPEnsembleClassifier(classifier(), 2), fastnn.TabularClassifier(1, "fast")):
        with pytest.raises(ValueError, match=r"y holds (text and (None|3|<NA>)|a missing value, leave out)"):
            model.fit(X, labels)


@pytest.mark.parametrize(("kind", "what"), [("M8[D]", "dates"), ("m8[s]", "durations")])
def test_times_are_not_numbers_for_a_regressor(kind, what):
    times = np.arange(len(X)).astype(kind)
    for validation, message in (({}, ""), ({"X_val": X, "y_val": times}, "X_val, y_val: ")):
        with pytest.raises(ValueError, match=f"{message}y holds {what}, but a regressor predicts numbers"):
            regressor().fit(X, TARGETS if validation else times, **validation)


# Parameters with which a fit fails late, and a part of the message.
LATE = {
    "activation": ({"activation": ["relu", "tanh", "relu"]}, "activation"),
    "an item of activation": ({"activation": ["relu", ["tanh"]]}, r"activation\[1\] must be one of"),
    "X_val": ({}, "^X_val, y_val: X has 2 features"),
    "dropout with lbfgs": ({"solver": "lbfgs", "dropout": 0.5}, "which dropout is not made for"),
    "fraction": ({"early_stopping": True, "validation_fraction": 1e-3}, "validation set|test_size"),
    "a factor of learning_rate": ({"learning_rate": lambda step: -1.0}, r"factor at step \d must be a"),
}


@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("wrong", LATE)
def test_a_fit_that_fails_leaves_the_earlier_fit(wrong, warm_start):
    other_X, other_y = X[:, :3].copy(), np.array(list("ab"))[y % 2]
    model = classifier(hidden_layer_sizes=(5, 4)).fit(X, y)
    before = model.predict_proba(X)
    options, message = LATE[wrong]
    model.set_params(warm_start=warm_start, **options)
    data = (X, y) if warm_start else (other_X, other_y)
    extra = {"X_val": data[0][:, :2], "y_val": data[1]} if wrong == "X_val" else {}
    new = classifier(**options)
    for each in (model, new):
        with pytest.raises(ValueError, match=message):
            each.fit(*data, **extra)
    assert model.n_features_in_ == 4
    np.testing.assert_array_equal(model.predict_proba(X.tolist()), before)
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    with pytest.raises(NotFittedError):
        new.predict(X)


DENSE = np.eye(50, 40)
OTHERS = np.arange(50) % 2


def replace(table, **arrays):
    """Replace arrays of a sparse table, unchecked, and return the table."""
    for name, array in arrays.items():
        setattr(table, name, array)
    return table


def edit(table, name, place, value):
    """Replace one value of an array of a sparse table, unchecked, and return the table."""
    getattr(table, name)[place] = value
    return table


def empty_by_its_last_pointer():
    """Return a malformed CSR table that SciPy's `check_format` accepts as an empty one."""
    table = sp.csr_matrix(DENSE)
    table.indptr[1:-1] = 2**30
    table.indptr[-1] = 0
    return table


def csr(**arrays):
    return replace(sp.csr_array(DENSE), **arrays)


def bsr(**arrays):
    return replace(sp.bsr_array(DENSE, blocksize=(5, 4)), **arrays)


def dok(key):
    return replace(sp.dok_array((50, 40)), _dict={key: 1.0})


# A malformed table, and words of the message that it causes.
MALFORMED = [
    (empty_by_its_last_pointer(), "CSR.* indptr falls from 1073741824 at place 49 to 0"),
    (edit(csr(), "indptr", 0, 1), "indptr must start with 0, got 1"),
    (edit(csr(), "indptr", -1, 41), "ends with 41, but there are 40"),
    (csr(indptr=np.zeros(50, int)), "must have 51"),
    (csr(data=np.ones(39)), "40 values, but data has 39"),
    (csr(data=np.full(40, None)), "numbers, got .*object"),
    (edit(csr(), "indices", 7, 40), "40 at place 7, but there are 40"),
    (csr(indices=np.zeros(40)), "got dtype float64"),
    (csr(indptr=[0] * 51), "indptr must be .* got a list"),
    (edit(sp.csc_matrix(DENSE), "indices", 7, 10**6), "CSC .*there are 50 rows"),
    (edit(sp.coo_array(DENSE), "col", 3, -2), r"COO .*coords\[1\] holds -2"),
    (replace(sp.coo_array(DENSE), data=np.ones(3)), "40 values, but data has 3"),
    (edit(bsr(), "indices", 3, 10), "BSR .*10 at place 3"),
    (bsr(data=np.ones((10, 3, 4))), "BSR .*blocks of 3 x 4"),
    (edit(sp.lil_array(DENSE), "rows", 3, [40]), "LIL .*rows holds 40"),
    (edit(sp.lil_array(DENSE), "data", 3, [1.0] * 99), "LIL .*row 3 has 1 columns, but 99 values"),
    (edit(sp.lil_array(DENSE), "rows", 3, 7), "LIL .*not a list"),
    (edit(sp.lil_array(DENSE), "rows", 3, ["a"]), "LIL .*must hold integers"),
    (replace(sp.lil_array(DENSE), rows=[[]] * 50), "LIL .*rows must be an array of 50 lists"),
    (dok((1, "a")), "DOK"),
    (replace(sp.dia_array(DENSE), offsets=np.zeros(2, int)), "DIA .*offsets has 2"),
    (replace(sp.dia_array(DENSE), data=np.ones(40)), "DIA .*of 2 dimensions"),
]


@pytest.mark.parametrize(("table", "message"), MALFORMED, ids=[message for _, message in MALFORMED])
def test_malformed_sparse_tables_are_refused_with_the_reason(table, message):
    with pytest.raises(ValueError, match=f"(?s)X_val, y_val: X is not a valid .*{message}"):
        classifier().fit(DENSE, OTHERS, X_val=table, y_val=OTHERS)


@since("scipy", "1.15")
def test_sparse_tables_of_other_dimensions():
    for table, message in (
        (sp.csr_array((1, 2**31)), "X has 2147483648 columns, but a sparse table may have 2147483647"),
        (np.ones((2, 3, 4)), r"X must have two dimensions .* got shape \(2, 3, 4\)"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier().fit(sp.coo_array(table), OTHERS)
    labels = sp.coo_array(y)  # a vector
    expected = classifier(max_iter=1).fit(X, y)
    np.testing.assert_array_equal(parameters(classifier(max_iter=1).fit(X, labels)), parameters(expected))
    labels.coords[0][1] = 150
    with pytest.raises(ValueError, match="y is not a valid COO table"):
        classifier().fit(X, labels)


def make_fitted():
    """Return a classifier, a regressor, and an ensemble of each, all fitted."""
    one, other = classifier(max_iter=1), regressor(max_iter=1)
    models = one, other, MLPEnsembleClassifier(one, 2), MLPEnsembleRegressor(other, 2)
    return [model.fit(DENSE, OTHERS) for model in models]


def test_every_method_checks_sparse_tables_and_labels():
    wrong = empty_by_its_last_pointer()
    predictions = ("predict", "predict_proba", "predict_log_proba", "decision_function")
    for model in make_fitted():
        before = dict(vars(model))
        calls = [(getattr(model, name), (wrong,)) for name in predictions if hasattr(model, name)]
        fits = [name for name in ("score", "partial_fit", "fit") if hasattr(model, name)]
        calls += [(getattr(model, name), (wrong, OTHERS)) for name in fits]
        if not hasattr(model, "estimators_"):
            calls.append((fit_many, ([model], wrong, OTHERS)))
        for call, arguments in calls:
            with pytest.raises(ValueError, match="X is not a valid CSR"):
                call(*arguments)
        assert vars(model) == before
        for name in ("fit", "score") if hasattr(model, "classes_") else ("fit",):
            with pytest.raises(ValueError, match="y is not a valid CSR"):
                getattr(model, name)(DENSE, wrong)


def test_a_refused_first_partial_fit_is_not_the_first():
    new, wrong = classifier(), empty_by_its_last_pointer()
    for labels, classes in ((wrong, np.arange(40)), (OTHERS[:3], [0, 1])):
        with pytest.raises(ValueError, match="y is not a valid CSR|inconsistent numbers of samples"):
            new.partial_fit(DENSE, labels, classes=classes)
    assert not hasattr(new, "classes_")
