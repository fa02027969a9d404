"""
One network learns what an ensemble knows
=========================================

Ten networks that vote generalise better than one, and take ten times as long to predict. A single network
that is trained on their probabilities in place of the labels, at many points between the samples, comes close
to them (Hinton, Vinyals & Dean, "Distilling the knowledge in a neural network", 2015).
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

import fastnn

X, labels = make_moons(150, noise=0.3, random_state=0)
X_test, test_labels = make_moons(5000, noise=0.3, random_state=1)
member = fastnn.MLPClassifier((32, 32), learning_rate_init=0.01, alpha=1e-3, max_iter=1000)
teacher = fastnn.MLPEnsembleClassifier(member, n_estimators=10, method="bootstrap", random_state=0)
teacher.fit(X, labels)
alone = fastnn.MLPClassifier((32, 32), learning_rate_init=0.01, alpha=1e-3, max_iter=1000, random_state=0)
alone.fit(X, labels)

# The rows of y are fractions of the classes: soft targets.
random = np.random.default_rng(0)
points = X[random.integers(0, len(X), 3000)] + 0.3 * random.normal(size=(3000, 2))
student = fastnn.MLPClassifier((32, 32), alpha=0, max_iter=300, random_state=0)
student.fit(points, teacher.predict_proba(points))

models = {"labels alone": alone, "ten networks": teacher, "one, taught by the ten": student}
figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), sharex=True, sharey=True)
for ax, (name, model) in zip(axes, models.items(), strict=True):
    image = fastnn.render_boundary(model, (-2.5, 3.5), (-2.25, 2.25), 300, response="confidence")
    ax.imshow(image.data, extent=image.extent, origin="lower", cmap="Greys_r", vmin=0.5, vmax=1)
    ax.scatter(*X.T, c=np.where(labels, "tab:orange", "tab:blue"), s=10, edgecolors="black", linewidths=0.4)
    P = model.predict_proba(X_test)[np.arange(5000), test_labels]
    ax.set_title(f"{name}: {model.score(X_test, test_labels):.1%}, log-loss {-np.log(P).mean():.2f}")
plt.show()
