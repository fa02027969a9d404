"""
Ensembles know where they do not know
=====================================

Ten networks that differ in their random start agree where there are data, and go apart where there are
none. The standard deviation over the members is a measure of what the data leave open.
"""

# sphinx_gallery_thumbnail_number = 2
# sphinx_gallery_thumbnail_panels = [1, 2]
import matplotlib.pyplot as plt
import numpy as np

import fastnn

random = np.random.default_rng(1)
x = np.concatenate([random.uniform(-4, -1.5, 40), random.uniform(1, 3, 40)])
y = np.sin(x) + 0.1 * random.normal(size=x.size)
grid = np.linspace(-7, 7, 400)

member = fastnn.MLPRegressor(hidden_layer_sizes=(50, 50), alpha=0, max_iter=5000, n_iter_no_change=50)
ensemble = fastnn.MLPEnsembleRegressor(member, n_estimators=10, method="bootstrap", random_state=0)
ensemble.fit(x[:, None], y)
mean, spread = ensemble.predict(grid[:, None], return_std=True)

plt.figure(figsize=(8, 4))
for k, network in enumerate(ensemble.estimators_):
    plt.plot(
        grid, network.predict(grid[:, None]), color="grey", linewidth=0.6, label="members" if not k else None
    )
plt.plot(grid, mean, color="tab:blue", label="mean")
plt.fill_between(grid, mean - 2 * spread, mean + 2 * spread, alpha=0.25, label="two standard deviations")
plt.plot(x, y, "k.", markersize=5, label="data")
plt.gca().set(xlabel="x", ylabel="y", ylim=(-4, 4))
plt.legend(ncols=2)
plt.show()

# %%
# The same for classes: a single network is sure of itself nearly everywhere, an ensemble is not.

from sklearn.datasets import make_moons

X, labels = make_moons(200, noise=0.20, random_state=0)
member = fastnn.MLPClassifier((32,), learning_rate_init=0.02, alpha=0.0, max_iter=5000, tol=1e-4)
classifiers = fastnn.MLPEnsembleClassifier(member, n_estimators=20, method="bootstrap", random_state=0)
classifiers.fit(X, labels)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharex=True, sharey=True)
for ax, model, title in zip(
    axes, (classifiers.estimators_[0], classifiers), ("one network", "twenty"), strict=True
):
    image = fastnn.render_boundary(model, (-2.5, 3.5), (-2.25, 2.25), 500, response="confidence")
    shown = ax.imshow(image.data, extent=image.extent, origin="lower", cmap="Greys_r", vmin=0.5, vmax=1)
    ax.scatter(*X.T, c=np.where(labels, "tab:orange", "tab:blue"), s=10, edgecolors="black", linewidths=0.4)
    ax.set_title(title)
figure.colorbar(shown, ax=axes, label="probability of the class decided for")
plt.show()
