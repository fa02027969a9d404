"""Draw a gallery of decision boundaries.

    python examples/gallery.py                      # all pictures, into the folder "gallery"
    python examples/gallery.py --only spiral zoom   # some of them
    python examples/gallery.py --docs docs          # the small pictures of the documents

Each picture is drawn by one function below, an example to copy from. The first run compiles kernels and takes
half a minute, later runs ten seconds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import make_circles, make_moons

import fastnn
from fastnn.reference.layer import ACTIVATIONS

Array = NDArray[Any]

# Magnification of the window of "zoom", along each side.
ZOOM = 1000


def spiral(n_samples: int = 100, n_classes: int = 3) -> tuple[Array, Array]:
    """Return the data of CS231n's "Putting it together": arms of a spiral, one per class."""
    random = np.random.RandomState(0)
    X, y = [], []
    for k in range(n_classes):
        radius = np.linspace(0.0, 1, n_samples)
        angle = np.linspace(k * 4, (k + 1) * 4, n_samples) + 0.2 * random.randn(n_samples)
        X.append(np.column_stack([radius * np.sin(angle), radius * np.cos(angle)]))
        y += [k] * n_samples
    return np.concatenate(X), np.array(y)


# --- the pictures ----------------------------------------------------------------------------------


def hidden_sizes(path: Path, quick: bool) -> None:
    """Draw the tutorial's network with more and more hidden units."""
    X, y = make_moons(200, noise=0.20, random_state=0)
    sizes = (1, 2, 3, 4, 5, 20, 50)
    figure, axes = panels(2, 4, "Hidden units and what they can draw: the tutorial's network [2, h, 2], tanh")
    for ax, h in zip(axes, sizes, strict=False):
        model = fastnn.Model([2, h, 2], random_state=0)
        model.train(X, y, num_passes=200 if quick else 20_000)
        panel(ax, model, X, y, f"h = {h}")
    axes[3].tick_params(labelbottom=True)  # the panel below holds text instead of an axis
    explain(
        axes[-1],
        axes[0],
        "200 noisy samples of\ntwo half moons, 20,000\npasses of gradient descent.\n\n"
        "One unit draws a straight\nline, three follow the moons,\nand beyond five little changes\n"
        "where there are samples.",
    )
    figure.savefig(path)


def activations(path: Path, quick: bool) -> None:
    """Draw one network with each of the activations."""
    X, y = make_circles(200, noise=0.10, factor=0.5, random_state=0)
    figure, axes = panels(
        -(-len(ACTIVATIONS) // 6),
        6,
        f"{len(ACTIVATIONS)} activations, one network: [2, 8, 2] on two circles, 2,000 epochs of Adam",
    )
    for ax in axes[len(ACTIVATIONS) :]:
        ax.set_axis_off()
    for ax, activation in zip(axes, ACTIVATIONS, strict=False):
        model = fastnn.Model(
            [2, 8, 2],
            activation=activation,
            output_activation="identity",
            init="glorot_uniform",
            random_state=1,
        )
        model.train(
            X,
            y,
            num_passes=50 if quick else 2000,
            epsilon=0.02,
            optimizer="adam",
            reduction="mean",
            reg_lambda=0.0,
        )
        panel(ax, model, X, y, activation)
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        frameon=False,
        markerscale=2,
    )
    figure.savefig(path)


def spiral_picture(path: Path, quick: bool) -> None:
    """Draw three classes on a spiral."""
    X, y = spiral()
    model = fastnn.Model(
        [2, 100, 3], activation="relu", output_activation="identity", init="he_normal", random_state=0
    )
    model.train(X, y, num_passes=100 if quick else 10_000, epsilon=1.0, reduction="mean", reg_lambda=1e-3)
    figure = Figure(figsize=(4.9, 4.9), dpi=150, layout="constrained")
    ax = figure.add_subplot(aspect="equal")
    fastnn.plot_decision_boundary(model, X, y, ax=ax, resolution=300 if quick else 1000)
    remove_legend(ax)
    ax.locator_params(nbins=5)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    right = np.mean(model.predict(X) == y)
    ax.set_title(f"CS231n's spiral, three classes\n[2, 100, 3], relu: {right:.1%} correct")
    figure.savefig(path)


