"""
Batch normalisation and initial weights
=======================================

Ten hidden layers of tanh, and weights drawn with different sizes. If the weights are too small, the
signal fades on its way through the layers; if they are too large, every unit is saturated. Batch
normalisation removes the choice.
"""

# sphinx_gallery_thumbnail_panels = [1, 2]
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import fastnn

X, y = load_digits(return_X_y=True)
X = X / 16

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharex=True, sharey=True)
for ax, batch_norm in zip(axes, (False, True), strict=True):
    for factor in (0.2, 0.5, 1, 3):
        model = fastnn.Model(
            [64, *[40] * 10, 10],
            output_activation="identity",
            init="lecun_normal",
            batch_norm=batch_norm,
            random_state=0,
        )
        model.W = [factor * W for W in model.W]
        history = model.train(
            X, y, num_passes=30, epsilon=0.05, reg_lambda=0, batch_size=50, reduction="mean", random_state=0
        )
        ax.plot(history.loss, label=f"weights x {factor}")
    ax.set(title=f"batch_norm={batch_norm}", xlabel="epoch", ylim=(0, 2.6))
axes[0].set_ylabel("loss")
axes[0].axhline(np.log(10), color="grey", linewidth=0.8, linestyle=":")
axes[1].legend()
plt.show()
