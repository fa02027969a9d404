"""
A training as an animation
==========================

``animate_training`` trains a network and returns matplotlib's animation of the boundary, as it changes, to be
saved or shown in a notebook. Here are six frames of it.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from PIL import Image, ImageSequence
from sklearn.datasets import make_moons

import fastnn

X, y = make_moons(200, noise=0.20, random_state=0)
model = fastnn.Model([2, 5, 2], random_state=0)
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "training.gif"
    animation = fastnn.animate_training(model, X, y, num_passes=100_000, epsilon=0.002, frames=40)
    animation.save(path, "pillow")
    with Image.open(path) as gif:
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(gif)]

figure, axes = plt.subplots(2, 3, figsize=(11, 5.6))
for k, ax in enumerate(axes.flat):
    ax.imshow(frames[k * (len(frames) - 1) // 5])
    ax.set_axis_off()
plt.show()
