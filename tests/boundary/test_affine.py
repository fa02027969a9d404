"""Affine transformers before a network: their maps, and pictures of pipelines that end in a network."""

import re

import numpy as np
import pytest
from extras import optional
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, FastICA, IncrementalPCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import (
    RFE,
    SelectFromModel,
    SelectKBest,
    SelectPercentile,
    VarianceThreshold,
)
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection
from sklearn.tree import DecisionTreeClassifier
from views import centres, iris, species

import fastnn
from fastnn import boundary_lines, render_boundary
from fastnn.boundary.affine import (
    AffineMap,
    NotAffineError,
    affine_map,
    chain_map,
    check_agreement,
    final_step,
)
from fastnn.boundary.committee import plane_of

pd = optional("pandas")

NAMES = ["sl", "sw", "pl", "pw"]
XLIM, YLIM, SIZE = (3.0, 9.0), (0.0, 8.0), (90, 71)
FEATURES, FILL = (0, 2), iris.mean(axis=0)
VIEW = {"features": FEATURES, "fill": FILL}
EPS = {np.dtype(dtype): np.finfo(dtype).eps for dtype in (np.float32, np.float64)}

COLUMNS = ColumnTransformer(
    [
        ("scaled", StandardScaler(), [2, 0]),
        ("turned", make_pipeline(RobustScaler(), PCA(1)), slice(1, 4)),
        ("dropped", "drop", [1]),
        ("kept", "passthrough", [0, 0]),
        ("none", PCA(), []),
    ],
    remainder=MinMaxScaler(),
    transformer_weights={"turned": -3.0},
)
# Transformers that fastnn folds into the first layer of a network.
AFFINE = {
    "standard": StandardScaler(),
    "standard without mean": StandardScaler(with_mean=False),
    "standard without std": StandardScaler(with_std=False),
    "min max": MinMaxScaler((-1, 3)),
    "max abs": MaxAbsScaler(),
    "robust": RobustScaler(unit_variance=True),
    "robust without centre": RobustScaler(with_centering=False),
    "robust without scale": RobustScaler(with_scaling=False),
    "imputer": SimpleImputer(),
    "function": FunctionTransformer(),
    "pca": PCA(3),
    "pca whitened": PCA(whiten=True),
    "pca of one": PCA(1),
    "incremental pca": IncrementalPCA(2, whiten=True),
    "svd": TruncatedSVD(3),
    "ica": FastICA(3, random_state=0),
    "discriminant": LinearDiscriminantAnalysis(n_components=2),
    "discriminant eigen": LinearDiscriminantAnalysis(solver="eigen", n_components=1),
    "gaussian": GaussianRandomProjection(3, random_state=0),
    "sparse": SparseRandomProjection(3, dense_output=True, random_state=0),
    "components": NeighborhoodComponentsAnalysis(2, max_iter=5, random_state=0),
    "best": SelectKBest(k=2),
    "best of one": SelectKBest(k=1),
    "percentile": SelectPercentile(percentile=75),
    "variance": VarianceThreshold(0.3),
    "elimination": RFE(DecisionTreeClassifier(random_state=0), n_features_to_select=3),
    "from model": SelectFromModel(DecisionTreeClassifier(random_state=0), threshold=1e-3),
    "columns": COLUMNS,
    "columns and the rest": ColumnTransformer([("a", StandardScaler(), [3])], remainder="passthrough"),
    "columns by mask": ColumnTransformer([("a", StandardScaler(), [True, False, True, True])]),
    "union": FeatureUnion(
        [("a", StandardScaler()), ("b", "passthrough"), ("c", "drop"), ("d", PCA(2))],
        transformer_weights={"a": 2.0},
    ),
    "pipeline": Pipeline([("a", StandardScaler()), ("b", "passthrough"), ("c", None), ("d", PCA(2))]),
    "frozen": FrozenEstimator(StandardScaler().fit(iris)),
}
# Transformers that are not affine, and the reason that a message gives.
NOT_AFFINE = {
    "polynomial": (PolynomialFeatures(2), "PolynomialFeatures is not known to be affine"),
    "normalizer": (Normalizer(), "Normalizer is not known to be affine"),
    "bins": (KBinsDiscretizer(strategy="uniform"), "KBinsDiscretizer is not known"),
    "power": (PowerTransformer(), "PowerTransformer is not known"),
    "quantile": (QuantileTransformer(n_quantiles=20), "QuantileTransformer is not known"),
    "clip": (MinMaxScaler(clip=True), "MinMaxScaler(clip=True) is not affine"),
    "function": (FunctionTransformer(np.tanh), "FunctionTransformer with a function is not known"),
    "imputer of a number": (SimpleImputer(missing_values=3.0), "SimpleImputer(missing_values=3.0) is not"),
    "imputer with indicator": (SimpleImputer(add_indicator=True), "SimpleImputer adds or drops columns"),
    "in columns": (ColumnTransformer([("a", Normalizer(), [0, 2])]), "Normalizer is not known"),
    "in a union": (FeatureUnion([("a", Normalizer())]), "Normalizer is not known"),
    "in a pipeline": (make_pipeline(StandardScaler(), Normalizer()), "Normalizer is not known"),
}


