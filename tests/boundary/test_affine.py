"""Pictures of pipelines that end in a network: affine transformers are folded into its first layer."""

import re

import numpy as np
import pytest
from extras import optional
from sklearn import decomposition, feature_selection, preprocessing, random_projection
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_selection import SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, Normalizer, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from views import centres, iris, species

import fastnn
from fastnn import render_boundary

pd = optional("pandas")
pytestmark = pytest.mark.filterwarnings("ignore:.*hasn't converged")

XLIM, YLIM, SIZE = (3.0, 9.0), (0.0, 8.0), (90, 71)
FEATURES, FILL = (0, 2), iris.mean(axis=0)
VIEW = {"features": FEATURES, "fill": FILL}


class CurvedScaler(StandardScaler):
    """A subclass that has the attributes of a StandardScaler, but is not affine."""

    def transform(self, X, copy=None):
        return np.tanh(super().transform(X))


PARTS = [("scaled", StandardScaler(), [2, 0]), ("dropped", "drop", [1]), ("kept", "passthrough", [0, 0])]
PARTS += [("turned", make_pipeline(RobustScaler(), PCA(1)), slice(1, 4)), ("none", PCA(), [])]
COLUMNS = ColumnTransformer(PARTS, remainder=MinMaxScaler(), transformer_weights={"turned": -3.0})
UNION = [("a", StandardScaler()), ("b", "passthrough"), ("c", "drop"), ("d", PCA(2))]
TREE = DecisionTreeClassifier(random_state=0)
# Transformers that fastnn folds into the first layer of a network.
AFFINE = [StandardScaler(), StandardScaler(with_mean=False), StandardScaler(with_std=False)]
AFFINE += [RobustScaler(unit_variance=True), RobustScaler(with_centering=False)]
AFFINE += [RobustScaler(with_scaling=False), MinMaxScaler((-1, 3)), preprocessing.MaxAbsScaler()]
AFFINE += [SimpleImputer(), SimpleImputer(add_indicator=True), FunctionTransformer()]
AFFINE += [PCA(3), PCA(whiten=True), PCA(1), decomposition.IncrementalPCA(2, whiten=True)]
AFFINE += [decomposition.TruncatedSVD(3), decomposition.FastICA(3, random_state=0)]
AFFINE += [
    LinearDiscriminantAnalysis(n_components=2),
    LinearDiscriminantAnalysis(solver="eigen", n_components=1),
    random_projection.GaussianRandomProjection(3, random_state=0),
    random_projection.SparseRandomProjection(3, dense_output=True, random_state=0),
    NeighborhoodComponentsAnalysis(2, max_iter=5, random_state=0),
]
AFFINE += [SelectKBest(k=2), SelectKBest(k=1), feature_selection.SelectPercentile(percentile=75)]
AFFINE += [feature_selection.VarianceThreshold(0.3), feature_selection.RFE(TREE, n_features_to_select=3)]
AFFINE += [feature_selection.SelectFromModel(TREE, threshold=1e-3)]
AFFINE += [
    COLUMNS,
    ColumnTransformer([("a", StandardScaler(), [3])], remainder="passthrough"),
    ColumnTransformer([("a", StandardScaler(), [True, False, True, True])]),
    FeatureUnion(UNION, transformer_weights={"a": 2.0}),
    Pipeline([("a", StandardScaler()), ("b", "passthrough"), ("c", None), ("d", PCA(2))]),
    FrozenEstimator(StandardScaler().fit(iris)),
]
# Transformers that are not affine, and the reason that a message gives.
NOT_AFFINE = {
    "polynomial": (preprocessing.PolynomialFeatures(2), "PolynomialFeatures is not known to be affine"),
    "normalizer": (Normalizer(), "Normalizer is not known to be affine"),
    "bins": (preprocessing.KBinsDiscretizer(strategy="uniform"), "KBinsDiscretizer is not known"),
    "power": (preprocessing.PowerTransformer(), "PowerTransformer is not known"),
    "quantile": (preprocessing.QuantileTransformer(n_quantiles=20), "QuantileTransformer is not known"),
    "clip": (MinMaxScaler(clip=True), "MinMaxScaler(clip=True) is not affine"),
    "function": (FunctionTransformer(np.tanh), "FunctionTransformer with a function is not known"),
    "imputer of a number": (SimpleImputer(missing_values=3.0), "SimpleImputer(missing_values=3.0) is not"),
    "a subclass": (CurvedScaler(), "CurvedScaler is not known to be affine"),
    "in columns": (ColumnTransformer([("a", Normalizer(), [0, 2])]), "Normalizer is not known"),
    "in a union": (FeatureUnion([("a", Normalizer())]), "Normalizer is not known"),
    "in a pipeline": (make_pipeline(StandardScaler(), Normalizer()), "Normalizer is not known"),
}


def network(**options):
    options = {"batch_size": 20, "learning_rate_init": 0.02, "max_iter": 40, "random_state": 0} | options
    return fastnn.MLPClassifier((8,), tol=0, n_iter_no_change=np.inf, **options)


def pipeline(*steps, X=iris, y=species, **options):
    return make_pipeline(*(clone(step, safe=False) for step in steps), network(**options)).fit(X, y)


def make_table(xlim=XLIM, ylim=YLIM, features=FEATURES, fill=FILL):
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


def make_search(kind, *steps, **options):
    """Return a fitted search for the penalty of a network after transformers."""
    chain = make_pipeline(*steps, network())
    return kind(chain, {"mlpclassifier__alpha": [1e-4, 1e-1]}, cv=2, **options).fit(iris, species)


