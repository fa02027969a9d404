"""
From one hidden unit to fifty
=============================

How many hidden units does a curve need? One unit draws a straight line. Three follow the moons. Fifty
have room to draw whatever the noise suggests, and yet little changes where there are samples.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_moons

import fastnn

X, y = make_moons(200, noise=0.20, random_state=0)
figure, axes = plt.subplots(2, 3, figsize=(9, 5.4), sharex=True, sharey=True)
for ax, n_hidden in zip(axes.flat, (1, 2, 3, 5, 20, 50), strict=True):
    model = fastnn.Model([2, n_hidden, 2], random_state=0)
    model.train(X, y, num_passes=20_000)
    fastnn.plot_decision_boundary(model, X, y, ax=ax)
    correct = (model.predict(X) == y).mean()
    ax.set(title=f"{n_hidden} hidden: {correct:.1%} correct", xlabel="", ylabel="")
    ax.get_legend().remove()
plt.show()

# %%
# The training data cannot say which of these pictures is best: the fraction of correct answers only grows
# with the number of units. Samples that the training has not seen can. Try ``make_moons(2000, noise=0.20,
# random_state=1)``.