class CurvedScaler(StandardScaler):
    """A subclass that has the attributes of a StandardScaler, but is not affine."""

    def transform(self, X, copy=None):
        return np.tanh(super().transform(X))


class UnknownScaler(TransformerMixin, BaseEstimator):
    """An affine transformer of a class that fastnn does not know."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return 2 * X


def network(**options):
    """Return a classifier that fits quickly."""
    options = {"batch_size": 20, "learning_rate_init": 0.02, "max_iter": 500, "random_state": 0} | options
    return fastnn.MLPClassifier((8,), early_stopping=True, n_iter_no_change=20, **options)


def pipeline(*steps, X=iris, y=species, **options):
    """Return a fitted pipeline of copies of transformers and a network."""
    return make_pipeline(*(clone(step, safe=False) for step in steps), network(**options)).fit(X, y)


def points_of(xlim=XLIM, ylim=YLIM, features=FEATURES, fill=FILL):
    """Return the samples (pixels, n_features) of a picture."""
    points = centres(*SIZE, xlim, ylim)
    table = np.tile(np.asarray(fill, float), (len(points), 1))
    table[:, list(features)] = points
    return table


def check_pictures(model, table, rounding, xlim=XLIM, ylim=YLIM, folded=None, varies=True, **view):
    """Assert that pictures equal the model's predictions, except within rounding of the boundary."""
    P = model.predict_proba(table)
    ordered = np.sort(P, axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    is_clear = margin > rounding
    assert is_clear.mean() > 0.9
    assert len(np.unique(P.argmax(axis=1))) > 1 or not varies
    for method in ("dense", "certified"):
        image = render_boundary(model, xlim, ylim, SIZE, method=method, **view)
        assert image.stats.method == method
        assert image.stats.folded == folded or folded is None
        np.testing.assert_array_equal(
            image.classes[image.data].ravel()[is_clear], model.predict(table)[is_clear]
        )
    expected = {"probability": P[:, 1], "confidence": ordered[:, -1], "margin": margin}
    for response, values in expected.items():
        options = {"class_of_interest": model.classes_[1]} if response == "probability" else {}
        image = render_boundary(model, xlim, ylim, SIZE, response=response, **options, **view)
        np.testing.assert_allclose(image.data.ravel(), values, atol=rounding)


# --- maps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", EPS, ids=str)
@pytest.mark.parametrize("name", AFFINE)
def test_an_affine_map_equals_its_transformer(name, dtype):
    X = iris.astype(dtype)
    transformer = clone(AFFINE[name]).fit(X, species)
    points = 100 * np.random.default_rng(0).standard_normal((50, 4))
    found = affine_map(transformer, 4)
    assert found.weights.dtype == found.offsets.dtype == np.float64
    np.testing.assert_allclose(found(points), transformer.transform(points), rtol=1e-12, atol=1e-10)
    check_agreement([transformer], found, points, None)


@pytest.mark.parametrize("name", NOT_AFFINE)
def test_the_reason_why_a_transformer_is_not_affine_is_given(name):
    transformer, reason = NOT_AFFINE[name]
    table = iris.copy()
    if name == "imputer with indicator":
        table[0, 0] = np.nan
    with pytest.raises(NotAffineError, match=re.escape(reason)):
        affine_map(transformer.fit(table, species), 4)


@pytest.mark.parametrize("kind", [CurvedScaler, UnknownScaler])
def test_unknown_classes_and_subclasses_have_no_map(kind):
    with pytest.raises(NotAffineError, match=f"^{kind.__name__} is not known to be affine$"):
        affine_map(kind().fit(iris), 4)


def test_unfitted_and_mismatched_transformers_have_no_map():
    fitted = StandardScaler().fit(iris)
    for wrong, reason in (
        (StandardScaler(), "could not be read"),
        (StandardScaler().fit(iris[:, :3]), "was not fitted to 4 features"),
        (clone(fitted).set_params(with_std=True), "could not be read"),
        (PCA().fit(iris[:, :2]), "was not fitted to 4 features"),
        (SimpleImputer().fit(np.where([True, False, False, False], np.nan, iris)), "drops columns"),
    ):
        with pytest.raises(NotAffineError, match=reason):
            affine_map(wrong, 4)
    fitted.mean_ = np.full(4, np.nan)
    with pytest.raises(NotAffineError, match="not finite"):
        affine_map(fitted, 4)


def test_a_map_that_differs_from_the_transformer_is_refused():
    scaler = StandardScaler().fit(iris)
    found = affine_map(scaler, 4)
    check_agreement([scaler], found, iris, None)
    for other in (AffineMap(found.weights, found.offsets + 1e-9), affine_map(RobustScaler().fit(iris), 4)):
        with pytest.raises(NotAffineError, match="did not transform points as the fitted attributes say"):
            check_agreement([scaler], other, iris, None)
    with pytest.raises(NotAffineError, match="did not transform"):
        check_agreement([clone(COLUMNS).fit(iris, species)], found, iris, None)
    with pytest.raises(NotAffineError, match="failed at points of the picture: X has 3 features"):
        check_agreement([scaler], found, iris[:, :3], None)
    points = iris.copy()
    check_agreement([StandardScaler(copy=False).fit(iris.copy())], found, points, None)
    np.testing.assert_array_equal(points, iris)


def test_the_final_estimator_is_found_in_pipelines_and_searches():
    chain = make_pipeline(
        "passthrough", StandardScaler(), make_pipeline(PCA(), "passthrough", DecisionTreeClassifier())
    )
    search = GridSearchCV(chain, {"standardscaler__with_std": [True]}, cv=2)
    assert final_step(search) == (search, [])
    estimator, steps = final_step(FrozenEstimator(search.fit(iris, species)))
    assert isinstance(estimator, DecisionTreeClassifier)
    assert [type(step) for step in steps] == [StandardScaler, PCA]
    assert chain_map(steps, 4).weights.shape == (4, 4)
    for model in (len, fastnn.Model([2, 2]), network()):
        assert final_step(model) == (model, [])


@given(st.data())
def test_a_plane_of_two_features_is_mapped_exactly(data):
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    n_in, n_out = data.draw(st.integers(2, 6)), data.draw(st.integers(1, 6))
    weights = random.standard_normal((n_in, n_out)) * 10.0 ** random.uniform(-6, 6, (n_in, 1))
    weights[random.random(n_in) < 0.3] = 0
    mapping = AffineMap(weights, random.standard_normal(n_out) * 10.0 ** random.uniform(-6, 6, n_out))
    pair = tuple(random.permutation(n_in)[:2])
    rest = random.standard_normal(n_in)
    X = np.tile(rest, (40, 1))
    X[:, pair] = random.standard_normal((40, 2))
    plane = plane_of(pair, rest, mapping)
    u, v = plane.coordinates(X[:, pair[0]], X[:, pair[1]], np.dtype(float))
    inputs = plane.base + np.outer(u, plane.directions[0]) + np.outer(v, plane.directions[1])
    size = (np.abs(X) @ np.abs(weights)).max() + np.abs(mapping.offsets).max()
    np.testing.assert_allclose(inputs, mapping(X), rtol=0, atol=1e-12 * size)


# --- pictures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AFFINE)
def test_pictures_of_a_pipeline_are_its_predictions(name):
    model = pipeline(AFFINE[name])
    check_pictures(model, points_of(), 1e-9, folded=type(AFFINE[name]).__name__, **VIEW)


@pytest.mark.parametrize("steps", [[StandardScaler()], [MinMaxScaler(), PCA(whiten=True)], [COLUMNS]])
def test_pictures_of_a_float32_pipeline_are_its_predictions(steps):
    model = pipeline(*steps, X=iris.astype(np.float32))
    assert model[-1].coefs_[0].dtype == np.float32
    check_pictures(model, points_of(), 1e-5, **VIEW)


def test_a_scaler_keeps_float32_and_a_rotation_does_not():
    for steps, dtype in (([StandardScaler()], np.float32), ([StandardScaler(), PCA()], np.float64)):
        model = pipeline(*steps, X=iris.astype(np.float32))
        image = render_boundary(model, XLIM, YLIM, 20, response="confidence", **VIEW)
        assert image.data.dtype == dtype


@pytest.mark.parametrize("dtype", EPS, ids=str)
@pytest.mark.parametrize(
    "steps", [[StandardScaler()], [StandardScaler(), PCA(whiten=True)], [MinMaxScaler()]]
)
def test_means_far_above_the_deviations_cost_no_digits(steps, dtype):
    """Computing ``x - mean`` or the folded bias in float32 would lose the digits of x."""
    offsets = np.array([1e6, -1e6, 1e6, 1e6])
    model = pipeline(*steps, X=iris + offsets)
    if dtype == np.float32:
        # Only the network computes in float32: the data exceed its range.
        transformed = model[:-1].transform(iris + offsets).astype(np.float32)
        model.steps[-1] = ("network", network().fit(transformed, species))
    fill = FILL + offsets
    xlim, ylim = np.add(XLIM, 1e6), np.add(YLIM, 1e6)
    check_pictures(
        model, points_of(xlim, ylim, fill=fill), 1e-5 if dtype == np.float32 else 1e-8, xlim, ylim,
        features=FEATURES, fill=fill,
    )  # fmt: skip


def test_the_difference_of_nearly_equal_features_keeps_its_digits():
    """Whitening scales the difference to the size of the sum; in float32, the features would cancel."""
    random = np.random.default_rng(0)
    x = random.standard_normal(300)
    X = np.column_stack([x, x + 1e-5 * random.standard_normal(300)]) + 3
    y = (X[:, 1] > X[:, 0]).astype(int)
    chain = make_pipeline(StandardScaler(), PCA(whiten=True)).fit(X)
    model = make_pipeline(*chain, network().fit(chain.transform(X).astype(np.float32), y))
    xlim, ylim = (2.5, 2.5 + 1e-4), (2.5, 2.5 + 1e-4)
    table = points_of(xlim, ylim, (0, 1), [0, 0])
    assert 0.2 < model.predict(table).mean() < 0.8
    check_pictures(model, table, 1e-4, xlim, ylim, folded="StandardScaler, PCA")


@pytest.mark.parametrize("name", NOT_AFFINE)
def test_pipelines_that_are_not_affine_predict_themselves(name):
    transformer, reason = NOT_AFFINE[name]
    table = iris.copy()
    if name == "imputer with indicator":
        table[0, 0] = np.nan
    model = pipeline(transformer, X=table)
    image = render_boundary(model, XLIM, YLIM, SIZE, **VIEW)
    np.testing.assert_array_equal(image.data.ravel(), model.predict(points_of()))
    assert image.stats.folded.startswith(f"not folded: {reason}")
    assert image.stats.method == "dense"
    with pytest.raises(ValueError, match=re.escape(f"networks of fastnn (not folded: {reason}")):
        render_boundary(model, XLIM, YLIM, SIZE, method="certified", **VIEW)


@pytest.mark.parametrize("kind", [CurvedScaler, UnknownScaler])
def test_pipelines_of_unknown_classes_predict_themselves(kind):
    model = pipeline(kind())
    image = render_boundary(model, XLIM, YLIM, SIZE, **VIEW)
    np.testing.assert_array_equal(image.data.ravel(), model.predict(points_of()))
    assert image.stats.folded == f"not folded: {kind.__name__} is not known to be affine"


def test_a_transformer_whose_transform_was_replaced_is_not_folded():
    model = pipeline(StandardScaler())
    scaler = model[0]
    transform = scaler.transform
    scaler.transform = lambda X: np.clip(transform(X), -300, 300)
    image = render_boundary(model, XLIM, YLIM, SIZE, **VIEW)
    np.testing.assert_array_equal(image.data.ravel(), model.predict(points_of()))
    assert image.stats.folded.startswith("not folded: StandardScaler did not transform points")


def test_a_pipeline_whose_steps_have_different_widths_is_refused():
    model = pipeline(PCA(3))
    model.steps[0] = ("pca", PCA(2).fit(iris))
    with pytest.raises(ValueError, match="X has 2 features, but MLPClassifier is expecting 3"):
        render_boundary(model, XLIM, YLIM, SIZE, **VIEW)


def test_pictures_of_models_without_transformers_or_networks_fold_nothing():
    tree = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)).fit(iris, species)
    one_class = make_pipeline(StandardScaler(), network()).fit(iris, np.zeros(150, int))
    for model in (network().fit(iris, species), pipeline("passthrough"), tree, one_class):
        image = render_boundary(model, XLIM, YLIM, SIZE, **VIEW)
        np.testing.assert_array_equal(image.data.ravel(), model.predict(points_of()))
        assert image.stats.folded == ""


