"""Ensembles: networks that are fitted in parallel and whose predictions are combined."""

from __future__ import annotations

import copy
import itertools
import numbers
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..export.methods import Exportable
from ..optimizers import Minimiser
from ..schedules import CosineDecay
from ..system.sklearn_internals import Interval, StrOptions, fit_context
from ..system.validation import Array, check_count
from ..system.words import translate_arguments
from ..training.divergence import DivergenceError
from .base import BaseMLP
from .classifier import MLPClassifier
from .fitting import FitOptions, fit_network
from .many import fit_one, repr_with_module
from .parallel import fit_all
from .regressor import MLPRegressor
from .reporting import restore_attributes
from .solvers import make_optimizer
from .targets import ClassTargets, NumberTargets, Targets, Weights


class _Ensemble(Targets, Exportable, BaseEstimator):
    """Base class of both ensembles."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [BaseMLP, list, tuple, None],
        "n_estimators": [Interval(numbers.Integral, 1, None, closed="left")],
        "method": [StrOptions({"seeds", "bootstrap", "snapshots", "average"})],
        "n_jobs": [numbers.Integral, None],
        "random_state": ["random_state"],
    }
    _kind: ClassVar[type[BaseMLP]]

    @translate_arguments
    def __init__(self, estimator=None, n_estimators=10, method="seeds", n_jobs=None, random_state=None):
        self._store_arguments(locals())

    @classmethod
    def from_search(cls, search: BaseEstimator, n_estimators: int = 10, **parameters: Any) -> Self:
        """Create an ensemble, which is not fitted yet, of the best candidates of a search.

        Parameters
        ----------
        search : GridSearchCV, RandomizedSearchCV or a similar search
            Fitted search over a fastnn estimator. If it has several metrics, its `refit` must name one.
        n_estimators : int, default 10
            Number of members, which are the candidates with the best mean scores. If fewer candidates have a
            score, all of these are members.
        **parameters
            Further parameters of the ensemble, such as `n_jobs`, `random_state` or `method`.

        Returns
        -------
        MLPEnsembleClassifier or MLPEnsembleRegressor
            Ensemble that is not fitted yet.

        Raises
        ------
        ValueError
            If the search is over another kind of estimator, if `n_estimators` is below 1, if the search has
            several metrics and `refit` names none of them, or if every fit of the search has failed.
        """
        check_is_fitted(search, "cv_results_")
        if not isinstance(search.estimator, cls._kind):
            raise ValueError(
                f"the search must be over a fastnn.{cls._kind.__name__}, got "
                f"{repr_with_module(search.estimator)}: search over that; a pipeline may hold the ensemble"
            )
        check_count(n_estimators, "n_estimators", 1)
        results = search.cv_results_
        metric = "score" if "rank_test_score" in results else search.refit
        if f"rank_test_{metric}" not in results:
            raise ValueError("the search has several metrics: set its refit to the name of one of them")
        order = np.argsort(results[f"rank_test_{metric}"], kind="stable")
        best = [k for k in order if np.isfinite(results[f"mean_test_{metric}"][k])][:n_estimators]
        if not best:
            raise ValueError("no candidate of the search has a score: each of their fits failed")
        candidates = [clone(search.estimator).set_params(**results["params"][k]) for k in best]
        return cls(candidates, len(candidates), **parameters)

    @fit_context(prefer_skip_nested_validation=False)
    def fit(
        self, X: object, y: object, sample_weight: Weights = None, X_val: object = None, y_val: object = None
    ) -> Any:
        """Fit the members.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            Samples.
        y : array-like (n_samples,) or (n_samples, n_outputs)
            Classes or targets.
        sample_weight : array-like (n_samples,), optional
            Weights of the samples.
        X_val, y_val : array-like, optional
            Validation data of every member, as for a member's `fit`. The method "snapshots" takes none.

        Returns
        -------
        MLPEnsembleClassifier or MLPEnsembleRegressor
            The ensemble itself.

        Raises
        ------
        ValueError, DivergenceError
            For the reasons for which a member's `fit` raises them, or for validation data with "snapshots".
            An earlier fit is lost by a divergence, and by no other error.
        KeyboardInterrupt
            Within a fraction of a second after Ctrl-C. The ensemble is then not fitted.
        """
        before = self.__dict__.copy()
        # A fit that fails must not leave the members of an earlier fit with the classes of the new fit.
        self.__dict__.pop("estimators_", None)
        try:
            self.estimators_ = self._train_members(X, y, sample_weight, X_val, y_val)
        except DivergenceError:
            raise
        except Exception:  # so that an earlier fit is not lost by a refused one
            restore_attributes(self, before)
            raise
        return self

    def _train_members(
        self, X: Any, y: Any, sample_weight: Weights, X_val: object, y_val: object
    ) -> list[BaseMLP]:
        """Return the members, fitted to the data of `fit`, and set the attributes that describe the data."""
        X, y = self._validate_data(X, y, reset=True)
        y = self._check_targets(y, "new")
        weights = self._validate_weights(sample_weight, X)
        if self.method == "snapshots" and not (X_val is None and y_val is None):
            raise ValueError("method='snapshots' trains without validation data: leave out X_val and y_val")
        if X_val is not None:  # the members know no feature names, and would warn of them
            try:
                X_val = self._validate_data(X_val, reset=False)
            except ValueError as error:
                raise ValueError(f"X_val, y_val: {error}") from error
        random = check_random_state(self.random_state)
        if self.method in ("snapshots", "average") and isinstance(self.estimator, list | tuple):
            raise ValueError(
                f"method={self.method!r} needs a single network: give one estimator in place of a list, "
                "or choose another method"
            )
        members = self._make_members(random)
        optimizer = make_optimizer(members[0])
        if self.method in ("snapshots", "average") and isinstance(optimizer, Minimiser):
            raise ValueError(
                f"method={self.method!r} needs a stochastic solver, which {optimizer.name!r} is not: choose "
                "another solver or method"
            )
        if self.method == "snapshots":
            return self._take_snapshots(members[0], X, y, weights)
        samples: list[Array | None] = [None] * len(members)
        if self.method == "average":
            span = self.n_estimators * members[0]._count_batches(X.shape[0])
            members, samples = [members[0].set_params(ema_decay=1 - 1 / span)], [None]
        elif self.method == "bootstrap":
            # Samples of weight 0 count as absent: do not draw them.
            allowed = np.flatnonzero(weights)
            samples = [allowed[random.randint(0, allowed.size, allowed.size)] for _ in members]
        data = (X, y, weights, X_val, y_val)
        fit_all(fit_member, list(zip(members, samples, strict=True)), data, self.n_jobs)
        return members

    def _make_members(self, random: np.random.RandomState) -> list[BaseMLP]:
        given, kind = self.estimator, self._kind
        is_list = isinstance(given, list | tuple)
        estimators = given if is_list else [kind() if given is None else given]
        if not len(estimators):
            raise ValueError("estimator is an empty list: give at least one estimator, or None")
        for place, one in enumerate(estimators):
            if not isinstance(one, kind):
                name = f"estimator[{place}]" if is_list else "estimator"
                raise ValueError(f"{name} must be a fastnn.{kind.__name__}, got {repr_with_module(one)}")
        members = []
        for one in itertools.islice(itertools.cycle(estimators), self.n_estimators):
            member = clone(one).set_params(random_state=int(random.randint(2**31 - 1)))
            member._validate_params()
            for name in ("classes_", "_has_labels", "n_outputs_"):  # derived from y
                if hasattr(self, name):
                    setattr(member, name, getattr(self, name))
            members.append(member)
        return members

    def _take_snapshots(self, member: BaseMLP, X: Any, y: Array, weights: Array) -> list[BaseMLP]:
        """Fit a network by cycles of the learning rate, and return copies at the end of every cycle."""
        n_passes = max(1, member.max_iter // self.n_estimators)
        cycle = n_passes * member._count_batches(X.shape[0])
        member.set_params(
            learning_rate=CosineDecay(cycle=cycle, restarts=True),
            n_iter_no_change=np.inf,
            early_stopping=False,
        )
        snapshots = []
        options = FitOptions(n_passes=n_passes, knows_classes=True, stopped=lambda: False)
        for _ in range(self.n_estimators):
            fit_network(member, X, y, weights, options=options)
            snapshots.append(copy.deepcopy(member))
        return snapshots

    _SAVED: ClassVar = {"estimators_": list[BaseMLP]}

    def _check_state(self) -> None:
        super()._check_state()
        for member in self.__dict__.get("estimators_", ()):
            # The members' kernels take samples and classes that only the ensemble has checked.
            if (member.n_features_in_, member.n_outputs_) != (self.n_features_in_, self.n_outputs_):
                raise ValueError("a member does not fit the ensemble's features or outputs")

    def _check_input(self, X: object) -> Any:
        check_is_fitted(self)
        return self._validate_data(X, reset=False)

    def __sklearn_is_fitted__(self) -> bool:
        return "estimators_" in self.__dict__


def fit_member(
    member: BaseMLP,
    rows: Array | None,
    X: Any,
    y: Array,
    weights: Array,
    X_val: object,
    y_val: object,
    *,
    stopped: Callable[[], bool],
) -> None:
    """Fit a member to samples with replacement, the rows `rows` of X and y, or to all if it is None."""
    if rows is not None:
        counts: Any = 1
        if member.early_stopping and X_val is None:  # no row may be trained on and validated on
            rows, counts = np.unique(rows, return_counts=True)
        X, y, weights = X[rows], y[rows], weights[rows] * counts
    fit_one(member, X, y, weights, X_val, y_val, stopped=stopped, knows_classes=True)


_PARAMETERS = """
    n_estimators : int, default 10
        Number of networks; for "average", number of epochs over which the parameters are averaged.
    method : {"seeds", "bootstrap", "snapshots", "average"}, default "seeds"
        "seeds": networks with different initial parameters. "bootstrap": as "seeds", but each network is
        fitted to n_samples samples drawn with replacement (Breiman, "Bagging predictors", 1996). If it sets
        aside validation samples for `early_stopping`, a sample drawn k times is one sample of weight k.
        "snapshots": copies of one network at the end of every cycle of its learning rate; the cycles take
        about `max_iter` epochs in total (Huang et al., "Snapshot ensembles", 2017). "average": one network
        whose parameters are a running average over about `n_estimators` epochs (Polyak & Juditsky, 1992).
    n_jobs : int, optional
        Number of threads that fit the networks, by default the number of cores; with a backend of joblib,
        chosen by ``joblib.parallel_config``, its number of jobs, as for `fit_many`.
    random_state : None, int or RandomState, default None
        Generator of the members' `random_state` and of the bootstrap samples.

    Attributes
    ----------
    estimators_ : list
        Fitted members of the ensemble.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : array (n_features,)
        Names of the features, where X has names and all of them are text."""


class MLPEnsembleClassifier(ClassTargets, ClassifierMixin, _Ensemble):
    __doc__ = (
        """Ensemble of networks for classes or labels, which predicts by the mean of their probabilities.

    The methods follow CS231n ("Neural Networks Part 3", section on model ensembles). `from_search` creates an
    ensemble of the best candidates of a search.

    Parameters
    ----------
    estimator : MLPClassifier or list of them, optional
        Estimator whose copies are the members, or a list of estimators, which are copied cyclically. By
        default ``MLPClassifier()``."""
        + _PARAMETERS
        + """
    classes_ : array (n_classes,)
        Classes, sorted.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(200, noise=0.2, random_state=0)
    >>> member = fastnn.MLPClassifier((16,), batch_size=20, learning_rate_init=0.02, max_iter=500)
    >>> ensemble = fastnn.MLPEnsembleClassifier(member, n_estimators=5, random_state=0).fit(X, y)
    >>> bool(ensemble.score(X, y) > 0.95)
    True
    """
    )

    _kind = MLPClassifier

    def predict_proba(self, X: object) -> Array:
        X = self._check_input(X)
        return np.mean([member.predict_proba(X) for member in self.estimators_], axis=0)

    def predict(self, X: object) -> Array:
        P = self.predict_proba(X)
        if not self._has_labels:
            return self.classes_[P.argmax(axis=1)]
        labels = (P > 0.5).astype(np.int64)
        return scipy.sparse.csr_matrix(labels) if self._is_sparse else labels


class MLPEnsembleRegressor(NumberTargets, RegressorMixin, _Ensemble):
    __doc__ = (
        """Ensemble of networks for numbers, which predicts their mean and standard deviation.

    Parameters
    ----------
    estimator : MLPRegressor or list of them, optional
        Estimator whose copies are the members, or a list of estimators, which are copied cyclically. By
        default ``MLPRegressor()``."""
        + _PARAMETERS
        + """

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> x = np.linspace(-3, 3, 200)[:, None]
    >>> member = fastnn.MLPRegressor(batch_size=20, learning_rate_init=0.01, activation="tanh", max_iter=500)
    >>> ensemble = fastnn.MLPEnsembleRegressor(member, n_estimators=5, random_state=0).fit(x, np.sin(x[:, 0]))
    >>> mean, std = ensemble.predict([[0.5], [30.0]], return_std=True)
    >>> bool(std[0] < 0.1 < std[1])  # far from the data they disagree
    True
    """
    )

    _kind = MLPRegressor

    def predict(self, X: object, return_std: bool = False) -> Any:
        """Compute the mean of the members' predictions, and on request their standard deviation.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            Samples.
        return_std : bool, default False
            Return the standard deviation too.

        Returns
        -------
        array (n_samples,) or (n_samples, n_outputs)
            Mean of the members' predictions.
        array of the same shape
            Standard deviation over the members; only with ``return_std=True``.
        """
        X = self._check_input(X)
        predictions = np.stack([member.predict(X) for member in self.estimators_])
        mean = predictions.mean(axis=0)
        return (mean, predictions.std(axis=0)) if return_std else mean
