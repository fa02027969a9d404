"""
A sweep with ``fit_many``
=========================

Sixty networks, all sizes against all penalties, fitted to the same data in parallel on threads, each
exactly as its own ``fit`` would do it.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

import fastnn

X, y = make_moons(100, noise=0.35, random_state=1)
X_test, y_test = make_moons(5000, noise=0.35, random_state=2)
sizes, penalties = (1, 2, 3, 5, 10, 30), (1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1, 3, 10, 30)
networks = [
    fastnn.MLPClassifier(
        (size,), alpha=alpha, solver="lbfgs", activation="tanh", max_iter=5000, random_state=0
    )
    for size in sizes
    for alpha in penalties
]
scores = np.reshape([net.score(X_test, y_test) for net in fastnn.fit_many(networks, X, y)], (len(sizes), -1))

plt.figure(figsize=(7.5, 4))
plt.imshow(scores, aspect="auto", cmap="viridis", origin="lower")
plt.colorbar(label="accuracy on unseen samples")
plt.xticks(range(len(penalties)), penalties)
plt.yticks(range(len(sizes)), sizes)
best = np.unravel_index(scores.argmax(), scores.shape)
plt.plot(best[1], best[0], "w*", markersize=14)
plt.gca().set(xlabel="penalty alpha", ylabel="hidden units", title=f"the best: {scores.max():.1%}")
plt.show()

# %%
# Large networks need a penalty. With the right one they are as good as small ones, and easier to train.
