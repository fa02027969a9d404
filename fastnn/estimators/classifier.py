"""MLPClassifier: a network that predicts classes, or several labels per sample."""

from __future__ import annotations

import functools
import numbers
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse
import scipy.special
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target

from ..engine.predictor import label_positive
from ..export.sklearn import make_label_binarizer
from ..losses import Loss, SigmoidBinaryCrossEntropy, SoftmaxCrossEntropy
from ..system.sklearn_internals import Interval, StrOptions, check_first_partial_fit, fit_context
from ..system.validation import Array, sort_classes
from ..system.words import translate_arguments
from .base import BaseMLP
from .fitting import FitOptions, fit_network
from .online import try_online_steps
from .parameters import ATTRIBUTES_DOC, CONSTRAINTS, PARAMETERS_DOC
from .samples import Samples
from .scores import Score, make_accuracy
from .solvers import is_stochastic
from .sparse import check_sparse
from .targets import ClassTargets, Weights, check_class_weights, check_texts
from .weights import make_from_weights


class MLPClassifier(ClassTargets, ClassifierMixin, BaseMLP):
    __doc__ = (
        """A multilayer network for classes or labels: scikit-learn's MLPClassifier with additions.

    Parameters
    ----------"""
        + PARAMETERS_DOC.rstrip()
        + """
    label_smoothing : float, default 0.0
        Fraction of the target that is spread evenly over all classes, from 0 to 1.
    class_weight : dict or "balanced", optional
        Weights of the classes, by which the sample weights are multiplied; "balanced" gives all classes the
        same sum of weights. By default all classes have the weight 1.

    Attributes
    ----------
    classes_ : array (n_classes,)
        Classes, sorted."""
        + ATTRIBUTES_DOC.rstrip()
        + """

    Notes
    -----
    Parameters, defaults, attributes, messages and random numbers are scikit-learn's, so that programs
    written for scikit-learn's class also run with this class. The parameters from `dropout` on, further
    activations, solvers and schedules, and the validation data of `fit` are additions.

    There are deliberate differences. A fit that continues an earlier one (`warm_start`, `partial_fit`) also
    continues its generator and its order of the samples, and a warm start continues the optimizer's state;
    scikit-learn resets them. k epochs followed by m epochs therefore equal k + m epochs. To obtain
    scikit-learn's weights, set `random_state` to a new ``np.random.RandomState(seed)`` before each call of
    `partial_fit`. `CalibratedClassifierCV` and the scorers "roc_auc" and "average_precision" use
    `decision_function`, which scikit-learn's class does not have. ``docs/scikit-learn.md`` in the sources
    lists all differences with their reasons.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = fastnn.MLPClassifier(max_iter=500, random_state=0).fit(X, y)
    >>> bool(classifier.score(X, y) > 0.95)
    True
    """
    )

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **CONSTRAINTS,
        "label_smoothing": [Interval(numbers.Real, 0, 1, closed="both")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }
    # scikit-learn's classifier has this attribute too. It is not a parameter.
    loss: ClassVar[str] = "log_loss"

    @translate_arguments
    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        dropout=0.0,
        batch_norm=False,
        weight_decay=None,
        max_grad_norm=None,
        ema_decay=None,
        scoring=None,
        n_threads=None,
        init=None,
        ties="earliest",
        label_smoothing=0.0,
        class_weight=None,
    ):
        self._store_arguments(locals())

    @classmethod
    def from_weights(
        cls,
        coefs: Iterable[ArrayLike],
        intercepts: Iterable[ArrayLike],
        classes: ArrayLike | None = None,
        **parameters: Any,
    ) -> Self:
        """Create a fitted classifier from weights, such as another library's or the mean of several fits.

        Parameters
        ----------
        coefs : list of array (n_in, n_out)
            Weights of the layers. Two classes have one output, the score of the second; three and more have
            one each.
        intercepts : list of array (n_out,)
            Biases of the layers.
        classes : array-like (n_classes,), optional
            Classes in increasing order; by default the outputs are independent labels.
        **parameters
            Parameters of the classifier, such as `activation`; by default `hidden_layer_sizes` is what the
            arrays say.

        Returns
        -------
        MLPClassifier
            Classifier that predicts; `partial_fit`, and `fit` with ``warm_start=True``, train it further.

        Raises
        ------
        ValueError
            If the arrays fit neither each other nor the classes, or hold anything but numbers.

        Examples
        --------
        >>> import numpy as np
        >>> import fastnn
        >>> one = fastnn.MLPClassifier.from_weights([np.array([[1.0], [-1.0]])], [np.zeros(1)], ["no", "yes"])
        >>> one.predict([[2.0, 1.0], [1.0, 2.0]]).tolist()
        ['yes', 'no']
        """
        given: dict[str, Any] = {"_has_labels": classes is None}
        if classes is not None:
            given["classes_"] = np.asarray(classes)
        return make_from_weights(cls, coefs, intercepts, parameters, given)

    def _adopt_targets(self) -> None:
        n_outputs, given = self.n_outputs_, self.__dict__
        self._is_sparse = False
        if "_has_labels" not in given:
            self._has_labels = n_outputs > 1 and given.get("_assigned_output") == "logistic"
        if self._has_labels:
            self.classes_ = np.arange(n_outputs)
        elif "classes_" not in given:
            raise ValueError("classes_ is missing: assign the classes, or use MLPClassifier.from_weights")
        self.classes_ = np.asarray(self.classes_)
        if len(self.classes_) == 2 == n_outputs and not self._has_labels:
            raise ValueError("two classes have one output: assign the second column minus the first")

    # --- fitting -----------------------------------------------------------------------------------

    @available_if(is_stochastic)
    @try_online_steps
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: object, y: object, sample_weight: Weights = None, classes: ArrayLike | None = None
    ) -> MLPClassifier:
        """Train for one more epoch on X and y.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            Samples.
        y : array-like (n_samples,) or (n_samples, n_outputs)
            Classes, a table of 0 and 1 for labels, or rows of fractions of the classes, which sum to 1.
        sample_weight : array-like (n_samples,), optional
            Weights of the samples.
        classes : array-like (n_classes,), optional
            All classes that occur in any call; required in the first call.

        Returns
        -------
        MLPClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            For the reasons of `fit`; if `classes` is missing or cannot be sorted; or if `early_stopping` is
            True.
        """
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' would balance the samples of each call by themselves: pass the "
                "weights of all classes as a dict, as sklearn.utils.compute_class_weight gives them"
            )
        y = check_sparse(y, "y")
        if classes is not None:
            sort_classes(classes)
        try:
            with np.errstate(invalid="ignore"):  # `fit_network` refuses NaN and infinity
                if check_first_partial_fit(self, classes):
                    self._has_labels = type_of_target(y).startswith("multilabel")
            fit_network(self, X, y, sample_weight, options=FitOptions(n_passes=1, knows_classes=True))
            return self
        except BaseException as error:
            if "_state" not in self.__dict__:  # the first call failed: the next call is the first again
                for name in ("classes_", "_has_labels"):
                    self.__dict__.pop(name, None)
            if isinstance(error, TypeError):  # of `type_of_target`
                check_texts(np.asarray(y))
            raise

    def _encode(self, y: Array, dtype: np.dtype) -> Array:
        """Return class numbers (n, 1) or labels (n, n_labels); with the sigmoid's loss, smoothed here."""
        if self._has_labels:
            targets = y
        elif y.ndim == 2:  # fractions of the classes; two classes need the second alone
            targets = y if self.n_outputs_ > 1 else y[:, 1:]
        else:
            targets = np.searchsorted(self.classes_, y)[:, None]
        targets = targets.astype(dtype)
        if self.label_smoothing and not isinstance(self._make_loss(), SoftmaxCrossEntropy):
            share = float(self.label_smoothing)
            targets = targets * (1 - share) + share / 2
        return targets

    def _weigh_samples(self, y: Array) -> NDArray[np.float64] | None:
        if self.class_weight is None:
            return None
        if y.ndim == 2 and not self._has_labels:
            if not isinstance(self.class_weight, dict):
                raise ValueError("class_weight='balanced' needs classes in y, not fractions: pass a dict")
            return y @ check_class_weights(self.class_weight, self.classes_)
        if not isinstance(self.class_weight, dict) or self._has_labels:
            return compute_sample_weight(self.class_weight, y)
        # In a partial fit, y may lack some of the classes: compute the weights from all classes.
        return check_class_weights(self.class_weight, self.classes_)[np.searchsorted(self.classes_, y)]

    def _make_loss(self) -> Loss:
        if self.n_outputs_ == 1 or self._has_labels:
            return SigmoidBinaryCrossEntropy()
        return SoftmaxCrossEntropy(label_smoothing=float(self.label_smoothing))

    def _make_score(self, data: Samples) -> Score:
        y = data.given_y
        if y.ndim == 2 and not self._has_labels:
            y = self.classes_[y.argmax(axis=1)]
        return make_accuracy(y, data.weights)

    # --- predicting --------------------------------------------------------------------------------

    def _choose_output(self, method: str) -> tuple[str | None, Callable[[Array], Array]]:
        classes, is_binary = self.classes_, self.n_outputs_ == 1 and not self._has_labels
        if method == "predict":
            if self._has_labels:
                return "identity", label_positive
            if is_binary:
                return "identity", functools.partial(_choose_of_two, classes)
            return None, classes.take
        if not is_binary:
            return "sigmoid" if self._has_labels else "softmax", np.copy
        if len(classes) == 1:
            return "sigmoid", np.ones_like
        return "sigmoid", _add_first_class

    def predict(self, X: object) -> Array:
        classes = self._compute_predictions(self._check_input(X), "predict")
        return scipy.sparse.csr_matrix(classes) if self._is_sparse else classes

    def decision_function(self, X: object) -> Array:
        """Compute the scores (logits), from which the probabilities are computed.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            Samples.

        Returns
        -------
        array (n_samples,) for two classes, else (n_samples, n_classes)
            Scores. For two classes, the second is predicted if the score is above 0; a label is predicted if
            its score is above 0; of several classes, the one with the highest score is predicted.
        """
        scores = self._compute_outputs(self._check_input(X), "identity")
        return scores[:, 0] if self.n_outputs_ == 1 and not self._has_labels else scores

    def predict_proba(self, X: object) -> Array:
        return self._compute_predictions(self._check_input(X), "predict_proba")

    def predict_log_proba(self, X: object) -> Array:
        """Compute the logarithms of the probabilities, which are finite even where a probability rounds to 0.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            Samples.

        Returns
        -------
        array (n_samples, n_classes)
            Logarithms of the probabilities, a column per class or label.
        """
        X = self._check_input(X)
        P, scores = self._compute_predictions(X, "predict_proba"), self._compute_outputs(X, "identity")
        if self._has_labels:
            exact = scipy.special.log_expit(scores)
        elif self.n_outputs_ > 1:
            exact = scipy.special.log_softmax(scores, axis=1)
        else:
            exact = scipy.special.log_expit(np.hstack([-scores, scores])[:, : P.shape[1]])
        with np.errstate(divide="ignore"):
            return np.where(np.finfo(P.dtype).smallest_normal <= P, np.log(P), exact)

    @property
    def _label_binarizer(self) -> Any:
        """Fitted LabelBinarizer, under scikit-learn's name, for programs that read its MLPClassifier."""
        self._get_state("_label_binarizer")
        return make_label_binarizer(self.classes_, self._has_labels)

    @_label_binarizer.setter
    def _label_binarizer(self, binarizer: Any) -> None:
        classes, has_labels = np.asarray(binarizer.classes_), binarizer.y_type_.startswith("multilabel")
        if "_state" in self.__dict__ and (len(classes), has_labels) != (len(self.classes_), self._has_labels):
            raise ValueError(f"_label_binarizer has {len(classes)} classes, the classifier {self.classes_}")
        self.classes_, self._has_labels = classes, has_labels


def _choose_of_two(classes: Array, scores: Array) -> Array:
    return classes.take(scores[:, 0] > 0, mode="clip")  # there may be a single class


def _add_first_class(P: Array) -> Array:
    return np.hstack([1 - P, P])
