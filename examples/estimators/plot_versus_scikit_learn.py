"""
Side by side with scikit-learn
==============================

The same program with another import: the same parameters, the same random numbers, and so the same
weights, up to rounding.
"""

# sphinx_gallery_thumbnail_panels = [1, 2]
import warnings

import matplotlib.pyplot as plt
import numpy as np
import sklearn.neural_network
from matplotlib.colors import LinearSegmentedColormap
from sklearn.datasets import make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import DecisionBoundaryDisplay

import fastnn

X, y = make_moons(300, noise=0.25, random_state=0)
settings = {"hidden_layer_sizes": (16, 16), "learning_rate_init": 0.01, "max_iter": 200, "random_state": 0}

blue_orange = LinearSegmentedColormap.from_list("classes", ["tab:blue", "white", "tab:orange"])
figure, axes = plt.subplots(1, 3, figsize=(11, 3.5))
fitted = []
for ax, library in zip(axes, (sklearn.neural_network, fastnn), strict=False):
    classifier = library.MLPClassifier(**settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(X, y)
    fitted.append(classifier)
    DecisionBoundaryDisplay.from_estimator(
        classifier, X, ax=ax, response_method="predict_proba", cmap=blue_orange, vmin=0, vmax=1
    )
    ax.scatter(*X.T, c=np.where(y, "tab:orange", "tab:blue"), s=14, edgecolors="white", linewidths=0.6)
    ax.set_title(f"{library.__name__.split('.')[0]}: {classifier.score(X, y):.1%} after {classifier.n_iter_}")
theirs, ours = (np.concatenate([W.ravel() for W in classifier.coefs_]) for classifier in fitted)
axes[2].plot(theirs, ours, ".")
axes[2].set(
    xlabel="weights of scikit-learn",
    ylabel="weights of fastnn",
    title=f"largest difference {np.abs(theirs - ours).max():.0e}",
)
plt.show()
