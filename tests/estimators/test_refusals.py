"""Refused inputs of estimators, of ensembles and of `fit_many`, with words of each message.

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
PREDICTIONS = "predict", "predict_proba", "predict_log_proba", "decision_function"
MASKED = np.ma.masked_greater(X, 1)
ENSEMBLES = MLPEnsembleClassifier(MLPClassifier()), MLPEnsembleRegressor(MLPRegressor())


@pytest.mark.parametrize("estimator", [MLPClassifier(), MLPRegressor(), *ENSEMBLES], ids=type)
def test_wrong_parameters_are_refused(estimator):
    check_param_validation(type(estimator).__name__, estimator)


def insert_gap(missing):
    """Return names of classes with a missing value in the second row."""
    labels = NAMES[y].astype(object)
    labels[1] = missing
    return labels


def each_refused(names, cases):
    """Return the mark of a test that gets each case, whose last item is words of the message."""
    return pytest.mark.parametrize((*names.split(), "message"), cases, ids=[case[-1] for case in cases])


def stopping(**options):
    return classifier(early_stopping=True, **options)


XY = X, y
LBFGS_LACKS = ({"dropout": 0.1}, {"ema_decay": 0.9}, {"max_grad_norm": 1.0}, {"weight_decay": 0.1})
# Estimators, the arguments of `fit`, and words of the message.
FIT = [
    # Parameters that depend on each other or on the data.
    (classifier(hidden_layer_sizes=(3, 0)), XY, "hidden_layer_sizes must be > 0, got"),
    (classifier(activation=["relu", "tanh"]), XY, "one name for each hidden layer"),
    (classifier(dropout=[0.1]), XY, "a list of 2"),
    (classifier(dropout=[1.0, 0.0]), XY, r"dropout\[0\] must be"),
    (classifier(learning_rate=fastnn.CosineDecay), XY, "call it, as in"),
    (classifier(solver=fastnn.optimizers.Optimizer()), XY, "optimizer must be one of"),
    (classifier(weight_decay=0.1, solver=fastnn.RMSprop()), XY, r"set it in RMSprop\("),
    (classifier(class_weight={0: -1.0}), XY, "class_weight must hold finite numbers of at least 0"),
    (classifier(class_weight={0: "many"}), XY, "class_weight must hold finite numbers of at least 0"),
    (classifier(class_weight={7: 1.0}), XY, "not in class_weight"),
    (stopping(scoring=lambda *_: "a"), XY, "scoring must give a number, got 'a'"),
    *(
        (classifier(solver=solver, **option), XY, f"{next(iter(option))} out or choose another solver")
        for option in LBFGS_LACKS
        for solver in ("lbfgs", "lm")
    ),
    (regressor(loss=fastnn.SoftmaxCrossEntropy()), (X, COUNTS), "is for classes: use MLPClass"),
    *((MLPRegressor(sizes), XY, "first argument is the loss, .* write hid") for sizes in ((32,), [32], 32)),
    # Samples.
    *(
        (make(), (table, y), f"(?s){words}.*fastnn.{name} takes tables with")
        for table, words in ((np.where(X > 1, np.nan, X), "NaN"), ([["a"] * 4] * 150, "could not convert"))
        for make, name in ((classifier, "TabularClassifier"), (regressor, "TabularRegressor"))
    ),
    (classifier(), (MASKED, y), "X has masked values: fill them"),
    # Labels and targets.
    (classifier(), (X, np.column_stack([y, y])), "Multioutput target data is not supported"),
    (regressor(), (X, NAMES[y]), "must hold numbers"),
    (regressor(), (X, MASKED[:, 0]), "y has masked values: fill them"),
    (regressor(), (NARROW, COUNTS * 1e200), "too large for float32"),
    (regressor(loss="poisson"), (X, -COUNTS - 1), "takes targets of at least 0"),
    # Weights.
    (classifier(), (X, y, MASKED[:, 0] ** 2), "sample_weight has masked values: fill them"),
    (classifier(), (X, y, np.zeros(150)), "at least one non-zero|sample_weight is zero for every sample"),
    (classifier(), (X, y, np.full(150, np.nan)), "Input sample_weight contains NaN"),
    (classifier(), (X, y, -WEIGHTS), "weights are finite and at least 0"),
    (classifier(), (X, y, np.full(150, 1e30)), "divide the weights by their mean"),
    (classifier(), (X, y, [10**400] * 150), "sample_weight holds a number too large for a float"),
    # Validation data.
    (classifier(), (X, y, None, None, y), "X_val and y_val go together"),
    (classifier(), (X, y, None, X[:, :2], y), "X_val, y_val: X has 2 features, but MLPClass"),
    (classifier(), (X, y, None, X, y + 1), "`y` has classes not in `self.classes_`"),
    (classifier(), (X, y, None, X, LABELS), "not fitted with multilabel input"),
    (classifier(), (NARROW, y, None, X * 1e200, y), "X holds values too large for float32"),
    (classifier(), (X, NAMES[y], None, X, insert_gap(None)), "X_val, y_val: y holds text and None"),
    (regressor(), (X, TARGETS, None, X, COUNTS), "y has 1 output, but the estimator was fitted with"),
    (stopping(), (X[:2], [0, 0]), "The validation set is too small"),
    (stopping(), (X, y, np.arange(150) == 0), "have the weight 0"),
    *(
        (each, (X[:40], np.arange(40) == 7), "The least populated class(es)? in y ha(s|ve) only 1 member")
        for each in (stopping(), stopping(label_smoothing=0.3))
    ),
]


@each_refused("estimator data", FIT)
def test_fits_are_refused(estimator, data, message):
    with pytest.raises(ValueError, match=message):
        estimator.fit(*data)


# Estimators, the arguments of calls of `partial_fit` (the last call is refused), and words of the message.
PARTIAL_FIT = [
    (stopping(), [(X, y, [0, 1, 2])], "partial_fit does not support early_stop"),
    (classifier(class_weight="balanced"), [(X, y)], "would balance the samples of each call"),
    (classifier(), [(X, y)], "classes must be passed on the first call"),
    (classifier(), [(X, y, [0, 1, 2]), (X, y, [0, 1])], "is not the same as on last call"),
    (classifier(), [(X, y, [0, 1, 2]), (X, LABELS)], "not fitted with multilabel input"),
    (classifier(), [(X, LABELS, range(8))], "mismatch with the labels"),
    (classifier(), [(X, insert_gap(3), NAMES)], "y holds text and 3, but classes"),
    (classifier(), [(NARROW, y, [0, 1, 2]), (X * 1e200, y)], "X holds values too large for float32"),
    *(
        (classifier(), [(X, y, wrong)], "classes must hold labels of one kind, integers or text, got")
        for wrong in ([0, None], [[0], [1, 2]], [0, "a", None])
    ),
    # Kernels read a fixed number of targets per sample and check nothing: Python refuses other shapes.
    *(
        (classifier(), [(X, LABELS, range(3)), (X, y_2)], "mismatch|not in `self.classes_`|multilabel input")
        for y_2 in (LABELS[:, :2], np.column_stack([LABELS, LABELS]), y)
    ),
]


def fit_in_turn(estimator, calls):
    for samples, labels, *classes in calls:
        estimator.partial_fit(samples, labels, None, *classes)


@each_refused("estimator calls", PARTIAL_FIT)
def test_partial_fits_are_refused(estimator, calls, message):
    fit_in_turn(estimator, calls[:-1])
    with pytest.raises(ValueError, match=message):
        fit_in_turn(estimator, calls[-1:])


ENSEMBLE_OPTIONS = [
    ({"n_jobs": 0}, "n_jobs must be None or an integer other than 0"),
    ({"estimator": []}, "estimator is an empty list"),
    ({"estimator": regressor()}, "estimator must be a fastnn.MLPClassifier, got MLPRegressor"),
    ({"estimator": [classifier(), 3]}, r"estimator\[1\] must be a fastnn.MLPClassifier, got 3"),
    ({"estimator": [THEIRS.MLPClassifier()]}, r"estimator\[0\] .* got MLPClassifier\(\) of sklearn"),
    ({"estimator": classifier(alpha=-1)}, "The 'alpha' parameter"),
    *(
        ({"method": method, "estimator": [classifier()]}, f"method='{method}' needs a single network")
        for method in ("snapshots", "average")
    ),
    *(
        ({"method": method, "estimator": classifier(solver=solver)}, f"{method}.* needs a stochastic solver")
        for method in ("snapshots", "average")
        for solver in ("lbfgs", fastnn.LBFGS(), "lm")
    ),
]


@each_refused("options", ENSEMBLE_OPTIONS)
def test_options_of_ensembles_are_refused(options, message):
    settings = {"estimator": classifier(), "n_estimators": 2, "n_jobs": 1} | options
    with pytest.raises(ValueError, match=message):
        MLPEnsembleClassifier(**settings).fit(X, y)


def test_validation_data_of_ensembles_are_refused():
    with pytest.raises(ValueError, match="X_val, y_val: X has 1 features"):
        MLPEnsembleClassifier(classifier(), 2).fit(X, y, X_val=X[:, :1], y_val=y)
    with pytest.raises(ValueError, match="leave out X_val and y_val"):
        MLPEnsembleClassifier(classifier(), 2, method="snapshots").fit(X, y, X_val=X, y_val=y)


INFINITE = sp.csr_array((np.full(2, 1e308), [3, 3], [0, 2]), shape=(1, 4))  # the sum of two finite values
UNPREDICTABLE = [
    (X[:, :3], "X has 3 features, but MLPClassifier is expecting 4 features as input"),
    (X * 1e200, "X holds values too large for float32"),
    (INFINITE, "X contains infinity"),
    (X.astype(str), "not compatible with arrays of bytes/strings"),
    (None, "array=None"),
]


@each_refused("samples", UNPREDICTABLE)
def test_samples_are_refused_by_every_prediction(samples, message):
    model = classifier(max_iter=1).fit(NARROW, y)
    for method in PREDICTIONS:
        with pytest.raises(ValueError, match=message):
            getattr(model, method)(samples)


def test_predictors_and_weights_of_other_kinds_are_refused():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        regressor().predictor()
    for method, message in (("transform", "must be"), ("predict_proba", "for 'predict'")):
        with pytest.raises(ValueError, match=message):
            regressor().fit(X, COUNTS).predictor(1, method)
    with pytest.raises(ValueError, match="must be a list of arrays"):
        MLPRegressor.from_weights([np.ones(3)], [np.ones(1)])


SHARED = classifier()
# Further estimators and options of `fit_many`.
FIT_MANY = [
    ([SHARED, SHARED], {}, "estimators holds the same object more than once: clone it"),
    ([THEIRS.MLPClassifier()], {}, r"estimators\[1\] must be .*, got MLPClassifier\(\) of sklearn.neural"),
    ([MLPClassifier], {}, r"estimators\[1\] .*got <class 'fastnn.estimators.classifier.MLPClassifier'>"),
    *(([], {"n_jobs": wrong}, "n_jobs must be None or an integer other") for wrong in (0, 1.5, "two", True)),
    ([], {"rng": -1}, "rng must be None, an integer of at least 0 or a numpy.random.Gen"),
]


@each_refused("others options", FIT_MANY)
def test_a_refused_call_of_fit_many_changes_no_estimator(others, options, message):
    fresh = classifier(random_state=None)
    with pytest.raises(ValueError, match=message):
        fit_many([fresh, *others], X, y, **{"rng": 0} | options)
    assert fresh.random_state is None
    assert not hasattr(fresh, "coefs_")
    with pytest.raises(ValueError, match="estimators must be a list of fastnn's estimators, got 3"):
        fit_many(3, X, y)


def test_ensembles_of_searches_are_refused():
    done = GridSearchCV(classifier(max_iter=1), {"alpha": [1, 2]}, cv=2).fit(X, y)
    for n_estimators in (0, 1.5, "two"):
        with pytest.raises(ValueError, match="n_estimators must be an integer of at least 1"):
            MLPEnsembleClassifier.from_search(done, n_estimators)
    with pytest.raises(ValueError, match="must be a fastnn.MLPRegressor"):
        MLPEnsembleRegressor(MLPEnsembleClassifier.from_search(done, 2).estimator).fit(X, y)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        MLPEnsembleClassifier.from_search(GridSearchCV(classifier(), {}))
    for other in (make_pipeline(classifier(max_iter=1)), THEIRS.MLPClassifier(max_iter=1)):
        with pytest.raises(ValueError, match="must be over a fastnn.MLPClassifier, got (.|\n)* of sklearn"):
            MLPEnsembleClassifier.from_search(GridSearchCV(other, {}, cv=2).fit(X, y))
    failed = {"rank_test_score": [1], "mean_test_score": [np.nan], "params": [{}]}
    for results, message in (
        ({"rank_test_a": [1]}, "set its refit to the name of one of them"),
        (failed, "no candidate of the search has a score"),
    ):
        done.cv_results_, done.refit = results, False
        with pytest.raises(ValueError, match=message):
            MLPEnsembleClassifier.from_search(done, 2)


@pytest.mark.needs("pandas")
def test_missing_values_of_pandas_integers_are_refused_as_nan():
    with pytest.raises(ValueError, match="Input y contains NaN"):
        regressor().fit(X, pd.array([1, None] * 75, "Int64"))


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
    for name, array in arrays.items():
        setattr(table, name, array)
    return table


def edit(table, name, place, value):
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
    (replace(sp.dok_array((50, 40)), _dict={(1, "a"): 1.0}), "DOK"),
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
    one, other = classifier(max_iter=1), regressor(max_iter=1)
    models = one, other, MLPEnsembleClassifier(one, 2), MLPEnsembleRegressor(other, 2)
    return [model.fit(DENSE, OTHERS) for model in models]


def test_every_method_checks_sparse_tables_and_labels():
    wrong = empty_by_its_last_pointer()
    for model in make_fitted():
        before = dict(vars(model))
        calls = [(getattr(model, name), (wrong,)) for name in PREDICTIONS if hasattr(model, name)]
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