def training(path: Path, quick: bool) -> None:
    """Animate a training from the first epoch to the last."""
    X, y = make_moons(200, noise=0.20, random_state=0)
    model = fastnn.Model([2, 5, 2], random_state=0)
    # At the tutorial's rate the boundary jumps to and fro in the first epochs: take a lower one.
    animation = fastnn.animate_training(
        model, X, y, num_passes=200 if quick else 100_000, epsilon=0.002, frames=5 if quick else 40
    )
    animation.save(path, "pillow", dpi=50 if quick else 80)


def ensemble(path: Path, quick: bool) -> None:
    """Draw the confidence of one network, and of twenty together."""
    X, y = make_moons(200, noise=0.20, random_state=0)
    # A member is fitted until its loss falls by less than `tol`.
    member = fastnn.MLPClassifier(
        (32,), learning_rate_init=0.02, alpha=0.0, max_iter=5000, tol=1.0 if quick else 1e-4
    )
    many = fastnn.MLPEnsembleClassifier(
        member, n_estimators=3 if quick else 20, method="bootstrap", random_state=0
    )
    many.fit(X, y)
    figure = Figure(figsize=(10, 4.9), dpi=150, layout="constrained")
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    models = (many.estimators_[0], many)
    titles = ("one network", f"the mean of {len(many.estimators_)}, each fitted to a bootstrap sample")
    for ax, model, title in zip(axes, models, titles, strict=True):
        image = fastnn.render_boundary(
            model, (-2.5, 3.5), (-2.25, 2.25), (160, 120) if quick else (1200, 900), response="confidence"
        )
        # The more probable of two classes has a probability of one half at least: begin the colours there.
        shown = ax.imshow(
            image.data, extent=image.extent, origin="lower", aspect="auto", cmap="Greys_r", vmin=0.5, vmax=1
        )
        for label, colour in ((0, "tab:blue"), (1, "tab:orange")):
            ax.scatter(
                *X[y == label].T,
                s=16,
                color=colour,
                edgecolors="black",
                linewidths=0.5,
                label=f"class {label}",
            )
        ax.set(title=title, xlabel="$x_1$")
    axes[0].set_ylabel("$x_2$")
    figure.colorbar(shown, ax=axes, label="probability of the class decided for")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle("How sure: one network of 32 relu units, and an ensemble of them")
    figure.savefig(path)


def zoom(path: Path, quick: bool) -> None:
    """Draw a boundary of 268 million pixels, and a window of it enlarged a thousand times."""
    X, y = spiral()
    model = fastnn.Model([2, 32, 32, 3], output_activation="identity", random_state=0)
    model.train(
        X,
        y,
        num_passes=200 if quick else 3000,
        epsilon=0.01,
        optimizer="adam",
        reduction="mean",
        reg_lambda=1e-4,
    )
    limit, pixels = 1.2, 1024 if quick else 16_384
    full = path.with_name("boundary.png")
    whole = fastnn.render_boundary(
        model, (-limit, limit), (-limit, limit), pixels, method="certified", out=full
    )
    share = whole.stats.points_evaluated / whole.stats.points
    seconds = whole.stats.seconds["total"]
    print(f"    {full}: {pixels} x {pixels} in {seconds:.2f} s, {share:.2%} of the pixels evaluated")

    x1, x2 = corner(model, limit)
    half = limit / ZOOM
    small = path.with_name("window.png")
    detail = fastnn.render_boundary(
        model, (x1 - half, x1 + half), (x2 - half, x2 + half), 100 if quick else 1600, out=small
    )
    figure = Figure(figsize=(12.6, 4.4), dpi=150, layout=ConstrainedLayoutEngine(wspace=0.05))
    axes = figure.subplots(1, 3)
    axes[0].imshow(shrink(full, 1024), extent=whole.extent, interpolation="none")
    axes[0].plot(x1, x2, "ks", markersize=12, markerfacecolor="none", markeredgewidth=1.8)
    axes[0].set(title=f"{pixels:,} x {pixels:,} pixels, made smaller", xlabel="$x_1$", ylabel="$x_2$")
    pieces = (crop(full, (x1, x2), limit), (shrink(small, 800), np.array(detail.extent)))
    titles = (f"the mark's middle, enlarged {ZOOM:,} times", "the same window, painted anew")
    middle = np.array([x1, x1, x2, x2])
    for ax, (image, extent), title in zip(axes[1:], pieces, titles, strict=True):
        ax.imshow(image, extent=1000 * (extent - middle), interpolation="none")
        # Offsets from the middle are easier to read than numbers with seven digits.
        ax.set(
            xlabel=f"thousandths of $x_1$, from {minus(x1)}", ylabel=f"thousandths of $x_2$, from {minus(x2)}"
        )
        ax.set(title=title, xlim=(-1000 * half, 1000 * half), ylim=(-1000 * half, 1000 * half))
    figure.suptitle("The decision boundary of a network [2, 32, 32, 3] on CS231n's spiral, and a point of it")
    figure.savefig(path)


