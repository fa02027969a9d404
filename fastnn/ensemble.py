"""Aliases of the ensembles for pickles of version 0.1, which look for them here, until version 0.3."""

from .estimators.ensemble import MLPEnsembleClassifier as MLPEnsembleClassifier
from .estimators.ensemble import MLPEnsembleRegressor as MLPEnsembleRegressor
