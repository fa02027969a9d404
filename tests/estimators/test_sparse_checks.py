"""Malformed sparse tables are refused by every method of the estimators; valid ones equal dense tables."""

import numpy as np
import pytest
import scipy.sparse as sp
from extras import since
from sklearn.exceptions import ConvergenceWarning

import fastnn
from fastnn.estimators.sparse import checked_sparse

DENSE = np.eye(50, 40)
LABELS = np.arange(50) % 2


def malformed():
    """Return a malformed CSR table that SciPy's `check_format` accepts as an empty one."""
    table = sp.csr_matrix(DENSE)
    table.indptr[1:-1] = 2**30
    table.indptr[-1] = 0
    return table


def changed(table, **arrays):
    """Replace arrays of a sparse table, unchecked, and return the table."""
    for name, array in arrays.items():
        setattr(table, name, array)
    return table


def edited(table, name, place, value):
    """Replace one value of an array of a sparse table, unchecked, and return the table."""
    getattr(table, name)[place] = value
    return table


def block_table(**arrays):
    """Return a BSR table with replaced arrays."""
    return changed(sp.bsr_array(DENSE, blocksize=(5, 4)), **arrays)


def list_table(name, k, new):
    """Return a LIL table in which the list of row `k`, of the columns or of the values, is replaced."""
    table = sp.lil_array(DENSE)
    getattr(table, name)[k] = new
    return table


def dictionary_table(key):
    """Return a DOK table with one more key."""
    table = sp.dok_array(DENSE)
    table._dict[key] = 1.0
    return table