def corner(model: fastnn.Model, limit: float) -> tuple[float, float]:
    """Return a point where three regions meet, or else one on a boundary, found in ever smaller windows."""
    x, y, half = 0.0, 0.0, limit
    while half > limit / ZOOM / 100:
        image = fastnn.render_boundary(model, (x - half, x + half), (y - half, y + half), 400)
        classes = image.data
        assert classes is not None
        near = np.stack([classes[:-1, :-1], classes[:-1, 1:], classes[1:, :-1], classes[1:, 1:]])
        n_classes = 1 + (np.diff(np.sort(near, axis=0), axis=0) > 0).sum(axis=0)
        rows, columns = np.nonzero(n_classes == n_classes.max())
        if n_classes.max() == 1:
            return x, y
        # Several pixels may qualify: take the one nearest to the middle.
        best = np.hypot(rows - 199, columns - 199).argmin()
        step = 2 * half / 400
        x, y = x - half + (columns[best] + 1) * step, y - half + (rows[best] + 1) * step
        half /= 20
    return x, y


def minus(number: float) -> str:
    """Format a number with a typographic minus sign, as matplotlib's tick labels have it."""
    return f"{number:.5f}".replace("-", "\N{MINUS SIGN}")


def crop(path: Path, middle: tuple[float, float], limit: float) -> tuple[Image.Image, Array]:
    """Return the pixels around a point of a square picture in a file, and their edges."""
    with opened(path) as image:
        step = 2 * limit / image.width
        n = round(limit / ZOOM / step) + 2
        column, row = round((middle[0] + limit) / step), round((limit - middle[1]) / step)
        piece = image.crop((column - n, row - n, column + n, row + n)).convert("RGB")
    left, top = column * step - limit, limit - row * step
    return piece, np.array([left - n * step, left + n * step, top - n * step, top + n * step])


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture of any size: Pillow's limit protects from foreign files, and this one is our own."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as image:
            yield image
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def shrink(path: Path, size: int) -> Image.Image:
    """Return a picture read from a file, reduced to `size` pixels a side."""
    with opened(path) as image:
        # Averaging all pixels of a huge picture is slow: take every n-th, twice as many a side as are
        # needed, and average blocks of four.
        return image.resize((2 * size, 2 * size), Image.Resampling.NEAREST).convert("RGB").reduce(2)


PICTURES: dict[str, tuple[str, Callable[[Path, bool], None]]] = {
    "hidden-sizes": ("hidden-sizes.png", hidden_sizes),
    "activations": ("activations.png", activations),
    "spiral": ("spiral.png", spiral_picture),
    "ensemble": ("ensemble.png", ensemble),
    "training": ("training.gif", training),
    "zoom": ("zoom.png", zoom),
}


# --- panels ----------------------------------------------------------------------------------------