@pytest.mark.parametrize("steps", [[StandardScaler()], [RobustScaler(), PCA(2)]])
def test_a_pipeline_may_end_in_an_ensemble(steps):
    members = fastnn.MLPEnsembleClassifier([network(), network(alpha=1.0)], 3, random_state=0)
    model = make_pipeline(*steps, members).fit(iris, species)
    check_pictures(model, points_of(), 1e-9, **VIEW)


def test_pictures_of_two_classes_with_names_are_predictions():
    model = pipeline(StandardScaler(), y=np.where(species == 1, "yes", "no"))
    check_pictures(model, points_of(), 1e-9, folded="StandardScaler", **VIEW)


def test_a_picture_of_one_of_several_labels_is_its_prediction():
    Y = np.stack([species == 0, iris[:, 0] > 6], axis=1).astype(int)
    model = pipeline(StandardScaler(), y=Y)
    data = render_boundary(model, XLIM, YLIM, SIZE, class_of_interest=1, **VIEW).data
    np.testing.assert_array_equal(data.ravel(), model.predict(points_of())[:, 1])


@pytest.mark.parametrize("kind", [GridSearchCV, RandomizedSearchCV])
def test_pictures_of_a_search_are_those_of_its_best_estimator(kind):
    chain = make_pipeline("passthrough", StandardScaler(), network())
    options = {} if kind is GridSearchCV else {"n_iter": 2, "random_state": 0}
    search = kind(chain, {"mlpclassifier__alpha": [1e-4, 1e-1]}, cv=2, **options).fit(iris, species)
    check_pictures(search, points_of(), 1e-9, folded="StandardScaler", **VIEW)
    search = kind(network(), {"alpha": [1e-4, 1e-1]}, cv=2, **options).fit(iris, species)
    check_pictures(search, points_of(), 1e-9, folded="", **VIEW)


