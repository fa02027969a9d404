"""Estimators with scikit-learn's interface: classifiers, regressors, ensembles and parallel fits."""

from .classifier import MLPClassifier as MLPClassifier
from .regressor import MLPRegressor as MLPRegressor
