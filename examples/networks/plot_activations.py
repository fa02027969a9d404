"""
Eleven activations, one task
============================

The activation decides what a boundary is made of: tanh bends it smoothly, relu breaks it into straight
pieces, and the identity leaves it straight, however many units there are. One network, ``[2, 8, 2]``,
with each of them.
"""

# sphinx_gallery_thumbnail_panels = [1, 4]
import matplotlib.pyplot as plt
from sklearn.datasets import make_circles

import fastnn
from fastnn.reference.layer import ACTIVATIONS

X, y = make_circles(200, noise=0.10, factor=0.5, random_state=0)
figure, axes = plt.subplots(3, 4, figsize=(9, 7), sharex=True, sharey=True)
for ax in axes.flat[len(ACTIVATIONS) :]:
    ax.set_axis_off()
for ax, name in zip(axes.flat, ACTIVATIONS, strict=False):
    model = fastnn.Model(
        [2, 8, 2], activation=name, output_activation="identity", init="glorot_uniform", random_state=1
    )
    model.train(X, y, num_passes=2000, epsilon=0.02, reg_lambda=0, optimizer="adam", reduction="mean")
    fastnn.plot_decision_boundary(model, X, y, ax=ax)
    ax.set(title=f"{name}: {(model.predict(X) == y).mean():.0%}", xlabel="", ylabel="")
    ax.get_legend().remove()
plt.show()

# %%
# The functions themselves, with their slopes. Where a slope is 0, nothing flows back, and the unit does
# not learn.

import numpy as np

z = np.linspace(-4, 4, 400)
figure, axes = plt.subplots(3, 4, figsize=(9, 6), sharex=True, sharey=True)
for ax in axes.flat[len(ACTIVATIONS) :]:
    ax.set_axis_off()
for ax, (name, layer) in zip(axes.flat, ACTIVATIONS.items(), strict=False):
    ax.plot(z, layer().forward(z))
    ax.plot(z, layer().backward(z, np.ones_like(z)), "--")
    ax.set(title=name, ylim=(-2, 3))
figure.supxlabel("solid: value, dashed: slope")
plt.show()
