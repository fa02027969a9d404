"""Targets of estimators: their checks, the score, and what exports and pictures read."""

from __future__ import annotations

import datetime
import numbers
import re
from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeAlias

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray
from sklearn.base import is_classifier
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import assert_all_finite, check_array, column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels
from sklearn.utils.validation import check_is_fitted, validate_data

from ..export.description import FitRecord, ModelDescription, describe
from ..network.decision import DecisionNetworks, refuse_override
from ..saving.attributes import SavableAttributes
from ..system.messages import pluralize, warn
from ..system.sklearn_internals import check_sample_weight
from ..system.validation import Array, check_distributions, check_weights, refuse_masked, short_repr
from .scores import make_accuracy
from .sparse import check_sparse

Weights: TypeAlias = ArrayLike | None


# Dtypes of X that are kept. Every other dtype is converted to the first.
FLOATS = (np.float64, np.float32)
# Default of y for calls without y: None is a y that the user forgot, which is an error.
_NO_TARGETS = object()


def check_texts(y: Array) -> None:
    """Raise ValueError if some of the classes are text, and others are not, as missing values and numbers."""
    if y.dtype.kind != "O":
        return
    others = [value for value in y.flat if not isinstance(value, str)]
    if 0 < len(others) < y.size:
        raise ValueError(
            f"y holds text and {short_repr(others[0])}, but classes are all text or all integers: write them "
            "as text, and leave out rows without a class"
        )


def check_no_times(y: Array) -> None:
    """Raise ValueError if a regressor's targets are dates or durations, which need a unit to be numbers."""
    kinds = {type(value) for value in y.flat} if y.dtype.kind == "O" else {y.dtype.type}
    if any(issubclass(kind, datetime.timedelta | np.timedelta64) for kind in kinds):
        raise ValueError(
            "y holds durations, but a regressor predicts numbers: choose their unit, for instance days, "
            "y = np.asarray(y, 'm8[us]') / np.timedelta64(1, 'D')"
        )
    if any(issubclass(kind, datetime.date | np.datetime64) for kind in kinds):
        raise ValueError(
            "y holds dates, but a regressor predicts numbers: choose their beginning and unit, for instance "
            "days since 2000, y = (np.asarray(y, 'M8[us]') - np.datetime64('2000-01-01')) / "
            "np.timedelta64(1, 'D')"
        )


