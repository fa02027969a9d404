"""Many networks at once: `fit_many` fits them side by side, the ensembles predict with them together.

The compiled loops hold no lock of Python's, so threads are all it takes: each fits one network after
another, a call into the kernels lasting as long as a chunk of passes. What a fit gives does not depend on
what runs beside it.
"""

from __future__ import annotations

import copy
import numbers
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context, clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from fastnn_kernels.compiler.interrupts import held_interrupts

from ..optimizers import LBFGS
from ..schedules import CosineDecay
from ..system import threads
from ..system.validation import check_count, shown
from .base import BaseMLP, MLPClassifier, MLPRegressor
from .documentation import DocumentationLinkMixin
from .targets import ClassTargets, NumberTargets, Targets
from .watching import with_callbacks

__all__ = ["MLPEnsembleClassifier", "MLPEnsembleRegressor", "fit_many"]

Array = NDArray[Any]
# Fits one estimator. It is called with a function that says whether it should end.
Task = Callable[[Callable[[], bool]], None]


def fit_many(
    estimators: Iterable[Any], X: Any, y: Any, *, sample_weight: Any = None, n_jobs: int | None = None
) -> list[Any]:
    """Fit many networks to the same data, side by side on threads.

    Parameters
    ----------
    estimators : iterable of MLPClassifier or MLPRegressor
        Of any parameters. They are fitted in place, each exactly as it would be by itself: side by side if
        `random_state` is an integer, and one after another, in the order they are given, if they draw from
        the same generator, as those do whose `random_state` is None.
    X, y : array-like
        As `fit` takes them.
    sample_weight : array-like (n_samples,), optional
        Weights of the samples.
    n_jobs : int, optional
        Threads: by default as many as there are cores; of negative numbers -1 is all cores, -2 all but one.
        They are this process's own, whatever backend joblib is set to.

    Returns
    -------
    list
        The estimators.

    Raises
    ------
    ValueError
        For an estimator that stands in the list twice, or is none of fastnn's; for an n_jobs of 0.
    Exception
        Whatever a fit raises, when the others are done, with the place of the estimator as a note.
    KeyboardInterrupt
        Within a fraction of a second of Ctrl-C. Estimators whose fit has begun are fitted as far as it came.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> settings = {"learning_rate_init": 0.02, "max_iter": 1000, "random_state": 0}
    >>> many = [fastnn.MLPClassifier((units,), **settings) for units in (5, 10, 20)]
    >>> [bool(fitted.score(X, y) > 0.9) for fitted in fastnn.fit_many(many, X, y)]
    [True, True, True]
    """
    try:
        estimators = list(estimators)
    except TypeError:
        raise ValueError(
            f"estimators must be a list of fastnn's estimators, got {shown(estimators)}"
        ) from None
    for k, estimator in enumerate(estimators):
        if not isinstance(estimator, BaseMLP):
            raise ValueError(
                f"estimators[{k}] must be a fastnn.MLPClassifier or MLPRegressor, got {_told(estimator)}: "
                "fit others with joblib"
            )
    if len({id(estimator) for estimator in estimators}) < len(estimators):
        raise ValueError("estimators holds the same object more than once: clone it")

    def task(estimator: Any) -> Task:
        return lambda stopped: _fit_one(estimator, X, y, sample_weight, stopped)

    _run_side_by_side([task(estimator) for estimator in estimators], _chains(estimators), n_jobs)
    return estimators


@with_callbacks
def _fit_one(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    stopped: Callable[[], bool],
    knows_classes: bool = False,
) -> None:
    """What `fit` does, but that it ends when it is told to."""
    estimator._validate_params()
    estimator._fit(X, y, sample_weight, knows_classes=knows_classes, stopped=stopped)


def _told(estimator: Any) -> str:
    """What somebody gave, with the module: scikit-learn has classes of the same names."""
    kind = type(estimator)
    return repr(estimator) if isinstance(estimator, type) else f"{estimator!r} of {kind.__module__}"