iris32 = iris.astype(np.float32)
ENSEMBLE = fastnn.MLPEnsembleClassifier([network(), network(alpha=1.0)], 3, random_state=0)
# Models that are folded, and the transformers.
FOLDED = {str(step): (lambda step=step: pipeline(step), type(step).__name__) for step in AFFINE} | {
    "float32": (lambda: pipeline(StandardScaler(), X=iris32), "StandardScaler"),
    "rotated float32": (lambda: pipeline(MinMaxScaler(), PCA(), X=iris32), "MinMaxScaler, PCA"),
    "columns, float32": (lambda: pipeline(COLUMNS, X=iris32), "ColumnTransformer"),
    "ensemble": (
        lambda: make_pipeline(RobustScaler(), PCA(2), ENSEMBLE).fit(iris, species),
        "RobustScaler, PCA",
    ),
    "names": (lambda: pipeline(PCA(), y=np.where(species == 1, "yes", "no")), "PCA"),
    "search": (lambda: make_search(GridSearchCV, "passthrough", PCA()), "PCA"),
    "random search": (lambda: make_search(RandomizedSearchCV, PCA(), n_iter=2, random_state=0), "PCA"),
    "network": (lambda: network().fit(iris, species), ""),
    "search of networks": (lambda: make_search(GridSearchCV), ""),
    "passthrough": (lambda: pipeline("passthrough"), ""),
}


@pytest.mark.parametrize("name", FOLDED)
def test_pictures_of_pipelines_and_searches_are_predictions(name):
    make, folded = FOLDED[name]
    check_pictures(make(), make_table(), 1e-5 if "float32" in name else 1e-9, folded=folded, **VIEW)


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
    rounding, view = 1e-5 if dtype == np.float32 else 1e-8, {"features": FEATURES, "fill": fill}
    check_pictures(model, make_table(xlim, ylim, fill=fill), rounding, xlim, ylim, **view)


def test_the_difference_of_nearly_equal_features_keeps_its_digits():
    """Whitening scales the difference to the size of the sum; in float32, the features would cancel."""
    random = np.random.default_rng(0)
    x = random.standard_normal(300)
    X = np.column_stack([x, x + 1e-5 * random.standard_normal(300)]) + 3
    y = (X[:, 1] > X[:, 0]).astype(int)
    chain = make_pipeline(StandardScaler(), PCA(whiten=True)).fit(X)
    model = make_pipeline(*chain, network().fit(chain.transform(X).astype(np.float32), y))
    xlim, ylim = (2.5, 2.5 + 1e-4), (2.5, 2.5 + 1e-4)
    table = make_table(xlim, ylim, (0, 1), [0, 0])
    assert 0.2 < model.predict(table).mean() < 0.8
    check_pictures(model, table, 1e-4, xlim, ylim, folded="StandardScaler, PCA")


@pytest.mark.parametrize("name", NOT_AFFINE)
def test_pipelines_that_are_not_affine_predict_themselves(name):
    transformer, reason = NOT_AFFINE[name]
    model = pipeline(transformer)
    image = render_boundary(model, XLIM, YLIM, SIZE, **VIEW)
    np.testing.assert_array_equal(image.data.ravel(), model.predict(make_table()))
    assert f"not folded: {reason}" in image.stats.reason
    assert not image.stats.folded
    assert image.stats.method == "dense"
    with pytest.raises(ValueError, match=re.escape(f"transformers are not folded: {reason}")):
        render_boundary(model, XLIM, YLIM, SIZE, method="certified", **VIEW)


def test_a_transformer_that_was_changed_is_as_it_is_now():
    model = pipeline(StandardScaler())
    scaler, transform = model[0], model[0].transform
    scaler.mean_ = scaler.mean_ + 0.5
    check_pictures(model, make_table(), 1e-9, folded="StandardScaler", **VIEW)
    for change, reason in (
        ({"transform": lambda X: np.clip(transform(X), -300, 300)}, "Scaler did not transform points"),
        ({"transform": transform, "mean_": np.full(4, np.nan)}, "not finite"),
    ):
        vars(scaler).update(change)
        with pytest.raises(ValueError, match=f"not folded: .*{reason}"):
            render_boundary(model, XLIM, YLIM, SIZE, method="certified", **VIEW)


@pytest.mark.parametrize("container", ["default", "pandas"])
@pytest.mark.needs("pandas")
def test_features_may_be_chosen_by_name(container):
    frame = pd.DataFrame(iris, columns=["sl", "sw", "pl", "pw"])
    columns = ColumnTransformer([("a", StandardScaler(), ["pl", "sl"]), ("b", PCA(1), ["pw", "sw"])])
    first = StandardScaler().set_output(transform="pandas") if container == "pandas" else "passthrough"
    chain = make_pipeline(first, columns.set_output(transform=container), MinMaxScaler(), network())
    model = chain.fit(frame, species)
    table = pd.DataFrame(make_table(), columns=frame.columns)
    check_pictures(model, table, 1e-9, features=("sl", "pl"), fill=frame.mean())


def test_features_that_the_pipeline_drops_can_be_rendered():
    """The pipeline uses neither of features 0 and 1, and one of 0 and 2."""
    for features in ((0, 2), (2, 0), (0, 1)):
        model = pipeline(SelectKBest(k=2), StandardScaler())
        assert model[0].get_support().tolist() == [False, False, True, True]
        check_pictures(model, make_table(features=features), 1e-9, varies=False, features=features, fill=FILL)