def test_pictures_of_a_search_of_other_models_are_predictions():
    search = GridSearchCV(LogisticRegression(max_iter=1000), {"C": [0.1, 1.0]}, cv=2).fit(iris, species)
    image = render_boundary(search, XLIM, YLIM, SIZE, **VIEW)
    np.testing.assert_array_equal(image.data.ravel(), search.predict(points_of()))


@pytest.mark.parametrize("first", [[], ["passthrough"], [StandardScaler().set_output(transform="pandas")]])
@pytest.mark.parametrize("container", ["default", "pandas"])
@pytest.mark.needs("pandas")
def test_features_may_be_chosen_by_name(first, container):
    frame = pd.DataFrame(iris, columns=NAMES)
    columns = ColumnTransformer([("a", StandardScaler(), ["pl", "sl"]), ("b", PCA(1), ["pw", "sw"])])
    chain = make_pipeline(*first, columns.set_output(transform=container), MinMaxScaler(), network())
    model = chain.fit(frame, species)
    table = pd.DataFrame(points_of(), columns=NAMES)
    check_pictures(model, table, 1e-9, features=("sl", "pl"), fill=frame.mean())


def test_features_that_the_pipeline_drops_can_be_rendered():
    """The pipeline uses neither of features 0 and 1, and one of 0 and 2."""
    for features in ((0, 2), (2, 0), (0, 1)):
        model = pipeline(SelectKBest(k=2), StandardScaler())
        assert model[0].get_support().tolist() == [False, False, True, True]
        check_pictures(model, points_of(features=features), 1e-9, varies=False, features=features, fill=FILL)