def _chains(estimators: Sequence[Any]) -> list[list[int]]:
    """Places of the estimators, those together in their order that draw from the same generator."""
    chains: dict[Any, list[int]] = {}
    for k, estimator in enumerate(estimators):
        state = estimator.random_state
        if state is None:  # which somebody else may have given as itself
            state = check_random_state(None)
        chains.setdefault(("own", k) if isinstance(state, numbers.Integral) else id(state), []).append(k)
    return list(chains.values())


def _run_side_by_side(tasks: Sequence[Task], chains: list[list[int]], n_jobs: int | None) -> None:
    """Run the tasks on threads, a chain's one after another: all of them, then raise what one raised."""
    stopping = threading.Event()
    errors: dict[int, BaseException] = {}

    def run(chain: list[int]) -> None:
        for k in chain:
            if stopping.is_set():
                return
            try:
                tasks[k](stopping.is_set)
            except KeyboardInterrupt as error:
                errors[k] = error
                stopping.set()
            except Exception as error:
                errors[k] = error

    n_threads = min(_n_threads(n_jobs), len(chains))
    if n_threads <= 1:
        for chain in chains:
            run(chain)
    else:
        ended: SimpleQueue[None] = SimpleQueue()

        def run_and_tell(chain: list[int]) -> None:
            try:
                run(chain)
            finally:
                ended.put(None)

        pool: ThreadPoolExecutor | None = None
        try:
            with held_interrupts():
                with suppress(RuntimeError):  # the system has no more threads
                    pool = threads.started_pool(n_threads)
                futures = [] if pool is None else [pool.submit(run_and_tell, chain) for chain in chains]
            if pool is None:
                for chain in chains:
                    run(chain)
            for _ in futures:  # which an interrupt ends, and nothing of Python's is left half done
                ended.get()
            for future in futures:
                future.result()
        finally:  # an interrupt: those that run end at their next chunk
            with held_interrupts():
                stopping.set()
                if pool is not None:
                    pool.shutdown()
    if errors:
        # An interrupt is what the caller waits for, whatever went wrong before it.
        first = min(errors, key=lambda k: (isinstance(errors[k], Exception), k))
        error = errors[first]
        if len(tasks) > 1:
            error.add_note(f"This was the fit of estimator {first} of {len(tasks)}, counted from 0.")
        raise error


def _n_threads(n_jobs: Any) -> int:
    """Threads that `n_jobs` asks for."""
    is_integer = isinstance(n_jobs, numbers.Integral) and type(n_jobs) is not bool
    if not (n_jobs is None or (is_integer and n_jobs)):
        raise ValueError(f"n_jobs must be None or an integer other than 0, got {n_jobs!r}")
    count = -1 if n_jobs is None else int(n_jobs)
    return count if count > 0 else max(1, threads.available_cores() + 1 + count)


