"""scikit-learn's face of fastnn: classifiers, regressors, ensembles and many fits at once."""

from .classifier import MLPClassifier as MLPClassifier
from .regressor import MLPRegressor as MLPRegressor