class Targets(SavableAttributes, ABC):
    """Checks of X, y and the sample weights, and what files hold; base class of the estimators of arrays."""

    n_outputs_: int
    _SAVED: ClassVar = {"n_outputs_": int}
    # Arguments for scikit-learn's `validate_data` that concern y.
    _target_checks: ClassVar[dict[str, Any]] = {}
    # Function that raises ValueError for an array of objects that cannot be targets, such as dates.
    _check_objects: ClassVar[staticmethod[[Array], None]]

    @abstractmethod
    def _check_targets(self, y: Any, use: str) -> Array:
        """Check y, which scikit-learn has validated, set the attributes derived from y, and return y.

        The use of the samples is "new", which begins a network; "first", which begins one whose classes are
        known; "warm" or "partial", which continue a fit; or "validation", which evaluates it.
        """

    def _validate_data(self, X: object, y: object = _NO_TARGETS, *, reset: bool) -> Any:
        """Validate X, or X and y, by scikit-learn, after a check of sparse matrices; return the results."""
        options: dict[str, Any] = {"accept_sparse": "csr", "dtype": FLOATS, "order": "C"}
        try:
            if y is _NO_TARGETS:  # as in scikit-learn, a fit takes text as numbers, and a prediction does not
                rows = validate_data(self, check_sparse(X), **options | {"dtype": "numeric"}, reset=reset)
                return rows if rows.dtype in FLOATS else check_array(rows, **options, input_name="X")
            options |= {"y": check_sparse(y, "y"), "multi_output": True, **self._target_checks}
            return validate_data(self, check_sparse(X), **options, reset=reset)
        except TypeError:  # of objects in X or y: name y if it is y
            if y is not _NO_TARGETS:
                self._check_objects(np.asarray(y))
            raise
        except OverflowError as error:
            raise ValueError(f"X or y holds a number too large for a float, scale it down: {error}") from None
        except ValueError as error:
            if y is _NO_TARGETS or not re.search("Input X contains NaN|could not convert string", str(error)):
                raise
            kind = "TabularClassifier" if is_classifier(self) else "TabularRegressor"
            raise ValueError(f"{error}\nfastnn.{kind} takes tables with missing values and text.") from None

    @staticmethod
    def _validate_weights(sample_weight: Weights, X: Any) -> NDArray[np.float64]:
        if sample_weight is not None:
            refuse_masked(sample_weight, "sample_weight")
            try:
                sample_weight = check_sample_weight(sample_weight, X)
            except OverflowError as error:
                raise ValueError(
                    f"sample_weight holds a number too large for a float, scale it down: {error}"
                ) from None
        return check_weights(sample_weight, X.shape[0])

    def _get_members(self) -> list[Any]:
        """Return the estimators of one fitted network each: this estimator, or an ensemble's members."""
        check_is_fitted(self)
        hasattr(self, "_state")  # if weights were assigned, this makes a fitted network of them
        return getattr(self, "estimators_", [self])

    def _describe_networks(self, kind: str, classes: Array | None = None) -> ModelDescription:
        refuse_override(self)
        members = self._get_members()
        networks = []
        for one in members:
            losses, n_samples = getattr(one, "loss_curve_", ()), getattr(one, "t_", 0)
            fit = FitRecord(tuple(losses), int(one.n_iter_), int(n_samples))
            networks.append((one._state.network, one._state.folded, fit))
        return describe(
            type(self).__name__,
            kind,
            networks,
            is_ensemble=hasattr(self, "estimators_"),
            classes=classes,
            feature_names=getattr(self, "feature_names_in_", None),
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.sparse = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes without the buffers that the next partial fit makes anew."""
        state: dict[str, Any] = dict(super().__getstate__())  # type: ignore[call-overload]
        state.pop("_online", None)
        return state

    def _check_state(self) -> None:
        """Raise ValueError unless the classes match the outputs, in the order that fits rely on."""
        state = self.__dict__
        if "classes_" in state and "n_outputs_" in state:
            classes = state["classes_"]
            if not np.array_equal(np.unique(classes), classes):
                raise ValueError("classes_ does not hold distinct classes in increasing order")
            if state["n_outputs_"] != (len(classes) if state["_has_labels"] or len(classes) > 2 else 1):
                raise ValueError(f"{len(classes)} classes do not fit n_outputs_={state['n_outputs_']}")


class ClassTargets(Targets):
    """Targets that are classes, or labels: a sample may have several labels or none."""

    _SAVED: ClassVar = {"classes_": np.ndarray, "_has_labels": bool, "_is_sparse": bool}
    classes_: Array
    _has_labels: bool
    # True if the labels in `fit` were a sparse matrix: predictions are then sparse too.
    _is_sparse: bool
    _check_objects = staticmethod(check_texts)

    def _check_targets(self, y: Any, use: str) -> Array:
        if use in ("new", "first"):
            self._is_sparse = scipy.sparse.issparse(y)
        if scipy.sparse.issparse(y):
            y = y.toarray()
        if y.shape[1:] == (1,) or (y.ndim == 1 and not y.dtype.isnative):
            y = as_column(y)
        if self._is_soft(y, use):
            return self._check_fractions(y, use)
        check_texts(y)
        has_labels, classes = _find_classes(y)
        if use == "new":
            self._has_labels, self.classes_ = has_labels, classes
        elif use == "warm" and not np.array_equal(classes, self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {classes}"
            )
        elif not {*classes.tolist()} <= {*self.classes_.tolist()}:
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has "
                f"{classes}."
            )
        if has_labels != self._has_labels:
            raise ValueError(
                "The object was not fitted with multilabel input."
                if has_labels
                else "The object was fitted with multilabel input: y must have a column for each label."
            )
        if has_labels and len(classes) != len(self.classes_):
            raise ValueError(f"classes {self.classes_} mismatch with the labels {classes} found in the data")
        if use in ("new", "first"):
            n_classes = len(self.classes_)
            self.n_outputs_ = n_classes if self._has_labels or n_classes > 2 else 1
        return y

    def _is_soft(self, y: Array, use: str) -> bool:
        """Return True if y (n, n_classes) holds fractions of the classes, not labels."""
        if y.ndim != 2 or y.dtype.kind != "f" or y.shape[1] < 2:
            return False
        knows_classes = use != "new" and not self._has_labels and y.shape[1] == len(self.classes_)
        return knows_classes or type_of_target(y) == "continuous-multioutput"

    def _check_fractions(self, y: Array, use: str) -> Array:
        """Check rows of fractions of the classes, and return them scaled to a sum of 1."""
        rows = check_distributions(y, len(y), y.shape[1], np.dtype(np.float64))
        n_classes = rows.shape[1]
        if use == "new":
            self._has_labels, self.classes_ = False, np.arange(n_classes)
        elif self._has_labels or n_classes != len(self.classes_):
            raise ValueError(
                f"y has fractions of {n_classes} classes, but the estimator was fitted with {self.classes_}"
            )
        if use in ("new", "first"):
            self.n_outputs_ = n_classes if n_classes > 2 else 1
        return rows

    @abstractmethod
    def predict(self, X: object) -> Array:
        """Predict the class of every sample, or 1 for each of its labels.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            Samples.

        Returns
        -------
        array (n_samples,) of classes, or (n_samples, n_labels) of 0 and 1
            Predictions; a sparse matrix if the labels in `fit` were a sparse matrix.
        """

    @abstractmethod
    def predict_proba(self, X: object) -> Array:
        """Compute the probability of every class, in the order of `classes_`, or of every label.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            Samples.

        Returns
        -------
        array (n_samples, n_classes)
            Probabilities, a column per class or label.
        """

    def score(self, X: object, y: object, sample_weight: Weights = None) -> float:
        """Compute the accuracy: the fraction of samples whose class, or all labels, are predicted correctly.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            Samples.
        y : array-like (n_samples,), or array-like or sparse matrix (n_samples, n_labels)
            True classes, or a table of 0 and 1 for labels.
        sample_weight : array-like (n_samples,), optional
            Weights of the samples.

        Returns
        -------
        float
            Accuracy, from 0 to 1.

        Raises
        ------
        ValueError
            If X, y or `sample_weight` is invalid.
        """
        y = check_sparse(y, "y")
        # scikit-learn's accuracy checks plain classes for longer than a fit of a few rows takes.
        if sample_weight is None and type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iubU":
            found = np.asarray(self.predict(X))
            if found.shape == y.shape and found.dtype.kind == y.dtype.kind:
                return make_accuracy(y, np.ones(y.size))(found)
        return super().score(X, y, sample_weight)  # type: ignore[misc]

    def _decision_networks(self) -> DecisionNetworks | None:
        """Return the fitted networks with their classes; None if there is only one class."""
        states = [estimator._state for estimator in self._get_members()]
        members = [(state.network, state.folded) for state in states]
        votes = hasattr(self, "estimators_")
        if self._has_labels:
            n_labels = self.n_outputs_ if self.n_outputs_ > 1 else 0
            return DecisionNetworks(members, np.arange(2), n_labels, votes)
        return DecisionNetworks(members, self.classes_, votes=votes) if len(self.classes_) > 1 else None

    def _description(self) -> ModelDescription:
        self._get_members()
        if self._has_labels:
            return self._describe_networks("labels")
        return self._describe_networks("classes", self.classes_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _find_classes(y: Array) -> tuple[bool, Array]:
    """Return whether y holds labels (True) or classes (False), and the distinct labels or classes."""
    if y.ndim == 1 and y.dtype.kind in "iubU":  # such y holds classes: skip the slow `type_of_target`
        classes = np.unique(y)
        if 2 * classes.size <= y.size:  # with more classes, scikit-learn may warn
            # As in scikit-learn, the text dtype is as long as the longest class.
            return False, np.array(classes.tolist()) if classes.dtype.kind == "U" else classes
    kind = type_of_target(y, input_name="y")
    if kind.startswith(("continuous", "unknown")):
        check_classification_targets(y)  # raises for these kinds; would warn of others
    if kind == "multiclass-multioutput":
        raise ValueError("Multioutput target data is not supported with label binarization")
    has_labels = kind.startswith("multilabel")
    return has_labels, np.arange(y.shape[1]) if has_labels else unique_labels(y)


def check_class_weights(class_weight: dict[Any, float], classes: Array) -> Array:
    """Return the weights (n_classes,) of classes by a dict; classes that the dict lacks have the weight 1."""
    message = f"class_weight must hold finite numbers of at least 0, got {class_weight!r}"
    if not all(isinstance(weight, numbers.Real | np.bool_) for weight in class_weight.values()):
        raise ValueError(message)
    weights = compute_class_weight(class_weight, classes=classes, y=classes)
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError(message)
    return weights


class NumberTargets(Targets):
    """Targets that are numbers, one or several per sample."""

    _target_checks: ClassVar[dict[str, Any]] = {"y_numeric": True}
    _check_objects = staticmethod(check_no_times)

    def _check_targets(self, y: Array, use: str) -> Array:
        check_no_times(y)
        if y.shape[1:] == (1,):
            y = as_column(y)
        n_outputs = 1 if y.ndim == 1 else y.shape[1]
        if use in ("new", "first"):
            self.n_outputs_ = n_outputs
        elif n_outputs != self.n_outputs_:
            raise ValueError(
                f"y has {pluralize(n_outputs, 'output')}, but the estimator was fitted with {self.n_outputs_}"
            )
        return y

    def _description(self) -> ModelDescription:
        return self._describe_networks("numbers")


def as_column(y: Any) -> Array:
    """Return y as an array (n,) in this machine's byte order; warn of (n, 1) at the user's line."""
    column: Array = column_or_1d(y)
    if np.asarray(y).ndim > 1:
        warn(
            "A column-vector y was passed when a 1d array was expected. Please change the shape of y to "
            "(n_samples, ), for example using ravel().",
            DataConversionWarning,
        )
    return column if column.dtype.isnative else column.astype(column.dtype.newbyteorder("="))


def check_column(estimator: object, y: object, begins: bool) -> Array:
    """Return targets (n,) without NaN and infinity; of two rows at least if a fit begins."""
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y is None"
        )
    refuse_masked(y, "y", "leave out their rows")
    targets = as_column(y)
    if begins and len(targets) < 2:
        raise ValueError(
            f"n_samples={len(targets)}: at least two rows are needed, to train and to validate on"
        )
    try:
        assert_all_finite(targets, input_name="y")
    except (TypeError, ValueError) as error:  # a TypeError of pandas' NA among text
        if targets.dtype.kind != "O":
            raise
        # scikit-learn's message on objects does not say that y holds the missing value.
        raise ValueError(f"y holds a missing value, leave out its row: {error}") from None
    return targets


def check_numbers(y: Array) -> NDArray[np.float64]:
    """Return the targets (n,) of a regressor as numbers.

    As in scikit-learn, booleans count as 0 and 1, and text that is a number as this number.
    """
    check_no_times(y)
    if y.dtype.kind in "OSTU":
        try:
            y = y.astype(object).astype(np.float64)  # whose messages have text without a type
        except OverflowError as error:
            raise ValueError(f"y holds a number too large for a float, scale it down: {error}") from None
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"y must hold numbers for a regressor ({error}): replace or leave out other values, "
                "or fit a classifier to classes"
            ) from None
    return check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
