"""scikit-learn's face of fastnn: classifiers, regressors, ensembles and many fits at once."""

from .base import MLPClassifier as MLPClassifier
from .base import MLPRegressor as MLPRegressor
