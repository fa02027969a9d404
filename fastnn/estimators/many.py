"""fit_many: parallel fits of many networks."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Hashable, Iterable

import numpy as np
from sklearn.utils import check_random_state

from ..system.generators import resolve_random_state
from ..system.sklearn_internals import with_callbacks
from ..system.threads import count_threads
from ..system.validation import short_repr
from .base import BaseMLP
from .fitting import FitOptions, fit_network
from .parallel import fit_all
from .targets import Weights


def fit_many(
    estimators: Iterable[BaseMLP],
    X: object,
    y: object,
    *,
    sample_weight: Weights = None,
    X_val: object = None,
    y_val: object = None,
    n_jobs: int | None = None,
    rng: int | np.random.Generator | None = None,
) -> list[BaseMLP]:
    """Fit many networks to the same data, in parallel on threads or on a cluster.

    Fits run on threads of this process, or on the workers of a backend of joblib that the user has chosen by
    ``joblib.parallel_config``, such as "loky" or "dask". The results are the same, bit for bit.

    Parameters
    ----------
    estimators : iterable of MLPClassifier or MLPRegressor
        Estimators with any parameters, which are fitted in place exactly as by their `fit`. Estimators whose
        `random_state` is an integer are fitted in parallel. Estimators that share a generator, as all with
        the `random_state` None do without `rng`, are fitted one after another in the order of the list, in
        this process.
    X, y : array-like
        Samples and targets, as for `fit`.
    sample_weight : array-like (n_samples,), optional
        Weights of the samples.
    X_val, y_val : array-like, optional
        Validation data of all estimators, as for `fit`.
    n_jobs : int, optional
        Number of threads, by default the number of cores; -1 stands for all cores, -2 for all but one. With
        a backend of joblib, its number of jobs, by default as in ``joblib.parallel_config``, or all.
    rng : None, int or numpy.random.Generator, default None
        Seed or generator of the `random_state` of estimators where that is None: each is set to an integer of
        its own, drawn in the order of the list. A generator moves on by each call.

    Returns
    -------
    list
        The fitted estimators.

    Raises
    ------
    ValueError
        If an estimator occurs twice or is not a fastnn estimator, if `n_jobs` is 0, or if `rng` is not None,
        an integer of at least 0 or a ``Generator``.
    Exception
        First error of a fit, raised after all other fits, with the estimator's index as a note; or the error
        of a backend that has lost workers, with the number of fits that had ended as a note. Their estimators
        are fitted.
    KeyboardInterrupt
        Within a fraction of a second after Ctrl-C. Estimators whose fit has begun keep the epochs done so
        far. On workers of a backend, only estimators whose fit has ended keep anything.

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
            f"estimators must be a list of fastnn's estimators, got {short_repr(estimators)}"
        ) from None
    for k, estimator in enumerate(estimators):
        if not isinstance(estimator, BaseMLP):
            raise ValueError(
                f"estimators[{k}] must be a fastnn.MLPClassifier or MLPRegressor, got "
                f"{repr_with_module(estimator)}: fit others with joblib"
            )
    if len({id(estimator) for estimator in estimators}) < len(estimators):
        raise ValueError("estimators holds the same object more than once: clone it")
    count_threads(n_jobs)  # a wrong number is refused before estimators get a seed
    if rng is not None:
        random = resolve_random_state(None, rng)
        for estimator in estimators:
            if estimator.random_state is None:
                estimator.set_params(random_state=int(random.randint(2**31 - 1)))

    groups = [_find_generator_key(estimator.random_state) for estimator in estimators]
    data = (X, y, sample_weight, X_val, y_val)
    fit_all(
        fit_one,
        [(estimator,) for estimator in estimators],
        data,
        n_jobs,
        groups=groups,
        remedy="these networks are fitted, pass the others to fit_many again",
    )
    return estimators


@with_callbacks
def fit_one(
    estimator: BaseMLP,
    X: object,
    y: object,
    sample_weight: Weights,
    X_val: object,
    y_val: object,
    *,
    stopped: Callable[[], bool],
    knows_classes: bool = False,
) -> None:
    """Fit an estimator as its `fit` does; raise KeyboardInterrupt when `stopped` returns True."""
    estimator._validate_params()
    options = FitOptions(knows_classes=knows_classes, stopped=stopped)
    fit_network(estimator, X, y, sample_weight, X_val, y_val, options)


def repr_with_module(estimator: object) -> str:
    """Return an estimator with its module, for messages: scikit-learn has classes of the same names."""
    kind = type(estimator)
    return repr(estimator) if isinstance(estimator, type) else f"{estimator!r} of {kind.__module__}"


def _find_generator_key(random_state: object) -> Hashable:
    """Return a key that estimators have in common if they draw from the same generator; None for a seed."""
    if isinstance(random_state, numbers.Integral):
        return None
    # None stands for NumPy's global generator, which may also be another's `random_state`.
    return id(check_random_state(None) if random_state is None else random_state)
