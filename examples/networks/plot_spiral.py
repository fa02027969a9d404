"""
Three classes on a spiral
=========================

The data of CS231n: three arms of a spiral, which no straight lines separate. A hundred units of relu do
it. The white line in the second picture is where the two most probable classes are equally probable.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastnn

random = np.random.RandomState(0)
radius = np.linspace(0, 1, 100)
angles = [np.linspace(4 * k, 4 * k + 4, 100) + 0.2 * random.randn(100) for k in range(3)]
X = np.concatenate([np.column_stack([radius * np.sin(angle), radius * np.cos(angle)]) for angle in angles])
y = np.repeat(np.arange(3), 100)

model = fastnn.Model(
    [2, 100, 3], activation="relu", output_activation="identity", init="he_normal", random_state=0
)
model.train(X, y, num_passes=10_000, epsilon=1.0, reg_lambda=1e-3, reduction="mean")

figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), sharex=True, sharey=True)
fastnn.plot_decision_boundary(model, X, y, ax=axes[0])
axes[0].get_legend().remove()
axes[0].set(title=f"{(model.predict(X) == y).mean():.1%} correct")
xlim, ylim = axes[0].get_xlim(), axes[0].get_ylim()
image = fastnn.render_boundary(model, xlim, ylim, 500, response="confidence")
shown = axes[1].imshow(image.data, extent=image.extent, origin="lower", cmap="magma_r", aspect="auto")
for lines in fastnn.boundary_lines(model, xlim, ylim).values():
    for line in lines:
        axes[1].plot(*line.T, color="white", linewidth=1)
figure.colorbar(shown, ax=axes[1], label="probability of the class decided for")
axes[1].set(title="how sure", xlabel="$x_1$")
plt.show()