# A function that returns a malformed table, and the end of the message that it causes.
MALFORMED = {
    "csr empty": (malformed, "CSR.* indptr falls from 1073741824 at place 49 to 0"),
    "csr start": (lambda: edited(sp.csr_array(DENSE), "indptr", 0, 1), "indptr must start with 0, got 1"),
    "csr end": (lambda: edited(sp.csr_array(DENSE), "indptr", -1, 41), "ends with 41, but there are 40"),
    "csr length": (lambda: changed(sp.csr_array(DENSE), indptr=np.zeros(50, int)), "must have 51"),
    "csr data": (lambda: changed(sp.csr_array(DENSE), data=np.ones(39)), "40 values, but data has 39"),
    "csr objects": (lambda: changed(sp.csr_array(DENSE), data=np.full(40, None)), "numbers, got .*object"),
    "csr column": (lambda: edited(sp.csr_array(DENSE), "indices", 7, 40), "40 at place 7, but there are 40"),
    "csr negative": (lambda: edited(sp.csr_array(DENSE), "indices", 7, -1), "-1 at place 7"),
    "csr floats": (lambda: changed(sp.csr_array(DENSE), indices=np.zeros(40)), "got dtype float64"),
    "csr list": (lambda: changed(sp.csr_array(DENSE), indptr=[0] * 51), "indptr must be .* got a list"),
    "csc row": (lambda: edited(sp.csc_matrix(DENSE), "indices", 7, 10**6), "CSC .*there are 50 rows"),
    "csc falls": (lambda: edited(sp.csc_matrix(DENSE), "indptr", 3, 10**6), "CSC .*falls from 1000000"),
    "coo row": (lambda: edited(sp.coo_array(DENSE), "row", 3, 50), r"COO .*coords\[0\] holds 50 .* 50 rows"),
    "coo column": (lambda: edited(sp.coo_array(DENSE), "col", 3, -2), r"COO .*coords\[1\] holds -2"),
    "coo data": (lambda: changed(sp.coo_array(DENSE), data=np.ones(3)), "40 values, but data has 3"),
    "bsr block": (lambda: edited(block_table(), "indices", 3, 10), "BSR .*10 at place 3"),
    "bsr start": (lambda: edited(block_table(), "indptr", 2, -4), "BSR .*falls"),
    "bsr size": (lambda: block_table(data=np.ones((10, 3, 4))), "BSR .*blocks of 3 x 4"),
    "lil column": (lambda: list_table("rows", 3, [40]), "LIL .*rows holds 40"),
    "lil data": (lambda: list_table("data", 3, [1.0] * 10**4), "LIL .*row 3 has 1 columns, but 10000 values"),
    "lil no list": (lambda: list_table("rows", 3, 7), "LIL .*not a list"),
    "lil text": (lambda: list_table("rows", 3, ["a"]), "LIL .*must hold integers"),
    "dok key": (lambda: dictionary_table((10**6, 3)), "DOK"),
    "dok no key": (lambda: dictionary_table((1, "a")), "DOK"),
    "dia twice": (lambda: changed(sp.dia_array(DENSE), offsets=np.zeros(2, int)), "DIA .*offsets has 2"),
    "dia data": (lambda: changed(sp.dia_array(DENSE), data=np.ones(40)), "DIA .*of 2 dimensions"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_tables_are_refused_with_the_reason(case):
    make, message = MALFORMED[case]
    with pytest.raises(ValueError, match=f"(?s)X_val is not a valid .*{message}"):
        checked_sparse(make(), "X_val")


@since("scipy", "1.15")
def test_tables_with_too_many_columns_or_dimensions_are_refused():
    with pytest.raises(ValueError, match="X has 2147483648 columns, but a sparse table may have 2147483647"):
        checked_sparse(sp.csr_array((1, 2**31)))
    with pytest.raises(ValueError, match=r"X must have two dimensions .* got shape \(2, 3, 4\)"):
        checked_sparse(sp.coo_array(np.ones((2, 3, 4))))


def table(random):
    """Return a CSR table with unsorted and duplicate columns, explicit zeros and unused values at the end."""
    values, columns = random.normal(size=60), random.integers(0, 9, 60)
    values[::7] = 0
    starts = np.concatenate([[0], np.sort(random.integers(0, 50, 11)), [50]])
    return sp.csr_array((values, columns, starts), shape=(12, 9))


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "lil", "dok", "dia"])
@pytest.mark.parametrize("index", [np.int32, np.int64, ">i8"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int8, np.bool_])
def test_valid_tables_become_csr_tables_with_sorted_columns(kind, index, dtype):
    given = table(np.random.default_rng(0)).astype(dtype).asformat(kind)
    if kind in ("csr", "csc", "bsr"):
        given.indices, given.indptr = given.indices.astype(index), given.indptr.astype(index)
    before = given.copy()
    result = checked_sparse(given)
    assert result.format == "csr"
    np.testing.assert_allclose(result.toarray(), given.toarray(), rtol=1e-6)
    columns = np.concatenate([result.indices[a:b] + 9 * k for k, (a, b) in enumerate(
        zip(result.indptr[:-1], result.indptr[1:], strict=True)
    )])  # fmt: skip
    assert (np.diff(columns) > 0).all()
    assert (given != before).nnz == 0
    assert given.nnz == before.nnz


def test_sorted_csr_tables_and_other_objects_are_returned_as_they_are():
    for given in (sp.csr_array(DENSE), sp.csr_array((3, 4)), DENSE, [[1.0]], None):
        assert checked_sparse(given) is given


def test_diagonals_outside_of_the_table_are_ignored():
    given = sp.dia_array((np.ones((4, 3)), [-(2**31) + 1, -3, 1, 2**31 - 1]), shape=(3, 3))
    np.testing.assert_array_equal(checked_sparse(given).toarray(), np.eye(3, k=1))


@since("scipy", "1.15")
def test_sparse_vectors_of_labels_are_checked():
    labels = sp.coo_array(np.array([0, 2, 1]))
    np.testing.assert_array_equal(checked_sparse(labels).toarray(), [0, 2, 1])
    labels.coords[0][1] = 3
    with pytest.raises(ValueError, match="y is not a valid COO table"):
        checked_sparse(labels, "y")


