"""
The boundaries of any classifier
================================

``render_boundary`` takes any classifier of scikit-learn, and any function of the samples. Networks of
fastnn are painted by compiled kernels; others predict the points in large blocks.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_moons
from sklearn.ensemble import RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import fastnn

X, y = make_moons(150, noise=0.3, random_state=0)
classifiers = (
    KNeighborsClassifier(3),
    DecisionTreeClassifier(max_depth=5, random_state=0),
    RandomForestClassifier(30, random_state=0),
    SVC(C=10),
    GaussianProcessClassifier(),
    fastnn.MLPClassifier((16,), solver="lbfgs", activation="tanh", alpha=0.1, max_iter=1000, random_state=0),
)
figure, axes = plt.subplots(2, 3, figsize=(9, 5.4), sharex=True, sharey=True)
for ax, classifier in zip(axes.flat, classifiers, strict=True):
    fastnn.plot_decision_boundary(classifier.fit(X, y), X, y, ax=ax, resolution=200)
    ax.set(title=type(classifier).__name__, xlabel="", ylabel="")
    ax.get_legend().remove()
plt.show()
