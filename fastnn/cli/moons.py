"""Train the tutorial's network on make_moons, print losses, accuracy and time, and draw the boundary.

The learning rate is 0.01 for up to 200 samples, and inversely proportional to their number for more: the
gradient is a sum over them.
"""

from __future__ import annotations

import argparse
import functools
import io
import time
from argparse import ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engine import BACKENDS
from ..system.arguments import parse_count, parse_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..model import Model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument(
        "--hidden",
        type=_parse_sizes,
        default="3",
        help="units of the hidden layers, such as 3 or 8,8 ('' for none)",
    )
    parser.add_argument(
        "--passes",
        type=functools.partial(parse_count, least=0, below=2**63),
        default=20000,
        help="number of epochs, passes over the data",
    )
    spread = functools.partial(
        parse_number, what="a finite number of at least 0", is_right=lambda value: value >= 0
    )
    parser.add_argument("--noise", type=spread, default=0.20, help="standard deviation of the data's noise")
    parser.add_argument(
        "--samples",
        type=functools.partial(parse_count, least=2, below=2**63),
        default=200,
        help="number of samples",
    )
    parser.add_argument(
        "--seed",
        type=functools.partial(parse_count, least=0, below=2**32),
        default=0,
        help="seed of the data and the initial weights",
    )
    parser.add_argument("--out", type=Path, default=Path("moons.png"), help="name of the picture")
    parser.add_argument(
        "--backend", choices=sorted(BACKENDS), default="numba", help="backend that trains the network"
    )


def _parse_sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(parse_count(size, below=2**63) for size in text.split(",") if text)
    except ArgumentTypeError:
        raise ArgumentTypeError(
            f"must be layer sizes of at least 1, separated by commas, such as 3 or 8,8, got {text!r}"
        ) from None


def run(options: argparse.Namespace) -> int:
    layers_dim = (2, *options.hidden, 2)
    import numpy as np
    from matplotlib.backend_bases import FigureCanvasBase

    from ..model import Model
    from ..play.datasets import moons
    from ..system.files import check_output
    from ..system.memory import check_memory

    # Check the file before the training, so that a problem costs no time.
    check_output(options.out, "--out")
    known = FigureCanvasBase.get_supported_filetypes()
    if _get_format(options.out) not in known:
        raise ValueError(f"--out: {options.out} must end in one of {', '.join(sorted(known))}")

    what = f"--samples: the features of {options.samples} samples take"
    check_memory(2 * 8 * options.samples, what, "choose fewer")

    random = np.random.RandomState(options.seed)
    X, y = moons(options.samples, options.noise, random)
    model = Model(layers_dim, backend=options.backend, random_state=random)
    # The gradient is a sum over the samples, so the rate for 200 samples would be too high for more.
    epsilon = 0.01 * min(1.0, 200 / options.samples)

    started = time.perf_counter()
    unused = Model(layers_dim, backend=options.backend, random_state=0)
    unused.train(X, y, num_passes=1)
    unused.calculate_loss(X, y)
    ready = time.perf_counter() - started
    started = time.perf_counter()
    model.train(X, y, num_passes=options.passes, epsilon=epsilon, print_loss=True)
    seconds = time.perf_counter() - started

    correct = int((model.predict(X) == y).sum())
    accuracy = f"{100 * correct / len(y):.1f} %"
    print(f"accuracy: {accuracy} ({correct} of {len(y)})")
    print(f"training: {seconds:.3f} s for {options.passes} epochs (kernels ready after {ready:.2f} s)")
    title = f"{list(layers_dim)} after {options.passes} epochs: {accuracy} correct"
    _save_picture(model, X, y, title, options.out)
    print(f"picture: {options.out}")
    return 0


def _save_picture(model: Model, X: NDArray[Any], y: NDArray[Any], title: str, path: Path) -> None:
    from matplotlib.figure import Figure

    from ..plotting.boundary import plot_decision_boundary
    from ..system.files import atomic_path

    figure = Figure(figsize=(7, 5), dpi=150)
    figure.set_layout_engine("none")
    ax = figure.add_axes((0.1, 0.1, 0.87, 0.83))
    ax.set_title(title)
    plot_decision_boundary(model, X, y, ax=ax)
    # A full disk makes matplotlib raise various errors, so draw in memory, then write.
    picture = io.BytesIO()
    figure.savefig(picture, format=_get_format(path))
    with atomic_path(path) as temporary:
        temporary.write_bytes(picture.getvalue())


def _get_format(path: Path) -> str:
    return path.suffix.lstrip(".").lower() or "png"
