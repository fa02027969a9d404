"""
Optimizers racing on one loss surface
=====================================

A network with two parameters, one weight and one bias, so that its loss is a landscape that can be drawn.
The inputs are far from 0, which makes the valley long and narrow. All optimizers start at the same point
and make 60 steps.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn

x = np.linspace(1, 4, 40)[:, None]
y = np.tanh(1.2 * x - 3) + 0.03 * np.random.default_rng(0).normal(size=x.shape)


def network(w, b):
    """Return the network with the weight w and the bias b."""
    model = fastnn.Model([1, 1], loss="squared_error", random_state=0)  # tanh(w x + b)
    model.W, model.b = [[[w]]], [[[b]]]
    return model


def path(optimizer, epsilon, n_steps=60, start=(-0.7, 2.0)):
    """Return the parameters (n_steps + 1, 2) after 0, 1, 2, ... steps."""
    points = []
    for k in range(n_steps + 1):
        model = network(*start)
        model.train(x, y, num_passes=k, epsilon=epsilon, reg_lambda=0, optimizer=optimizer, reduction="mean")
        points.append((model.W[0].item(), model.b[0].item()))
    return np.array(points)


racers = {
    "sgd": 0.5,
    "momentum": 0.1,
    "nesterov": 0.1,
    "adagrad": 0.5,
    "rmsprop": 0.1,
    "adam": 0.2,
    "lbfgs": 1.0,
}
w, b = np.meshgrid(np.linspace(-1, 2, 121), np.linspace(-4.5, 3.5, 121))
prediction = np.tanh(w[..., None] * x.ravel() + b[..., None])
surface = ((prediction - y.ravel()) ** 2).mean(axis=-1) / 2

figure, (ax, curves) = plt.subplots(1, 2, figsize=(10, 5), width_ratios=(3, 2))
ax.contourf(w, b, np.log(surface), 30, cmap="YlGnBu_r", alpha=0.6)
for optimizer, epsilon in racers.items():
    points = path(optimizer, epsilon)
    ax.plot(*points.T, marker=".", markersize=4, linewidth=1.3, label=f"{optimizer}, {epsilon}")
    losses = ((np.tanh(points[:, :1] * x.ravel() + points[:, 1:]) - y.ravel()) ** 2).mean(axis=1) / 2
    curves.semilogy(losses)
best = np.unravel_index(surface.argmin(), surface.shape)
ax.plot(w[best], b[best], "w*", markersize=14, markeredgecolor="black")
ax.set(xlabel="weight", ylabel="bias", title="paths; the star is the minimum", xlim=(-1, 2), ylim=(-4.5, 3.5))
figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=7, fontsize=8)
curves.set(xlabel="step", ylabel="loss", title="loss")
plt.show()

# %%
# Gradient descent goes down the wall of the valley and then creeps along its floor. Momentum gains speed
# on the floor, and overshoots. RMSprop and Adam scale each parameter by the size of its gradients. L-BFGS
# learns the curvature of the landscape from its own steps, and jumps. None of them is the best on every
# landscape: change the rates and the start.
