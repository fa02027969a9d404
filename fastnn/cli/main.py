"""The command ``fastnn``."""

from __future__ import annotations

import argparse
import io
import math
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import __version__
from ..engine.choice import BACKENDS
from ..system.files import check_folder, check_replaceable, written_whole
from ..system.validation import check_file_name, check_memory
from .compile import DTYPES, PURPOSES, fill_cache


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`, those of the process by default; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        print(f"fastnn: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastnn", description="Small neural networks, trained on the CPU at the speed of the hardware."
    )
    parser.add_argument("--version", action="version", version=f"fastnn {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    moons = commands.add_parser(
        "moons",
        help="train a network on two interleaved half circles and draw its decision boundary",
        description="Train the tutorial's network on make_moons, print its losses, its accuracy and the "
        "time of the training, and draw its decision boundary. The learning rate is 0.01, and for more than "
        "200 samples less in proportion, since the gradient is their sum.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    moons.add_argument(
        "--hidden", type=_sizes, default="3", help="units of the hidden layers, as 3 or 8,8 ('' for none)"
    )
    moons.add_argument("--passes", type=_count(0), default=20000, help="passes over the data")
    moons.add_argument("--noise", type=_spread, default=0.20, help="standard deviation of the data's noise")
    moons.add_argument("--samples", type=_count(2), default=200, help="number of samples")
    moons.add_argument("--seed", type=_count(0, 2**32), default=0, help="of the data and the initial weights")
    moons.add_argument("--out", type=Path, default=Path("moons.png"), help="where the picture goes")
    moons.add_argument("--backend", choices=sorted(BACKENDS), default="numba", help="what trains")
    moons.set_defaults(run=_moons)
    compile = commands.add_parser(
        "compile",
        help="compile the kernels ahead of their first use, as for an image of a container",
        description="Compile the kernels that a usual first use takes, in processes side by side, and keep "
        "them on disk: where NUMBA_CACHE_DIR says, in the package, or in the user's cache folder. They are "
        "loaded on processors with the same instructions.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    compile.add_argument("--dtype", choices=[*DTYPES, "both"], default="both", help="of the networks")
    compile.add_argument(
        "--for", dest="purposes", type=_purposes, metavar="PURPOSES", default=",".join(PURPOSES),
        help="what is to start at once, some of the default's, separated by commas",
    )  # fmt: skip
    compile.set_defaults(run=_compile)
    return parser


def _count(least: int, below: int = 2**63) -> Callable[[str], int]:
    def count(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = -1
        if least <= value < below:
            return value
        most = f"to {below - 1}" if below < 2**63 else "on"
        raise ArgumentTypeError(f"must be an integer from {least} {most}, got {text!r}")

    return count


def _spread(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if 0 <= value < math.inf:
        return value
    raise ArgumentTypeError(f"must be a finite number not below 0, got {text!r}")


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(_count(1)(size) for size in text.split(",") if text)
    except ArgumentTypeError:
        raise ArgumentTypeError(
            f"must be layer sizes from 1 on with commas between them, as 3 or 8,8, got {text!r}"
        ) from None


def _purposes(text: str) -> tuple[str, ...]:
    purposes = tuple(text.split(","))
    for purpose in purposes:
        if purpose not in PURPOSES:
            raise argparse.ArgumentTypeError(f"{purpose!r} is none of {', '.join(PURPOSES)}")
    return purposes


def _compile(options: argparse.Namespace) -> int:
    filled = fill_cache(DTYPES if options.dtype == "both" else (options.dtype,), options.purposes)
    print(
        f"{filled.n_kernels} kernels, {filled.n_bytes / 1e6:.1f} MB, compiled in {filled.seconds:.1f} s and "
        f"kept in {filled.folder}"
    )
    return 0


def _moons(options: argparse.Namespace) -> int:
    import numpy as np
    from matplotlib.backend_bases import FigureCanvasBase
    from sklearn.datasets import make_moons

    from ..model import Model

    check_file_name(options.out, "--out")
    # Found out before the work rather than after it.
    check_folder(options.out, "--out")
    check_replaceable(options.out, "--out")
    known = FigureCanvasBase.get_supported_filetypes()
    if _picture_format(options.out) not in known:
        raise ValueError(f"--out: {options.out} must end in one of {', '.join(sorted(known))}")

    what = f"--samples: the features of {options.samples} samples take"
    check_memory(2 * 8 * options.samples, what, "choose fewer")

    random = np.random.RandomState(options.seed)
    X, y = make_moons(options.samples, noise=options.noise, random_state=random)
    layers_dim = (2, *options.hidden, 2)
    model = Model(layers_dim, backend=options.backend, random_state=random)
    # The gradient is a sum over the samples: a rate that suits 200 of them is too high for more.
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
    print(f"training: {seconds:.3f} s for {options.passes} passes (kernels ready after {ready:.2f} s)")
    title = f"{list(layers_dim)} after {options.passes} passes: {accuracy} correct"
    _save_picture(model, X, y, title, options.out)
    print(f"picture: {options.out}")
    return 0


def _save_picture(model, X, y, title: str, path: Path) -> None:
    from matplotlib.figure import Figure

    from ..plotting.boundary import plot_decision_boundary

    figure = Figure(figsize=(7, 5), dpi=150)
    ax = figure.add_axes((0.1, 0.1, 0.87, 0.83))
    ax.set_title(title)
    plot_decision_boundary(model, X, y, ax=ax)
    # In memory first: matplotlib's formats tell of a full disk in errors of their own.
    picture = io.BytesIO()
    figure.savefig(picture, format=_picture_format(path))
    with written_whole(path) as temporary:
        temporary.write_bytes(picture.getvalue())


def _picture_format(path: Path) -> str:
    return path.suffix.lstrip(".").lower() or "png"
