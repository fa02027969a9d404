"""
Certified zoom
==============

A boundary painted with 67 million pixels, and a window of it, a thousand times smaller. The large picture
is not evaluated pixel by pixel: whole squares are proved to have one class.
"""

# sphinx_gallery_thumbnail_panels = [1, 2]
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

import fastnn

random = np.random.RandomState(0)
radius = np.linspace(0, 1, 100)
angles = [np.linspace(4 * k, 4 * k + 4, 100) + 0.2 * random.randn(100) for k in range(3)]
X = np.concatenate([np.column_stack([radius * np.sin(angle), radius * np.cos(angle)]) for angle in angles])
y = np.repeat(np.arange(3), 100)
model = fastnn.Model([2, 32, 32, 3], output_activation="identity", random_state=0)
model.train(X, y, num_passes=3000, epsilon=0.01, reg_lambda=1e-4, optimizer="adam", reduction="mean")

whole = fastnn.render_boundary(model, (-1.2, 1.2), (-1.2, 1.2), 8192, method="certified")
stats = whole.stats
print(f"{stats.points:,} pixels, of which {stats.points_evaluated / stats.points:.2%} were evaluated")

# %%
# The middle of each window is a point of the last one's boundary.

middle, half = np.zeros(2), 1.2
figure, axes = plt.subplots(1, 4, figsize=(11, 3.1))
for ax in axes:
    window = [(middle[k] - half, middle[k] + half) for k in (0, 1)]
    image = fastnn.render_boundary(model, *window, 512)
    ax.imshow(image.data, extent=image.extent, origin="lower", cmap="viridis", vmin=0, vmax=2.3)
    ax.set(title=f"{2 * half:.2g} wide", xticks=[], yticks=[])
    lines = [line for pieces in fastnn.boundary_lines(model, *window).values() for line in pieces]
    points = np.concatenate(lines)
    middle, half = points[np.abs(points - middle).sum(axis=1).argmin()], half / 12
    ax.add_patch(Rectangle(middle - half, 2 * half, 2 * half, fill=False, color="white"))
plt.show()