class _Ensemble(Targets, DocumentationLinkMixin, BaseEstimator):
    """What the two ensembles share."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [BaseMLP, list, tuple, None],
        "n_estimators": [Interval(numbers.Integral, 1, None, closed="left")],
        "method": [StrOptions({"seeds", "bootstrap", "snapshots", "average"})],
        "n_jobs": [numbers.Integral, None],
        "random_state": ["random_state"],
    }
    _kind: ClassVar[type[BaseMLP]]

    def __init__(self, estimator=None, n_estimators=10, method="seeds", n_jobs=None, random_state=None):
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.method = method
        self.n_jobs = n_jobs
        self.random_state = random_state

    @classmethod
    def from_search(cls, search: Any, n_estimators: int = 10, **parameters: Any) -> Any:
        """The ensemble of the best networks that a search has found, not fitted yet.

        Parameters
        ----------
        search : GridSearchCV, RandomizedSearchCV or their like
            Fitted, over one of fastnn's estimators. Of several metrics `refit` names the one that counts.
        n_estimators : int, default 10
            How many: the candidates of the best mean score, or all that could be fitted if there are no more.
        **parameters
            Of the ensemble: `n_jobs`, `random_state`, `method`.

        Returns
        -------
        ensemble

        Raises
        ------
        ValueError
            For n_estimators below 1, a search whose metrics have none that counts, or no candidate a score.
        """
        check_is_fitted(search, "cv_results_")
        check_count(n_estimators, "n_estimators", 1)
        results = search.cv_results_
        metric = "score" if "rank_test_score" in results else search.refit
        if f"rank_test_{metric}" not in results:
            raise ValueError("the search has several metrics: name the one that counts as its refit")
        order = np.argsort(results[f"rank_test_{metric}"], kind="stable")
        best = [k for k in order if np.isfinite(results[f"mean_test_{metric}"][k])][:n_estimators]
        if not best:
            raise ValueError("no candidate of the search has a score: each of their fits failed")
        candidates = [clone(search.estimator).set_params(**results["params"][k]) for k in best]
        return cls(candidates, len(candidates), **parameters)

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fit the members.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
        y : array-like (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like (n_samples,), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError, DivergenceError
            As a member's `fit` does.
        KeyboardInterrupt
            Within a fraction of a second of Ctrl-C. The ensemble is not fitted then.
        """
        # What a fit that fails leaves behind would be members of one fit and classes of another.
        self.__dict__.pop("estimators_", None)
        X, y = self._validated(X, y, reset=True)
        y = self._check_targets(y, "new")
        weights = self._validated_weights(sample_weight, X)
        random = check_random_state(self.random_state)
        if self.method in ("snapshots", "average") and isinstance(self.estimator, list | tuple):
            raise ValueError(
                f"method={self.method!r} is of one network: give one estimator in place of a list, or choose "
                "another method"
            )
        members = [self._member(k, random) for k in range(self.n_estimators)]
        if self.method in ("snapshots", "average") and isinstance(members[0]._chosen_optimizer(), LBFGS):
            raise ValueError(
                f"method={self.method!r} follows a training from step to step, of which solver 'lbfgs' has "
                "none: choose another solver or method"
            )
        if self.method == "snapshots":
            members = self._snapshots(members[0], X, y, weights)
        elif self.method == "average":
            span = self.n_estimators * members[0]._n_batches(X.shape[0])
            del members[1:]
            members[0].set_params(ema_decay=1 - 1 / span)
            self._fit_members(members, [(X, y, weights)])
        elif self.method == "bootstrap":
            # Rows of the weight 0 are as if they were not there.
            allowed = np.flatnonzero(weights)
            samples = [allowed[random.randint(0, allowed.size, allowed.size)] for _ in members]
            self._fit_members(members, [(X[rows], y[rows], weights[rows]) for rows in samples])
        else:
            self._fit_members(members, [(X, y, weights)] * len(members))
        self.estimators_ = members
        return self

    def _member(self, k: int, random: np.random.RandomState) -> Any:
        """The k-th member, not fitted yet."""
        given = self.estimator
        if isinstance(given, list | tuple):
            for place, one in enumerate(given):
                if not isinstance(one, self._kind):
                    raise ValueError(
                        f"estimator[{place}] must be a fastnn.{self._kind.__name__}, got {_told(one)}"
                    )
            if not len(given):
                raise ValueError("estimator is an empty list: give one estimator at least, or None")
            given = given[k % len(given)]
        elif given is None:
            given = self._kind()
        elif not isinstance(given, self._kind):
            raise ValueError(f"estimator must be a fastnn.{self._kind.__name__}, got {_told(given)}")
        member = clone(given).set_params(random_state=int(random.randint(2**31 - 1)))
        member._validate_params()
        return member

    def _known(self, member: Any) -> Any:
        """The member, told what there is to be known of y."""
        for name in ("classes_", "_has_labels", "n_outputs_"):
            if hasattr(self, name):
                setattr(member, name, getattr(self, name))
        return member

    def _fit_members(self, members: list[Any], data: list[tuple[Any, Any, Any]]) -> None:
        def task(member: Any, X: Any, y: Any, weights: Any) -> Task:
            return lambda stopped: _fit_one(self._known(member), X, y, weights, stopped, True)

        tasks = [task(member, *table) for member, table in zip(members, data, strict=True)]
        _run_side_by_side(tasks, [[k] for k in range(len(tasks))], self.n_jobs)

    def _snapshots(self, member: Any, X: Any, y: Any, weights: Any) -> list[Any]:
        """One network at the end of every cycle (Huang et al., "Snapshot ensembles", 2017)."""
        n_passes = max(1, member.max_iter // self.n_estimators)
        cycle = n_passes * member._n_batches(X.shape[0])
        member.set_params(
            learning_rate=CosineDecay(cycle=cycle, restarts=True),
            n_iter_no_change=np.inf,
            early_stopping=False,
        )
        self._known(member)
        snapshots = []
        for _ in range(self.n_estimators):
            member._fit(X, y, weights, n_passes=n_passes, knows_classes=True, stopped=lambda: False)
            snapshots.append(copy.deepcopy(member))
        return snapshots

    def _samples(self, X: Any) -> Any:
        check_is_fitted(self)
        return self._validated(X, reset=False)

    @abstractmethod
    def predict(self, X: Any) -> Array:
        """What the members say together."""

    def __sklearn_is_fitted__(self) -> bool:
        return "estimators_" in self.__dict__

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


_PARAMETERS = """
    n_estimators : int, default 10
        Networks; with "average", passes that the average spans.
    method : {"seeds", "bootstrap", "snapshots", "average"}, default "seeds"
        "seeds": networks that begin with other parameters. "bootstrap": likewise, and each fitted to as many
        samples drawn with replacement (Breiman, "Bagging predictors", 1996). "snapshots": one network, as it
        is at the end of every cycle of its learning rate, about `max_iter` passes in all. "average": one
        network whose parameters are a running average of those of the last `n_estimators` passes (Polyak &
        Juditsky, 1992).
    n_jobs : int, optional
        Threads that fit the members. By default as many as there are cores.
    random_state : None, int or RandomState, default None
        Of the members' `random_state` and of the samples drawn.

    Attributes
    ----------
    estimators_ : list
        The fitted members."""


class MLPEnsembleClassifier(ClassTargets, ClassifierMixin, _Ensemble):
    __doc__ = (
        """Networks for classes or labels that predict together: the mean of their probabilities.

    The four ways are those of CS231n ("Neural Networks Part 3", section on model ensembles), with
    `from_search` for the best of a search.

    Parameters
    ----------
    estimator : MLPClassifier or list of them, optional
        What the members are copies of, of a list one after the other. By default ``MLPClassifier()``."""
        + _PARAMETERS
        + """
    classes_ : array (n_classes,)
        The classes, sorted.
    n_features_in_ : int
    feature_names_in_ : array (n_features_in_,)
        Where X has such names, all of them text.

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

    def predict_proba(self, X: Any) -> Array:
        """The mean of the members' probabilities, in the order of `classes_`.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)

        Returns
        -------
        array (n_samples, n_classes)
        """
        X = self._samples(X)
        return np.mean([member.predict_proba(X) for member in self.estimators_], axis=0)

    def predict(self, X: Any) -> Array:
        """The class of every sample, or 1 for every label it has, by the mean probability.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)

        Returns
        -------
        array (n_samples,) of classes, or (n_samples, n_labels) of 0 and 1
            A sparse matrix where the labels of the fit were one.
        """
        P = self.predict_proba(X)
        if not self._has_labels:
            return self.classes_[P.argmax(axis=1)]
        labels = (P > 0.5).astype(np.int64)
        return scipy.sparse.csr_matrix(labels) if self._is_sparse else labels

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPEnsembleRegressor(NumberTargets, RegressorMixin, _Ensemble):
    __doc__ = (
        """Networks for numbers that predict together: the mean, and how far they are apart.

    Parameters
    ----------
    estimator : MLPRegressor or list of them, optional
        What the members are copies of, of a list one after the other. By default ``MLPRegressor()``."""
        + _PARAMETERS
        + """
    n_features_in_ : int
    feature_names_in_ : array (n_features_in_,)
        Where X has such names, all of them text.

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

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """The mean of the members' predictions, and their standard deviation.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
        return_std : bool, default False

        Returns
        -------
        array (n_samples,) or (n_samples, n_outputs)
            The mean.
        array of the same shape
            The standard deviation over the members, where it was asked for.
        """
        X = self._samples(X)
        predictions = np.stack([member.predict(X) for member in self.estimators_])
        mean = predictions.mean(axis=0)
        return (mean, predictions.std(axis=0)) if return_std else mean