# --- estimators --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted():
    """Return a fitted classifier, a regressor, and an ensemble of each."""
    settings = {"hidden_layer_sizes": (3,), "max_iter": 1, "random_state": 0}
    member = fastnn.MLPClassifier(**settings)
    with pytest.warns(ConvergenceWarning):
        return [
            member.fit(DENSE, LABELS),
            fastnn.MLPRegressor(**settings).fit(DENSE, LABELS),
            fastnn.MLPEnsembleClassifier(member, 2, random_state=0).fit(DENSE, LABELS),
            fastnn.MLPEnsembleRegressor(fastnn.MLPRegressor(**settings), 2, random_state=0).fit(
                DENSE, LABELS
            ),
        ]


TABLES = [malformed, lambda: edited(sp.csc_matrix(DENSE), "indices", 7, 10**6)]


@pytest.mark.parametrize("make", TABLES, ids=["csr", "csc"])
@pytest.mark.parametrize("k", range(4))
def test_every_method_checks_the_samples(fitted, make, k):
    model, X = fitted[k], make()
    message = "X is not a valid CS"
    before = dict(vars(model))
    for name in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        if hasattr(model, name):
            with pytest.raises(ValueError, match=message):
                getattr(model, name)(X)
    with pytest.raises(ValueError, match=message):
        model.score(X, LABELS)
    if k < 2:  # not an ensemble
        with pytest.raises(ValueError, match=message):
            model.partial_fit(X, LABELS)
        with pytest.raises(ValueError, match=f"X_val, y_val: {message}"):
            model.fit(DENSE, LABELS, X_val=X, y_val=LABELS)
        with pytest.raises(ValueError, match=message):
            model.fit(X, LABELS)
        with pytest.raises(ValueError, match=message):
            fastnn.fit_many([model], X, LABELS)
        assert vars(model) == before
    else:
        with pytest.raises(ValueError, match=message):
            type(model)(model.estimator, 2).fit(X, LABELS)


def test_every_method_checks_the_labels(fitted):
    y = malformed()
    message = "y is not a valid CSR"
    for kind in ("MLPClassifier", "MLPRegressor", "MLPEnsembleClassifier", "MLPEnsembleRegressor"):
        with pytest.raises(ValueError, match=message):
            getattr(fastnn, kind)().fit(DENSE, y)
    new = fastnn.MLPClassifier()
    with pytest.raises(ValueError, match=message):
        new.partial_fit(DENSE, y, classes=np.arange(40))
    assert not hasattr(new, "classes_")
    for model in (fitted[0], fitted[2]):
        with pytest.raises(ValueError, match=message):
            model.score(DENSE, y)


def test_tables_with_unsorted_columns_predict_as_dense_tables(fitted):
    random = np.random.default_rng(1)
    X = sp.csr_array(
        (np.ones(150), random.integers(0, 40, 150), np.arange(0, 151, 3).astype(np.int64)), shape=(50, 40)
    )
    for model in fitted:
        np.testing.assert_allclose(model.predict(X), model.predict(X.toarray()), rtol=1e-12)
    too_large = sp.csr_array((np.full(2, 1e308), [3, 3], [0, 2]), shape=(1, 40))
    with pytest.raises(ValueError, match="X contains infinity"):
        fitted[0].predict(too_large)


@pytest.mark.parametrize("classes", [[0, None], [[0], [1, 2]], [0, "a", None]])
def test_classes_of_mixed_kinds_are_refused(classes):
    new = fastnn.MLPClassifier()
    with pytest.raises(ValueError, match="classes must hold labels of one kind, integers or text, got"):
        new.partial_fit(DENSE, LABELS, classes=classes)
    assert not hasattr(new, "classes_")
    with pytest.raises(ValueError, match="Found input variables with inconsistent numbers of samples"):
        new.partial_fit(DENSE, LABELS[:3], classes=[0, 1])
    assert not hasattr(new, "classes_")