@pytest.mark.needs("dask")
def test_lines_and_arrays_of_a_pipeline_agree_with_its_predictions():
    model = pipeline(StandardScaler(), PCA())
    found = boundary_lines(model, XLIM, YLIM, tolerance=0.02, **VIEW)
    assert found
    for pair, lines in found.items():
        for line in lines:
            table = np.tile(FILL, (len(line), 1))
            table[:, list(FEATURES)] = line
            P = np.sort(model.predict_proba(table), axis=1)
            # Bisection puts all vertices on the boundary, except where lines of three classes meet.
            assert np.median(P[:, -1] - P[:, -2]) < 1e-3, pair
    array = fastnn.boundary_array(model, XLIM, YLIM, SIZE, chunks=32, **VIEW)
    image = render_boundary(model, XLIM, YLIM, SIZE, **VIEW)
    np.testing.assert_array_equal(array.compute(scheduler="synchronous"), image.data)


def test_unfitted_pipelines_and_regressors_are_refused():
    with pytest.raises(NotFittedError):
        render_boundary(make_pipeline(StandardScaler(), network()), XLIM, YLIM, 10)
    regression = make_pipeline(StandardScaler(), fastnn.MLPRegressor(tol=1.0, random_state=0))
    with pytest.raises(ValueError, match="regressor"):
        render_boundary(regression.fit(iris, species), XLIM, YLIM, 10, **VIEW)
