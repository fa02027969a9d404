"""Estimators with scikit-learn's interface: classifiers, regressors, ensembles and parallel fits."""