def panels(n_rows: int, n_columns: int, title: str) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels that share their axes."""
    figure = Figure(figsize=(3 * n_columns, 2.5 * n_rows + 0.5), dpi=150, layout="constrained")
    axes = figure.subplots(n_rows, n_columns, sharex=True, sharey=True)
    figure.suptitle(title)
    return figure, list(axes.ravel())


def panel(ax: Axes, model: fastnn.Model, X: Array, y: Array, title: str) -> None:
    """Draw regions, boundary and small samples into one panel."""
    fastnn.plot_decision_boundary(model, X, y, ax=ax, resolution=(800, 640))
    remove_legend(ax)
    for points in ax.collections:
        if len(np.asarray(points.get_offsets())) > 1:
            points.set(sizes=[9], linewidths=[0.3])
    ax.set(title=f"{title}: {np.mean(model.predict(X) == y):.1%} correct", xlabel="", ylabel="")


def remove_legend(ax: Axes) -> None:
    """Remove the legend of an axis, which would cover data; the figure's legend replaces it."""
    if (legend := ax.get_legend()) is not None:
        legend.remove()


def explain(ax: Axes, shown: Axes, text: str) -> None:
    """Fill an empty panel with text and a legend."""
    ax.axis("off")
    ax.text(0.05, 0.95, text, transform=ax.transAxes, va="top", fontsize=10, linespacing=1.4)
    ax.legend(*shown.get_legend_handles_labels(), loc="lower left", ncols=2, frameon=False, markerscale=2)


# --- files -----------------------------------------------------------------------------------------


def write_docs(made: Path, docs: Path) -> None:
    """Write the pictures of the documents, reduced from those in the folder `made`."""
    with Image.open(made / "zoom.png") as image:
        save_small(image.convert("RGB"), docs / "boundary.png", 1200)
    save_small(sheet(made, 1200), docs / "gallery.png", 1200)
    (docs / "training.gif").write_bytes((made / "training.gif").read_bytes())


def sheet(made: Path, width: int) -> Image.Image:
    """Return a contact sheet, `width` pixels wide."""
    rows = []
    for names in (["hidden-sizes"], ["activations"], ["spiral", "ensemble"]):
        images = [Image.open(made / PICTURES[name][0]).convert("RGB") for name in names]
        # The pictures of a row have the same height, and their widths add up to the sheet's.
        height = round(width / sum(image.width / image.height for image in images))
        widths = [round(height * image.width / image.height) for image in images]
        widths[-1] += width - sum(widths)
        rows.append(
            [
                image.resize((w, height), Image.Resampling.LANCZOS)
                for image, w in zip(images, widths, strict=True)
            ]
        )
    gap = width // 60
    height = sum(row[0].height + gap for row in rows) - gap
    result = Image.new("RGB", (width, height), "white")
    top = 0
    for row in rows:
        left = 0
        for image in row:
            result.paste(image, (left, top))
            left += image.width
        top += row[0].height + gap
    return result


def save_small(image: Image.Image, path: Path, width: int) -> None:
    """Save a picture at `width` pixels across, in 256 colours."""
    height = round(image.height * width / image.width)
    smaller = image.resize((width, height), Image.Resampling.LANCZOS)
    # Maximum coverage gives the colours of a few samples as much weight as the colours of whole regions.
    few = smaller.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the pictures that the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(description="A gallery of decision boundaries.")
    parser.add_argument("--out", type=Path, default=Path("gallery"), help="folder for the pictures")
    parser.add_argument(
        "--only", nargs="+", choices=PICTURES, default=list(PICTURES), help="pictures to draw"
    )
    parser.add_argument(
        "--docs", type=Path, help="write the small pictures of the documents into this folder"
    )
    parser.add_argument("--quick", action="store_true", help="draw tiny pictures, as a check")
    options = parser.parse_args(arguments)
    if options.docs is None:
        make(options.only, options.out, options.quick)
        return 0
    if len(options.only) < len(PICTURES):
        parser.error("--docs needs all pictures: leave --only out")
    options.docs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        make(options.only, Path(folder), options.quick)
        write_docs(Path(folder), options.docs)
    for name in ("boundary.png", "gallery.png", "training.gif"):
        print(f"{options.docs / name}: {(options.docs / name).stat().st_size / 1000:.0f} kB")
    return 0


def make(names: Sequence[str], folder: Path, quick: bool) -> None:
    """Draw the named pictures into `folder`; `quick` draws tiny ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        file, draw = PICTURES[name]
        began = time.perf_counter()
        draw(folder / file, quick)
        print(f"{name}: {folder / file}, {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    raise SystemExit(main())
