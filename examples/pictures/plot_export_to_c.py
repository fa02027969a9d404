"""
To C and back
=============

``to_c`` writes a trained network as a C header without dependencies: for a microcontroller, or for any
program in C. Here the header is compiled into a library, which Python loads: the round trip shows that
both compute the same.
"""

# sphinx_gallery_thumbnail_panels = [1, 2]
import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

import fastnn

X, y = make_moons(200, noise=0.20, random_state=0)
model = fastnn.Model([2, 16, 2], output_activation="identity", random_state=0)
model.train(X, y, epsilon=0.002, num_passes=5000)
grid = np.linspace(-2, 3, 200)
points = np.stack(np.meshgrid(grid, np.linspace(-1.5, 2, 140)), axis=-1).reshape(-1, 2)
points = np.ascontiguousarray(points, np.float32)

PROGRAM = """
#include "moons.h"

void predict(const float *x, float *p, int n) {
    for (int i = 0; i < n; i++) moons_predict_proba(x + 2 * i, p + 2 * i);
}
"""
compiler = shutil.which("cc") or shutil.which("gcc")
expected = computed = model.predict_proba(points)
with tempfile.TemporaryDirectory() as folder:
    header = model.to_c(Path(folder) / "moons.h")
    if compiler is not None:  # where there is none, only the header is shown
        (Path(folder) / "moons.c").write_text(PROGRAM)
        command = [compiler, "-O2", "-shared", "-fPIC", "moons.c", "-o", "moons.so", "-lm"]
        subprocess.run(command, cwd=folder, check=True)
        library = ctypes.CDLL(f"{folder}/moons.so")
        computed = np.empty_like(points)
        pointers = [array.ctypes.data_as(ctypes.POINTER(ctypes.c_float)) for array in (points, computed)]
        library.predict(*pointers, len(points))

print("\n".join(header.splitlines()[:12]))
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
for ax, values, title in (
    (axes[0], computed[:, 1], "probability of class 1, computed by C"),
    (axes[1], np.abs(computed - expected)[:, 1], "difference from Python"),
):
    shown = ax.imshow(values.reshape(140, 200), origin="lower", extent=(-2, 3, -1.5, 2), cmap="viridis")
    figure.colorbar(shown, ax=ax, shrink=0.8)
    ax.set_title(title)
plt.show()
