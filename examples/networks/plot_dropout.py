"""
Dropout against overfitting
===========================

A large network learns sixty noisy samples by heart. With dropout, every training step switches off a
random half of its units: no unit can rely on the others, and the boundary becomes simpler. The scores are
measured on 3000 samples that no training has seen.
"""

# sphinx_gallery_thumbnail_panels = [1, 3]
import matplotlib.pyplot as plt
from sklearn.datasets import make_moons

import fastnn

X, y = make_moons(60, noise=0.3, random_state=3)
X_test, y_test = make_moons(3000, noise=0.3, random_state=4)

figure, axes = plt.subplots(1, 3, figsize=(9, 3.4), sharex=True, sharey=True)
for ax, rate in zip(axes, (0.0, 0.2, 0.5), strict=True):
    model = fastnn.Model(
        [2, 100, 100, 2],
        activation="relu",
        output_activation="identity",
        init="he_normal",
        dropout=rate,
        random_state=0,
    )
    model.train(
        X,
        y,
        num_passes=1000,
        epsilon=3e-3,
        reg_lambda=0,
        batch_size=20,
        optimizer="adam",
        reduction="mean",
        random_state=0,
    )
    fastnn.plot_decision_boundary(model, X, y, ax=ax)
    unseen = (model.predict(X_test) == y_test).mean()
    ax.set(title=f"dropout {rate}: {unseen:.1%} of unseen", xlabel="", ylabel="")
    ax.get_legend().remove()
plt.show()
