"""
Quantile bands
==============

A regression answers with one number, the mean. With the quantile loss it answers how far the data spread:
a network for each of five quantiles, fitted in parallel by ``fit_many``. The band is wide where the noise
is.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn

random = np.random.default_rng(0)
x = np.sort(random.uniform(-3, 3, 1500))
y = np.sin(1.5 * x) + (0.1 + 0.15 * (x + 3) / 2) * random.normal(size=x.size)

quantiles = (0.05, 0.25, 0.5, 0.75, 0.95)
networks = [
    fastnn.MLPRegressor(
        hidden_layer_sizes=(32, 32),
        activation="gelu",
        loss=fastnn.Quantile(q),
        learning_rate_init=3e-3,
        learning_rate="cosine_decay",
        batch_size=50,
        max_iter=150,
        n_iter_no_change=150,
        random_state=0,
    )
    for q in quantiles
]
grid = np.linspace(-3, 3, 300)[:, None]
low, lower, middle, upper, high = (net.predict(grid) for net in fastnn.fit_many(networks, x[:, None], y))

plt.figure(figsize=(8, 4))
plt.plot(x, y, ".", color="grey", markersize=3, alpha=0.6)
plt.fill_between(grid.ravel(), low, high, alpha=0.2, color="tab:blue", label="9 of 10 values")
plt.fill_between(grid.ravel(), lower, upper, alpha=0.4, color="tab:blue", label="5 of 10 values")
plt.plot(grid, middle, color="tab:blue", label="median")
plt.legend()
plt.gca().set(xlabel="x", ylabel="y")
plt.show()
