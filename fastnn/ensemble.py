"""Former home of classes that pickles of version 0.1 name here; to be removed in version 0.3."""

from .estimators.ensemble import MLPEnsembleClassifier as MLPEnsembleClassifier
from .estimators.ensemble import MLPEnsembleRegressor as MLPEnsembleRegressor
